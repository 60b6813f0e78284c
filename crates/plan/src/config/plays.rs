//! Compiling strategies to plays: for every instance that a component may be bound to, the steps with nothing left to
//! decide.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::controls::control_of;
use super::fields::{At, Cx};
use super::link::Parts;
use super::link_operation::{needs, role_is_held};
use super::raw::{ActKind, RawAct, RawFence, RawHow, RawRun, RawRung, RawUndo};
use super::references::unknown;
use crate::action::{Action, Plane, Service, ServiceOp};
use crate::finding::{Code, Finding, Span};
use crate::hosts::OnAgentLoss;
use crate::postgres::{PostgresAction, PostgresOp, PostgresServer};
use crate::probe::ProbeKind;
use crate::route::Sharing;
use crate::strategy::{BackOff, Play, Precondition, Rung, Step, StepKind, Strategy, Undo, Whom};
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, RouteIx};

/// For acknowledgements, at least.
const PATIENCE: Duration = Duration::from_secs(2);

/// What fences an old owner beside the cut of its exclusive routes.
#[derive(Clone, Copy, Default)]
struct Fences {
    /// That it is stopped, and whether the cut counts where this can't be confirmed.
    stop: Option<bool>,
    /// That its lease ends.
    lease: bool,
}

pub(super) struct Compiler<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) plan: &'a Plan,
    pub(super) parts: &'a Parts,
    pub(super) component: ComponentIx,
    pub(super) rung: &'a RawRung,
}

/// One rung with all its plays.
pub(super) fn rung(
    cx: &Cx<'_>,
    plan: &Plan,
    parts: &Parts,
    instances: &HashMap<String, InstanceIx>,
    component: ComponentIx,
    rung: &RawRung,
) -> Rung {
    let compiler = Compiler { cx, plan, parts, component, rung };
    let only_if = compiler.only_if(instances);
    let compiled = match &rung.how {
        RawHow::Restart { timeout, attempts, retry, limit } => {
            Rung { restarts: Some(*limit), ..compiler.restart(*timeout, *attempts, *retry) }
        }
        RawHow::Failover { standby, fence, accept } => {
            let standby = standby.as_ref().and_then(|it| instances.get(&it.value)).copied();
            compiler.failover(standby, *fence, accept.is_some())
        }
        RawHow::Restore { backup, at, timeout } => compiler.restore(backup.as_ref(), *at, *timeout),
        RawHow::Run { strategy, backup, run } => compiler.run(*strategy, backup.as_ref(), run),
    };
    Rung { only_if, choice: rung.choice, ..compiled }
}

