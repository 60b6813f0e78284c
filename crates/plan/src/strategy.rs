//! Strategies, compiled: a ladder of rungs, each of them steps with nothing left to decide.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::{Action, Plane, Service};
use crate::observation::Health;
use crate::{ComponentIx, ControlIx, HostIx, InstanceIx, Plan, ProbeIx, RouteIx};

/// A way to recover a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Restart the service where it is.
    RestartService,
    /// Let a standby take over.
    FailoverToStandby,
    /// Restore a backup.
    RestoreFromBackup,
    /// Replace the instance by a new one.
    ReplaceInstance,
    /// Add capacity.
    ScaleOut,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 5] = [
        Strategy::RestartService,
        Strategy::FailoverToStandby,
        Strategy::RestoreFromBackup,
        Strategy::ReplaceInstance,
        Strategy::ScaleOut,
    ];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Strategy::RestartService => "restart_service",
            Strategy::FailoverToStandby => "failover_to_standby",
            Strategy::RestoreFromBackup => "restore_from_backup",
            Strategy::ReplaceInstance => "replace_instance",
            Strategy::ScaleOut => "scale_out",
        }
    }
}

/// One strategy of a component's ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Which.
    pub strategy: Strategy,
    /// What to do, by the instance that the component is bound to when it fails. A binding without a play can't be
    /// recovered by this rung. `failover_to_standby` has one in each direction, so that it also works the other way round
    /// after a takeover.
    pub plays: BTreeMap<InstanceIx, Play>,
    /// The backup that it restores, by place in the component's list, where the plan names one.
    pub backup: Option<usize>,
    /// What must hold when it is its turn; otherwise it is passed over.
    pub only_if: Vec<Precondition>,
    /// Rungs of one ladder with the same number are alternatives: of those that are possible, the one that loses least is taken,
    /// and the others stay for when it fails.
    pub choice: Option<usize>,
    /// How often it restarts one instance at most; `None` where it restarts none.
    pub restarts: Option<RestartLimit>,
}

/// `at_most` restarts of one instance within `within`: whoever has to be restarted more often is in a crash loop, and another
/// restart would not help it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartLimit {
    /// How many, from 1 to [`RestartLimit::MOST`]. A rung with several attempts counts once.
    pub at_most: u32,
    /// In which time.
    pub within: Duration,
}

impl RestartLimit {
    /// No plan lets more.
    pub const MOST: u32 = 100;
}

/// What must hold before a rung is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precondition {
    /// Of whom.
    pub of: Whom,
    /// `Healthy` or `Down`.
    pub health: Health,
}

/// A component, whichever instance it is bound to, or one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// Whichever instance is the component at the moment.
    Component(ComponentIx),
    /// A standby, whatever role it has.
    Instance(InstanceIx),
}

impl Rung {
    /// The worst plane of its steps, over all its plays.
    pub fn plane(&self) -> Plane {
        self.plays.values().flat_map(|play| &play.steps).map(|step| step.plane).max().unwrap_or(Plane::Local)
    }
}

impl Whom {
    /// Its name in the plan.
    pub fn name(self, plan: &Plan) -> &str {
        match self {
            Whom::Component(ix) => &plan.component(ix).name,
            Whom::Instance(ix) => &plan.instance(ix).name,
        }
    }
}

/// One way through one rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play {
    /// The instance that the component is bound to afterwards: the same one for a restart.
    pub to: InstanceIx,
    /// In the order of their stages. The last one verifies.
    pub steps: Vec<Step>,
    /// Set when the plan accepts two writers by name instead of a fence (`accept_risk: [two_writers]`).
    pub accepts_two_writers: bool,
}

impl Play {
    /// Whether its owner may be at another address afterwards.
    pub fn brings_address(&self) -> bool {
        self.steps.iter().any(Step::brings_address)
    }

    /// The steps by stage: those of one stage are done at the same time, and the next stage begins when all of them are
    /// done.
    pub fn stages(&self) -> impl Iterator<Item = &[Step]> {
        self.steps.chunk_by(|a, b| a.stage == b.stage)
    }
}

/// One step of a play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Readable and unique in its play: `cut traffic to orders-db`.
    pub name: String,
    /// From 0. It begins when every step of the stage before is done.
    pub stage: usize,
    /// What is done.
    pub kind: StepKind,
    /// What it needs to work.
    pub plane: Plane,
    /// For one attempt.
    pub timeout: Duration,
    /// How often it may be tried, at least 1.
    pub attempts: u32,
    /// How long it waits between two attempts; `None`: not at all.
    pub back_off: Option<BackOff>,
    /// What takes it back, if its rung fails before the hand-over. Few steps have one, and there are many steps.
    pub undo: Option<Box<Undo>>,
    /// Whether it may be done again when it is not known whether it was done.
    pub idempotent: bool,
    /// The control plane that it needs, where it needs one.
    pub control: Option<ControlIx>,
    /// What must be prepared for it, by place in [`Plan::prepared`](crate::Plan::prepared).
    pub needs: Vec<usize>,
    /// The host that does it, and takes it back. `None`: the agent's own machine.
    pub host: Option<HostIx>,
}

