//! One recovery: how far it is, what was begun, and where the time went.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use mainstay_plan::action::{LeaseEnd, LostWrites};
use mainstay_plan::observation::Scenario;
use mainstay_plan::strategy::{Phase, Play, Step};
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use super::{Adopts, FiredRule};
use crate::command::Override;
use crate::machine::{Illegal, Machine, StepInput, StepLife, StepState, UndoInput, UndoLife, UndoState};
use crate::planted::{Fault, planted};
use crate::record::{Completion, Ended, Fence, IncidentId, RecoveryId, StepRef};
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
    /// Why there is a recovery.
    pub cause: Cause,
    /// What failed, classified.
    pub scenario: Scenario,
    /// The rule that says so, with what it saw, where the probes alone did not.
    pub rule: Option<FiredRule>,
    /// Why it is classified so.
    pub evidence: Vec<String>,
    /// Whether its neighbours were waited for, and what failed is settled.
    pub classified: bool,
    /// The incident that it belongs to.
    pub incident: Option<IncidentId>,
    /// The planned evacuation that it is part of.
    pub evacuated: Option<IncidentId>,
    /// The evacuations of the plan that it is part of, by place in the plan's list.
    pub evacuations: Vec<usize>,
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
    /// The hash of the plan under which it is recovered.
    pub plan: String,
    /// What it may take: the objective for what failed, counted from the last good observation.
    pub budget: Option<Duration>,
    /// Whether it was said that it takes longer.
    pub over_budget: bool,
    /// Who approved it.
    pub approved_by: BTreeSet<String>,
    /// Who holds it before its next step, and why.
    pub paused: Option<(String, String)>,
    /// Who gives the rung up, and why, until that has happened.
    pub skip: Option<String>,
    /// Rungs that were given up by hand.
    pub given_up: BTreeSet<usize>,
    /// Guards that a person overruled.
    pub overrides: BTreeSet<Override>,
    /// Who ended it by hand, and why.
    pub aborted: Option<String>,
    /// The rung that is tried, or the next to try.
    pub rung: usize,
    /// Rungs that failed: they don't come again.
    pub failed_rungs: BTreeSet<usize>,
    /// Rungs that were passed over only because a control plane is known to be down, or because they lead into what is being
    /// evacuated: they come again.
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
    /// The fences that hold, each with what confirms it.
    pub fenced: Vec<Fenced>,
    /// How much the new owner lacks of what clients were told before, at most; `None`: it was not known, or nothing failed.
    pub lost_at_most: Option<Duration>,
    /// What it lacks, counted when the old owner became a standby again.
    pub lost: Option<LostWrites>,
    /// When it ended.
    pub ended: Option<Time>,
    /// How it was completed.
    pub completion: Option<Completion>,
}

/// Why there is a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Something failed.
    Failure,
    /// Someone wants it so.
    Planned(Planned),
}

/// A planned move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The instance that takes over.
    pub to: InstanceIx,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether the new owner is waited for until it is in step.
    pub graceful: bool,
    /// Whether it is being undone.
    pub back: bool,
    /// Set where nothing is moved, and what somebody else has done is adopted.
    pub adopts: Option<Adopts>,
}

/// How far the rung that is tried is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The instance that the component was bound to when the rung began: selects the play.
    pub from: InstanceIx,
    /// By place in the play.
    pub steps: Vec<StepProgress>,
    /// Set once what was done is being undone: why.
    pub rollback: Option<String>,
}

/// How far one step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepProgress {
    /// Its stage in the play.
    pub stage: usize,
    /// How often it was begun.
    pub attempt: u32,
    /// How many tries ended without success.
    pub failures: u32,
    /// Grows with each try whose outcome is known, so that only a repeat after an unknown outcome has the same key.
    pub round: u32,
    /// How it stands.
    pub at: StepAt,
    /// How its undo stands.
    pub undo: UndoAt,
}

