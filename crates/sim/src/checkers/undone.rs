//! G3: what a failed rung did and can be undone is undone, the last step first; a displaced instance rejoins only once it is
//! healthy.

use std::collections::BTreeMap;

use mainstay_engine::command::Command;
use mainstay_engine::record::{Ended, StepRef};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::observation::Health;

use super::facts::Facts;

/// The model.
#[derive(Debug, Default)]
pub(super) struct Undone {
    /// Steps with an undo that are being done.
    begun: BTreeMap<StepRef, usize>,
    /// Undos that are being done.
    undoing: BTreeMap<StepRef, usize>,
    /// Recovery → places of the steps that are done and can be undone.
    left: BTreeMap<RecoveryId, Vec<usize>>,
}

impl Undone {
    pub(super) fn recorded(&mut self, record: &Record, facts: &Facts) {
        if let Body::StepStarted { step, undo, .. } = &record.body {
            if undo.is_some() {
                self.begun.insert(*step, step.step);
            }
        } else if let Body::UndoStarted { step, .. } = &record.body {
            self.undoing.insert(*step, step.step);
            let left = self.left.get(&step.recovery).map_or(&[][..], Vec::as_slice);
            let later: Vec<&usize> = left.iter().filter(|it| **it > step.step).collect();
            assert!(later.is_empty(), "G3: step {} of {} is undone before {later:?}", step.step, step.recovery);
        } else if let Body::StepEnded {
            step,
            ended: Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_),
        } = &record.body
        {
            let left = self.left.entry(step.recovery).or_default();
            if let Some(nth) = self.undoing.remove(step) {
                left.retain(|it| *it != nth);
            } else if let Some(nth) = self.begun.remove(step) {
                left.push(nth);
            }
        } else if let Body::RungStarted { recovery, .. } = &record.body {
            self.forget(*recovery);
        } else if let Body::RungFailed { recovery, .. } = &record.body {
            let waived = facts.open.get(recovery).is_none_or(|it| it.handed_over || it.is_planned);
            let left = self.left.get(recovery).filter(|it| !waived && !it.is_empty());
            assert!(left.is_none(), "G3: a rung of {recovery} failed, and its steps {left:?} are not undone");
            self.forget(*recovery);
        } else if let Body::Commanded { command: Command::Skip { recovery, .. }, .. } = &record.body {
            self.forget(*recovery);
        } else if let Body::Rejoined { instance } | Body::RepairCompleted { instance, .. } = &record.body {
            let health = facts.health.get(instance);
            assert_eq!(health, Some(&Health::Healthy), "G3: {instance} rejoins and is not healthy");
        } else if let Body::PlanAdopted { .. } | Body::AgentStarted { .. } = &record.body {
            self.begun.clear();
            self.undoing.clear();
        }
    }

    fn forget(&mut self, recovery: RecoveryId) {
        self.left.remove(&recovery);
        self.begun.retain(|it, _| it.recovery != recovery);
        self.undoing.retain(|it, _| it.recovery != recovery);
    }
}
