//! How far each instance is behind the active one: as its probe says, or worked out from positions.
//!
//! Who reports positions needs no clock of a server. The active instance said *I am at 1000* when it was asked at 12:00:00; a
//! standby that has 1000 or more has all that was acknowledged before 12:00:00, and lacks at most what came after. So the newest
//! moment at which the active one was no further than the standby is, is the moment up to which the standby is whole.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_plan::component::Failback;
use mainstay_plan::observation::{Health, LogPosition, PLACES_KEPT};
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Time};

use super::Soft;
use crate::planted::{Fault, planted};
use crate::record::{AskedPlace, Body, Ended, LastPlaces};
use crate::state::{ComponentState, Recovery, State, StepAt};
use crate::switch::NEARLY;

/// How many samples of the lag of an instance are kept.
const SAMPLES: usize = 32;

/// How many positions of an instance are kept: the newest half of them all, the others further and further apart.
const POSITIONS: usize = 128;

/// How far an instance was behind at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When it was asked.
    pub(crate) asked: Time,
    /// How far it was behind.
    pub(crate) lag: Duration,
    /// What was acknowledged before this moment it has, where that is known from positions.
    pub(crate) whole: Option<Time>,
}

impl Sample {
    /// What a takeover would lose at most if the active instance acknowledged nothing after `failed`. A lag that was reported before
    /// may have grown until then; one from after it counts as it is.
    pub(crate) fn loss(&self, failed: Time) -> Duration {
        self.whole.map_or_else(|| self.lag + failed.since(self.asked), |whole| failed.since(whole))
    }

    /// Whether it has all that was acknowledged before `since`.
    pub(crate) fn has_all(&self, since: Time) -> bool {
        match self.whole {
            Some(whole) => whole >= since,
            None => self.asked >= since && self.lag.is_zero(),
        }
    }
}

/// What is known of the replication of one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replication {
    samples: VecDeque<Sample>,
    /// When asked, and where it was: each place once, with the last moment at which it was there.
    positions: VecDeque<(Time, LogPosition)>,
    /// When the newest place was asked for that an agent before this one was told.
    told_before: Option<Time>,
    /// Places from before its condition came into doubt, for an agent after this one: they are as true as ever.
    from_before: Vec<AskedPlace>,
}

/// Which places are kept for an agent after this one beside the newest [`PLACES_KEPT`], counted from the newest.
const OLDER_KEPT: [usize; 5] = [40, 53, 71, 94, POSITIONS - 1];

impl Replication {
    /// The samples, the oldest first.
    pub(crate) fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + ExactSizeIterator {
        self.samples.iter()
    }

    /// The newest.
    pub(crate) fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// Whether it has said nothing of its place since this agent started.
    fn is_told_before(&self) -> bool {
        self.told_before.is_some() && self.told_before == self.positions.back().map(|it| it.0)
    }

    /// Where it was when it last said so.
    pub(crate) fn position(&self) -> Option<&LogPosition> {
        self.positions.back().map(|it| &it.1)
    }

    /// We were late, or others have acted: that it was at a place at a moment is as true as ever, and what was worked out from it. Only how far
    /// it was behind by its own word has to be seen anew. An active instance that is dead says nothing more; without this no standby could take over.
    pub(super) fn distrust(&mut self) {
        self.samples.retain(|it| it.whole.is_some());
        self.told_before = self.positions.back().map(|it| it.0);
    }

    /// Something was done to it, and its data may be other data now.
    pub(crate) fn clear(&mut self) {
        self.from_before = self.kept();
        self.samples.clear();
        self.positions.clear();
        self.told_before = None;
    }

