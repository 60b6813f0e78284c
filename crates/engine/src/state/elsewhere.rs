//! Folding what instances say that they are, who else moved a component, and adoptions.

use mainstay_plan::observation::{Scenario, SeenRole};
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Time};

use super::{Cause, Planned, Progress, Recovery, State, StepAt};
use crate::adoption;
use crate::command::AdoptAs;
use crate::machine::RecoveryInput;
use crate::record::{Ended, OldOwner, RecoveryId};

/// Somebody else made another instance active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Who, beside the component's own instance. Never empty.
    pub active: Vec<InstanceIx>,
    /// Whether more than one is active, the component's own counted.
    pub two: bool,
    /// What was seen.
    pub evidence: Vec<String>,
    /// Since when.
    pub since: Time,
    /// The component's own instance, where it says that it is active, too.
    own: Option<InstanceIx>,
}

impl Elsewhere {
    /// Everybody who says so, by name.
    pub fn names(&self, plan: &Plan) -> Vec<String> {
        self.own.iter().chain(&self.active).map(|it| plan.instance(*it).name.clone()).collect()
    }

    pub(super) fn under(&self, old: &Plan, next: &State) -> Option<Elsewhere> {
        let renamed = |it: &InstanceIx| next.instance(&old.instance(*it).name);
        let active: Vec<InstanceIx> = self.active.iter().filter_map(renamed).collect();
        (!active.is_empty()).then(|| Elsewhere { active, own: self.own.as_ref().and_then(renamed), ..self.clone() })
    }
}

/// An operator says that another instance is the component now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopting {
    /// Which.
    pub to: InstanceIx,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether that person accepts two writers.
    pub two_writers: bool,
}

/// An adoption under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopts {
    /// The instance that was the component.
    pub from: InstanceIx,
    /// Why that one is no second writer.
    pub old_owner: OldOwner,
    /// How things stood before: whether the new one was displaced, the old one was, and whether clients were led there.
    to_displaced: bool,
    served: bool,
}

/// An adoption, as its record has it.
pub(super) struct Begun<'a> {
    pub(super) component: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) by: &'a str,
    pub(super) reason: &'a str,
    pub(super) old_owner: OldOwner,
}

impl State {
    /// Where another one says that it is active, what the component's own said before may be over: it may have died since, and be
    /// down only in a moment. It has to say it anew.
    pub(super) fn on_role_seen(&mut self, at: Time, name: &str, role: SeenRole, evidence: &[String]) {
        let Some(ix) = self.instance(name) else { return };
        let bound = self.components[self.plan.instance(ix).component.index()].bound;
        let own = &mut self.instances[bound.index()];
        if role == SeenRole::Active && bound != ix && own.role == Some(SeenRole::Active) {
            own.role = None;
            own.role_told.clear();
            own.role_anew = at;
        }
        let instance = &mut self.instances[ix.index()];
        instance.role = Some(role);
        instance.role_told = evidence.to_vec();
    }

    /// Something was done to one of a component's instances: what each of them is has to be said anew.
    pub(super) fn forget_roles(&mut self, at: Time, component: ComponentIx) {
        let plan = self.plan.clone();
        for ix in &plan.component(component).instances {
            let instance = &mut self.instances[ix.index()];
            instance.role = None;
            instance.role_told.clear();
            instance.role_anew = at;
        }
    }

    pub(super) fn on_seen_elsewhere(&mut self, at: Time, component: &str, active: &[String], evidence: &[String]) {
        let Some(ix) = self.component(component) else { return };
        let bound = self.components[ix.index()].bound;
        let all: Vec<InstanceIx> = active.iter().filter_map(|it| self.instance(it)).collect();
        let own = all.iter().copied().find(|it| *it == bound);
        let active: Vec<InstanceIx> = all.iter().copied().filter(|it| *it != bound).collect();
        if active.is_empty() {
            return;
        }
        let since = self.components[ix.index()].elsewhere.as_ref().map_or(at, |it| it.since);
        let elsewhere = Elsewhere { active, two: all.len() > 1, evidence: evidence.to_vec(), since, own };
        self.components[ix.index()].elsewhere = Some(elsewhere);
    }

    pub(super) fn on_elsewhere_over(&mut self, component: &str) {
        if let Some(ix) = self.component(component) {
            self.components[ix.index()].elsewhere = None;
        }
    }

    /// What an operator wants of an instance: a standby again, or the component.
    pub(super) fn on_adopt(&mut self, at: Time, name: &str, role: Option<AdoptAs>, who: Adopting, anyway: bool) {
        let Some(ix) = self.instance(name) else { return };
        match adoption::meant(self, ix, role) {
            AdoptAs::Standby if self.components[self.plan.instance(ix).component.index()].bound != ix => {
                self.rejoin(at, ix);
            }
            AdoptAs::Standby => {}
            AdoptAs::Active => {
                if adoption::missing(self, ix, anyway, who.two_writers).is_empty() {
                    let component = self.plan.instance(ix).component;
                    self.components[component.index()].asked = None;
                    self.components[component.index()].adopting = Some(who);
                }
            }
        }
    }

    pub(super) fn on_adoption_started(&mut self, at: Time, id: RecoveryId, begun: &Begun<'_>) {
        let (Some(ix), Some(to), Some(from)) =
            (self.component(begun.component), self.instance(begun.to), self.instance(begun.from))
        else {
            return;
        };
        let opened = Recovery::open(ix, begun.component, begun.from, Scenario::InstanceFailure, at, None);
        let adopts = Adopts {
            from,
            old_owner: begun.old_owner.clone(),
            to_displaced: self.instances[to.index()].displaced,
            served: self.components[ix.index()].served,
        };
        let planned = Planned {
            to,
            by: begun.by.to_owned(),
            reason: begun.reason.to_owned(),
            graceful: false,
            back: false,
            adopts: Some(adopts),
        };
        let play = self.plan.component(ix).adoption(from, to).map(|it| &it.play);
        let mut progress = play.map(|it| Progress::new(from, it));
        let stops = |nth: usize| {
            play.and_then(|it| it.steps.get(nth)).is_some_and(|it| matches!(it.kind, StepKind::Stop { .. }))
        };
        if !matches!(begun.old_owner, OldOwner::Stopped {}) {
            let passed = progress.iter_mut().flat_map(|it| it.steps.iter_mut().enumerate()).filter(|it| stops(it.0));
            passed.for_each(|it| it.1.at = StepAt::Ended(Ended::Done));
        }
        let opened = Recovery { cause: Cause::Planned(planned), progress, ..opened.at(id, at) };
        let component = &mut self.components[ix.index()];
        component.adopting = None;
        component.asked = None;
        component.recovery = Some(opened);
        self.open.insert(id, ix);
        self.moved(id, RecoveryInput::Initiated, |_| {});
        self.moved(id, RecoveryInput::RungStarted, |_| {});
    }

    /// Who was a standby already when it ceased to be the component has nothing that the new one lacks; and what an adoption
    /// that is taken back leaves behind is as it was.
    pub(super) fn settle_adopted(&mut self, component: ComponentIx, before: InstanceIx) {
        let open = self.components[component.index()].recovery.as_ref();
        let Some((planned, adopts)) = open.and_then(Recovery::planned).and_then(|it| Some((it, it.adopts.as_ref()?)))
        else {
            return;
        };
        let (back, adopts) = (planned.back, adopts.clone());
        if back {
            self.instances[before.index()].displaced = adopts.to_displaced;
            self.components[component.index()].served = adopts.served;
        } else if let OldOwner::SeenStandby {} = adopts.old_owner {
            self.instances[before.index()].displaced = false;
        }
    }
}
