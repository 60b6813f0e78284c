//! G7: an instance is repaired only while it is displaced, or when it has followed another history long enough, never while it is the component or its component is being recovered,
//! and only where the journal shows what keeps it from taking writes.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::gray::Impairment;
use mainstay_engine::record::{Fence, OldOwner};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::Time;
use mainstay_plan::component::Repair;
use mainstay_plan::observation::Health;
use mainstay_plan::routing::TargetState;
use mainstay_plan::strategy::StepKind;

use super::facts::Facts;

/// The model.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// Repair → its component and instance.
    open: BTreeMap<RecoveryId, (String, String)>,
    /// Instances that a fence has stopped, and that were not seen to run since.
    stopped: BTreeSet<String>,
    /// Instances that a rung has begun to activate: one that did not take over may write all the same.
    activated: BTreeSet<String>,
    /// Standbys that follow another history, and since when.
    astray: BTreeMap<String, Time>,
    /// Route and instance that the newest table keeps clients from.
    fenced: BTreeSet<(String, String)>,
}

impl Repairs {
    pub(super) fn recorded(&mut self, seq: u64, record: &Record, facts: &Facts) {
        if let Body::RepairStarted { component, instance, harmless, by, .. } = &record.body {
            let other = self.open.values().find(|it| it.1 == *instance);
            assert!(other.is_none(), "G7: record {seq} repairs {instance}, which is being repaired");
            self.may_touch(seq, component, instance, facts);
            let is_displaced = facts.displaced.contains(instance) || self.activated.contains(instance);
            let is_astray = |since: &Time| by.is_some() || record.at.since(*since) >= Repair::FOLLOWS_WITHIN;
            let needs_it = is_displaced || self.astray.get(instance).is_some_and(is_astray);
            assert!(needs_it, "G7: record {seq} repairs {instance}, which was not displaced, nor astray for long");
            self.is_harmless(seq, component, instance, harmless, facts);
            self.open.insert(RecoveryId(seq), (component.clone(), instance.clone()));
        } else if let Body::StepStarted { step, .. } = &record.body {
            if let Some((component, instance)) = self.open.get(&step.recovery) {
                self.may_touch(seq, component, instance, facts);
            }
            if let Some((play, open)) = facts.play(step.recovery).zip(facts.open.get(&step.recovery))
                && let Some(StepKind::Act { on, .. }) = play.steps.get(step.step).map(|it| &it.kind)
                && *on == play.to
                && facts.plan.instance(*on).name != facts.bound(&open.component)
            {
                self.activated.insert(facts.plan.instance(*on).name.clone());
            }
        } else if let Body::Impaired { instance, how: Impairment::Astray, .. } = &record.body {
            self.astray.insert(instance.clone(), record.at);
        } else if let Body::ImpairmentEnded { instance, how: Impairment::Astray } = &record.body {
            self.astray.remove(instance);
        } else if let Body::AgentStarted { .. } = &record.body {
            self.astray.clear();
        } else if let Body::Rejoined { instance, .. } | Body::Bound { instance, .. } = &record.body {
            self.activated.remove(instance);
        } else if let Body::RepairFailed { repair, .. } | Body::RepairCompleted { repair, .. } = &record.body {
            self.open.remove(repair);
        } else if let Body::FenceConfirmed { instance, fence: Fence::Stop {}, .. } = &record.body {
            self.stopped.insert(instance.clone());
        } else if let Body::HealthChanged { instance, to: Health::Healthy, .. } = &record.body {
            self.stopped.remove(instance);
        } else if let Body::TablePublished { targets, .. } | Body::TrafficAhead { targets, .. } = &record.body {
            let fenced = targets.iter().filter(|it| it.state == TargetState::Fenced);
            self.fenced = fenced.map(|it| (it.route.clone(), it.instance.clone())).collect();
        } else if let Body::PlanAdopted { .. } = &record.body {
            self.open.clear();
        }
    }

    fn may_touch(&self, seq: u64, component: &str, instance: &str, facts: &Facts) {
        assert!(facts.bound(component) != instance, "G7: record {seq} repairs {instance}, which is {component}");
        let open = facts.of.get(component);
        assert!(open.is_none(), "G7: record {seq} repairs {instance} while {open:?} is open");
    }

    fn is_harmless(&self, seq: u64, component: &str, instance: &str, why: &OldOwner, facts: &Facts) {
        let routes = facts.plan.component_named(component).map(|it| facts.plan.component(it).routes.as_slice());
        let is_so = match why {
            OldOwner::Stopped {} => self.stopped.contains(instance),
            OldOwner::CutOff {} => routes.unwrap_or_default().iter().all(|it| {
                let route = facts.plan.route(*it);
                let leads_there = route.targets.iter().any(|it| facts.plan.instance(it.instance).name == instance);
                !leads_there || self.fenced.contains(&(route.name.clone(), instance.to_owned()))
            }),
            OldOwner::LeaseEnds {} => facts.plan.component_named(component).is_some_and(|it| facts.plan.is_leased(it)),
            OldOwner::SeenStandby {} | OldOwner::NotExclusive {} | OldOwner::TwoWriters { .. } => true,
        };
        assert!(is_so, "G7: record {seq} repairs {instance}, of which it is not so that {why}");
    }
}