    /// What an agent after this one should know of it, the oldest first.
    fn kept(&self) -> Vec<AskedPlace> {
        if self.positions.is_empty() {
            return self.from_before.clone();
        }
        let back = |nth: usize| self.positions.len() - 1 - nth;
        let is_kept = |nth: &usize| back(*nth) < PLACES_KEPT || OLDER_KEPT.contains(&back(*nth));
        let place = |nth: usize| AskedPlace { asked: self.positions[nth].0, place: self.positions[nth].1.clone() };
        (0..self.positions.len()).filter(is_kept).map(place).collect()
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Takes in where it is.
    pub(crate) fn at(&mut self, asked: Time, position: LogPosition) {
        match self.positions.back_mut() {
            Some(newest) if newest.1 == position => newest.0 = newest.0.max(asked),
            Some(newest) if newest.0 > asked => {}
            Some(_) | None => self.positions.push_back((asked, position)),
        }
        if self.positions.len() > POSITIONS {
            self.thin_out();
        }
    }

    /// Forgets the one of the older half that is missed least: the gap that it leaves is the smallest for its age.
    fn thin_out(&mut self) {
        let Some(newest) = self.positions.back().map(|it| it.0) else { return };
        let at = |nth: usize| self.positions[nth].0;
        let missed = |nth: &usize| {
            let (gap, age) = (at(nth + 1).since(at(nth - 1)), newest.since(at(*nth)));
            gap.as_nanos().saturating_mul(1 << 20) / age.as_nanos().max(1)
        };
        if let Some(least) = (1..POSITIONS / 2).min_by_key(missed) {
            self.positions.remove(least);
        }
    }

    /// How far an instance that is at `position` is behind this one, which is the active one; `None`: that can't be told.
    pub(crate) fn behind(&self, asked: Time, position: &LogPosition) -> Option<Sample> {
        let newest = self.positions.back()?;
        let (whole, _) = (self.positions.iter().rev())
            .take_while(|it| it.1.is_comparable(position))
            .find(|it| it.1.at <= position.at)?;
        // What an agent before this one was told may be long ago.
        let is_newest = newest.0 == *whole && !self.is_told_before();
        let lag = if is_newest { Duration::ZERO } else { asked.since(*whole) };
        Some(Sample { asked, lag, whole: Some(*whole) })
    }

    /// How many bytes of its history a standby at `position` lacks, as far as is known; `None`: they can't be compared.
    pub(crate) fn lacking(&self, position: &LogPosition) -> Option<u64> {
        let newest = self.position()?;
        newest.is_comparable(position).then(|| newest.at.saturating_sub(position.at))
    }
}

/// Takes in what an answer says about how far an instance is behind: its lag, or where it is. Returns the lag, where it is known.
pub(super) fn take(
    of: &mut [Replication],
    state: &State,
    instance: InstanceIx,
    asked: Time,
    (lag, position): (Option<Duration>, Option<LogPosition>),
) -> Option<Duration> {
    let mut sample = lag.map(|lag| Sample { asked, lag, whole: None });
    if let Some(position) = position {
        let bound = state.components[state.plan.instance(instance).component.index()].bound;
        if bound != instance && planted(Fault::PlaceTakenForWhole) {
            sample = Some(Sample { asked, lag: Duration::ZERO, whole: Some(asked) });
        } else if bound != instance {
            sample = sample.or_else(|| of[bound.index()].behind(asked, &position));
            // It is another's copy now, or has not followed a takeover: what it had of this one it need not have any more.
            if of[bound.index()].position().is_some_and(|it| !it.is_comparable(&position)) {
                of[instance.index()].clear();
            }
        }
        let own = &mut of[instance.index()];
        // Its data was put back to an earlier moment, or it replays again what it had.
        if bound != instance && own.position().is_some_and(|it| it.is_comparable(&position) && position.at < it.at) {
            own.samples.clear();
        }
        own.at(asked, position);
    }
    of[instance.index()].push(sample?);
    sample.map(|it| it.lag)
}

/// Where an instance is in its history, and how far it is behind, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Where it was when it last said so.
    pub place: Option<LogPosition>,
    /// How far a standby was behind by the newest answer that said so, and when that was asked; a *known zero* is no promise about what came after.
    pub behind: Option<(Duration, Time)>,
    /// How many bytes of the history it lacked then, at least.
    pub lacks: Option<u64>,
}

