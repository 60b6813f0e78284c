//! What an operator can say.

use mainstay_plan::Time;
use serde::{Deserialize, Serialize};

use crate::breaker::Hold;
use crate::codec::time_nanos;
use crate::record::RecoveryId;

/// An operator's order. It is recorded with who gave it, then it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Recover a component that is down now, without waiting for the cool-down.
    Recover {
        /// The component.
        component: String,
        /// Why.
        reason: String,
    },
    /// Let a recovery go on: answer its question, overrule guards, or say how a step ended.
    Approve {
        /// The recovery.
        recovery: RecoveryId,
        /// Guards that are overruled for this recovery.
        overrides: Vec<Override>,
        /// Whether the step whose outcome is unknown was done.
        outcome: Option<bool>,
        /// Why.
        reason: String,
    },
    /// End a recovery where it stands.
    Abort {
        /// The recovery.
        recovery: RecoveryId,
        /// Why.
        reason: String,
    },
    /// Hold all recoveries (of one component, or all) back for a while: maintenance.
    Pause {
        /// `None`: all components.
        component: Option<String>,
        /// It ends by itself then.
        #[serde(with = "time_nanos")]
        until: Time,
        /// Why.
        reason: String,
    },
    /// End a pause.
    Resume {
        /// `None`: the pause of all components.
        component: Option<String>,
    },
    /// Move a component to another of its instances, as planned. While a graceful move runs, an ungraceful one to the same
    /// instance lets it go on without waiting until that is in step.
    Switch {
        /// The component.
        component: String,
        /// The instance that shall be it.
        to: String,
        /// Whether that is waited for until it is in step.
        graceful: bool,
        /// Why.
        reason: String,
    },
    /// Move a component back to the instance that it began with, as planned.
    Failback {
        /// The component.
        component: String,
        /// Why.
        reason: String,
    },
    /// Say by hand whether actions that need a control plane are tried.
    Breaker {
        /// The service.
        service: String,
        /// The region; `None`: in every region.
        region: Option<String>,
        /// How it shall be.
        hold: Hold,
        /// Why.
        reason: String,
    },
    /// Hold one recovery before its next step.
    PauseRecovery {
        /// The recovery.
        recovery: RecoveryId,
        /// Why.
        reason: String,
    },
    /// Let it go on.
    ResumeRecovery {
        /// The recovery.
        recovery: RecoveryId,
    },
    /// Go on without what a recovery waits for: an undo that did not work, a manual step, or the rung.
    Skip {
        /// The recovery.
        recovery: RecoveryId,
        /// Why.
        reason: String,
    },
    /// Try again, at once: a step, an undo, or the whole ladder of a recovery that failed.
    Retry {
        /// The recovery.
        recovery: RecoveryId,
        /// Why.
        reason: String,
    },
    /// Approve the next recovery of a component, should one be needed while nobody can be asked.
    ApproveInAdvance {
        /// The component.
        component: String,
        /// It counts until then.
        #[serde(with = "time_nanos")]
        until: Time,
        /// Why.
        reason: String,
    },
    /// Take approvals in advance back.
    Revoke {
        /// The component.
        component: String,
    },
    /// Take a displaced instance as a standby again.
    Adopt {
        /// The instance.
        instance: String,
        /// Why.
        reason: String,
    },
    /// A person has seen it: it is neither repeated nor escalated any more.
    Acknowledge {
        /// A notice (`n17`), a recovery (`r17`), or a component.
        what: String,
        /// Why, or what is done about it.
        reason: String,
    },
}

/// A guard that an operator can overrule for one recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Override {
    /// Act although too few witnesses answered.
    Witnesses,
    /// Act although it is not known yet whether more failed than this instance.
    Correlation,
    /// Act although others of the evacuation are before it.
    Turn,
    /// Take over although the evacuation says that there is no room.
    Capacity,
    /// Act although what it depends on is not healthy.
    Dependency,
    /// Act although the mode is `observe`.
    ObserveMode,
    /// Act although the cool-down is not over.
    CoolDown,
    /// Act although the journal can't be written.
    JournalLost,
    /// Accept that more data may be lost than the objective says.
    Rpo,
    /// Act although another agent may have the lease.
    Lease,
    /// Act although too few agents see it down.
    Observers,
}

impl Override {
    /// All of them.
    pub const ALL: [Override; 11] = [
        Override::Witnesses,
        Override::Correlation,
        Override::Turn,
        Override::Capacity,
        Override::Dependency,
        Override::ObserveMode,
        Override::CoolDown,
        Override::JournalLost,
        Override::Rpo,
        Override::Lease,
        Override::Observers,
    ];

    /// The word for it on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Override::Witnesses => "witnesses",
            Override::Correlation => "correlation",
            Override::Turn => "turn",
            Override::Capacity => "capacity",
            Override::Dependency => "dependency",
            Override::ObserveMode => "observe-mode",
            Override::CoolDown => "cool-down",
            Override::JournalLost => "journal-lost",
            Override::Rpo => "rpo",
            Override::Lease => "lease",
            Override::Observers => "observers",
        }
    }
}

