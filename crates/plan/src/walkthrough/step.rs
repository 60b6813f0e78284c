//! One step in words: what it needs, what it changes, and how that is taken back.

use super::asked::{asks, command};
use super::{Need, StepWalk, Undo, millis, until};
use crate::action::{Action, Service, ServiceOp};
use crate::component::Component;
use crate::config::scalar::show_duration;
use crate::plan::Plan;
use crate::postgres::{FreshCopy, OldData, PostgresAction, PostgresOp, PostgresServer, RejoinHow};
use crate::prepared::PreparedKind;
use crate::route::{Route, RouteTarget, Sharing};
use crate::strategy::{OnExpiry, Play, Step, StepKind};
use crate::{InstanceIx, ProbeIx, RouteIx};

/// A play that is told.
pub(super) struct Telling<'a> {
    pub(super) plan: &'a Plan,
    pub(super) component: &'a Component,
    pub(super) bound: InstanceIx,
    pub(super) play: &'a Play,
    /// Whether the old owner goes in order, and so is no stranger to the new one afterwards.
    pub(super) hands_over: bool,
}

fn need(kind: &'static str, what: impl Into<String>) -> Need {
    Need { kind, what: what.into() }
}

impl Telling<'_> {
    pub(super) fn step(&self, at: usize) -> StepWalk {
        let step = &self.play.steps[at];
        let mut needs = self.needs(step);
        needs.extend(step.control.map(|it| need("control plane", self.plan.control(it).label())));
        needs.extend(step.needs.iter().map(|it| self.prepared(*it)));
        StepWalk {
            number: at + 1,
            name: step.name.clone(),
            kind: kind(&step.kind),
            phase: step.kind.phase().word(),
            plane: step.plane.word(),
            timeout_ms: millis(step.timeout),
            attempts: step.attempts,
            needs,
            changes: self.changes(&step.kind),
            undo: self.undone(step),
            together_with: (at > 0 && self.play.steps[at - 1].stage == step.stage).then_some(at),
            apart: step.back_off.map(|it| format!("{} to {}", show_duration(it.first), show_duration(it.at_most))),
            idempotent: step.idempotent,
            repeat: repeat(step),
            irreversible: step.kind.is_irreversible(),
        }
    }

    fn name(&self, ix: InstanceIx) -> &str {
        &self.plan.instance(ix).name
    }

    fn placed(&self, ix: InstanceIx) -> String {
        format!("{} in {}", self.name(ix), self.plan.instance(ix).location)
    }

    fn needs(&self, step: &Step) -> Vec<Need> {
        match &step.kind {
            StepKind::CutTraffic { routes, .. } => self.acknowledged(routes),
            StepKind::TakeOver { to, routes } => {
                let mut needs = self.acknowledged(routes);
                needs.extend(routes.iter().filter_map(|it| {
                    let target = self.plan.route(*it).targets.iter().find(|it| it.instance == *to)?;
                    Some(need("address", format!("{} at {}", self.name(*to), self.place(target))))
                }));
                needs.dedup();
                needs
            }
            StepKind::Stop { from, service, .. } => self.of_service(step, *from, ServiceOp::Kill, service),
            StepKind::EndLease { from } => vec![need(
                "lease",
                format!(
                    "what {} guards of it is stopped or demoted, and says so; or the whole term passes",
                    self.host(*from)
                ),
            )],
            StepKind::Act { on, action } => self.of_action(step, *on, action),
            StepKind::CatchUp { to, .. } => {
                vec![need("lag", format!("{} says that it lags 0s, asked after the cut", self.placed(*to)))]
            }
            StepKind::Manual { role, .. } => {
                let who = role.as_ref().map_or("anyone who may speak to the agent".to_owned(), |role| {
                    let has = |it: &&crate::policy::Person| it.roles.contains(role);
                    let names: Vec<&str> = self.plan.people.iter().filter(has).map(|it| it.name.as_str()).collect();
                    format!("one of {} ({role})", names.join(", "))
                });
                vec![need("person", format!("{who} says `mainstay approve rN`"))]
            }
            StepKind::Verify { probes } => probes.iter().map(|it| self.asked(*it)).collect(),
        }
    }

    fn acknowledged(&self, routes: &[RouteIx]) -> Vec<Need> {
        let names: Vec<&str> = routes.iter().map(|it| self.plan.route(*it).name.as_str()).collect();
        let others: Vec<&str> = self.plan.serving_hosts().map(|it| it.name.as_str()).collect();
        let who = match others.as_slice() {
            [] => "the traffic process acknowledges".to_owned(),
            others => format!("the traffic processes here and on {} acknowledge", others.join(", ")),
        };
        let what = format!("{who} the table with {}", names.join(", "));
        if routes.is_empty() { Vec::new() } else { vec![need("acknowledgement", what)] }
    }

    fn asked(&self, ix: ProbeIx) -> Need {
        let probe = self.plan.probe(ix);
        need("probe", format!("one good answer: {}, {}", probe.name, asks(&probe.kind)))
    }

    fn prepared(&self, at: usize) -> Need {
        let Some(it) = self.plan.prepared.get(at) else { return need("file", "a prepared part that the plan lacks") };
        let (name, file, location) = (&it.name, it.file.display(), &it.location);
        match it.kind {
            PreparedKind::Credential => need("credential", format!("{name}, in {file} in {location}")),
            PreparedKind::CacheEntry { max_age } => {
                let age = show_duration(max_age);
                need(
                    "cache_entry",
                    format!("{name}, in {file} in {location}, at most {age} old; an older one is used, and said"),
                )
            }
        }
    }

    fn of_action(&self, step: &Step, on: InstanceIx, action: &Action) -> Vec<Need> {
        let place = self.machine(step).map_or("where the agent is".to_owned(), |it| format!("on {it}"));
        match action {
            Action::Service { op, service } => self.of_service(step, on, *op, service),
            Action::Command { argv, env, .. } => {
                let mut needs = vec![need("command", format!("{}, run {place}", command(argv)))];
                if !env.is_empty() {
                    let names: Vec<&str> = env.keys().map(String::as_str).collect();
                    needs.push(need("command", format!("with {} set as the plan says", names.join(", "))));
                }
                needs
            }
            Action::TriggerFile { path, .. } => {
                vec![need("file", format!("{} can be written {place}", path.display()))]
            }
            Action::Webhook { url, headers, .. } => {
                let mut needs = vec![need("address", format!("{url} answers with 200 to 299"))];
                if !headers.is_empty() {
                    let names: Vec<&str> = headers.keys().map(String::as_str).collect();
                    needs.push(need("address", format!("with the headers {} as the plan says", names.join(", "))));
                }
                needs
            }
            Action::Postgres(postgres) => of_postgres(postgres),
            Action::EndLease { .. } => Vec::new(),
        }
    }

    /// The host that does a step; `None`: the agent's machine.
    fn machine(&self, step: &Step) -> Option<&str> {
        step.host.map(|it| self.plan.host(it).name.as_str())
    }

    /// Where an instance lives, for people.
    fn host(&self, of: InstanceIx) -> &str {
        self.plan.instance(of).location.host.as_deref().unwrap_or("its host")
    }

    fn of_service(&self, step: &Step, on: InstanceIx, op: ServiceOp, service: &Service) -> Vec<Need> {
        let mut needs = vec![need("host", self.placed(on))];
        let machine = self.machine(step).unwrap_or("the agent's machine");
        match service {
            Service::Systemd { unit } => needs.push(need("service", format!("unit {unit} of {machine}"))),
            Service::Declared { start, stop, status, pid_file, .. } => {
                let starts = matches!(op, ServiceOp::Start | ServiceOp::Restart);
                let stops = match op {
                    ServiceOp::Stop | ServiceOp::Restart => true,
                    ServiceOp::Kill => pid_file.is_none(),
                    ServiceOp::Start => false,
                };
                if let Some(stop) = stop.as_ref().filter(|_| stops) {
                    needs.push(need("command", format!("to stop: {}", command(stop))));
                }
                if starts {
                    needs.push(need("command", format!("to start: {}", command(start))));
                }
                if let Some(status) = status {
                    needs.push(need("command", format!("to see it: {}", command(status))));
                }
                if let Some(path) = pid_file {
                    needs.push(need("file", format!("process id in {} on {machine}", path.display())));
                }
            }
            Service::Postgres(files) => {
                let pg_ctl = files.command("pg_ctl", &[]);
                needs.push(need("command", format!("{} on {machine}", command(&pg_ctl))));
                needs.push(need("file", format!("the data directory {} on {machine}", files.data.display())));
            }
        }
        needs
    }

    fn changes(&self, kind: &StepKind) -> Vec<String> {
        match kind {
            StepKind::CutTraffic { routes, from } => {
                let from = self.name(*from);
                routes.iter().map(|it| cut(self.plan.route(*it), from)).collect()
            }
            StepKind::Stop { from, service, or_cut } => {
                let otherwise = "if that can't be confirmed, it goes on: the cut is fence enough".to_owned();
                let stopped = stopped_by_force(self.name(*from), service);
                [Some(stopped), or_cut.then_some(otherwise)].into_iter().flatten().collect()
            }
            StepKind::EndLease { from } => {
                let (name, host) = (self.name(*from), self.host(*from));
                vec![
                    format!("{name} holds no lease any more, and {host} has stopped or demoted it"),
                    format!(
                        "if {host} is silent, it does so by itself, and {} is granted the lease when that is over",
                        self.name(self.play.to)
                    ),
                ]
            }
            StepKind::Act { on, action } => self.acted(*on, action),
            StepKind::TakeOver { to, routes } => {
                let (new, old) = (self.name(*to), self.name(self.bound));
                let again = if *to == self.component.original() { " itself again" } else { "" };
                let mut all = if *to == self.bound {
                    vec![format!("binding: {} stays {new}", self.component.name)]
                } else {
                    vec![
                        format!("binding: {} is {new}{}", self.component.name, again),
                        if self.hands_over {
                            format!("{old} is a standby once its own probes, asked anew, find it healthy")
                        } else {
                            format!("{old} is displaced {}", until(self.plan, self.component, old))
                        },
                    ]
                };
                all.extend(routes.iter().map(|it| self.handed_over(self.plan.route(*it), *to)));
                all
            }
            StepKind::Manual { ask, on_expiry, .. } => {
                let else_what = match on_expiry {
                    OnExpiry::Fail => "if nobody says so in time, the step has failed",
                    OnExpiry::Proceed => "if nobody says so in time, it goes on as if it were done",
                };
                vec![format!("a person does this: {ask}"), else_what.to_owned()]
            }
            StepKind::CatchUp { .. } | StepKind::Verify { .. } => vec!["nothing".to_owned()],
        }
    }

    /// Where a target is when this play has handed over to it.
    fn place(&self, target: &RouteTarget) -> String {
        let on = |it: &Step| matches!(it.kind, StepKind::Act { on, .. } if on == target.instance);
        match self.play.steps.iter().any(|it| it.brings_address() && on(it)) {
            true => format!("port {} of where it is then", target.address.port()),
            false => target.address.to_string(),
        }
    }

    fn handed_over(&self, route: &Route, to: InstanceIx) -> String {
        let name = self.name(to);
        let target = route.targets.iter().find(|it| it.instance == to);
        let place = |it: &RouteTarget| format!("{name} ({})", self.place(it));
        let at = target.map(place).unwrap_or_else(|| name.to_owned());
        match route.sharing {
            Sharing::Exclusive => format!("route {} points at {at}", route.name),
            Sharing::Shared if to == self.bound => format!("route {} is served by {at} while healthy", route.name),
            Sharing::Shared => {
                format!(
                    "route {} is served by {at} while healthy, and no more by {}",
                    route.name,
                    self.name(self.bound)
                )
            }
        }
    }

    fn acted(&self, on: InstanceIx, action: &Action) -> Vec<String> {
        let name = self.name(on);
        let change = match action {
            Action::Service { op: ServiceOp::Start, .. } => {
                format!("{name} is started, unless it runs, and seen running")
            }
            Action::Service { op: ServiceOp::Stop, service } => format!("{name} is {}", in_order(service)),
            Action::Service { op: ServiceOp::Restart, service } => {
                format!("{name} is {}, then started and seen running", in_order(service))
            }
            Action::Service { op: ServiceOp::Kill, service } => stopped_by_force(name, service),
            Action::Command { .. } if on != self.bound => format!("{name} is activated as far as the command does it"),
            Action::Command { .. } => format!("whatever the command does to {name}; done when it exits with 0"),
            Action::TriggerFile { path, content } => {
                // It may hold a secret.
                format!("the file {} holds what the plan says, {} bytes", path.display(), content.len())
            }
            Action::Webhook { url, method, body, .. } => {
                format!("{url} has received {method} with {} bytes of body, for {name}", body.len())
            }
            Action::Postgres(postgres) => match &postgres.op {
                PostgresOp::Promote => {
                    let waits = postgres.server.synchronous.as_ref().map(|it| format!("; it waits for {it}"));
                    let waits = waits.unwrap_or_default();
                    format!("{name} is a primary and takes writes, and is seen to; it may be one already{waits}")
                }
                PostgresOp::Follow { leader } => format!("{name} is seen to stream from {}", leader.address),
                PostgresOp::Rejoin { leader, how } => rejoins(name, leader, *how),
                PostgresOp::Restore { series } => format!(
                    "{name} is stopped; the newest backup in {} and the archive up to its end are restored, checked and started in the place of \
                     its data, which is kept beside",
                    series.folder.display()
                ),
                PostgresOp::Keep(keeping) => format!("a {} is made where one is due", keeping.job),
            },
            Action::EndLease { component } => format!("{name} holds no lease of {component} any more"),
        };
        let place = "the IP address that it says is where it is asked and its clients are led from then on";
        let place =
            action.reports_address().then(|| format!("{place}; anything else, and nobody knows whether it was done"));
        std::iter::once(change).chain(place).collect()
    }

    fn undone(&self, step: &Step) -> Undo {
        let Some(undo) = &step.undo else { return self.undo(&step.kind) };
        let on = match &step.kind {
            StepKind::Act { on, .. } => *on,
            StepKind::CutTraffic { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Manual { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => self.bound,
        };
        let what = match &undo.action {
            Action::Service { op, .. } => format!("{} of {}", op.word(), self.name(on)),
            Action::Command { argv, .. } => command(argv),
            Action::TriggerFile { path, .. } => format!("write {}", path.display()),
            Action::Webhook { method, url, .. } => format!("{method} {url}"),
            Action::Postgres(postgres) => postgres.label(),
            Action::EndLease { component } => format!("end the lease of {component}"),
        };
        let within = show_duration(undo.timeout);
        let when = if self.play.to == self.bound { "" } else { " before the hand-over" };
        let how = format!(
            "by itself, if the rung fails or is aborted{when}: {what}, within {within}; a person is asked if that does not \
             work"
        );
        Undo { by: "mainstay", how }
    }

    fn undo(&self, kind: &StepKind) -> Undo {
        let undo = |by, how: String| Undo { by, how };
        match kind {
            StepKind::CutTraffic { routes, from } => {
                let names: Vec<&str> = routes.iter().map(|it| self.plan.route(*it).name.as_str()).collect();
                let goes = if names.len() == 1 { ("route", "goes") } else { ("routes", "go") };
                let how = format!(
                    "by itself: {} {} {} back to {} if the rung fails or is aborted before the hand-over",
                    goes.0,
                    names.join(", "),
                    goes.1,
                    self.name(*from)
                );
                undo("mainstay", how)
            }
            StepKind::Stop { from, .. } => undo("person", format!("not by itself: {} stays stopped", self.name(*from))),
            StepKind::EndLease { from } => {
                let how = format!(
                    "by itself: {} gets the lease again if the rung fails or is aborted before the hand-over; what was \
                     stopped stays stopped",
                    self.name(*from)
                );
                undo("mainstay", how)
            }
            StepKind::Act { on, .. } if *on != self.bound => {
                let name = self.name(*on);
                let how = format!(
                    "not by itself: {name} stays as it is; unless the component is handed over to it, it is displaced {}",
                    until(self.plan, self.component, name)
                );
                undo("person", how)
            }
            StepKind::Act { .. } => undo("person", "not by itself".to_owned()),
            StepKind::TakeOver { to, .. } if *to == self.bound => {
                let how = "by itself, if what brought it there is undone; otherwise its clients stay where it is";
                undo("mainstay", how.to_owned())
            }
            StepKind::TakeOver { to, .. } => {
                let (old, new) = (self.name(self.bound), self.name(*to));
                let how = if self.hands_over {
                    format!("not by itself: the component stays bound to {new}")
                } else {
                    let until = until(self.plan, self.component, old);
                    format!("not by itself: the component stays bound to {new}; {old} is part of no recovery {until}")
                };
                undo("person", how)
            }
            StepKind::Manual { .. } => undo("person", "not by itself".to_owned()),
            StepKind::CatchUp { .. } | StepKind::Verify { .. } => undo("nothing", "nothing to take back".to_owned()),
        }
    }
}

const fn kind(kind: &StepKind) -> &'static str {
    match kind {
        StepKind::CutTraffic { .. } => "cut_traffic",
        StepKind::Stop { .. } => "stop",
        StepKind::EndLease { .. } => "end_lease",
        StepKind::Act { .. } => "act",
        StepKind::TakeOver { .. } => "take_over",
        StepKind::CatchUp { .. } => "catch_up",
        StepKind::Manual { .. } => "manual",
        StepKind::Verify { .. } => "verify",
    }
}

