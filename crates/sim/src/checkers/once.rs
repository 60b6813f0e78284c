//! S7: a step is done once, or again only when it is idempotent, under the same key, or was observed not to be done.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::command::Command;
use mainstay_engine::effect::Order;
use mainstay_engine::record::Ended;
use mainstay_engine::{Body, Record, RecoveryId};

type Step = (RecoveryId, usize, usize, bool);

/// The model.
#[derive(Debug, Default)]
pub(super) struct Once {
    /// Actions that may be done once, were done and not seen to fail.
    done: BTreeSet<Step>,
    /// The key of each action that may have been done.
    keys: BTreeMap<Step, String>,
}

impl Once {
    /// Somebody knows that the steps of a recovery were not done.
    pub(super) fn was_not_done(&mut self, recovery: RecoveryId) {
        self.done.retain(|it| it.0 != recovery);
        self.keys.retain(|it, _| it.0 != recovery);
    }

    pub(super) fn recorded(&mut self, record: &Record) {
        if let Body::StepEnded { step, ended: Ended::Failed(_) } = &record.body {
            let is_it = |it: &Step| (it.0, it.1, it.2) == (step.recovery, step.rung, step.step);
            self.done.retain(|it| !is_it(it));
            self.keys.retain(|it, _| !is_it(it));
        } else if let Body::Commanded {
            command: Command::Retry { recovery, .. } | Command::Approve { recovery, outcome: Some(false), .. },
            ..
        } = &record.body
        {
            self.was_not_done(*recovery);
        }
    }

    pub(super) fn acted(&mut self, order: &Order) {
        let undoes = order.key.contains("/undo/");
        let step = (order.step.recovery, order.step.rung, order.step.step, undoes);
        if let Some(before) = self.keys.insert(step, order.key.clone()) {
            assert_eq!(before, order.key, "S7: {step:?} is done again under another key");
        }
        if !order.action.is_idempotent() {
            assert!(self.done.insert(step), "S7: {step:?} is done twice and may be done only once");
        }
    }
}
