//! The routing table on disk: what is acknowledged is here first, and what is here is served at the next start.
//!
//! `routing-table.json` holds the table with its checksum, `routing-table.prev.json` the one before. Both are replaced by
//! rename, so a crash leaves a whole file; the checksum is for disks that lie. `routing-table.spare` holds space for the
//! next table, because disks fill exactly when routes have to change.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mainstay_plan::routing::RoutingTable;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

const CURRENT: &str = "routing-table.json";
const PREVIOUS: &str = "routing-table.prev.json";
const SPARE: &str = "routing-table.spare";
const LOCK: &str = "traffic.lock";
/// The least that is set aside; more where tables are large.
const SPARE_BYTES: usize = 64 << 10;
/// Bigger files are not ours: what a control request may carry, twice.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A state directory that this process alone writes to, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    lock: File,
}

/// Why a state directory can't be used.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Another traffic process has it.
    Locked { pid: String },
    /// The system refused.
    Io(io::Error),
}

/// What a state directory held at the start.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The table, unless there is none.
    pub(crate) table: Option<RoutingTable>,
    /// Milliseconds since it was written.
    pub(crate) age_ms: u64,
    /// It is not the last one that was acknowledged.
    pub(crate) is_fallback: bool,
    /// What was wrong with the files.
    pub(crate) trouble: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    checksum: String,
    table: RoutingTable,
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("is missing")]
    Missing,
    #[error("can't be read: {0}")]
    Io(io::Error),
    #[error("is not a routing table: {0}")]
    Json(serde_json::Error),
    #[error("has a checksum that doesn't match")]
    Checksum,
    #[error("can't be served: {0}")]
    Table(mainstay_plan::routing::TableError),
}

impl StateDir {
    /// Creates the directory if it is missing, and locks it.
    pub(crate) fn open(path: &Path) -> Result<StateDir, OpenError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(OpenError::Io)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(OpenError::Io)?;
        if let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(OpenError::Io(error.into()));
            }
            let mut pid = String::new();
            let read = (&lock).take(20).read_to_string(&mut pid);
            let pid = pid.trim();
            let known = read.is_ok() && !pid.is_empty();
            return Err(OpenError::Locked { pid: if known { pid.to_owned() } else { "unknown".to_owned() } });
        }
        let state = StateDir { path: path.to_owned(), lock };
        state.is_ours();
        Ok(state)
    }

    /// A directory whose lock was handed over.
    pub(crate) fn inherited(path: &Path, lock: OwnedFd) -> StateDir {
        StateDir { path: path.to_owned(), lock: lock.into() }
    }

    /// The lock; whoever has it owns the directory.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Writes down whose the lock is.
    pub(crate) fn is_ours(&self) {
        let mut lock = &self.lock;
        // A full disk must not keep clients from being served: the lock holds without the number.
        let _unwritten =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    }

    /// Reads the last good table.
    pub(crate) fn load(&self) -> Loaded {
        let current = match read(&self.path.join(CURRENT)) {
            Ok((table, age_ms)) => {
                return Loaded { table: Some(table), age_ms, is_fallback: false, trouble: None };
            }
            Err(error) => error,
        };
        match (current, read(&self.path.join(PREVIOUS))) {
            (current, Ok((table, age_ms))) => Loaded {
                trouble: Some(format!(
                    "{CURRENT} {current}: serving the table before it (epoch {}); its exclusive routes stay cut until \
                     a table is applied",
                    table.epoch
                )),
                table: Some(table),
                age_ms,
                is_fallback: true,
            },
            (LoadError::Missing, Err(LoadError::Missing)) => {
                Loaded { table: None, age_ms: 0, is_fallback: false, trouble: None }
            }
            (current, Err(previous)) => Loaded {
                table: None,
                age_ms: 0,
                is_fallback: true,
                trouble: Some(format!(
                    "{CURRENT} {current}, {PREVIOUS} {previous}: serving nothing until a table is applied"
                )),
            },
        }
    }

    /// Makes `table` the one that the next start serves. When it returns, the table outlives a power cut.
    ///
    /// `keep_previous`: what stands on disk now is good and becomes the previous one.
    pub(crate) fn save(&self, table: &RoutingTable, keep_previous: bool) -> io::Result<()> {
        let envelope = Envelope { checksum: table.checksum(), table: table.clone() };
        let json = serde_json::to_vec(&envelope).map_err(io::Error::other)?;
        let current = self.path.join(CURRENT);
        let beside = self.path.join("routing-table.json.new");
        match write(&beside, &json) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                fs::remove_file(self.path.join(SPARE)).map_err(|_none| error)?;
                write(&beside, &json)?;
            }
            result => result?,
        }
        if keep_previous && current.exists() {
            let aside = self.path.join("routing-table.prev.json.new");
            match fs::remove_file(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // A second name for the file, not a rename: there is never an instant without a current table.
            fs::hard_link(&current, &aside)?;
            fs::rename(&aside, self.path.join(PREVIOUS))?;
        }
        fs::rename(&beside, &current)?;
        File::open(&self.path)?.sync_all()?;
        self.set_space_aside(json.len());
        Ok(())
    }

    /// Without space for it tables are written for as long as there is any.
    fn set_space_aside(&self, table_bytes: usize) {
        let spare = self.path.join(SPARE);
        let bytes = SPARE_BYTES.max(2 * table_bytes);
        let is_there = fs::metadata(&spare).is_ok_and(|it| it.len() >= bytes as u64);
        if !is_there && write(&spare, &vec![0xA5; bytes]).is_err() {
            let _none = fs::remove_file(&spare);
        }
    }
}

