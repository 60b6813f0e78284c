//! The second sink: where records go when the journal is lost.
//!
//! A file of JSON lines, chained like the journal but as a chain of its own, since what it follows is not certain any
//! more. It shares nothing with the journal but the disk. Unlike the journal it writes on the caller's thread: each batch
//! is synced when [`Fallback::append`] returns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::chain::{Chain, ChainError};
use super::line::{LineError, RecordLine};
use super::record::{Entry, Head, Record};
use crate::hash::Hash;
use crate::sqlite::sync_directory;

/// The fallback's file in its directory.
pub const FALLBACK_FILE: &str = "journal-fallback.jsonl";

/// The fallback, open to append.
#[derive(Debug)]
pub struct Fallback {
    path: PathBuf,
    file: File,
    length: u64,
    head: Head,
    torn_bytes: u64,
    failed: bool,
}

/// Why the fallback can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FallbackError {
    /// The operating system refused the file. Nothing of the batch counts; it may be tried again.
    #[error("can't use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A write or a sync failed, and what the file holds is no longer certain: nothing more is written to it.
    #[error("{} failed and is not written any more", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
    },
    /// A line is not a record.
    #[error("line {line} of {} can't be read", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: LineError,
    },
    /// The chain of its records does not hold.
    #[error("{} is broken at line {line}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: ChainError,
    },
}

impl Fallback {
    /// Opens the fallback in `dir`, or begins one there, and returns its records, verified.
    ///
    /// A last line without its end was never acknowledged, and is cut off; see [`torn_bytes`](Self::torn_bytes). Any
    /// other damage is refused.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Record>), FallbackError> {
        let path = dir.join(FALLBACK_FILE);
        let io_error = |source| FallbackError::Io { path: path.clone(), source };
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(io_error)?;
        let bytes = fs::read(&path).map_err(io_error)?;
        let (records, head, length) = parse(&path, &bytes)?;
        let torn_bytes = bytes.len() as u64 - length;
        if torn_bytes > 0 {
            file.set_len(length).map_err(io_error)?;
        }
        file.sync_all().and_then(|()| sync_directory(dir)).map_err(io_error)?;
        Ok((Self { path, file, length, head, torn_bytes, failed: false }, records))
    }

    /// Reads the fallback in `dir` and leaves it as it is; no records where there is none.
    pub fn read(dir: &Path) -> Result<Vec<Record>, FallbackError> {
        let path = dir.join(FALLBACK_FILE);
        match fs::read(&path) {
            Ok(bytes) => parse(&path, &bytes).map(|(records, ..)| records),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(FallbackError::Io { path, source }),
        }
    }

    /// Writes `entries` and syncs them; returns their numbers, which count from 1 and are not those of the journal.
    pub fn append(&mut self, entries: &[Entry]) -> Result<RangeInclusive<u64>, FallbackError> {
        if self.failed {
            return Err(FallbackError::Failed { path: self.path.clone() });
        }
        let mut head = self.head;
        let mut lines = String::new();
        for entry in entries {
            let record = Record::chain(head.hash, head.seq + 1, entry.clone());
            head = Head { seq: record.seq, hash: record.hash };
            lines.push_str(&RecordLine::from(&record).to_json());
            lines.push('\n');
        }
        if let Err(source) = self.file.write_all(lines.as_bytes()) {
            // Half a batch must not stand before the next one.
            self.failed = self.file.set_len(self.length).is_err();
            return Err(FallbackError::Io { path: self.path.clone(), source });
        }
        if let Err(source) = self.file.sync_data() {
            self.failed = true;
            return Err(FallbackError::Io { path: self.path.clone(), source });
        }
        let first = self.head.seq + 1;
        self.head = head;
        self.length += lines.len() as u64;
        Ok(first..=head.seq)
    }

    /// The last record's number and hash.
    pub fn head(&self) -> (u64, String) {
        (self.head.seq, self.head.hash.to_string())
    }

    /// How many bytes of an unfinished last line were cut off at open.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }
}

fn start() -> Head {
    Head { seq: 0, hash: Hash::of(b"mainstay journal fallback, format 1: before the first record") }
}

/// The records in `bytes`, the head after them, and the length of the lines that are whole.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Vec<Record>, Head, u64), FallbackError> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut head = start();
    let mut chain = Chain::after(head);
    let mut records = Vec::new();
    for (index, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let record = RecordLine::parse(line).map_err(|source| FallbackError::Line {
            path: path.to_owned(),
            line: number,
            source,
        })?;
        head = chain.accept(&record).map_err(|source| FallbackError::Broken {
            path: path.to_owned(),
            line: number,
            source,
        })?;
        records.push(record);
    }
    Ok((records, head, whole as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i64) -> Entry {
        let payload = format!("{{\"n\":{number}}}").into_bytes();
        Entry { wall_ns: number, mono_ns: number, kind: "test".to_owned(), version: 1, payload }
    }

    #[test]
    fn continues_its_chain() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut fallback, records) = Fallback::open(dir.path()).expect("opens");
        assert!(records.is_empty());
        assert_eq!(fallback.append(&[entry(1), entry(2)]).expect("writes"), 1..=2);
        let head = fallback.head();
        drop(fallback);
        let (mut fallback, records) = Fallback::open(dir.path()).expect("opens again");
        assert_eq!(fallback.head(), head);
        assert_eq!(records.iter().map(|record| record.entry.clone()).collect::<Vec<_>>(), [entry(1), entry(2)]);
        assert_eq!(fallback.append(&[entry(3)]).expect("writes"), 3..=3);
        assert_eq!(Fallback::read(dir.path()).expect("reads").len(), 3);
    }

    #[test]
    fn cuts_an_unfinished_line_at_any_length_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FALLBACK_FILE);
        let (mut fallback, _) = Fallback::open(dir.path()).expect("opens");
        fallback.append(&[entry(1)]).expect("writes");
        let first = fs::read(&path).expect("reads").len();
        fallback.append(&[entry(2)]).expect("writes");
        let bytes = fs::read(&path).expect("reads");
        for length in 0..=bytes.len() {
            fs::write(&path, &bytes[..length]).expect("cuts");
            let (fallback, records) = Fallback::open(dir.path()).expect("opens");
            let whole = usize::from(length >= first) + usize::from(length == bytes.len());
            assert_eq!(records.len(), whole, "at {length}");
            assert_eq!(fallback.torn_bytes(), (length - [0, first, bytes.len()][whole]) as u64);
        }
    }

    #[test]
    fn names_the_line_that_was_changed_or_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FALLBACK_FILE);
        let (mut fallback, _) = Fallback::open(dir.path()).expect("opens");
        fallback.append(&[entry(1), entry(2), entry(3)]).expect("writes");
        let text = fs::read_to_string(&path).expect("reads");
        fs::write(&path, text.replace("{\"n\":2}", "{\"n\":9}")).expect("writes");
        let error = Fallback::read(dir.path()).expect_err("was changed");
        assert!(matches!(error, FallbackError::Broken { line: 2, source: ChainError::Altered { seq: 2, .. }, .. }));
        let without: String =
            text.split_inclusive('\n').enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| line).collect();
        fs::write(&path, without).expect("writes");
        let error = Fallback::read(dir.path()).expect_err("was cut");
        assert!(matches!(
            error,
            FallbackError::Broken { line: 2, source: ChainError::Gap { expected: 2, found: 3 }, .. }
        ));
        fs::write(&path, format!("{text}rubbish\n")).expect("writes");
        let error = Fallback::open(dir.path()).expect_err("is no record");
        assert!(matches!(error, FallbackError::Line { line: 4, .. }));
    }
}
