//! What is kept: backups for as long as they are wanted, and the log that the kept ones need.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::{ArchiveError, Backup, Folder, Listed, Lock, Lsn, WalName, disk};

/// How long something that was under way when its process was killed is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(24 * 3600);

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The names of the backups.
    pub backups: Vec<String>,
    /// How many files of the archive.
    pub archived: u64,
}

impl Folder {
    /// Removes backups that nobody needs to restore any moment of the last `keep`, and the log that no kept backup needs. The newest backup that is older than
    /// that stays: the moments behind it are restored from it. So one always stays. Histories of timelines stay, too. While there is a backup that
    /// can't be read, none of the log is removed: it may need it, once somebody has mended it.
    ///
    /// # Errors
    /// The disk.
    pub fn remove_old(&self, lock: &Lock, keep: Duration, now: Timestamp) -> Result<Removed, ArchiveError> {
        self.sweep(lock);
        let mut removed = Removed::default();
        let Listed { backups, damaged } = self.backups()?;
        let first = first_kept(&backups, keep, now);
        let (held, old): (Vec<_>, Vec<_>) = backups[..first].iter().partition(|it| self.is_held(it));
        for old in old {
            let (path, gone) = (self.base().join(&old.name), self.base().join(format!(".gone.{}", old.name)));
            // So that none is there of which a part is missing.
            let gone = fs::rename(&path, &gone).and_then(|()| fs::remove_dir_all(&gone));
            gone.map_err(|source| ArchiveError::Io { doing: "removing", path, source })?;
            removed.backups.push(old.name.clone());
        }
        if !removed.backups.is_empty() {
            let base = self.base();
            disk::sync(&base).map_err(|source| ArchiveError::Io { doing: "syncing", path: base, source })?;
        }
        if damaged.is_empty() {
            let kept: Vec<&Backup> = held.into_iter().chain(&backups[first..]).collect();
            removed.archived = self.remove_log(&kept)?;
        }
        Ok(removed)
    }

    fn remove_log(&self, kept: &[&Backup]) -> Result<u64, ArchiveError> {
        // Without a backup the log is of no use, and yet the first one may need it: it is being taken, perhaps.
        let (Some(start), Some(any)) = (kept.iter().map(|it| it.start).min(), self.segments()?.first().copied()) else {
            return Ok(0);
        };
        let size = self.segment_size(any)?;
        let mut removed = 0;
        for entry in self.archived()? {
            let name = entry.file_name();
            if name.to_str().and_then(WalName::read).is_some_and(|it| !it.is_needed(start, size)) {
                self.remove(&entry)?;
                removed += 1;
            }
        }
        self.remove_leftovers()?;
        Ok(removed)
    }

    /// What `archive` left when it was killed.
    fn remove_leftovers(&self) -> Result<(), ArchiveError> {
        let folder = self.wal();
        let error = |source| ArchiveError::Io { doing: "reading", path: folder.clone(), source };
        let entries: Vec<_> = fs::read_dir(&folder).and_then(Iterator::collect).map_err(error)?;
        let is_old = |it: &fs::DirEntry| {
            let written = it.metadata().and_then(|it| it.modified()).ok();
            let age = written.and_then(|it| SystemTime::now().duration_since(it).ok());
            it.file_name().to_string_lossy().starts_with('.') && age.is_some_and(|it| it > LEFT_ALONE)
        };
        entries.iter().filter(|it| is_old(it)).try_for_each(|it| self.remove(it))
    }

    fn remove(&self, entry: &fs::DirEntry) -> Result<(), ArchiveError> {
        match fs::remove_file(entry.path()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(ArchiveError::Io { doing: "removing", path: entry.path(), source }),
        }
    }
}

/// Which of the backups, the oldest first, is the first that somebody may need to restore a moment of the last `keep`.
pub fn first_kept(backups: &[Backup], keep: Duration, now: Timestamp) -> usize {
    let since = now - keep;
    backups.iter().rposition(|it| it.ended <= since).unwrap_or(0)
}

