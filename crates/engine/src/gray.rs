//! Gray failures: what neither works nor is down. Slow, flapping, answering to some only, cut off from replication alone, about to lose its certificate: each has
//! a verdict, its evidence, and its own threshold to begin and to end, so that the verdict itself does not flap.
//!
//! Nothing is done about them unless a rule says so. They are facts, for people to see; and a standby that is not steady takes
//! over only when no other can.
//!
//! Intuition: a doctor who takes the pulse at each visit and keeps nothing but a few strokes on a card. Some bits for each probe,
//! a few counters for each standby; each answer costs the same, however long the patient has been known.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_plan::observation::{Concerns, Health};
use mainstay_plan::{InstanceIx, ProbeIx};
use serde::{Deserialize, Serialize};

use crate::observe::{Sample, Soft};
use crate::record::Body;
use crate::state::State;

/// How an instance is neither whole nor down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impairment {
    /// It answers, and takes far longer than it usually does, or nearly the whole timeout.
    Slow,
    /// Its answers change between good and failed without adding up to *down*.
    Flapping,
    /// Some of its probes are down and others answer, and too few are down for it to be down.
    OneSided,
    /// It answers, and so does the active one, but its replication is not known, behind the objective, or falling behind.
    Replication,
    /// It answers, and so does the active one, whose history it does not follow.
    Astray,
    /// It shows a certificate that expires sooner than the plan wants.
    Expiring,
    /// It works, and what has to be done beside its work is not: its log is not archived, or kept for somebody who does not fetch it.
    Upkeep,
}

impl Impairment {
    /// All of them.
    pub const ALL: [Impairment; 7] = [
        Impairment::Slow,
        Impairment::Flapping,
        Impairment::OneSided,
        Impairment::Replication,
        Impairment::Astray,
        Impairment::Expiring,
        Impairment::Upkeep,
    ];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Impairment::Slow => "slow",
            Impairment::Flapping => "flapping",
            Impairment::OneSided => "one_sided",
            Impairment::Replication => "replication",
            Impairment::Astray => "astray",
            Impairment::Expiring => "expiring",
            Impairment::Upkeep => "upkeep",
        }
    }
}

/// Of the last so many good answers …
const RECENT: u32 = 8;
/// … so many must be slow for the instance to be slow; it is over when none is.
const SLOW: u32 = 5;
/// After so many answers it is known what is usual.
const LEARNT: u8 = 32;
/// An answer that is slow moves what is usual by so little: what is slow for half an hour or so is usual then.
const SLOWLY: u64 = 1024;
/// Among the last so many answers …
const WATCHED: u32 = 20;
/// … so many changes are flapping; it is over when there is at most one.
const CHANGES: u32 = 6;

/// What is kept of a probe's answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    usual_ns: u64,
    /// The last answers, the newest lowest; 1 is a failure.
    answers: u32,
    answered: u8,
    /// The last good answers, the newest lowest; 1 is slow.
    slow: u8,
    learnt: u8,
    pub(crate) is_slow: bool,
    pub(crate) flaps: bool,
}

