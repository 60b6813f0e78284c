//! Files that are for their owner alone: written whole or not at all, and not believed when others could have read them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why a file of keys, certificates or tokens can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("there is no {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read or change it.
    #[error("{} is open to other users (mode {mode:04o}): see who could have read it, then run `chmod {} {}`",
        path.display(), if *directory { "700" } else { "600" }, path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Whether it is a directory.
        directory: bool,
    },
    /// It does not hold what it should.
    #[error("{} can't be understood: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refuses.
    #[error("can't use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl FileError {
    pub(super) fn io(path: &Path, source: io::Error) -> FileError {
        if source.kind() == ErrorKind::NotFound {
            return FileError::Missing { path: path.to_owned() };
        }
        FileError::Io { path: path.to_owned(), source }
    }

    pub(super) fn damaged(path: &Path, what: impl ToString) -> FileError {
        FileError::Damaged { path: path.to_owned(), what: what.to_string() }
    }
}

/// Makes a directory for its owner alone, where it is missing.
pub(super) fn make_private(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|it| FileError::io(path, it))?;
    check_private(path)
}

/// Refuses what others may read or write.
pub(super) fn check_private(path: &Path) -> Result<(), FileError> {
    let about = fs::metadata(path).map_err(|it| FileError::io(path, it))?;
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(FileError::OpenToOthers { path: path.to_owned(), mode, directory: about.is_dir() })
}

/// Reads a file that is for its owner alone.
pub(super) fn read_private(path: &Path) -> Result<String, FileError> {
    check_private(path)?;
    read(path)
}

/// Reads a file of text.
pub(super) fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|it| FileError::io(path, it))
}

/// Writes a file with a key in it, and removes what a process left behind that was killed while it wrote one.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.parent().map(fs::read_dir).and_then(Result::ok);
    for left in beside.into_iter().flatten().flatten().map(|it| it.path()) {
        let other = left.file_name().unwrap_or_default().to_string_lossy();
        let writer = other.strip_prefix(&format!(".{name}.")).filter(|it| it.parse::<u32>().is_ok());
        if writer.is_some_and(|it| !Path::new("/proc").join(it).exists()) {
            fs::remove_file(&left).map_err(|it| FileError::io(&left, it))?;
        }
    }
    write_private(path, text)
}

/// Writes a file (mode 0600) so that it holds either what it held or all of `text`, whenever the machine stops.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)
    })();
    if let Err(source) = written {
        let _never_made = fs::remove_file(&partial);
        return Err(FileError::io(path, source));
    }
    sync_directory_of(path)
}

/// Makes durable that a file of this directory was made, renamed or removed.
pub(super) fn sync_directory_of(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|it| it.sync_all()).map_err(|it| FileError::io(parent, it))
}

/// Keeps others out of a directory until it is dropped, however its holder ends.
pub(super) fn lock(directory: &Path) -> Result<File, FileError> {
    let path = directory.join("lock");
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = open.map_err(|it| FileError::io(&path, it))?;
    file.lock().map_err(|it| FileError::io(&path, it))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_left_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let mut ended = std::process::Command::new("true").spawn().expect("it starts");
        ended.wait().expect("it ends");
        let (left, mine) = (at(&format!(".key.pem.{}", ended.id())), at(&format!(".key.pem.{}", std::process::id())));
        for path in [&left, &mine, &at(".key.pem.txt"), &at(".other.pem.1")] {
            fs::write(path, "a key").expect("it is written");
        }
        write_secret(&at("key.pem"), "another key").expect("it is written");
        assert!(!left.exists());
        assert!(at(".key.pem.txt").exists() && at(".other.pem.1").exists());
        assert_eq!(fs::read_to_string(at("key.pem")).expect("it is there"), "another key");
    }
}