impl WalName {
    /// Whether a backup that needs the log from `start` on needs this file, where a segment has `size` bytes.
    pub fn is_needed(&self, start: Lsn, size: u64) -> bool {
        match self {
            WalName::Segment(it) | WalName::Partial(it) | WalName::Label(it) => it.end(size) > start,
            WalName::History(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;
    use crate::base::tests::fill;
    use crate::wal::tests::segment;

    const SIZE: u64 = 1 << 20;

    struct Kit {
        folder: Folder,
        _dir: tempfile::TempDir,
    }

    impl Kit {
        fn new() -> Kit {
            let dir = tempfile::tempdir().expect("a folder");
            Kit { folder: Folder::open(dir.path()).expect("it is there"), _dir: dir }
        }

        fn archive(&self, nth: u64) {
            let at = Lsn(nth * SIZE);
            let source = self.folder.path().join("source");
            fs::write(&source, segment(7, at, 1 << 20, 1)).expect("written");
            let name = Segment::of(1, at, SIZE).to_string();
            self.folder.archive(&source, &name).expect("archived");
        }

        /// A backup that ended that many hours after the epoch and begins in the nth segment.
        fn backup(&self, hours: i64, nth: u64) -> Backup {
            let taking = self.folder.begin(self.folder.lock().expect("nobody takes one")).expect("it begins");
            fill(&taking, 7, 1, Lsn(nth * SIZE + 0x28));
            taking.finish(at(hours), "x", "primary").expect("it is whole")
        }

        fn remove(&self, keep_hours: u64, now: i64) -> Removed {
            let lock = self.folder.lock().expect("nobody has it");
            self.folder.remove_old(&lock, Duration::from_secs(3600 * keep_hours), at(now)).expect("removed")
        }

        fn archived(&self) -> Vec<u64> {
            self.folder.segments().expect("read").iter().map(|it| it.start(SIZE).0 / SIZE).collect()
        }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).expect("a moment")
    }

    #[test]
    fn the_newest_before_the_window_stays_with_its_log() {
        let kit = Kit::new();
        (1..9).for_each(|it| kit.archive(it));
        let old = kit.backup(10, 2);
        kit.backup(20, 4);
        kit.backup(30, 6);
        assert_eq!(kit.remove(10, 25), Removed { backups: Vec::new(), archived: 1 }, "15 needs the one of 10");
        assert_eq!(kit.archived(), [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(kit.remove(10, 30), Removed { backups: vec![old.name], archived: 2 });
        assert_eq!(kit.archived(), [4, 5, 6, 7, 8]);
    }

    #[test]
    fn one_that_is_being_restored_stays_with_its_log() {
        let kit = Kit::new();
        (1..9).for_each(|it| kit.archive(it));
        let old = kit.backup(10, 2);
        kit.backup(20, 4);
        let held = kit.folder.hold(&old).expect("it is there");
        assert_eq!(kit.remove(1, 100), Removed { backups: Vec::new(), archived: 1 });
        drop(held);
        assert_eq!(kit.remove(1, 100), Removed { backups: vec![old.name], archived: 2 });
    }

    #[test]
    fn one_that_can_not_be_read_keeps_the_log() {
        let kit = Kit::new();
        (1..9).for_each(|it| kit.archive(it));
        let unreadable = kit.backup(10, 2);
        let (old, description) = (kit.backup(20, 4), kit.folder.base().join(&unreadable.name).join("backup.json"));
        kit.backup(30, 6);
        let content = fs::read(&description).expect("there");
        fs::write(&description, "").expect("written");
        assert_eq!(kit.remove(1, 100), Removed { backups: vec![old.name], archived: 0 });
        assert_eq!(kit.archived(), [1, 2, 3, 4, 5, 6, 7, 8]);
        fs::write(&description, content).expect("mended");
        assert_eq!(kit.remove(1, 100), Removed { backups: vec![unreadable.name], archived: 5 });
        assert_eq!(kit.archived(), [6, 7, 8]);
    }

    #[test]
    fn the_last_one_stays_however_old() {
        let kit = Kit::new();
        kit.archive(1);
        assert_eq!(kit.remove(1, 1000), Removed::default(), "nobody knows who needs the log");
        kit.backup(1, 1);
        assert_eq!(kit.remove(1, 1000), Removed::default());
        assert_eq!((kit.folder.backups().expect("read").backups.len(), kit.archived()), (1, vec![1]));
    }
}
