//! The engine's records on their way to the journal, and what becomes of them when the journal is lost.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use mainstay_engine::Record;
use mainstay_engine::codec::{DecodeError, Encoded, decode};
use mainstay_host::clock::boot_ns;
use mainstay_store::journal::{AppendError, OpenError};
use mainstay_store::{Entry, Event, Fallback, Journal, Options};
use tokio::sync::mpsc;

use crate::crash::{self, Moment};

/// How many batches wait for the second file's disk before they go to the log alone.
const FALLBACK_QUEUE: usize = 1024;

/// How many records wait for space on the second file's disk before further ones go to the log alone.
const FALLBACK_KEPT: usize = 16_384;

/// Between two attempts to write what could not be written.
const FALLBACK_RETRY: Duration = Duration::from_millis(500);

/// Why the journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It can't be opened.
    #[error("the journal can't be opened")]
    Open(#[from] OpenError),
    /// One of its records can't be read.
    #[error("record {seq} of the journal can't be read")]
    Record {
        /// Which.
        seq: u64,
        /// Why.
        #[source]
        source: DecodeError,
    },
}

/// What the ledger tells the loop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Every record up to this number is durable, or as durable as it will get.
    Recorded(u64),
    /// The journal is lost.
    Lost(String),
}

/// Where records go.
pub(crate) struct Ledger {
    journal: Journal,
    /// Batches that the journal's queue had no room for.
    overflow: VecDeque<Vec<Entry>>,
    /// Records that are not known to be durable, by number.
    pending: VecDeque<(u64, Entry)>,
    second: Option<SyncSender<Vec<Entry>>>,
    pub(crate) waiting: Option<String>,
    pub(crate) lost: Option<String>,
}

impl Ledger {
    /// Opens the journal in `dir` and reads all its records. `events` hears of what becomes durable.
    pub(crate) fn open(dir: &Path, events: mpsc::Sender<Event>) -> Result<(Ledger, Vec<(u64, Record)>), LedgerError> {
        // The journal's threads may wait for the loop; the loop never waits for them.
        let tell = move |event| {
            let _ = events.blocking_send(event);
        };
        let (journal, stored) = Journal::open(dir, Options::default(), tell)?;
        let record = |it: mainstay_store::Record| match decode(&to_encoded(it.entry)) {
            Ok(record) => Ok((it.seq, record)),
            Err(source) => Err(LedgerError::Record { seq: it.seq, source }),
        };
        let records = stored.into_iter().map(record).collect::<Result<_, _>>()?;
        let second = second_file(dir);
        let (overflow, pending) = (VecDeque::new(), VecDeque::new());
        Ok((Ledger { journal, overflow, pending, second, waiting: None, lost: None }, records))
    }

    /// Takes a batch on its way. Once the journal is lost this is the second file and the log, at once.
    pub(crate) fn append(&mut self, first_seq: u64, batch: Vec<Encoded>) -> Option<Told> {
        if batch.is_empty() {
            return None;
        }
        let last = first_seq + batch.len() as u64 - 1;
        crash::point(|it| matches!(it, Moment::BeforeSync(seq) if (first_seq..=last).contains(&seq)));
        let entries: Vec<Entry> = batch.into_iter().map(to_entry).collect();
        if self.lost.is_some() {
            self.send_to_second(entries);
            return Some(Told::Recorded(last));
        }
        self.pending.extend((first_seq..).zip(entries.iter().cloned()));
        self.overflow.push_back(entries);
        self.push_overflow()
    }

    /// What the journal said.
    pub(crate) fn on_event(&mut self, event: Event) -> Option<Told> {
        match event {
            Event::Durable { seq } => {
                crash::point(|it| {
                    let before = self.pending.front().map_or(seq + 1, |it| it.0);
                    matches!(it, Moment::AfterRecord(at) if (before..=seq).contains(&at))
                });
                self.waiting = None;
                while self.pending.front().is_some_and(|it| it.0 <= seq) {
                    self.pending.pop_front();
                }
                self.push_overflow().or(Some(Told::Recorded(seq)))
            }
            Event::Waiting { reason, .. } => {
                tracing::warn!(%reason, "the journal waits; nothing is done before its records are durable");
                self.waiting = Some(reason.to_string());
                None
            }
            Event::Lost { reason } => Some(self.lose(reason.to_string())),
        }
    }

