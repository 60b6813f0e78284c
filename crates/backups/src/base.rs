//! Base backups: taken beside, renamed when they are whole, and described by a file of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::{Folder, FolderError, Lock, Lsn, disk};

/// The folder of a backup that holds the data directory.
pub const NAME_OF_DATA: &str = "data";

const DESCRIPTION: &str = "backup.json";
const TEST: &str = "restore-test.json";

/// A base backup that is whole and was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// When it was begun, as its folder is called: `20261129T201500Z`.
    pub name: String,
    /// The system identifier of its server.
    pub system: u64,
    /// The timeline that it ends on.
    pub timeline: u32,
    /// From where on a restore needs the log.
    pub start: Lsn,
    /// From where on it is consistent.
    pub stop: Lsn,
    /// When it was begun.
    pub began: Timestamp,
    /// When the last of it was copied: a moment before can't be restored from it.
    pub ended: Timestamp,
    /// When it was found to be whole.
    pub verified: Timestamp,
    /// How long taking and verifying took, in milliseconds.
    pub took_ms: u64,
    /// What it holds.
    pub files: u64,
    /// How much that is.
    pub bytes: u64,
    /// The server that it was taken from.
    pub from: String,
    /// Whether that was a `primary` or a `standby`.
    pub role: String,
    /// The last time that it was restored to see that it can be.
    #[serde(skip)]
    pub test: Option<Test>,
}

/// A restore whose only purpose was to see that it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// When it ended.
    pub at: Timestamp,
    /// From the order to a server that takes writes and has passed its check, in milliseconds.
    pub took_ms: u64,
    /// How far it got.
    pub reached: Lsn,
}

/// A backup that somebody works with.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

/// A backup that is being taken. What it holds is removed with it, unless it is finished.
#[derive(Debug)]
pub struct Taking {
    folder: Folder,
    path: PathBuf,
    began: Timestamp,
    lock: Lock,
}

/// The backups of a series.
#[derive(Debug, Default)]
pub struct Listed {
    /// The oldest first.
    pub backups: Vec<Backup>,
    /// What is there and can't be used.
    pub damaged: Vec<FolderError>,
}

/// What a backup holds, below its data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Its files, and how many bytes each has.
    pub files: BTreeMap<PathBuf, u64>,
    /// Its folders in which nothing is.
    pub empty: BTreeSet<PathBuf>,
}

/// Whether a backup can be called so: as [`Taking::finish`] does.
pub fn is_name_of_backup(name: &str) -> bool {
    let (time, nth) = name.split_once('-').map_or((name, None), |(time, nth)| (time, Some(nth)));
    let is_nth = |it: &str| it.parse::<u32>().is_ok_and(|nth| nth > 1 && nth.to_string() == it);
    let is_digit = |(at, it): (usize, u8)| match at {
        8 => it == b'T',
        15 => it == b'Z',
        _ => it.is_ascii_digit(),
    };
    time.len() == 16 && time.bytes().enumerate().all(is_digit) && nth.is_none_or(is_nth)
}

impl Folder {
    /// Begins a backup: nobody else takes or removes until it ends. What others left that were killed is removed.
    ///
    /// # Errors
    /// The disk.
    pub fn begin(&self, lock: Lock) -> Result<Taking, FolderError> {
        self.sweep(&lock);
        let base = self.base();
        disk::folder(self.path(), &base).map_err(io_error("making", &base))?;
        let path = disk::beside(&base.join("taking"));
        disk::folder(self.path(), &path).map_err(io_error("making", &path))?;
        Ok(Taking { folder: self.clone(), path, began: Timestamp::now(), lock })
    }

