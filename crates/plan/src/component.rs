//! Components, their instances and what is promised for them.

use std::time::Duration;

use crate::backup::Backup;
use crate::hosts::OnAgentLoss;
use crate::location::{FailureDomain, Location, SharedPart};
use crate::policy::Guards;
use crate::postgres::PostgresServer;
use crate::strategy::{Play, Rung, Step, StepKind};
use crate::{ComponentIx, InstanceIx, ProbeIx, RouteIx, WitnessIx};

/// A logical part of the workload that is bound to one location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its name, unique among components and standbys.
    pub name: String,
    /// What it is.
    pub kind: ComponentKind,
    /// Why it can't be spread over locations.
    pub constraint: Option<Constraint>,
    /// How much it matters.
    pub criticality: Criticality,
    /// What is promised for it.
    pub objectives: Objectives,
    /// Components that must work before this one can.
    pub depends_on: Vec<ComponentIx>,
    /// Everything that can be this component: first the instance it is born with (of the same name), then its standbys
    /// in the order of the file. Never empty.
    pub instances: Vec<InstanceIx>,
    /// The strategies, in the order in which they are tried.
    pub ladder: Vec<Rung>,
    /// What may hold a recovery back.
    pub guards: Guards,
    /// Which witnesses must have answered before anything is done.
    pub witnesses: WitnessRule,
    /// The routes on which clients reach it.
    pub routes: Vec<RouteIx>,
    /// How an instance that was displaced by a takeover becomes eligible again.
    pub rejoin: Rejoin,
    /// What its host does when it can't renew its lease.
    pub on_agent_loss: OnAgentLoss,
    /// Its backups.
    pub backups: Vec<Backup>,
    /// The planned switchovers that are possible, by where they begin and end.
    pub switches: Vec<Switch>,
    /// How each instance is taken over as the component after somebody else made it active.
    pub adoptions: Vec<Adoption>,
    /// How each displaced instance is made a standby of each owner again, where the plan says how.
    pub repairs: Vec<Repair>,
    /// Whether it goes back to its original by itself.
    pub failback: Failback,
}

impl Component {
    /// The instance that the component is bound to before any takeover.
    pub fn original(&self) -> InstanceIx {
        self.instances[0]
    }

    /// How far behind the new owner may be when a planned move begins: what it can catch up with in the time it has.
    pub fn switch_lag(&self) -> Duration {
        let catch_up = |it: &Switch| {
            it.play.steps.iter().find(|it| matches!(it.kind, StepKind::CatchUp { .. })).map(|it| it.timeout)
        };
        self.switches.iter().filter_map(catch_up).max().unwrap_or_default()
    }

    /// The planned switchover from one instance to another.
    pub fn switch(&self, from: InstanceIx, to: InstanceIx) -> Option<&Switch> {
        self.switches.iter().find(|it| it.from == from && it.play.to == to)
    }

    /// What makes a displaced instance a standby of that owner again.
    pub fn repair(&self, instance: InstanceIx, owner: InstanceIx) -> Option<&Repair> {
        self.repairs.iter().find(|it| it.instance == instance && it.owner == owner)
    }

    /// What is done when another instance than `from` was made active by somebody else.
    pub fn adoption(&self, from: InstanceIx, to: InstanceIx) -> Option<&Adoption> {
        self.adoptions.iter().find(|it| it.from == from && it.play.to == to)
    }
}

/// The six types of component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComponentKind {
    /// `database`
    Database,
    /// `application_server`
    ApplicationServer,
    /// `cache`
    Cache,
    /// `message_queue`
    MessageQueue,
    /// `file_system`
    FileSystem,
    /// `load_balancer`
    LoadBalancer,
}

impl ComponentKind {
    /// All of them.
    pub const ALL: [ComponentKind; 6] = [
        ComponentKind::Database,
        ComponentKind::ApplicationServer,
        ComponentKind::Cache,
        ComponentKind::MessageQueue,
        ComponentKind::FileSystem,
        ComponentKind::LoadBalancer,
    ];

