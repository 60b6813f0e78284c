//! What something costs, for comparing two costs with each other.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Runs `what`; how long this thread was on a processor. What else the machine does meanwhile hardly counts.
pub(crate) fn spent<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("it counts from zero");
    let begin = now();
    let result = what();
    (now() - begin, result)
}
