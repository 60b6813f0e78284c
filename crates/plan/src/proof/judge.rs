//! One cell of the proof: which rung survives, and how long it takes at worst.

use std::time::Duration;

use super::{Bound, Cell, Condition, DataLoss, NoRecovery, Recovery};
use crate::action::{Action, Plane};
use crate::component::{Component, Temperature};
use crate::location::{FailureDomain, Location};
use crate::policy::Mode;
use crate::probe::Probe;
use crate::strategy::{Phase, Play, Rung, Step, StepKind, Strategy};
use crate::{ComponentIx, InstanceIx, Plan, RouteIx};

/// Why something does not survive, and what would make it.
struct Lost {
    why: String,
    change: String,
}

impl Lost {
    fn new(why: impl Into<String>, change: impl Into<String>) -> Lost {
        Lost { why: why.into(), change: change.into() }
    }
}

struct Judge<'a> {
    plan: &'a Plan,
    component: &'a Component,
    /// The instance that fails.
    from: InstanceIx,
    failure: FailureDomain,
    condition: Condition,
}

/// The answer for a component that is bound to its original instance.
pub(crate) fn cell(plan: &Plan, component: ComponentIx, failure: FailureDomain, condition: Condition) -> Cell {
    let it = plan.component(component);
    let judge = Judge { plan, component: it, from: it.original(), failure, condition };
    Cell { component, failure, condition, verdict: judge.verdict() }
}