impl Soft {
    /// Where an instance is in its history; `None`: nothing is known.
    pub fn stand(&self, state: &State, instance: InstanceIx) -> Option<Stand> {
        let own = &self.replication[instance.index()];
        let bound = state.components[state.plan.instance(instance).component.index()].bound;
        let place = own.position().cloned();
        let behind = own.newest().filter(|_| instance != bound).map(|it| (it.lag, it.asked));
        let leader = &self.replication[bound.index()];
        let lacks = place.as_ref().filter(|_| instance != bound).and_then(|it| leader.lacking(it));
        (place.is_some() || behind.is_some()).then_some(Stand { place, behind, lacks })
    }

    /// Takes in what an agent before this one was told of active instances. Of one that is active no more it says nothing.
    pub(crate) fn remember(&mut self, state: &State, last: &[LastPlaces], now: Time) {
        for of in last {
            let Some(instance) = state.instance(&of.instance) else { continue };
            if state.components[state.plan.instance(instance).component.index()].bound != instance {
                continue;
            }
            let replication = &mut self.replication[instance.index()];
            for it in of.places.iter().filter(|it| it.asked <= now) {
                let asked = if planted(Fault::PlaceOfBeforeTakenForNow) { now } else { it.asked };
                replication.at(asked, it.place.clone());
                replication.told_before = Some(asked);
            }
        }
    }

    /// See [`Engine::places`](crate::Engine::places).
    pub(crate) fn places(&self, state: &State) -> Vec<LastPlaces> {
        let of = |it: &ComponentState| {
            let places = self.replication[it.bound.index()].kept();
            let instance = state.plan.instance(it.bound).name.clone();
            (!places.is_empty()).then_some(LastPlaces { instance, places })
        };
        state.components.iter().filter_map(of).collect()
    }

    /// Once something is wrong, each answer is looked at: what is wrong depends on the active instance, too.
    pub(super) fn judge_replication(&mut self, state: &State, instance: InstanceIx, lag: Option<Duration>) {
        let component = state.plan.instance(instance).component;
        let rpo = state.plan.component(component).objectives.rpo;
        let parted = self.is_parted(instance, state.components[component.index()].bound);
        let replica = &mut self.replicas[instance.index()];
        let was = (replica.lagging.is_some(), replica.is_astray());
        replica.take(lag, rpo, self.replication[instance.index()].samples());
        replica.parted(parted);
        if was != (false, false) || replica.lagging.is_some() || replica.is_astray() {
            self.gray.insert(instance);
        }
    }

    /// Whether an instance is on another line of history than the active one; `None`: one of them has not said where it is.
    fn is_parted(&self, instance: InstanceIx, bound: InstanceIx) -> Option<bool> {
        if instance == bound {
            return Some(false);
        }
        let (own, other) = (&self.replication[instance.index()], &self.replication[bound.index()]);
        // What was told to an agent before this one, the active one may have left behind since.
        if other.is_told_before() {
            return None;
        }
        Some(!own.position()?.is_comparable(other.position()?))
    }

    /// Why an instance is called astray.
    pub(crate) fn told_astray(&self, state: &State, instance: InstanceIx, bound: InstanceIx) -> String {
        let at = |ix: InstanceIx| self.replication[ix.index()].position().map_or_else(String::new, ToString::to_string);
        let active = &state.plan.instance(bound).name;
        format!("it does not follow `{active}`: it is at {}, and `{active}` at {}", at(instance), at(bound))
    }

    /// How far an instance was behind, by the newest answer that said so.
    pub(crate) fn lag(&self, instance: InstanceIx) -> Option<Duration> {
        self.replication[instance.index()].newest().map(|it| it.lag)
    }

