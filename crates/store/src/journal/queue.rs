//! The queue between those who append and the one thread that writes.
//!
//! Numbers are given out under the queue's lock, so the order of numbers is the order on disk. The queue is bounded in
//! entries and in bytes; what is being written counts until it is durable, so a disk that hangs can't make it grow.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::AppendError;
use super::event::Loss;
use super::record::{Entry, Head};

/// Where the journal is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Takes entries.
    Open,
    /// Takes no more, writes what it has however long that waits.
    Closing,
    /// Takes no more, writes what it can without waiting.
    Leaving,
    /// Takes no more and writes no more.
    Lost(Loss),
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Entry>,
    /// Of `waiting` and of what is being written.
    entries: usize,
    bytes: usize,
    next_seq: u64,
    durable: Head,
    reserve_held: bool,
    phase: Phase,
    writer_gone: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    max_entries: usize,
    max_bytes: usize,
}

impl Queue {
    pub(super) fn new(durable: Head, max_entries: usize, max_bytes: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            entries: 0,
            bytes: 0,
            next_seq: durable.seq + 1,
            durable,
            reserve_held: false,
            phase: Phase::Open,
            writer_gone: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), max_entries, max_bytes }
    }

    /// Takes all of `batch` or nothing of it.
    pub(super) fn push(&self, batch: Vec<Entry>) -> Result<RangeInclusive<u64>, AppendError> {
        let bytes = batch.iter().map(size).sum::<usize>();
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Closing | Phase::Leaving => return Err(AppendError::Closed),
            Phase::Lost(reason) => return Err(AppendError::Lost { reason: reason.clone() }),
        }
        if batch.is_empty() {
            return Err(AppendError::Empty);
        }
        if batch.len() > self.max_entries || bytes > self.max_bytes {
            let (entries, max_entries, max_bytes) = (batch.len(), self.max_entries, self.max_bytes);
            return Err(AppendError::TooLarge { entries, bytes, max_entries, max_bytes });
        }
        if state.entries + batch.len() > self.max_entries || state.bytes + bytes > self.max_bytes {
            return Err(AppendError::Full { entries: state.entries, bytes: state.bytes });
        }
        let first = state.next_seq;
        state.next_seq += batch.len() as u64;
        state.entries += batch.len();
        state.bytes += bytes;
        state.waiting.extend(batch);
        let last = state.next_seq - 1;
        drop(state);
        self.changed.notify_all();
        Ok(first..=last)
    }

    /// For the writer: waits for entries and takes all there are; nothing once the journal closes and is empty.
    pub(super) fn take(&self) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        loop {
            if !state.waiting.is_empty() {
                return Some(state.waiting.drain(..).collect());
            }
            if state.phase != Phase::Open {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the writer: the records up to `durable`, which made up `batch`, are on disk.
    pub(super) fn written(&self, durable: Head, batch: &[Entry]) {
        let mut state = self.lock();
        state.durable = durable;
        state.entries -= batch.len();
        state.bytes -= batch.iter().map(size).sum::<usize>();
    }

    /// For the writer: waits a while before it tries again; `false` when it should give up instead.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            if state.phase == Phase::Leaving {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// For the writer: nothing more will be written.
    pub(super) fn lose(&self, reason: Loss) {
        let mut state = self.lock();
        state.phase = Phase::Lost(reason);
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// For the writer: its thread ends here.
    pub(super) fn writer_ends(&self) {
        let mut state = self.lock();
        state.writer_gone = true;
        if state.phase == Phase::Open {
            state.phase = Phase::Lost(Loss::Other("its writer has stopped".to_owned()));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Takes no more entries; the writer writes those it has, without waiting where `leave` is set.
    pub(super) fn close(&self, leave: bool) {
        let mut state = self.lock();
        match state.phase {
            Phase::Open | Phase::Closing | Phase::Leaving => {
                state.phase = if leave { Phase::Leaving } else { Phase::Closing };
            }
            Phase::Lost(_) => {}
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the writer to end; whether it did in time.
    pub(super) fn wait_for_writer(&self, within: Duration) -> bool {
        let guard = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(guard, within, |state| !state.writer_gone)
            .unwrap_or_else(PoisonError::into_inner);
        state.writer_gone
    }

    pub(super) fn durable(&self) -> Head {
        self.lock().durable
    }

    /// Entries that are not durable.
    pub(super) fn undone(&self) -> usize {
        self.lock().entries
    }

    pub(super) fn lost(&self) -> Option<Loss> {
        match &self.lock().phase {
            Phase::Lost(reason) => Some(reason.clone()),
            Phase::Open | Phase::Closing | Phase::Leaving => None,
        }
    }

    pub(super) fn reserve_held(&self) -> bool {
        self.lock().reserve_held
    }

    pub(super) fn set_reserve_held(&self, held: bool) {
        self.lock().reserve_held = held;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No invariant is broken half-way under this lock, and the journal must outlive a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an entry costs, in bytes: its own and what is needed to keep it.
pub(super) fn size(entry: &Entry) -> usize {
    const OVERHEAD: usize = 128;
    OVERHEAD + entry.kind.len() + entry.payload.len()
}
