//! What a file says, noun by noun, before names are resolved. Every value has its default filled in.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::controls::{RawControl, RawWhere};
use super::fields::At;
use super::rules::RawRule;
use crate::action::{Action, Plane, Service, ServiceOp};
use crate::agents::{Agent, Coordination};
use crate::backup::Backup;
use crate::component::{ComponentKind, Constraint, Criticality, Failback, Objectives, Rejoin, Temperature};
use crate::drill::DrillKind;
use crate::evacuation::{Variant, ZoneCapacity};
use crate::finding::Span;
use crate::hosts::OnAgentLoss;
use crate::hosts::{Host, Link};
use crate::listening::{HeartbeatListener, TlsFiles};
use crate::location::{Location, SharedPart};
use crate::notification::{NoticeLevel, QuietTime};
use crate::observation::Health;
use crate::policy::{Allowances, Guards, Mode, OnJournalLoss, Person, Probing, Site, SiteGuards};
use crate::postgres::{PostgresServer, RejoinHow};
use crate::prepared::Prepared;
use crate::probe::{ProbeKind, ProbeTiming};
use crate::route::{DnsFront, OnSilence, Poll, ProxyFront};
use crate::strategy::{BackOff, OnExpiry, RestartLimit, Strategy};

pub(crate) struct File {
    pub(crate) site: Site,
    pub(crate) site_at: Span,
    pub(crate) state_dir: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) on_journal_loss: OnJournalLoss,
    pub(crate) allowances: Allowances,
    pub(crate) probing: Probing,
    pub(crate) dns_listen: Option<At<SocketAddr>>,
    pub(crate) secondaries: Vec<SocketAddr>,
    pub(crate) beacon_listen: Option<At<SocketAddr>>,
    pub(crate) beacon_tls: Option<TlsFiles>,
    pub(crate) heartbeats: Option<At<HeartbeatListener>>,
    pub(crate) components: Vec<RawComponent>,
    pub(crate) standbys: Vec<RawInstance>,
    pub(crate) witnesses: Vec<RawWitness>,
    pub(crate) routes: Vec<RawRoute>,
    pub(crate) controls: Vec<RawControl>,
    pub(crate) notifications: Vec<RawChannel>,
    pub(crate) escalation: Vec<RawEscalation>,
    pub(crate) quiet: Vec<QuietTime>,
    pub(crate) guards: SiteGuards,
    pub(crate) prepared: Vec<(Prepared, Span)>,
    pub(crate) rules: Vec<RawRule>,
    pub(crate) evacuations: Vec<RawEvacuation>,
    pub(crate) drills: Vec<RawDrill>,
    pub(crate) people: Vec<Person>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) hosts: Vec<At<Host>>,
    pub(crate) link: Option<RawLink>,
    pub(crate) coordination: Option<Coordination>,
    /// What is checked and not acted on, with its place.
    pub(crate) idle: Vec<At<&'static str>>,
}

#[derive(Clone)]
pub(crate) struct RawProbe {
    pub(crate) kind: ProbeKind,
    pub(crate) from: Vec<IpAddr>,
    /// Where it says that the host of its instance asks it.
    pub(crate) from_host: Option<Span>,
    pub(crate) timing: ProbeTiming,
}

/// A component's own instance, or a standby.
pub(crate) struct RawInstance {
    pub(crate) name: At<String>,
    pub(crate) location: Location,
    pub(crate) temperature: Temperature,
    pub(crate) service: Option<Service>,
    pub(crate) probes: Vec<RawProbe>,
    pub(crate) down_when: usize,
    pub(crate) activate: Vec<RawAct>,
    pub(crate) demote: Vec<RawAct>,
    pub(crate) repair: Vec<RawAct>,
    pub(crate) repair_at: Option<Span>,
    pub(crate) postgres: Option<Box<PostgresServer>>,
    pub(crate) shares: Vec<SharedPart>,
    pub(crate) capacity: u32,
}

pub(crate) struct RawAct {
    pub(crate) at: Span,
    pub(crate) what: ActKind,
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
    pub(crate) retry: Option<BackOff>,
    pub(crate) undo: Option<RawUndo>,
    /// Where it says that it begins with the one before it.
    pub(crate) with_previous: Option<Span>,
    pub(crate) needs: Vec<At<String>>,
    pub(crate) whose: RawWhere,
    /// Where it says that the instance is elsewhere afterwards.
    pub(crate) new_address: Option<Span>,
}

pub(crate) enum ActKind {
    /// On the service of the instance that is activated.
    OwnService(ServiceOp),
    Other(Action),
    /// On the PostgreSQL server of the instance that is activated.
    Promote,
    /// The same server follows that of the new owner.
    Follow,
    /// The same server becomes a standby of the new owner's.
    Rejoin(RejoinHow),
    Manual {
        ask: String,
        role: Option<At<String>>,
        on_expiry: OnExpiry,
    },
}

pub(crate) struct RawUndo {
    pub(crate) at: Span,
    pub(crate) what: ActKind,
    pub(crate) timeout: Duration,
    pub(crate) needs: Vec<At<String>>,
}