impl Judge<'_> {
    fn verdict(&self) -> Result<Recovery, NoRecovery> {
        if let Err(lost) = self.somebody_decides() {
            return Err(NoRecovery { because: vec![lost.why], change: lost.change });
        }
        let mut losses: Vec<(Strategy, Lost)> = Vec::new();
        for (at, rung) in self.component.ladder.iter().enumerate() {
            match self.survives(rung) {
                Ok(play) => return Ok(self.recovery(at, rung, play)),
                Err(lost) => losses.push((rung.strategy, lost)),
            }
        }
        Err(self.nothing(losses))
    }

    /// What is needed before any rung is tried: an agent, and witnesses that can answer.
    fn somebody_decides(&self) -> Result<(), Lost> {
        let domain = self.failure.word();
        if self.condition == Condition::AgentsHostGone {
            return Err(Lost::new(
                "nothing decides while the agent's host is gone; the traffic process goes on with its last table",
                "none within the plan: this version has one agent for a site; start it again on another host",
            ));
        }
        if self.in_lost_domain(&self.plan.site.location) {
            return Err(Lost::new(
                format!("the agent ({}) is lost with the {domain}", self.plan.site.location),
                format!("run the agent outside the {domain} of `{}`", self.component.name),
            ));
        }
        let rule = &self.component.witnesses;
        let left = rule.of.iter().filter(|it| !self.in_lost_domain(&self.plan.witness(**it).location)).count();
        if left < rule.need {
            return Err(Lost::new(
                format!("{} of its witnesses must answer, and {left} of them are outside the lost {domain}", rule.need),
                format!("add a witness outside the {domain}"),
            ));
        }
        Ok(())
    }

    fn home(&self) -> &Location {
        &self.plan.instance(self.from).location
    }

    fn in_lost_domain(&self, location: &Location) -> bool {
        self.home().shares(location, self.failure)
    }

    /// The play that this rung has, if all of it survives.
    fn survives<'r>(&self, rung: &'r Rung) -> Result<&'r Play, Lost> {
        let name = &self.component.name;
        let Some(play) = rung.plays.get(&self.from) else {
            return Err(Lost::new(format!("`{name}` has no service to act on"), format!("give `{name}` a `service`")));
        };
        self.place_survives(rung, play)?;
        for step in &play.steps {
            self.step_survives(step)?;
        }
        self.data_is_safe(rung, play)?;
        Ok(play)
    }

    fn place_survives(&self, rung: &Rung, play: &Play) -> Result<(), Lost> {
        let domain = self.failure.word();
        let machine_lost = self.failure != FailureDomain::Instance;
        let add = format!("add a standby outside the {domain} and `failover_to_standby`");
        match rung.strategy {
            Strategy::RestartService if machine_lost => {
                Err(Lost::new(format!("it works only where the instance is, which is lost with the {domain}"), add))
            }
            Strategy::RestoreFromBackup if machine_lost => {
                Err(Lost::new(format!("what it restores to is lost with the {domain}"), add))
            }
            Strategy::ReplaceInstance | Strategy::ScaleOut
                if matches!(self.failure, FailureDomain::Zone | FailureDomain::Region) =>
            {
                Err(Lost::new(format!("the plan does not say that it works outside the lost {domain}"), add))
            }
            Strategy::FailoverToStandby => {
                let to = self.plan.instance(play.to);
                if self.in_lost_domain(&to.location) {
                    let why = format!("standby `{}` ({}) may be lost with the {domain}", to.name, to.location);
                    return Err(Lost::new(why, format!("move `{}` out of the {domain}, and name its zone", to.name)));
                }
                if to.temperature == Temperature::Cold && self.condition == Condition::RegionalControlGone {
                    let why = format!("standby `{}` is cold: starting it needs a control plane", to.name);
                    return Err(Lost::new(why, format!("keep `{}` warm", to.name)));
                }
                Ok(())
            }
            Strategy::RestartService | Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut => {
                Ok(())
            }
        }
    }

    fn step_survives(&self, step: &Step) -> Result<(), Lost> {
        let (gone, plane) = match self.condition {
            Condition::RegionalControlGone => (step.plane == Plane::RegionalControl, "regional"),
            Condition::GlobalControlGone => (step.plane == Plane::GlobalControl, "global"),
            Condition::None | Condition::AgentsHostGone | Condition::AgentRestarts => (false, ""),
        };
        if gone {
            let why = format!("`{}` needs a {plane} control plane", step.name);
            return Err(Lost::new(why, "prepare ahead what this step asks of a control plane, or add a warm standby"));
        }
        if self.condition == Condition::AgentRestarts && !step.idempotent {
            let why = format!("`{}` may be half done when the agent dies, and is not idempotent", step.name);
            return Err(Lost::new(why, "make it safe to repeat, and say `idempotent: true`"));
        }
        let service = match &step.kind {
            StepKind::Stop { from, service } => Some((*from, service)),
            StepKind::Act { on, action: Action::Service { service, .. } } => Some((*on, service)),
            StepKind::Act { .. }
            | StepKind::CutTraffic { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => None,
        };
        if let Some((on, service)) = service
            && let Some(host) = self.plan.out_of_reach(on, service)
        {
            let why = format!("`{}` would act on the agent's machine: Mainstay has no hands on {host}", step.name);
            let change = "control the service by commands that reach its host (`start`, `stop`, `status`)";
            return Err(Lost::new(why, change));
        }
        match &step.kind {
            StepKind::Stop { from, .. } if self.failure != FailureDomain::Instance => {
                let from = &self.plan.instance(*from).name;
                Err(Lost::new(
                    format!("a stop of `{from}` can't be confirmed while its {} is lost", self.failure.word()),
                    "fence with `traffic_cut` on a route with a proxy, which needs nothing from the lost side",
                ))
            }
            StepKind::Stop { .. }
            | StepKind::CutTraffic { .. }
            | StepKind::Act { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => Ok(()),
        }
    }

    /// The guard that keeps a standby of unknown position from taking over.
    fn data_is_safe(&self, rung: &Rung, play: &Play) -> Result<(), Lost> {
        let to = self.plan.instance(play.to);
        if rung.strategy == Strategy::FailoverToStandby && self.component.objectives.rpo.is_some() && !to.reports_lag {
            return Err(Lost::new(
                format!("standby `{}` does not report its lag, so the RPO guard keeps it from taking over", to.name),
                format!("let a probe of `{}` report its lag (`lag_header`, `lag: stdout` or `file`)", to.name),
            ));
        }
        Ok(())
    }

    fn nothing(&self, losses: Vec<(Strategy, Lost)>) -> NoRecovery {
        let domain = self.failure.word();
        if losses.is_empty() {
            return NoRecovery {
                because: vec![format!("`{}` has no `recovery`", self.component.name)],
                change: "add `restart_service`, or a standby and `failover_to_standby`".to_owned(),
            };
        }
        // A standby that is there already needs the least to be of use.
        let best = losses.iter().find(|(it, _)| *it == Strategy::FailoverToStandby).or_else(|| losses.first());
        let change = best.map(|(_, lost)| lost.change.clone());
        NoRecovery {
            because: losses.iter().map(|(strategy, lost)| format!("{}: {}", strategy.word(), lost.why)).collect(),
            change: change.unwrap_or_else(|| format!("add a standby outside the {domain}")),
        }
    }

    fn recovery(&self, at: usize, rung: &Rung, play: &Play) -> Recovery {
        let restarts = self.condition == Condition::AgentRestarts;
        let mut bound = self.common(at, play);
        if restarts {
            bound.detect += self.plan.allowances.agent_restart + self.redetect();
            bound.decide *= 2;
            bound.earlier_rungs += self.longest_earlier_step(at);
            bound.fence *= 2;
            bound.act *= 2;
        }
        let routes: Vec<Option<RouteIx>> = match self.component.routes.as_slice() {
            [] => vec![None],
            routes => routes.iter().copied().map(Some).collect(),
        };
        let with_route = |route: Option<RouteIx>| {
            let converge = bound.converge + route.map_or(Duration::ZERO, |it| self.cached_answers(it, play));
            (route, Bound { converge, ..bound })
        };
        Recovery {
            rung: at,
            strategy: rung.strategy,
            to: play.to,
            plane: play.steps.iter().map(|it| it.plane).max().unwrap_or(Plane::Local),
            bounds: routes.into_iter().map(with_route).collect(),
            data_loss: self.data_loss(rung),
            rests_on: self.rests_on(play),
        }
    }

    /// The bound without what routes add.
    fn common(&self, at: usize, play: &Play) -> Bound {
        let phase = |phase: Phase| -> Duration {
            play.steps.iter().filter(|it| it.kind.phase() == phase).map(|it| self.step_time(it)).sum()
        };
        let earlier = self.component.ladder[..at].iter().filter_map(|it| it.plays.get(&self.from));
        Bound {
            detect: self.detect(),
            decide: self.decide(),
            earlier_rungs: earlier.flat_map(|it| &it.steps).map(|it| self.failed_step_time(it)).sum(),
            fence: phase(Phase::Fence),
            act: phase(Phase::Act),
            converge: phase(Phase::Converge),
        }
    }

    fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.plan.instance(self.from).probes.iter().map(|it| self.plan.probe(*it))
    }

    /// interval + (fall − 1) × fast_interval + timeout + lateness, of the slowest probe: a failure just after a good
    /// answer is first asked about an interval later, and then `fall` answers must have failed.
    fn detect(&self) -> Duration {
        let slowest = self.probes().map(|it| it.timing.interval + doubt(it) + it.timing.timeout).max();
        slowest.unwrap_or_default() + self.plan.allowances.lateness
    }

    /// After a restart of the agent its probes start at once, and in doubt.
    fn redetect(&self) -> Duration {
        let slowest = self.probes().map(|it| doubt(it) + it.timing.timeout).max();
        slowest.unwrap_or_default() + self.plan.allowances.lateness
    }

    /// One sync for the decision, and what the witnesses need beyond the time of doubt: they are asked from the first
    /// failed observation on, and the answer that counts may be the second one.
    fn decide(&self) -> Duration {
        let rule = &self.component.witnesses;
        let patience = self.probes().map(doubt).min().unwrap_or_default();
        let asked = if rule.need == 0 { &[][..] } else { rule.of.as_slice() };
        let slowest = asked.iter().map(|it| self.plan.probe(self.plan.witness(*it).probe).timing.timeout * 2).max();
        self.plan.allowances.journal_sync + slowest.unwrap_or_default().saturating_sub(patience)
    }

    /// The time of a step that works. Each step but the last follows a record that must be on the disk first; probes
    /// wait for none.
    fn step_time(&self, step: &Step) -> Duration {
        let allowed = &self.plan.allowances;
        match &step.kind {
            StepKind::CutTraffic { .. } => allowed.journal_sync + allowed.route_apply,
            StepKind::TakeOver { routes, .. } if routes.is_empty() => allowed.journal_sync,
            StepKind::TakeOver { .. } => allowed.journal_sync + allowed.route_apply,
            StepKind::Stop { .. } | StepKind::Act { .. } => allowed.journal_sync + step.timeout * step.attempts,
            StepKind::Verify { probes } => {
                probes.iter().map(|it| self.plan.probe(*it).timing.timeout).max().unwrap_or_default()
            }
        }
    }

    /// The time of a step of a rung that fails: all attempts run into their timeouts.
    fn failed_step_time(&self, step: &Step) -> Duration {
        self.plan.allowances.journal_sync + step.timeout * step.attempts
    }

    /// When the agent dies during an earlier rung, the step that it was at is done again.
    fn longest_earlier_step(&self, at: usize) -> Duration {
        let earlier = self.component.ladder[..at].iter().filter_map(|it| it.plays.get(&self.from));
        earlier.flat_map(|it| &it.steps).map(|it| self.failed_step_time(it)).max().unwrap_or_default()
    }

    /// How long clients may go on with an old answer of DNS. With a proxy the answer never changes.
    fn cached_answers(&self, route: RouteIx, play: &Play) -> Duration {
        let route = self.plan.route(route);
        match &route.dns {
            Some(dns) if route.proxy.is_none() && play.to != self.from => dns.ttl,
            Some(_) | None => Duration::ZERO,
        }
    }

    fn data_loss(&self, rung: &Rung) -> DataLoss {
        match (self.component.objectives.rpo, rung.strategy) {
            (None, _) => DataLoss::NoState,
            (Some(_), Strategy::RestartService) => DataLoss::AtMost(Duration::ZERO),
            (Some(rpo), Strategy::FailoverToStandby) => DataLoss::AtMost(rpo),
            (Some(_), Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut) => {
                DataLoss::Unknown
            }
        }
    }

    fn rests_on(&self, play: &Play) -> Vec<String> {
        let mut list = vec![format!("the agent on {}", self.plan.site.location)];
        if play.to != self.from {
            let to = self.plan.instance(play.to);
            list.push(format!("standby {} in {}, {}", to.name, to.location, to.temperature.word()));
        }
        let rule = &self.component.witnesses;
        if rule.need > 0 {
            let names: Vec<&str> = rule.of.iter().map(|it| self.plan.witness(*it).name.as_str()).collect();
            list.push(format!("{} of the witnesses {}", rule.need, names.join(", ")));
        }
        if self.plan.mode == Mode::Observe {
            list.push("`mode: act`: as it stands, the plan only observes".to_owned());
        } else if self.plan.mode == Mode::Recommend || self.component.guards.approval.is_some() {
            list.push("a person's approval, which the worst case does not count".to_owned());
        }
        for step in &play.steps {
            match &step.kind {
                StepKind::CutTraffic { .. } if !play.accepts_two_writers => {
                    list.push("the traffic process, which confirms the cut".to_owned());
                }
                StepKind::Stop { service, .. } => list.push(format!("{}, seen stopped on its host", service.label())),
                StepKind::Act { .. } => list.push(format!("{} ({})", step.name, step.plane.word())),
                StepKind::CutTraffic { .. } | StepKind::TakeOver { .. } | StepKind::Verify { .. } => {}
            }
        }
        if play.to != self.from {
            for route in &self.component.routes {
                list.extend(self.route_rests_on(*route));
            }
        }
        if play.accepts_two_writers {
            list.push("two writers being acceptable for a while".to_owned());
        }
        list
    }

    fn route_rests_on(&self, route: RouteIx) -> Vec<String> {
        let route = self.plan.route(route);
        let mut list = Vec::new();
        if let Some(proxy) = &route.proxy {
            list.push(format!("the proxy of {} at {}", route.name, proxy.listen));
        } else if let Some(dns) = &route.dns {
            list.push(format!("clients that ask again for {} after its TTL", dns.name));
        }
        if route.beacon || !route.agent_check.is_empty() {
            list.push(format!("whoever polls {}, whose time the worst case does not count", route.name));
        }
        list
    }
}

/// From the first failed answer to the last that is needed, both counted at their start.
fn doubt(probe: &Probe) -> Duration {
    probe.timing.fast_interval * (probe.timing.fall - 1)
}
