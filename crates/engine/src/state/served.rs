//! Folding what the traffic processes serve: tables that are published, applied, or ahead of the journal.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mainstay_plan::route::OnSilence;
use mainstay_plan::routing::TargetState;
use mainstay_plan::strategy::{Step, StepKind};
use mainstay_plan::{ComponentIx, RouteIx, Time};

use super::{Silence, State, StepAt, StepProgress};
use crate::machine::{Standing, TrafficWord};
use crate::planted::{Fault, planted};
use crate::record::{Ended, ReportedTarget, StepRef};

impl State {
    pub(super) fn on_applied(&mut self, at: Time, process: &str, epoch: u64) {
        self.is_heard(process);
        self.routing.acknowledged.insert(process.to_owned(), epoch);
        let newest = epoch >= self.routing.epoch;
        self.hear(process, if newest { TrafficWord::AppliedNewest } else { TrafficWord::AppliedOlder });
        if newest {
            self.routing.was_silent.remove(process);
            self.routing.refused = None;
        }
        self.end_converged_routing_steps(at, None);
    }

    pub(super) fn on_silent(&mut self, at: Time, process: &str, since: Time) {
        self.routing.silent.insert(process.to_owned(), Silence { since, cut: BTreeSet::new() });
        self.routing.was_silent.insert(process.to_owned());
        self.end_converged_routing_steps(at, None);
    }

    pub(super) fn on_cut_by_silence(&mut self, at: Time, process: &str, routes: &[String]) {
        let routes: Vec<RouteIx> = routes.iter().filter_map(|it| self.names.routes.get(it).copied()).collect();
        if let Some(silence) = self.routing.silent.get_mut(process) {
            silence.cut.extend(routes);
        }
        self.end_converged_routing_steps(at, None);
    }

    fn is_heard(&mut self, process: &str) {
        self.routing.silent.remove(process);
    }

    /// Routing steps have no outcome of their own: they are done when every process serves a table in which their routes are
    /// as bindings and fences ask for. One that is silent is waited for where it must not go on serving an old owner.
    pub(super) fn end_converged_routing_steps(&mut self, at: Time, of: Option<ComponentIx>) {
        if !self.routes_converged() && !planted(Fault::FenceTakenForGranted) {
            return;
        }
        let converged = |it| self.open_steps(it).filter_map(|it| self.is_converged(it, at)).collect::<Vec<_>>();
        let done: Vec<StepRef> = match of {
            Some(component) => self.components[component.index()].recovery.iter().flat_map(converged).collect(),
            None => self.open_recoveries().flat_map(converged).collect(),
        };
        for step in done {
            self.on_step_ended(at, step, Ended::Done);
        }
    }

    fn is_converged(&self, (at, step, stand): (StepRef, &Step, &StepProgress), now: Time) -> Option<StepRef> {
        let routes = match &step.kind {
            StepKind::CutTraffic { routes, .. } | StepKind::TakeOver { routes, .. } => routes,
            StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Act { .. }
            | StepKind::Manual { .. }
            | StepKind::Verify { .. } => {
                return None;
            }
        };
        let served = || routes.iter().all(|it| crate::route::is_as_desired(self, *it, now));
        let is_cut = || self.not_known_to_cut(at, step).next().is_none();
        (matches!(stand.at, StepAt::Running { .. }) && served() && is_cut()).then_some(at)
    }

