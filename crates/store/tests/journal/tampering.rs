//! Whoever changes a record is found, whatever was changed, and the record is named.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use mainstay_store::journal::{ChainError, JOURNAL_FILE, VerifyError, record_hash};
use mainstay_store::{Reader, Record};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

use crate::fixture::{records, tamperer, written};

const RECORDS: i64 = 8;
const COLUMNS: [&str; 8] = ["seq", "wall_ns", "mono_ns", "kind", "version", "payload", "prev_hash", "hash"];

struct Original {
    file: Vec<u8>,
    head: (u64, String),
    records: Vec<Record>,
}

fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let head = written(dir.path(), RECORDS);
        let file = fs::read(dir.path().join(JOURNAL_FILE)).expect("reads");
        Original { file, head, records: records(dir.path()) }
    })
}

/// A copy of the journal, and a hand on it.
fn copy() -> (TempDir, Connection) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join(JOURNAL_FILE), &original().file).expect("writes");
    let connection = tamperer(dir.path());
    connection.pragma_update(None, "synchronous", "OFF").expect("is set");
    (dir, connection)
}

fn verify(dir: &Path) -> Result<(), VerifyError> {
    Reader::open(dir).expect("opens").verify(None).map(|_| ())
}

/// The record that an error names.
fn named(error: &VerifyError) -> i64 {
    let VerifyError::Chain(error) = error else { panic!("{error:?}") };
    match error {
        ChainError::Gap { expected: seq, .. } | ChainError::Altered { seq, .. } | ChainError::Unlinked { seq, .. } => {
            i64::try_from(*seq).expect("is small")
        }
        ChainError::Malformed { seq, .. } => *seq,
        ChainError::Unreadable { .. } => panic!("{error:?}"),
    }
}

