//! Compiling planned switchovers: what a takeover does, with time for the new owner to catch up and for the old one to go in
//! order, and the way back.

use std::time::Duration;

use super::fields::Cx;
use super::link::Parts;
use super::plays::{Compiler, in_turn};
use super::raw::{RawFence, RawRung};
use crate::action::{Action, Service, ServiceOp};
use crate::component::{Adoption, Switch};
use crate::postgres::PostgresOp;
use crate::route::Sharing;
use crate::strategy::{Play, Rung, Step, StepKind, Strategy};
use crate::{ComponentIx, InstanceIx, Plan, RouteIx};

/// Wherever one instance can take over from another, it can also be switched to.
pub(super) fn switches(
    cx: &Cx<'_>,
    plan: &Plan,
    parts: &Parts,
    component: ComponentIx,
    ladder: &[RawRung],
    rungs: &[Rung],
) -> Vec<Switch> {
    let mut found: Vec<Switch> = Vec::new();
    for (raw, rung) in ladder.iter().zip(rungs).filter(|it| it.1.strategy == Strategy::FailoverToStandby) {
        let compiler = Compiler { cx, plan, parts, component, rung: raw };
        for (from, takeover) in &rung.plays {
            if !found.iter().any(|it| it.from == *from && it.play.to == takeover.to) {
                found.push(compiler.switch(*from, takeover));
            }
        }
    }
    found
}

/// From each instance to each other one: whoever moves a component by hand does not ask its ladder.
pub(super) fn adoptions(
    cx: &Cx<'_>,
    plan: &Plan,
    parts: &Parts,
    component: ComponentIx,
    ladder: &[RawRung],
    rungs: &[Rung],
) -> Vec<Adoption> {
    let instances = &plan.component(component).instances;
    let takeovers: Vec<&Play> = (rungs.iter())
        .filter(|it| it.strategy == Strategy::FailoverToStandby)
        .flat_map(|it| it.plays.iter().filter(|(from, play)| **from != play.to).map(|it| it.1))
        .collect();
    let Some(raw) = ladder.first() else { return Vec::new() };
    let compiler = Compiler { cx, plan, parts, component, rung: raw };
    let pairs = instances.iter().flat_map(|from| instances.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from != to).map(|(from, to)| compiler.adoption(from, to, &takeovers)).collect()
}

