//! How long good answers took lately: only of probes that a rule names, and only as many as its window holds.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_plan::Time;
use mainstay_plan::rule::Percentile;

/// The newest so many answers of a window count: an hour of one a second, and some more. What is older is forgotten early.
pub const MOST_ANSWERS: usize = 4096;

/// The latencies of one probe within one window. They are kept twice: by age, to forget them, and by size, so that a
/// percentile is looked up and not searched for.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    window: Duration,
    by_age: VecDeque<(Time, u64)>,
    by_size: Vec<u64>,
}

impl Latencies {
    pub(crate) fn new(window: Duration) -> Latencies {
        Latencies { window, by_age: VecDeque::new(), by_size: Vec::new() }
    }

    /// Takes in an answer that ended at `ended` and took `latency`.
    pub(crate) fn push(&mut self, ended: Time, latency: Duration) {
        if self.by_age.len() == MOST_ANSWERS {
            self.forget_oldest();
        }
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.by_age.push_back((ended, nanos));
        let at = self.by_size.partition_point(|it| *it < nanos);
        self.by_size.insert(at, nanos);
    }

    /// Forgets what has left the window.
    pub(crate) fn expire(&mut self, now: Time) {
        while self.expires().is_some_and(|it| it <= now) {
            self.forget_oldest();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_age.clear();
        self.by_size.clear();
    }

    /// When the oldest answer leaves the window.
    pub(crate) fn expires(&self) -> Option<Time> {
        self.by_age.front().map(|it| it.0 + self.window)
    }

    /// The least that so many percent of the answers took at most (the nearest rank); `None` of no answer.
    pub(crate) fn percentile(&self, percentile: Percentile) -> Option<Duration> {
        let rank = (self.by_size.len() * usize::from(percentile.percent())).div_ceil(100);
        Some(Duration::from_nanos(*self.by_size.get(rank.checked_sub(1)?)?))
    }

    fn forget_oldest(&mut self) {
        let Some((_, nanos)) = self.by_age.pop_front() else { return };
        let at = self.by_size.partition_point(|it| *it < nanos);
        self.by_size.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(percent: u8) -> Percentile {
        Percentile::new(percent).unwrap()
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let mut latencies = Latencies::new(Duration::from_secs(60));
        assert_eq!(latencies.percentile(of(99)), None);
        for (at, ms) in [30, 10, 50, 20, 40].into_iter().enumerate() {
            latencies.push(Time::from_millis(at as u64), Duration::from_millis(ms));
        }
        let asked = [1, 20, 21, 50, 80, 81, 99].map(|it| latencies.percentile(of(it)).unwrap().as_millis());
        assert_eq!(asked, [10, 10, 20, 30, 40, 50, 50]);
    }

    #[test]
    fn what_leaves_the_window_is_forgotten_and_no_more_is_kept_than_said() {
        let mut latencies = Latencies::new(Duration::from_secs(1));
        latencies.push(Time::from_millis(0), Duration::from_millis(9));
        latencies.push(Time::from_millis(500), Duration::from_millis(7));
        assert_eq!(latencies.expires(), Some(Time::from_millis(1000)));
        latencies.expire(Time::from_millis(999));
        assert_eq!(latencies.by_size.len(), 2);
        latencies.expire(Time::from_millis(1000));
        assert_eq!(latencies.percentile(of(99)), Some(Duration::from_millis(7)));
        for nth in 0..2 * MOST_ANSWERS as u64 {
            latencies.push(Time::from_millis(1000), Duration::from_nanos(nth % 17));
        }
        assert_eq!((latencies.by_age.len(), latencies.by_size.len()), (MOST_ANSWERS, MOST_ANSWERS));
        latencies.clear();
        assert_eq!(latencies.percentile(of(1)), None);
    }
}
