//! The archive: what a server gives to `archive_command`, and what `restore_command` asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::wal::{Header, began};
use crate::{Folder, FolderError, Lsn, Segment, WalName, disk};

/// Why a file was not archived, or not fetched.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A server archives nothing of that name.
    #[error("`{0}` is no name of a file that a server archives")]
    Name(String),
    /// What is archived under that name is not this.
    #[error("`{name}` is in {} already, and it is another one: two servers archive there, or one was restored and archives under its old timeline", path.display())]
    Differs {
        /// Of which name.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// It is no whole segment of that name.
    #[error("`{name}` is damaged: {why}")]
    Damaged {
        /// Of which name.
        name: String,
        /// In what way.
        why: String,
    },
    /// It is not there, and one that comes after it is.
    #[error("`{name}` is missing from the archive, which has `{later}`")]
    Gap {
        /// The one that was asked for.
        name: String,
        /// One that is there.
        later: String,
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

/// Whether a file is in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It was, and is where it was wanted.
    Done,
    /// It is not.
    NotThere,
}

impl Folder {
    /// Archives a file: when this returns it is on the disk. The same file again is no more than that; another one of the same name is
    /// refused, and so is a segment of another server, or one that is not whole.
    ///
    /// # Errors
    /// Why it was not.
    pub fn archive(&self, from: &Path, name: &str) -> Result<(), ArchiveError> {
        let kind = WalName::read(name).ok_or_else(|| ArchiveError::Name(name.to_owned()))?;
        if let WalName::Segment(segment) | WalName::Partial(segment) = kind {
            self.claim(judge(from, name, segment)?.system)?;
        }
        let (folder, to) = (self.wal(), self.wal().join(name));
        disk::folder(self.path(), &folder).map_err(io_error("making", &folder))?;
        let copy = |mut to: &File| io::copy(&mut File::open(from)?, &mut to).map(|_| ());
        let made = match to.exists() {
            true => false,
            false => disk::make(self.path(), &to, copy).map_err(io_error("writing", &to))?,
        };
        if made {
            return Ok(());
        }
        if !is_same(from, &to).map_err(io_error("comparing", &to))? {
            return Err(ArchiveError::Differs { name: name.to_owned(), path: folder });
        }
        // Whoever wrote it may have been killed before this.
        let synced = File::open(&to).and_then(|it| it.sync_all()).and_then(|()| disk::sync(&folder));
        synced.map_err(io_error("syncing", &to))
    }

    /// Copies a file of the archive to where a server wants it. A segment is looked at first.
    ///
    /// # Errors
    /// That it is not there is none; that it can't be read, or is damaged, is.
    pub fn fetch(&self, name: &str, to: &Path) -> Result<Fetched, ArchiveError> {
        let Some(kind) = WalName::read(name) else { return Err(ArchiveError::Name(name.to_owned())) };
        let from = self.wal().join(name);
        match fs::metadata(&from) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fetched::NotThere),
            Err(source) => return Err(io_error("reading", &from)(source)),
        }
        if let WalName::Segment(segment) = kind {
            self.claim(judge(&from, name, segment)?.system)?;
        }
        let copied = File::open(&from).and_then(|mut from| io::copy(&mut from, &mut File::create(to)?));
        copied.map_err(io_error("copying to", to))?;
        Ok(Fetched::Done)
    }

    /// Whether a segment that is not there should be: a later one of its timeline is, and the timeline had begun; or all that there is of a later
    /// timeline lies beyond it. A server takes what is missing for the end of the log, and what comes after it for never written.
    /// `elsewhere` is what else counts as archived: by name, how many bytes each has.
    ///
    /// Of a later timeline: the segment in which it began is on it, too, with what is before, and PostgreSQL asks for that one first
    /// (`XLogFileReadAnyTLI` of `xlogrecovery.c`). So where its first segment has the same number, or a lower one, the one asked for is not needed. Where it is
    /// beyond, what lies between is missing on both: the primary died before it archived it, and a standby with `archive_mode = on`
    /// archives nothing that it has received.
    ///
    /// # Errors
    /// It should; or the archive can't be read.
    pub fn is_end(&self, name: &str, elsewhere: &BTreeMap<String, u64>) -> Result<(), ArchiveError> {
        let Some(WalName::Segment(asked)) = WalName::read(name) else { return Ok(()) };
        let mut segments = self.segments()?;
        segments.extend(elsewhere.keys().filter_map(|it| segment(it)));
        // Of its own timeline the next one that is there, and of each later one the first.
        let mut first: BTreeMap<u32, Segment> = BTreeMap::new();
        for it in segments.into_iter().filter(|it| *it > asked) {
            first.entry(it.timeline).or_insert(it);
        }
        let Some(later) = first.into_values().find(|it| it.on(asked.timeline) > asked) else { return Ok(()) };
        if let Some(began) = self.began(asked.timeline)? {
            let name = later.to_string();
            let size = match elsewhere.get(&name).filter(|_| !self.path_of_log(&name).exists()) {
                Some(size) => *size,
                None => self.segment_size(later)?,
            };
            if asked.end(size) <= began {
                return Ok(());
            }
        }
        Err(ArchiveError::Gap { name: name.to_owned(), later: later.to_string() })
    }

    /// Up to where the log is archived without a gap, from the segment that holds `from` on: the end of the last one, and its timeline. A
    /// timeline that began on the way is followed. `None`: that first segment is not there.
    ///
    /// # Errors
    /// The archive can't be read.
    pub fn reach(&self, timeline: u32, from: Lsn) -> Result<Option<(u32, Lsn)>, ArchiveError> {
        let segments = self.segments()?;
        let Some(any) = segments.iter().find(|it| it.timeline >= timeline) else { return Ok(None) };
        let size = self.segment_size(*any)?;
        let timelines: BTreeSet<u32> = segments.iter().map(|it| it.timeline).collect();
        let mut line = timeline;
        let mut at = Segment::of(timeline, from, size);
        let mut reached = None;
        loop {
            // The newest timeline that has that part of the log is the one that a restore follows.
            let lines = timelines.range(line..).rev();
            let here = lines.map(|it| at.on(*it)).find(|it| segments.contains(it));
            let Some(here) = here else { return Ok(reached) };
            line = here.timeline;
            at = here.next(size);
            reached = Some((line, at.start(size)));
        }
    }

    /// How long a segment of this archive is, in bytes; that of a usual server, where there is none.
    ///
    /// # Errors
    /// The archive can't be read.
    pub fn segment_bytes(&self) -> Result<u64, ArchiveError> {
        self.segments()?.first().map_or(Ok(16 << 20), |it| self.segment_size(*it))
    }

    /// What is archived, by name, and how many bytes each has.
    ///
    /// # Errors
    /// The archive can't be read.
    pub fn log(&self) -> Result<BTreeMap<String, u64>, ArchiveError> {
        let mut log = BTreeMap::new();
        for entry in self.archived()? {
            let length = entry.metadata().map_err(io_error("reading", &entry.path()))?.len();
            log.extend(entry.file_name().into_string().ok().map(|it| (it, length)));
        }
        Ok(log)
    }

    /// Where a file of the archive is.
    pub fn path_of_log(&self, name: &str) -> PathBuf {
        self.wal().join(name)
    }

    /// A place beside the archive's files for one that is on its way there. What is left there is removed with what else was left.
    ///
    /// # Errors
    /// The name is none of an archive's, or the disk.
    pub fn on_its_way(&self, name: &str) -> Result<PathBuf, ArchiveError> {
        WalName::read(name).ok_or_else(|| ArchiveError::Name(name.to_owned()))?;
        let folder = self.wal();
        disk::folder(self.path(), &folder).map_err(io_error("making", &folder))?;
        Ok(disk::beside(&folder.join(name)))
    }

    /// When the last file was archived; `None`: none was.
    ///
    /// # Errors
    /// The archive can't be read.
    pub fn last_archived(&self) -> Result<Option<jiff::Timestamp>, ArchiveError> {
        let mut last = None;
        for entry in self.archived()? {
            let written = entry.metadata().and_then(|it| it.modified()).map_err(io_error("reading", &entry.path()))?;
            last = last.max(jiff::Timestamp::try_from(written).ok());
        }
        Ok(last)
    }

    /// All whole segments, by timeline and place.
    pub(crate) fn segments(&self) -> Result<BTreeSet<Segment>, ArchiveError> {
        Ok(self.archived()?.into_iter().filter_map(|it| segment(it.file_name().to_str()?)).collect())
    }

    /// All that is archived.
    pub(crate) fn archived(&self) -> Result<Vec<fs::DirEntry>, ArchiveError> {
        let folder = self.wal();
        let entries = match fs::read_dir(&folder) {
            Ok(it) => it.collect::<io::Result<Vec<_>>>().map_err(io_error("reading", &folder))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io_error("reading", &folder)(source)),
        };
        Ok(entries
            .into_iter()
            .filter(|it| it.file_name().to_str().is_some_and(|it| WalName::read(it).is_some()))
            .collect())
    }

    pub(crate) fn segment_size(&self, segment: Segment) -> Result<u64, ArchiveError> {
        let path = self.wal().join(segment.to_string());
        let header = Header::read(&path).map_err(io_error("reading", &path))?;
        let damaged =
            || ArchiveError::Damaged { name: segment.to_string(), why: "it begins with no page of a log".to_owned() };
        header.map(|it| it.size).ok_or_else(damaged)
    }

    /// Where a timeline began; `None`: it is the first, or nothing says.
    fn began(&self, timeline: u32) -> Result<Option<Lsn>, ArchiveError> {
        let path = self.wal().join(format!("{timeline:08X}.history"));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(began(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error("reading", &path)(source)),
        }
    }
}