    /// What there is.
    ///
    /// # Errors
    /// It can't be read.
    pub fn backups(&self) -> Result<Listed, FolderError> {
        let base = self.base();
        let entries = match fs::read_dir(&base) {
            Ok(it) => it.collect::<io::Result<Vec<_>>>().map_err(io_error("reading", &base))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listed::default()),
            Err(source) => return Err(io_error("reading", &base)(source)),
        };
        let mut listed = Listed::default();
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            match self.backup(&name) {
                Ok(backup) => listed.backups.push(backup),
                Err(error) => listed.damaged.push(error),
            }
        }
        listed.backups.sort_by(|one, other| (one.began, &one.name).cmp(&(other.began, &other.name)));
        Ok(listed)
    }

    fn backup(&self, name: &str) -> Result<Backup, FolderError> {
        let folder = self.base().join(name);
        let mut backup: Backup = read(&folder.join(DESCRIPTION))?;
        if backup.name != name {
            let why = format!("it is of `{}`", backup.name);
            return Err(FolderError::Damaged { path: folder.join(DESCRIPTION), why });
        }
        if self.system()?.is_some_and(|it| it != backup.system) {
            let why = format!("it is of the server with the system identifier {}", backup.system);
            return Err(FolderError::Damaged { path: folder.join(DESCRIPTION), why });
        }
        // A test that can't be read is none: it is made again.
        backup.test = read(&folder.join(TEST)).ok();
        Ok(backup)
    }

    /// Where the data directory of a backup is.
    pub fn data_of(&self, backup: &Backup) -> PathBuf {
        self.base().join(&backup.name).join(NAME_OF_DATA)
    }

    /// What a backup holds.
    ///
    /// # Errors
    /// It can't be read, or holds what is neither a file nor a folder.
    pub fn holding(&self, backup: &Backup) -> Result<Holding, FolderError> {
        let data = self.data_of(backup);
        let mut holding = Holding::default();
        let mut left = vec![PathBuf::new()];
        while let Some(below) = left.pop() {
            let at = data.join(&below);
            let entries = fs::read_dir(&at).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let entries = entries.map_err(io_error("reading", &at))?;
            if entries.is_empty() {
                holding.empty.insert(below.clone());
            }
            for entry in entries {
                let (path, below) = (entry.path(), below.join(entry.file_name()));
                let looked = entry.metadata().map_err(io_error("reading", &path))?;
                if looked.is_dir() {
                    left.push(below);
                } else if looked.is_file() {
                    holding.files.insert(below, looked.len());
                } else {
                    return Err(FolderError::Damaged { path, why: "it is neither a file nor a folder".to_owned() });
                }
            }
        }
        Ok(holding)
    }

    /// Keeps a backup from being removed, for as long as what is given lives.
    ///
    /// # Errors
    /// It was removed meanwhile, or the disk.
    pub fn hold(&self, backup: &Backup) -> Result<Held, FolderError> {
        let path = self.base().join(&backup.name).join(DESCRIPTION);
        let file = File::open(&path).map_err(io_error("opening", &path))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared)
            .map_err(|it| io_error("holding", &path)(it.into()))?;
        Ok(Held { _file: file })
    }

    /// Whether somebody holds it.
    pub(crate) fn is_held(&self, backup: &Backup) -> bool {
        let file = File::open(self.base().join(&backup.name).join(DESCRIPTION));
        file.is_ok_and(|it| rustix::fs::flock(&it, FlockOperation::NonBlockingLockExclusive).is_err())
    }

    /// Writes down that a backup was restored.
    ///
    /// # Errors
    /// The disk.
    pub fn tested(&self, backup: &Backup, test: &Test) -> Result<(), FolderError> {
        let path = self.base().join(&backup.name).join(TEST);
        let temporary = disk::beside(&path);
        let written = write(self.path(), &temporary, test).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(io_error("writing", &path))
    }

    /// Removes what is under way no more. What can't be removed now is removed the next time.
    pub(crate) fn sweep(&self, _lock: &Lock) {
        let left = fs::read_dir(self.base()).into_iter().flatten().flatten();
        for entry in left.filter(|it| it.file_name().to_string_lossy().starts_with('.')) {
            let _next_time = fs::remove_dir_all(entry.path());
        }
    }
}

impl Taking {
    /// Where `pg_basebackup` is to put it: a folder that is not there yet.
    pub fn data(&self) -> PathBuf {
        self.path.join(NAME_OF_DATA)
    }