/// How the undo of a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoAt {
    /// There is none, or nothing was done that it would undo.
    Nothing,
    /// It is undone if the rung fails.
    Registered {
        /// Whether a try ended unknown: then it may have been done, whatever a later one says.
        doubtful: bool,
    },
    /// It is being undone.
    Running {
        /// Since when.
        since: Time,
    },
    /// Undoing it ended so.
    Ended(Ended),
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
    /// To be begun again then, not before.
    Waiting {
        /// When.
        until: Time,
    },
    /// Its last try ended so. Ended as done, it is over.
    Ended(Ended),
    /// Its last try did not end well, and another fence holds: it is over.
    PassedOver,
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
    /// Whether its outcome was not waited for.
    pub given_up: bool,
    /// Where it brought its instance.
    pub address: Option<IpAddr>,
    /// How the lease ended that it ends.
    pub lease_end: Option<LeaseEnd>,
}

/// A fence that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The step that fenced.
    pub step: StepRef,
    /// The instance.
    pub instance: String,
    /// How.
    pub fence: Fence,
    /// What confirms it.
    pub by: String,
    /// Since when.
    pub at: Time,
}

impl Progress {
    pub(super) fn new(from: InstanceIx, play: &Play) -> Progress {
        let step = |step: &Step| StepProgress {
            stage: step.stage,
            attempt: 0,
            failures: 0,
            round: 1,
            at: StepAt::Ready,
            undo: UndoAt::Nothing,
        };
        Progress { from, steps: play.steps.iter().map(step).collect(), rollback: None }
    }

    /// The stage that is being done; `None`: all steps are done.
    pub fn stage(&self) -> Option<usize> {
        self.steps.iter().filter(|it| !it.is_over()).map(|it| it.stage).min()
    }

    /// The steps of that stage that are not done, by place in the play.
    pub fn open(&self) -> impl Iterator<Item = (usize, &StepProgress)> {
        let stage = self.stage();
        self.steps.iter().enumerate().filter(move |(_, it)| Some(it.stage) == stage && !it.is_over())
    }

    /// Whether this very try of a step is being made.
    pub fn runs(&self, step: StepRef) -> bool {
        self.steps
            .get(step.step)
            .is_some_and(|it| it.attempt == step.attempt && matches!(it.at, StepAt::Running { .. }))
    }

    /// Whether this very try of an undo is being made.
    pub fn undoes(&self, step: StepRef) -> bool {
        self.steps
            .get(step.step)
            .is_some_and(|it| it.attempt == step.attempt && matches!(it.undo, UndoAt::Running { .. }))
    }

    /// The step to undo next: the last one that is not undone yet.
    pub fn to_undo(&self) -> Option<usize> {
        let open = |it: &StepProgress| match &it.undo {
            UndoAt::Nothing
            | UndoAt::Ended(
                Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_),
            ) => false,
            UndoAt::Registered { .. }
            | UndoAt::Running { .. }
            | UndoAt::Ended(Ended::Failed(_) | Ended::Unknown(_)) => true,
        };
        if planted(Fault::UndoneInOrder) { self.steps.iter().position(open) } else { self.steps.iter().rposition(open) }
    }
}

impl StepLog {
    pub(super) fn begun(step: StepRef, name: &str, started: Time) -> StepLog {
        StepLog { step, name: name.to_owned(), started, ended: None, given_up: false, address: None, lease_end: None }
    }
}

impl StepAt {
    /// Where that is in the life of a step.
    pub const fn state(&self) -> StepState {
        match self {
            StepAt::Ready => StepState::Ready,
            StepAt::Running { .. } => StepState::Running,
            StepAt::Waiting { .. } => StepState::Waiting,
            StepAt::Ended(
                Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_),
            ) => StepState::Done,
            StepAt::Ended(Ended::Failed(_)) => StepState::Failed,
            StepAt::Ended(Ended::Unknown(_)) => StepState::Unknown,
            StepAt::PassedOver => StepState::PassedOver,
        }
    }
}

