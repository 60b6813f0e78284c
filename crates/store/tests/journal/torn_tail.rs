//! A crash leaves a log that ends anywhere. What was acknowledged before that point is there, and nothing is half there.

use std::fs;
use std::path::Path;

use mainstay_store::journal::JOURNAL_FILE;
use mainstay_store::{Options, Record};

use crate::fixture::{entry, open, records, small};

struct Crash {
    file: Vec<u8>,
    log: Vec<u8>,
    records: Vec<Record>,
    /// The length of the log when a record was acknowledged.
    acknowledged: Vec<(usize, u64)>,
}

fn log_path(dir: &Path) -> std::path::PathBuf {
    dir.join(format!("{JOURNAL_FILE}-wal"))
}

/// Some batches of different sizes, and the files as a crash would leave them.
fn crash() -> Crash {
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, _, events) = open(dir.path(), Options { checkpoint_bytes: usize::MAX, ..small() });
    let mut acknowledged = Vec::new();
    for number in 1..=24 {
        let bytes = [10, 900, 4100, 9000][usize::try_from(number % 4).expect("is small")];
        let batch = (0..=number % 3).map(|_| entry(number, bytes)).collect();
        let last = *journal.append(batch).expect("there is room").end();
        events.wait_durable(last);
        let length = fs::metadata(log_path(dir.path())).expect("exists").len();
        acknowledged.push((usize::try_from(length).expect("is small"), last));
    }
    let file = fs::read(dir.path().join(JOURNAL_FILE)).expect("reads");
    let log = fs::read(log_path(dir.path())).expect("reads");
    Crash { file, log, records: records(dir.path()), acknowledged }
}

impl Crash {
    fn promised(&self, log_length: usize) -> u64 {
        self.acknowledged.iter().rev().find(|(length, _)| *length <= log_length).map_or(0, |(_, seq)| *seq)
    }

    /// Lengths around each acknowledgement, and a stride that meets every part of a frame.
    fn lengths(&self) -> Vec<usize> {
        let around = self.acknowledged.iter().flat_map(|(length, _)| [length - 1, *length, length + 1]);
        let mut lengths: Vec<usize> = around.chain((0..self.log.len()).step_by(3847)).chain([24, 31, 32, 33]).collect();
        lengths.retain(|length| *length <= self.log.len());
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }

    /// Starts on these files as after a crash: finds what was promised, nothing else, and can go on.
    fn survive(&self, log: &[u8], promised: u64, what: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(JOURNAL_FILE), &self.file).expect("writes");
        fs::write(log_path(dir.path()), log).expect("writes");
        let (journal, found, events) = open(dir.path(), small());
        assert!(found.len() as u64 >= promised, "{what}: {promised} were acknowledged, {} are there", found.len());
        assert_eq!(found, self.records[..found.len()], "{what}");
        let next = *journal.append(vec![entry(99, 10)]).expect("there is room").end();
        assert_eq!(next, found.len() as u64 + 1);
        events.wait_durable(next);
    }
}

#[test]
fn a_log_cut_at_any_length_keeps_what_was_acknowledged() {
    let crash = crash();
    assert_eq!(crash.promised(crash.log.len()), crash.records.len() as u64);
    for length in crash.lengths() {
        crash.survive(&crash.log[..length], crash.promised(length), &format!("cut at {length}"));
    }
}

#[test]
fn a_log_damaged_anywhere_keeps_what_was_acknowledged_before() {
    let crash = crash();
    for at in crash.lengths().into_iter().filter(|at| *at < crash.log.len()) {
        let mut log = crash.log.clone();
        log[at] ^= 0x40;
        crash.survive(&log, crash.promised(at), &format!("damaged at {at}"));
    }
}
