//! Several units of which some are enough: redundancy with repair, exactly.
//!
//! A [`Redundancy`] is written down once. Here it becomes a Markov chain over what each unit does and who waits for repair,
//! and is solved; [`trial`](super::trial) plays the same thing unit by unit. The two share this description and nothing of
//! how it is worked out, so that each is a check of the other.
//!
//! What is meant: active units fail, and go on failing while too few are left. A repaired unit becomes active where one is
//! missing, and waits otherwise. Crews take the failed units in the order in which they failed.

use std::collections::BTreeMap;

use super::markov::{Chain, LongRun};

/// Equal units, some of them active. All rates are per unit of time; which unit is the caller's choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Redundancy {
    /// By unit, the zone where it is. All zones are in one region.
    pub zones: Vec<usize>,
    /// How many must be active for the system to be up.
    pub needed: usize,
    /// How many are active when nothing has failed; the others wait to take over.
    pub active: usize,
    /// The rate at which an active unit fails, from all causes.
    pub fails: f64,
    /// The rate at which one crew repairs one unit.
    pub repairs: f64,
    /// How many units can be repaired at a time.
    pub crews: usize,
    /// The share of its own failures that a waiting unit has too: 0 cold, 1 hot, between them warm.
    pub waiting: f64,
    /// The share of a unit's failures that takes its zone with it (beta factor).
    pub zone_common_cause: f64,
    /// The share of a unit's failures that takes the region with it (beta factor).
    pub region_common_cause: f64,
    /// The probability that a waiting unit starts when it is asked to. One that does not has failed.
    pub starts: f64,
    /// The probability that the failure of an active unit is detected. One that is not is neither replaced nor repaired until
    /// it is found.
    pub detected: f64,
    /// The rate at which an undetected failure is found.
    pub found: f64,
}

/// What a unit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Active,
    Waiting,
    /// In repair, or waiting for a crew.
    Failed,
    /// Failed, and nobody knows.
    Hidden,
}

/// What all units do, and those that failed in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    roles: Vec<Role>,
    queue: Vec<usize>,
}

impl Redundancy {
    /// `needed` of so many units, all of them active, in one zone, independent, always detected.
    pub fn k_of_n(needed: usize, units: usize, fails: f64, repairs: f64, crews: usize) -> Redundancy {
        Redundancy {
            zones: vec![0; units],
            needed,
            active: units,
            fails,
            repairs,
            crews,
            waiting: 1.0,
            zone_common_cause: 0.0,
            region_common_cause: 0.0,
            starts: 1.0,
            detected: 1.0,
            found: repairs,
        }
    }

    /// One active unit and so many that are stopped until they are needed.
    pub fn cold_standby(spares: usize, fails: f64, repairs: f64, crews: usize) -> Redundancy {
        Redundancy { active: 1, waiting: 0.0, ..Redundancy::k_of_n(1, 1 + spares, fails, repairs, crews) }
    }

    /// The rate at which one active unit fails alone.
    pub(super) fn fails_alone(&self) -> f64 {
        self.fails * (1.0 - self.zone_common_cause - self.region_common_cause)
    }

    /// In the long run: availability, and how often it fails.
    pub fn long_run(&self) -> LongRun {
        let (chain, is_down) = self.chain();
        chain.long_run(&is_down)
    }

    /// Mean time to failure: from the moment at which nothing has failed until the system is down for the first time. This
    /// is what the books mean by the MTTF of a system with repair, and always more than [`LongRun::mtbf`], which begins
    /// again from what a failure left behind.
    pub fn mttf(&self) -> f64 {
        let (chain, is_down) = self.chain();
        chain.mean_time_to(&is_down, 0)
    }

    /// The chain over all states that can be reached, the first being that nothing has failed; and which of them are down.
    fn chain(&self) -> (Chain, Vec<bool>) {
        let mut known: BTreeMap<State, usize> = BTreeMap::new();
        let mut states = vec![self.canonical(self.whole())];
        known.insert(states[0].clone(), 0);
        let mut moves: Vec<(usize, usize, f64)> = Vec::new();
        let mut next = 0;
        while next < states.len() {
            for (rate, to) in self.moves(&states[next]) {
                let to = self.canonical(to);
                let at = *known.entry(to.clone()).or_insert_with(|| {
                    states.push(to);
                    states.len() - 1
                });
                moves.push((next, at, rate));
            }
            next += 1;
        }
        let mut chain = Chain::new(states.len());
        moves.into_iter().for_each(|(from, to, rate)| chain.add(from, to, rate));
        let is_down = states.iter().map(|it| count(&it.roles, Role::Active) < self.needed).collect();
        (chain, is_down)
    }

    fn whole(&self) -> State {
        let role = |at: usize| if at < self.active { Role::Active } else { Role::Waiting };
        State { roles: (0..self.zones.len()).map(role).collect(), queue: Vec::new() }
    }

