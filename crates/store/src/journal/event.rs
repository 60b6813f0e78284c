//! What the journal tells its owner: what is durable, what it waits for, and that it is lost.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Something happened to the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All records up to and including `seq` are on disk, synced. It also ends any wait.
    Durable {
        /// The last durable record.
        seq: u64,
    },
    /// Queued entries are not durable yet, and are kept and tried again in order. Told once for each reason of a wait.
    Waiting {
        /// What it waits for.
        reason: WaitReason,
        /// When that began.
        since: Instant,
    },
    /// Nothing more will be acknowledged, and nothing more is accepted. Whatever was acknowledged stays.
    Lost {
        /// Why.
        reason: Loss,
    },
}

/// Why queued entries are not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitReason {
    /// A write or a sync takes longer than the deadline.
    #[error("the disk has not finished writing")]
    SlowSync,
    /// Another process holds the journal's write lock.
    #[error("another process holds the journal's write lock")]
    Locked,
    /// The disk is full, and the reserve has been given up for these entries.
    #[error("the disk is full, running on the reserve")]
    OnReserve,
    /// The disk is full, and there is no reserve left.
    #[error("the disk is full, and the reserve is used up")]
    DiskFull,
}

/// Why a journal was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// Reading, writing or syncing failed: what the disk holds is no longer certain.
    #[error("the disk failed: {0}")]
    Io(String),
    /// SQLite found the file damaged.
    #[error("the journal's file is damaged: {0}")]
    Corrupt(String),
    /// The disk stayed full after the reserve was given up.
    #[error("the disk is full, and stayed full after the reserve was released")]
    DiskFull,
    /// Somebody else wrote to the journal.
    #[error("somebody else changed the journal: its last record is {found}, and we wrote {expected}")]
    ForeignWriter {
        /// The last record that we wrote.
        expected: u64,
        /// The last record that is there.
        found: i64,
    },
    /// Anything else that writing again can't heal.
    #[error("the journal can't be written: {0}")]
    Other(String),
}

type Callback = Box<dyn Fn(Event) + Send>;

/// The owner's callback, shared by the threads that have something to tell.
#[derive(Clone)]
pub(super) struct Events(Arc<Mutex<Callback>>);

impl Events {
    pub(super) fn new(on_event: impl Fn(Event) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(on_event))))
    }

    pub(super) fn tell(&self, event: Event) {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner))(event);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