impl Compiler<'_> {
    fn instances(&self) -> &[InstanceIx] {
        &self.plan.component(self.component).instances
    }

    pub(super) fn name(&self, ix: InstanceIx) -> &At<String> {
        &self.parts.names[ix.index()]
    }

    fn restart(&self, timeout: Duration, attempts: u32, back_off: Option<BackOff>) -> Rung {
        let mut plays = BTreeMap::new();
        for ix in self.instances() {
            let Some(service) = &self.parts.services[ix.index()] else { continue };
            let action = Action::Service { op: ServiceOp::Restart, service: service.clone() };
            let step = Step {
                name: format!("restart {}", self.name(*ix).value),
                attempts,
                back_off,
                host: self.plan.host_of(*ix),
                ..StepKind::Act { on: *ix, action: Box::new(action) }.into_step(timeout)
            };
            let steps = in_turn(vec![step, self.verify(*ix)]);
            plays.insert(*ix, Play { to: *ix, steps, accepts_two_writers: false });
        }
        if plays.is_empty() {
            let name = &self.plan.component(self.component).name;
            self.service_missing(self.rung.at, name, "restart");
        }
        Rung {
            strategy: Strategy::RestartService,
            plays,
            backup: None,
            only_if: Vec::new(),
            choice: None,
            restarts: None,
        }
    }

    fn service_missing(&self, span: Span, instance: &str, verb: &str) {
        self.cx.report(
            Finding::new(Code::ServiceMissing, span, format!("`{instance}` has no `service` to {verb}"))
                .label("needs a service")
                .help(format!("add `service: {{ unit: NAME.service }}` to `{instance}`")),
        );
    }

    fn run(&self, strategy: Strategy, backup: Option<&At<String>>, run: &RawRun) -> Rung {
        let action = Action::Command {
            argv: run.argv.clone(),
            env: BTreeMap::new(),
            plane: run.plane,
            idempotent: run.idempotent,
            reports_address: run.new_address.is_some(),
        };
        let needs = needs(self.cx, self.plan, &run.needs);
        // Whoever is at another address afterwards takes over from whoever may still be at the old one.
        let exclusive = self.exclusive_routes();
        let moves = run.new_address.is_some() && !exclusive.is_empty();
        let fences = if moves { self.fences(None, false) } else { Fences::default() };
        // Whoever builds an instance anew can't do it on the machine that it replaces.
        let on_host = strategy == Strategy::RestoreFromBackup && run.new_address.is_none();
        let play = |ix: InstanceIx| {
            if let Some(at) = run.new_address {
                self.new_address(ix, at);
            }
            let step = Step {
                name: format!("{} {}", strategy.word().replace('_', " "), self.name(ix).value),
                plane: action.plane(),
                idempotent: action.is_idempotent(),
                kind: StepKind::Act { on: ix, action: Box::new(action.clone()) },
                timeout: run.timeout,
                attempts: 1,
                control: control_of(self.plan, run.plane, &run.whose, ix),
                back_off: None,
                undo: run.undo.as_ref().and_then(|it| self.undo(ix, it)),
                needs: needs.clone(),
                stage: 0,
                host: self.plan.host_of(ix).filter(|_| on_host),
            };
            let mut steps = if moves { self.fence(ix, exclusive.clone(), fences) } else { Vec::new() };
            steps.push(step);
            if moves {
                steps.push(self.hand_over(ix));
            }
            steps.push(self.verify(ix));
            Play { to: ix, steps: in_turn(steps), accepts_two_writers: false }
        };
        Rung {
            strategy,
            plays: self.instances().iter().map(|ix| (*ix, play(*ix))).collect(),
            backup: backup.and_then(|it| self.backup(it)),
            only_if: Vec::new(),
            choice: None,
            restarts: None,
        }
    }

    /// Restored by Mainstay, where the instance itself works.
    fn restore(&self, backup: Option<&At<String>>, at: Span, timeout: Duration) -> Rung {
        let backup = backup.and_then(|it| self.backup(it));
        let component = self.plan.component(self.component);
        let series = backup.map(|it| &component.backups[it]).and_then(|it| it.postgres.clone());
        let mut plays = BTreeMap::new();
        match series {
            None => self.cx.report(
                Finding::new(Code::PostgresMissing, at, "nothing says which backup of which server is restored")
                    .label("Mainstay takes none")
                    .help(
                        "name a series with `postgres: { to: DIR }`: `backup: nightly`; or say what restores it: \
                         `run: [/usr/local/bin/restore]`",
                    ),
            ),
            Some(series) => {
                for ix in self.instances() {
                    let Some(action) = self.postgres(*ix, at, PostgresOp::Restore { series: series.clone() }) else {
                        continue;
                    };
                    let step = Step {
                        name: format!("restore {}", self.name(*ix).value),
                        host: self.plan.host_of(*ix),
                        ..StepKind::Act { on: *ix, action: Box::new(action) }.into_step(timeout)
                    };
                    let steps = in_turn(vec![step, self.verify(*ix)]);
                    plays.insert(*ix, Play { to: *ix, steps, accepts_two_writers: false });
                }
            }
        }
        Rung { strategy: Strategy::RestoreFromBackup, plays, backup, only_if: Vec::new(), choice: None, restarts: None }
    }

    /// The place of a backup in the component's list.
    fn backup(&self, name: &At<String>) -> Option<usize> {
        let backups = &self.plan.component(self.component).backups;
        let found = backups.iter().position(|it| it.name == name.value);
        if found.is_none() {
            unknown(self.cx, name, "backup", backups.iter().map(|it| it.name.as_str()));
        }
        found
    }

    fn failover(&self, standby: Option<InstanceIx>, fence: Option<(RawFence, Span)>, accepts: bool) -> Rung {
        let mut rung = Rung {
            strategy: Strategy::FailoverToStandby,
            plays: BTreeMap::new(),
            backup: None,
            only_if: Vec::new(),
            choice: None,
            restarts: None,
        };
        let component = self.plan.component(self.component);
        let Some(standby) = standby.filter(|it| component.instances.contains(it)) else { return rung };
        let fences = self.fences(fence, accepts);
        let original = component.original();
        self.targets_are_there(&[original, standby]);
        for from in self.instances() {
            let to = if *from == standby { original } else { standby };
            let play = self.takeover(*from, to, fences, accepts);
            rung.plays.insert(*from, play);
        }
        rung
    }

    /// What is done to the old owner, after the ways in which a takeover may lack a fence are found.
    fn fences(&self, fence: Option<(RawFence, Span)>, accepts: bool) -> Fences {
        let routes = &self.plan.component(self.component).routes;
        let exclusive: Vec<RouteIx> =
            routes.iter().copied().filter(|it| self.plan.route(*it).sharing == Sharing::Exclusive).collect();
        let name = &self.plan.component(self.component).name;
        if let (Some((_, span)), Some(route)) = (fence, exclusive.first()) {
            self.cx.report(
                Finding::new(Code::FenceTwice, span, format!("the exclusive route says how `{name}` is fenced"))
                    .label("not here")
                    .other(self.parts.route_places[route.index()], "here, as `exclusive: { fence: … }`")
                    .help("move the fence to the route"),
            );
        }
        let of_routes: Vec<Option<RawFence>> =
            exclusive.iter().map(|it| self.parts.fences[it.index()].map(|(fence, _)| fence)).collect();
        let own = fence.map(|it| it.0).filter(|_| exclusive.is_empty());
        let is_fenced_by = |wanted: &[RawFence]| of_routes.iter().flatten().chain(&own).any(|it| wanted.contains(it));
        let stop = is_fenced_by(&[RawFence::Stop, RawFence::StopOrCut]);
        let lease = is_fenced_by(&[RawFence::Lease]);
        let unfenced = if stop || lease { None } else { of_routes.iter().position(Option::is_none) };
        let missing = |finding: Finding| {
            if !accepts {
                self.cx.report(finding.help(
                    "say how: `fence: stop`, `fence: lease` where `mainstay host` runs, or `fence: traffic_cut` on a route with \
                     a proxy; or accept the risk by name: `accept_risk: [two_writers]`",
                ));
            }
        };
        if let Some(at) = unfenced {
            let route = exclusive[at];
            let message = format!("nothing fences `{name}` on route `{}`", self.plan.route(route).name);
            missing(
                Finding::new(Code::FenceMissing, self.rung.at, message)
                    .label("this takeover has no fence")
                    .other(self.parts.route_places[route.index()], "an exclusive route without `fence`"),
            );
        } else if routes.is_empty() && !stop && !lease && !self.parts.incomplete.contains(&true) {
            let message = format!("nothing fences `{name}`, which has no route");
            missing(Finding::new(Code::FenceMissing, self.rung.at, message).label("this takeover has no fence"));
        }
        if accepts {
            self.cx.report(
                Finding::new(Code::TwoWriters, self.rung.at, format!("`{name}` may have two writers for a while"))
                    .label("the old owner is not known to be gone when the new one starts")
                    .help("keep a way to compare and merge both sides, or add a fence"),
            );
        }
        Fences { stop: stop.then(|| self.is_cut_otherwise()), lease }
    }

    /// Whether every exclusive route is fenced also where a stop can't be confirmed.
    fn is_cut_otherwise(&self) -> bool {
        let routes = self.plan.component(self.component).routes.iter();
        let mut owned = routes.filter(|it| self.plan.route(**it).sharing == Sharing::Exclusive).peekable();
        let is_cut = |it: &RouteIx| match self.parts.fences[it.index()] {
            Some((RawFence::TrafficCut | RawFence::StopOrCut | RawFence::Lease, _)) => true,
            Some((RawFence::Stop, _)) | None => false,
        };
        owned.peek().is_some() && owned.all(is_cut)
    }

    fn targets_are_there(&self, needed: &[InstanceIx]) {
        for route in &self.plan.component(self.component).routes {
            for ix in needed {
                let there = self.parts.targets[route.index()].contains(ix);
                if there || self.parts.incomplete[route.index()] {
                    continue;
                }
                let (name, route_name) = (&self.name(*ix).value, &self.plan.route(*route).name);
                let word = if *ix == self.plan.component(self.component).original() { "component" } else { "standby" };
                self.cx.report(
                    Finding::new(
                        Code::TargetMissing,
                        self.rung.at,
                        format!("route `{route_name}` has no target for `{name}`"),
                    )
                    .label("this takeover needs one, one way or the other")
                    .other(self.parts.route_places[route.index()], "this route")
                    .help(format!("add `- {{ {word}: {name}, address: \"IP:PORT\" }}` to its targets")),
                );
            }
        }
    }

    fn takeover(&self, from: InstanceIx, to: InstanceIx, fences: Fences, accepts: bool) -> Play {
        let mut steps = self.fence(from, self.exclusive_routes(), fences);
        self.activate(to, &mut steps);
        steps.push(self.hand_over(to));
        steps.push(self.verify(to));
        Play { to, steps: in_turn(steps), accepts_two_writers: accepts }
    }

    fn exclusive_routes(&self) -> Vec<RouteIx> {
        let routes = self.plan.component(self.component).routes.iter().copied();
        routes.filter(|it| self.plan.route(*it).sharing == Sharing::Exclusive).collect()
    }

    fn hand_over(&self, to: InstanceIx) -> Step {
        let routes = self.plan.component(self.component).routes.clone();
        let name = format!("hand over to {}", self.name(to).value);
        self.routing_step(name, StepKind::TakeOver { to, routes })
    }

    /// The steps after which the old owner can't act any more.
    fn fence(&self, from: InstanceIx, exclusive: Vec<RouteIx>, fences: Fences) -> Vec<Step> {
        let mut steps = Vec::new();
        if !exclusive.is_empty() {
            let kind = StepKind::CutTraffic { routes: exclusive, from };
            steps.push(self.routing_step(format!("cut traffic to {}", self.name(from).value), kind));
        }
        if fences.lease {
            // Neither needs the other, and a lease may take its whole time.
            steps.push(Step { stage: usize::from(!steps.is_empty()), ..self.end_lease(from) });
        }
        if let Some(or_cut) = fences.stop {
            match &self.parts.services[from.index()] {
                Some(service) => {
                    self.fence_in_reach(from, service);
                    steps.push(Step {
                        name: format!("stop {}", self.name(from).value),
                        kind: StepKind::Stop { from, service: Box::new(service.clone()), or_cut },
                        plane: Plane::Local,
                        timeout: self.plan.allowances.forced_stop,
                        attempts: 1,
                        back_off: None,
                        undo: None,
                        idempotent: true,
                        control: None,
                        needs: Vec::new(),
                        stage: 0,
                        host: self.plan.host_of(from),
                    })
                }
                None => self.service_missing(self.name(from).span, &self.name(from).value, "stop, which is its fence"),
            }
        }
        steps
    }

    /// It takes the whole term at most, however silent the old owner's host is, and as long as the agent may be late to notice.
    pub(super) fn end_lease(&self, from: InstanceIx) -> Step {
        let mut term = self.plan.lease_term().unwrap_or_default();
        if let (OnAgentLoss::Hold, Some(link)) = (self.plan.component(self.component).on_agent_loss, &self.plan.link) {
            // A host that could take over says that it agrees no more.
            term += link.lease.renew * 2;
        }
        Step {
            name: format!("end the lease of {}", self.name(from).value),
            plane: Plane::Local,
            ..StepKind::EndLease { from }.into_step(term + self.plan.allowances.lateness)
        }
    }

    /// What can't go along with an instance to another address is worth knowing before.
    fn new_address(&self, ix: InstanceIx, at: Span) {
        let name = &self.name(ix).value;
        let hosts = self.plan.hosts_of(ix);
        let kinds = || self.plan.instance(ix).probes.iter().map(|it| &self.plan.probe(*it).kind);
        let has_commands = kinds().any(|it| matches!(it, ProbeKind::Command { .. }));
        if hosts.is_empty() && !has_commands {
            self.cx.report(
                Finding::new(Code::AddressUnused, at, format!("nothing of `{name}` is reached by an address"))
                    .label("nobody asks there")
                    .help("remove it; or give it a `tcp`, `http` or `command` probe, or a route"),
            );
        }
        if hosts.len() > 1 {
            let all = hosts.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
            self.cx.report(
                Finding::new(
                    Code::AddressMisfits,
                    at,
                    format!("`{name}` is reached at {all}, and will be at one address"),
                )
                .label("replaces all of them")
                .help("let its probes and targets name one address, or have a command ask what lives elsewhere"),
            );
        }
        for kind in kinds() {
            if let ProbeKind::Http(http) = kind
                && http.tls
                && http.host.parse::<std::net::IpAddr>().is_ok()
            {
                let message =
                    format!("the certificate of `{name}` must carry `{}`, also at another address", http.host);
                self.cx.report(
                    Finding::new(Code::AddressMisfits, at, message)
                        .label("moves away from that address")
                        .help("say `host: NAME` in the probe, and let the certificate carry that name"),
                );
            }
        }
    }

    fn fence_in_reach(&self, from: InstanceIx, service: &Service) {
        let Some(host) = self.plan.out_of_reach(from, service) else { return };
        let name = self.name(from);
        self.cx.report(
            Finding::new(
                Code::FenceOutOfReach,
                name.span,
                format!("`{}` is on `{host}`, where Mainstay has no hands", name.value),
            )
            .label("can't be seen stopped from here")
            .help(
                "run `mainstay host` there, and add it to `hosts`; or control it by commands that reach that host (`start`, \
                 `stop`, `status`, for example through ssh, without `pid_file`); or fence with `traffic_cut` on a route \
                 with a proxy",
            ),
        );
    }

    /// A step that the traffic processes must acknowledge. It is given far more than they are allowed: past the allowance
    /// the bound is gone, but a slow disk is no reason to give up.
    pub(super) fn routing_step(&self, name: String, kind: StepKind) -> Step {
        let patience = (self.plan.allowances.route_apply * 10).max(PATIENCE);
        // A host that serves them too may be silent: that has to be noticed, and it has to stop by itself.
        let silence = match &kind {
            _ if self.plan.serving_hosts().next().is_none() => Duration::ZERO,
            StepKind::CutTraffic { routes, .. } => {
                let cuts = routes.iter().filter_map(|it| self.plan.silence_cuts(*it));
                cuts.chain([self.plan.silence_noticed()]).max().unwrap_or_default()
            }
            StepKind::TakeOver { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Act { .. }
            | StepKind::Manual { .. }
            | StepKind::Verify { .. } => self.plan.silence_noticed(),
        };
        let timeout = patience + silence;
        Step {
            name,
            kind,
            plane: Plane::Local,
            timeout,
            attempts: 2,
            idempotent: true,
            control: None,
            back_off: None,
            undo: None,
            needs: Vec::new(),
            stage: 0,
            host: None,
        }
    }

    fn activate(&self, to: InstanceIx, steps: &mut Vec<Step>) {
        self.acts("activate", to, None, &self.parts.activate[to.index()], steps);
    }

    /// The owner's own actions on an instance, each a step.
    /// `leader` is the new owner, where `to` is another.
    pub(super) fn acts(
        &self,
        verb: &str,
        to: InstanceIx,
        leader: Option<InstanceIx>,
        acts: &[RawAct],
        steps: &mut Vec<Step>,
    ) {
        let name = &self.name(to).value;
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for (nth, act) in acts.iter().enumerate() {
            let Some((kind, what)) = self.deed(to, leader, act.at, &act.what) else { continue };
            let count = seen.entry(what.clone()).or_insert(0);
            *count += 1;
            let again = if *count > 1 { format!(" ({count})") } else { String::new() };
            let (plane, idempotent) =
                kind.action().map_or((Plane::Local, true), |(_, it)| (it.plane(), it.is_idempotent()));
            if let Some(span) = act.with_previous.filter(|_| nth == 0) {
                self.cx.report(
                    Finding::new(Code::NothingBefore, span, "nothing stands before it that it could begin with")
                        .label("has no effect")
                        .help("remove it, or move it to the action that begins together with this one"),
                );
            }
            if let Some(span) = act.new_address {
                self.acts_at_another_address(verb, to, span);
            }
            let host = kind.action().and_then(|(on, action)| self.plan.does(on, action));
            steps.push(Step {
                name: format!("{verb} {name}: {what}{again}"),
                host,
                control: control_of(self.plan, plane, &act.whose, to),
                // Set apart from its neighbours by `in_turn`, unless it begins with the one before it.
                stage: usize::from(act.with_previous.is_some() && nth > 0),
                plane,
                idempotent,
                kind,
                timeout: act.timeout,
                attempts: act.attempts,
                back_off: act.retry,
                undo: act.undo.as_ref().and_then(|it| self.undo(to, it)),
                needs: needs(self.cx, self.plan, &act.needs),
            });
        }
    }

    fn acts_at_another_address(&self, verb: &str, to: InstanceIx, at: Span) {
        if verb == "activate" {
            return self.new_address(to, at);
        }
        let message = format!("`{}` hands over here, and stays where it is", self.name(to).value);
        self.cx.report(
            Finding::new(Code::AddressUnused, at, message)
                .label("not read")
                .help("remove it; an address is read from `activate`, `restore_from_backup` and `replace_instance`"),
        );
    }

    /// What is done to `to`, and its name.
    fn deed(&self, to: InstanceIx, leader: Option<InstanceIx>, at: Span, what: &ActKind) -> Option<(StepKind, String)> {
        let (action, word) = match what {
            ActKind::OwnService(op) => match &self.parts.services[to.index()] {
                Some(service) => (
                    Action::Service { op: *op, service: service.clone() },
                    format!("{} {}", op.word(), service_word(service)),
                ),
                None => {
                    self.service_missing(at, &self.name(to).value, op.word());
                    return None;
                }
            },
            ActKind::Other(action) => (action.clone(), action_word(action)),
            ActKind::Promote => (self.postgres(to, at, PostgresOp::Promote)?, "promote".to_owned()),
            ActKind::Follow | ActKind::Rejoin(_) => {
                let Some(leader) = leader else {
                    self.follows_nobody(to, at);
                    return None;
                };
                let of = Box::new(self.leader(leader, at)?);
                let op = match what {
                    ActKind::Rejoin(how) => PostgresOp::Rejoin { leader: of, how: *how },
                    ActKind::OwnService(_)
                    | ActKind::Other(_)
                    | ActKind::Promote
                    | ActKind::Follow
                    | ActKind::Manual { .. } => PostgresOp::Follow { leader: of },
                };
                let word = format!("{} {}", op.word(), self.name(leader).value);
                (self.postgres(to, at, op)?, word)
            }
            ActKind::Manual { ask, role, on_expiry } => {
                if let Some(role) = role {
                    role_is_held(self.cx, self.plan, &role.value, role.span, 1);
                }
                let role = role.as_ref().map(|it| it.value.clone());
                let kind = StepKind::Manual { ask: ask.clone(), role, on_expiry: *on_expiry };
                return Some((kind, "by hand".to_owned()));
            }
        };
        Some((StepKind::Act { on: to, action: Box::new(action) }, word))
    }

    fn postgres(&self, on: InstanceIx, at: Span, op: PostgresOp) -> Option<Action> {
        let Some(server) = &self.plan.instance(on).postgres else {
            let name = &self.name(on).value;
            self.cx.report(
                Finding::new(Code::PostgresMissing, at, format!("`{name}` has no `postgres` to {}", op.word()))
                    .label("on which server?")
                    .help(format!("add `postgres: {{ address: \"IP:PORT\" }}` to `{name}`")),
            );
            return None;
        };
        let unit = match &self.parts.services[on.index()] {
            Some(Service::Systemd { unit }) if op.is_of_one_machine() => Some(unit),
            Some(Service::Systemd { .. } | Service::Declared { .. } | Service::Postgres(_)) | None => None,
        };
        if let Some(unit) = unit {
            let name = &self.name(on).value;
            let message = format!("`{}` starts `{name}` by `pg_ctl`, outside of its unit `{unit}`", op.word());
            self.cx.report(
                Finding::new(Code::OutsideItsUnit, at, message)
                    .label("stopping the unit would not stop it afterwards")
                    .help(format!("remove `service` from `{name}`: with `data` it is started and stopped by `pg_ctl`")),
            );
            return None;
        }
        if op.is_of_one_machine() && server.files.is_none() {
            let name = &self.name(on).value;
            self.cx.report(
                Finding::new(Code::PostgresMissing, at, format!("`{name}` does not say where its data is"))
                    .label("works on its files")
                    .help(format!("add `data: /var/lib/postgresql/15/main` to the `postgres` of `{name}`")),
            );
            return None;
        }
        Some(Action::Postgres(Box::new(PostgresAction { server: (**server).clone(), op })))
    }

    /// The server that is followed, as its own part of the plan says.
    fn leader(&self, ix: InstanceIx, at: Span) -> Option<PostgresServer> {
        let server = self.plan.instance(ix).postgres.as_deref().filter(|it| it.follow.is_some());
        if server.is_none() {
            let name = self.name(ix);
            self.cx.report(
                Finding::new(Code::PostgresMissing, at, format!("`{}` does not say how it is followed", name.value))
                    .label("can't follow it")
                    .other(name.span, "the one that is followed")
                    .help(format!("add `postgres: {{ …, follow: {{ user: replicator }} }}` to `{}`", name.value)),
            );
        }
        server.cloned()
    }

    fn follows_nobody(&self, to: InstanceIx, at: Span) {
        let message = format!("`{}` takes over here, and follows nobody", self.name(to).value);
        self.cx.report(
            Finding::new(Code::Contradiction, at, message)
                .label("whom?")
                .help("remove it here; under `demote` it follows the new owner"),
        );
    }

    fn undo(&self, to: InstanceIx, undo: &RawUndo) -> Option<Box<Undo>> {
        let (kind, name) = self.deed(to, None, undo.at, &undo.what)?;
        match kind {
            StepKind::Act { action, .. } => {
                let needs = needs(self.cx, self.plan, &undo.needs);
                Some(Box::new(Undo { name, action: *action, timeout: undo.timeout, needs }))
            }
            StepKind::CutTraffic { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::Manual { .. }
            | StepKind::CatchUp { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => None,
        }
    }

    /// Names of a component stand for whichever instance it is bound to, names of a standby for itself.
    fn only_if(&self, instances: &HashMap<String, InstanceIx>) -> Vec<Precondition> {
        let mut all: Vec<Precondition> = Vec::new();
        for (name, health) in &self.rung.only_if {
            let Some(ix) = instances.get(&name.value).copied() else {
                let all = self.plan.instances.iter().map(|it| it.name.as_str());
                unknown(self.cx, name, "component or standby", all);
                continue;
            };
            let component = self.plan.instance(ix).component;
            let is_itself = self.plan.component(component).original() == ix;
            let of = if is_itself { Whom::Component(component) } else { Whom::Instance(ix) };
            if of == Whom::Component(self.component) {
                let message = format!("`{}` is down whenever this rung is tried", name.value);
                let help = "name what else must be healthy or down, or remove it";
                let finding = Finding::new(Code::PreconditionMoot, name.span, message).label("says nothing").help(help);
                self.cx.report(finding);
            } else if all.iter().any(|it| it.of == of && it.health != *health) {
                let message = format!("`{}` can't be both healthy and down", name.value);
                let finding = Finding::new(Code::PreconditionMoot, name.span, message);
                self.cx.report(finding.label("never holds").help("remove one of the two"));
            }
            all.push(Precondition { of, health: *health });
        }
        all
    }

    fn verify(&self, to: InstanceIx) -> Step {
        StepKind::Verify { probes: self.verify_probes(to) }.into_step(self.rung.verify_within)
    }

    /// Asked through the routes. Where those say little (a shared route may answer from another target, our proxy accepts
    /// before it knows its target) or nothing, the instance is asked too.
    pub(super) fn verify_probes(&self, to: InstanceIx) -> Vec<ProbeIx> {
        let mut probes = Vec::new();
        let mut enough = false;
        for ix in &self.plan.component(self.component).routes {
            let route = self.plan.route(*ix);
            probes.extend(&route.verify);
            enough |=
                !route.verify.is_empty() && route.sharing == Sharing::Exclusive && !self.parts.weak_verify[ix.index()];
        }
        if !enough {
            let own = &self.plan.instance(to).probes;
            // Whoever took over lags behind nobody: a probe of the lag alone has nothing to say about it.
            let lag_only = |it: &&ProbeIx| {
                let kind = &self.plan.probe(**it).kind;
                kind.reports_lag() && !matches!(kind, ProbeKind::Http(_) | ProbeKind::Postgres(_))
            };
            let telling: Vec<ProbeIx> = own.iter().filter(|it| !lag_only(it)).copied().collect();
            probes.extend(if telling.is_empty() { own.clone() } else { telling });
        }
        probes
    }
}

impl StepKind {
    /// A step of this kind, tried once. One that acts is on the plane of its action.
    pub(super) fn into_step(self, timeout: Duration) -> Step {
        let acts = self.action().map(|it| (it.1.plane(), it.1.is_idempotent()));
        let (plane, idempotent) = acts.unwrap_or((Plane::Data, true));
        Step {
            name: "verify".to_owned(),
            kind: self,
            plane,
            timeout,
            attempts: 1,
            back_off: None,
            undo: None,
            idempotent,
            control: None,
            needs: Vec::new(),
            stage: 0,
            host: None,
        }
    }
}

/// Each step in a stage of its own, unless its stage says 1: then it begins with the one before it.
pub(super) fn in_turn(mut steps: Vec<Step>) -> Vec<Step> {
    let mut stage = 0;
    for (nth, step) in steps.iter_mut().enumerate() {
        let together = step.stage > 0;
        stage += usize::from(nth > 0 && !together);
        step.stage = stage;
    }
    steps.shrink_to_fit();
    steps
}

fn service_word(service: &Service) -> String {
    match service {
        Service::Systemd { unit } => unit.clone(),
        Service::Declared { .. } => "service".to_owned(),
        Service::Postgres(_) => "PostgreSQL".to_owned(),
    }
}

fn action_word(action: &Action) -> String {
    match action {
        Action::Service { op, service } => format!("{} {}", op.word(), service_word(service)),
        Action::Command { argv, .. } => format!("run {}", argv.first().map_or("", String::as_str)),
        Action::TriggerFile { path, .. } => format!("write {}", path.display()),
        Action::Webhook { method, url, .. } => format!("{method} {url}"),
        Action::Postgres(postgres) => postgres.label(),
        Action::EndLease { component } => format!("end the lease of {component}"),
    }
}