pub(crate) struct RawComponent {
    pub(crate) instance: RawInstance,
    pub(crate) kind: ComponentKind,
    pub(crate) constraint: Option<Constraint>,
    pub(crate) criticality: Criticality,
    pub(crate) objectives: Objectives,
    pub(crate) depends_on: Vec<At<String>>,
    pub(crate) witnesses: Option<RawWitnessRule>,
    pub(crate) rejoin: Rejoin,
    pub(crate) on_agent_loss: OnAgentLoss,
    pub(crate) on_agent_loss_at: Option<Span>,
    pub(crate) catch_up: Duration,
    pub(crate) switch_verify: Duration,
    pub(crate) failback: Failback,
    pub(crate) guards: Guards,
    /// Where its approval names a role.
    pub(crate) approval_role: Option<Span>,
    pub(crate) backups: Vec<At<Backup>>,
    pub(crate) ladder: Vec<RawRung>,
}

pub(crate) struct RawWitnessRule {
    pub(crate) at: Span,
    pub(crate) need: Option<usize>,
    pub(crate) of: Option<Vec<At<String>>>,
}

pub(crate) struct RawRung {
    pub(crate) at: Span,
    pub(crate) how: RawHow,
    pub(crate) verify_within: Duration,
    /// Names of what must be healthy or down.
    pub(crate) only_if: Vec<(At<String>, Health)>,
    /// The same in rungs that are alternatives.
    pub(crate) choice: Option<usize>,
}

pub(crate) enum RawHow {
    Restart { timeout: Duration, attempts: u32, retry: Option<BackOff>, limit: RestartLimit },
    Failover { standby: Option<At<String>>, fence: Option<(RawFence, Span)>, accept: Option<Span> },
    Restore { backup: Option<At<String>>, at: Span, timeout: Duration },
    Run { strategy: Strategy, backup: Option<At<String>>, run: Box<RawRun> },
}

pub(crate) struct RawRun {
    pub(crate) argv: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) plane: Plane,
    pub(crate) idempotent: bool,
    pub(crate) needs: Vec<At<String>>,
    pub(crate) whose: RawWhere,
    pub(crate) undo: Option<RawUndo>,
    /// Where it says that the instance is elsewhere afterwards.
    pub(crate) new_address: Option<Span>,
}

pub(crate) struct RawWitness {
    pub(crate) name: At<String>,
    pub(crate) location: Location,
    pub(crate) probe: Option<RawProbe>,
}

pub(crate) struct RawRoute {
    pub(crate) name: At<String>,
    pub(crate) sharing: RawSharing,
    pub(crate) proxy: Option<ProxyFront>,
    /// Where the proxy's address stands.
    pub(crate) proxy_at: Span,
    pub(crate) dns: Option<DnsFront>,
    pub(crate) dns_at: Span,
    pub(crate) beacon: Option<Span>,
    pub(crate) targets: Vec<RawTarget>,
    pub(crate) on_silence: OnSilence,
    pub(crate) verify: Option<Vec<RawProbe>>,
    pub(crate) polled: Option<Poll>,
    pub(crate) rules: RawRouteRules,
}

#[derive(Default)]
pub(crate) struct RawRouteRules {
    pub(crate) at_least: Option<At<u32>>,
    pub(crate) gates: Vec<At<String>>,
    pub(crate) wait: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawSharing {
    Shared,
    Exclusive(Option<(RawFence, Span)>),
    /// Not stated, which was reported.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawFence {
    TrafficCut,
    Stop,
    /// A stop where it can be confirmed, the cut where it can't.
    StopOrCut,
    Lease,
}

pub(crate) struct RawTarget {
    /// The name, and whether it is said to be a standby's.
    pub(crate) instance: Option<(At<String>, bool)>,
    pub(crate) address: SocketAddr,
    pub(crate) unix: Option<At<PathBuf>>,
    pub(crate) weight: u8,
    pub(crate) agent_check: Option<At<SocketAddr>>,
}

pub(crate) struct RawChannel {
    pub(crate) name: At<String>,
    pub(crate) action: Option<Action>,
    pub(crate) location: Option<Location>,
    pub(crate) levels: Vec<NoticeLevel>,
    pub(crate) repeat: Option<Duration>,
}

pub(crate) struct RawEscalation {
    pub(crate) at: Span,
    pub(crate) after: Duration,
    pub(crate) tell: Vec<At<String>>,
}

pub(crate) struct RawEvacuated {
    pub(crate) at: Span,
    pub(crate) region: Option<At<String>>,
    pub(crate) zone: Option<At<String>>,
}

pub(crate) struct RawEvacuation {
    pub(crate) name: At<String>,
    pub(crate) of: RawEvacuated,
    pub(crate) variant: Variant,
    pub(crate) at_once: u32,
    pub(crate) first: Vec<At<String>>,
    pub(crate) capacity: Vec<At<ZoneCapacity>>,
    pub(crate) parts: Vec<At<String>>,
}

pub(crate) struct RawLink {
    pub(crate) listen: Option<At<SocketAddr>>,
    pub(crate) also: Vec<At<SocketAddr>>,
    /// Where it says how long a lease lasts.
    pub(crate) lease_at: Span,
    pub(crate) link: Link,
}

pub(crate) struct RawDrill {
    pub(crate) name: At<String>,
    pub(crate) kind: DrillKind,
    /// `None`: all of them.
    pub(crate) components: Option<Vec<At<String>>>,
    pub(crate) every: Duration,
}
