//! What a plan asks of the world while it is compiled on a real machine: included files and environment variables.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use mainstay_plan::Surroundings;

/// This machine's files and this process's environment.
pub const REAL: Surroundings<'static> = Surroundings { read: &read, variable: &variable, needs_secrets: true };

fn read(path: &Path) -> Result<String, String> {
    // A pipe or a device may never end.
    if fs::metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir()) {
        return Err("it is no ordinary file".to_owned());
    }
    fs::read_to_string(path).map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the operating system's errors are not ours to list")]
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        ErrorKind::PermissionDenied => "there is no permission to read it".to_owned(),
        ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// A value that is not text is as good as none.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