/// Why a command was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing of that name in the plan.
    #[error("there is no {what} `{name}` in the plan; there are: {known}")]
    Unknown {
        /// `component` or `instance`.
        what: &'static str,
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
    /// The component works.
    #[error("`{component}` is {health}, there is nothing to recover; see `mainstay status`")]
    NotDown {
        /// The component.
        component: String,
        /// Its health.
        health: &'static str,
    },
    /// No such recovery is open.
    #[error("recovery {recovery} is not open; `mainstay recoveries` lists them")]
    NotOpen {
        /// The recovery.
        recovery: RecoveryId,
    },
    /// Nothing waits for this answer.
    #[error("recovery {recovery} does not wait for that: {waiting}")]
    NotWaiting {
        /// The recovery.
        recovery: RecoveryId,
        /// What it waits for.
        waiting: String,
    },
    /// A plan without the instance that is the component now.
    #[error(
        "`{component}` is `{owner}` now, and the plan has no such instance of it: keep `{owner}` in the plan, under that name"
    )]
    OwnerMissing {
        /// The component.
        component: String,
        /// The instance that it is bound to.
        owner: String,
    },
    /// A planned move is not possible now.
    #[error("`{component}` can't be switched to `{to}` now: {missing}; see `mainstay status {component}`")]
    NotWhole {
        /// The component.
        component: String,
        /// The instance.
        to: String,
        /// What is missing.
        missing: String,
    },
    /// Another role is asked for.
    #[error("`{by}` may not answer this: it takes the role `{role}`, which {who} (`people` in the plan)")]
    NotAllowed {
        /// Who asked.
        by: String,
        /// The role.
        role: String,
        /// Who has it.
        who: String,
    },
    /// The same person again.
    #[error("`{by}` has approved {recovery} already; {need} different people must, and {given} did")]
    ApprovedAlready {
        /// Who asked.
        by: String,
        /// The recovery.
        recovery: RecoveryId,
        /// How many are needed.
        need: u32,
        /// How many there are.
        given: usize,
    },
    /// The component's recoveries ask nobody.
    #[error("recoveries of `{component}` ask for no approval, so there is none to give")]
    NoApprovalAsked {
        /// The component.
        component: String,
    },
    /// There is no approval in advance.
    #[error("nobody has approved a recovery of `{component}` in advance; see `mainstay status`")]
    NothingToRevoke {
        /// The component.
        component: String,
    },
    /// The recovery has nothing of the kind.
    #[error("recovery {recovery} has nothing to {verb} now: {waiting}")]
    NothingTo {
        /// The recovery.
        recovery: RecoveryId,
        /// `skip`, `retry`, `resume`.
        verb: &'static str,
        /// What it waits for, and what helps.
        waiting: String,
    },
    /// Nothing is paused.
    #[error("nothing is paused there; see `mainstay status`")]
    NotPaused,
    /// Nothing of that name stands.
    #[error("there is nothing to acknowledge about `{what}`; `mainstay notices` lists what stands")]
    NothingStands {
        /// What was meant.
        what: String,
    },
    /// The instance is not displaced.
    #[error("`{instance}` is {state}, there is nothing to adopt")]
    NotDisplaced {
        /// The instance.
        instance: String,
        /// Its state.
        state: &'static str,
    },
}

impl Refusal {
    /// Stable, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::Unknown { .. } => "unknown_name",
            Refusal::NotDown { .. } => "not_down",
            Refusal::NotOpen { .. } => "not_open",
            Refusal::NotWaiting { .. } => "not_waiting",
            Refusal::OwnerMissing { .. } => "owner_missing",
            Refusal::NotWhole { .. } => "not_whole",
            Refusal::NotPaused => "not_paused",
            Refusal::NotDisplaced { .. } => "not_displaced",
            Refusal::NothingStands { .. } => "nothing_stands",
            Refusal::NotAllowed { .. } => "not_allowed",
            Refusal::ApprovedAlready { .. } => "approved_already",
            Refusal::NoApprovalAsked { .. } => "no_approval_asked",
            Refusal::NothingToRevoke { .. } => "nothing_to_revoke",
            Refusal::NothingTo { .. } => "nothing_to_do",
        }
    }

    /// The command that shows what could be said instead.
    pub fn way_out(&self) -> String {
        match self {
            Refusal::Unknown { .. } | Refusal::NotDown { .. } | Refusal::NotPaused | Refusal::NotDisplaced { .. } => {
                "mainstay status".to_owned()
            }
            Refusal::NotWhole { component, .. } => format!("mainstay status {component}"),
            Refusal::NotAllowed { .. } | Refusal::NoApprovalAsked { .. } | Refusal::NothingToRevoke { .. } => {
                "mainstay status".to_owned()
            }
            Refusal::ApprovedAlready { recovery, .. } | Refusal::NothingTo { recovery, .. } => {
                format!("mainstay recoveries show {recovery}")
            }
            Refusal::NotOpen { .. } => "mainstay recoveries".to_owned(),
            Refusal::NothingStands { .. } => "mainstay notices".to_owned(),
            Refusal::NotWaiting { recovery, .. } => format!("mainstay recoveries show {recovery}"),
            Refusal::OwnerMissing { .. } => "mainstay journal show --kind bound".to_owned(),
        }
    }
}
