//! What an operator can say.

use std::fmt;
use std::net::IpAddr;

use mainstay_plan::{InstanceIx, Plan, Time};
use serde::{Deserialize, Serialize};

use crate::breaker::Hold;
use crate::codec::time_nanos;
use crate::record::RecoveryId;
use crate::route::rules::RouteRule;

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
        /// Whose work it is, where that is not who said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
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
    /// Take a target, or all of a zone, off shared routes for a while.
    Drain {
        /// Which.
        what: Drained,
        /// It ends by itself then.
        #[serde(with = "time_nanos")]
        until: Time,
        /// Why.
        reason: String,
    },
    /// End a drain.
    Undrain {
        /// Of which.
        what: Drained,
    },
    /// Empty a zone or a region, as planned: components move out, targets leave shared routes, and nothing comes back by itself
    /// while it stands. Said again it changes how, or for how long, and tries once more what did not work.
    Evacuate {
        /// `ZONE`, `REGION/ZONE` or `REGION`.
        place: String,
        /// It ends by itself then; `None`: as it was said before, or after [`crate::evacuate::STANDS`].
        #[serde(with = "crate::codec::optional_time_nanos", default)]
        until: Option<Time>,
        /// Whether whoever takes over is waited for until it is in step; `None`: as before, or as the plan says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        graceful: Option<bool>,
        /// Why.
        reason: String,
    },
    /// End an evacuation: what has not begun does not begin any more.
    EndEvacuation {
        /// `ZONE`, `REGION/ZONE` or `REGION`.
        place: String,
        /// Why.
        reason: String,
    },
    /// Let the change of a route through that this rule holds back, once.
    RouteOverride {
        /// The route.
        route: String,
        /// The rule.
        rule: RouteRule,
        /// Why.
        reason: String,
    },
    /// Stop all action at once.
    Halt {
        /// Why.
        reason: String,
    },
    /// Go on after a halt.
    Continue {
        /// Why.
        reason: String,
    },
    /// Take approvals in advance back.
    Revoke {
        /// The component.
        component: String,
    },
    /// Take a displaced instance as a standby again, or one that somebody else has made active as the component; or say where
    /// an instance is now.
    Adopt {
        /// The instance.
        instance: String,
        /// As what; where it is not said, as what it says itself: active, or a standby.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<AdoptAs>,
        /// As the component although it does not say that it is active.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anyway: bool,
        /// Although nothing makes sure that the old owner writes no more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        two_writers: bool,
        /// Where it is now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        /// Why.
        reason: String,
    },
    /// Repair a displaced instance now, as the plan says.
    Repair {
        /// The instance.
        instance: String,
        /// Although nothing shows that it takes no writes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        two_writers: bool,
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

/// As what an instance is adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptAs {
    /// It is the component from here on.
    Active,
    /// It can take over again.
    Standby,
}

impl AdoptAs {
    /// Both.
    pub const ALL: [AdoptAs; 2] = [AdoptAs::Active, AdoptAs::Standby];

    /// The word for it on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            AdoptAs::Active => "active",
            AdoptAs::Standby => "standby",
        }
    }
}

/// What is drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drained {
    /// One instance.
    Instance(String),
    /// Every instance of a zone, written `ZONE` or `REGION/ZONE`.
    Zone(String),
}

impl Drained {
    /// Whether an instance is one of them.
    pub fn covers(&self, plan: &Plan, ix: InstanceIx) -> bool {
        let it = plan.instance(ix);
        match self {
            Drained::Instance(name) => it.name == *name,
            Drained::Zone(name) => it.location.zone.as_ref().is_some_and(|zone| {
                let full = name.split_once('/').is_some_and(|(region, of)| it.location.region == region && of == zone);
                zone == name || full
            }),
        }
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Drained::Instance(name) => f.write_str(name),
            Drained::Zone(name) => write!(f, "zone {name}"),
        }
    }
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
    /// Act although too few signals say that it is down.
    Signals,
    /// Act although more of the site would be down or moved than the plan allows.
    BlastRadius,
    /// Act although many recoveries have begun a short while ago.
    StormBrake,
    /// Move a route although a gate of it is not healthy, or it changed a short while ago.
    RouteRules,
    /// Act although another agent may have the lease.
    Lease,
    /// Act although too few agents see it down.
    Observers,
    /// Act although somebody else has made another instance active.
    SomeoneElse,
    /// Restart although it was restarted too often.
    CrashLoop,
}