    /// When it was begun.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// What keeps others out until it ends.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Makes a backup of what is there, after it was verified. `ended` is when the last of it was copied, `from` the server and `role` what that was.
    ///
    /// # Errors
    /// It is of another server, or the disk.
    pub fn finish(&self, ended: Timestamp, from: &str, role: &str) -> Result<Backup, FolderError> {
        let data = self.data();
        let system = system_of(&data)?;
        self.folder.claim(system)?;
        let (timeline, start, stop) = range(&data.join("backup_manifest"))?;
        let (files, bytes) = disk::sync_all(&data).map_err(io_error("syncing", &data))?;
        let verified = Timestamp::now();
        let took = verified.duration_since(self.began).as_millis();
        let mut backup = Backup {
            name: String::new(),
            system,
            timeline,
            start,
            stop,
            began: self.began,
            ended,
            verified,
            took_ms: u64::try_from(took).unwrap_or_default(),
            files,
            bytes,
            from: from.to_owned(),
            role: role.to_owned(),
            test: None,
        };
        let time = self.began.strftime("%Y%m%dT%H%M%SZ").to_string();
        for nth in 1.. {
            backup.name = if nth == 1 { time.clone() } else { format!("{time}-{nth}") };
            if self.describe(&backup)? {
                break;
            }
        }
        Ok(backup)
    }

    /// Makes that backup of what is there: a copy of it was brought back. What belongs to it is given to the owner of the folder, and its modes
    /// are those that a server wants.
    ///
    /// # Errors
    /// It is of another server, one of its name is there, or the disk.
    pub fn bring_back(&self, backup: &Backup) -> Result<(), FolderError> {
        let data = self.data();
        let damaged = |why: String| FolderError::Damaged { path: data.clone(), why };
        let system = system_of(&data)?;
        if system != backup.system {
            return Err(damaged(format!("it is of the server with the system identifier {system}")));
        }
        self.folder.claim(system)?;
        disk::own_all(self.folder.path(), &data).map_err(io_error("giving away", &data))?;
        let (files, bytes) = disk::sync_all(&data).map_err(io_error("syncing", &data))?;
        if (files, bytes) != (backup.files, backup.bytes) {
            return Err(damaged(format!(
                "it has {files} files of {bytes} bytes, and the backup {} of {}",
                backup.files, backup.bytes
            )));
        }
        match self.describe(backup)? {
            true => Ok(()),
            false => Err(damaged(format!("`{}` is there already", backup.name))),
        }
    }

    /// Gives it its name. `false`: something of that name is there.
    fn describe(&self, backup: &Backup) -> Result<bool, FolderError> {
        let (base, description) = (self.folder.base(), self.path.join(DESCRIPTION));
        write(self.folder.path(), &description, backup).map_err(io_error("writing", &description))?;
        disk::sync(&self.path).map_err(io_error("syncing", &self.path))?;
        let to = base.join(&backup.name);
        if !disk::rename_new(&self.path, &to).map_err(io_error("renaming", &to))? {
            return Ok(false);
        }
        disk::sync(&base).map_err(io_error("syncing", &base))?;
        Ok(true)
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        // After it was finished nothing is there.
        let _next_time = fs::remove_dir_all(&self.path);
    }
}

/// The system identifier is what `pg_control` begins with.
fn system_of(data: &Path) -> Result<u64, FolderError> {
    let path = data.join("global/pg_control");
    let mut system = [0; 8];
    File::open(&path).and_then(|mut it| it.read_exact(&mut system)).map_err(io_error("reading", &path))?;
    Ok(u64::from_ne_bytes(system))
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "WAL-Ranges")]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

