//! What travels between an agent and whoever talks to it: the command line today, other programs tomorrow.
//!
//! These types are a format. They mirror the engine's state for people and scripts and are apart from it, so that the
//! engine can change without breaking anyone; they decide nothing and depend on nothing of ours.
//!
//! The agent answers HTTP/1.1 with JSON on a UNIX socket in its state directory:
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/recoveries` | [`Recoveries`], the newest first |
//! | `GET /v1/recoveries/r17` | [`Recovery`] |
//! | `GET /v1/notices` | [`Notices`], the newest first |
//! | `POST /v1/commands` with a [`Command`] | [`Accepted`], once it is durable |
//!
//! Whatever goes wrong is answered with a status of 400 or more and a [`Problem`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The socket's file name in the state directory.
pub const SOCKET: &str = "agent.sock";

/// Where the status is asked.
pub const STATUS: &str = "/v1/status";
/// Where recoveries are asked.
pub const RECOVERIES: &str = "/v1/recoveries";
/// Where notices are asked.
pub const NOTICES: &str = "/v1/notices";
/// Where it is asked what an evacuation would do: the command [`Command::Evacuate`], which is not given thereby.
pub const FORESEEN: &str = "/v1/evacuations/foreseen";
/// Where commands are given.
pub const COMMANDS: &str = "/v1/commands";

/// A moment: nanoseconds since the Unix epoch on the agent's timeline, which never goes back.
pub type Nanos = u64;

/// How everything stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The moment of the answer.
    pub now_ns: Nanos,
    /// The site.
    pub site: String,
    /// `observe`, `recommend` or `act`.
    pub mode: String,
    /// The agent itself.
    pub agent: Agent,
    /// The plan in force.
    pub plan: PlanInForce,
    /// The journal.
    pub journal: Journal,
    /// The traffic process, if the plan has routes.
    pub traffic: Option<Traffic>,
    /// Set while an operator has stopped all action.
    #[serde(default)]
    pub halted: Option<Halt>,
    /// The pause of everything, if there is one.
    pub paused: Option<Pause>,
    /// What is taken off shared routes for a while.
    #[serde(default)]
    pub drains: Vec<Drain>,
    /// Zones and regions that are being evacuated, as planned.
    #[serde(default)]
    pub evacuations: Vec<Evacuation>,
    /// Zones and regions that are lost.
    #[serde(default)]
    pub incidents: Vec<Incident>,
    /// In the order of the plan.
    pub components: Vec<Component>,
    /// What actions need beside hosts, and whether it is known to be down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_planes: Vec<ControlPlane>,
    /// The plan's decision rules, by name.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What people should know; see `GET /v1/notices`.
    #[serde(default)]
    pub notices: NoticeCount,
    /// What is wrong, as sentences: with the agent itself, or with who says that it is active; empty when nothing is.
    pub trouble: Vec<String>,
}

/// A decision rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// `true`, `false` or `not known`.
    pub truth: String,
    /// Since when what it says has held, if it is true.
    pub since_ns: Option<Nanos>,
    /// What it says has happened: `instance_failure`, …
    pub then: String,
    /// To whom: `component orders-db`, `zone us-east-1/us-east-1a`, …
    pub of: String,
    /// The instance that has failed, as it says, if it is true and speaks of one.
    pub accuses: Option<String>,
    /// Why nothing follows from it at the moment, if it is true and nothing does.
    pub idle: Option<String>,
    /// Each of its terms with its value at the moment.
    pub terms: Vec<Term>,
    /// The same when it fired; empty if it is not true.
    pub fired: Vec<Term>,
}

/// A term of a rule, and a value of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// As it stands in the plan.
    pub term: String,
    /// `not known` where nobody has measured it.
    pub value: String,
}

/// A rule that began a recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The rule.
    pub rule: String,
    /// Since when what it says had held.
    pub since_ns: Nanos,
    /// Each of its terms with its value when it fired.
    pub terms: Vec<Term>,
}

/// A zone or a region that is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// `i17`: the number of the record that opened it.
    pub id: String,
    /// `availability_zone_failure` or `region_failure`.
    pub scenario: String,
    /// What is lost: `berlin/hall-1`.
    pub lost: String,
    /// When it was recognised.
    pub opened_ns: Nanos,
    /// Why it is called lost.
    pub evidence: Vec<String>,
    /// How many recoveries in it are open.
    pub open: usize,
}

/// The agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_ns: Nanos,
    /// Probes that were late because the agent was, since it started.
    pub times_late: u64,
}

/// The plan in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanInForce {
    /// The file that it was read from.
    pub file: String,
    /// SHA-256 of its text.
    pub hash: String,
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The number of the newest durable record.
    pub seq: u64,
    /// Its hash: note it elsewhere, and `mainstay journal verify --anchor SEQ:HASH` finds a cut tail.
    pub hash: String,
    /// What a sync waits for, if it takes too long.
    pub waiting: Option<String>,
    /// Why it can't be written any more.
    pub lost: Option<String>,
}

/// The traffic process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Its process id; `None` while it can't be reached.
    pub pid: Option<u32>,
    /// The epoch of the newest table.
    pub epoch: u64,
    /// The epoch that the process serves, as far as it said.
    pub serves_epoch: Option<u64>,
    /// Every route.
    pub routes: Vec<Route>,
    /// What it can't do at the moment.
    pub trouble: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// One target at a time.
    pub exclusive: bool,
    /// Where clients come in: `proxy 10.0.9.1:6432`, `dns orders.internal.`.
    pub fronts: Vec<String>,
    /// Its targets, in order of preference.
    pub targets: Vec<Target>,
    /// Proxy connections open now.
    pub open_connections: u64,
    /// What a rule of it holds back.
    #[serde(default)]
    pub held: Option<RouteHeld>,
}

/// A rule of a route keeps targets on that would leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteHeld {
    /// The rule: `at_least`, `gates` or `wait`.
    pub code: String,
    /// The targets that stay on.
    pub targets: Vec<String>,
    /// The reason, a sentence.
    pub reason: String,
    /// Since when.
    pub since_ns: Nanos,
    /// When time ends it, if time does.
    pub until_ns: Option<Nanos>,
    /// What ends it.
    pub ends_when: String,
    /// The command that overrules it.
    pub way_out: String,
}

/// Something is taken off shared routes for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// What: `NAME`, or `zone NAME`.
    pub what: String,
    /// Until then.
    pub until_ns: Nanos,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since_ns: Nanos,
    /// The command that ends it.
    pub way_out: String,
}

/// A zone or a region that is being evacuated, as planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evacuation {
    /// `REGION/ZONE`, or `REGION`.
    pub place: String,
    /// `moving`: somebody moves, or can; `settled`: whoever could leave has left.
    pub status: String,
    /// Whether whoever takes over is waited for until it is in step.
    pub graceful: bool,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since_ns: Nanos,
    /// It ends by itself then.
    pub until_ns: Nanos,
    /// The components that lived there, in the order in which they go.
    pub components: Vec<Leaving>,
    /// Components that would go back by themselves, and don't while it stands.
    pub kept_out: Vec<String>,
    /// The command that ends it.
    pub way_out: String,
}

/// A component of an evacuation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The component.
    pub component: String,
    /// The instance that it was, or is.
    pub from: String,
    /// The instance that it is now, or shall be, where that is known.
    pub to: Option<String>,
    /// `gone`, `moves`, `stays`; of one that was only foreseen, `leaves` or `stays`.
    pub is: String,
    /// The recovery that moves or moved it, `r17`.
    pub recovery: Option<String>,
    /// Why it stays for now.
    pub why: Option<Staying>,
}

/// Why a component stays in what is evacuated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staying {
    /// `turn`, `no_room`, `not_possible`, …
    pub code: String,
    /// As a sentence.
    pub reason: String,
    /// Since when, unless it is only foreseen.
    pub since_ns: Option<Nanos>,
    /// When it ends by itself, if time ends it.
    pub until_ns: Option<Nanos>,
    /// What ends it.
    pub ends_when: String,
    /// The command that helps.
    pub way_out: String,
}

/// What an evacuation would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// `REGION/ZONE`, or `REGION`.
    pub place: String,
    /// Whether whoever takes over would be waited for until it is in step.
    pub graceful: bool,
    /// When it would end by itself.
    pub until_ns: Nanos,
    /// The components that live there, in the order in which they would go.
    pub components: Vec<Leaving>,
    /// Targets of shared routes there.
    pub targets: Vec<LeavingTarget>,
}

/// A target of a shared route that lives in what would be evacuated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingTarget {
    /// The route.
    pub route: String,
    /// The instance.
    pub instance: String,
    /// Why it would stay on; `None`: it would leave.
    pub stays: Option<String>,
}

/// A target of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The instance.
    pub instance: String,
    /// Where it serves.
    pub address: String,
    /// `serving`, `standby`, `draining`, `down` or `fenced`.
    pub state: String,
}

/// A control plane that some action needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlane {
    /// The service.
    pub service: String,
    /// The region.
    pub region: String,
    /// `regional_control`, …
    pub plane: String,
    /// `closed` (tried), `open` (known to be down), `half_open`, `held_open`, `held_closed`.
    pub breaker: String,
    /// Since when, if it ever changed.
    pub since_ns: Option<Nanos>,
    /// When it is tried again.
    pub until_ns: Option<Nanos>,
    /// Why it stands so.
    pub why: Option<String>,
    /// The health of its canary, if it has one.
    pub canary: Option<String>,
}

/// Recoveries are held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Until then.
    pub until_ns: Nanos,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    #[serde(default)]
    pub since_ns: Nanos,
    /// Whose work it is, where that is not who said it.
    #[serde(default)]
    pub owner: Option<String>,
}

/// All action is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since_ns: Nanos,
    /// The command that ends it.
    pub way_out: String,
}

/// A component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its criticality.
    pub criticality: String,
    /// `healthy`, `suspect`, `down` or `unknown`: of the instance that it is bound to.
    pub health: String,
    /// Since when.
    pub since_ns: Option<Nanos>,
    /// The instance that is the component.
    pub bound_to: String,
    /// Everything that can be the component.
    pub instances: Vec<Instance>,
    /// What an open recovery waits for.
    pub waiting: Option<Waiting>,
    /// Its own pause.
    pub paused: Option<Pause>,
    /// Who approved its next recovery in advance, until when, and why.
    #[serde(default)]
    pub approved_in_advance: Vec<Pause>,
    /// Whether it could be recovered at this moment.
    pub recoverable: Recoverable,
    /// What is promised.
    pub rto_ns: Option<u64>,
    /// What is promised.
    pub rpo_ns: Option<u64>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `active`, `standby`, `failed` or `recovering`.
    pub state: String,
    /// Its health.
    pub health: String,
    /// Where it lives.
    pub location: String,
    /// Its probes.
    pub probes: Vec<Probe>,
    /// How it is neither whole nor down.
    #[serde(default)]
    pub impaired: Vec<Impaired>,
    /// Where it is, if not where the plan says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Elsewhere>,
}

/// Where an instance is that is not where the plan says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The IP address at which it is asked, and to which its clients are led.
    pub address: IpAddr,
    /// The hosts at which the plan has it.
    pub instead_of: Vec<String>,
    /// Since when.
    pub since_ns: Nanos,
    /// Who says so.
    pub why: String,
}

/// How an instance is neither whole nor down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impaired {
    /// `slow`, `flapping`, `one_sided` or `replication`.
    pub how: String,
    /// Since when.
    pub since_ns: Nanos,
    /// What was seen.
    pub evidence: String,
}

/// A probe and its last answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Its name.
    pub name: String,
    /// Its verdict.
    pub health: String,
    /// The last answer, for people.
    pub last: Option<String>,
    /// When it ended.
    pub last_ns: Option<Nanos>,
    /// How long the last good answer took.
    pub latency_ns: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
}

/// Why nothing is done, or what is being done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The recovery.
    pub recovery: String,
    /// Stable: `witnesses`, `paused`, `cool_down`, …
    pub code: String,
    /// The reason, a sentence.
    pub reason: String,
    /// Since when.
    pub since_ns: Nanos,
    /// When time ends it, if time does.
    pub until_ns: Option<Nanos>,
    /// What ends it.
    pub ends_when: String,
    /// The command that overrules it.
    pub way_out: String,
}

/// Whether a component could be recovered at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recoverable {
    /// Yes.
    By {
        /// The strategy of the first rung that is possible.
        strategy: String,
        /// The instance that would be the component.
        to: String,
    },
    /// No.
    No {
        /// Why.
        why: String,
    },
}

/// How many notices stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeCount {
    /// All that stand.
    pub standing: usize,
    /// Those of them that nobody has acknowledged, and that somebody should look at.
    pub unseen: usize,
    /// The channels that carry nothing at the moment.
    pub failing: Vec<String>,
}

/// What people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notices {
    /// The moment of the answer.
    pub now_ns: Nanos,
    /// The newest first.
    pub notices: Vec<Notice>,
    /// In the order of the plan.
    pub channels: Vec<Channel>,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// `n17`: the number of the record that opened it.
    pub id: String,
    /// A component, or what else it is about.
    pub about: String,
    /// `info`, `warning` or `error`: the loudest that it was.
    pub level: String,
    /// The newest of it.
    pub text: String,
    /// When it was opened.
    pub opened_ns: Nanos,
    /// When it was over.
    pub over_ns: Option<Nanos>,
    /// Who has seen it.
    pub acknowledged: Option<Acknowledged>,
    /// The recoveries that it tells of.
    pub recoveries: Vec<String>,
    /// How many messages were made of it.
    pub messages: u32,
    /// How many steps of the escalation were taken.
    pub escalated: usize,
    /// Who was told.
    pub told: Vec<ToldOver>,
}

/// A person has seen a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at_ns: Nanos,
    /// What they said.
    pub reason: String,
}

/// A channel that a notice was given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldOver {
    /// The channel.
    pub channel: String,
    /// Whether all of it has arrived.
    pub arrived: bool,
}

/// A notification channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Messages that have not arrived.
    pub waiting: usize,
    /// How often it failed in a row.
    pub failures: u32,
    /// Why it failed last.
    pub trouble: Option<String>,
    /// When it is tried again.
    pub again_ns: Option<Nanos>,
    /// Messages that gave way to newer ones because too many waited.
    pub dropped: u64,
}

/// Recoveries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recoveries {
    /// The moment of the answer.
    pub now_ns: Nanos,
    /// The newest first.
    pub recoveries: Vec<Recovery>,
}

/// One recovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// `r17`: the number of the record that opened it.
    pub id: String,
    /// The component.
    pub component: String,
    /// The instance that failed.
    pub failed: String,
    /// `instance_failure`, …; `planned` where nothing failed.
    pub scenario: String,
    /// Who wanted it and why, where it was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<String>,
    /// For how long clients could not write, where it was planned and got so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_ns: Option<u64>,
    /// The rule that says so, where the probes alone did not.
    #[serde(default)]
    pub rule: Option<Cause>,
    /// Why it is classified so.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// The incident that it belongs to.
    #[serde(default)]
    pub incident: Option<String>,
    /// `failure_detected`, `recovery_initiated`, `recovery_in_progress`, `recovery_completed`, `recovery_failed`.
    pub status: String,
    /// When it was recognised.
    pub detected_ns: Nanos,
    /// The end of the last good observation: where the clock starts.
    pub last_good_ns: Option<Nanos>,
    /// When it ended.
    pub ended_ns: Option<Nanos>,
    /// How it was completed, for people.
    pub completed: Option<String>,
    /// The strategy that worked.
    pub strategy: Option<String>,
    /// The instance that is the component now.
    pub instance: Option<String>,
    /// Time to recover: from the last good observation to the end, if it was completed.
    pub time_to_recover_ns: Option<u64>,
    /// The five parts of it.
    pub phases: Phases,
    /// The recovery time objective for what failed, if there is one.
    #[serde(default)]
    pub rto_ns: Option<u64>,
    /// How much of it is spent: from the last good observation to its end, or to the moment of the answer.
    #[serde(default)]
    pub spent_ns: u64,
    /// The hash of the plan under which it is recovered.
    #[serde(default)]
    pub plan: String,
    /// Who approved it.
    #[serde(default)]
    pub approved_by: Vec<String>,
    /// Who holds it before its next step, and why.
    #[serde(default)]
    pub paused: Option<String>,
    /// Why rungs were passed over or failed.
    pub tried: Vec<String>,
    /// Everything that was begun.
    pub steps: Vec<Step>,
    /// The fences that hold, and what confirmed each.
    #[serde(default)]
    pub fences: Vec<Fence>,
    /// What it waits for.
    pub waiting: Option<Waiting>,
}

/// The five parts of the time to recover, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// From the last good observation to the verdict *down*.
    pub detect_ns: u64,
    /// To the first step.
    pub decide_ns: u64,
    /// Until the old owner can't act any more.
    pub fence_ns: u64,
    /// Until the new owner serves.
    pub act_ns: u64,
    /// Until a client gets a good answer.
    pub converge_ns: u64,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The plane that it ran on.
    pub plane: Option<String>,
    /// From 1.
    pub attempt: u32,
    /// When.
    pub started_ns: Nanos,
    /// When it ended.
    pub ended_ns: Option<Nanos>,
    /// `done`, `failed`, `unknown`; `None` while it runs.
    pub outcome: Option<String>,
    /// Why, where it did not go well.
    pub why: Option<String>,
    /// The IP address to which it brought its instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// A fence that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The instance that can't act any more.
    pub instance: String,
    /// `traffic_cut` or `stop`.
    pub kind: String,
    /// What confirmed it, in words.
    pub by: String,
    /// When.
    pub confirmed_ns: Nanos,
}

/// What an operator can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Recover a component that is down, without waiting for the cool-down.
    Recover {
        /// The component.
        component: String,
        /// Why.
        reason: String,
    },
    /// Let a recovery go on.
    Approve {
        /// The recovery, `r17`.
        recovery: String,
        /// Guards that are overruled: `witnesses`, `dependency`, `observe-mode`, `cool-down`, `journal-lost`, `rpo`, `signals`,
        /// `blast-radius`, `storm-brake`, `route-rules`, `lease`, `observers`.
        overrides: Vec<String>,
        /// Whether the step whose outcome is unknown was done.
        outcome: Option<bool>,
        /// Why.
        reason: String,
    },
    /// End a recovery where it stands.
    Abort {
        /// The recovery, `r17`.
        recovery: String,
        /// Why.
        reason: String,
    },
    /// Approve the next recovery of a component, should one be needed while nobody can be asked.
    ApproveInAdvance {
        /// The component.
        component: String,
        /// For how long it counts.
        for_ns: u64,
        /// Why.
        reason: String,
    },
    /// Take approvals in advance back.
    Revoke {
        /// The component.
        component: String,
    },
    /// Hold one recovery before its next step.
    PauseRecovery {
        /// The recovery, `r17`.
        recovery: String,
        /// Why.
        reason: String,
    },
    /// Let it go on.
    ResumeRecovery {
        /// The recovery, `r17`.
        recovery: String,
    },
    /// Go on without what a recovery waits for.
    Skip {
        /// The recovery, `r17`.
        recovery: String,
        /// Why.
        reason: String,
    },
    /// Try again, at once.
    Retry {
        /// The recovery, `r17`.
        recovery: String,
        /// Why.
        reason: String,
    },
    /// Hold recoveries back.
    Pause {
        /// `None`: of all components.
        component: Option<String>,
        /// For how long.
        for_ns: u64,
        /// Why.
        reason: String,
        /// Whose work it is, where that is not who says it.
        #[serde(default)]
        owner: Option<String>,
    },
    /// End a pause.
    Resume {
        /// `None`: of all components.
        component: Option<String>,
    },
    /// Move a component to another of its instances, as planned.
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
        /// `open`, `closed` or `auto`.
        hold: String,
        /// Why.
        reason: String,
    },
    /// Take a target, or all of a zone, off shared routes for a while. One of both is said.
    Drain {
        /// The instance.
        #[serde(default)]
        target: Option<String>,
        /// The zone, `ZONE` or `REGION/ZONE`.
        #[serde(default)]
        zone: Option<String>,
        /// For how long.
        for_ns: u64,
        /// Why.
        reason: String,
    },
    /// End a drain. One of both is said.
    Undrain {
        /// The instance.
        #[serde(default)]
        target: Option<String>,
        /// The zone.
        #[serde(default)]
        zone: Option<String>,
    },
    /// Empty a zone or a region, as planned; said again it changes how, or for how long.
    Evacuate {
        /// `ZONE`, `REGION/ZONE` or `REGION`.
        place: String,
        /// For how long; `None`: as before, or 8 hours.
        #[serde(default)]
        for_ns: Option<u64>,
        /// Whether whoever takes over is waited for until it is in step; `None`: as before, or as the plan says.
        #[serde(default)]
        graceful: Option<bool>,
        /// Why.
        reason: String,
    },
    /// End an evacuation.
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
        /// `at_least`, `gates` or `wait`.
        rule: String,
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
    /// Take a displaced instance as a standby again, or one that somebody else has made active as the component; or say where
    /// an instance is now.
    Adopt {
        /// The instance.
        instance: String,
        /// `active` or `standby`; where it is not said, as what it says itself.
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "as")]
        role: Option<String>,
        /// As the component although it does not say that it is active.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anyway: bool,
        /// Risks that are accepted by name: `two_writers`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        accept: Vec<String>,
        /// Its IP address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        /// Why.
        reason: String,
    },
    /// A person has seen it.
    Acknowledge {
        /// A notice (`n17`), a recovery (`r17`), or a component.
        what: String,
        /// Why, or what is done about it.
        reason: String,
    },
}

/// A command was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The number of the record that holds it.
    pub seq: u64,
}

/// Why something was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable: `refused` (a guard or the state forbids it), `not_found`, `bad_request`, `unavailable`.
    pub code: String,
    /// What, and what to do.
    pub message: String,
    /// Of a command that was refused: why, stable, as `docs/recoveries.md` lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a command that was refused: the command that shows what could be said instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
}

impl Problem {
    /// A problem that is no refusal of a command.
    pub fn new(code: &str, message: String) -> Problem {
        Problem { code: code.to_owned(), message, reason: None, way_out: None }
    }
}