impl Override {
    /// All of them.
    pub const ALL: [Override; 17] = [
        Override::Witnesses,
        Override::Correlation,
        Override::Turn,
        Override::Capacity,
        Override::Dependency,
        Override::ObserveMode,
        Override::CoolDown,
        Override::JournalLost,
        Override::Rpo,
        Override::Signals,
        Override::BlastRadius,
        Override::StormBrake,
        Override::RouteRules,
        Override::Lease,
        Override::Observers,
        Override::SomeoneElse,
        Override::CrashLoop,
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
            Override::Signals => "signals",
            Override::BlastRadius => "blast-radius",
            Override::StormBrake => "storm-brake",
            Override::RouteRules => "route-rules",
            Override::Lease => "lease",
            Override::Observers => "observers",
            Override::SomeoneElse => "someone-else",
            Override::CrashLoop => "crash-loop",
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
    /// A drain that a rule of a route forbids.
    #[error("route `{route}` does not let `{what}` go: {objection}")]
    RouteRule {
        /// The route.
        route: String,
        /// What should be drained.
        what: String,
        /// Why not, a sentence.
        objection: String,
    },
    /// Nothing of a shared route.
    #[error("`{what}` is no target of a shared route; an exclusive one changes hands by a switch of its component")]
    NotDrainable {
        /// What should be drained.
        what: String,
    },
    /// No such drain.
    #[error("`{what}` is not drained; see `mainstay status`")]
    NotDrained {
        /// What.
        what: String,
    },
    /// No such evacuation.
    #[error("`{place}` is not being evacuated; see `mainstay status`")]
    NotEvacuated {
        /// What.
        place: String,
    },
    /// The rule holds nothing back.
    #[error("`{rule}` of route `{route}` holds nothing back at the moment; see `mainstay status`")]
    NothingHeld {
        /// The route.
        route: String,
        /// The rule.
        rule: &'static str,
    },
    /// All action is stopped already.
    #[error("all action is stopped already, by {by}: {reason}; `mainstay continue` goes on")]
    Halted {
        /// Who stopped it.
        by: String,
        /// Why.
        reason: String,
    },
    /// Nothing is stopped.
    #[error("action is not stopped; see `mainstay status`")]
    NotHalted,
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
    /// A recovery does something with the instance at the moment.
    #[error("{recovery} is under way and may move `{instance}` itself: {waiting}")]
    InUse {
        /// The instance.
        instance: String,
        /// The recovery.
        recovery: RecoveryId,
        /// What it waits for.
        waiting: String,
    },
    /// The instance is known to be there.
    #[error("`{instance}` is known to be at {address} already")]
    IsThere {
        /// The instance.
        instance: String,
        /// Where.
        address: IpAddr,
    },
    /// The instance can't be adopted as the component now.
    #[error("`{instance}` can't be adopted as `{component}` now: {missing}; see `mainstay status {component}`")]
    NotAdoptable {
        /// The component.
        component: String,
        /// The instance.
        instance: String,
        /// What is missing.
        missing: String,
    },
    /// The instance can't be repaired now.
    #[error("`{instance}` can't be repaired now: {why}")]
    NotRepairable {
        /// The instance.
        instance: String,
        /// Why, with what helps.
        why: String,
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
            Refusal::NotRepairable { .. } => "not_repairable",
            Refusal::InUse { .. } => "in_use",
            Refusal::IsThere { .. } => "is_there",
            Refusal::NotAdoptable { .. } => "not_adoptable",
            Refusal::RouteRule { .. } => "route_rule",
            Refusal::NotDrainable { .. } => "not_drainable",
            Refusal::NotDrained { .. } => "not_drained",
            Refusal::NotEvacuated { .. } => "not_evacuated",
            Refusal::NothingHeld { .. } => "nothing_held",
            Refusal::Halted { .. } => "halted",
            Refusal::NotHalted => "not_halted",
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
            Refusal::Unknown { .. }
            | Refusal::NotDown { .. }
            | Refusal::NotPaused
            | Refusal::NotDisplaced { .. }
            | Refusal::NotRepairable { .. }
            | Refusal::IsThere { .. }
            | Refusal::RouteRule { .. }
            | Refusal::NotDrainable { .. }
            | Refusal::NotDrained { .. }
            | Refusal::NotEvacuated { .. }
            | Refusal::NothingHeld { .. }
            | Refusal::NotHalted
            | Refusal::NotAllowed { .. }
            | Refusal::NoApprovalAsked { .. }
            | Refusal::NothingToRevoke { .. } => "mainstay status".to_owned(),
            Refusal::Halted { .. } => "mainstay continue".to_owned(),
            Refusal::NotWhole { component, .. } | Refusal::NotAdoptable { component, .. } => {
                format!("mainstay status {component}")
            }
            Refusal::ApprovedAlready { recovery, .. } | Refusal::NothingTo { recovery, .. } => {
                format!("mainstay recoveries show {recovery}")
            }
            Refusal::NotOpen { .. } => "mainstay recoveries".to_owned(),
            Refusal::NothingStands { .. } => "mainstay notices".to_owned(),
            Refusal::NotWaiting { recovery, .. } | Refusal::InUse { recovery, .. } => {
                format!("mainstay recoveries show {recovery}")
            }
            Refusal::OwnerMissing { .. } => "mainstay journal show --kind bound".to_owned(),
        }
    }
}
