//! An ordinary life: append, read beside, close, open again.

use std::time::Duration;

use mainstay_store::journal::{AppendError, RecordLine, Verified, genesis};
use mainstay_store::{Entry, Event, Reader};

use crate::fixture::{entry, open, records, small, stranger, written};

#[test]
fn numbers_come_at_once_and_records_last() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, found, events) = open(dir.path(), small());
    assert!(found.is_empty());
    assert_eq!(journal.head(), (0, genesis().to_string()));
    assert_eq!(journal.append(vec![entry(1, 10), entry(2, 0)]).expect("there is room"), 1..=2);
    assert_eq!(journal.append(vec![entry(3, 5000)]).expect("there is room"), 3..=3);
    assert_eq!(journal.append(Vec::new()), Err(AppendError::Empty));
    let head = journal.close(Duration::from_secs(120)).expect("closes");
    assert_eq!(head.0, 3);
    assert_eq!(events.rest().last(), Some(&Event::Durable { seq: 3 }));
    let (journal, found, _events) = open(dir.path(), small());
    assert_eq!(journal.head(), head);
    assert_eq!(found.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(found[2].entry, entry(3, 5000));
    assert_eq!(found[2].prev_hash, found[1].hash);
    assert_eq!(journal.append(vec![entry(4, 1)]).expect("there is room"), 4..=4);
}

#[test]
fn a_dropped_journal_has_written_what_it_had() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _, _events) = open(dir.path(), small());
    for number in 1..=500 {
        journal.append(vec![entry(number, 10)]).expect("there is room");
    }
    drop(journal);
    assert_eq!(records(dir.path()).len(), 500);
}

#[test]
fn any_content_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _, _events) = open(dir.path(), small());
    let odd = |kind: &str, version, clock| Entry {
        wall_ns: clock,
        mono_ns: clock,
        kind: kind.to_owned(),
        version,
        payload: vec![0, 255],
    };
    let entries = vec![odd("", 0, i64::MIN), odd("a\0b", u32::MAX, i64::MAX), odd("ünï", 1, -1)];
    journal.append(entries.clone()).expect("there is room");
    journal.close(Duration::from_secs(120)).expect("closes");
    assert_eq!(records(dir.path()).into_iter().map(|record| record.entry).collect::<Vec<_>>(), entries);
}

#[test]
fn many_threads_get_numbers_in_the_order_on_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _, _events) = open(dir.path(), small());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..100 {
                    let mut entry = entry(thread * 1000 + number, 4);
                    let seqs = journal.append(vec![entry.clone(), entry.clone()]).expect("there is room");
                    assert_eq!(seqs.end() - seqs.start(), 1);
                    entry.payload.clear();
                }
            });
        }
    });
    journal.close(Duration::from_secs(120)).expect("closes");
    let records = records(dir.path());
    assert_eq!(records.len(), 800);
    assert!(records.chunks(2).all(|pair| pair[0].entry == pair[1].entry), "a batch stays together");
}

#[test]
fn a_reader_sees_a_running_journal_grow() {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _, events) = open(dir.path(), small());
    let reader = Reader::open(dir.path()).expect("opens beside the writer");
    assert_eq!(reader.records(1).count(), 0);
    let last = *journal.append((1..=1500).map(|number| entry(number, 10)).collect()).expect("there is room").end();
    events.wait_durable(last);
    let seqs: Vec<u64> = reader.records(1400).map(|record| record.expect("holds").seq).collect();
    assert_eq!(seqs, (1400..=1500).collect::<Vec<_>>());
    assert_eq!(reader.records(0).count(), 1500);
    assert_eq!(reader.records(1501).count(), 0);
    assert_eq!(reader.records(u64::MAX).count(), 0);
    let (head_seq, head_hash) = journal.head();
    assert_eq!(reader.verify(Some(journal.head())).expect("holds"), Verified { records: 1500, head_seq, head_hash });
}

#[test]
fn sqlite_itself_refuses_to_change_a_record() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), 3);
    let stranger = stranger(dir.path());
    for statement in [
        "UPDATE records SET kind = 'x' WHERE seq = 2",
        "DELETE FROM records WHERE seq = 3",
        "INSERT INTO records SELECT 7, wall_ns, mono_ns, kind, version, payload, prev_hash, hash FROM records WHERE seq = 1",
        "INSERT OR REPLACE INTO records SELECT seq, 0, mono_ns, kind, version, payload, prev_hash, hash FROM records",
    ] {
        let error = stranger.execute(statement, []).expect_err(statement);
        assert!(error.to_string().contains("a journal record"), "{error}");
    }
}

#[test]
fn an_exported_line_proves_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), 2);
    for record in records(dir.path()) {
        let line = RecordLine::from(&record).to_json();
        assert_eq!(RecordLine::parse(line.as_bytes()).expect("reads"), record);
    }
}
