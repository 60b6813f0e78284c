//! Servers, witnesses and control planes: how they meet a question.

use std::net::IpAddr;

use mainstay_plan::component::Temperature;
use mainstay_plan::control::ControlPlane;
use mainstay_plan::location::FailureDomain;
use mainstay_plan::observation::{Answer, Concerns, Observation, SeenRole};
use mainstay_plan::probe::{ProbeKind, Watches};
use mainstay_plan::{InstanceIx, Plan, ProbeIx};

use super::{Event, Link, World};
use crate::broken::{WithoutDns, without_dns};

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Answers.
    Up,
    /// Refuses.
    Dead,
    /// Accepts and never answers.
    Hung,
}

impl World {
    pub(super) fn ask(&mut self, ix: ProbeIx, at: Option<IpAddr>) {
        let plan = self.plan.clone();
        let probe = plan.probe(ix);
        let (server, lag) = match probe.watches {
            Watches::Instance(instance) => {
                let name = &plan.instance(instance).name;
                let server = self.met(name, at);
                let reports = match server {
                    Server::Up => probe.kind.reports_lag(),
                    Server::Dead | Server::Hung => probe.kind.reports_lag_when_stopped(),
                };
                (server, reports.then(|| self.lag.get(name).copied()).flatten())
            }
            Watches::Witness(witness) => (self.servers[&plan.witness(witness).name], None),
            // A canary goes with its plane, and with its own name.
            Watches::Control(control) => (self.plane_of(plan.control(control)), None),
            Watches::Route(route) => (self.behind(route), None),
        };
        let names = if self.broken.dns { without_dns(&plan, probe) } else { WithoutDns::Works };
        let cut_off = self.own_path_broken && !self.is_local(probe.watches);
        let server = if cut_off || names == WithoutDns::TimesOut { Server::Hung } else { server };
        let name = match probe.watches {
            Watches::Instance(instance) => plan.instance(instance).name.as_str(),
            Watches::Witness(witness) => plan.witness(witness).name.as_str(),
            Watches::Route(_) | Watches::Control(_) => "",
        };
        let unaskable = self.cannot_ask.contains(name) || plan.asks(probe).is_some_and(|it| !self.host_answers(it));
        let unheard = self.troubles.link(name) == Link::NoAnswers && server == Server::Up;
        let server = if unheard { Server::Hung } else { self.grays.meets(name, probe, server) };
        let takes = self.grays.takes(name, probe).unwrap_or(self.pace.answer(probe));
        let (answer, took) = match server {
            _ if unaskable => (Answer::CouldNotAsk("no descriptor is left".to_owned()), self.pace.refusal()),
            _ if names == WithoutDns::CannotAsk => {
                (Answer::CouldNotAsk("the name does not resolve".to_owned()), self.pace.refusal())
            }
            Server::Up => (Answer::Good, takes),
            Server::Dead => (Answer::Refused("connection refused".to_owned()), self.pace.refusal()),
            Server::Hung => (Answer::TimedOut, probe.timing.timeout),
        };
        let role = self.roles.get(name).filter(|_| probe.kind.reports_role() && answer == Answer::Good);
        let role = role.map(|it| it.word().to_owned());
        let answer = self.troubles.told(name, answer);
        let started = self.clock();
        let says_where = answer == Answer::Good && matches!(probe.kind, ProbeKind::Postgres(_));
        let position = probe.watches.instance().filter(|_| says_where).and_then(|it| self.position(it));
        let lag = lag.filter(|_| !matches!(probe.kind, ProbeKind::Postgres(_)));
        let observation = Observation {
            probe: ix,
            started,
            ended: started + took,
            answer,
            lag,
            role,
            concerns: Concerns::NONE,
            position,
        };
        self.in_flight.insert(ix);
        let under_way = plan.asks(probe).filter(|_| !unaskable).map(|_| self.pace.by_host(&plan));
        let took = took + under_way.unwrap_or_default();
        let Some(late) = self.troubles.comes_after(name) else { return };
        let took = took + late;
        self.at(took, Event::Answer(Box::new(observation)));
    }

    /// Whether what a probe watches is on the agent's own machine. Routes are served there, by whoever serves them.
    pub(super) fn is_local(&self, watches: Watches) -> bool {
        let here = &self.plan.site.location;
        let local = |instance: InstanceIx| here.shares(&self.plan.instance(instance).location, FailureDomain::Host);
        match watches {
            Watches::Instance(instance) => local(instance),
            Watches::Witness(witness) => here.shares(&self.plan.witness(witness).location, FailureDomain::Host),
            Watches::Control(_) => false,
            Watches::Route(route) => {
                let open = self.open_to_clients(route);
                open.iter().filter_map(|it| self.plan.instance_named(it)).any(local)
            }
        }
    }

    /// How a control plane answers.
    pub(super) fn plane_of(&self, control: &ControlPlane) -> Server {
        let named = self.servers.get(&format!("{} in {}", control.service, control.region)).copied();
        match self.broken.planes.contains(&control.plane) {
            true if self.broken.hangs => Server::Hung,
            true => Server::Dead,
            false => named.unwrap_or(Server::Up),
        }
    }
}

pub(super) fn is_cold(plan: &Plan, name: &str) -> bool {
    plan.instance_named(name).is_some_and(|it| plan.instance(it).temperature == Temperature::Cold)
}

pub(super) fn at_first(plan: &Plan, name: &str) -> Server {
    if is_cold(plan, name) { Server::Dead } else { Server::Up }
}

pub(super) fn role_at_first(plan: &Plan, name: &str) -> SeenRole {
    let original = plan.components.iter().any(|it| plan.instance(it.original()).name == name);
    if original { SeenRole::Active } else { SeenRole::Standby }
}
