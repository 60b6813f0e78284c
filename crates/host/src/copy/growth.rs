//! When the journal had which length: so it is known how old what a copy lacks is.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_plan::Time;

/// What comes within this counts as come with the first of it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// So many moments are remembered. What is older is as old as the oldest of them, or older.
const REMEMBERED: usize = 4096;

/// The length of a journal over time.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// From when on, and up to which record in what follows closely.
    steps: VecDeque<(Time, u64)>,
}

impl Growth {
    /// Its last record is this one now.
    pub fn grown(&mut self, seq: u64, now: Time) {
        match self.steps.back_mut() {
            Some((since, last)) if now.since(*since) < AT_ONCE => *last = (*last).max(seq),
            Some(_) | None => {
                self.steps.push_back((now, seq));
                if self.steps.len() > REMEMBERED {
                    self.steps.pop_front();
                }
            }
        }
    }

    /// How many records a copy lacks that has those up to `seq`, and since when. `None`: it lacks nothing.
    pub fn lacks(&self, seq: u64) -> Option<(u64, Time)> {
        let (_, last) = self.steps.back()?;
        let (since, _) = self.steps.iter().find(|it| it.1 > seq)?;
        Some((last - seq, *since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copy_lacks_is_as_old_as_the_first_of_it() {
        let at = |ms| Time::from_millis(ms);
        let mut growth = Growth::default();
        assert_eq!(growth.lacks(0), None);
        for (seq, ms) in [(10, 1000), (11, 1400), (12, 5000), (20, 9000)] {
            growth.grown(seq, at(ms));
        }
        assert_eq!(growth.lacks(20), None);
        assert_eq!(growth.lacks(21), None, "it is another journal's");
        assert_eq!(growth.lacks(12), Some((8, at(9000))));
        assert_eq!(growth.lacks(11), Some((9, at(5000))));
        assert_eq!(growth.lacks(10), Some((10, at(1000))), "within a second");
        assert_eq!(growth.lacks(0), Some((20, at(1000))));
    }

    #[test]
    fn it_is_bounded() {
        let mut growth = Growth::default();
        for nth in 0..10_000 {
            growth.grown(nth, Time::from_millis(nth * 2000));
        }
        assert_eq!(growth.steps.len(), REMEMBERED);
        assert_eq!(growth.lacks(5), Some((9994, growth.steps[0].0)));
    }
}