    /// The silent processes that a cut waits for: nobody knows whether they go on serving one of its routes. Where the lease
    /// of the old owner ends too, what they serve leads to nobody who could write.
    pub(crate) fn not_known_to_cut<'s>(&'s self, at: StepRef, step: &'s Step) -> impl Iterator<Item = &'s str> {
        let play = self.open_recovery(at.recovery).and_then(|it| self.play(it));
        let ends_lease = play.is_some_and(|it| it.steps.iter().any(|it| matches!(it.kind, StepKind::EndLease { .. })));
        let routes: &[RouteIx] = match &step.kind {
            StepKind::CutTraffic { routes, .. } if !ends_lease && !planted(Fault::SilenceTakenForCut) => routes,
            StepKind::CutTraffic { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Act { .. }
            | StepKind::Manual { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => &[],
        };
        let silent = self.processes().filter_map(|it| Some((it, self.routing.silent.get(it)?)));
        silent.filter(|(_, it)| !routes.iter().all(|route| it.cut.contains(route))).map(|it| it.0)
    }

    /// When a silent process has stopped serving a route by itself for sure, where the route says that it does.
    pub(crate) fn cuts_by_silence(&self, process: &str, route: RouteIx) -> Option<Time> {
        let silence = self.routing.silent.get(process)?;
        let OnSilence::Cut { after } = self.plan.route(route).on_silence else { return None };
        let drift = self.plan.link.as_ref().map_or(Duration::ZERO, |it| it.lease.drift);
        Some(silence.since + after + drift + self.plan.allowances.lateness)
    }

    pub(super) fn on_ahead(&mut self, process: &str, epoch: u64, targets: &[ReportedTarget]) {
        self.is_heard(process);
        self.routing.epoch = epoch;
        self.routing.acknowledged.insert(process.to_owned(), epoch);
        for known in self.known_processes().into_iter().filter(|it| it != process) {
            self.hear(&known, TrafficWord::AnotherAhead);
        }
        self.hear(process, TrafficWord::Ahead);
        for target in targets {
            self.set_target(&target.route, &target.instance, target.state, target.address);
            self.on_served_at(target);
            let (Some(instance), Some(route)) =
                (self.instance(&target.instance), self.names.routes.get(&target.route).copied())
            else {
                continue;
            };
            if self.plan.route(route).sharing == mainstay_plan::route::Sharing::Shared {
                continue;
            }
            match target.state {
                TargetState::Serving => {
                    let component = self.plan.instance(instance).component;
                    self.components[component.index()].bound = instance;
                    self.components[component.index()].served = true;
                    self.rebound.push(component);
                    self.instances[instance.index()].displaced = false;
                }
                TargetState::Fenced => self.instances[instance.index()].displaced = true,
                TargetState::Standby | TargetState::Draining | TargetState::Down => {}
            }
        }
    }

    pub(super) fn on_published(&mut self, at: Time, epoch: u64, targets: &[ReportedTarget]) {
        let first = self.routing.epoch == 0;
        let before = self.routing.targets.clone();
        self.routing.epoch = epoch;
        self.routing.under.clone_from(&self.adopted);
        for process in self.known_processes() {
            // One that is silent since the agent started has not said what it serves, and is not waited for.
            let is_unheard = self.standing(&process) == Standing::Unheard && self.routing.silent.contains_key(&process);
            if !is_unheard {
                self.hear(&process, TrafficWord::Published);
            }
        }
        for target in targets {
            self.set_target(&target.route, &target.instance, target.state, target.address);
            if target.state == TargetState::Serving
                && let Some(ix) = self.instance(&target.instance)
                && let component = &mut self.components[self.plan.instance(ix).component.index()]
                && component.bound == ix
            {
                component.served = true;
            }
        }
        self.routing.drains.retain(|it| it.until > at);
        let serves = |it: &TargetState| *it == TargetState::Serving;
        for (ix, was) in (0u32..).map(RouteIx).zip(before).filter(|_| !first) {
            let is = &self.routing.targets[ix.index()];
            if was.iter().zip(is).any(|(was, is)| serves(was) != serves(is)) {
                self.routing.changed[ix.index()] = Some(at);
                self.routing.overridden.retain(|(of, _)| *of != ix);
            }
        }
    }

    /// The traffic processes that were heard of, or will be.
    pub(super) fn known_processes(&self) -> Vec<String> {
        let heard = self.routing.standing.keys().cloned();
        let planned = self.processes().map(str::to_owned).filter(|it| !self.routing.standing.contains_key(it));
        heard.chain(planned).collect()
    }

    pub(super) fn set_target(&mut self, route: &str, instance: &str, state: TargetState, address: Option<IpAddr>) {
        let (Some(route), Some(instance)) = (self.names.routes.get(route).copied(), self.instance(instance)) else {
            return;
        };
        let at = self.plan.route(route).targets.iter().position(|it| it.instance == instance);
        if let Some(at) = at {
            self.routing.targets[route.index()][at] = state;
            self.routing.addresses[route.index()][at] = address;
        }
    }
}
