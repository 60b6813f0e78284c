//! L3: restoring service goes before repair: in one batch nothing rejoins before a recovery under way has taken its next step.
//! A planned move restores nothing, and may well follow what has rejoined.

use mainstay_engine::{Body, Record};
use mainstay_plan::Time;

use super::facts::Facts;

/// The model.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// When something was decided last.
    at: Time,
    /// What was repaired in this batch.
    repaired: Option<String>,
}

impl Order {
    pub(super) fn recorded(&mut self, record: &Record, facts: &Facts) {
        // A batch of decisions ends with the next fact, also at the same moment.
        if record.at != self.at || record.body.is_fact() {
            *self = Order { at: record.at, ..Order::default() };
        }
        if let Body::Rejoined { instance }
        | Body::RepairStarted { instance, .. }
        | Body::RepairCompleted { instance, .. } = &record.body
        {
            self.repaired = Some(instance.clone());
        } else if let Body::FailureDetected { component, .. } = &record.body {
            self.comes_too_late(component, facts);
        } else if let Body::RecoveryInitiated { recovery, .. } | Body::RungStarted { recovery, .. } = &record.body {
            if let Some(open) = facts.open.get(recovery).filter(|it| !it.is_planned) {
                self.comes_too_late(&open.component, facts);
            }
        } else if let Body::StepStarted { step, .. } = &record.body
            && let Some(open) = facts.open.get(&step.recovery).filter(|it| !it.is_planned)
        {
            self.comes_too_late(&open.component, facts);
        }
    }

    /// What is repaired may let its own component go on, and where the blast radius counts it, any other.
    fn comes_too_late(&self, component: &str, facts: &Facts) {
        let Some(instance) = self.repaired.as_ref().filter(|_| facts.plan.guards.blast_radius.is_none()) else {
            return;
        };
        let of = facts.plan.instance_named(instance).map(|it| facts.plan.instance(it).component);
        let is_its_own = of.is_some_and(|it| facts.plan.component(it).name == component);
        assert!(is_its_own, "L3: {instance} rejoined before {component} was looked at");
    }
}