/// Writes a whole file, durably.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read(path: &Path) -> Result<(RoutingTable, u64), LoadError> {
    let file = File::open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound { LoadError::Missing } else { LoadError::Io(error) }
    })?;
    let written = file.metadata().and_then(|it| it.modified()).map_err(LoadError::Io)?;
    let mut json = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut json).map_err(LoadError::Io)?;
    let envelope: Envelope = serde_json::from_slice(&json).map_err(LoadError::Json)?;
    if envelope.table.checksum() != envelope.checksum {
        return Err(LoadError::Checksum);
    }
    envelope.table.validate().map_err(LoadError::Table)?;
    let age = written.elapsed().unwrap_or_default();
    Ok((envelope.table, u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(epoch: u64) -> RoutingTable {
        RoutingTable { epoch, ..RoutingTable::empty("here") }
    }

    #[test]
    fn a_new_directory_holds_nothing_and_says_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let loaded = StateDir::open(dir.path()).unwrap().load();
        assert_eq!(loaded.table, None);
        assert_eq!(loaded.trouble, None);
    }

    #[test]
    fn the_last_saved_table_is_loaded_and_the_one_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        for epoch in 1..=3 {
            state.save(&table(epoch), true).unwrap();
        }
        assert_eq!(state.load().table, Some(table(3)));
        assert_eq!(read(&dir.path().join(PREVIOUS)).unwrap().0, table(2));
    }

    #[test]
    fn space_is_set_aside_for_the_next_table() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save(&table(1), true).unwrap();
        assert_eq!(fs::metadata(dir.path().join(SPARE)).unwrap().len(), SPARE_BYTES as u64);
    }

    #[test]
    fn a_flipped_bit_falls_back_to_the_previous_table() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save(&table(4), true).unwrap();
        state.save(&table(5), true).unwrap();
        let path = dir.path().join(CURRENT);
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"epoch\":5", "\"epoch\":7")).unwrap();
        let loaded = state.load();
        assert_eq!(loaded.table, Some(table(4)));
        assert!(loaded.is_fallback);
        assert!(loaded.trouble.unwrap().contains("checksum"));
    }

    #[test]
    fn two_broken_files_leave_nothing_and_say_so() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::write(dir.path().join(CURRENT), "{").unwrap();
        fs::write(dir.path().join(PREVIOUS), "").unwrap();
        let loaded = state.load();
        assert_eq!(loaded.table, None);
        assert!(loaded.trouble.unwrap().contains("serving nothing"));
    }

    #[test]
    fn one_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let Err(OpenError::Locked { pid }) = StateDir::open(dir.path()) else { panic!("locked twice") };
        assert_eq!(pid, std::process::id().to_string());
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }
}
