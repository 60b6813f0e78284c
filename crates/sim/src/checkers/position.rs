//! S5: a standby whose position is unknown or behind the RPO does not take over without a recorded override.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_engine::command::Override;
use mainstay_engine::{Body, Record};
use mainstay_plan::component::Component;
use mainstay_plan::observation::Health;

use super::facts::Facts;
use super::fence::Fences;

/// How much each standby would lose, as it was frozen last.
#[derive(Debug, Default)]
pub(super) struct Positions {
    frozen: BTreeMap<String, Option<Duration>>,
}

impl Positions {
    /// The first that is tried of several standbys: none that is as fit loses less.
    fn is_surest(&self, component: &Component, rung: usize, to: &str, facts: &Facts) {
        let ladder = &component.ladder;
        let Some(choice) = ladder.get(rung).and_then(|it| it.choice) else { return };
        let loss = |name: &str| self.frozen.get(name).copied().flatten();
        let Some(own) = loss(to) else { return };
        let others = ladder.iter().filter(|it| it.choice == Some(choice));
        let others = others.filter_map(|it| it.plays.values().next()).map(|it| &facts.plan.instance(it.to).name);
        for other in others.filter(|it| *it != to) {
            let fit = facts.health.get(other) == Some(&Health::Healthy) && !facts.displaced.contains(other);
            let less = loss(other).filter(|it| fit && *it < own);
            assert!(less.is_none(), "S5: {to} takes over {own:?} behind, and {other} is {less:?} behind");
        }
    }

    pub(super) fn recorded(&mut self, record: &Record, facts: &Facts, fences: &Fences) {
        if let Body::PositionFrozen { instance, loss_ns, .. } = &record.body {
            self.frozen.insert(instance.clone(), loss_ns.map(Duration::from_nanos));
        } else if let Body::RungStarted { recovery, rung, to, .. } = &record.body {
            let Some(open) = facts.open.get(recovery) else { return };
            let component = facts.plan.component_named(&open.component).map(|it| facts.plan.component(it));
            if let Some(component) = component.filter(|_| open.rung.is_none() && open.overrides.is_empty()) {
                self.is_surest(component, *rung, to, facts);
            }
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
