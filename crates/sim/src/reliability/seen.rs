//! How often instances failed, and how long until they were back, from a journal.
//!
//! Only failures of one instance or its service count: what a zone or a region took is theirs. Time counts while an instance was
//! seen healthy, up to the last record: of calm after that a journal says nothing. An agent that was away saw nothing. A
//! rehearsal that really breaks something can't be told from a failure.

use std::collections::BTreeMap;

use mainstay_engine::record::Completion;
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::Time;
use mainstay_plan::location::Location;
use mainstay_plan::observation::{Health, Scenario};
use mainstay_plan::strategy::Strategy;

use super::distribution::Distribution;
use super::measured::FEWEST;
use super::model::Model;
use super::spans::span;

/// What a journal tells of one instance.
#[derive(Clone, Debug, Default, PartialEq)]
struct OfInstance {
    /// Seconds in which it was seen healthy.
    healthy_s: f64,
    /// Times at which it failed by itself.
    failures: usize,
    /// Seconds from such a failure until it was healthy again, where it was not restarted by its recovery.
    repairs: Vec<f64>,
}

/// What a journal tells of how often what fails.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failures(BTreeMap<String, OfInstance>);

/// A failure that may still turn out to be that of a zone.
struct Open {
    instance: String,
    since: Time,
    alone: bool,
    /// Whether its recovery has ended.
    ended: bool,
    /// Whether its recovery restarted it.
    restarted: bool,
    /// When it was healthy again.
    back: Option<Time>,
}

impl Failures {
    /// Reads records with their numbers, in their order. `home` knows where an instance lives.
    pub fn of<'a>(
        records: impl IntoIterator<Item = &'a (u64, Record)>,
        home: impl Fn(&str) -> Option<Location>,
    ) -> Failures {
        let mut found = Failures::default();
        let mut healthy: BTreeMap<String, Time> = BTreeMap::new();
        let mut open: BTreeMap<RecoveryId, Open> = BTreeMap::new();
        let mut last = Time::ZERO;
        for (seq, record) in records {
            // Until an agent says otherwise it watches; what comes first after it was away is its own start.
            let before = std::mem::replace(&mut last, record.at);
            let alone = |it: Scenario| matches!(it, Scenario::InstanceFailure | Scenario::ServiceFailure);
            if let Body::AgentStarted { .. } = &record.body {
                std::mem::take(&mut healthy)
                    .into_iter()
                    .for_each(|(name, since)| found.was_healthy(name, since, before));
            } else if let Body::HealthChanged { instance, to, .. } = &record.body {
                if let Some(since) = healthy.remove(instance) {
                    found.was_healthy(instance.clone(), since, record.at);
                }
                if *to == Health::Healthy {
                    healthy.insert(instance.clone(), record.at);
                    let mine = open.values_mut().rev().find(|it| it.instance == *instance);
                    mine.into_iter().for_each(|it| it.back = it.back.or(Some(record.at)));
                }
            } else if let Body::FailureDetected { instance, scenario, first_failed, .. } = &record.body {
                let (instance, since) = (instance.clone(), *first_failed);
                let new = Open { instance, since, alone: alone(*scenario), ended: false, restarted: false, back: None };
                open.insert(RecoveryId(*seq), new);
            } else if let Body::Classified { recovery, scenario, .. } = &record.body {
                open.entry(*recovery).and_modify(|it| it.alone = alone(*scenario));
            } else if let Body::IncidentOpened { region, zone, .. } = &record.body {
                let lost = |it: &Location| it.region == *region && (zone.is_none() || it.zone == *zone);
                let taken = open.values_mut().filter(|it| !it.ended && home(&it.instance).is_some_and(|it| lost(&it)));
                taken.for_each(|it| it.alone = false);
            } else if let Body::RecoveryCompleted { recovery, how, .. } = &record.body {
                let by_restart = matches!(how, Completion::ByRung { strategy: Strategy::RestartService, .. });
                open.entry(*recovery).and_modify(|it| (it.ended, it.restarted) = (true, it.restarted || by_restart));
            } else if let Body::RecoveryFailed { recovery, .. } = &record.body {
                open.entry(*recovery).and_modify(|it| it.ended = true);
            }
        }
        healthy.into_iter().for_each(|(name, since)| found.was_healthy(name, since, last));
        for it in open.into_values().filter(|it| it.alone) {
            let of = found.0.entry(it.instance).or_default();
            of.failures += 1;
            let back = it.back.filter(|_| !it.restarted);
            of.repairs.extend(back.map(|back| back.since(it.since).as_secs_f64()));
        }
        found
    }

    fn was_healthy(&mut self, name: String, since: Time, until: Time) {
        self.0.entry(name).or_default().healthy_s += until.since(since).as_secs_f64();
    }
}

