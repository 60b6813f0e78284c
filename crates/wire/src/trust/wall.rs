//! The wall clock, as a parameter: certificates are valid from one date to another.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// A wall clock. Only the validity of certificates and tokens is judged by it.
#[derive(Clone)]
pub struct Wall(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Wall {
    /// The machine's.
    pub fn system() -> Wall {
        Wall(Arc::new(Timestamp::now))
    }

    /// Another one.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Wall {
        Wall(Arc::new(now))
    }

    /// Now, in whole seconds, as certificates count.
    pub fn now(&self) -> Timestamp {
        seconds((self.0)().as_second())
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wall({})", self.now())
    }
}

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(self.now()))
    }
}

/// A moment before 1970 counts as 1970.
pub(super) fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0)))
}

/// Saturates at the ends of what a date can say.
pub(super) fn seconds(since_epoch: i64) -> Timestamp {
    let bounded = since_epoch.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(bounded).expect("it is between the first and the last moment")
}

/// Saturating.
pub(super) fn after(at: Timestamp, time: std::time::Duration) -> Timestamp {
    seconds(at.as_second().saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)))
}

/// Saturating.
pub(super) fn before(at: Timestamp, time: std::time::Duration) -> Timestamp {
    seconds(at.as_second().saturating_sub(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)))
}
