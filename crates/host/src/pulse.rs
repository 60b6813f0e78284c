//! How late this process itself is: a task that does nothing but come back, and counts how much too late it does.
//!
//! Where the machine gives us no time, an answer that came in time is read late, and looks like none. Each step of a probe
//! may be late by itself without the whole being long over its timeout; what this counts tells it from a silent target.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::boot_ns;

const BEAT: Duration = Duration::from_millis(20);
/// Timers are no more exact than that.
const USUAL: Duration = Duration::from_millis(2);

/// Counts until it is dropped, with all its clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<Beats>);

#[derive(Debug, Default)]
struct Beats {
    /// How long this process was late, in total.
    late_ns: AtomicU64,
    /// When the next beat is to be, by the boot clock; 0 before the first.
    next_ns: AtomicU64,
}

impl Pulse {
    /// Must be called inside a tokio runtime.
    pub(crate) fn start() -> Pulse {
        let pulse = Pulse::default();
        let beats = Arc::downgrade(&pulse.0);
        tokio::spawn(async move {
            while let Some(beats) = beats.upgrade() {
                beats.beat(boot_ns());
                drop(beats);
                tokio::time::sleep(BEAT).await;
            }
        });
        pulse
    }

    /// How long this process was late since it was started, up to now: the difference of two of these is how long it was in
    /// between.
    pub(crate) fn late(&self) -> Duration {
        Duration::from_nanos(self.0.late_at(boot_ns()))
    }
}

impl Beats {
    fn late_at(&self, now_ns: u64) -> u64 {
        let late_ns = self.late_ns.load(Ordering::Relaxed);
        late_ns.saturating_add(self.overdue_ns(now_ns))
    }

    fn overdue_ns(&self, now_ns: u64) -> u64 {
        let next_ns = self.next_ns.load(Ordering::Relaxed);
        let overdue = if next_ns == 0 { 0 } else { now_ns.saturating_sub(next_ns) };
        if overdue > nanos(USUAL) { overdue } else { 0 }
    }

    fn beat(&self, now_ns: u64) {
        let overdue = self.overdue_ns(now_ns);
        self.next_ns.store(now_ns.saturating_add(nanos(BEAT)), Ordering::Relaxed);
        self.late_ns.fetch_add(overdue, Ordering::Relaxed);
    }
}

const fn nanos(of: Duration) -> u64 {
    of.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_is_late_counts_while_it_goes_on_and_afterwards_once() {
        let beats = Beats::default();
        let start = 5_000 * MS;
        beats.beat(start);
        beats.beat(start + 21 * MS);
        assert_eq!(beats.late_at(start + 30 * MS), 0, "as exact as timers are");
        assert_eq!(beats.late_at(start + 141 * MS), 100 * MS, "it has not come back yet");
        beats.beat(start + 341 * MS);
        assert_eq!(beats.late_at(start + 342 * MS), 300 * MS);
        beats.beat(start + 361 * MS);
        assert_eq!(beats.late_at(start + 362 * MS), 300 * MS);
    }
}