    /// The loss that a takeover would mean, bounded by the samples around the failure: one from before it may have grown
    /// until the failure; one from after it counts as it is.
    ///
    /// An active instance that is not down, but has failed as a rule says, goes on writing: then the loss is the lag of now, and is
    /// said again when it comes to be more, or less, than the objective allows. So it does where a rung failed, and whoever the component is bound to
    /// has served since the failure.
    pub(super) fn positions(&self, state: &State, component: ComponentIx, failed: Time, now: Time) -> Vec<Body> {
        let bound = state.components[component.index()].bound;
        let anew = state.components[component.index()].loss_anew;
        let goes_on = state.instances[bound.index()].health == Health::Healthy;
        let allows = |loss: Duration| state.plan.component(component).objectives.rpo.is_none_or(|rpo| loss <= rpo);
        let position = |instance: &InstanceIx| {
            let planned = state.plan.instance(*instance);
            let frozen = state.instances[instance.index()].frozen_loss;
            if *instance == bound || !planned.reports_lag {
                return None;
            }
            let loss = self.loss(*instance, if goes_on { now } else { failed });
            let place = self.replication[instance.index()].position().cloned();
            let is_new = match (frozen, loss) {
                (_, _) if anew => true,
                (None, None) => place.is_some(),
                (Some(None), None) => false,
                (Some(Some(_)), None) => goes_on,
                (None | Some(None), Some(_)) => true,
                (Some(Some(before)), Some(loss)) => goes_on && allows(before) != allows(loss),
            };
            let lacks = place.as_ref().and_then(|it| self.replication[bound.index()].lacking(it));
            let loss_ns = loss.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
            is_new.then(|| Body::PositionFrozen { instance: planned.name.clone(), loss_ns, place, lacks })
        };
        state.plan.component(component).instances.iter().filter_map(position).collect()
    }

    /// What a takeover by `instance` would lose at most if its component failed at `failed`; `None`: it has not said.
    pub(crate) fn loss(&self, instance: InstanceIx, failed: Time) -> Option<Duration> {
        self.replication[instance.index()].samples().map(|it| it.loss(failed)).min()
    }

    /// Why a standby is too far behind for a planned move, if it is; who reports no lag is not asked.
    pub(crate) fn far_behind(&self, plan: &Plan, instance: InstanceIx) -> Option<String> {
        let planned = plan.instance(instance);
        if !planned.reports_lag {
            return None;
        }
        let most = plan.component(planned.component).switch_lag();
        match self.replication[instance.index()].newest() {
            None => Some(format!("`{}` has not said how far it lags behind", planned.name)),
            Some(newest) if newest.lag > most => {
                Some(format!("`{}` lags {:?} behind, more than {most:?}", planned.name, newest.lag))
            }
            Some(_) => None,
        }
    }

    /// Whether an instance is healthy, and not far behind where it says how far.
    pub(crate) fn is_nearly_in_step(&self, plan: &Plan, instance: InstanceIx) -> bool {
        let reports_lag = plan.instance(instance).reports_lag;
        let known = !reports_lag || self.replication[instance.index()].newest().is_some_and(|it| it.lag <= NEARLY);
        known && self.verdict(plan, instance) == Health::Healthy
    }

    /// Whether the original, to which its component goes back by itself, or a standby to which it leaves what is being
    /// evacuated, is nearly in step; a fact where that changes.
    pub(super) fn in_step_change(&self, state: &State, instance: InstanceIx) -> Option<Body> {
        let planned = state.plan.instance(instance);
        let component = state.plan.component(planned.component);
        let bound = state.components[planned.component.index()].bound;
        let goes_back = component.failback != Failback::Never && component.original() == instance;
        let leaves =
            planned.reports_lag && state.evacuated(bound).is_some() && component.switch(bound, instance).is_some();
        if bound == instance || !(goes_back || leaves) {
            return None;
        }
        let in_step = self.is_nearly_in_step(&state.plan, instance);
        let changed = in_step != state.instances[instance.index()].in_step;
        changed.then(|| Body::InStepChanged { instance: planned.name.clone(), in_step })
    }