impl Compiler<'_> {
    fn adoption(&self, from: InstanceIx, to: InstanceIx, takeovers: &[&Play]) -> Adoption {
        let verify_within = self.parts.switch_times[self.component.index()].1;
        let stop = takeovers
            .iter()
            .flat_map(|it| &it.steps)
            .find(|it| matches!(&it.kind, StepKind::Stop { from: of, .. } if *of == from));
        let is_leased =
            takeovers.iter().flat_map(|it| &it.steps).any(|it| matches!(it.kind, StepKind::EndLease { .. }));
        // Beside the cut, where there is one.
        let end_lease =
            |of: InstanceIx, cut: bool| is_leased.then(|| Step { stage: usize::from(cut), ..self.end_lease(of) });
        let accepts_two_writers = takeovers.iter().any(|it| it.accepts_two_writers);
        let mut steps: Vec<Step> = self.cut(from).into_iter().collect();
        steps.extend(end_lease(from, !steps.is_empty()));
        steps.extend(stop.map(|it| Step { stage: 0, ..it.clone() }));
        steps.push(self.handed_over("hand over to", to));
        steps.push(self.verified(to, verify_within));
        let mut back: Vec<Step> = self.cut(to).into_iter().collect();
        back.extend(end_lease(to, !back.is_empty()));
        back.push(self.handed_over("give traffic back to", from));
        let play = |to, steps| Play { to, steps: in_turn(steps), accepts_two_writers };
        let fence = |it: &RouteIx| self.parts.fences[it.index()].map(|it| it.0);
        let exclusive: Vec<RouteIx> = self.exclusive().collect();
        let cut_fences = !exclusive.is_empty() && exclusive.iter().all(|it| fence(it) == Some(RawFence::TrafficCut));
        Adoption { from, play: play(to, steps), cut_fences, back: play(from, back) }
    }

    fn cut(&self, from: InstanceIx) -> Option<Step> {
        let exclusive: Vec<RouteIx> = self.exclusive().collect();
        let name = format!("cut traffic to {}", self.name(from).value);
        (!exclusive.is_empty()).then(|| self.routing_step(name, StepKind::CutTraffic { routes: exclusive, from }))
    }

    fn exclusive(&self) -> impl Iterator<Item = RouteIx> {
        let routes = self.plan.component(self.component).routes.iter().copied();
        routes.filter(|it| self.plan.route(*it).sharing == Sharing::Exclusive)
    }

    fn handed_over(&self, verb: &str, to: InstanceIx) -> Step {
        let routes: Vec<RouteIx> = self.plan.component(self.component).routes.clone();
        self.routing_step(format!("{verb} {}", self.name(to).value), StepKind::TakeOver { to, routes })
    }

    fn switch(&self, from: InstanceIx, takeover: &Play) -> Switch {
        let to = takeover.to;
        let (catch_up, verify_within) = self.parts.switch_times[self.component.index()];
        let (mut steps, mut demotes, mut rejoins, mut stopped) = (Vec::new(), false, false, None);
        let first_act = takeover.steps.iter().position(|it| !matches!(it.kind, StepKind::CutTraffic { .. }));
        for (at, step) in takeover.steps.iter().enumerate() {
            if Some(at) == first_act {
                if self.plan.instance(to).reports_lag {
                    steps.push(self.catch_up(from, to, catch_up));
                }
                let before = steps.len();
                self.acts("demote", from, Some(to), &self.parts.demote[from.index()], &mut steps);
                demotes |= steps.len() > before;
                rejoins = steps[before..].iter().any(is_rejoin);
            }
            match &step.kind {
                // What was made a standby of the new owner writes no more, and is to go on as that.
                StepKind::Stop { .. } if rejoins => {}
                StepKind::Stop { service, .. } => {
                    demotes = true;
                    stopped = Some(service.as_ref().clone());
                    steps.push(self.service_step(from, ServiceOp::Stop, service));
                }
                // What lives by the lease may go when it ends: not before the new owner is in step.
                StepKind::EndLease { .. } => {
                    demotes = true;
                    stopped = stopped.or_else(|| self.parts.services[from.index()].clone());
                    steps.push(Step { stage: 0, ..step.clone() });
                }
                StepKind::Verify { .. } => steps.push(self.verified(to, verify_within)),
                StepKind::CutTraffic { .. }
                | StepKind::CatchUp { .. }
                | StepKind::Manual { .. }
                | StepKind::Act { .. }
                | StepKind::TakeOver { .. } => {
                    // As `in_turn` wants it: whether it begins with the one before it.
                    let together = at > 0 && takeover.steps[at - 1].stage == step.stage;
                    steps.push(Step { stage: usize::from(together), ..step.clone() });
                }
            }
        }
        let play = Play { steps: in_turn(steps), ..takeover.clone() };
        Switch { from, play, back: self.back(from, takeover, stopped, verify_within), demotes }
    }

    fn verified(&self, to: InstanceIx, within: Duration) -> Step {
        StepKind::Verify { probes: self.verify_probes(to) }.into_step(within)
    }

    fn catch_up(&self, from: InstanceIx, to: InstanceIx, within: Duration) -> Step {
        let name = format!("wait until {} is in step", self.name(to).value);
        Step { name, ..StepKind::CatchUp { to, from }.into_step(within) }
    }

    /// The old owner is made active again, and gets its clients back.
    fn back(&self, from: InstanceIx, takeover: &Play, stopped: Option<Service>, verify_within: Duration) -> Play {
        let mut steps = Vec::new();
        if takeover.steps.iter().any(|it| matches!(it.kind, StepKind::EndLease { .. })) {
            steps.push(self.end_lease(takeover.to));
        }
        if let Some(service) = stopped {
            steps.push(self.service_step(from, ServiceOp::Start, &service));
        }
        self.acts("activate", from, None, &self.parts.activate[from.index()], &mut steps);
        steps.push(self.handed_over("give traffic back to", from));
        steps.push(self.verified(from, verify_within));
        Play { to: from, steps: in_turn(steps), ..takeover.clone() }
    }

    fn service_step(&self, on: InstanceIx, op: ServiceOp, service: &Service) -> Step {
        let grace = match service {
            Service::Declared { stop_grace, .. } => *stop_grace,
            Service::Postgres(files) => files.stop_grace,
            Service::Systemd { .. } => Duration::ZERO,
        };
        Step {
            name: format!("{} {}", op.word(), self.name(on).value),
            host: self.plan.host_of(on),
            ..StepKind::Act { on, action: Box::new(Action::Service { op, service: service.clone() }) }
                .into_step(SERVICE + grace)
        }
    }
}

/// Whether it makes a standby of a server.
fn is_rejoin(step: &Step) -> bool {
    step.kind.action().is_some_and(|(_, action)| match action {
        Action::Postgres(postgres) => matches!(postgres.op, PostgresOp::Rejoin { .. }),
        Action::Service { .. }
        | Action::Command { .. }
        | Action::TriggerFile { .. }
        | Action::Webhook { .. }
        | Action::EndLease { .. } => false,
    })
}

/// How long a start or a stop may take beyond the grace that a service has.
const SERVICE: Duration = Duration::from_secs(30);
