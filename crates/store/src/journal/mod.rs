//! The journal: an append-only, hash-chained sequence of records that outlives whatever happens to this process.
//!
//! Appending gives out numbers at once and never touches the disk. One thread writes: it takes all that is queued,
//! commits it in one synced transaction, and says up to which number everything is durable. What can't be written yet
//! is kept and tried again in order, with a reason ([`Event::Waiting`]); what can't be written any more ends the journal
//! ([`Event::Lost`]), for a failed sync leaves it unknown what the disk holds, and a second sync would not tell.
//! What was once acknowledged stays in all of these cases.
//!
//! The file is an SQLite database, so a torn tail is cut at the last whole transaction by its write-ahead log. Beyond
//! that nothing is ever cut, repaired, changed or deleted here: a chain that does not hold is refused.
//!
//! One process writes; it holds the [`StateDir`](crate::StateDir). A [`Reader`] may look on meanwhile.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

mod chain;
mod event;
mod fallback;
mod line;
mod queue;
mod reader;
mod record;
mod reserve;
mod watch;
mod writer;

pub use chain::ChainError;
pub use event::{Event, Loss, WaitReason};
pub use fallback::{FALLBACK_FILE, Fallback, FallbackError};
pub use line::{LineError, RecordLine};
pub use reader::{Reader, Records, Verified, VerifyError};
pub use record::{Entry, Head, Record, genesis, record_hash};

use self::chain::Chain;
use self::event::Events;
use self::queue::Queue;
use self::reserve::Reserve;
use self::watch::SyncWatch;
use self::writer::Writer;
use crate::sqlite::{DatabaseError, Format};

/// The journal's file in the state directory.
pub const JOURNAL_FILE: &str = "journal.db";

/// The primary key and the triggers are a guard against mistakes; the hashes are what proves that none was made.
const FORMAT: Format = Format {
    name: "journal",
    application_id: 0x4D53_4A4C,
    version: 1,
    schema: "
        CREATE TABLE records (
            seq INTEGER PRIMARY KEY,
            wall_ns INTEGER NOT NULL,
            mono_ns INTEGER NOT NULL,
            kind TEXT NOT NULL,
            version INTEGER NOT NULL,
            payload BLOB NOT NULL,
            prev_hash BLOB NOT NULL,
            hash BLOB NOT NULL
        ) STRICT;
        CREATE TRIGGER records_never_change BEFORE UPDATE ON records
            BEGIN SELECT RAISE(ABORT, 'a journal record is never changed'); END;
        CREATE TRIGGER records_never_go BEFORE DELETE ON records
            BEGIN SELECT RAISE(ABORT, 'a journal record is never deleted'); END;
        CREATE TRIGGER records_only_follow BEFORE INSERT ON records
            WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM records)
            BEGIN SELECT RAISE(ABORT, 'a journal record only follows the last one'); END;
    ",
};

/// How a journal behaves where disks are slow, shared or full.
#[derive(Clone, Debug)]
pub struct Options {
    /// Disk space set aside for when the disk is full, in bytes; 0 for none. 8 MiB.
    pub reserve_bytes: u64,
    /// How long to leave between attempts to set the reserve aside again. 30 s.
    pub reserve_retry: Duration,
    /// How long a write with its sync may take before [`WaitReason::SlowSync`] is told. 500 ms.
    pub sync_deadline: Duration,
    /// The pause between attempts while the journal is locked or the disk is full. 100 ms.
    pub retry_pause: Duration,
    /// How long the disk may stay full, without a reserve, before the journal is lost. 5 s.
    pub full_patience: Duration,
    /// How long [`Journal::open`] waits for another process that holds the file. 5 s.
    pub open_patience: Duration,
    /// Entries that may be queued or in writing. 65,536.
    pub max_queued_entries: usize,
    /// Bytes that may be queued or in writing. 64 MiB.
    pub max_queued_bytes: usize,
    /// How much is written to the write-ahead log, in bytes, before it is moved into the file. 4 MiB.
    pub checkpoint_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reserve_bytes: 8 << 20,
            reserve_retry: Duration::from_secs(30),
            sync_deadline: Duration::from_millis(500),
            retry_pause: Duration::from_millis(100),
            full_patience: Duration::from_secs(5),
            open_patience: Duration::from_secs(5),
            max_queued_entries: 65_536,
            max_queued_bytes: 64 << 20,
            checkpoint_bytes: 4 << 20,
        }
    }
}

/// Why a journal can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its file can't be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Its records are not what was written. Nothing was cut or repaired.
    #[error("the journal {} is broken and was left as it is", path.display())]
    Broken {
        /// The journal's file.
        path: std::path::PathBuf,
        /// What is wrong, and at which record.
        source: ChainError,
    },
    /// Its threads can't be started.
    #[error("can't start the journal's writer")]
    Thread(#[source] std::io::Error),
}