    /// Whether the new owner of a planned move is in step: it lags behind nothing, asked after traffic was cut.
    pub(super) fn caught_up(&mut self, state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
        let (step, to, since) =
            state.open_steps(recovery).find_map(|(at, step, stand)| match (&step.kind, &stand.at) {
                (StepKind::CatchUp { to, .. }, StepAt::Running { since }) => Some((at, *to, *since)),
                _ => None,
            })?;
        if self.catching.insert(to) {
            for probe in &state.plan.instance(to).probes {
                self.ask_now(*probe, now);
            }
        }
        let in_step = self.replication[to.index()].samples().any(|it| it.has_all(since));
        in_step.then(|| {
            self.catching.remove(&to);
            Body::StepEnded { step, ended: Ended::Done }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time::from_nanos(second * 1_000_000_000)
    }

    fn place(at: u64) -> LogPosition {
        LogPosition { system: "7".to_owned(), timeline: 3, at }
    }

    fn active() -> Replication {
        let mut active = Replication::default();
        [(10, 1000), (11, 1500), (12, 1500), (13, 2000)].into_iter().for_each(|(t, b)| active.at(at(t), place(b)));
        active
    }

    #[test]
    fn a_standby_is_whole_up_to_the_last_moment_at_which_the_active_one_was_no_further() {
        for (bytes, whole) in [(1000, 10), (1499, 10), (1500, 12), (1999, 12), (2000, 13), (9000, 13)] {
            let sample = active().behind(at(14), &place(bytes)).unwrap();
            assert_eq!(sample.whole, Some(at(whole)), "{bytes}");
            assert_eq!(sample.loss(at(15)), at(15).since(at(whole)), "{bytes}");
        }
        assert_eq!(active().behind(at(14), &place(999)), None, "it lacks more than is known");
    }

    #[test]
    fn whoever_has_the_newest_place_lags_behind_nothing_and_is_whole_up_to_then_only() {
        let sample = active().behind(at(20), &place(2000)).unwrap();
        assert_eq!(sample.lag, Duration::ZERO);
        assert!(sample.has_all(at(13)) && !sample.has_all(at(14)));
    }

    #[test]
    fn another_data_set_and_another_line_of_history_are_not_compared() {
        for other in [LogPosition { system: "8".to_owned(), ..place(2000) }, LogPosition { timeline: 4, ..place(2000) }]
        {
            assert_eq!(active().behind(at(14), &other), None);
            assert_eq!(active().lacking(&other), None);
        }
        assert_eq!(active().lacking(&place(1200)), Some(800));
    }

    #[test]
    fn places_of_an_older_line_say_nothing_about_a_newer_one() {
        let mut active = active();
        active.at(at(14), LogPosition { timeline: 4, ..place(2100) });
        assert_eq!(active.behind(at(15), &LogPosition { timeline: 4, ..place(2050) }), None);
        assert_eq!(active.behind(at(15), &place(2000)), None, "it did not follow the takeover");
    }

    #[test]
    fn the_last_minute_is_kept_exactly_and_hours_roughly() {
        let mut active = Replication::default();
        (0..20_000).for_each(|t| active.at(at(t), place(t * 10)));
        assert!(active.positions.len() <= POSITIONS);
        let whole = |bytes| active.behind(at(20_000), &place(bytes)).and_then(|it| it.whole);
        assert_eq!(whole(199_500), Some(at(19_950)));
        for wanted in [10_000, 1000, 100] {
            let whole = whole(wanted * 10).expect("it is known");
            assert!(whole <= at(wanted) && (at(wanted).since(whole)) * 3 < at(20_000).since(whole), "{whole:?}");
        }
    }

    #[test]
    fn what_is_kept_says_the_same_to_the_agent_after_and_is_never_taken_for_new() {
        let mut before = active();
        before.clear();
        let kept = before.kept();
        assert_eq!(kept, active().kept(), "doubt takes nothing from what is kept");
        let mut after = Replication::default();
        kept.iter().for_each(|it| after.at(it.asked, it.place.clone()));
        after.told_before = kept.last().map(|it| it.asked);
        for bytes in [1000, 1500, 2000] {
            let (was, is) = (active().behind(at(20), &place(bytes)), after.behind(at(20), &place(bytes)));
            assert_eq!(was.and_then(|it| it.whole), is.and_then(|it| it.whole), "{bytes}");
        }
        assert_eq!(after.behind(at(20), &place(2000)).map(|it| it.lag), Some(Duration::from_secs(7)));
        after.at(at(21), place(2000));
        assert_eq!(after.behind(at(22), &place(2000)).map(|it| it.lag), Some(Duration::ZERO), "it has said so again");
    }

    #[test]
    fn an_answer_that_was_overtaken_changes_nothing() {
        let mut active = active();
        active.at(at(9), place(900));
        assert_eq!(active.position(), Some(&place(2000)));
    }
}
