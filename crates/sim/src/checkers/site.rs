//! S6: no more recoveries begin than the storm brake lets begin, and no more of the site is moved or down than the blast radius
//! allows. And nothing at all is done while an operator has stopped all action.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::command::{Command, Override};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::policy::SiteGuards;
use mainstay_plan::{Plan, Time};

/// The model: it counts less than the engine may, never more.
#[derive(Debug, Default)]
pub(super) struct Site {
    guards: SiteGuards,
    components: usize,
    /// Instance → its component.
    of: BTreeMap<String, String>,
    open: BTreeMap<RecoveryId, String>,
    bound: BTreeMap<String, String>,
    displaced: BTreeSet<String>,
    begun: Vec<Time>,
    overridden: BTreeMap<RecoveryId, BTreeSet<Override>>,
    halted: bool,
}

impl Site {
    pub(super) fn new(plan: &Plan) -> Site {
        let of = plan.instances.iter().map(|it| (it.name.clone(), plan.component(it.component).name.clone()));
        Site { guards: plan.guards, components: plan.components.len(), of: of.collect(), ..Site::default() }
    }

    /// The same facts under another plan: recoveries end with the plan before.
    pub(super) fn under(&mut self, plan: &Plan) {
        let next = Site::new(plan);
        self.guards = next.guards;
        self.components = next.components;
        self.of = next.of;
        self.displaced.retain(|it| self.of.contains_key(it));
    }

    pub(super) fn forget_journal(&mut self) {
        *self = Site {
            guards: self.guards,
            components: self.components,
            of: std::mem::take(&mut self.of),
            ..Site::default()
        };
    }

    pub(super) fn recorded(&mut self, seq: u64, record: &Record) {
        self.stopped(seq, &record.body);
        if let Body::FailureDetected { component, .. } = &record.body {
            self.open.insert(RecoveryId(seq), component.clone());
        } else if let Body::RecoveryCompleted { recovery, .. } | Body::RecoveryFailed { recovery, .. } = &record.body {
            self.open.remove(recovery);
        } else if let Body::PlanAdopted { .. } = &record.body {
            self.open.clear();
        } else if let Body::Bound { component, instance, .. } = &record.body {
            let before = self.bound.insert(component.clone(), instance.clone()).unwrap_or_else(|| component.clone());
            if before != *instance {
                self.displaced.insert(before);
            }
            self.displaced.remove(instance);
        } else if let Body::Rejoined { instance } = &record.body {
            self.displaced.remove(instance);
        } else if let Body::TrafficAhead { .. } = &record.body {
            self.displaced.clear();
        } else if let Body::RecoveryInitiated { recovery, .. } = &record.body {
            self.begins(*recovery, record.at);
        } else if let Body::Commanded { command, .. } = &record.body {
            self.commanded(command);
        }
    }

    fn commanded(&mut self, command: &Command) {
        if let Command::Approve { recovery, overrides, .. } = command {
            self.overridden.entry(*recovery).or_default().extend(overrides);
        } else if let Command::Adopt { instance, .. } = command {
            self.displaced.remove(instance);
        } else if let Command::Halt { .. } = command {
            self.halted = true;
        } else if let Command::Continue { .. } = command {
            self.halted = false;
        }
    }

    fn begins(&mut self, recovery: RecoveryId, at: Time) {
        let overruled = |it| self.overridden.get(&recovery).is_some_and(|all| all.contains(&it));
        if let Some(brake) = self.guards.storm_brake.filter(|_| !overruled(Override::StormBrake)) {
            let lately = self.begun.iter().filter(|it| **it + brake.within > at).count();
            assert!(lately < brake.at_most as usize, "S6: {recovery} begins, and {lately} have begun lately");
        }
        if let Some(radius) = self.guards.blast_radius.filter(|_| !overruled(Override::BlastRadius)) {
            let moved = self.displaced.iter().filter_map(|it| self.of.get(it));
            let touched: BTreeSet<&String> = self.open.values().chain(moved).collect();
            let allowed = radius.allowed(self.components);
            assert!(touched.len() <= allowed, "S6: {recovery} begins, and {touched:?} are more than {allowed}");
        }
        self.begun.push(at);
    }

    fn stopped(&self, seq: u64, body: &Body) {
        let acts = matches!(
            body,
            Body::RecoveryInitiated { .. }
                | Body::RungStarted { .. }
                | Body::StepStarted { .. }
                | Body::Bound { .. }
                | Body::Rejoined { .. }
                | Body::TablePublished { .. }
        );
        assert!(!(acts && self.halted), "S6: record {seq} acts while all action is stopped: {body:?}");
    }
}