impl Model {
    /// Takes failures and repairs that a journal has seen in place of given and assumed ones, for each instance that failed
    /// [`FEWEST`] times or more: exponential with the mean that was seen, for what has not failed yet counts, too; repairs as they
    /// were, where there are [`FEWEST`].
    pub fn take_failures(&mut self, seen: &Failures) {
        for unit in &self.units {
            let Some(it) = seen.0.get(&unit.name) else { continue };
            let source = &mut self.sources[unit.sources[0]];
            if it.failures >= FEWEST {
                let mean = it.healthy_s / it.failures as f64;
                source.fails = Distribution::Exponential { mean };
                let value = format!(
                    "{} times in {} of being healthy, up to the last record: after {} on average",
                    it.failures,
                    span(it.healthy_s),
                    span(mean)
                );
                self.rates.measured(format!("{} fails", unit.name), value);
            } else if it.failures > 0 {
                let value = format!("{} times, too seldom to be taken", it.failures);
                self.rates.measured(format!("{} failed", unit.name), value);
            }
            if it.repairs.len() >= FEWEST {
                source.repair = Distribution::empirical(it.repairs.clone());
                self.rates.measured(
                    format!("{}'s repair takes", unit.name),
                    format!("as long as {} times", it.repairs.len()),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, body: Body) -> Record {
        Record { at: Time::from_millis(seconds * 1000), body }
    }

    fn health(to: Health) -> Body {
        let (from, since) = (Health::Unknown, Time::ZERO);
        Body::HealthChanged { instance: "db".to_owned(), from, to, since, last_good: None, evidence: Vec::new() }
    }

    fn failed(scenario: Scenario, first_failed: u64) -> Body {
        Body::FailureDetected {
            component: "db".to_owned(),
            instance: "db".to_owned(),
            scenario,
            first_failed: Time::from_millis(first_failed * 1000),
            last_good: None,
            rule: None,
            plan: String::new(),
            evidence: Vec::new(),
            incident: None,
        }
    }

    fn completed(recovery: u64, strategy: Strategy) -> Body {
        let how = Completion::ByRung { strategy, instance: "db-b".to_owned() };
        Body::RecoveryCompleted { recovery: RecoveryId(recovery), how, phases_ns: Vec::new() }
    }

    fn started() -> Body {
        Body::AgentStarted { engine: 1, version: "test".to_owned(), coordinated: false, places: Vec::new() }
    }

    fn of(records: Vec<Record>) -> OfInstance {
        let numbered: Vec<(u64, Record)> = (1..).zip(records).collect();
        let home = |_: &str| Some(Location { region: "here".to_owned(), zone: Some("a".to_owned()), host: None });
        Failures::of(&numbered, home).0.remove("db").expect("it was seen")
    }

    #[test]
    fn what_was_restarted_was_not_repaired() {
        let seen = of(vec![
            at(0, started()),
            at(100, health(Health::Healthy)),
            at(1100, health(Health::Down)),
            at(1100, failed(Scenario::InstanceFailure, 1098)),
            at(1110, health(Health::Healthy)),
            at(1111, completed(4, Strategy::RestartService)),
            at(2110, health(Health::Down)),
            at(2110, failed(Scenario::ServiceFailure, 2109)),
            at(2120, completed(8, Strategy::FailoverToStandby)),
            at(3009, health(Health::Healthy)),
            at(3509, health(Health::Suspect)),
        ]);
        assert_eq!((seen.failures, seen.repairs.as_slice()), (2, &[900.0][..]));
        assert!((seen.healthy_s - 2500.0).abs() < 1e-9, "{seen:?}");
    }

    #[test]
    fn an_incident_takes_what_is_still_open() {
        let lost = |zone: &str| Body::IncidentOpened {
            scenario: Scenario::AvailabilityZoneFailure,
            region: "here".to_owned(),
            zone: Some(zone.to_owned()),
            first_failed: Time::ZERO,
            evidence: Vec::new(),
        };
        let failure = || vec![at(0, started()), at(9, failed(Scenario::InstanceFailure, 9))];
        let count = |more: Vec<Record>| of(failure().into_iter().chain(more).collect()).failures;
        assert_eq!(count(vec![at(10, lost("b"))]), 1);
        assert_eq!(count(vec![at(10, completed(2, Strategy::RestartService)), at(11, lost("a"))]), 1);
        let numbered: Vec<(u64, Record)> = (1..).zip(failure().into_iter().chain([at(10, lost("a"))])).collect();
        let home = |_: &str| Some(Location { region: "here".to_owned(), zone: Some("a".to_owned()), host: None });
        assert_eq!(Failures::of(&numbered, home), Failures::default());
    }

    #[test]
    fn what_a_zone_took_is_not_its_own_and_an_agent_that_is_away_sees_nothing() {
        let seen = of(vec![
            at(0, started()),
            at(0, health(Health::Healthy)),
            at(500, health(Health::Down)),
            at(500, failed(Scenario::InstanceFailure, 499)),
            at(
                502,
                Body::Classified {
                    recovery: RecoveryId(4),
                    scenario: Scenario::AvailabilityZoneFailure,
                    evidence: Vec::new(),
                },
            ),
            at(900, health(Health::Healthy)),
            // It was killed some time after this.
            at(1000, Body::OwnLateness { late_ns: 1 }),
            at(9000, started()),
            at(9001, health(Health::Healthy)),
            at(9101, health(Health::Down)),
        ]);
        assert_eq!((seen.failures, seen.repairs.len()), (0, 0));
        assert!((seen.healthy_s - 700.0).abs() < 1e-9, "{seen:?}");
    }
}
