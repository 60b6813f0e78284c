//! Whether the agent keeps up with its probes: how many were asked, how late, and what is said while too many are.

use std::time::Duration;

use mainstay_api as api;
use mainstay_plan::Time;

/// What is judged together.
const WINDOW: Duration = Duration::from_secs(10);
/// More than one in so many late: the agent is behind.
const ONE_IN: u64 = 20;
/// Octaves of microseconds, each in eight parts: a lateness is known to an eighth.
const PARTS: u64 = 8;
const BUCKETS: usize = 33 * PARTS as usize;

/// How the probes of one agent keep their pace.
pub(crate) struct Pace {
    asked: u64,
    late: u64,
    now: Window,
    before: Option<Window>,
    behind: bool,
}

/// A change of whether the agent keeps up, in words for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Behind(String),
    CaughtUp,
}

struct Window {
    since: Time,
    asked: u64,
    late: u64,
    longest: Duration,
    by: Box<[u32; BUCKETS]>,
}

impl Pace {
    pub(crate) fn new(now: Time) -> Pace {
        Pace { asked: 0, late: 0, now: Window::new(now), before: None, behind: false }
    }

    /// A probe answered that was asked so long after it was due; `is_late`: later than the plan allows, or its answer was not
    /// believed because we were late.
    pub(crate) fn note(&mut self, at: Time, by: Duration, is_late: bool) -> Option<Change> {
        let change = if at.since(self.now.since) >= WINDOW { self.judge(at) } else { None };
        self.asked += 1;
        self.late += u64::from(is_late);
        self.now.note(by, is_late);
        change
    }

    fn judge(&mut self, at: Time) -> Option<Change> {
        let ended = std::mem::replace(&mut self.now, Window::new(at));
        let is_behind = ended.late * ONE_IN > ended.asked;
        self.before = Some(ended);
        match (std::mem::replace(&mut self.behind, is_behind), is_behind) {
            (false, true) => self.trouble().map(Change::Behind),
            (true, false) => Some(Change::CaughtUp),
            (false, false) | (true, true) => None,
        }
    }

    /// What is wrong, while it is.
    pub(crate) fn trouble(&self) -> Option<String> {
        let window = self.before.as_ref().filter(|_| self.behind)?;
        Some(format!(
            "the agent does not keep up: {} of {} probes in 10 s were late, by up to {} ms; a late one is never taken for a failure, but failures \
             are seen later than proved: give it a faster machine, longer intervals, or a higher `probing.at_once`",
            window.late,
            window.asked,
            window.longest.as_millis()
        ))
    }

    /// For people: since the start, and of the last window that is whole.
    pub(crate) fn shown(&self) -> api::Probing {
        let window = self.before.as_ref().unwrap_or(&self.now);
        api::Probing {
            asked: self.asked,
            late: self.late,
            late_p50_ns: window.percentile(50),
            late_p99_ns: window.percentile(99),
            late_max_ns: nanos(window.longest),
        }
    }
}

impl Window {
    fn new(since: Time) -> Window {
        Window { since, asked: 0, late: 0, longest: Duration::ZERO, by: Box::new([0; BUCKETS]) }
    }

    fn note(&mut self, by: Duration, is_late: bool) {
        self.asked += 1;
        self.late += u64::from(is_late);
        self.longest = self.longest.max(by);
        let bucket = &mut self.by[bucket(by)];
        *bucket = bucket.saturating_add(1);
    }

    /// The upper end of the bucket in which that one lies.
    fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.asked * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.by.iter().position(|it| {
            seen += u64::from(*it);
            seen >= rank && seen > 0
        });
        found.map_or(0, |it| upper(it).min(nanos(self.longest)))
    }
}

fn bucket(by: Duration) -> usize {
    let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    let at = if us < PARTS {
        us
    } else {
        let octave = u64::from(us.ilog2()) - 3;
        (octave + 1) * PARTS + ((us >> octave) - PARTS)
    };
    usize::try_from(at).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// In nanoseconds: where the next bucket begins.
fn upper(bucket: usize) -> u64 {
    let next = bucket as u64 + 1;
    let us = if next < 2 * PARTS { next } else { (PARTS + next % PARTS) << (next / PARTS - 1) };
    us * 1000
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn every_lateness_lies_below_the_upper_end_of_its_bucket_and_near_it() {
        for us in (0..5000u64).chain([10_000, 99_999, 1_000_000, 3_599_999_999]) {
            let by = Duration::from_micros(us);
            let upper = upper(bucket(by));
            assert!(upper > us * 1000, "{us}");
            assert!(upper <= us * 1125 + 1000, "{us}: {upper}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn one_in_twenty_late_is_behind_until_a_window_has_fewer() {
        let start = Time::from_millis(1_000);
        let mut pace = Pace::new(start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        for nth in 0..100 {
            let late = nth < 6;
            assert_eq!(pace.note(at(nth * 90), if late { 400 * MS } else { MS }, late), None);
        }
        let Some(Change::Behind(text)) = pace.note(at(10_000), MS, false) else { panic!("six in a hundred are late") };
        assert!(text.contains("6 of 100 probes") && text.contains("up to 400 ms"), "{text}");
        assert_eq!(pace.trouble(), Some(text));
        let shown = pace.shown();
        assert_eq!((shown.asked, shown.late, shown.late_max_ns), (101, 6, 400_000_000));
        assert!(shown.late_p50_ns <= 1_200_000 && shown.late_p99_ns > 300_000_000, "{shown:?}");
        assert_eq!(pace.note(at(20_000), MS, false), Some(Change::CaughtUp));
        assert_eq!(pace.trouble(), None);
    }
}
