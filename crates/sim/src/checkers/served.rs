//! G2: a recovery is complete only when its route answered, asked after the last thing was done.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::record::{Completion, Ended, StepRef};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::observation::{Answer, Health, Observation};
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{Plan, Time};

use super::facts::Facts;

/// The model.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// By probe, whatever plan and agent: when the question to the newest good answer was asked.
    good: BTreeMap<String, Time>,
    begun: BTreeMap<StepRef, Time>,
    /// Verifications that were over and well, of recoveries that are open: an agent that starts need not ask again.
    verified: BTreeSet<StepRef>,
    /// Recoveries whose last rung failed: one whose outcome was unknown may turn out to have worked.
    failed: BTreeSet<RecoveryId>,
}

impl Served {
    /// What was answered stays so; what the journal said of it does not.
    pub(super) fn forget_journal(&mut self) {
        *self = Served { good: std::mem::take(&mut self.good), ..Served::default() };
    }

    pub(super) fn heard(&mut self, observation: &Observation, plan: &Plan) {
        if observation.answer == Answer::Good {
            let newest = self.good.entry(plan.probe(observation.probe).name.clone()).or_default();
            *newest = observation.started.max(*newest);
        }
    }

    pub(super) fn recorded(&mut self, record: &Record, facts: &Facts) {
        if let Body::StepStarted { step, .. } = &record.body {
            self.begun.insert(*step, record.at);
        } else if let Body::RungStarted { recovery, .. } = &record.body {
            self.failed.remove(recovery);
            self.verified.retain(|it| it.recovery != *recovery);
        } else if let Body::StepEnded { step, ended: Ended::Done } = &record.body {
            self.verified(*step, facts);
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
                let was_verified = self.verified.iter().any(|it| it.recovery == *recovery && it.step == nth);
                let asks = matches!(step.kind, StepKind::Verify { .. });
                assert!(was_verified || !asks, "G2: {recovery} is complete and was not verified");
            }
        }
        if let Body::RecoveryCompleted { recovery, .. } | Body::RecoveryFailed { recovery, .. } = &record.body {
            self.begun.retain(|it, _| it.recovery != *recovery);
            self.verified.retain(|it| it.recovery != *recovery);
        }
    }

    /// A step is over, and well: if it asked the route, the route has answered what was asked after it began.
    fn verified(&mut self, at: StepRef, facts: &Facts) {
        let step = facts.play(at.recovery).and_then(|it| it.steps.get(at.step));
        let Some(StepKind::Verify { probes }) = step.map(|it| &it.kind) else { return };
        let Some(since) = self.begun.get(&at) else { panic!("G2: {at:?} is over and was not begun") };
        for probe in probes {
            let name = &facts.plan.probe(*probe).name;
            let good = self.good.get(name);
            assert!(good >= Some(since), "G2: {} is verified, and {name} had no good answer", at.recovery);
        }
        self.verified.insert(at);
    }
}
