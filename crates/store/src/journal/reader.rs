//! Reading a journal without writing it, also while an agent does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::chain::{Chain, ChainError, read_chunk};
use super::record::{Head, Record, genesis};
use super::{FORMAT, JOURNAL_FILE};
use crate::sqlite::DatabaseError;

const CHUNK_RECORDS: usize = 512;
/// A writer never keeps a reader waiting; only the first one to come after a crash does, while it reads the log.
const BUSY: Duration = Duration::from_secs(5);

/// A journal, open to read.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

/// What a verification has found to be in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many records there are.
    pub records: u64,
    /// The last record's number; 0 when there is none.
    pub head_seq: u64,
    /// The last record's hash; that of [`genesis`] when there is none.
    pub head_hash: String,
}

/// What a verification has found not to be in order.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The chain itself does not hold.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Records that were there once are gone from the end.
    #[error("the journal's tail was cut: it ends with record {head_seq}, and record {anchor_seq} was noted elsewhere")]
    Cut {
        /// The record that was noted.
        anchor_seq: u64,
        /// The last record.
        head_seq: u64,
    },
    /// The record is another one than the one whose hash was noted.
    #[error("record {seq} is another one than was noted elsewhere: its hash is {found}, and {noted} was noted")]
    Anchor {
        /// The record.
        seq: u64,
        /// The hash that was noted.
        noted: String,
        /// The record's hash.
        found: String,
    },
}

impl Reader {
    /// Opens the journal in `dir`. Needs no lock, and disturbs no agent that is running there.
    pub fn open(dir: &Path) -> Result<Self, DatabaseError> {
        let path = dir.join(JOURNAL_FILE);
        let connection = FORMAT.open_read_only(&path, BUSY)?;
        Ok(Self { connection, path })
    }

    /// The journal's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The records from number `from_seq` on, up to the last one that is durable when it is reached. Each is checked
    /// against its own hash and the record before it; ends after an error.
    pub fn records(&self, from_seq: u64) -> Records<'_> {
        Records {
            connection: &self.connection,
            chain: Chain::from_anywhere(),
            after: i64::try_from(from_seq.max(1) - 1).unwrap_or(i64::MAX),
            chunk: Vec::new().into_iter(),
            ended: false,
        }
    }

    /// Reads the whole journal and checks it.
    ///
    /// Finds any record that was changed, removed, moved or inserted. A tail that was cut, or a journal that was
    /// written anew as a whole, can only be found with an `anchor`: a record's number and hash as noted elsewhere.
    pub fn verify(&self, anchor: Option<(u64, String)>) -> Result<Verified, VerifyError> {
        let mut head = Head { seq: 0, hash: genesis() };
        let mut chain = Chain::after(head);
        let mut after = i64::MIN;
        let noted_at = anchor.as_ref().map(|(seq, _)| *seq);
        let mut anchored = (noted_at == Some(0)).then_some(head.hash);
        let mut records = 0;
        loop {
            let chunk = read_chunk(&self.connection, &mut chain, after, CHUNK_RECORDS)?;
            let Some(last) = chunk.last() else { break };
            head = Head { seq: last.seq, hash: last.hash };
            after = last.seq.cast_signed();
            records += chunk.len() as u64;
            anchored =
                anchored.or_else(|| chunk.iter().find(|record| Some(record.seq) == noted_at).map(|record| record.hash));
        }
        if let Some((seq, noted)) = anchor {
            let Some(found) = anchored else {
                return Err(VerifyError::Cut { anchor_seq: seq, head_seq: head.seq });
            };
            if noted.trim().parse() != Ok(found) {
                return Err(VerifyError::Anchor { seq, noted, found: found.to_string() });
            }
        }
        Ok(Verified { records, head_seq: head.seq, head_hash: head.hash.to_string() })
    }
}

/// The records of a journal, one after the other. See [`Reader::records`].
#[derive(Debug)]
pub struct Records<'a> {
    connection: &'a Connection,
    chain: Chain,
    after: i64,
    chunk: std::vec::IntoIter<Record>,
    ended: bool,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, ChainError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.chunk.next() {
            return Some(Ok(record));
        }
        if self.ended {
            return None;
        }
        match read_chunk(self.connection, &mut self.chain, self.after, CHUNK_RECORDS) {
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
            Ok(chunk) => {
                self.ended = chunk.is_empty();
                self.after = chunk.last().map_or(self.after, |last| last.seq.cast_signed());
                self.chunk = chunk.into_iter();
                self.chunk.next().map(Ok)
            }
        }
    }
}