    /// Units of one zone are alike, so that only what they do counts, and not which of them does it.
    fn canonical(&self, state: State) -> State {
        let place = |unit: usize| state.queue.iter().position(|it| *it == unit);
        let mut order: Vec<usize> = (0..state.roles.len()).collect();
        order.sort_by_key(|it| (self.zones[*it], state.roles[*it], place(*it)));
        let renamed = |unit: &usize| order.iter().position(|it| it == unit).unwrap_or_default();
        State {
            roles: order.iter().map(|it| state.roles[*it]).collect(),
            queue: state.queue.iter().map(renamed).collect(),
        }
    }

    /// Where a state leads, with the rates. What is a matter of chance at one moment becomes a move for each outcome.
    fn moves(&self, state: &State) -> Vec<(f64, State)> {
        let mut moves = Vec::new();
        for unit in 0..state.roles.len() {
            match state.roles[unit] {
                Role::Active => {
                    let fails = self.fails_alone();
                    self.after(fails * self.detected, with_failed(state, [unit]), &mut moves);
                    let mut hidden = state.clone();
                    hidden.roles[unit] = Role::Hidden;
                    push(fails * (1.0 - self.detected), hidden, &mut moves);
                }
                Role::Waiting => push(self.fails_alone() * self.waiting, with_failed(state, [unit]), &mut moves),
                Role::Hidden => self.after(self.found, with_failed(state, [unit]), &mut moves),
                Role::Failed => {}
            }
        }
        for unit in state.queue.iter().take(self.crews) {
            let mut repaired = state.clone();
            repaired.queue.retain(|it| it != unit);
            repaired.roles[*unit] = self.role_of_repaired(&state.roles);
            push(self.repairs, repaired, &mut moves);
        }
        let mut zones = self.zones.clone();
        zones.sort_unstable();
        zones.dedup();
        for zone in zones {
            let there = (0..self.zones.len()).filter(|it| self.zones[*it] == zone);
            self.after(self.fails * self.zone_common_cause, with_failed(state, there), &mut moves);
        }
        self.after(self.fails * self.region_common_cause, with_failed(state, 0..self.zones.len()), &mut moves);
        moves
    }

    pub(super) fn role_of_repaired(&self, roles: &[Role]) -> Role {
        // One whose failure nobody knows of is not missed.
        let taken = count(roles, Role::Active) + count(roles, Role::Hidden);
        if taken < self.active { Role::Active } else { Role::Waiting }
    }

    /// Waiting units take over where active ones are missing: the first starts, or fails, and then the next is asked.
    fn after(&self, rate: f64, state: State, moves: &mut Vec<(f64, State)>) {
        let first = state.roles.iter().position(|it| *it == Role::Waiting);
        let Some(unit) = first.filter(|_| self.role_of_repaired(&state.roles) == Role::Active) else {
            push(rate, state, moves);
            return;
        };
        if rate <= 0.0 {
            return;
        }
        let mut started = state.clone();
        started.roles[unit] = Role::Active;
        self.after(rate * self.starts, started, moves);
        self.after(rate * (1.0 - self.starts), with_failed(&state, [unit]), moves);
    }
}

pub(super) fn count(roles: &[Role], role: Role) -> usize {
    roles.iter().filter(|it| **it == role).count()
}

fn push(rate: f64, to: State, moves: &mut Vec<(f64, State)>) {
    if rate > 0.0 {
        moves.push((rate, to));
    }
}

