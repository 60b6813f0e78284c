//! A journal and those who look at it.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use mainstay_store::journal::{JOURNAL_FILE, WaitReason};
use mainstay_store::{Entry, Event, Journal, Options, Reader, Record};
use rusqlite::Connection;

/// Long enough for any disk; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn small() -> Options {
    Options { reserve_bytes: 0, retry_pause: Duration::from_millis(5), ..Options::default() }
}

pub(crate) fn entry(number: i64, bytes: usize) -> Entry {
    let payload = (0..bytes).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
    Entry { wall_ns: number * 10, mono_ns: number, kind: format!("kind.{number}"), version: 1, payload }
}

pub(crate) fn open(dir: &Path, options: Options) -> (Journal, Vec<Record>, Events) {
    let (sender, events) = mpsc::sync_channel(4096);
    let (journal, records) = Journal::open(dir, options, move |event| {
        // A test that has seen enough hears no more.
        let _unheard = sender.send(event);
    })
    .expect("the journal opens");
    (journal, records, Events(events))
}

pub(crate) struct Events(Receiver<Event>);

impl Events {
    pub(crate) fn next(&self) -> Event {
        self.0.recv_timeout(PATIENCE).expect("the journal has something to tell")
    }

    pub(crate) fn wait_durable(&self, wanted: u64) {
        loop {
            match self.next() {
                Event::Durable { seq } if seq >= wanted => return,
                Event::Durable { .. } | Event::Waiting { .. } => {}
                Event::Lost { reason } => panic!("the journal was lost: {reason}"),
            }
        }
    }

    pub(crate) fn wait_for(&self, wanted: WaitReason) {
        loop {
            match self.next() {
                Event::Waiting { reason, .. } if reason == wanted => return,
                Event::Durable { .. } | Event::Waiting { .. } => {}
                Event::Lost { reason } => panic!("the journal was lost: {reason}"),
            }
        }
    }

    /// What was told and not heard yet; complete once the journal is closed.
    pub(crate) fn rest(&self) -> Vec<Event> {
        self.0.try_iter().collect()
    }
}

/// A journal of `count` records that was closed in order; returns its head.
pub(crate) fn written(dir: &Path, count: i64) -> (u64, String) {
    let (journal, _, _events) = open(dir, small());
    for number in 1..=count {
        journal.append(vec![entry(number, 20)]).expect("there is room");
    }
    journal.close(PATIENCE).expect("closes")
}

/// Another program at the journal's file.
pub(crate) fn stranger(dir: &Path) -> Connection {
    Connection::open(dir.join(JOURNAL_FILE)).expect("opens")
}

/// A stranger who means it.
pub(crate) fn tamperer(dir: &Path) -> Connection {
    let connection = stranger(dir);
    connection
        .execute_batch(
            "DROP TRIGGER records_never_change; DROP TRIGGER records_never_go; DROP TRIGGER records_only_follow;",
        )
        .expect("drops the triggers");
    connection
}

pub(crate) fn records(dir: &Path) -> Vec<Record> {
    let reader = Reader::open(dir).expect("opens");
    reader.records(1).collect::<Result<_, _>>().expect("the chain holds")
}

/// Says on the real standard error, past the test harness, that a test did not run.
pub(crate) fn skip(test: &str, why: &str) {
    let _unsaid = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Runs an ignored test of this program by the way of `command`, which gets it as its last arguments.
pub(crate) fn run_inner(command: &mut std::process::Command, test: &str, dir: &Path) -> std::process::Output {
    command
        .arg(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(INNER_DIR, dir)
        .output()
        .expect("starts")
}

const INNER_DIR: &str = "STORE_TEST_DIR";

/// The directory that [`run_inner`] was given; nothing when somebody runs the inner test by hand.
pub(crate) fn inner_dir() -> Option<std::path::PathBuf> {
    std::env::var_os(INNER_DIR).map(Into::into)
}
