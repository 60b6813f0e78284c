//! Why nothing is being done: a closed list, because *not acting is a result with a reason*.
//!
//! Every reason can say what it waits for, what ends the wait, and which command overrules it.

use std::fmt;
use std::time::Duration;

use mainstay_plan::Time;
use serde::{Deserialize, Serialize};

use crate::codec::time_nanos;
use crate::command::Override;
use crate::elsewhere;
use crate::record::{RecoveryId, StepRef};
use crate::route::rules::Objection;

/// What a recovery waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingOn {
    /// Too few witnesses have answered since the first failed observation: we may be the broken part.
    Witnesses {
        /// How many are needed.
        need: usize,
        /// Which of them are asked.
        of: Vec<String>,
    },
    /// An operator has stopped all action.
    Halted {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator has paused recoveries.
    Paused {
        /// Of this component alone; `None`: of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<String>,
        /// Until when, unless resumed before.
        #[serde(with = "time_nanos")]
        until: Time,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Whose work it is held back for, where that is somebody else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
    },
    /// The journal knows of no routing table, and a traffic process has not said yet whether it has one: the journal may be
    /// new, and someone else the owner.
    Traffic {},
    /// Somebody else has made another instance active.
    SomeoneElse {
        /// Who says that it is active; more than one are two writers.
        active: Vec<String>,
        /// Who of them is not the component.
        instance: String,
        /// What is known of each of them.
        evidence: Vec<String>,
    },
    /// It is not known yet whether more failed than this instance: its neighbours, or what it depends on, were asked.
    Correlation {
        /// Whose word is awaited: a zone, a region, or an instance that it depends on.
        of: String,
        /// After this it counts as a failure of its own.
        #[serde(with = "time_nanos")]
        until: Time,
    },
    /// It is part of an evacuation, and others go first.
    Turn {
        /// The evacuation.
        evacuation: String,
        /// How many go at the same time.
        at_once: u32,
    },
    /// What it depends on is being recovered first.
    Dependency {
        /// The component that it depends on.
        component: String,
    },
    /// The mode is `observe`: nothing is ever done.
    ObserveMode {},
    /// The recovery before ended a short while ago.
    CoolDown {
        /// Until when.
        #[serde(with = "time_nanos")]
        until: Time,
    },
    /// Too few signals of different kinds say that it is down.
    Signals {
        /// How many are needed.
        need: u32,
    },
    /// A person has to look before the next recovery.
    Acknowledgement {
        /// The component.
        component: String,
        /// Why.
        why: Unacknowledged,
    },
    /// After it, more of the site would be down or moved than the plan allows.
    BlastRadius {
        /// How many components.
        would_be: usize,
        /// Of how many.
        of: usize,
        /// How many may be.
        allowed: usize,
    },
    /// As many recoveries have begun as the plan lets begin within a time.
    StormBrake {
        /// How many may.
        at_most: u32,
        /// In which time.
        within_ns: u64,
        /// When the next one may.
        #[serde(with = "time_nanos")]
        until: Time,
    },
    /// A rule of a route keeps it from being moved.
    Route {
        /// The route.
        route: String,
        /// Which, and why.
        objection: Objection,
    },
    /// A person must approve.
    Approval {
        /// When the question expires; `None`: it stands for ever (mode `recommend`).
        #[serde(with = "crate::codec::optional_time_nanos")]
        expires: Option<Time>,
        /// How many different people must.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        need: u32,
        /// Who did.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        given: Vec<String>,
        /// The role that it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// An operator has paused this recovery before its next step.
    RecoveryPaused {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A person is asked to do something.
    Manual {
        /// The step.
        step: StepRef,
        /// Its name.
        name: String,
        /// What is asked.
        ask: String,
        /// The role that it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// After this the plan says what becomes of it.
        #[serde(with = "time_nanos")]
        until: Time,
    },
    /// A step is tried again, but not at once.
    Retry {
        /// The step.
        step: StepRef,
        /// Its name.
        name: String,
        /// When.
        #[serde(with = "time_nanos")]
        until: Time,
    },
    /// What a rung did could not be undone, or it is not known.
    UndoFailed {
        /// The step.
        step: StepRef,
        /// What was to be done.
        name: String,
        /// Why it was not.
        why: String,
    },
    /// The journal can't be written, and the plan does not let this go on without it.
    JournalLost {},
    /// No rung of the ladder is possible now.
    NoRungPossible {
        /// For each rung, why not.
        reasons: Vec<String>,
        /// What an operator could overrule to make one possible.
        #[serde(default)]
        overrules: Vec<Override>,
    },
    /// Every rung that is left needs a control plane that is known to be down.
    ControlPlane {
        /// The service.
        service: String,
        /// The region.
        region: String,
        /// Since when, and who says so.
        why: String,
        /// When it is tried again; `None`: an operator holds it back.
        #[serde(with = "crate::codec::optional_time_nanos")]
        until: Option<Time>,
    },
    /// Nothing is left but a restart of an instance that was restarted too often of late.
    CrashLoop {
        /// The instance.
        instance: String,
        /// How often it was restarted.
        restarts: u32,
        /// Within which time.
        within_ns: u64,
        /// For each other rung, why not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<String>,
        /// When it may be restarted again.
        #[serde(with = "time_nanos")]
        until: Time,
    },
    /// An instance has to be observed before anything that can't be taken back.
    Observation {
        /// The instance.
        instance: String,
        /// After this a standby is passed over; `None`: nothing is done before it was observed.
        #[serde(with = "crate::codec::optional_time_nanos")]
        until: Option<Time>,
    },
    /// It is not known whether a step that may be done only once was done.
    OutcomeUnknown {
        /// The step.
        step: StepRef,
        /// Its name.
        name: String,
    },
    /// Too few agents see it down, or one sees it healthy.
    Observers {
        /// How many must see it down.
        need: usize,
        /// How many do, this one among them.
        have: usize,
        /// How many agents there are.
        of: usize,
        /// Who sees it healthy.
        healthy: Vec<String>,
    },
    /// Another agent may decide, and this one does not hold the lease.
    Lease {
        /// Who holds it, if that is known.
        leader: Option<String>,
        /// Whether the store can't be reached.
        alone: bool,
    },
    /// A routing step is being done, and these traffic processes have not said that they have done it.
    Acknowledgements {
        /// The step.
        step: StepRef,
        /// Its name.
        name: String,
        /// The processes that are missing.
        missing: Vec<String>,
        /// After this it has timed out.
        #[serde(with = "time_nanos")]
        until: Time,
    },
    /// A step is being done.
    Step {
        /// The step.
        step: StepRef,
        /// Its name.
        name: String,
        /// After this it has timed out.
        #[serde(with = "time_nanos")]
        until: Time,
    },
}

/// A round duration as a plan says it.
pub(crate) fn plainly(span: Duration) -> String {
    match span.as_secs() {
        secs if secs > 0 && secs.is_multiple_of(3600) => format!("{}h", secs / 3600),
        secs if secs > 0 && secs.is_multiple_of(60) => format!("{}m", secs / 60),
        _ => format!("{span:?}"),
    }
}

/// Why a person has to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unacknowledged {
    /// The recovery before failed, and the plan asks for a person then.
    Failed {
        /// That recovery.
        recovery: RecoveryId,
    },
    /// It was recovered so often that it will fail again.
    Flapping {
        /// How often.
        times: u32,
        /// Within which time.
        within_ns: u64,
    },
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_one(need: &u32) -> bool {
    *need == 1
}

impl WaitingOn {
    /// Stable, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            WaitingOn::Halted { .. } => "halted",
            WaitingOn::Signals { .. } => "signals",
            WaitingOn::Acknowledgement { .. } => "acknowledgement",
            WaitingOn::BlastRadius { .. } => "blast_radius",
            WaitingOn::StormBrake { .. } => "storm_brake",
            WaitingOn::Route { .. } => "route_rule",
            WaitingOn::Witnesses { .. } => "witnesses",
            WaitingOn::Paused { .. } => "paused",
            WaitingOn::Traffic {} => "traffic",
            WaitingOn::SomeoneElse { .. } => "someone_else",
            WaitingOn::Correlation { .. } => "correlation",
            WaitingOn::Turn { .. } => "turn",
            WaitingOn::Dependency { .. } => "dependency",
            WaitingOn::ObserveMode {} => "observe_mode",
            WaitingOn::CoolDown { .. } => "cool_down",
            WaitingOn::Approval { .. } => "approval",
            WaitingOn::JournalLost {} => "journal_lost",
            WaitingOn::NoRungPossible { .. } => "no_rung_possible",
            WaitingOn::ControlPlane { .. } => "control_plane",
            WaitingOn::CrashLoop { .. } => "crash_loop",
            WaitingOn::Observation { .. } => "observation",
            WaitingOn::OutcomeUnknown { .. } => "outcome_unknown",
            WaitingOn::Observers { .. } => "observers",
            WaitingOn::Lease { .. } => "lease",
            WaitingOn::Acknowledgements { .. } => "acknowledgements",
            WaitingOn::Step { .. } => "step",
            WaitingOn::RecoveryPaused { .. } => "recovery_paused",
            WaitingOn::Manual { .. } => "manual",
            WaitingOn::Retry { .. } => "retry",
            WaitingOn::UndoFailed { .. } => "undo_failed",
        }
    }

    /// When the wait ends by itself, if time ends it.
    pub const fn until(&self) -> Option<Time> {
        match self {
            WaitingOn::Paused { until, .. }
            | WaitingOn::Correlation { until, .. }
            | WaitingOn::CoolDown { until }
            | WaitingOn::StormBrake { until, .. }
            | WaitingOn::CrashLoop { until, .. }
            | WaitingOn::Manual { until, .. }
            | WaitingOn::Retry { until, .. }
            | WaitingOn::Acknowledgements { until, .. }
            | WaitingOn::Step { until, .. } => Some(*until),
            WaitingOn::Route { objection, .. } => objection.until(),
            WaitingOn::Approval { expires: until, .. }
            | WaitingOn::Observation { until, .. }
            | WaitingOn::ControlPlane { until, .. } => *until,
            WaitingOn::Witnesses { .. }
            | WaitingOn::Halted { .. }
            | WaitingOn::Signals { .. }
            | WaitingOn::Acknowledgement { .. }
            | WaitingOn::BlastRadius { .. }
            | WaitingOn::Traffic {}
            | WaitingOn::SomeoneElse { .. }
            | WaitingOn::Turn { .. }
            | WaitingOn::Dependency { .. }
            | WaitingOn::ObserveMode {}
            | WaitingOn::JournalLost {}
            | WaitingOn::NoRungPossible { .. }
            | WaitingOn::RecoveryPaused { .. }
            | WaitingOn::UndoFailed { .. }
            | WaitingOn::Lease { .. }
            | WaitingOn::Observers { .. }
            | WaitingOn::OutcomeUnknown { .. } => None,
        }
    }

    /// Whether it is the same wait, though its numbers may have moved on: that is no news for the journal. Who asks is told
    /// the numbers of the moment.
    pub fn is_same(&self, other: &WaitingOn) -> bool {
        match (self, other) {
            (WaitingOn::BlastRadius { .. }, WaitingOn::BlastRadius { .. })
            | (WaitingOn::StormBrake { .. }, WaitingOn::StormBrake { .. }) => true,
            (_, _) => self == other,
        }
    }

    /// What ends the wait.
    pub fn ends_when(&self) -> String {
        match self {
            WaitingOn::Halted { .. } => "someone says that it goes on".to_owned(),
            WaitingOn::Signals { need } => format!("{need} probes of different kinds find it down, or it is healthy"),
            WaitingOn::Acknowledgement { .. } => "a person has looked, and says so".to_owned(),
            WaitingOn::BlastRadius { allowed, .. } => {
                format!("no more than {allowed} would be: others are healthy again, or what was displaced is adopted")
            }
            WaitingOn::StormBrake { .. } => "an earlier beginning is long enough ago".to_owned(),
            WaitingOn::Route { objection, .. } => objection.ends_when(),
            WaitingOn::Witnesses { need, of } => format!("{need} of {} answer a new question", of.join(", ")),
            WaitingOn::Paused { .. } => "the pause expires or is ended".to_owned(),
            WaitingOn::Traffic {} => "every traffic process says what it serves".to_owned(),
            WaitingOn::SomeoneElse { instance, .. } => {
                format!(
                    "`{instance}` is adopted, or says that it is a standby, or is down; or somebody who knows better says \
                     `mainstay approve rN --override someone-else`"
                )
            }
            WaitingOn::Turn { .. } => "a recovery before it ends, or can't go on".to_owned(),
            WaitingOn::Correlation { of, .. } => format!("`{of}` answers or is down, or the window is over"),
            WaitingOn::Dependency { component } => format!("`{component}` is healthy"),
            WaitingOn::ObserveMode {} => "the plan's mode is `act` or `recommend`".to_owned(),
            WaitingOn::CoolDown { .. } => "the cool-down is over".to_owned(),
            WaitingOn::Approval { expires, need, given, role } => {
                let left = (*need as usize).saturating_sub(given.len());
                let who = role.as_ref().map(|it| format!(" with the role `{it}`")).unwrap_or_default();
                let who = match (left, given.is_empty()) {
                    (..=1, true) if who.is_empty() => "someone approves it".to_owned(),
                    (..=1, true) => format!("someone{who} approves it"),
                    (..=1, false) => format!("one more person{who} approves it"),
                    (left, true) => format!("{left} different people{who} approve it"),
                    (left, false) => format!("{left} more people{who} approve it"),
                };
                if expires.is_some() { format!("{who}, or the question expires") } else { who }
            }
            WaitingOn::RecoveryPaused { .. } => "someone resumes it".to_owned(),
            WaitingOn::Manual { role: None, .. } => "someone says that it is done, or the time is over".to_owned(),
            WaitingOn::Manual { role: Some(role), .. } => {
                format!("someone with the role `{role}` says that it is done, or the time is over")
            }
            WaitingOn::Retry { .. } => "the time has come".to_owned(),
            WaitingOn::UndoFailed { .. } => {
                "someone has undone it by hand and says so, or lets it be tried again".to_owned()
            }
            WaitingOn::JournalLost {} => "the agent is started again with a journal that can be written".to_owned(),
            WaitingOn::NoRungPossible { .. } => "a rung becomes possible, or the component is healthy again".to_owned(),
            WaitingOn::ControlPlane { until: Some(_), .. } => "it works again, or is tried again".to_owned(),
            WaitingOn::ControlPlane { until: None, .. } => "someone lets it be tried".to_owned(),
            WaitingOn::CrashLoop { .. } => {
                "it may be restarted again, somebody has looked and says so, or another rung becomes possible"
                    .to_owned()
            }
            WaitingOn::Observation { instance, .. } => format!("`{instance}` has been observed"),
            WaitingOn::OutcomeUnknown { .. } => "someone says whether the step was done".to_owned(),
            WaitingOn::Observers { need, .. } => format!("{need} agents see it down, and none healthy"),
            WaitingOn::Lease { .. } => "this agent is granted the lease, or the component is healthy again".to_owned(),
            WaitingOn::Acknowledgements { .. } => {
                "they acknowledge, or a silent one has cut its routes by itself".to_owned()
            }
            WaitingOn::Step { .. } => "the step ends".to_owned(),
        }
    }

    /// Whether it is a person that is waited for, so that nothing is done meanwhile.
    pub const fn is_for_people(&self) -> bool {
        match self {
            WaitingOn::Halted { .. }
            | WaitingOn::Acknowledgement { .. }
            | WaitingOn::Paused { .. }
            | WaitingOn::ObserveMode {}
            | WaitingOn::Approval { .. }
            | WaitingOn::NoRungPossible { .. }
            | WaitingOn::CrashLoop { .. }
            | WaitingOn::OutcomeUnknown { .. }
            | WaitingOn::RecoveryPaused { .. }
            | WaitingOn::Manual { .. }
            | WaitingOn::SomeoneElse { .. }
            | WaitingOn::UndoFailed { .. } => true,
            WaitingOn::Signals { .. }
            | WaitingOn::BlastRadius { .. }
            | WaitingOn::StormBrake { .. }
            | WaitingOn::Route { .. }
            | WaitingOn::Witnesses { .. }
            | WaitingOn::Traffic {}
            | WaitingOn::Correlation { .. }
            | WaitingOn::Turn { .. }
            | WaitingOn::Dependency { .. }
            | WaitingOn::CoolDown { .. }
            | WaitingOn::JournalLost {}
            | WaitingOn::ControlPlane { .. }
            | WaitingOn::Observation { .. }
            | WaitingOn::Observers { .. }
            | WaitingOn::Lease { .. }
            | WaitingOn::Acknowledgements { .. }
            | WaitingOn::Step { .. }
            | WaitingOn::Retry { .. } => false,
        }
    }

    /// The command that overrules it.
    pub fn way_out(&self, recovery: RecoveryId) -> String {
        match self {
            WaitingOn::Halted { .. } => "mainstay continue".to_owned(),
            WaitingOn::Signals { .. } => format!("mainstay approve {recovery} --override signals"),
            WaitingOn::Acknowledgement { component, .. } => format!("mainstay acknowledge {component}"),
            WaitingOn::BlastRadius { .. } => format!("mainstay approve {recovery} --override blast-radius"),
            WaitingOn::StormBrake { .. } => format!("mainstay approve {recovery} --override storm-brake"),
            WaitingOn::Route { .. } => format!("mainstay approve {recovery} --override route-rules"),
            WaitingOn::Witnesses { .. } => format!("mainstay approve {recovery} --override witnesses"),
            WaitingOn::Paused { component: Some(component), .. } => format!("mainstay resume {component}"),
            WaitingOn::Paused { component: None, .. } => "mainstay resume".to_owned(),
            WaitingOn::Correlation { .. } => format!("mainstay approve {recovery} --override correlation"),
            WaitingOn::Turn { .. } => format!("mainstay approve {recovery} --override turn"),
            WaitingOn::SomeoneElse { instance, .. } => elsewhere::way_out(instance),
            WaitingOn::Dependency { .. } => format!("mainstay approve {recovery} --override dependency"),
            WaitingOn::Observers { .. } => format!("mainstay approve {recovery} --override observers"),
            WaitingOn::Lease { .. } => format!("mainstay approve {recovery} --override lease"),
            WaitingOn::ObserveMode {} => format!("mainstay approve {recovery} --override observe-mode"),
            WaitingOn::CoolDown { .. } => format!("mainstay approve {recovery} --override cool-down"),
            WaitingOn::Approval { .. } => format!("mainstay approve {recovery}"),
            WaitingOn::Traffic {} | WaitingOn::JournalLost {} => {
                format!("mainstay approve {recovery} --override journal-lost")
            }
            WaitingOn::NoRungPossible { overrules, .. } if overrules.is_empty() => format!("mainstay abort {recovery}"),
            WaitingOn::NoRungPossible { overrules, .. } => {
                let overrides: String = overrules.iter().map(|it| format!(" --override {}", it.word())).collect();
                format!("mainstay approve {recovery}{overrides}")
            }
            WaitingOn::OutcomeUnknown { .. } => format!("mainstay approve {recovery} --outcome done|not-done"),
            WaitingOn::ControlPlane { service, region, .. } => {
                format!("mainstay breaker {service} closed --region {region}")
            }
            WaitingOn::CrashLoop { .. } => format!("mainstay approve {recovery} --override crash-loop"),
            WaitingOn::RecoveryPaused { .. } => format!("mainstay resume {recovery}"),
            WaitingOn::Manual { .. } => format!("mainstay approve {recovery}"),
            WaitingOn::Retry { .. } => format!("mainstay retry {recovery}"),
            WaitingOn::UndoFailed { .. } => format!("mainstay skip {recovery} --reason undone-by-hand"),
            WaitingOn::Observation { .. } | WaitingOn::Acknowledgements { .. } | WaitingOn::Step { .. } => {
                format!("mainstay abort {recovery}")
            }
        }
    }
}

