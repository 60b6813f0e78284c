//! The folder of a series of backups of a PostgreSQL server: what lies in it, and how it gets there whole or not at all.
//!
//! ```text
//! DIR/system                the system identifier of the server, whose alone the folder is
//! DIR/series                what tells the series apart from every other, where a copy of it was asked for
//! DIR/lock                  held by whoever takes, tests or removes
//! DIR/wal/NAME              the archive: segments of the write-ahead log, and histories of timelines
//! DIR/base/TIME/data/       a base backup, as `pg_basebackup` left it
//! DIR/base/TIME/backup.json what it is: see [`Backup`]
//! ```
//!
//! A name that begins with `.` is something that is under way, or was when its process was killed. Whatever has a name without it is whole:
//! it was synced before it was renamed. Nothing here speaks to a server, runs a program or decides when something is done.

mod archive;
mod base;
mod dated;
mod disk;
mod keep;
mod wal;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::rand::{GetRandomFlags, getrandom};

pub use archive::{ArchiveError, Fetched};
pub use base::{Backup, Held, Holding, Listed, NAME_OF_DATA, Taking, Test, is_name_of_backup};
pub use dated::{dated_ahead, last_test, newest};
pub use keep::{Removed, first_kept};
pub use wal::{Lsn, LsnError, Segment, WalName};

const SERIES: &str = "series";

