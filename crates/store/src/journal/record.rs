//! A record, and the hash that ties it to the record before it.
//!
//! The hash of a record is SHA-256 over, in this order and with nothing between:
//!
//! | bytes | what |
//! |---|---|
//! | 32 | hash of the record before; for the first one the [`genesis`] |
//! | 8 | sequence number, unsigned, big-endian |
//! | 8 | wall clock, signed, big-endian |
//! | 8 | monotonic clock, signed, big-endian |
//! | 4 | version, unsigned, big-endian |
//! | 8 + n | kind: its length in bytes, unsigned, big-endian; then its UTF-8 |
//! | 8 + n | payload: its length in bytes, unsigned, big-endian; then its bytes |
//!
//! All but the last two have a fixed size and those state theirs, so two different records never have one encoding.

use sha2::{Digest, Sha256};

use crate::hash::Hash;

/// What is to be recorded: a record without its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Wall clock, nanoseconds since the Unix epoch.
    pub wall_ns: i64,
    /// Monotonic clock of the machine, nanoseconds.
    pub mono_ns: i64,
    /// What the payload is, in the words of who wrote it.
    pub kind: String,
    /// The version of the payload's encoding.
    pub version: u32,
    /// Anything.
    pub payload: Vec<u8>,
}

/// A record in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number: 1 for the first, without gaps.
    pub seq: u64,
    /// What was recorded.
    pub entry: Entry,
    /// The hash of the record before.
    pub prev_hash: Hash,
    /// The hash of this record, which covers all the rest.
    pub hash: Hash,
}

impl Record {
    /// Puts `entry` behind the record numbered `seq - 1`, whose hash is `prev_hash`.
    pub(super) fn chain(prev_hash: Hash, seq: u64, entry: Entry) -> Self {
        let hash = record_hash(prev_hash, seq, &entry);
        Self { seq, entry, prev_hash, hash }
    }
}

/// Where a chain of records ends: what a new record is chained to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last record's number; 0 while there is none.
    pub seq: u64,
    /// The last record's hash; the genesis while there is none.
    pub hash: Hash,
}

/// What the first record of a journal has before it: a constant, so that an empty journal has a known head.
pub fn genesis() -> Hash {
    Hash::of(b"mainstay journal, format 1: before the first record")
}

/// The hash of a record: see the module's table.
pub fn record_hash(prev_hash: Hash, seq: u64, entry: &Entry) -> Hash {
    let mut sha = Sha256::new();
    sha.update(prev_hash.as_bytes());
    sha.update(seq.to_be_bytes());
    sha.update(entry.wall_ns.to_be_bytes());
    sha.update(entry.mono_ns.to_be_bytes());
    sha.update(entry.version.to_be_bytes());
    for field in [entry.kind.as_bytes(), &entry.payload] {
        sha.update((field.len() as u64).to_be_bytes());
        sha.update(field);
    }
    Hash::from(<[u8; 32]>::from(sha.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, payload: &[u8]) -> Entry {
        Entry { wall_ns: -2, mono_ns: 3, kind: kind.to_owned(), version: 4, payload: payload.to_vec() }
    }

    /// The format on disk: a change here makes every existing journal unreadable.
    #[test]
    fn the_encoding_stays_as_it_is() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(genesis().as_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend_from_slice(&[255, 255, 255, 255, 255, 255, 255, 254]);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3]);
        bytes.extend_from_slice(&[0, 0, 0, 4]);
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\x01c");
        assert_eq!(record_hash(genesis(), 1, &entry("ab", b"c")), Hash::of(&bytes));
    }

    #[test]
    fn no_bytes_move_between_fields_unseen() {
        let hash = |kind: &str, payload: &[u8]| record_hash(genesis(), 1, &entry(kind, payload));
        assert_ne!(hash("ab", b"c"), hash("a", b"bc"));
        assert_ne!(hash("", b"abc"), hash("abc", b""));
    }
}