impl Step {
    /// Whether its instance may be at another address once it is done.
    pub fn brings_address(&self) -> bool {
        self.kind.action().is_some_and(|(_, action)| action.reports_address())
    }
}

/// How long to wait after a try that did not succeed: twice as long each time, up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// After the first one, at most.
    pub first: Duration,
    /// After any, at most.
    pub at_most: Duration,
}

impl BackOff {
    /// The longest wait after so many tries without success; who waits takes between half of it and all of it.
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = 2u32.checked_pow(failures.saturating_sub(1)).and_then(|it| self.first.checked_mul(it));
        doubled.map_or(self.at_most, |it| it.min(self.at_most))
    }

    /// The longest that all waits of a step with so many attempts take.
    pub fn whole(&self, attempts: u32) -> Duration {
        (1..attempts).map(|it| self.after(it)).sum()
    }
}

/// What takes a step back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// Readable: `run /usr/local/bin/demote`.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// After this its outcome is unknown.
    pub timeout: Duration,
    /// What must be prepared for it, by place in [`Plan::prepared`](crate::Plan::prepared).
    pub needs: Vec<usize>,
}

/// What becomes of a question that nobody answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnExpiry {
    /// `fail`: as if the answer had been no.
    Fail,
    /// `proceed`: as if it had been yes.
    Proceed,
}

impl OnExpiry {
    /// Both.
    pub const ALL: [OnExpiry; 2] = [OnExpiry::Fail, OnExpiry::Proceed];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            OnExpiry::Fail => "fail",
            OnExpiry::Proceed => "proceed",
        }
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Fence by cutting traffic: `from` leaves these routes, and every process that serves them acknowledges it. The routes
    /// are empty afterwards.
    CutTraffic {
        /// The routes, all changed in one table.
        routes: Vec<RouteIx>,
        /// The old owner.
        from: InstanceIx,
    },
    /// Fence by stopping the old owner; confirmed when it is seen stopped on its host.
    Stop {
        /// The old owner.
        from: InstanceIx,
        /// How it is controlled.
        service: Box<Service>,
        /// Whether the cut before it is fence enough where this can't be confirmed.
        or_cut: bool,
    },
    /// Fence by the end of a lease: the old owner's host has stopped or demoted it, or has had all the time for that.
    EndLease {
        /// The old owner.
        from: InstanceIx,
    },
    /// Wait until `to` has everything that `from` ever acknowledged: it says so, asked after the cut.
    CatchUp {
        /// The new owner.
        to: InstanceIx,
        /// The old owner.
        from: InstanceIx,
    },
    /// Do something to an instance: restart it, promote it.
    Act {
        /// To which.
        on: InstanceIx,
        /// What. Most steps are none, and are kept small.
        action: Box<Action>,
    },
    /// Ask people to do something, and wait until one of them says that it is done.
    Manual {
        /// What they are asked to do.
        ask: String,
        /// Who may say so; `None`: anyone who may speak to the agent.
        role: Option<String>,
        /// What becomes of it when nobody says anything in time.
        on_expiry: OnExpiry,
    },
    /// Make `to` the component: bind it and point these routes (there may be none) at it, in one table.
    TakeOver {
        /// The new owner.
        to: InstanceIx,
        /// The routes, all changed in one table.
        routes: Vec<RouteIx>,
    },
    /// See from the client's side that it works: one good answer from each of these probes.
    Verify {
        /// Asked through the routes where the component has any, of the instance itself otherwise.
        probes: Vec<ProbeIx>,
    },
}

impl StepKind {
    /// What it does, and to which instance; `None` unless it is an [`Act`](StepKind::Act).
    pub const fn action(&self) -> Option<(InstanceIx, &Action)> {
        match self {
            StepKind::Act { on, action } => Some((*on, action)),
            StepKind::CutTraffic { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Manual { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => None,
        }
    }

    /// Which part of the time to recover it is counted as.
    pub const fn phase(&self) -> Phase {
        match self {
            StepKind::CutTraffic { .. }
            | StepKind::CatchUp { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. } => Phase::Fence,
            StepKind::Act { .. } | StepKind::TakeOver { .. } | StepKind::Manual { .. } => Phase::Act,
            StepKind::Verify { .. } => Phase::Converge,
        }
    }

    /// Whether it can't be taken back, so that nothing may be left to guess before it.
    pub const fn is_irreversible(&self) -> bool {
        match self {
            StepKind::Act { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::Manual { .. } => true,
            StepKind::CutTraffic { .. } | StepKind::CatchUp { .. } | StepKind::Verify { .. } => false,
        }
    }
}

/// The five parts of the time to recover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// From the last good observation to the verdict *down*.
    Detect,
    /// To the first step.
    Decide,
    /// Until the old owner can't act any more.
    Fence,
    /// Until the new owner serves.
    Act,
    /// Until a client gets a good answer.
    Converge,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 5] = [Phase::Detect, Phase::Decide, Phase::Fence, Phase::Act, Phase::Converge];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Phase::Detect => "detect",
            Phase::Decide => "decide",
            Phase::Fence => "fence",
            Phase::Act => "act",
            Phase::Converge => "converge",
        }
    }
}
