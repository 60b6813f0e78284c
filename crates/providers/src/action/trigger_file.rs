//! Files that something else waits for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mainstay_plan::action::Outcome;

use crate::action::look::Seen;
use crate::action::{Attempt, IDEMPOTENCY_KEY_PLACEHOLDER};
use crate::trouble;

/// Writes the file beside its place, makes it durable, and renames it, so that nobody sees half of it and a crash leaves
/// the old one or the new one.
pub(crate) async fn write(attempt: &Attempt<'_>, path: &Path, content: &str) -> Outcome {
    attempt.so_far.set(Outcome::Unknown("writing the file did not end in time".to_owned()));
    let content = with_key(content, &attempt.order.idempotency_key);
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

/// What the file is to hold.
pub(crate) fn with_key(content: &str, key: &str) -> String {
    content.replace(IDEMPOTENCY_KEY_PLACEHOLDER, key)
}

/// Whether `content` was written. Whoever waits for a file may take it away, or empty it, when it is there.
pub(crate) fn look(target: &Path, content: &[u8]) -> io::Result<Seen> {
    match fs::metadata(target) {
        Ok(metadata) if metadata.is_file() && metadata.len() == content.len() as u64 => {
            if fs::read(target)? == content {
                sync_directory(target)?;
                return Ok(Seen::Done);
            }
            return Ok(Seen::Not("the file holds something else".to_owned()));
        }
        Ok(metadata) if !metadata.is_file() => return Ok(Seen::Not("there is no file of that name".to_owned())),
        Ok(metadata) if metadata.len() > 0 => return Ok(Seen::Not("the file holds something else".to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if beside(target).is_some_and(|it| it.exists()) {
        return Ok(Seen::Not("the file was written beside its place, and not put there".to_owned()));
    }
    let why = "there is no such file, or an empty one: it was not written, or whoever waited for it has taken it";
    Ok(Seen::Never(why.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_file_is_seen_as_far_as_it_can_be() {
        let dir = tempfile::tempdir().expect("a folder");
        let target = dir.path().join("promote");
        let look = || look(&target, b"now k\n").expect("it can be read");
        assert!(matches!(look(), Seen::Never(_)), "taken away, or never there");
        fs::write(&target, "now j\n").expect("it is written");
        assert!(matches!(look(), Seen::Not(_)), "another order's");
        fs::write(&target, "now k\n").expect("it is written");
        assert_eq!(look(), Seen::Done);
        fs::write(&target, "").expect("it is written");
        assert!(matches!(look(), Seen::Never(_)), "emptied by whoever waited for it");
        fs::write(beside(&target).expect("a name"), "now").expect("it is written");
        assert!(matches!(look(), Seen::Not(_)), "the writer was killed before it was there");
    }
}
