//! The reference model that the checkers share: what is on the disk, folded in the simplest way that could be right. It knows
//! nothing of how the engine keeps its state, and where it can't know something it knows less, never more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::record::{OldOwner, ReportedTarget};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::Plan;
use mainstay_plan::observation::Health;
use mainstay_plan::route::Sharing;
use mainstay_plan::routing::TargetState;
use mainstay_plan::strategy::Play;

/// A recovery that is open.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) component: String,
    /// The instance that failed, or hands over.
    pub(super) instance: String,
    pub(super) is_planned: bool,
    /// Whether a rule says so, and not the probes.
    pub(super) by_rule: bool,
    pub(super) overrides: BTreeSet<Override>,
    pub(super) approved_by: BTreeSet<String>,
    /// Somebody wanted it by name.
    pub(super) is_wanted: bool,
    pub(super) has_acted: bool,
    /// The rung that is tried, and the instance that was bound when it began.
    pub(super) rung: Option<(usize, String)>,
    pub(super) handed_over: bool,
}

/// What is known.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) plan: Arc<Plan>,
    pub(super) open: BTreeMap<RecoveryId, Open>,
    /// Component → its open recovery.
    pub(super) of: BTreeMap<String, RecoveryId>,
    bound: BTreeMap<String, String>,
    pub(super) displaced: BTreeSet<String>,
    /// Adoptions from an owner that was a standby already.
    settled: BTreeSet<RecoveryId>,
    /// By instance, since the agent started.
    pub(super) health: BTreeMap<String, Health>,
    pub(super) journal_lost: bool,
}

impl Facts {
    pub(super) fn new(plan: Arc<Plan>) -> Facts {
        Facts {
            plan,
            open: BTreeMap::new(),
            of: BTreeMap::new(),
            bound: BTreeMap::new(),
            displaced: BTreeSet::new(),
            settled: BTreeSet::new(),
            health: BTreeMap::new(),
            journal_lost: false,
        }
    }

    pub(super) fn forget_journal(&mut self) {
        *self = Facts::new(self.plan.clone());
    }

    /// The instance that a component is bound to; in the beginning it has the component's name.
    pub(super) fn bound<'a>(&'a self, component: &'a str) -> &'a str {
        self.bound.get(component).map_or(component, String::as_str)
    }

    /// The play of the rung that a recovery tries.
    pub(super) fn play(&self, recovery: RecoveryId) -> Option<&Play> {
        let open = self.open.get(&recovery)?;
        let (rung, from) = open.rung.as_ref()?;
        let component = self.plan.component_named(&open.component)?;
        self.plan.component(component).ladder.get(*rung)?.plays.get(&self.plan.instance_named(from)?)
    }

    /// Folds a record, after the checkers have seen it.
    pub(super) fn fold(&mut self, seq: u64, record: &Record) {
        let opened = |component: &str, instance: &str, is_planned, by_rule| Open {
            component: component.to_owned(),
            instance: instance.to_owned(),
            is_planned,
            by_rule,
            overrides: BTreeSet::new(),
            approved_by: BTreeSet::new(),
            is_wanted: false,
            has_acted: false,
            rung: None,
            handed_over: false,
        };
        if let Body::FailureDetected { component, instance, rule, .. } = &record.body {
            self.open.insert(RecoveryId(seq), opened(component, instance, false, rule.is_some()));
            self.of.insert(component.clone(), RecoveryId(seq));
        } else if let Body::SwitchStarted { component, from, .. } | Body::AdoptionStarted { component, from, .. } =
            &record.body
        {
            if let Body::AdoptionStarted { old_owner: OldOwner::SeenStandby {}, .. } = &record.body {
                self.settled.insert(RecoveryId(seq));
            }
            self.open.insert(RecoveryId(seq), opened(component, from, true, false));
            self.of.insert(component.clone(), RecoveryId(seq));
        } else if let Body::RecoveryCompleted { recovery, .. } | Body::RecoveryFailed { recovery, .. } = &record.body {
            self.open.remove(recovery);
            self.of.retain(|_, it| it != recovery);
        } else if let Body::PlanAdopted { .. } = &record.body {
            self.open.clear();
            self.of.clear();
        } else if let Body::RungStarted { recovery, rung, .. } = &record.body {
            let from = self.open.get(recovery).map(|it| self.bound(&it.component).to_owned());
            if let (Some(from), Some(open)) = (from, self.open.get_mut(recovery)) {
                open.rung = Some((*rung, from));
            }
        } else if let Body::StepStarted { step, .. } = &record.body {
            if let Some(open) = self.open.get_mut(&step.recovery) {
                open.has_acted = true;
            }
        } else if let Body::Bound { component, instance, recovery } = &record.body {
            let before = self.bound(component).to_owned();
            if before != *instance && !self.settled.contains(recovery) {
                self.displaced.insert(before);
            }
            self.displaced.remove(instance);
            self.bound.insert(component.clone(), instance.clone());
            if let Some(open) = self.open.get_mut(recovery) {
                open.handed_over = true;
            }
        } else if let Body::RepairStarted { instance, .. } = &record.body {
            self.displaced.insert(instance.clone());
        } else if let Body::Rejoined { instance } | Body::RepairCompleted { instance, .. } = &record.body {
            self.displaced.remove(instance);
        } else if let Body::TrafficAhead { targets, .. } = &record.body {
            self.displaced.clear();
            self.serves(targets);
        } else if let Body::HealthChanged { instance, to, .. } = &record.body {
            self.health.insert(instance.clone(), *to);
        } else if let Body::AgentStarted { .. } = &record.body {
            self.health.clear();
            self.journal_lost = false;
        } else if let Body::JournalLost { .. } = &record.body {
            self.journal_lost = true;
        } else if let Body::Commanded { command, by } = &record.body {
            self.commanded(command, by);
        }
    }

    /// Who serves an exclusive route is its component, whatever the journal knew.
    fn serves(&mut self, targets: &[ReportedTarget]) {
        let plan = self.plan.clone();
        let exclusive = |name: &str| plan.routes.iter().any(|it| it.name == name && it.sharing == Sharing::Exclusive);
        for target in targets.iter().filter(|it| it.state == TargetState::Serving && exclusive(&it.route)) {
            if let Some(ix) = plan.instance_named(&target.instance) {
                let component = plan.component(plan.instance(ix).component).name.clone();
                self.bound.insert(component, target.instance.clone());
            }
        }
    }

    fn commanded(&mut self, command: &Command, by: &str) {
        if let Command::Approve { recovery, overrides, .. } = command {
            if let Some(open) = self.open.get_mut(recovery) {
                open.overrides.extend(overrides);
                open.approved_by.insert(by.to_owned());
            }
        } else if let Command::Recover { component, .. } = command {
            if let Some(open) = self.of.get(component).and_then(|it| self.open.get_mut(it)) {
                open.approved_by.insert(by.to_owned());
                open.is_wanted = true;
            }
        } else if let Command::Retry { .. } = command {
            // Whose recovery follows the one that is named is not known here.
            for open in self.open.values_mut() {
                open.approved_by.insert(by.to_owned());
                open.is_wanted = true;
            }
        } else if let Command::Adopt { instance, .. } = command {
            self.displaced.remove(instance);
        }
    }
}
