//! How everything stands.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Evacuation, Nanos, NoticeCount, Rule};

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
    /// How it keeps up with its probes.
    #[serde(default)]
    pub probing: Probing,
    /// Probes that were late because the agent was, since it started.
    pub times_late: u64,
}

/// How an agent keeps up with its probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probing {
    /// How many have answered since it started.
    pub asked: u64,
    /// How many of them were asked later than `allowances.lateness` lets them be, or answered while the agent was held up.
    pub late: u64,
    /// How long after they were due they were asked, of the last ten seconds: the median, to an eighth.
    pub late_p50_ns: Nanos,
    /// The same: all but one in a hundred were asked sooner.
    pub late_p99_ns: Nanos,
    /// The same: the latest.
    pub late_max_ns: Nanos,
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
    /// What its proxy has counted; `None`: it has none, or the process can't be reached.
    #[serde(default)]
    pub clients: Option<Clients>,
    /// What a rule of it holds back.
    #[serde(default)]
    pub held: Option<RouteHeld>,
}

/// What a proxy has counted since the traffic process began. All are connections where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clients {
    /// That were accepted.
    pub accepted: u64,
    /// That wait for a place now.
    pub waiting: u64,
    /// That had to wait for a place.
    pub queued: u64,
    /// That waited for too long and were closed.
    pub overdue: u64,
    /// That were closed because there was no place, not even to wait, or their source had all of its own.
    pub refused: u64,
    /// That reached no target, for whatever reason; these, too.
    pub unserved: u64,
    /// That were cut because their target was fenced.
    pub cut: u64,
    /// Targets that refused a connection, did not answer it in time, or reset it.
    pub failed: u64,
    /// Attempts at a further target after one had failed.
    pub retried: u64,
    /// Bytes from clients to targets.
    pub bytes_in: u64,
    /// Bytes from targets to clients.
    pub bytes_out: u64,
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
    /// Its series of backups that Mainstay takes and restores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<Series>,
    /// Whether it could be recovered at this moment.
    pub recoverable: Recoverable,
    /// What is promised.
    pub rto_ns: Option<u64>,
    /// What is promised.
    pub rpo_ns: Option<u64>,
}

/// A series of backups that Mainstay takes and restores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Who keeps it: `the agent`, `host NAME`, or nobody of ours: `timers`.
    pub kept_by: String,
    /// The newest backup, as its machine said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<SeriesBackup>,
    /// The last good restore test, as its machine said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<SeriesTest>,
    /// How it stands with the next backup, and with the next restore test where the plan asks for them.
    pub jobs: Vec<SeriesJob>,
    /// What is wrong, as sentences; empty when nothing is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
}

/// A base backup that is whole and was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesBackup {
    /// Its name.
    pub name: String,
    /// When it was begun.
    pub began_ns: Nanos,
    /// How long taking and verifying it took.
    pub took_ns: u64,
    /// How much it holds.
    pub bytes: u64,
    /// The server that it was taken from.
    pub from: String,
    /// Whether that was a `primary` or a `standby`.
    pub role: String,
}

/// A restore whose only purpose was to see that it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesTest {
    /// What was restored.
    pub backup: String,
    /// When it ended.
    pub at_ns: Nanos,
    /// How long it took.
    pub took_ns: u64,
    /// The longest that it took for any of the backups that are there.
    pub longest_ns: u64,
    /// How long a restore takes at most, as the proof counts it: the longest with a margin.
    #[serde(default)]
    pub counts_ns: u64,
}

/// How it stands with a backup or a restore test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesJob {
    /// `backup` or `restore_test`.
    pub job: String,
    /// `r57`: the number of the record that began it, while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is being done, or what it waits for, as a clause.
    pub says: String,
    /// Why it waits: a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// When the wait ends by itself, if time alone ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<Nanos>,
    /// How many failed in a row.
    #[serde(default)]
    pub failed: u32,
    /// Whether the last good one is older than twice what the plan says.
    #[serde(default)]
    pub overdue: bool,
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
    /// Where it is in its history, where its probes say that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,
    /// How it is neither whole nor down.
    #[serde(default)]
    pub impaired: Vec<Impaired>,
    /// Where it is, if not where the plan says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Elsewhere>,
    /// How it stands with its repair, where it was displaced and has not rejoined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// Where an instance is in the history that its component's data has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// Its place when it last said so: `0/3E8 on timeline 1`.
    pub place: Option<String>,
    /// How far a standby was behind the active one, by the newest answer that said so.
    pub lag_ns: Option<Nanos>,
    /// When that was asked.
    pub asked_ns: Option<Nanos>,
    /// How many bytes of the history it lacks, as far as is known.
    pub lacks_bytes: Option<u64>,
}

/// How it stands with the repair of a displaced instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// `r57`: the number of the record that began it, while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which try in a row, from 1; 0 before the first.
    pub nth: u32,
    /// When it began, while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ns: Option<Nanos>,
    /// What is being done, or what it waits for, as a clause.
    pub says: String,
    /// Why it waits: a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// When the wait ends by itself, if time alone ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<Nanos>,
    /// The command that helps, where it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
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
    /// `slow`, `flapping`, `one_sided`, `replication`, `astray`, `expiring` or `upkeep`.
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