    /// The word for it in YAML and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            ComponentKind::Database => "database",
            ComponentKind::ApplicationServer => "application_server",
            ComponentKind::Cache => "cache",
            ComponentKind::MessageQueue => "message_queue",
            ComponentKind::FileSystem => "file_system",
            ComponentKind::LoadBalancer => "load_balancer",
        }
    }
}

/// Why a component can't be spread over locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// What sort of reason it is.
    pub kind: ConstraintKind,
    /// The reason, in the owner's words.
    pub reason: String,
}

/// The sorts of constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConstraintKind {
    /// `technical`
    Technical,
    /// `regulatory`
    Regulatory,
    /// `cost`
    Cost,
}

impl ConstraintKind {
    /// All of them.
    pub const ALL: [ConstraintKind; 3] = [ConstraintKind::Technical, ConstraintKind::Regulatory, ConstraintKind::Cost];

    /// The word for it in YAML and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            ConstraintKind::Technical => "technical",
            ConstraintKind::Regulatory => "regulatory",
            ConstraintKind::Cost => "cost",
        }
    }
}

/// How much a component matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Criticality {
    /// `critical`: `check` holds it to more than the others.
    Critical,
    /// `important`, the default.
    Important,
    /// `standard`
    Standard,
}

impl Criticality {
    /// All of them, the most critical first.
    pub const ALL: [Criticality; 3] = [Criticality::Critical, Criticality::Important, Criticality::Standard];

    /// The word for it in YAML and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Criticality::Critical => "critical",
            Criticality::Important => "important",
            Criticality::Standard => "standard",
        }
    }
}

/// What is promised for a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Objectives {
    /// Recovery time objective: from the last good answer before the failure to the first good one after it.
    pub rto: Option<Duration>,
    /// The same for the loss of the region, where it is another one.
    pub region_rto: Option<Duration>,
    /// Recovery point objective: how much acknowledged work, in time, may be lost. `None`: the component keeps no state.
    pub rpo: Option<Duration>,
    /// Availability target (SLO) in parts per million: 99.95 % is 999 500.
    pub availability_ppm: Option<u32>,
}

impl Objectives {
    /// The recovery time objective for a failure.
    pub fn rto_for(&self, failure: FailureDomain) -> Option<Duration> {
        self.region_rto.filter(|_| failure == FailureDomain::Region).or(self.rto)
    }
}

/// One real thing that can be the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name: the component's own name for the instance that it is born with, the standby's name otherwise.
    pub name: String,
    /// The component that it can be.
    pub component: ComponentIx,
    /// Where it lives.
    pub location: Location,
    /// How ready it is to take over.
    pub temperature: Temperature,
    /// Its own probes.
    pub probes: Vec<ProbeIx>,
    /// How many of `probes` must be down before the instance is down: at least 1.
    pub down_when: usize,
    /// Whether some probe of it reports how far it lags behind, which the RPO guard asks for.
    pub reports_lag: bool,
    /// What it lives on beside its location.
    pub shares: Vec<SharedPart>,
    /// How much of a zone's capacity it takes while it is active.
    pub capacity: u32,
    /// The PostgreSQL server that it is, if it is one.
    pub postgres: Option<Box<PostgresServer>>,
}

/// How ready a standby is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Temperature {
    /// `hot`: serving already.
    Hot,
    /// `warm`: running, not serving.
    Warm,
    /// `cold`: stopped; to start it needs a control plane.
    Cold,
}

impl Temperature {
    /// All of them.
    pub const ALL: [Temperature; 3] = [Temperature::Hot, Temperature::Warm, Temperature::Cold];

    /// The word for it in YAML and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Temperature::Hot => "hot",
            Temperature::Warm => "warm",
            Temperature::Cold => "cold",
        }
    }
}

/// The role that an instance has at a moment: a binding, journaled, never an edit of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StandbyState {
    /// It is the component now.
    Active,
    /// It can take over.
    Standby,
    /// It failed, or was displaced, and can't be used.
    Failed,
    /// It is on its way back to being a standby.
    Recovering,
}

