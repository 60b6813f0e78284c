//! What clients saw, and what follows from it. Pure; a history is in the order in which its requests ended.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::demo::http::Failure;

/// One order that a client sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    /// Who acknowledged it.
    pub(crate) result: Result<Arc<str>, Failure>,
}

/// An interval without a good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) last_good_before: Instant,
    pub(crate) first_good_after: Instant,
    /// From the one to the other.
    pub(crate) outage: Duration,
    /// Requests that failed and were under way in that interval. One that still waits for its timeout is not counted yet.
    pub(crate) failed: usize,
}

/// Proof that two servers took orders of the same clients at the same time.
#[derive(Clone, Debug)]
pub(crate) struct TwoWriters {
    /// The new owner's first acknowledgement.
    pub(crate) new: Request,
    /// An order sent after that, and acknowledged by someone who was no owner any more.
    pub(crate) old: Request,
}

impl fmt::Display for TwoWriters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |request: &Request| request.result.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        let after = self.old.started.saturating_duration_since(self.new.ended);
        let (new, old) = (by(&self.new), by(&self.old));
        write!(f, "{old} took order {} sent {after:?} after {new} had taken order {}", self.old.id, self.new.id)
    }
}

/// The longest interval without a good answer that ended after `mark`, if one is longer than `noticeable`.
pub(crate) fn outage_since(history: &[Request], mark: Instant, noticeable: Duration) -> Option<Outage> {
    let good: Vec<Instant> = history.iter().filter(|request| request.result.is_ok()).map(|good| good.ended).collect();
    let gaps = good.windows(2).map(|pair| (pair[0], pair[1])).filter(|&(_last, first)| first > mark);
    let (last_good_before, first_good_after) = gaps.max_by_key(|&(last, first)| first - last)?;
    let outage = first_good_after - last_good_before;
    let under_way = |request: &Request| request.ended > last_good_before && request.started < first_good_after;
    let failed = history.iter().filter(|request| request.result.is_err() && under_way(request)).count();
    (outage > noticeable).then_some(Outage { last_good_before, first_good_after, outage, failed })
}

/// Finds an acknowledgement that contradicts the owners, given in the order in which they took over (after a failback
/// the first is named again).
///
/// From the first acknowledgement by a new owner on, an order that starts later must not be acknowledged by an old one;
/// one that was already under way may be.
pub(crate) fn two_writers(history: &[Request], owners: &[&str]) -> Option<TwoWriters> {
    let acknowledged = history.iter().filter_map(|request| Some((request, request.result.as_deref().ok()?)));
    let (mut turn, mut newest) = (0, None::<&Request>);
    for (request, by) in acknowledged {
        let under_way = newest.is_none_or(|newest| request.started <= newest.ended);
        if owners.get(turn) == Some(&by) {
            newest.get_or_insert(request);
        } else if under_way && owners.iter().take(turn).any(|&owner| owner == by) {
            // The old owner finishes what it had begun.
        } else if owners.get(turn + 1) == Some(&by) {
            turn += 1;
            newest = Some(request);
        } else {
            return Some(TwoWriters { new: newest.unwrap_or(request).clone(), old: request.clone() });
        }
    }
    None
}