/// Why entries are not taken. None of the batch was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The queue is full: the disk is slower than what is recorded, or the journal waits.
    #[error("the journal's queue is full: {entries} entries ({bytes} bytes) are not on disk yet")]
    Full {
        /// Entries that are not durable.
        entries: usize,
        /// Their size in bytes.
        bytes: usize,
    },
    /// The batch alone is larger than the queue.
    #[error(
        "{entries} entries of {bytes} bytes are too many at once: the journal's queue takes {max_entries} entries, {max_bytes} bytes"
    )]
    TooLarge {
        /// Entries in the batch.
        entries: usize,
        /// Their size in bytes.
        bytes: usize,
        /// Entries that the queue takes.
        max_entries: usize,
        /// Bytes that the queue takes.
        max_bytes: usize,
    },
    /// The batch holds no entries, so there is no number to give.
    #[error("there is nothing to record")]
    Empty,
    /// The journal was lost.
    #[error("the journal is lost")]
    Lost {
        /// Why.
        #[source]
        reason: Loss,
    },
    /// The journal is being closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why a journal did not close in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// It was lost before.
    #[error("the journal was lost before it was closed; its last durable record is {durable}")]
    Lost {
        /// The last durable record.
        durable: u64,
        /// Why.
        #[source]
        reason: Loss,
    },
    /// Entries were still waiting when the time was up.
    #[error("{entries} entries were not on disk in time; the last durable record is {durable}")]
    Unfinished {
        /// Entries that are not durable.
        entries: usize,
        /// The last durable record.
        durable: u64,
    },
}

/// The journal, open to write. See the module.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal in `dir`, or begins one there, and returns all its records, verified.
    ///
    /// `on_event` is called on the journal's own threads, one call at a time. It must be quick, since writing waits for
    /// it. It may append; it must not close or drop the journal.
    pub fn open(
        dir: &Path,
        options: Options,
        on_event: impl Fn(Event) + Send + 'static,
    ) -> Result<(Self, Vec<Record>), OpenError> {
        let path = dir.join(JOURNAL_FILE);
        let mut reserve = Reserve::new(dir, options.reserve_bytes);
        let connection = match FORMAT.open(&path, options.open_patience) {
            // Even opening takes some space, and whoever starts again on a full disk has the reserve for that.
            Err(error) if error.is_disk_full() && reserve.release_left() => {
                FORMAT.open(&path, options.open_patience)?
            }
            result => result?,
        };
        let start = Head { seq: 0, hash: genesis() };
        let records = chain::read_chunk(&connection, &mut Chain::after(start), i64::MIN, usize::MAX)
            .map_err(|source| OpenError::Broken { path: path.clone(), source })?;
        let head = records.last().map_or(start, |last| Head { seq: last.seq, hash: last.hash });
        let queue = Arc::new(Queue::new(head, options.max_queued_entries, options.max_queued_bytes));
        let watch = Arc::new(SyncWatch::default());
        let events = Events::new(on_event);
        let writer = Writer::new(
            connection,
            head,
            options.clone(),
            reserve,
            Arc::clone(&queue),
            Arc::clone(&watch),
            events.clone(),
        )
        .map_err(|source| DatabaseError::Sqlite { name: FORMAT.name, path, source })?;
        let watching = Arc::clone(&watch);
        thread::Builder::new()
            .name("journal-watch".to_owned())
            .spawn(move || {
                watching.run(options.sync_deadline, |since| {
                    events.tell(Event::Waiting { reason: WaitReason::SlowSync, since });
                });
            })
            .map_err(OpenError::Thread)?;
        let writer =
            thread::Builder::new().name("journal-writer".to_owned()).spawn(move || writer.run()).map_err(|source| {
                watch.end();
                OpenError::Thread(source)
            })?;
        Ok((Self { queue, writer: Some(writer) }, records))
    }

    /// Queues `entries` and returns their numbers; never waits for the disk.
    ///
    /// All of them are taken or none, and they become durable together. They are durable once [`Event::Durable`] says
    /// so, not before.
    pub fn append(&self, entries: Vec<Entry>) -> Result<RangeInclusive<u64>, AppendError> {
        self.queue.push(entries)
    }

    /// The last durable record's number and hash: an anchor to note elsewhere.
    pub fn head(&self) -> (u64, String) {
        let head = self.queue.durable();
        (head.seq, head.hash.to_string())
    }

    /// Entries that are queued or in writing.
    pub fn undone(&self) -> usize {
        self.queue.undone()
    }

    /// Whether space is set aside for a full disk.
    pub fn reserve_held(&self) -> bool {
        self.queue.reserve_held()
    }

    /// Takes no more entries, and waits up to `within` until all that were taken are durable.
    ///
    /// Returns the last record's number and hash. Entries that were not durable in time are dropped when that is still
    /// possible; a write in progress may yet succeed.
    pub fn close(mut self, within: Duration) -> Result<(u64, String), CloseError> {
        self.queue.close(false);
        if !self.queue.wait_for_writer(within) {
            self.queue.close(true);
            // A sync that hangs would hang us with it: its thread is left to itself.
            drop(self.writer.take());
            return Err(CloseError::Unfinished { entries: self.queue.undone(), durable: self.queue.durable().seq });
        }
        match self.queue.lost() {
            Some(reason) => Err(CloseError::Lost { durable: self.queue.durable().seq, reason }),
            None => Ok(self.head()),
        }
    }
}

impl Drop for Journal {
    /// Writes what is queued as far as that needs no waiting for others or for space.
    fn drop(&mut self) {
        self.queue.close(true);
        if let Some(writer) = self.writer.take()
            && writer.thread().id() != thread::current().id()
        {
            let _panicked = writer.join();
        }
    }
}