impl StandbyState {
    /// The word for it on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            StandbyState::Active => "active",
            StandbyState::Standby => "standby",
            StandbyState::Failed => "failed",
            StandbyState::Recovering => "recovering",
        }
    }
}

/// How an instance that was displaced by a takeover becomes a standby again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejoin {
    /// `by_hand`, the default: an operator says so with `mainstay adopt`, because an old primary may hold data that
    /// diverged.
    ByHand,
    /// `when_healthy`: as soon as its own probes find it healthy.
    WhenHealthy,
}

impl Rejoin {
    /// All of them.
    pub const ALL: [Rejoin; 2] = [Rejoin::ByHand, Rejoin::WhenHealthy];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            Rejoin::ByHand => "by_hand",
            Rejoin::WhenHealthy => "when_healthy",
        }
    }
}

/// A planned move from one instance to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The instance that hands over.
    pub from: InstanceIx,
    /// What is done: cut, wait until the other is in step, demote, activate, hand over, verify.
    pub play: Play,
    /// What is done if that fails after something was done to an instance, and before the hand-over: the old one is made
    /// active again.
    pub back: Play,
    /// Whether the old one is told that it hands over (by `demote`, or by an orderly stop), so that it can be a standby again.
    pub demotes: bool,
}

/// What makes a displaced instance a standby of the owner again, without a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The instance that was displaced.
    pub instance: InstanceIx,
    /// The instance that is the component.
    pub owner: InstanceIx,
    /// Actions on the displaced instance, one after the other. Never empty.
    pub steps: Vec<Step>,
    /// Whether the cut of every exclusive route is a fence of its own: whoever is cut off can't take writes.
    pub cut_fences: bool,
}

impl Repair {
    /// How long a repaired instance has, beside what its probes take, to be seen as a healthy standby.
    pub const SEEN_WITHIN: Duration = Duration::from_secs(60);
    /// How long a standby may follow another history than the owner's before it is repaired. After a takeover it follows by itself where
    /// its connection leads to the new owner: PostgreSQL tries again every `wal_retrieve_retry_interval`, 5 s unless it was changed.
    pub const FOLLOWS_WITHIN: Duration = Duration::from_secs(30);
    /// The wait after a try that failed; it doubles.
    pub const FIRST_WAIT: Duration = Duration::from_secs(10);
    /// The longest wait between two tries.
    pub const LONGEST_WAIT: Duration = Duration::from_secs(600);

    /// How long a try takes at most, once it has begun.
    pub fn longest(&self) -> Duration {
        self.steps.iter().map(|it| it.timeout).sum::<Duration>() + Repair::SEEN_WITHIN
    }
}

/// What is done when somebody else has made another instance active, and an operator says that it shall be the component:
/// nothing is activated, clients are led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The instance that was the component.
    pub from: InstanceIx,
    /// Cut, stop where the plan fences by that, hand over, verify.
    pub play: Play,
    /// Whether the cut fences: every exclusive route says so.
    pub cut_fences: bool,
    /// What is done if clients are not served then: the route is given back to where it was.
    pub back: Play,
}

/// Whether a component goes back to its original by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Failback {
    /// `never`, the default: `mainstay failback` does it.
    #[default]
    Never,
    /// `when_whole`: once the original is healthy and in step, and has been for a while.
    WhenWhole {
        /// For how long.
        stable_for: Duration,
    },
}

/// Something outside the failure domain in question, whose answer shows that our own path works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its name.
    pub name: String,
    /// Where it lives.
    pub location: Location,
    /// The probe that asks it.
    pub probe: ProbeIx,
}

/// `need` of `of` must have answered since the first failed observation, or nothing is done: we may be the broken part.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct WitnessRule {
    /// How many answers are needed; 0 asks for none.
    pub need: usize,
    /// Whom to ask.
    pub of: Vec<WitnessIx>,
}