impl Pulse {
    /// Takes in a good answer; whether a verdict changed.
    pub(crate) fn good(&mut self, latency: Option<Duration>, timeout: Duration) -> bool {
        let before = (self.is_slow, self.flaps);
        self.push(false);
        if let Some(latency) = latency {
            let is_slow = latency > self.limit(timeout);
            self.slow = self.slow << 1 | u8::from(is_slow);
            self.is_slow = if self.is_slow { self.slow != 0 } else { self.slow.count_ones() >= SLOW };
            self.learn(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX), is_slow);
        }
        before != (self.is_slow, self.flaps)
    }

    /// Takes in a failure; whether a verdict changed. One that is down is no longer between the two.
    pub(crate) fn failed(&mut self, is_down: bool) -> bool {
        let before = (self.is_slow, self.flaps);
        if is_down {
            *self = Pulse { usual_ns: self.usual_ns, learnt: self.learnt, ..Pulse::default() };
        } else {
            self.push(true);
        }
        before != (self.is_slow, self.flaps)
    }

    /// What takes longer is slow: most of the timeout; or, once it is known what is usual, four times that and at least a
    /// tenth of the timeout.
    fn limit(&self, timeout: Duration) -> Duration {
        let most = timeout * 4 / 5;
        if self.learnt < LEARNT {
            return most;
        }
        Duration::from_nanos(self.usual_ns.saturating_mul(4)).max(timeout / 10).min(most)
    }

    fn learn(&mut self, latency: u64, is_slow: bool) {
        self.learnt = self.learnt.saturating_add(1).min(LEARNT);
        let weight = if is_slow && self.learnt == LEARNT { SLOWLY } else { u64::from(self.learnt) };
        if latency >= self.usual_ns {
            self.usual_ns += (latency - self.usual_ns) / weight;
        } else {
            self.usual_ns -= (self.usual_ns - latency) / weight;
        }
    }

    fn push(&mut self, failed: bool) {
        self.answers = self.answers << 1 | u32::from(failed);
        self.answered = self.answered.saturating_add(1).min(WATCHED as u8);
        let changes = self.changes();
        self.flaps = if self.flaps { changes > 1 } else { changes >= CHANGES };
    }

    fn changes(&self) -> u32 {
        let pairs = u32::from(self.answered).saturating_sub(1);
        ((self.answers ^ self.answers >> 1) & ((1 << pairs) - 1)).count_ones()
    }

    /// Why it is slow.
    pub(crate) fn told_slow(&self, probe: &str, timeout: Duration) -> String {
        let slow = self.slow.count_ones();
        let whole = |it: Duration| Duration::from_millis(u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        let (limit, usual) = (whole(self.limit(timeout)), whole(Duration::from_nanos(self.usual_ns)));
        format!("{probe}: {slow} of the last {RECENT} good answers took more than {limit:?} (usual is {usual:?})")
    }

    /// Why it flaps.
    pub(crate) fn told_flapping(&self, probe: &str) -> String {
        let (changes, answers) = (self.changes(), self.answered);
        format!("{probe}: {changes} changes between good and failed among the last {answers} answers")
    }
}

/// In a row: so many make a verdict about replication, or end it.
const IN_A_ROW: u8 = 3;
/// So many samples of lag make a trend.
const TREND: usize = 8;

/// What is wrong with a standby's replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lagging {
    /// It answers and does not say how far it is behind.
    Unsaid,
    /// It is behind the objective.
    Over(Duration),
    /// It falls behind: from this to that, within this time.
    Growing(Duration, Duration, Duration),
}

/// What is kept of a standby's replication.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replica {
    unsaid: u8,
    over: u8,
    whole: u8,
    parted: u8,
    pub(crate) lagging: Option<Lagging>,
}

impl Replica {
    /// Takes in whether the place that a good answer said is on another line than that of the active one; `None`: that can't be told.
    pub(crate) fn parted(&mut self, parted: Option<bool>) {
        match parted {
            Some(true) => self.parted = self.parted.saturating_add(1).min(IN_A_ROW),
            Some(false) => self.parted = 0,
            None => {}
        }
    }

    /// Whether it follows another history than that of the active one.
    pub(crate) fn is_astray(&self) -> bool {
        self.parted == IN_A_ROW
    }

    /// Takes in a good answer of a probe that reports a lag. `samples` are the newest, the newest last.
    pub(crate) fn take<'a>(
        &mut self,
        lag: Option<Duration>,
        rpo: Option<Duration>,
        samples: impl DoubleEndedIterator<Item = &'a Sample>,
    ) {
        let more = |count: u8, so: bool| if so { count.saturating_add(1).min(IN_A_ROW) } else { 0 };
        let over = lag.zip(rpo).is_some_and(|(lag, rpo)| lag > rpo);
        self.unsaid = more(self.unsaid, lag.is_none());
        self.over = more(self.over, over);
        let growing = lag.and_then(|_| grows(samples, rpo?));
        self.whole = more(self.whole, lag.is_some() && !over && growing.is_none());
        if self.unsaid == IN_A_ROW {
            self.lagging = Some(Lagging::Unsaid);
        } else if self.over == IN_A_ROW {
            self.lagging = lag.map(Lagging::Over);
        } else if let Some(growing) = growing {
            self.lagging = Some(growing);
        } else if self.whole == IN_A_ROW {
            self.lagging = None;
        }
    }
}

