//! Hosts: machines beside the agent's own on which Mainstay has hands, and how long a lease holds there.
//!
//! Intuition: a lease is a promise with an end. Whoever keeps it stops by himself when it is over, also when nobody can reach
//! him; so whoever waits until it is surely over needs no answer.

use std::net::SocketAddr;
use std::time::Duration;

use crate::action::{Action, Service};
use crate::location::Location;
use crate::policy::Allowances;
use crate::probe::Probe;
use crate::route::OnSilence;
use crate::strategy::StepKind;
use crate::{ComponentIx, HostIx, InstanceIx, Plan, RouteIx};

/// A machine where `mainstay host` runs. Its name is the machine: an instance is there when its `location.host` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, in its certificate as well.
    pub name: String,
    /// Where it is; `host` is its name.
    pub location: Location,
    /// Whether a traffic process there serves the routes, too.
    pub serves: bool,
    /// Whether it keeps a copy of the journal.
    pub keeps_journal: bool,
    /// Where it takes the questions of other hosts.
    pub peer_address: Option<SocketAddr>,
}

/// How hosts reach the agent, and how long what they hold lasts without a word of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the agent listens for its hosts.
    pub listen: SocketAddr,
    /// Where it listens, too: over other paths.
    pub also: Vec<SocketAddr>,
    /// The times of leases.
    pub lease: LeaseTimes,
}

/// What a host does with what it holds when it can't renew the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAgentLoss {
    /// It stops or demotes it.
    #[default]
    Demote,
    /// It keeps it as long as each host where another instance lives agrees, and stops or demotes it otherwise.
    Hold,
}

impl OnAgentLoss {
    /// All of them.
    pub const ALL: [OnAgentLoss; 2] = [OnAgentLoss::Demote, OnAgentLoss::Hold];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            OnAgentLoss::Demote => "demote",
            OnAgentLoss::Hold => "hold",
        }
    }
}

/// The times of a lease that a host holds for what it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How often the host asks for it again.
    pub renew: Duration,
    /// How long it lasts, from when it was asked for.
    pub expires: Duration,
    /// How long the host may take after its end to stop or demote what it guards.
    pub demote: Duration,
    /// How much the clocks of agent and host may drift apart meanwhile.
    pub drift: Duration,
}

impl LeaseTimes {
    /// How long the agent waits after it has granted a lease for the last time, until it is sure that it is over: the host counts
    /// it from its own question, which was before the grant.
    pub fn term(&self, allowances: &Allowances) -> Duration {
        self.expires + self.demote + self.drift + allowances.lateness
    }

    /// A host that has heard the agent so recently lets nobody stay without it: that agent may be about to make it the component.
    pub fn heard_within(&self, allowances: &Allowances) -> Duration {
        self.renew * 2 + allowances.lateness
    }
}

impl Plan {
    /// The host at `ix`.
    pub fn host(&self, ix: HostIx) -> &Host {
        &self.hosts[ix.index()]
    }

    /// The host of that name.
    pub fn host_named(&self, name: &str) -> Option<HostIx> {
        let at = self.hosts.binary_search_by(|it| it.name.as_str().cmp(name)).ok()?;
        u32::try_from(at).ok().map(HostIx)
    }

    /// The host on whose machine an instance lives. `None`: the agent acts there itself, or nobody does.
    pub fn host_of(&self, instance: InstanceIx) -> Option<HostIx> {
        self.host_named(self.instance(instance).location.host.as_deref()?)
    }

    /// The host that asks a probe. `None`: the agent does.
    pub fn asks(&self, probe: &Probe) -> Option<HostIx> {
        let instance = probe.watches.instance()?;
        self.host_of(instance).filter(|_| probe.from_host || probe.kind.is_of_one_machine())
    }

    /// How long it takes at most until the answer to a question is there, one way or the other: where a host asks, it is under way for a
    /// while. What comes later than the allowance `lateness` counts as not asked.
    pub fn answers_within(&self, probe: &Probe) -> Duration {
        let under_way = self.asks(probe).map_or(Duration::ZERO, |_| self.allowances.lateness);
        probe.timing.timeout + under_way
    }

    /// How long it takes at most from one question to the next while an instance is in doubt: no two are under way at once.
    pub fn asks_again_within(&self, probe: &Probe) -> Duration {
        probe.timing.fast_interval.max(self.answers_within(probe))
    }

    /// The host that does this to an instance. `None`: the agent's own machine.
    pub fn does(&self, on: InstanceIx, action: &Action) -> Option<HostIx> {
        self.host_of(on).filter(|_| action.is_of_one_machine())
    }

    /// How long a grant may outlive the agent's last word: [`LeaseTimes::term`]. `None`: the plan has no `link`.
    pub fn lease_term(&self) -> Option<Duration> {
        self.link.as_ref().map(|it| it.lease.term(&self.allowances))
    }

    /// Whether whoever is that component holds a lease for it.
    pub fn is_leased(&self, component: ComponentIx) -> bool {
        let component = self.component(component);
        let ladder = component.ladder.iter().flat_map(|it| it.plays.values());
        let mut steps = ladder.flat_map(|it| &it.steps);
        steps.any(|it| matches!(it.kind, StepKind::EndLease { .. }))
    }

    /// Whether that component stays what it is while the agent is gone, if each host that could take it over agrees.
    pub fn stays(&self, component: ComponentIx) -> bool {
        self.component(component).on_agent_loss == OnAgentLoss::Hold && self.is_leased(component)
    }

    /// A host that has heard the agent so recently lets nobody stay without it.
    pub fn heard_within(&self) -> Duration {
        self.link.as_ref().map_or(Duration::ZERO, |it| it.lease.heard_within(&self.allowances))
    }

    /// How long it takes at most until a host is known to be silent.
    pub fn silence_noticed(&self) -> Duration {
        self.link.as_ref().map_or(Duration::ZERO, |it| it.lease.expires + self.allowances.lateness)
    }

    /// How long it takes at most, from the loss of a host that serves a route, until that host has stopped serving it for sure.
    /// `None`: it may go on for ever.
    pub fn silence_cuts(&self, route: RouteIx) -> Option<Duration> {
        let OnSilence::Cut { after } = self.route(route).on_silence else { return None };
        let drift = self.link.as_ref().map_or(Duration::ZERO, |it| it.lease.drift);
        Some((after + drift + self.allowances.lateness).max(self.silence_noticed()))
    }

    /// The hosts where traffic processes serve the routes, too.
    pub fn serving_hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|it| it.serves)
    }

    /// The host of an instance, if `service` would have to be a service of that host and Mainstay has no hands there.
    pub fn out_of_reach(&self, ix: InstanceIx, service: &Service) -> Option<&str> {
        let (there, here) = (self.instance(ix).location.host.as_deref()?, self.site.location.host.as_deref()?);
        (service.is_of_this_machine() && there != here && self.host_of(ix).is_none()).then_some(there)
    }
}