/// The ids that were acknowledged to clients and are not in `kept`, the final owner's list.
pub(crate) fn lost_orders(history: &[Request], kept: &[u64]) -> Vec<u64> {
    let kept: HashSet<u64> = kept.iter().copied().collect();
    let acknowledged = history.iter().filter(|request| request.result.is_ok()).map(|request| request.id);
    acknowledged.filter(|id| !kept.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICEABLE: Duration = Duration::from_millis(20);

    /// Requests as (started, ended, by), in milliseconds from an instant; by nobody: it failed.
    fn history(requests: &[(u64, u64, &str)]) -> (Instant, Vec<Request>) {
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let request = |(id, &(started, ended, by)): (u64, &(u64, u64, &str))| Request {
            id,
            started: at(started),
            ended: at(ended),
            result: if by.is_empty() { Err(Failure::TimedOut) } else { Ok(by.into()) },
        };
        (zero, (0..).zip(requests).map(request).collect())
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_outage_runs_from_good_to_good() {
        let (zero, seen) = history(&[
            (0, 1, "a"),
            (5, 6, "a"),
            (10, 11, ""),
            (15, 300, ""),
            (350, 351, "b"),
            (355, 356, "b"),
            (20, 1020, ""),
            (1010, 1021, ""),
        ]);
        let expected =
            Outage { last_good_before: zero + ms(6), first_good_after: zero + ms(351), outage: ms(345), failed: 3 };
        assert_eq!(outage_since(&seen, zero + ms(7), NOTICEABLE), Some(expected));
        assert_eq!(outage_since(&seen, zero + ms(351), NOTICEABLE), None, "it ended before the mark");
    }

    #[test]
    fn the_longest_interval_counts_and_small_ones_do_not() {
        let (zero, seen) = history(&[(0, 1, "a"), (5, 100, "a"), (99, 400, "a"), (399, 450, "a")]);
        assert_eq!(outage_since(&seen, zero, NOTICEABLE).map(|found| (found.outage, found.failed)), Some((ms(300), 0)));
        let (zero, steady) = history(&[(0, 1, "a"), (5, 6, "a"), (10, 21, "a")]);
        assert_eq!(outage_since(&steady, zero, NOTICEABLE), None);
        let (zero, never_back) = history(&[(0, 1, "a"), (5, 1005, "")]);
        assert_eq!(outage_since(&never_back, zero, NOTICEABLE), None, "it has not ended");
        assert_eq!(outage_since(&[], zero, NOTICEABLE), None);
    }

    #[test]
    fn an_old_owner_may_finish_what_was_under_way() {
        let (_, seen) = history(&[(0, 1, "a"), (8, 10, "b"), (9, 12, "a"), (11, 13, "b")]);
        assert!(two_writers(&seen, &["a", "b"]).is_none());
        assert!(two_writers(&[], &["a", "b"]).is_none());
    }

    #[test]
    fn an_old_owner_that_takes_a_new_order_is_found() {
        let (_, seen) = history(&[(0, 1, "a"), (8, 10, "b"), (11, 12, "a"), (12, 13, "b")]);
        let found = two_writers(&seen, &["a", "b"]).expect("two writers");
        assert_eq!((found.new.id, found.old.id), (1, 2));
    }

    #[test]
    fn after_a_failback_the_first_owner_is_right_again() {
        let seen = [(0, 1, "a"), (8, 10, "b"), (9, 11, "a"), (20, 21, "b"), (30, 31, "a"), (30, 32, "b")];
        let (_, seen) = history(&seen);
        assert!(two_writers(&seen, &["a", "b", "a"]).is_none());
        assert!(two_writers(&seen, &["a", "b"]).is_some(), "nobody gave it back");
        let (_, torn) = history(&[(0, 1, "a"), (8, 10, "b"), (11, 12, "a"), (13, 14, "b")]);
        assert_eq!(two_writers(&torn, &["a", "b", "a"]).map(|found| found.old.id), Some(3));
    }

    #[test]
    fn a_stranger_is_no_owner() {
        let (_, seen) = history(&[(0, 1, "a"), (2, 3, "c")]);
        assert!(two_writers(&seen, &["a", "b"]).is_some());
        let (_, seen) = history(&[(0, 1, "c")]);
        assert!(two_writers(&seen, &["a", "b"]).is_some());
    }

    #[test]
    fn lost_is_what_was_acknowledged_and_is_not_kept() {
        let (_, seen) = history(&[(0, 1, "a"), (1, 2, "a"), (2, 3, ""), (3, 4, "b")]);
        assert_eq!(lost_orders(&seen, &[0, 3, 99]), [1]);
    }
}
