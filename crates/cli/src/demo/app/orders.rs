//! What one server of the order store knows: its role and its orders. No clock and no I/O.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How many orders a server keeps; more than any demo sends.
const MAX_ORDERS: usize = 1_000_000;

/// How many idempotency keys are remembered; a retry comes soon or never.
const MAX_KEYS: usize = 64;

/// The orders of one server, and in which role it keeps them.
pub(crate) struct Orders {
    ids: Vec<u64>,
    role: Role,
    /// Grows with every change of role, so that what a copier still brings from before is told apart.
    term: u64,
    activated_by: VecDeque<String>,
}

enum Role {
    Active {
        /// Names this run of orders: after a restart it is another one, and nobody may append it to the old one.
        timeline: u64,
    },
    Standby {
        source: SocketAddr,
        /// The source's timeline as it was first seen.
        timeline: Option<u64>,
        /// When the newest state was asked for that has been copied to its end.
        complete_at: Option<Instant>,
    },
}

/// Why an order was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Standby,
    Full,
}

/// What a standby copies in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) timeline: u64,
    /// How many orders the source has.
    pub(crate) total: usize,
    /// The orders from the index that was asked for; not always up to `total`.
    pub(crate) ids: Vec<u64>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// All of the source's orders are here.
    Complete,
    /// There are more.
    Partly,
    /// The source has begun anew: copying it over our orders would lose them.
    OtherTimeline,
    /// The role has changed since: nothing was taken.
    TooLate,
}

impl Orders {
    /// An active server without orders. `timeline` is unique to it.
    pub(crate) fn active(timeline: u64) -> Orders {
        Orders { ids: Vec::new(), role: Role::Active { timeline }, term: 0, activated_by: VecDeque::new() }
    }

    /// Takes an order.
    pub(crate) fn take(&mut self, id: u64) -> Result<(), NotTaken> {
        match self.role {
            Role::Standby { .. } => Err(NotTaken::Standby),
            Role::Active { .. } if self.ids.len() >= MAX_ORDERS => Err(NotTaken::Full),
            Role::Active { .. } => {
                self.ids.push(id);
                Ok(())
            }
        }
    }

    /// Becomes active and starts `timeline`; a key that was seen before changes nothing, whatever happened since.
    /// Whether the role changed.
    pub(crate) fn activate(&mut self, key: Option<&str>, timeline: u64) -> bool {
        if let Some(key) = key {
            if self.activated_by.iter().any(|seen| seen == key) {
                return false;
            }
            if self.activated_by.len() == MAX_KEYS {
                self.activated_by.pop_front();
            }
            self.activated_by.push_back(key.to_owned());
        }
        if self.is_active() {
            return false;
        }
        self.role = Role::Active { timeline };
        self.term += 1;
        true
    }

    /// Drops the orders and becomes a standby of `source`. The term for [`Orders::append`].
    pub(crate) fn follow(&mut self, source: SocketAddr) -> u64 {
        self.ids.clear();
        self.role = Role::Standby { source, timeline: None, complete_at: None };
        self.term += 1;
        self.term
    }

    /// Where to copy from and from which index on; `None` when the role has changed since `term`.
    pub(crate) fn next_copy(&self, term: u64) -> Option<(SocketAddr, usize)> {
        match self.role {
            Role::Standby { source, .. } if term == self.term => Some((source, self.ids.len())),
            Role::Standby { .. } | Role::Active { .. } => None,
        }
    }

    /// Appends what was asked for at `asked_at`, from the index that [`Orders::next_copy`] gave.
    pub(crate) fn append(&mut self, term: u64, asked_at: Instant, batch: &Batch) -> Copied {
        let Role::Standby { timeline, complete_at, .. } = &mut self.role else { return Copied::TooLate };
        if term != self.term {
            return Copied::TooLate;
        }
        if *timeline.get_or_insert(batch.timeline) != batch.timeline {
            return Copied::OtherTimeline;
        }
        let room = MAX_ORDERS - self.ids.len();
        self.ids.extend(batch.ids.iter().take(room));
        if self.ids.len() < batch.total {
            return Copied::Partly;
        }
        *complete_at = Some(asked_at);
        Copied::Complete
    }

