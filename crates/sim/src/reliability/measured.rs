//! Times of recoveries that really ran, from a journal: by component and strategy, part by part.
//!
//! Only recoveries whose first rung worked are taken, for the journal counts a rung that failed as part of what was done then.
//! Its clock starts at the last good answer, so that what is measured as *detect* is longer than from the failure, by less than
//! one interval of the probe.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::record::Completion;
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::strategy::{Phase, Strategy};

use super::distribution::Distribution;
use super::model::{Model, Part};
use super::rates_file::PhaseTime;

/// Fewer recoveries of a kind are no measurement.
pub const FEWEST: usize = 3;

/// Seconds of one recovery, by part.
type Times = Vec<(Part, f64)>;

/// What a journal tells of how long recoveries took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured(BTreeMap<(String, Strategy), Vec<Times>>);

impl Measured {
    /// Reads records with their numbers, in their order.
    pub fn of(records: impl IntoIterator<Item = (u64, Record)>) -> Measured {
        let mut component: BTreeMap<RecoveryId, String> = BTreeMap::new();
        let mut stumbled: BTreeSet<RecoveryId> = BTreeSet::new();
        let mut found = Measured::default();
        for (seq, record) in records {
            if let Body::FailureDetected { component: of, .. } = record.body {
                // The number of the record that opens a recovery is its name.
                component.insert(RecoveryId(seq), of);
            } else if let Body::RungFailed { recovery, .. } = record.body {
                stumbled.insert(recovery);
            } else if let Body::RecoveryCompleted { recovery, how: Completion::ByRung { strategy, .. }, phases_ns } =
                record.body
                && let Some(of) = component.get(&recovery).filter(|_| !stumbled.contains(&recovery))
            {
                let times = phases_ns.iter().map(|(phase, ns)| (part(phase.0), *ns as f64 / 1e9)).collect();
                found.0.entry((of.clone(), strategy)).or_default().push(times);
            }
        }
        found
    }

    /// By component and strategy, how many recoveries there are.
    pub fn counts(&self) -> impl Iterator<Item = (&str, Strategy, usize)> {
        self.0.iter().map(|((name, strategy), it)| (name.as_str(), *strategy, it.len()))
    }
}

/// The part of an outage that a phase of the journal is.
pub const fn part(phase: Phase) -> Part {
    match phase {
        Phase::Detect => Part::Detect,
        Phase::Decide => Part::Decide,
        Phase::Fence => Part::Fence,
        Phase::Act => Part::Act,
        Phase::Converge => Part::Converge,
    }
}

impl Model {
    /// Takes measured times in place of given and assumed ones, wherever there are [`FEWEST`] or more recoveries. Bounds stay: a
    /// longer one counts as the bound. What was taken, and what was too little, is said with the assumptions.
    pub fn take(&mut self, measured: &Measured) {
        for (name, strategy, count) in measured.counts() {
            let enough = count >= FEWEST;
            let few = if enough { "" } else { ", too few to be taken" };
            let times = if count == 1 { "once" } else { "times" };
            let value = if count == 1 { format!("{times}{few}") } else { format!("{count} {times}{few}") };
            self.rates.measured(format!("{name}: {} was measured", strategy.word()), value);
        }
        for member in &mut self.members {
            for way in member.ways.iter_mut().flatten() {
                let runs = measured.0.get(&(member.name.clone(), way.strategy)).filter(|it| it.len() >= FEWEST);
                let Some(runs) = runs else { continue };
                for (part, timed) in &mut way.times {
                    // Waiting for a turn and rungs before are not among what is measured.
                    if matches!(part, Part::Turn | Part::EarlierRungs) {
                        continue;
                    }
                    let of = |it: &Times| it.iter().filter(|it| it.0 == *part).map(|it| it.1).sum();
                    timed.law = PhaseTime::Of(Distribution::empirical(runs.iter().map(of).collect()));
                }
            }
        }
    }
}