impl UndoAt {
    /// Where that is in the life of an undo.
    pub const fn state(&self) -> UndoState {
        match self {
            UndoAt::Nothing => UndoState::Nothing,
            UndoAt::Registered { doubtful: false } => UndoState::Registered,
            UndoAt::Registered { doubtful: true } => UndoState::Doubtful,
            UndoAt::Running { .. } => UndoState::Running,
            UndoAt::Ended(
                Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_),
            ) => UndoState::Done,
            UndoAt::Ended(Ended::Failed(_)) => UndoState::Failed,
            UndoAt::Ended(Ended::Unknown(_)) => UndoState::Unknown,
        }
    }
}

impl StepProgress {
    /// Moves its undo on, at a moment and with the words of whoever moves it, or says that it can't come now.
    pub(super) fn undo_moved(&mut self, input: UndoInput, at: Time, why: &str) -> Result<(), Illegal> {
        self.undo = match UndoLife::step(self.undo.state(), input)? {
            UndoState::Nothing => UndoAt::Nothing,
            UndoState::Registered => UndoAt::Registered { doubtful: false },
            UndoState::Doubtful => UndoAt::Registered { doubtful: true },
            UndoState::Running => UndoAt::Running { since: at },
            UndoState::Failed => UndoAt::Ended(Ended::Failed(why.to_owned())),
            UndoState::Unknown => UndoAt::Ended(Ended::Unknown(why.to_owned())),
            UndoState::Done => UndoAt::Ended(Ended::Done),
        };
        Ok(())
    }

    /// Moves on to `to`, where `input` leads, or says that it can't come now.
    pub(super) fn moved(&mut self, input: StepInput, to: StepAt) -> Result<(), Illegal> {
        let next = StepLife::step(self.at.state(), input)?;
        debug_assert_eq!(next, to.state(), "an input leads to one state");
        self.at = to;
        Ok(())
    }

    /// Whether it is over: done, or passed over because another fence holds.
    pub fn is_over(&self) -> bool {
        self.is_done() || self.at == StepAt::PassedOver
    }

    /// Whether it is over, and well.
    pub fn is_done(&self) -> bool {
        self.at == StepAt::Ended(Ended::Done)
    }
}

impl Recovery {
    /// The planned move that it is, if it is one.
    pub fn planned(&self) -> Option<&Planned> {
        match &self.cause {
            Cause::Planned(planned) => Some(planned),
            Cause::Failure => None,
        }
    }