    pub(crate) fn is_active(&self) -> bool {
        matches!(self.role, Role::Active { .. })
    }

    /// The age at `now` of the last state that was completely copied; zero for the active one, `None` before the first.
    pub(crate) fn lag(&self, now: Instant) -> Option<Duration> {
        match self.role {
            Role::Active { .. } => Some(Duration::ZERO),
            Role::Standby { complete_at, .. } => Some(now.saturating_duration_since(complete_at?)),
        }
    }

    /// Up to `limit` orders from index `from` on; `None` from a standby, which is no source to copy.
    pub(crate) fn batch(&self, from: usize, limit: usize) -> Option<Batch> {
        let Role::Active { timeline } = self.role else { return None };
        let ids = self.ids.iter().skip(from).take(limit).copied().collect();
        Some(Batch { timeline, total: self.ids.len(), ids })
    }

    /// All orders, in the order in which they were taken.
    pub(crate) fn ids(&self) -> &[u64] {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn standby_with(ids: &[u64]) -> (Orders, u64, Instant) {
        let mut orders = Orders::active(1);
        let term = orders.follow(SOURCE);
        let now = Instant::now();
        let batch = Batch { timeline: 7, total: ids.len(), ids: ids.to_vec() };
        assert_eq!(orders.append(term, now, &batch), Copied::Complete);
        (orders, term, now)
    }

    #[test]
    fn lag_is_the_age_of_the_last_complete_copy() {
        let (mut orders, term, start) = standby_with(&[1, 2]);
        let later = start + Duration::from_millis(100);
        let part = Batch { timeline: 7, total: 4, ids: vec![3] };
        assert_eq!(orders.append(term, later, &part), Copied::Partly);
        assert_eq!(orders.lag(later), Some(Duration::from_millis(100)), "a part is no state");
        let rest = Batch { timeline: 7, total: 4, ids: vec![4] };
        assert_eq!(orders.append(term, later, &rest), Copied::Complete);
        assert_eq!(orders.lag(later), Some(Duration::ZERO));
        orders.follow(SOURCE);
        assert_eq!(orders.lag(later), None, "nothing was copied from the new source");
    }

    #[test]
    fn what_arrives_after_the_takeover_is_not_taken() {
        let (mut orders, term, now) = standby_with(&[1]);
        let late = Batch { timeline: 7, total: 2, ids: vec![2] };
        assert!(orders.activate(None, 8));
        assert_eq!(orders.append(term, now, &late), Copied::TooLate);
        let next = orders.follow(SOURCE);
        assert_eq!(orders.append(term, now, &late), Copied::TooLate, "another term");
        assert_eq!(orders.next_copy(next), Some((SOURCE, 0)));
        assert_eq!(orders.next_copy(term), None);
        assert!(orders.ids().is_empty());
    }

    #[test]
    fn a_source_that_began_anew_is_not_copied() {
        let (mut orders, term, now) = standby_with(&[1, 2]);
        let anew = Batch { timeline: 9, total: 3, ids: vec![30] };
        assert_eq!(orders.append(term, now + Duration::from_secs(1), &anew), Copied::OtherTimeline);
        assert_eq!(orders.ids(), [1, 2]);
        assert_eq!(orders.lag(now + Duration::from_secs(2)), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_repeated_activation_does_nothing() {
        let (mut orders, ..) = standby_with(&[1]);
        assert!(orders.activate(Some("takeover-1"), 8));
        orders.follow(SOURCE);
        assert!(!orders.activate(Some("takeover-1"), 8), "a late retry of what was done");
        assert!(!orders.is_active());
        assert!(orders.activate(Some("takeover-2"), 8));
    }
}
