//! The state directory: one agent's own place on disk.
//!
//! Two agents on one directory would write two histories into one journal, so who opens it holds `lock` exclusively for
//! as long as it lives. The kernel drops the lock with its holder, however that one dies; the number in the file only
//! serves the message. Who merely reads (`journal show` while the agent runs) needs no lock and does not come here.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// A state directory, held exclusively until this value is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why a state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process holds it.
    #[error(
        "the state directory {} is in use by {}: stop that agent, or give this one a state directory of its own",
        path.display(), holder(*pid)
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// The holder's process id, where its lock file says so.
        pid: Option<u32>,
    },
    /// Something on the path is not a directory.
    #[error("the state directory {} can't be used: it, or something on the way to it, is not a directory", path.display())]
    NotADirectory {
        /// The directory.
        path: PathBuf,
    },
    /// We may not create it or write in it.
    #[error("no permission for the state directory {}: make it writable for the user that runs the agent", path.display())]
    NoPermission {
        /// The directory.
        path: PathBuf,
    },
    /// It lies on a file system that is mounted read-only.
    #[error("the state directory {} is on a read-only file system: choose one that can be written", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// Other users may write in it, so nothing in it could be trusted.
    #[error("other users may write in the state directory {} (mode {mode:04o}): run `chmod go-w` on it", path.display())]
    WritableByOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Anything else the operating system has to say.
    #[error("can't use the state directory {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl StateDir {
    /// Opens the directory, creating it (mode 0700) where it is missing, and takes its lock.
    ///
    /// A directory that exists keeps its mode, since it may not be ours alone to change; one that others may write in
    /// is refused.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let explain = |source| explain(path, source);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(explain)?;
        let mode = fs::metadata(path).map_err(explain)?.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(StateDirError::WritableByOthers { path: path.to_owned(), mode });
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(explain)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateDirError::Held { path: path.to_owned(), pid: read_pid(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(explain(source)),
        }
        lock.set_len(0).map_err(explain)?;
        // A full disk must not keep an agent from starting: the lock holds without the number.
        let _unwritten = writeln!(lock, "{}", std::process::id());
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn explain(path: &Path, source: io::Error) -> StateDirError {
    let path = path.to_owned();
    #[expect(clippy::wildcard_enum_match_arm, reason = "the operating system's errors are not ours to list")]
    match source.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => StateDirError::NotADirectory { path },
        ErrorKind::PermissionDenied => StateDirError::NoPermission { path },
        ErrorKind::ReadOnlyFilesystem => StateDirError::ReadOnly { path },
        _ => StateDirError::Io { path, source },
    }
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_the_directory_for_its_owner_alone() {
        let parent = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&parent.path().join("a/state")).expect("opens");
        let mode = fs::metadata(state.path()).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn refuses_a_second_holder_by_name_and_lets_it_in_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = StateDir::open(dir.path()).expect("opens");
        let refused = StateDir::open(dir.path()).expect_err("is held");
        assert!(
            matches!(&refused, StateDirError::Held { pid: Some(pid), .. } if *pid == std::process::id()),
            "{refused:?}"
        );
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(refused.to_string().contains("stop that agent"), "{refused}");
        drop(first);
        StateDir::open(dir.path()).expect("is free again");
    }

    #[test]
    fn a_stale_number_does_not_hold_the_lock() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(LOCK_FILE), "999999999\n and a long line that was there before").expect("writes");
        let _state = StateDir::open(dir.path()).expect("opens");
        let text = fs::read_to_string(dir.path().join(LOCK_FILE)).expect("reads");
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_is_not_a_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("writes");
        for path in [file.clone(), file.join("below")] {
            let error = StateDir::open(&path).expect_err("is a file");
            assert!(matches!(error, StateDirError::NotADirectory { .. }), "{error:?}");
        }
    }

    #[test]
    fn refuses_what_others_may_write() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("changes the mode");
        let error = StateDir::open(dir.path()).expect_err("is open to all");
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }

    #[test]
    fn says_what_the_operating_system_means() {
        let at = Path::new("/x");
        let explained = |kind| explain(at, io::Error::from(kind));
        assert!(matches!(explained(ErrorKind::PermissionDenied), StateDirError::NoPermission { .. }));
        assert!(matches!(explained(ErrorKind::ReadOnlyFilesystem), StateDirError::ReadOnly { .. }));
        assert!(matches!(explained(ErrorKind::StorageFull), StateDirError::Io { .. }));
    }
}