fn repeat(step: &Step) -> String {
    if step.idempotent {
        "safe".to_owned()
    } else {
        "not safe: if nobody knows whether it was done, it waits for `mainstay approve rN --outcome done|not-done`"
            .to_owned()
    }
}

fn cut(route: &Route, from: &str) -> String {
    let mut text = format!("route {} points at nothing", route.name);
    if let Some(proxy) = &route.proxy {
        text.push_str(&format!("; the connections to {from} through the proxy at {} are closed", proxy.listen));
    }
    if let Some(dns) = &route.dns {
        text.push_str(&format!("; {} answers with no address", dns.name));
    }
    if route.beacon || !route.agent_check.is_empty() {
        text.push_str("; health checks of it fail");
    }
    text
}

/// What an action over PostgreSQL's own protocol needs.
fn of_postgres(postgres: &PostgresAction) -> Vec<Need> {
    let server = &postgres.server;
    if let PostgresOp::Restore { series } = &postgres.op {
        let folder = series.folder.display();
        return vec![
            need("file", format!("{folder} can be read on its machine, and holds a whole backup")),
            need("file", "beside its data there is room for as much again".to_owned()),
        ];
    }
    let mut needs = vec![need("address", format!("PostgreSQL at {} lets {} in", server.address, server.user))];
    needs.extend(server.password.iter().map(|it| need("file", format!("its password in {}", it.file().display()))));
    match &postgres.op {
        PostgresOp::Promote | PostgresOp::Restore { .. } | PostgresOp::Keep(_) => {}
        PostgresOp::Follow { leader } | PostgresOp::Rejoin { leader, .. } => {
            let user = leader.follow.as_ref().map_or("whoever follows", |it| it.user.as_str());
            needs.push(need("address", format!("PostgreSQL at {} lets {user} replicate", leader.address)));
        }
    }
    needs
}

