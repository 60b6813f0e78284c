//! The store that grants the lease. It has the true time.

use std::time::Duration;

use mainstay_plan::Time;

/// Who has the lease.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// It grows with each new holder.
    pub(super) epoch: u64,
    pub(super) holder: Option<usize>,
    pub(super) until: Time,
    /// Nobody reaches it.
    pub(super) is_gone: bool,
}

impl Store {
    /// An agent asks for the lease, or to renew it: its epoch, or who has it.
    pub(super) fn ask(&mut self, agent: usize, now: Time, expires: Duration) -> Result<u64, (usize, u64)> {
        match self.holder {
            Some(holder) if holder != agent && now < self.until => return Err((holder, self.epoch)),
            Some(holder) if holder == agent && now < self.until => {}
            Some(_) | None => self.epoch += 1,
        }
        (self.holder, self.until) = (Some(agent), now + expires);
        Ok(self.epoch)
    }

    /// Whether an agent holds the lease at this very moment.
    pub(super) fn is_held_by(&self, agent: usize, now: Time) -> bool {
        self.holder == Some(agent) && now < self.until
    }
}
