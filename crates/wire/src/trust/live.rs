//! What a file holds, read again when the file was replaced.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::files::FileError;

/// The content of a file of which others may write a new version at any time.
#[derive(Debug)]
pub(super) struct Live<T> {
    path: PathBuf,
    read: fn(&Path) -> Result<T, FileError>,
    loaded: RwLock<Arc<T>>,
    seen: Mutex<Option<Version>>,
}

/// What changes when a file is replaced: its number, its length and its time.
pub(super) type Version = (u64, u64, i64, i64);

impl<T> Live<T> {
    pub(super) fn open(path: &Path, read: fn(&Path) -> Result<T, FileError>) -> Result<Live<T>, FileError> {
        let seen = Mutex::new(version(path).ok());
        let loaded = RwLock::new(Arc::new(read(path)?));
        Ok(Live { path: path.to_owned(), read, loaded, seen })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was read last.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the file holds now. A file that can't be used changes nothing.
    pub(super) fn newest(&self) -> Arc<T> {
        let now = version(&self.path).ok();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen != now && self.reload().is_ok() {
            *seen = now;
        }
        drop(seen);
        self.current()
    }

    /// Reads the file again. What was read before stays if it can't be used.
    pub(super) fn reload(&self) -> Result<(), FileError> {
        let new = Arc::new((self.read)(&self.path)?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

pub(super) fn version(path: &Path) -> io::Result<Version> {
    fs::metadata(path).map(|it| (it.ino(), it.len(), it.mtime(), it.mtime_nsec()))
}
