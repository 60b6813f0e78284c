//! Files that something else waits for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mainstay_plan::action::Outcome;

use crate::action::{Attempt, IDEMPOTENCY_KEY_PLACEHOLDER};
use crate::trouble;

/// Writes the file beside its place, makes it durable, and renames it, so that nobody sees half of it and a crash leaves
/// the old one or the new one.
pub(crate) async fn write(attempt: &Attempt<'_>, path: &Path, content: &str) -> Outcome {
    attempt.so_far.set(Outcome::Unknown("writing the file did not end in time".to_owned()));
    let content = content.replace(IDEMPOTENCY_KEY_PLACEHOLDER, &attempt.order.idempotency_key);
    let target = path.to_owned();
    let write = move || {
        let Some(beside) = beside(&target) else {
            return Ok(Outcome::Failed("the path names no file".to_owned()));
        };
        if let Err(error) = write_and_rename(&target, &beside, content.as_bytes()) {
            // It may never have been made; what is left of it is in nobody's way.
            let _ = fs::remove_file(&beside);
            return Ok(Outcome::Failed(trouble::describe(&error)));
        }
        Ok(match sync_directory(&target) {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Unknown(format!("written, but perhaps not durable: {}", trouble::describe(&error))),
        })
    };
    match attempt.inner.gates.run(format!("write {}", path.display()), write).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Unknown(trouble::describe(&error)),
    }
}

/// One name for each target: what a crash left there is replaced by the next attempt.
fn beside(target: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name()?);
    name.push(".mainstay-new");
    Some(target.with_file_name(name))
}

fn write_and_rename(target: &Path, beside: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Created anew, never followed: somebody may have put a link there.
    let mut file = OpenOptions::new().write(true).create_new(true).open(beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(beside, target)
}

fn sync_directory(target: &Path) -> io::Result<()> {
    File::open(directory(target))?.sync_all()
}

/// Where the file is written.
pub(crate) fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}