    /// The newest durable record's number and hash.
    pub(crate) fn head(&self) -> (u64, String) {
        self.journal.head()
    }

    /// What is wrong with the disk, though everything can still be recorded.
    pub(crate) fn trouble(&self) -> Option<String> {
        let bare = self.lost.is_none() && !self.journal.reserve_held();
        bare.then(|| {
            "the disk is full or nearly so, and the space set aside for the journal is in use: free some".to_owned()
        })
    }

    /// Writes what is left, for so long at most.
    pub(crate) fn close(self, within: Duration) {
        if let Err(error) = self.journal.close(within) {
            tracing::error!(%error, "the journal was not closed in order");
        }
    }

    fn push_overflow(&mut self) -> Option<Told> {
        while let Some(batch) = self.overflow.pop_front() {
            match self.journal.append(batch.clone()) {
                Ok(_) => {}
                Err(AppendError::Full { .. }) => {
                    self.overflow.push_front(batch);
                    return None;
                }
                Err(error @ (AppendError::TooLarge { .. } | AppendError::Empty | AppendError::Closed)) => {
                    return Some(self.lose(error.to_string()));
                }
                Err(AppendError::Lost { reason }) => return Some(self.lose(reason.to_string())),
            }
        }
        None
    }

    fn lose(&mut self, reason: String) -> Told {
        if self.lost.is_none() {
            tracing::error!(reason, "the journal is lost; records go to the second file and to this log");
            self.lost = Some(reason.clone());
            self.waiting = None;
            self.overflow.clear();
            let pending: Vec<Entry> = self.pending.drain(..).map(|it| it.1).collect();
            if !pending.is_empty() {
                self.send_to_second(pending);
            }
        }
        Told::Lost(reason)
    }

    fn send_to_second(&mut self, entries: Vec<Entry>) {
        for entry in &entries {
            tracing::warn!(kind = entry.kind, payload = %String::from_utf8_lossy(&entry.payload), "record");
        }
        if let Some(second) = &self.second
            && second.try_send(entries).is_err()
        {
            tracing::error!("the second file can't be written either; this log is all there is");
            self.second = None;
        }
    }
}

/// The second file, written by a thread of its own so that its disk can hang without us. What can't be written is kept
/// and tried again: the disk that the journal was lost to may have space again.
fn second_file(dir: &Path) -> Option<SyncSender<Vec<Entry>>> {
    let (sender, batches) = sync_channel::<Vec<Entry>>(FALLBACK_QUEUE);
    let dir = dir.to_owned();
    let write = move || {
        let mut file: Option<Fallback> = None;
        let mut unwritten: Vec<Entry> = Vec::new();
        let mut said = false;
        loop {
            let received = if unwritten.is_empty() {
                batches.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                batches.recv_timeout(FALLBACK_RETRY)
            };
            match received {
                Ok(batch) if unwritten.len() < FALLBACK_KEPT => unwritten.extend(batch),
                // The log has it.
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let open = match file.take() {
                Some(open) => Ok(open),
                None => Fallback::open(&dir).map(|it| it.0),
            };
            match open.and_then(|mut open| open.append(&unwritten).map(|_| open)) {
                Ok(open) => {
                    file = Some(open);
                    unwritten.clear();
                    said = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::error!(%error, "the second file can't be written; trying again");
                    }
                }
            }
        }
    };
    thread::Builder::new().name("second-file".to_owned()).spawn(write).ok().map(|_| sender)
}

pub(crate) fn to_entry(encoded: Encoded) -> Entry {
    Entry {
        wall_ns: i64::try_from(encoded.at_ns).unwrap_or(i64::MAX),
        mono_ns: i64::try_from(boot_ns()).unwrap_or(i64::MAX),
        kind: encoded.kind,
        version: encoded.version,
        payload: encoded.payload,
    }
}

pub(crate) fn to_encoded(entry: Entry) -> Encoded {
    Encoded {
        at_ns: u64::try_from(entry.wall_ns).unwrap_or(0),
        kind: entry.kind,
        version: entry.version,
        payload: entry.payload,
    }
}
