//! One recovery: how far it is, what was begun, and where the time went.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_plan::observation::Scenario;
use mainstay_plan::strategy::Phase;
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use crate::command::Override;
use crate::record::{Completion, Ended, RecoveryId, StepRef};
use crate::waiting::WaitingOn;

/// How far a recovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecoveryStatus {
    /// Recognised; guards are asked.
    FailureDetected,
    /// The guards let it pass.
    RecoveryInitiated,
    /// A rung is being tried.
    RecoveryInProgress,
    /// It worked.
    RecoveryCompleted,
    /// It did not.
    RecoveryFailed,
}

impl RecoveryStatus {
    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            RecoveryStatus::FailureDetected => "failure_detected",
            RecoveryStatus::RecoveryInitiated => "recovery_initiated",
            RecoveryStatus::RecoveryInProgress => "recovery_in_progress",
            RecoveryStatus::RecoveryCompleted => "recovery_completed",
            RecoveryStatus::RecoveryFailed => "recovery_failed",
        }
    }
}

/// One durable execution of a ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Its name.
    pub id: RecoveryId,
    /// The component.
    pub component: ComponentIx,
    /// The component's name.
    pub component_name: String,
    /// The name of the instance that failed.
    pub failed: String,
    /// What failed, classified.
    pub scenario: Scenario,
    /// When it was recognised.
    pub opened: Time,
    /// When the first failed observation was asked.
    pub first_failed: Time,
    /// The end of the last good observation.
    pub last_good: Option<Time>,
    /// How far it is.
    pub status: RecoveryStatus,
    /// What it waits for, and since when.
    pub held: Option<(WaitingOn, Time)>,
    /// Whether a person approved it.
    pub approved: bool,
    /// Guards that a person overruled.
    pub overrides: BTreeSet<Override>,
    /// Who ended it by hand, and why.
    pub aborted: Option<String>,
    /// The rung that is tried, or the next to try.
    pub rung: usize,
    /// Rungs that failed: they don't come again.
    pub failed_rungs: BTreeSet<usize>,
    /// Rungs that were passed over only because a control plane is known to be down: they come again.
    pub for_later: BTreeSet<usize>,
    /// How far the rung is; `None` between rungs.
    pub progress: Option<Progress>,
    /// Why rungs were passed over or failed.
    pub tried: Vec<String>,
    /// Whether traffic is cut from the failed instance by this recovery.
    pub cut: bool,
    /// Whether a step that can't be taken back was begun.
    pub irreversible: bool,
    /// Time by phase.
    pub phases: BTreeMap<Phase, Duration>,
    /// Up to where time is accounted for.
    pub mark: Time,
    /// Set by a restart until the next step: that time went into seeing anew.
    pub seeing_anew: bool,
    /// Everything that was begun.
    pub steps: Vec<StepLog>,
    /// When it ended.
    pub ended: Option<Time>,
    /// How it was completed.
    pub completion: Option<Completion>,
}

/// How far the rung that is tried is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The instance that the component was bound to when the rung began: selects the play.
    pub from: InstanceIx,
    /// The step.
    pub step: usize,
    /// How often the step was begun.
    pub attempt: u32,
    /// How many tries ended without success.
    pub failures: u32,
    /// Grows with each try whose outcome is known, so that only a repeat after an unknown outcome has the same key.
    pub round: u32,
    /// How the step stands.
    pub at: StepAt,
}

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepAt {
    /// Not begun, or to be begun again.
    Ready,
    /// Begun.
    Running {
        /// When.
        since: Time,
    },
    /// It ended, not well.
    Ended(Ended),
}

/// A step that was begun, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLog {
    /// Which.
    pub step: StepRef,
    /// Its name.
    pub name: String,
    /// When.
    pub started: Time,
    /// When it ended, and how.
    pub ended: Option<(Time, Ended)>,
}

impl Progress {
    pub(super) fn advance(&mut self) {
        self.step += 1;
        self.attempt = 0;
        self.failures = 0;
        self.round = 1;
        self.at = StepAt::Ready;
    }
}

impl Recovery {
    pub(super) fn open(
        component: ComponentIx,
        component_name: &str,
        failed: &str,
        scenario: Scenario,
        first_failed: Time,
        last_good: Option<Time>,
    ) -> Recovery {
        Recovery {
            id: RecoveryId(0),
            component,
            component_name: component_name.to_owned(),
            failed: failed.to_owned(),
            scenario,
            opened: Time::ZERO,
            first_failed,
            last_good,
            status: RecoveryStatus::FailureDetected,
            held: None,
            approved: false,
            overrides: BTreeSet::new(),
            aborted: None,
            rung: 0,
            failed_rungs: BTreeSet::new(),
            for_later: BTreeSet::new(),
            progress: None,
            tried: Vec::new(),
            cut: false,
            irreversible: false,
            phases: BTreeMap::new(),
            mark: last_good.unwrap_or(first_failed),
            seeing_anew: false,
            steps: Vec::new(),
            ended: None,
            completion: None,
        }
    }

    pub(super) fn at(mut self, id: RecoveryId, opened: Time) -> Recovery {
        self.id = id;
        self.opened = opened;
        self.account(opened, Phase::Detect);
        self
    }

    /// Counts the time since the last mark as `phase`, unless a restart made us look again: that is detection.
    pub(super) fn account(&mut self, at: Time, phase: Phase) {
        let phase = if std::mem::take(&mut self.seeing_anew) { Phase::Detect } else { phase };
        *self.phases.entry(phase).or_default() += at.since(self.mark);
        self.mark = at;
    }

    /// The time by phase if it ends at `at`. What follows the last step goes to the client's side; without any step all of
    /// it went into deciding.
    pub(crate) fn phases_at(&self, at: Time) -> BTreeMap<Phase, Duration> {
        let mut phases = self.phases.clone();
        let phase = if self.steps.is_empty() { Phase::Decide } else { Phase::Converge };
        *phases.entry(phase).or_default() += at.since(self.mark);
        phases
    }

    pub(super) fn close(&mut self, at: Time, status: RecoveryStatus) {
        self.phases = self.phases_at(at);
        self.mark = self.mark.max(at);
        self.status = status;
        self.ended = Some(at);
        self.held = None;
        self.cut = false;
    }
}