/// Whether each of the newest samples is more than the one before, all of them grow by half of the time that passes at least,
/// and have come to more than half of the objective.
fn grows<'a>(samples: impl DoubleEndedIterator<Item = &'a Sample>, rpo: Duration) -> Option<Lagging> {
    let newest: Vec<&Sample> = samples.rev().take(TREND).collect();
    let (last, first) = (newest.first()?, newest.last()?);
    let each_more = newest.windows(2).all(|it| it[0].lag > it[1].lag);
    let (grown, passed) = (last.lag.saturating_sub(first.lag), last.asked.since(first.asked));
    let grows = newest.len() == TREND && each_more && !passed.is_zero() && grown * 2 >= passed;
    (grows && last.lag * 2 > rpo).then_some(Lagging::Growing(first.lag, last.lag, passed))
}

impl Lagging {
    /// Why it is impaired.
    pub(crate) fn told(&self, rpo: Option<Duration>) -> String {
        match self {
            Lagging::Unsaid => format!("{IN_A_ROW} good answers in a row did not say how far it is behind"),
            Lagging::Over(lag) => {
                let than = rpo.map_or_else(|| "its objective".to_owned(), |it| format!("the RPO of {it:?}"));
                format!("it was more than {than} behind {IN_A_ROW} times in a row, {lag:?} at last")
            }
            Lagging::Growing(from, to, within) => format!("it fell behind from {from:?} to {to:?} within {within:?}"),
        }
    }
}

/// What is wrong with an instance at the moment, with the evidence. What is down is not impaired but down; a displaced one is
/// nobody's concern.
fn present(state: &State, soft: &Soft, ix: InstanceIx) -> BTreeMap<Impairment, String> {
    let (planned, instance) = (state.plan.instance(ix), &state.instances[ix.index()]);
    let mut found = BTreeMap::new();
    if instance.health != Health::Healthy || instance.displaced {
        return found;
    }
    for probe in &planned.probes {
        let (watch, probe) = (soft.watch(*probe), state.plan.probe(*probe));
        if watch.pulse.is_slow {
            found.insert(Impairment::Slow, watch.pulse.told_slow(&probe.name, probe.timing.timeout));
        }
        if watch.pulse.flaps {
            found.insert(Impairment::Flapping, watch.pulse.told_flapping(&probe.name));
        }
        let concerns = watch.concerns.as_deref().unwrap_or(&Concerns::NONE);
        let said = [(Impairment::Expiring, &concerns.expiring), (Impairment::Upkeep, &concerns.upkeep)];
        found.extend(
            said.into_iter().filter_map(|(how, text)| Some((how, format!("{}: {}", probe.name, text.as_ref()?)))),
        );
    }
    let of = |health| planned.probes.iter().find(|it| soft.watch(**it).health == health);
    if let (Some(down), Some(good)) = (of(Health::Down), of(Health::Healthy)) {
        let name = |it: &ProbeIx| &state.plan.probe(*it).name;
        found.insert(Impairment::OneSided, format!("{} is down, and {} answers", name(down), name(good)));
    }
    let component = state.plan.component(planned.component);
    let bound = state.components[planned.component.index()].bound;
    let both_answer = bound != ix && state.instances[bound.index()].health == Health::Healthy;
    let replica = soft.replica(ix);
    if both_answer && replica.is_astray() {
        found.insert(Impairment::Astray, soft.told_astray(state, ix, bound));
    } else if let Some(lagging) = replica.lagging.filter(|_| both_answer) {
        found.insert(Impairment::Replication, lagging.told(component.objectives.rpo));
    }
    found
}

/// What began to be wrong with an instance, or is not any more, as facts.
pub(crate) fn changes(state: &State, soft: &Soft, ix: InstanceIx) -> Vec<Body> {
    let name = &state.plan.instance(ix).name;
    let known = &state.instances[ix.index()].impaired;
    let now = present(state, soft, ix);
    let ended = known.keys().filter(|it| !now.contains_key(it));
    let ended = ended.map(|how| Body::ImpairmentEnded { instance: name.clone(), how: *how });
    let begun = now.iter().filter(|it| !known.contains_key(it.0));
    let begun =
        begun.map(|(how, evidence)| Body::Impaired { instance: name.clone(), how: *how, evidence: evidence.clone() });
    ended.chain(begun).collect()
}

#[cfg(test)]
mod tests {
    use mainstay_plan::Time;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(500);

