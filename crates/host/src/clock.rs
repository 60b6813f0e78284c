//! The agent's timeline, read from the machine's clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_plan::Time;
use rustix::time::{ClockId, clock_gettime};

/// A clock that never goes back, counts suspended time, and ignores steps of the wall clock.
///
/// It is anchored once, to the wall clock or to a moment that is already in the journal, whichever is later, and then
/// follows `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Time,
    boot_at_anchor_ns: u64,
}

impl Clock {
    /// Anchors the timeline now, not before `not_before`.
    pub fn start(not_before: Time) -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Time::from_nanos(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX));
        Clock { anchor: wall.max(not_before), boot_at_anchor_ns: boot_ns() }
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.anchor + std::time::Duration::from_nanos(boot_ns().saturating_sub(self.boot_at_anchor_ns))
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`: since the machine started, suspended time included.
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_starts_before_what_the_journal_holds() {
        let future = Time::from_millis(4_000_000_000_000);
        let clock = Clock::start(future);
        assert!(clock.now() >= future);
    }

    #[test]
    fn it_does_not_go_back() {
        let clock = Clock::start(Time::ZERO);
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
