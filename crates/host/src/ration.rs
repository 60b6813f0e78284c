//! So many in so long, and the others are counted: whoever asks again and again can't fill a disk.

use std::time::{Duration, Instant};

/// Lets the first few through, and counts the others until its time is over; then it begins anew.
#[derive(Clone, Debug)]
pub(crate) struct Ration {
    most: u32,
    within: Duration,
    since: Option<Instant>,
    passed: u32,
    kept_back: u64,
}

impl Ration {
    /// Of `most` in `within`.
    pub(crate) const fn new(most: u32, within: Duration) -> Ration {
        Ration { most, within, since: None, passed: 0, kept_back: 0 }
    }

    /// Whether one more may pass now. One that may not is counted.
    pub(crate) fn pass(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            (self.since, self.passed) = (Some(now), 0);
        }
        let passes = self.passed < self.most;
        if passes {
            self.passed += 1;
        } else {
            self.kept_back += 1;
        }
        passes
    }

    /// How many were kept back, once that can be said: the time in which they came is over. They are said once.
    pub(crate) fn kept_back(&mut self, now: Instant) -> Option<u64> {
        if self.kept_back == 0 || !self.is_over(now) {
            return None;
        }
        Some(std::mem::take(&mut self.kept_back))
    }

    /// Whether nothing came within its time.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.since.is_none_or(|it| now.saturating_duration_since(it) >= self.within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pass_and_the_others_are_counted_and_said_once() {
        let (begun, within) = (Instant::now(), Duration::from_secs(10));
        let mut ration = Ration::new(2, within);
        let passed: Vec<bool> = (0..5).map(|_| ration.pass(begun)).collect();
        assert_eq!(passed, [true, true, false, false, false]);
        assert_eq!(ration.kept_back(begun + within / 2), None, "there may be more");
        let later = begun + within;
        assert_eq!(ration.kept_back(later), Some(3));
        assert_eq!(ration.kept_back(later), None);
        assert!(ration.pass(later), "it begins anew");
        assert!(!ration.is_over(later));
    }
}
