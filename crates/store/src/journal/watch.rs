//! Sees that a sync passes its deadline, for the thread that syncs can't.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    told: bool,
    ended: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SyncWatch {
    state: Mutex<State>,
    changed: Condvar,
}

impl SyncWatch {
    /// A write begins.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        state.since = Some(Instant::now());
        state.told = false;
        drop(state);
        self.changed.notify_all();
    }

    /// The write has ended; whether it was told of. Once this returns, no word about it follows.
    pub(super) fn finish(&self) -> bool {
        let mut state = self.lock();
        state.since.take().is_some() && state.told
    }

    /// The watching itself ends.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Watches until [`end`](Self::end), and tells once of each write that passes the deadline.
    pub(super) fn run(&self, deadline: Duration, tell: impl Fn(Instant)) {
        let mut state = self.lock();
        while !state.ended {
            let left = match state.since {
                Some(since) if !state.told => Some((since, deadline.saturating_sub(since.elapsed()))),
                Some(_) | None => None,
            };
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                // Told under the lock, so that the word can't come after that of the write's end.
                Some((since, Duration::ZERO)) => {
                    tell(since);
                    state.told = true;
                    state
                }
                Some((_, left)) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    #[test]
    fn tells_once_of_each_late_write() {
        let watch = Arc::new(SyncWatch::default());
        let (told, late) = mpsc::sync_channel(8);
        let running = Arc::clone(&watch);
        let thread = thread::spawn(move || running.run(Duration::ZERO, |since| told.send(since).expect("is heard")));
        watch.begin();
        let first = late.recv().expect("the first write is late");
        assert!(watch.finish());
        watch.begin();
        let second = late.recv().expect("the second write is late");
        watch.finish();
        watch.end();
        thread.join().expect("ends");
        assert!(first <= second);
        assert!(late.recv().is_err(), "each write is told of once");
    }

    #[test]
    fn is_silent_about_a_write_in_time() {
        let watch = Arc::new(SyncWatch::default());
        watch.begin();
        assert!(!watch.finish());
        watch.end();
        watch.run(Duration::ZERO, |_| panic!("nothing is late"));
    }
}