/// Whether that can be what tells a series apart: sixteen hexadecimal digits.
pub fn is_series(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// The folder of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

/// Whoever has it is alone in taking and removing. It is given back with its end, also by a kill.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Folder {
    /// A folder that is there. It is never made: one that is not there may be a file system that is not mounted.
    ///
    /// # Errors
    /// It is not there, or no folder.
    pub fn open(path: impl Into<PathBuf>) -> Result<Folder, FolderError> {
        let path = path.into();
        match fs::metadata(&path) {
            Ok(it) if it.is_dir() => Ok(Folder { path }),
            Ok(_) => Err(FolderError::NoFolder { path }),
            Err(source) => Err(FolderError::Io { doing: "opening", path, source }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder on the same machine that belongs to whom this one belongs, if it is not there.
    ///
    /// # Errors
    /// The disk.
    pub fn make_beside(&self, path: &Path) -> Result<(), FolderError> {
        disk::folder(&self.path, path).map_err(|source| FolderError::Io {
            doing: "making",
            path: path.to_owned(),
            source,
        })
    }

    /// Makes a file that belongs to whom the folder belongs, in place of what is there. A symbolic link is refused.
    ///
    /// # Errors
    /// The disk.
    pub fn write_beside(&self, path: &Path, content: &str) -> Result<(), FolderError> {
        let error = |source| FolderError::Io { doing: "writing", path: path.to_owned(), source };
        let how = File::options().write(true).create(true).truncate(true).to_owned();
        let mut file = disk::owned(&self.path, path, &how).map_err(error)?;
        io::Write::write_all(&mut file, content.as_bytes()).and_then(|()| file.sync_all()).map_err(error)
    }

    fn wal(&self) -> PathBuf {
        self.path.join("wal")
    }

    fn base(&self) -> PathBuf {
        self.path.join("base")
    }

    /// Makes sure that nobody else takes or removes; archiving goes on.
    ///
    /// # Errors
    /// Somebody else has it.
    pub fn lock(&self) -> Result<Lock, FolderError> {
        let path = self.path.join("lock");
        let file = disk::owned(&self.path, &path, File::options().create(true).truncate(false).write(true))
            .map_err(|source| FolderError::Io { doing: "locking", path: path.clone(), source })?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                Err(FolderError::Locked { path: self.path.clone() })
            }
            Err(error) => Err(FolderError::Io { doing: "locking", path, source: error.into() }),
        }
    }

    /// The system identifier of whose server's backups these are; `None`: nothing was archived or taken yet.
    ///
    /// # Errors
    /// It can't be read.
    pub fn system(&self) -> Result<Option<u64>, FolderError> {
        let path = self.path.join("system");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(system) => Ok(Some(system)),
                Err(_) => Err(FolderError::Damaged { path, why: "it holds no system identifier".to_owned() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FolderError::Io { doing: "reading", path, source }),
        }
    }

    /// What tells this series apart from every other: made by chance when it is first asked for. Copies of it have it, too.
    ///
    /// # Errors
    /// The disk.
    pub fn series(&self) -> Result<String, FolderError> {
        if let Some(series) = self.known_series()? {
            return Ok(series);
        }
        let error = |source| FolderError::Io { doing: "writing", path: self.path.join(SERIES), source };
        let mut chance = [0; 8];
        getrandom(&mut chance, GetRandomFlags::empty()).map_err(|it| error(it.into()))?;
        self.adopt(&format!("{:016x}", u64::from_ne_bytes(chance)))
    }

    /// Makes this the folder of the series of which a copy was found, unless it is one's already; gives whose it is.
    ///
    /// # Errors
    /// The disk.
    pub fn adopt(&self, series: &str) -> Result<String, FolderError> {
        if let Some(series) = self.known_series()? {
            return Ok(series);
        }
        let path = self.path.join(SERIES);
        let made =
            disk::make(&self.path, &path, |mut file| io::Write::write_all(&mut file, format!("{series}\n").as_bytes()));
        made.map_err(|source| FolderError::Io { doing: "writing", path, source })?;
        Ok(self.known_series()?.unwrap_or_else(|| series.to_owned()))
    }

    /// What tells this series apart, if that was asked for already.
    ///
    /// # Errors
    /// It can't be read.
    pub fn known_series(&self) -> Result<Option<String>, FolderError> {
        let path = self.path.join(SERIES);
        match fs::read_to_string(&path) {
            Ok(text) if is_series(text.trim()) => Ok(Some(text.trim().to_owned())),
            Ok(_) => Err(FolderError::Damaged { path, why: "it names no series".to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FolderError::Io { doing: "reading", path, source }),
        }
    }

    /// Makes sure that the folder is that server's: the first one gets it.
    ///
    /// # Errors
    /// It is another one's, or the disk.
    pub fn claim(&self, system: u64) -> Result<(), FolderError> {
        let has = match self.system()? {
            Some(has) => has,
            None => {
                let path = self.path.join("system");
                let made = disk::make(&self.path, &path, |mut file| {
                    io::Write::write_all(&mut file, format!("{system}\n").as_bytes())
                });
                match made {
                    Ok(_) => self.system()?.unwrap_or(system),
                    Err(source) => return Err(FolderError::Io { doing: "writing", path, source }),
                }
            }
        };
        if has == system {
            Ok(())
        } else {
            Err(FolderError::OtherSystem { path: self.path.clone(), has, came: system })
        }
    }
}

/// What is wrong with a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something else.
    #[error("{} is no folder", path.display())]
    NoFolder {
        /// Which one.
        path: PathBuf,
    },
    /// Somebody takes, tests or removes.
    #[error("{} is in use: a backup is taken, tested or removed there", path.display())]
    Locked {
        /// Which one.
        path: PathBuf,
    },
    /// It is another server's.
    #[error("{} holds what is of the server with the system identifier {has}, and this is of {came}", path.display())]
    OtherSystem {
        /// Which one.
        path: PathBuf,
        /// Whose it is.
        has: u64,
        /// Who came.
        came: u64,
    },
    /// What lies there is not what it was.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// In what way.
        why: String,
    },
    /// The disk.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_never_made() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(matches!(Folder::open(dir.path().join("not-mounted")), Err(FolderError::Io { .. })));
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(matches!(Folder::open(file), Err(FolderError::NoFolder { .. })));
    }

    #[test]
    fn one_at_a_time_takes() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        let held = folder.lock().expect("nobody has it");
        assert!(matches!(folder.lock(), Err(FolderError::Locked { .. })));
        drop(held);
        folder.lock().expect("it was given back");
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        let (precious, link) = (dir.path().join("precious"), dir.path().join("note"));
        fs::write(&precious, "as it was").expect("written");
        std::os::unix::fs::symlink(&precious, &link).expect("made");
        std::os::unix::fs::symlink(dir.path().join("not-there"), dir.path().join("lock")).expect("made");
        assert!(matches!(folder.write_beside(&link, "changed"), Err(FolderError::Io { .. })));
        assert_eq!(fs::read_to_string(&precious).expect("read"), "as it was");
        assert!(matches!(folder.lock(), Err(FolderError::Io { .. })));
        assert!(!dir.path().join("not-there").exists(), "nothing is made where it leads");
    }

    #[test]
    fn a_folder_is_one_servers() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        assert_eq!(folder.system().expect("it is read"), None);
        folder.claim(7).expect("it is free");
        folder.claim(7).expect("it is its own");
        assert!(matches!(folder.claim(8), Err(FolderError::OtherSystem { has: 7, came: 8, .. })));
        fs::write(dir.path().join("system"), "").expect("written");
        assert!(matches!(folder.claim(7), Err(FolderError::Damaged { .. })));
    }

    #[test]
    fn a_folder_is_one_series() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        let series = folder.series().expect("it is made");
        assert!(is_series(&series));
        assert_eq!(folder.adopt("0123456789abcdef").expect("read"), series, "it stays");
        let other = tempfile::tempdir().expect("a folder");
        let other = Folder::open(other.path()).expect("it is there");
        assert_eq!(other.adopt(&series).expect("adopted"), series);
        assert_eq!(other.series().expect("read"), series);
        fs::write(dir.path().join("series"), "ours\n").expect("written");
        assert!(matches!(folder.series(), Err(FolderError::Damaged { .. })));
    }
}