/// Flips bits of one byte in one column of one record; whether the file took it.
fn flip(connection: &Connection, seq: i64, column: &str, byte: usize, mask: u8) -> bool {
    let read = format!("SELECT {column} FROM records WHERE seq = ?1");
    let value: Value = connection.query_row(&read, [seq], |row| row.get(0)).expect("reads");
    let flip = |mut bytes: Vec<u8>| {
        let at = byte % bytes.len();
        bytes[at] ^= mask;
        bytes
    };
    let (flipped, expression) = match value {
        Value::Integer(value) => (Value::Integer(value ^ i64::from(mask) << (byte % 8 * 8)), "?2"),
        Value::Blob(bytes) => (Value::Blob(flip(bytes)), "?2"),
        Value::Text(text) => (Value::Blob(flip(text.into_bytes())), "CAST(?2 AS TEXT)"),
        Value::Null | Value::Real(_) => panic!("no column holds that"),
    };
    let write = format!("UPDATE records SET {column} = {expression} WHERE seq = ?1");
    // The primary key refuses a number that is taken.
    connection.execute(&write, (seq, flipped)).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_flipped_byte_is_found(seq in 1..=RECORDS, column in 0..COLUMNS.len(), byte in 0..64_usize, mask in 1..=255_u8) {
        let (dir, connection) = copy();
        prop_assume!(flip(&connection, seq, COLUMNS[column], byte, mask));
        drop(connection);
        let error = verify(dir.path()).expect_err("is found");
        if COLUMNS[column] == "seq" {
            // A number below zero stands before the first record; any other leaves a gap where it was, or is its end.
            prop_assert!([1, seq, RECORDS + 1].contains(&named(&error)) || named(&error) <= RECORDS, "{}", error);
        } else {
            prop_assert_eq!(named(&error), seq, "{}", error);
        }
    }

    #[test]
    fn a_removed_record_is_found(seq in 1..RECORDS) {
        let (dir, connection) = copy();
        connection.execute("DELETE FROM records WHERE seq = ?1", [seq]).expect("tampers");
        drop(connection);
        prop_assert_eq!(named(&verify(dir.path()).expect_err("is found")), seq);
    }

    #[test]
    fn a_removed_record_is_found_when_the_rest_moves_up(seq in 1..RECORDS) {
        let (dir, connection) = copy();
        connection.execute("DELETE FROM records WHERE seq = ?1", [seq]).expect("tampers");
        for later in seq + 1..=RECORDS {
            connection.execute("UPDATE records SET seq = seq - 1 WHERE seq = ?1", [later]).expect("tampers");
        }
        drop(connection);
        prop_assert_eq!(named(&verify(dir.path()).expect_err("is found")), seq);
    }

    #[test]
    fn records_in_another_order_are_found(one in 1..=RECORDS, other in 1..=RECORDS) {
        prop_assume!(one != other);
        let (dir, connection) = copy();
        for (from, to) in [(one, 1000), (other, one), (1000, other)] {
            connection.execute("UPDATE records SET seq = ?2 WHERE seq = ?1", (from, to)).expect("tampers");
        }
        drop(connection);
        prop_assert_eq!(named(&verify(dir.path()).expect_err("is found")), one.min(other));
    }

    #[test]
    fn an_inserted_record_is_found(like in 1..=RECORDS, at in 0..=RECORDS + 1) {
        let (dir, connection) = copy();
        for later in (at.max(1)..=RECORDS).rev() {
            connection.execute("UPDATE records SET seq = seq + 1 WHERE seq = ?1", [later]).expect("tampers");
        }
        let like = if at >= 1 && like >= at { like + 1 } else { like };
        let like = if at == 0 { like + 1 } else { like };
        let insert = "INSERT INTO records SELECT ?2, wall_ns, mono_ns, kind, version, payload, prev_hash, hash
                      FROM records WHERE seq = ?1";
        prop_assert_eq!(connection.execute(insert, (like, at)).expect("tampers"), 1);
        drop(connection);
        let error = verify(dir.path());
        // Put back in its own place, the copy is the record, and the one that moved up for it is found.
        prop_assert!(error.is_err(), "a copy of {} at {}", like, at);
        let named = named(&error.expect_err("is found"));
        prop_assert!(named == at.max(1) || named == at + 1, "{} for {}", named, at);
    }

    #[test]
    fn a_cut_tail_is_found_by_an_anchor(left in 0..RECORDS) {
        let (dir, connection) = copy();
        connection.execute("DELETE FROM records WHERE seq > ?1", [left]).expect("tampers");
        drop(connection);
        let reader = Reader::open(dir.path()).expect("opens");
        reader.verify(None).expect("holds as far as it goes");
        let error = reader.verify(Some(original().head.clone())).expect_err("is found");
        let cut = matches!(error, VerifyError::Cut { anchor_seq, head_seq } if anchor_seq == 8 && head_seq == left as u64);
        prop_assert!(cut, "{:?}", error);
    }

    #[test]
    fn a_flipped_byte_of_the_file_changes_no_record_unseen(at in 0..usize::MAX, mask in 1..=255_u8) {
        let mut file = original().file.clone();
        let at = at % file.len();
        file[at] ^= mask;
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(JOURNAL_FILE), &file).expect("writes");
        let Ok(reader) = Reader::open(dir.path()) else { return Ok(()) };
        if reader.verify(Some(original().head.clone())).is_ok() {
            let found: Vec<Record> = reader.records(1).collect::<Result<_, _>>().expect("was verified");
            prop_assert_eq!(&found, &original().records, "byte {} of the file", at);
        }
    }
}

#[test]
fn a_record_with_a_new_hash_is_found_by_the_next_one() {
    let (dir, connection) = copy();
    rewrite(&connection, 3);
    let error = verify(dir.path()).expect_err("is found");
    assert!(matches!(error, VerifyError::Chain(ChainError::Unlinked { seq: 4, .. })), "{error:?}");
}

#[test]
fn a_last_record_with_a_new_hash_is_found_by_an_anchor() {
    let (dir, connection) = copy();
    rewrite(&connection, 8);
    verify(dir.path()).expect("nothing follows it");
    let reader = Reader::open(dir.path()).expect("opens");
    let error = reader.verify(Some(original().head.clone())).expect_err("is found");
    assert!(matches!(error, VerifyError::Anchor { seq: 8, .. }), "{error:?}");
    let anchor = (7, original().records[6].hash.to_string().to_uppercase());
    reader.verify(Some(anchor)).expect("an older anchor holds, in either case of letters");
    reader.verify(Some((7, "rubbish".to_owned()))).expect_err("no record has that hash");
}

/// Changes a record and gives it the hash that fits.
fn rewrite(connection: &Connection, seq: usize) {
    let mut record = original().records[seq - 1].clone();
    record.entry.payload = b"never happened".to_vec();
    let hash = record_hash(record.prev_hash, record.seq, &record.entry);
    let place = i64::try_from(seq).expect("is small");
    connection
        .execute(
            "UPDATE records SET payload = ?2, hash = ?3 WHERE seq = ?1",
            (place, record.entry.payload, hash.as_bytes()),
        )
        .expect("tampers");
}
