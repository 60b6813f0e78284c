//! The clock that counts silence. `CLOCK_BOOTTIME` goes on while the machine is suspended: an agent that was silent for a
//! night was silent, whatever the machine did meanwhile.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine started, suspension included.
pub(crate) fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}
