//! Folding what people have said.

use mainstay_plan::Time;
use mainstay_plan::strategy::StepKind;

use super::{Adopting, Advance, Drain, Ordered, Pause, Recovery, State, StepAt};
use crate::command::{Command, Override};
use crate::machine::EvacuationInput;
use crate::record::{Ended, RecoveryId, StepRef};

impl State {
    pub(super) fn on_command(&mut self, at: Time, command: &Command, by: &str) {
        match command {
            Command::Recover { component, .. } => {
                let Some(ix) = self.component(component) else { return };
                self.acknowledge(ix);
                if let Some(open) = &mut self.components[ix.index()].recovery {
                    open.overrides.insert(Override::CoolDown);
                    open.approved_by.insert(by.to_owned());
                }
            }
            Command::Drain { what, until, reason } => {
                self.routing.drains.retain(|it| it.what != *what && it.until > at);
                let (by, reason) = (by.to_owned(), reason.clone());
                self.routing.drains.push(Drain { what: what.clone(), until: *until, by, reason, since: at });
            }
            Command::Undrain { what } => self.routing.drains.retain(|it| it.what != *what),
            Command::Evacuate { place, until, graceful, reason } => {
                self.on_evacuate(at, place, *until, *graceful, by, reason);
            }
            Command::EndEvacuation { place, .. } => self.end_evacuation(place, EvacuationInput::EndedByHand),
            Command::RouteOverride { route, rule, .. } => {
                if let Some(ix) = self.route(route) {
                    self.routing.overridden.insert((ix, *rule));
                }
            }
            Command::Halt { reason } => self.halt(at, reason, by),
            Command::Continue { .. } => self.go_on(),
            Command::Approve { recovery, overrides, outcome, reason } => {
                self.with(*recovery, |it| {
                    it.approved_by.insert(by.to_owned());
                    it.overrides.extend(overrides);
                    if let Some(done) = outcome {
                        it.say_outcome(*done);
                    }
                });
                let asked = self.open_recovery(*recovery).and_then(|it| self.asked_by_hand(it));
                if let Some((step, _)) = asked.filter(|(_, role)| self.plan.may(by, role.as_deref())) {
                    let no = || Ended::Failed(format!("{by} says that it is not done: {reason}"));
                    self.on_step_ended(at, step, if *outcome == Some(false) { no() } else { Ended::Done });
                }
            }
            Command::Abort { recovery, reason } => {
                self.with(*recovery, |it| it.aborted = Some(format!("aborted by {by}: {reason}")));
            }
            Command::Pause { component, until, reason, owner } => {
                let (by, reason, owner) = (by.to_owned(), reason.clone(), owner.clone());
                let pause = Some(Pause { until: *until, by, reason, since: at, owner });
                self.set_pause(component.as_deref(), pause);
            }
            Command::Resume { component } => self.set_pause(component.as_deref(), None),
            Command::Switch { component, to, graceful, reason } => {
                self.on_asked(at, component, Some(to), *graceful, by, reason);
            }
            Command::Failback { component, reason } => self.on_asked(at, component, None, true, by, reason),
            Command::Breaker { service, region, hold, reason } => {
                self.on_said(by, service, region.as_deref(), *hold, reason);
            }
            Command::Acknowledge { what, reason } => {
                self.notices.acknowledged(&self.plan, at, what, by, reason);
                if let Some(ix) = self.meant_component(what) {
                    self.acknowledge(ix);
                }
            }
            Command::PauseRecovery { recovery, reason } => {
                self.with(*recovery, |it| it.paused = Some((by.to_owned(), reason.clone())));
            }
            Command::ResumeRecovery { recovery } => self.with(*recovery, |it| {
                it.paused = None;
                it.held = None;
            }),
            Command::Skip { recovery, reason } => {
                let asked = self.open_recovery(*recovery).and_then(|it| self.asked_by_hand(it));
                match asked {
                    Some((step, _)) => self.on_step_ended(at, step, Ended::Done),
                    None => self.with(*recovery, |it| it.skip(format!("skipped by {by}: {reason}"))),
                }
            }
            Command::Retry { recovery, .. } => self.on_retry(*recovery, by),
            Command::ApproveInAdvance { component, until, reason } => {
                if let Some(ix) = self.component(component) {
                    let advance = Advance { until: *until, reason: reason.clone() };
                    self.components[ix.index()].advance.insert(by.to_owned(), advance);
                }
            }
            Command::Revoke { component } => {
                if let Some(ix) = self.component(component) {
                    self.components[ix.index()].advance.clear();
                }
            }
            Command::Repair { instance, two_writers, reason } => {
                let (by, reason, two_writers) = (by.to_owned(), reason.clone(), *two_writers);
                self.on_repair_ordered(instance, Ordered { by, reason, two_writers });
            }
            Command::Adopt { instance, role, anyway, two_writers, address, reason } => {
                let Some(to) = self.instance(instance) else { return };
                // Who only says where something is says nothing about what it is.
                if role.is_some() || address.is_none() || self.instances[to.index()].displaced {
                    let (by, reason, two_writers) = (by.to_owned(), reason.clone(), *two_writers);
                    self.on_adopt(at, instance, *role, Adopting { to, by, reason, two_writers }, *anyway);
                }
                if address.is_some() {
                    self.arrives(to, *address, None, format!("{by} says so: {reason}"));
                }
            }
        }
    }

    /// The step that a person was asked to do, and the role that it takes to say that it is done.
    pub(crate) fn asked_by_hand(&self, recovery: &Recovery) -> Option<(StepRef, Option<String>)> {
        self.open_steps(recovery).find_map(|(at, step, stand)| match (&step.kind, &stand.at) {
            (StepKind::Manual { role, .. }, StepAt::Running { .. }) => Some((at, role.clone())),
            (
                StepKind::Manual { .. }
                | StepKind::CutTraffic { .. }
                | StepKind::Stop { .. }
                | StepKind::EndLease { .. }
                | StepKind::Act { .. }
                | StepKind::CatchUp { .. }
                | StepKind::TakeOver { .. }
                | StepKind::Verify { .. },
                _,
            ) => None,
        })
    }

    /// A recovery that failed is tried again by the one that was opened after it.
    pub(super) fn on_retry(&mut self, id: RecoveryId, by: &str) {
        if self.open_recovery(id).is_some() {
            self.with(id, Recovery::retry);
            return;
        }
        let Some(ix) = self.history.iter().find(|it| it.id == id).map(|it| it.component) else { return };
        if let Some(open) = &mut self.components[ix.index()].recovery {
            open.overrides.insert(Override::CoolDown);
            open.approved_by.insert(by.to_owned());
        }
    }

    pub(super) fn set_pause(&mut self, component: Option<&str>, pause: Option<Pause>) {
        match component {
            None => self.paused = pause,
            Some(name) => {
                if let Some(ix) = self.component(name) {
                    self.components[ix.index()].paused = pause;
                }
            }
        }
    }
}
