//! S5: a standby whose position is unknown or behind the RPO does not take over without a recorded override.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_engine::command::Override;
use mainstay_engine::{Body, Record};

use super::facts::Facts;
use super::fence::Fences;

/// How much each standby would lose, as it was frozen last.
#[derive(Debug, Default)]
pub(super) struct Positions {
    frozen: BTreeMap<String, Option<Duration>>,
}

impl Positions {
    pub(super) fn recorded(&mut self, record: &Record, facts: &Facts, fences: &Fences) {
        if let Body::PositionFrozen { instance, loss_ns, .. } = &record.body {
            self.frozen.insert(instance.clone(), loss_ns.map(Duration::from_nanos));
        } else if let Body::RungStarted { recovery, to, .. } = &record.body {
            let Some(open) = facts.open.get(recovery) else { return };
            let component = facts.plan.component_named(&open.component).map(|it| facts.plan.component(it));
            let Some(rpo) = component.and_then(|it| it.objectives.rpo) else { return };
            let stays = facts.bound(&open.component) == to || fences.owns(to);
            if stays || open.overrides.contains(&Override::Rpo) {
                return;
            }
            match self.frozen.get(to).copied().flatten() {
                None => panic!("S5: {to} takes over at an unknown position"),
                Some(loss) => assert!(loss <= rpo, "S5: {to} takes over {loss:?} behind, and the RPO is {rpo:?}"),
            }
        }
    }
}
