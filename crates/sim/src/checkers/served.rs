//! G2: a recovery is complete only when its route answered, asked after the last thing was done.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::record::{Completion, StepRef};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::observation::{Answer, Health, Observation};
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ProbeIx, Time};

use super::facts::Facts;

/// The model.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// When the question to the newest good answer was asked.
    good: BTreeMap<ProbeIx, Time>,
    begun: BTreeMap<StepRef, Time>,
    /// Recoveries whose last rung failed: one whose outcome was unknown may turn out to have worked.
    failed: BTreeSet<RecoveryId>,
}

impl Served {
    pub(super) fn forget_answers(&mut self) {
        self.good.clear();
    }

    pub(super) fn heard(&mut self, observation: &Observation) {
        if observation.answer == Answer::Good {
            let newest = self.good.entry(observation.probe).or_default();
            *newest = observation.started.max(*newest);
        }
    }

    pub(super) fn recorded(&mut self, record: &Record, facts: &Facts) {
        if let Body::StepStarted { step, .. } = &record.body {
            self.begun.insert(*step, record.at);
        } else if let Body::RungStarted { recovery, .. } = &record.body {
            self.failed.remove(recovery);
        } else if let Body::RungFailed { recovery, .. } = &record.body {
            self.failed.insert(*recovery);
        } else if let Body::RecoveryCompleted { recovery, how: Completion::ByRung { instance, .. }, .. } = &record.body
            && self.failed.contains(recovery)
        {
            let health = facts.health.get(instance);
            assert_eq!(health, Some(&Health::Healthy), "G2: {recovery} is complete, and {instance} is not healthy");
        } else if let Body::RecoveryCompleted { recovery, how: Completion::ByRung { .. }, .. } = &record.body {
            let steps = facts.play(*recovery).map(|it| it.steps.as_slice()).unwrap_or_default();
            for (nth, step) in steps.iter().enumerate() {
                let StepKind::Verify { probes } = &step.kind else { continue };
                let since = self.begun.iter().rev().find(|(it, _)| it.recovery == *recovery && it.step == nth);
                let Some((_, since)) = since else { panic!("G2: {recovery} is complete and was not verified") };
                for probe in probes {
                    let good = self.good.get(probe);
                    let name = &facts.plan.probe(*probe).name;
                    assert!(good >= Some(since), "G2: {recovery} is complete, and {name} had no good answer");
                }
            }
        }
        if let Body::RecoveryCompleted { recovery, .. } | Body::RecoveryFailed { recovery, .. } = &record.body {
            self.begun.retain(|it, _| it.recovery != *recovery);
        }
    }
}
