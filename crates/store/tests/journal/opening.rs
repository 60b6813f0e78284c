//! Files that are not what they should be are refused, and left as they are.

use std::fs;

use mainstay_store::journal::{ChainError, JOURNAL_FILE, OpenError};
use mainstay_store::{DatabaseError, Journal, Reader};

use crate::fixture::{small, stranger, tamperer, written};

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), 1);
    stranger(dir.path()).pragma_update(None, "user_version", 2).expect("writes");
    let error = Journal::open(dir.path(), small(), |_| {}).expect_err("is newer");
    assert!(matches!(error, OpenError::Database(DatabaseError::Newer { found: 2, supported: 1, .. })), "{error:?}");
    let error = Reader::open(dir.path()).expect_err("is newer");
    assert!(error.to_string().contains("use the newer Mainstay"), "{error}");
}

#[test]
fn another_file_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(JOURNAL_FILE);
    for text in ["x", "this is the diary of somebody else, and longer than a header"] {
        fs::write(&path, text).expect("writes");
        let error = Journal::open(dir.path(), small(), |_| {}).expect_err("is text");
        assert!(matches!(error, OpenError::Database(DatabaseError::Foreign { .. })), "{error:?}");
        assert!(matches!(Reader::open(dir.path()), Err(DatabaseError::Foreign { .. })));
        assert_eq!(fs::read_to_string(&path).expect("reads"), text);
    }
}

#[test]
fn another_database_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    stranger(dir.path()).execute_batch("CREATE TABLE diary (day TEXT)").expect("writes");
    let error = Journal::open(dir.path(), small(), |_| {}).expect_err("is a diary");
    assert!(matches!(error, OpenError::Database(DatabaseError::Foreign { .. })), "{error:?}");
    stranger(dir.path()).execute_batch("SELECT day FROM diary").expect("is still there");
}

#[test]
fn a_reader_makes_no_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(matches!(Reader::open(dir.path()), Err(DatabaseError::Missing { .. })));
    fs::write(dir.path().join(JOURNAL_FILE), "").expect("writes");
    assert!(matches!(Reader::open(dir.path()), Err(DatabaseError::Foreign { .. })));
}

#[test]
fn a_broken_chain_is_refused_and_not_repaired() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), 5);
    tamperer(dir.path()).execute("UPDATE records SET payload = x'00' WHERE seq = 3", []).expect("tampers");
    let error = Journal::open(dir.path(), small(), |_| {}).expect_err("is broken");
    let OpenError::Broken { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(source, ChainError::Altered { seq: 3, .. }), "{source}");
    assert!(source.to_string().contains("record 3"), "{source}");
    let left: i64 =
        stranger(dir.path()).query_row("SELECT count(*) FROM records", [], |row| row.get(0)).expect("reads");
    assert_eq!(left, 5);
}

#[test]
fn an_unfinished_beginning_is_begun_again() {
    let dir = tempfile::tempdir().expect("a directory");
    // What a crash between the first two steps of making a journal leaves.
    stranger(dir.path()).pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("writes");
    let (journal, records) = Journal::open(dir.path(), small(), |_| {}).expect("begins");
    assert!(records.is_empty());
    drop(journal);
}
