//! One probe: what it answered, in a row, and when it is asked next.

use std::time::Duration;

use mainstay_plan::Time;
use mainstay_plan::observation::{Answer, Concerns, Health};
use mainstay_plan::probe::ProbeTiming;

use super::LOST_AFTER;
use crate::gray::Pulse;
use crate::machine::{Told, after};
use crate::planted::{Fault, planted};
use crate::record::Evidence;
use crate::roles::Tally;

/// What one probe says.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Its verdict, `Suspect` included.
    pub health: Health,
    /// Failures in a row.
    pub failures: u32,
    /// Good answers in a row.
    pub goods: u32,
    /// When the first of the failures in a row was asked.
    pub first_failed: Option<Time>,
    /// When the last good answer ended.
    pub last_good: Option<Time>,
    /// When the question to the last good answer was asked.
    pub last_good_asked: Option<Time>,
    /// When the last failure was asked.
    pub last_failed: Option<Time>,
    /// When the first of the good answers in a row was asked.
    pub good_since: Option<Time>,
    /// The last answer, and when it ended.
    pub last: Option<(Answer, Time)>,
    /// How long the last good answer took.
    pub latency: Option<Duration>,
    /// How long after it was due the last question was asked.
    pub late: Duration,
    /// When the last question was due.
    pub(super) due: Time,
    pub(super) scheduled: Option<Time>,
    pub(super) in_flight: Option<Time>,
    pub(super) ask_again: bool,
    /// Something was done to what it asks: an answer to an older question says nothing.
    pub(super) anew: Time,
    /// Whether it is neither good nor failed.
    pub(crate) pulse: Pulse,
    /// What the last good answer said that is wrong beside the work; `None`: nothing.
    pub(crate) concerns: Option<Box<Concerns>>,
    /// What it was told of its instance's role, and whether that is news.
    pub(super) tally: Option<Tally>,
    pub(super) role_in_doubt: bool,
}

impl Watch {
    pub(super) fn unseen() -> Watch {
        Watch {
            health: Health::Unknown,
            failures: 0,
            goods: 0,
            first_failed: None,
            last_good: None,
            last_good_asked: None,
            last_failed: None,
            good_since: None,
            last: None,
            latency: None,
            late: Duration::ZERO,
            due: Time::ZERO,
            scheduled: None,
            in_flight: None,
            ask_again: false,
            anew: Time::ZERO,
            pulse: Pulse::default(),
            concerns: None,
            tally: None,
            role_in_doubt: false,
        }
    }

    pub(super) fn fold(&mut self, timing: &ProbeTiming, answer: &Answer, started: Time, ended: Time) {
        self.last = Some((answer.clone(), ended));
        if *answer == Answer::Good {
            self.failures = 0;
            self.first_failed = None;
            if self.good_since <= self.last_failed {
                self.good_since = Some(started);
            }
            self.goods = self.goods.saturating_add(1);
            self.last_good = Some(ended);
            self.last_good_asked = Some(started);
            self.latency = Some(ended.since(started));
            let told = if self.goods >= timing.rise { Told::GoodEnough } else { Told::Good };
            self.health = after(self.health, told);
        } else if answer.is_failure() || planted(Fault::UnknownIsFailure) {
            self.goods = 0;
            self.failures = self.failures.saturating_add(1);
            self.first_failed.get_or_insert(started);
            self.last_failed = Some(started);
            let told = if self.failures >= timing.fall || planted(Fault::FallNotAwaited) {
                Told::FailureEnough
            } else {
                Told::Failure
            };
            self.health = after(self.health, told);
        } else {
            self.health = after(self.health, Told::CouldNotAsk);
        }
    }

    /// A verdict that nothing has confirmed for a while is not known any more; whether it was until now.
    pub(super) fn age(&mut self, timing: &ProbeTiming, now: Time) -> bool {
        let limit = timing.interval + timing.fall * timing.fast_interval + timing.timeout + LOST_AFTER;
        let told = self.last_good.max(self.first_failed);
        let stale =
            matches!(self.last, Some((Answer::CouldNotAsk(_), _))) && told.is_none_or(|it| now.since(it) > limit);
        let changes = stale && self.health != Health::Unknown;
        if stale {
            self.health = after(self.health, Told::Stale);
            self.failures = 0;
            self.goods = 0;
            self.first_failed = None;
        }
        changes
    }

    pub(super) fn in_doubt(&self) -> bool {
        match self.health {
            Health::Healthy => false,
            Health::Suspect | Health::Unknown => true,
            Health::Down => self.goods > 0,
        }
    }

    pub(super) fn evidence(&self, probe: &str) -> Evidence {
        let (word, detail) = match &self.last {
            Some((answer, _)) => (answer.word(), answer.detail()),
            None => ("not asked yet", None),
        };
        Evidence {
            probe: probe.to_owned(),
            count: self.failures.max(self.goods),
            answer: detail.map_or_else(|| word.to_owned(), |detail| format!("{word}: {detail}")),
            since: self.first_failed.or(self.last_good_asked).unwrap_or_default(),
        }
    }
}