    pub(super) fn planned_mut(&mut self) -> Option<&mut Planned> {
        match &mut self.cause {
            Cause::Planned(planned) => Some(planned),
            Cause::Failure => None,
        }
    }

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
            cause: Cause::Failure,
            scenario,
            rule: None,
            evidence: Vec::new(),
            classified: false,
            incident: None,
            evacuated: None,
            evacuations: Vec::new(),
            opened: Time::ZERO,
            first_failed,
            last_good,
            status: RecoveryStatus::FailureDetected,
            held: None,
            plan: String::new(),
            budget: None,
            over_budget: false,
            approved_by: BTreeSet::new(),
            paused: None,
            skip: None,
            given_up: BTreeSet::new(),
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
            fenced: Vec::new(),
            ended: None,
            lost_at_most: None,
            lost: None,
            completion: None,
        }
    }

    pub(super) fn at(mut self, id: RecoveryId, opened: Time) -> Recovery {
        self.id = id;
        self.opened = opened;
        self.account(opened, Phase::Detect);
        self
    }

    /// Where the clock of its objective starts.
    pub fn began(&self) -> Time {
        self.last_good.unwrap_or(self.first_failed)
    }

    /// When its budget is spent.
    pub fn due(&self) -> Option<Time> {
        self.budget.map(|it| self.began() + it)
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

    pub(super) fn step_mut(&mut self, step: usize) -> Option<&mut StepProgress> {
        self.progress.as_mut()?.steps.get_mut(step)
    }

    pub(super) fn give_up(&mut self, step: StepRef) {
        if let Some(log) = self.steps.iter_mut().rev().find(|it| it.step == step) {
            log.given_up = true;
        }
    }

    /// The agent was away while a step was being undone.
    pub(super) fn undo_interrupted(&mut self, at: Time, step: usize, repeatable: bool) {
        const WHY: &str = "the agent ended before the outcome was known";
        let input = if repeatable { UndoInput::InterruptedRepeatable } else { UndoInput::Interrupted };
        let Some(Ok(())) = self.step_mut(step).map(|it| it.undo_moved(input, at, WHY)) else { return };
        if let Some(log) = self.steps.last_mut() {
            log.ended = Some((at, Ended::Unknown(WHY.to_owned())));
        }
    }

    pub(super) fn log_end(&mut self, step: StepRef, at: Time, ended: Ended) {
        if let Some(log) = self.steps.iter_mut().rev().find(|it| it.step == step) {
            log.ended = Some((at, ended));
        }
    }

    pub(super) fn log_address(&mut self, step: StepRef, address: IpAddr) {
        if let Some(log) = self.steps.iter_mut().rev().find(|it| it.step == step) {
            log.address = Some(address);
        }
    }

    pub(super) fn log_lease_end(&mut self, step: StepRef, how: LeaseEnd) {
        if let Some(log) = self.steps.iter_mut().rev().find(|it| it.step == step) {
            log.lease_end = Some(how);
        }
    }

    /// A person has looked, and says whether the step that nobody knew about was done.
    pub(super) fn say_outcome(&mut self, done: bool) {
        let Some((WaitingOn::OutcomeUnknown { step, .. }, _)) = &self.held else { return };
        let step = step.step;
        let Some(stand) = self.step_mut(step) else { return };
        let (input, to) = match done {
            true => (StepInput::SaidDone, StepAt::Ended(Ended::Done)),
            false => (StepInput::SaidNotDone, StepAt::Ready),
        };
        if stand.moved(input, to).is_ok()
            && !done
            && stand.undo_moved(UndoInput::StepSaidNotDone, Time::ZERO, "").is_ok()
        {
            stand.round += 1;
        }
    }

    /// Goes on without what it waits for.
    pub(super) fn skip(&mut self, why: String) {
        let stuck = self.stuck_undo();
        if let Some(stand) = stuck.and_then(|it| self.step_mut(it)) {
            let _stuck = stand.undo_moved(UndoInput::Skipped, Time::ZERO, "");
        } else {
            self.skip = Some(why);
        }
        self.held = None;
    }

    /// Tries again what did not succeed, at once.
    pub(super) fn retry(&mut self) {
        let stuck = self.stuck_undo();
        if let Some(stand) = stuck.and_then(|it| self.step_mut(it)) {
            let _stuck = stand.undo_moved(UndoInput::Retried, Time::ZERO, "");
        } else {
            for stand in self.progress.iter_mut().flat_map(|it| &mut it.steps) {
                if StepLife::step(stand.at.state(), StepInput::Retried) == Ok(StepState::Ready) {
                    stand.at = StepAt::Ready;
                }
            }
        }
        self.held = None;
    }

    /// The undo that did not work, and that somebody has to look at.
    pub fn stuck_undo(&self) -> Option<usize> {
        let progress = self.progress.as_ref().filter(|it| it.rollback.is_some())?;
        let at = progress.to_undo()?;
        matches!(progress.steps[at].undo, UndoAt::Ended(_)).then_some(at)
    }

    pub(super) fn close(&mut self, at: Time) {
        self.phases = self.phases_at(at);
        self.mark = self.mark.max(at);
        self.ended = Some(at);
        self.held = None;
        self.cut = false;
    }
}
