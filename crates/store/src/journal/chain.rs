//! Walking a chain of records, and the words for each way in which it can be broken.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::record::{Entry, Head, Record, record_hash};
use crate::hash::Hash;

/// What is wrong with a chain, and where.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The next record is not the next number.
    #[error("record {expected} is missing: record {found} stands in its place")]
    Gap {
        /// The number that comes next.
        expected: u64,
        /// The number that was found.
        found: i64,
    },
    /// A record's content is not what its hash says.
    #[error("record {seq} was changed: its content hashes to {computed}, and {stored} is stored")]
    Altered {
        /// The record.
        seq: u64,
        /// The hash stored with it.
        stored: Hash,
        /// The hash of what it holds now.
        computed: Hash,
    },
    /// A record is whole, and follows another record than the one before it.
    #[error("record {seq} does not follow the record before it: it names {found}, and that record has {expected}")]
    Unlinked {
        /// The record.
        seq: u64,
        /// The hash of the record before.
        expected: Hash,
        /// The hash that the record names.
        found: Hash,
    },
    /// A column holds what no record can hold.
    #[error("record {seq} was changed: its {column} holds {found}")]
    Malformed {
        /// The record.
        seq: i64,
        /// The column.
        column: &'static str,
        /// What is in it.
        found: String,
    },
    /// The file can't be read on.
    #[error("the records after {after} can't be read")]
    Unreadable {
        /// The last record that was read.
        after: u64,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// Follows a chain record by record.
#[derive(Debug)]
pub(super) struct Chain {
    head: Option<Head>,
}

impl Chain {
    /// From the very first record, or from the record after `head`.
    pub(super) fn after(head: Head) -> Self {
        Self { head: Some(head) }
    }

    /// From wherever the first record says that it stands.
    pub(super) fn from_anywhere() -> Self {
        Self { head: None }
    }

    /// Takes the next record in, or says what is wrong with it.
    pub(super) fn accept(&mut self, record: &Record) -> Result<Head, ChainError> {
        let Record { seq, ref entry, prev_hash, hash: stored } = *record;
        let expected = self.head.unwrap_or(Head { seq: seq.saturating_sub(1), hash: prev_hash });
        if seq != expected.seq + 1 {
            return Err(ChainError::Gap { expected: expected.seq + 1, found: seq.cast_signed() });
        }
        let computed = record_hash(prev_hash, seq, entry);
        if computed != stored {
            return Err(ChainError::Altered { seq, stored, computed });
        }
        if prev_hash != expected.hash {
            return Err(ChainError::Unlinked { seq, expected: expected.hash, found: prev_hash });
        }
        let head = Head { seq, hash: stored };
        self.head = Some(head);
        Ok(head)
    }

    /// The next number, where it is known.
    fn expected(&self) -> Option<u64> {
        self.head.map(|head| head.seq + 1)
    }
}

/// Reads and checks up to `limit` records with numbers above `after`, which may be below zero: a record that was
/// slipped in before the first one must be met.
///
/// A chunk is one read transaction, so that a long walk never keeps the log from being reset.
pub(super) fn read_chunk(
    connection: &Connection,
    chain: &mut Chain,
    after: i64,
    limit: usize,
) -> Result<Vec<Record>, ChainError> {
    let unreadable = |source| ChainError::Unreadable { after: u64::try_from(after).unwrap_or(0), source };
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, wall_ns, mono_ns, kind, version, payload, prev_hash, hash
             FROM records WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )
        .map_err(unreadable)?;
    let mut rows = statement.query((after, i64::try_from(limit).unwrap_or(i64::MAX))).map_err(unreadable)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(unreadable)? {
        let record = read_row(row, chain.expected()).map_err(|problem| problem.into_error(unreadable))?;
        chain.accept(&record)?;
        records.push(record);
    }
    Ok(records)
}

enum RowProblem {
    Chain(ChainError),
    Sqlite(rusqlite::Error),
}

impl RowProblem {
    fn into_error(self, unreadable: impl FnOnce(rusqlite::Error) -> ChainError) -> ChainError {
        match self {
            Self::Chain(error) => error,
            Self::Sqlite(source) => unreadable(source),
        }
    }
}

impl From<rusqlite::Error> for RowProblem {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(source)
    }
}

fn read_row(row: &Row<'_>, expected: Option<u64>) -> Result<Record, RowProblem> {
    let place: i64 = row.get(0)?;
    let malformed = |column, found: String| RowProblem::Chain(ChainError::Malformed { seq: place, column, found });
    let integer = |index, column| {
        let value = row.get_ref(index)?;
        if let ValueRef::Integer(value) = value { Ok(value) } else { Err(malformed(column, describe(value))) }
    };
    let blob = |index, column| {
        let value = row.get_ref(index)?;
        if let ValueRef::Blob(bytes) = value { Ok(bytes.to_vec()) } else { Err(malformed(column, describe(value))) }
    };
    let hash = |index, column| {
        let bytes: Vec<u8> = blob(index, column)?;
        let length = bytes.len();
        <[u8; 32]>::try_from(bytes).map(Hash::from).map_err(|_| malformed(column, format!("{length} bytes, not 32")))
    };
    let Some(seq) = u64::try_from(place).ok().filter(|seq| *seq > 0) else {
        let error = expected
            .map_or(ChainError::Malformed { seq: place, column: "seq", found: place.to_string() }, |expected| {
                ChainError::Gap { expected, found: place }
            });
        return Err(RowProblem::Chain(error));
    };
    let kind = row.get_ref(3)?;
    let ValueRef::Text(kind) = kind else { return Err(malformed("kind", describe(kind))) };
    let kind = String::from_utf8(kind.to_vec()).map_err(|_| malformed("kind", "text that is not UTF-8".to_owned()))?;
    let version = integer(4, "version")?;
    let version = u32::try_from(version).map_err(|_| malformed("version", version.to_string()))?;
    let entry = Entry {
        wall_ns: integer(1, "wall_ns")?,
        mono_ns: integer(2, "mono_ns")?,
        kind,
        version,
        payload: blob(5, "payload")?,
    };
    Ok(Record { seq, entry, prev_hash: hash(6, "prev_hash")?, hash: hash(7, "hash")? })
}

fn describe(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "nothing".to_owned(),
        ValueRef::Integer(_) => "an integer".to_owned(),
        ValueRef::Real(_) => "a floating-point number".to_owned(),
        ValueRef::Text(_) => "text".to_owned(),
        ValueRef::Blob(_) => "bytes".to_owned(),
    }
}
