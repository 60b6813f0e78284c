//! What a file says, noun by noun, before names are resolved. Every value has its default filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::fields::At;
use crate::action::{Action, Plane, Service, ServiceOp};
use crate::component::{ComponentKind, Constraint, Criticality, Objectives, Rejoin, Temperature};
use crate::finding::Span;
use crate::location::Location;
use crate::notification::NotificationChannel;
use crate::policy::{Allowances, Guards, Mode, OnJournalLoss, Site};
use crate::probe::{ProbeKind, ProbeTiming};
use crate::route::{DnsFront, OnSilence, ProxyFront};
use crate::strategy::Strategy;

pub(crate) struct File {
    pub(crate) site: Site,
    pub(crate) site_at: Span,
    pub(crate) state_dir: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) on_journal_loss: OnJournalLoss,
    pub(crate) allowances: Allowances,
    pub(crate) dns_listen: Option<At<SocketAddr>>,
    pub(crate) beacon_listen: Option<At<SocketAddr>>,
    pub(crate) components: Vec<RawComponent>,
    pub(crate) standbys: Vec<RawInstance>,
    pub(crate) witnesses: Vec<RawWitness>,
    pub(crate) routes: Vec<RawRoute>,
    pub(crate) notifications: Vec<NotificationChannel>,
}

#[derive(Clone)]
pub(crate) struct RawProbe {
    pub(crate) kind: ProbeKind,
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
}

pub(crate) struct RawAct {
    pub(crate) at: Span,
    pub(crate) what: ActKind,
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
}

pub(crate) enum ActKind {
    /// On the service of the instance that is activated.
    OwnService(ServiceOp),
    Other(Action),
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
    pub(crate) guards: Guards,
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
}

pub(crate) enum RawHow {
    Restart { timeout: Duration, attempts: u32 },
    Failover { standby: Option<At<String>>, fence: Option<Span>, accept: Option<Span> },
    Run { strategy: Strategy, argv: Vec<String>, timeout: Duration, plane: Plane, idempotent: bool },
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
}

pub(crate) struct RawTarget {
    /// The name, and whether it is said to be a standby's.
    pub(crate) instance: Option<(At<String>, bool)>,
    pub(crate) address: SocketAddr,
    pub(crate) weight: u8,
    pub(crate) agent_check: Option<At<SocketAddr>>,
}