    fn millis(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    fn feed(pulse: &mut Pulse, times: usize, latency: Option<Duration>) {
        for _ in 0..times {
            pulse.good(latency, TIMEOUT);
        }
    }

    fn healthy() -> Pulse {
        let mut pulse = Pulse::default();
        feed(&mut pulse, 40, millis(20));
        pulse
    }

    #[test]
    fn slow_is_far_above_what_is_usual_and_ends_only_when_none_is() {
        let mut pulse = healthy();
        assert_eq!(pulse.limit(TIMEOUT), Duration::from_millis(80));
        (0..4).for_each(|_| assert!(!pulse.good(millis(81), TIMEOUT)));
        assert!(pulse.good(millis(81), TIMEOUT) && pulse.is_slow);
        // Now and then a quick one ends nothing, and eight of them do.
        feed(&mut pulse, 3, millis(20));
        feed(&mut pulse, 1, millis(200));
        (0..7).for_each(|_| assert!(!pulse.good(millis(20), TIMEOUT) && pulse.is_slow));
        assert!(pulse.good(millis(20), TIMEOUT) && !pulse.is_slow);
    }

    #[test]
    fn nearly_the_whole_timeout_is_slow_before_anything_is_usual() {
        let mut pulse = Pulse::default();
        (0..4).for_each(|_| assert!(!pulse.good(millis(401), TIMEOUT)));
        assert!(pulse.good(millis(401), TIMEOUT));
    }

    #[test]
    fn what_is_slow_for_long_becomes_usual() {
        let mut pulse = healthy();
        let until = (1..10_000).find(|_| pulse.good(millis(100), TIMEOUT) && !pulse.is_slow);
        assert!(until.is_some_and(|it| it > 60), "{until:?}");
    }

    #[test]
    fn a_few_microseconds_more_are_not_slow() {
        let mut pulse = Pulse::default();
        feed(&mut pulse, 40, Some(Duration::from_micros(50)));
        (0..20).for_each(|_| assert!(!pulse.good(millis(49), TIMEOUT)));
    }

    #[test]
    fn flapping_is_changes_without_a_verdict() {
        let mut pulse = healthy();
        for nth in 0..5 {
            let changed = if nth % 2 == 0 { pulse.failed(false) } else { pulse.good(None, TIMEOUT) };
            assert!(!changed);
        }
        assert!(pulse.good(None, TIMEOUT) && pulse.flaps, "{pulse:?}");
        // It ends when the newest twenty hold one change at most.
        let until = (1..40).find(|_| pulse.good(None, TIMEOUT)).unwrap();
        assert!((14..=19).contains(&until) && !pulse.flaps, "{until}");
        // Three failures in a row are two changes.
        (0..3).for_each(|_| assert!(!pulse.failed(false)));
        assert!(!pulse.failed(true) && pulse.changes() == 0);
    }

    #[test]
    fn replication_is_judged_by_three_in_a_row_or_a_trend() {
        let rpo = Some(Duration::from_secs(5));
        let mut replica = Replica::default();
        let none: [Sample; 0] = [];
        replica.take(None, rpo, none.iter());
        replica.take(None, rpo, none.iter());
        assert_eq!(replica.lagging, None);
        replica.take(None, rpo, none.iter());
        assert_eq!(replica.lagging, Some(Lagging::Unsaid));
        (0..2).for_each(|_| replica.take(millis(10), rpo, none.iter()));
        assert_eq!(replica.lagging, Some(Lagging::Unsaid));
        replica.take(millis(10), rpo, none.iter());
        assert_eq!(replica.lagging, None);
        (0..3).for_each(|_| replica.take(millis(6000), rpo, none.iter()));
        assert_eq!(replica.lagging, Some(Lagging::Over(Duration::from_secs(6))));

        let sample =
            |it: u64| Sample { asked: Time::from_millis(it * 500), lag: Duration::from_millis(it * 400), whole: None };
        let samples: Vec<Sample> = (0..8).map(sample).collect();
        let mut replica = Replica::default();
        replica.take(millis(2800), rpo, samples.iter());
        assert!(matches!(replica.lagging, Some(Lagging::Growing(..))), "{replica:?}");
        let mut replica = Replica::default();
        replica.take(millis(2800), Some(Duration::from_secs(60)), samples.iter());
        assert_eq!(replica.lagging, None);
    }
}
