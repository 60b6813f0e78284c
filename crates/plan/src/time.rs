//! Time as a number: nobody in this crate or in the engine asks what time it is, they are told.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A moment on the agent's own timeline: nanoseconds since the Unix epoch, never going back.
///
/// The agent derives it from a clock that also counts suspended time (`CLOCK_BOOTTIME`), anchored once at its start to
/// the wall clock or to the newest moment in the journal, whichever is later. A step of the wall clock therefore moves
/// nothing, and a restart never makes a later record look older than an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The end of the timeline, the year 2554.
    pub const MAX: Time = Time(u64::MAX);

    /// The beginning of the timeline.
    pub const ZERO: Time = Time(0);

    /// The moment `nanos` nanoseconds after the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates at the end of the timeline (the year 2554).
    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Seconds since the Unix epoch with nanoseconds; people are shown a formatted wall time by the command line instead.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