fn rejoins(name: &str, leader: &PostgresServer, how: RejoinHow) -> String {
    let leader = &leader.address;
    let aside = match how.old_data {
        OldData::Keep => "its old data is moved aside",
        OldData::Remove => "its old data is removed once it streams",
    };
    let becomes = match how.copy {
        FreshCopy::Never => format!("rewound where {leader} has gone on without it"),
        FreshCopy::WhenNeeded => {
            format!(
                "rewound where {leader} has gone on without it, or given a fresh copy where that can't be done ({aside})"
            )
        }
        FreshCopy::Always => format!("given a fresh copy of {leader} ({aside})"),
    };
    format!(
        "{name} is stopped in order, what it alone has is counted and kept, it is {becomes}, and started as its standby"
    )
}

fn in_order(service: &Service) -> String {
    match service {
        Service::Systemd { .. } => "stopped by systemd".to_owned(),
        Service::Declared { pid_file: Some(_), stop_grace, .. } => {
            format!("stopped in order, after {} by SIGKILL", show_duration(*stop_grace))
        }
        Service::Declared { pid_file: None, .. } => "stopped in order".to_owned(),
        Service::Postgres(files) => {
            format!("stopped in order (a fast shutdown), after {} by SIGKILL", show_duration(files.stop_grace))
        }
    }
}

fn stopped_by_force(name: &str, service: &Service) -> String {
    match service {
        Service::Systemd { unit } => format!("{name} is killed: SIGKILL to {unit}, then a stop; seen stopped"),
        Service::Declared { pid_file: Some(path), .. } => {
            format!("{name} is killed: SIGKILL to the process of {}; seen gone", path.display())
        }
        Service::Declared { pid_file: None, status: Some(_), .. } => {
            format!("{name} is stopped by its stop command; seen stopped")
        }
        Service::Postgres(files) => format!(
            "{name} is killed: SIGKILL to all its processes that work in {}; all seen gone",
            files.data.display()
        ),
        Service::Declared { pid_file: None, status: None, .. } => {
            format!("{name} is told to stop, which nothing can confirm: the rung fails")
        }
    }
}
