//! Strategies, compiled: a ladder of rungs, each of them steps with nothing left to decide.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::{Action, Plane, Service};
use crate::{ControlIx, InstanceIx, ProbeIx, RouteIx};

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
}

impl Rung {
    /// The worst plane of its steps, over all its plays.
    pub fn plane(&self) -> Plane {
        self.plays.values().flat_map(|play| &play.steps).map(|step| step.plane).max().unwrap_or(Plane::Local)
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
    /// Whether it may be done again when it is not known whether it was done.
    pub idempotent: bool,
    /// The control plane that it needs, where it needs one.
    pub control: Option<ControlIx>,
    /// What must be prepared for it, by place in [`Plan::prepared`](crate::Plan::prepared).
    pub needs: Vec<usize>,
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
        service: Service,
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
        /// What.
        action: Action,
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
    /// Which part of the time to recover it is counted as.
    pub const fn phase(&self) -> Phase {
        match self {
            StepKind::CutTraffic { .. } | StepKind::CatchUp { .. } | StepKind::Stop { .. } => Phase::Fence,
            StepKind::Act { .. } | StepKind::TakeOver { .. } => Phase::Act,
            StepKind::Verify { .. } => Phase::Converge,
        }
    }

    /// Whether it can't be taken back, so that nothing may be left to guess before it.
    pub const fn is_irreversible(&self) -> bool {
        match self {
            StepKind::Act { .. } | StepKind::TakeOver { .. } | StepKind::Stop { .. } => true,
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