/// The reason as a sentence without a full stop.
impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitingOn::Witnesses { need, of } => {
                write!(
                    f,
                    "fewer than {need} of the witnesses {} answered since it failed: our own path may be broken",
                    of.join(", ")
                )
            }
            WaitingOn::Halted { by, reason } => write!(f, "{by} stopped all action: {reason}"),
            WaitingOn::Signals { need } => {
                write!(f, "fewer than {need} signals of different kinds say that it is down")
            }
            WaitingOn::Acknowledgement { why: Unacknowledged::Failed { recovery }, .. } => {
                write!(f, "{recovery} failed, and a person has to look before the next one")
            }
            WaitingOn::Acknowledgement { why: Unacknowledged::Flapping { times, within_ns }, .. } => {
                let within = Duration::from_nanos(*within_ns);
                write!(
                    f,
                    "it was recovered {times} times within {}, and a person has to look before the next time",
                    plainly(within)
                )
            }
            WaitingOn::BlastRadius { would_be, of, allowed } => {
                let percent = would_be * 100 / of.max(&1);
                write!(
                    f,
                    "after it {would_be} of {of} components ({percent} %) would be down or moved, allowed are {allowed}"
                )
            }
            WaitingOn::StormBrake { at_most, within_ns, .. } => {
                let within = Duration::from_nanos(*within_ns);
                let begun = if *at_most == 1 { "recovery has begun" } else { "recoveries have begun" };
                write!(f, "{at_most} {begun} within {}, and no more may", plainly(within))
            }
            WaitingOn::Route { route, objection } => write!(f, "route {route} may not be moved: {objection}"),
            WaitingOn::Paused { by, reason, owner: None, .. } => write!(f, "paused by {by}: {reason}"),
            WaitingOn::Paused { by, reason, owner: Some(owner), .. } => {
                write!(f, "paused by {by} for {owner}: {reason}")
            }
            WaitingOn::Traffic {} => {
                write!(f, "the journal is new and the traffic process was not heard: another instance may be the owner")
            }
            WaitingOn::SomeoneElse { active, evidence, .. } => match active.as_slice() {
                [one] => write!(
                    f,
                    "somebody else was there first: `{one}` says that it is active, and none of our recoveries made it so ({})",
                    evidence.join("; ")
                ),
                all => {
                    let all: Vec<String> = all.iter().map(|it| format!("`{it}`")).collect();
                    let evidence = evidence.join("; ");
                    write!(f, "two writers: {} say that they are active ({evidence})", all.join(" and "))
                }
            },
            WaitingOn::Turn { evacuation, at_once } => {
                write!(f, "the evacuation `{evacuation}` lets {at_once} go at the same time, and others are before it")
            }
            WaitingOn::Correlation { of, .. } => write!(f, "it is not known yet whether `{of}` failed with it"),
            WaitingOn::Dependency { component } => write!(f, "it depends on `{component}`, which is not healthy"),
            WaitingOn::ObserveMode {} => write!(f, "the plan's mode is `observe`: nothing is ever done"),
            WaitingOn::CoolDown { .. } => write!(f, "the recovery before ended less than the cool-down ago"),
            WaitingOn::Approval { need: 1, role: None, .. } => write!(f, "a person must approve it"),
            WaitingOn::Approval { need: 1, role: Some(role), .. } => {
                write!(f, "a person with the role `{role}` must approve it")
            }
            WaitingOn::Approval { need, given, .. } => {
                write!(f, "{need} different people must approve it")?;
                if given.is_empty() { Ok(()) } else { write!(f, ", and {} did", given.join(", ")) }
            }
            WaitingOn::RecoveryPaused { by, reason } => {
                write!(f, "paused before its next step by {by}: {reason}")
            }
            WaitingOn::Manual { ask, .. } => write!(f, "a person is asked: {ask}"),
            WaitingOn::Retry { name, .. } => write!(f, "`{name}` did not succeed, and is tried again later"),
            WaitingOn::UndoFailed { name, why, .. } => {
                write!(f, "an operator is needed: `{name}` was not undone: {why}")
            }
            WaitingOn::JournalLost {} => {
                write!(f, "the journal can't be written, and a takeover without it is refused")
            }
            WaitingOn::NoRungPossible { reasons, .. } if reasons.is_empty() => {
                write!(f, "the plan has no `recovery` for it")
            }
            WaitingOn::NoRungPossible { reasons, .. } => write!(f, "no rung is possible now ({})", reasons.join("; ")),
            WaitingOn::ControlPlane { why, .. } => write!(f, "every rung that is left needs a control plane: {why}"),
            WaitingOn::CrashLoop { instance, restarts, within_ns, others, .. } => {
                let within = plainly(Duration::from_nanos(*within_ns));
                let times = if *restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
                write!(f, "`{instance}` is in a crash loop: it was restarted {times} within {within}")?;
                match others.as_slice() {
                    [] => write!(f, ", and there is nothing else to try"),
                    others => write!(f, ", and nothing else is possible now ({})", others.join("; ")),
                }
            }
            WaitingOn::Observation { instance, .. } => write!(f, "`{instance}` must be observed before the next step"),
            WaitingOn::OutcomeUnknown { name, .. } => {
                write!(f, "it is not known whether `{name}` was done, and it may be done only once")
            }
            WaitingOn::Observers { need, have, of, healthy } if healthy.is_empty() => {
                write!(f, "{have} of {of} agents see it down, and {need} must")
            }
            WaitingOn::Observers { healthy, .. } => write!(f, "{} see it healthy", healthy.join(", ")),
            WaitingOn::Lease { leader: Some(leader), .. } => write!(f, "`{leader}` holds the lease, and decides"),
            WaitingOn::Lease { leader: None, alone: true } => {
                write!(f, "the coordination store can't be reached: another agent may act")
            }
            WaitingOn::Lease { leader: None, alone: false } => write!(f, "this agent does not hold the lease"),
            WaitingOn::Acknowledgements { name, missing, .. } => {
                write!(f, "{name}: not acknowledged by {}", missing.join(", "))
            }
            WaitingOn::Step { name, .. } => write!(f, "{name}"),
        }
    }
}