/// Which part of the log a backup needs to be consistent: the timeline that it ends on, from where, up to where.
fn range(manifest: &Path) -> Result<(u32, Lsn, Lsn), FolderError> {
    let read: Manifest = read(manifest)?;
    let by_timeline: BTreeMap<u32, &Range> = read.ranges.iter().map(|it| (it.timeline, it)).collect();
    match (by_timeline.first_key_value(), by_timeline.last_key_value()) {
        (Some((_, first)), Some((timeline, last))) => Ok((*timeline, first.start, last.end)),
        _ => Err(FolderError::Damaged { path: manifest.to_owned(), why: "it names no part of the log".to_owned() }),
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, FolderError> {
    let text = fs::read(path).map_err(io_error("reading", path))?;
    serde_json::from_slice(&text).map_err(|it| FolderError::Damaged { path: path.to_owned(), why: it.to_string() })
}

fn write(folder: &Path, path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    let mut file = disk::owned(folder, path, File::options().write(true).create(true).truncate(true))?;
    file.write_all(&text)?;
    file.sync_all()
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { doing, path, source }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Fills a backup as `pg_basebackup` would, as far as it is read here.
    pub(crate) fn fill(taking: &Taking, system: u64, timeline: u32, start: Lsn) {
        fs::create_dir_all(taking.data().join("global")).expect("made");
        fs::write(taking.data().join("global/pg_control"), system.to_ne_bytes()).expect("written");
        let stop = Lsn(start.0 + 0x100);
        let ranges = format!(
            r#"{{"Files": [{{"Path": "x"}}], "WAL-Ranges": [{{"Timeline": {timeline}, "Start-LSN": "{start}", "End-LSN": "{stop}"}}]}}"#
        );
        fs::write(taking.data().join("backup_manifest"), ranges).expect("written");
    }

    #[test]
    fn a_backup_is_called_as_it_was_begun() {
        for name in ["20261129T201500Z", "20261129T201500Z-2", "20261129T201500Z-10"] {
            assert!(is_name_of_backup(name), "{name}");
        }
        for none in [
            "",
            "base",
            "20261129T201500",
            "20261129T201500Z-",
            "20261129T201500Z-02",
            "20261129T201500Z-1",
            "2026-1129T20150Z",
        ] {
            assert!(!is_name_of_backup(none), "{none}");
        }
    }

    #[test]
    fn one_is_there_when_it_is_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        let taking = folder.begin(folder.lock().expect("nobody takes one")).expect("it begins");
        assert!(matches!(folder.lock(), Err(FolderError::Locked { .. })));
        fill(&taking, 7, 1, Lsn(0x200_0028));
        assert_eq!(folder.backups().expect("read").backups, []);
        let backup = taking.finish(Timestamp::now(), "10.0.1.10:5432", "standby").expect("it is whole");
        assert_eq!((backup.timeline, backup.stop, backup.files), (1, Lsn(0x200_0128), 2));
        let listed = folder.backups().expect("read");
        assert_eq!(listed.backups, std::slice::from_ref(&backup));
        assert!(folder.data_of(&backup).join("backup_manifest").is_file());
        let test = Test { at: Timestamp::now(), took_ms: 4200, reached: Lsn(0x300_0000) };
        folder.tested(&backup, &test).expect("written");
        assert_eq!(folder.backups().expect("read").backups[0].test, Some(test));
    }

    #[test]
    fn two_within_a_second_are_two() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        let take = || {
            let mut taking = folder.begin(folder.lock().expect("nobody takes one")).expect("it begins");
            taking.began = Timestamp::UNIX_EPOCH;
            fill(&taking, 7, 1, Lsn(0x200_0028));
            taking.finish(Timestamp::now(), "x", "primary").expect("it is whole").name
        };
        assert_eq!([take(), take()], ["19700101T000000Z", "19700101T000000Z-2"]);
    }

    #[test]
    fn what_was_given_up_or_killed_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        let taking = folder.begin(folder.lock().expect("nobody takes one")).expect("it begins");
        fill(&taking, 7, 1, Lsn(0));
        drop(taking);
        assert_eq!(fs::read_dir(folder.base()).expect("there").count(), 0);
        fs::create_dir(folder.base().join(".taking.killed")).expect("made");
        assert_eq!(folder.backups().expect("read").backups, []);
        drop(folder.begin(folder.lock().expect("nobody takes one")).expect("it begins"));
        assert_eq!(fs::read_dir(folder.base()).expect("there").count(), 0, "the next one removes it");
    }

    #[test]
    fn one_of_another_server_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        let taking = folder.begin(folder.lock().expect("nobody takes one")).expect("it begins");
        fill(&taking, 7, 1, Lsn(0));
        taking.finish(Timestamp::now(), "x", "primary").expect("the first");
        drop(taking);
        let taking = folder.begin(folder.lock().expect("nobody takes one")).expect("it begins");
        fill(&taking, 8, 1, Lsn(0));
        assert!(matches!(taking.finish(Timestamp::now(), "x", "primary"), Err(FolderError::OtherSystem { .. })));
        assert_eq!(folder.backups().expect("read").backups.len(), 1);
    }

    #[test]
    fn one_whose_description_is_damaged_is_said() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(dir.path()).expect("it is there");
        fs::create_dir_all(folder.base().join("20260101T000000Z")).expect("made");
        let listed = folder.backups().expect("read");
        assert_eq!((listed.backups.len(), listed.damaged.len()), (0, 1));
    }
}