/// These units failed, and everybody knows; they are repaired in the order of their numbers.
fn with_failed(state: &State, units: impl IntoIterator<Item = usize>) -> State {
    let mut state = state.clone();
    for unit in units {
        if state.roles[unit] != Role::Failed {
            state.roles[unit] = Role::Failed;
            state.queue.push(unit);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Per hour: once in 1000 hours, repaired in 10.
    const FAILS: f64 = 1.0 / 1000.0;
    const REPAIRS: f64 = 1.0 / 10.0;

    fn k_of_n(needed: usize, units: usize, crews: usize) -> Redundancy {
        Redundancy::k_of_n(needed, units, FAILS, REPAIRS, crews)
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * b.abs()
    }

    #[test]
    fn the_availabilities_of_the_books() {
        for (needed, units, crews, availability) in
            [(1, 2, 1, 0.999_803_960), (1, 2, 2, 0.999_901_970), (2, 3, 1, 0.999_411_996), (2, 3, 3, 0.999_707_852)]
        {
            let ours = k_of_n(needed, units, crews).long_run().availability();
            assert!((ours - availability).abs() < 0.5e-9, "{needed} of {units}, {crews} crews: {ours:.9}");
        }
    }

    #[test]
    fn the_mean_times_to_failure_of_the_books() {
        // (3λ + μ) / 2λ², (5λ + μ) / 6λ², (2λ + μ) / λ². With one crew and with more: before the first failure of such a
        // system one unit at most is in repair.
        for crews in [1, 2, 3] {
            assert!(near(k_of_n(1, 2, crews).mttf(), 51_500.0));
            assert!(near(k_of_n(2, 3, crews).mttf(), 17_500.0));
            assert!(near(Redundancy::cold_standby(1, FAILS, REPAIRS, crews).mttf(), 102_000.0));
        }
        // Without redundancy it is the unit's own.
        assert!(near(k_of_n(1, 1, 1).mttf(), 1000.0) && near(k_of_n(3, 3, 1).mttf(), 1000.0 / 3.0));
        // From one failure to the next: (1 - U) / (rate of failing), less than from new.
        assert!(k_of_n(1, 2, 1).long_run().mtbf() < 51_500.0);
    }

    #[test]
    fn with_a_crew_for_each_unit_they_are_independent() {
        let down = FAILS / (FAILS + REPAIRS);
        for (needed, units) in [(1, 1), (1, 3), (2, 4), (4, 4)] {
            let exact = mainstay_plan::assess::probability::k_of_n(needed, &vec![down; units]);
            let ours = k_of_n(needed, units, units).long_run().unavailability;
            assert!(near(ours, exact), "{needed} of {units}: {ours:e} is not {exact:e}");
        }
    }

    #[test]
    fn cold_lasts_longer_than_warm_and_warm_than_hot() {
        let with = |waiting| Redundancy { waiting, ..Redundancy::cold_standby(1, FAILS, REPAIRS, 1) };
        let hot = with(1.0);
        assert!(near(hot.mttf(), 51_500.0), "a hot standby is one of two");
        assert!(near(hot.long_run().unavailability, k_of_n(1, 2, 1).long_run().unavailability));
        assert!(with(0.0).mttf() > with(0.3).mttf() && with(0.3).mttf() > hot.mttf());
    }

    #[test]
    fn what_does_not_start_is_as_good_as_absent() {
        let with = |starts| Redundancy { starts, ..Redundancy::cold_standby(1, FAILS, REPAIRS, 1) };
        assert!(near(with(0.0).mttf(), 1000.0));
        // By hand: m = 1/λ + p / (λ + μ) + p μ / (λ + μ) m, so m = (1/λ + p / (λ + μ)) / (1 - p μ / (λ + μ)).
        let p = 0.9;
        let exact = (1.0 / FAILS + p / (FAILS + REPAIRS)) / (1.0 - p * REPAIRS / (FAILS + REPAIRS));
        assert!(near(with(p).mttf(), exact), "{} is not {exact}", with(p).mttf());
    }

    #[test]
    fn what_nobody_sees_is_down_until_it_is_found() {
        // One active, one cold; undetected failures are found after 5 hours on average.
        let with = |detected| Redundancy { detected, found: 0.2, ..Redundancy::cold_standby(1, FAILS, REPAIRS, 1) };
        let (always, never) = (with(1.0).long_run(), with(0.0).long_run());
        assert!(never.unavailability > always.unavailability);
        // Never detected: each failure costs 5 hours first, and the next comes 1000 hours after the takeover; now and then
        // the other is still in repair.
        assert!((never.unavailability / (5.0 / 1005.0) - 1.0).abs() < 0.05, "{never:?}");
        assert!(near(with(0.0).mttf(), 1000.0));
    }

    #[test]
    fn a_common_cause_is_what_two_zones_are_for() {
        let with = |zones: [usize; 2], zone_common_cause| Redundancy {
            zones: zones.to_vec(),
            zone_common_cause,
            ..k_of_n(1, 2, 2)
        };
        let together = with([0, 0], 0.1).long_run().unavailability;
        let apart = with([0, 1], 0.1).long_run().unavailability;
        let independent = with([0, 0], 0.0).long_run().unavailability;
        // Together a tenth of all failures takes both; until one of them is back that is half a repair's time.
        assert!((together / (0.1 * FAILS * 5.0) - 1.0).abs() < 0.25, "{together:e}");
        // Apart, zones of one unit each, a zone's failure is a unit's own: nothing is lost.
        assert!(near(apart, independent), "{apart:e} is not {independent:e}");
        let region = Redundancy { region_common_cause: 0.1, ..with([0, 1], 0.0) };
        assert!(near(region.long_run().unavailability, together));
    }

    #[test]
    fn a_crew_more_is_never_worse() {
        for units in 2..=5 {
            let each: Vec<f64> = (1..=units).map(|it| k_of_n(1, units, it).long_run().unavailability).collect();
            assert!(each.is_sorted_by(|a, b| a >= b), "{units}: {each:?}");
        }
    }

    /// The usual table: 8760 hours a year.
    #[test]
    fn targets_allow_the_downtime_of_the_usual_table() {
        for (availability, minutes) in
            [(0.99, 87.6 * 60.0), (0.999, 8.76 * 60.0), (0.9995, 4.38 * 60.0), (0.9999, 52.56), (0.999_99, 5.256)]
        {
            // One unit of that availability: it fails as often as it takes.
            let unit = Redundancy::k_of_n(1, 1, 1.0 - availability, availability, 1);
            let down = unit.long_run().unavailability * super::super::YEAR_S / 60.0;
            assert!((down / minutes - 1.0).abs() < 1e-10, "{availability}: {down}");
        }
    }
}