/// The whole segment that a name is of.
fn segment(name: &str) -> Option<Segment> {
    match WalName::read(name)? {
        WalName::Segment(segment) => Some(segment),
        WalName::Partial(_) | WalName::History(_) | WalName::Label(_) => None,
    }
}

/// What a segment says of itself, if it is whole and what its name says.
fn judge(path: &Path, name: &str, segment: Segment) -> Result<Header, ArchiveError> {
    let damaged = |why: String| ArchiveError::Damaged { name: name.to_owned(), why };
    let length = fs::metadata(path).map_err(io_error("reading", path))?.len();
    let header = Header::read(path).map_err(io_error("reading", path))?;
    let header = header.ok_or_else(|| damaged("it begins with no page of a log".to_owned()))?;
    if length != header.size {
        return Err(damaged(format!("it has {length} bytes instead of {}", header.size)));
    }
    let start = segment.start(header.size);
    if start != header.start {
        return Err(damaged(format!("it begins at {}, and its name says {start}", header.start)));
    }
    Ok(header)
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut first, mut second) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let length = one.read(&mut first)?;
        if length == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut second[..length]) {
            Ok(()) if first[..length] == second[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| ArchiveError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::tests::segment;

    const SIZE: u32 = 1 << 20;

    struct Kit {
        dir: tempfile::TempDir,
        folder: Folder,
    }

    impl Kit {
        fn new() -> Kit {
            let dir = tempfile::tempdir().expect("a folder");
            fs::create_dir(dir.path().join("to")).expect("made");
            let folder = Folder::open(dir.path().join("to")).expect("it is there");
            Kit { dir, folder }
        }

        fn file(&self, content: &[u8]) -> PathBuf {
            let path = self.dir.path().join("source");
            fs::write(&path, content).expect("written");
            path
        }

        /// Archives the nth segment of a timeline.
        fn nth(&self, timeline: u32, nth: u64) -> String {
            let at = Lsn(nth * u64::from(SIZE));
            let name = Segment::of(timeline, at, SIZE.into()).to_string();
            self.folder.archive(&self.file(&segment(7, at, SIZE, 1)), &name).expect("archived");
            name
        }

        fn is_end(&self, name: &str) -> Result<(), ArchiveError> {
            self.folder.is_end(name, &BTreeMap::new())
        }

        fn names(&self) -> Vec<String> {
            let all = fs::read_dir(self.folder.wal()).expect("the archive");
            all.map(|it| it.expect("an entry").file_name().into_string().expect("a name")).collect()
        }
    }

    #[test]
    fn the_same_file_twice_is_once_and_another_one_is_refused() {
        let kit = Kit::new();
        let name = kit.nth(1, 3);
        assert_eq!(kit.nth(1, 3), name);
        let other = kit.file(&segment(7, Lsn(3 * u64::from(SIZE)), SIZE, 2));
        assert!(matches!(kit.folder.archive(&other, &name), Err(ArchiveError::Differs { .. })));
        let to = kit.dir.path().join("fetched");
        assert_eq!(kit.folder.fetch(&name, &to).expect("fetched"), Fetched::Done);
        assert_eq!(fs::read(&to).expect("there"), segment(7, Lsn(3 * u64::from(SIZE)), SIZE, 1), "the first one stays");
        assert_eq!(kit.names(), [name], "nothing is left beside it");
    }

    #[test]
    fn what_is_not_whole_or_not_ours_is_refused() {
        let kit = Kit::new();
        let at = Lsn(3 * u64::from(SIZE));
        let name = kit.nth(1, 3);
        let next = Segment::of(1, Lsn(4 * u64::from(SIZE)), SIZE.into()).to_string();
        let short = kit.file(&segment(7, Lsn(4 * u64::from(SIZE)), SIZE, 1)[..SIZE as usize / 2]);
        assert!(matches!(kit.folder.archive(&short, &next), Err(ArchiveError::Damaged { .. })));
        let elsewhere = kit.file(&segment(7, at, SIZE, 1));
        assert!(matches!(kit.folder.archive(&elsewhere, &next), Err(ArchiveError::Damaged { .. })));
        let foreign = kit.file(&segment(8, Lsn(4 * u64::from(SIZE)), SIZE, 1));
        assert!(matches!(
            kit.folder.archive(&foreign, &next),
            Err(ArchiveError::Folder(FolderError::OtherSystem { .. }))
        ));
        assert!(matches!(kit.folder.archive(&foreign, "../escape"), Err(ArchiveError::Name(_))));
        fs::write(kit.folder.wal().join(&name), segment(7, Lsn(0), SIZE, 1)).expect("tampered with");
        assert!(matches!(kit.folder.fetch(&name, &kit.dir.path().join("x")), Err(ArchiveError::Damaged { .. })));
    }

    #[test]
    fn what_is_missing_in_the_middle_is_no_end() {
        let kit = Kit::new();
        let names: Vec<String> = (3..6).map(|it| kit.nth(1, it)).collect();
        let after = Segment::of(1, Lsn(6 * u64::from(SIZE)), SIZE.into()).to_string();
        let to = kit.dir.path().join("fetched");
        assert_eq!(kit.folder.fetch(&after, &to).expect("looked"), Fetched::NotThere);
        kit.is_end(&after).expect("it is the end");
        fs::remove_file(kit.folder.wal().join(&names[1])).expect("removed");
        assert!(matches!(kit.is_end(&names[1]), Err(ArchiveError::Gap { .. })));
        kit.is_end("00000002.history").expect("no segment");
        let elsewhere =
            BTreeMap::from([(Segment::of(1, Lsn(7 * u64::from(SIZE)), SIZE.into()).to_string(), u64::from(SIZE))]);
        assert!(matches!(kit.folder.is_end(&after, &elsewhere), Err(ArchiveError::Gap { .. })), "it goes on elsewhere");
    }

    #[test]
    fn what_is_missing_before_a_later_timeline_is_no_end() {
        let kit = Kit::new();
        let of = |timeline: u32, nth: u64| Segment::of(timeline, Lsn(nth * u64::from(SIZE)), SIZE.into()).to_string();
        kit.nth(1, 3);
        let history = format!("1\t{}\treason\n", Lsn(5 * u64::from(SIZE) + 100));
        kit.folder.archive(&kit.file(history.as_bytes()), "00000002.history").expect("archived");
        kit.is_end(&of(1, 4)).expect("nothing of the later timeline is there");
        let fork = kit.nth(2, 5);
        kit.nth(2, 6);
        match kit.is_end(&of(1, 4)) {
            Err(ArchiveError::Gap { name, later }) => assert_eq!((name, later), (of(1, 4), fork)),
            other => panic!("the primary died before it archived it: {other:?}"),
        }
        kit.is_end(&of(1, 5)).expect("it began in that one, which is on it");
        kit.is_end(&of(1, 6)).expect("it had begun");
        kit.is_end(&of(2, 7)).expect("it is the end");
        let elsewhere = BTreeMap::from([(of(3, 9), u64::from(SIZE))]);
        assert!(
            matches!(kit.folder.is_end(&of(2, 7), &elsewhere), Err(ArchiveError::Gap { .. })),
            "it goes on elsewhere"
        );
    }

    #[test]
    fn without_the_segment_in_which_a_timeline_began_it_is_no_end() {
        let kit = Kit::new();
        kit.nth(1, 3);
        kit.nth(2, 5);
        kit.nth(3, 8);
        let of = |timeline: u32, nth: u64| Segment::of(timeline, Lsn(nth * u64::from(SIZE)), SIZE.into()).to_string();
        assert!(matches!(kit.is_end(&of(1, 4)), Err(ArchiveError::Gap { .. })), "it began in 4");
        let history = format!("1\t{}\treason\n", Lsn(4 * u64::from(SIZE) + 100));
        kit.folder.archive(&kit.file(history.as_bytes()), "00000002.history").expect("archived");
        kit.is_end(&of(2, 3)).expect("that was timeline 1, also where there is a later one");
        assert!(matches!(kit.is_end(&of(2, 6)), Err(ArchiveError::Gap { .. })));
    }

    #[test]
    fn before_its_timeline_began_nothing_is_missing() {
        let kit = Kit::new();
        (3..5).for_each(|it| drop(kit.nth(1, it)));
        let history = format!("1\t{}\treason\n", Lsn(4 * u64::from(SIZE) + 100));
        kit.folder.archive(&kit.file(history.as_bytes()), "00000002.history").expect("archived");
        kit.nth(2, 5);
        let of = |nth: u64| Segment::of(2, Lsn(nth * u64::from(SIZE)), SIZE.into()).to_string();
        kit.is_end(&of(3)).expect("that was timeline 1");
        assert!(matches!(kit.is_end(&of(4)), Err(ArchiveError::Gap { .. })), "the one in which it began");
    }

    #[test]
    fn the_reach_ends_at_a_gap_and_follows_timelines() {
        let kit = Kit::new();
        let at = |nth: u64| Lsn(nth * u64::from(SIZE));
        assert_eq!(kit.folder.reach(1, at(3)).expect("read"), None);
        [3, 4, 6].into_iter().for_each(|it| drop(kit.nth(1, it)));
        assert_eq!(kit.folder.reach(1, Lsn(at(3).0 + 40)).expect("read"), Some((1, at(5))));
        assert_eq!(kit.folder.reach(1, at(5)).expect("read"), None);
        kit.nth(2, 5);
        assert_eq!(kit.folder.reach(1, at(3)).expect("read"), Some((2, at(6))), "timeline 1 went on without us");
    }
}
