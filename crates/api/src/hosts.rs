//! Hosts on other machines.

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// Every host of the plan, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts {
    /// The moment of the answer.
    pub now_ns: Nanos,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// What is wrong with them, in sentences.
    pub trouble: Vec<String>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// `connected`, `silent`, `never_seen` (since this agent started), or `path_broken`: it is heard, and does not hear us.
    pub state: String,
    /// Since when it is connected, or was not heard any more.
    pub since_ns: Nanos,
    /// Why its last connection was lost.
    pub lost: Option<String>,
    /// Where it dialed from.
    pub address: Option<String>,
    /// The version of its program.
    pub version: Option<String>,
    /// The highest epoch that it had seen when it connected.
    pub epoch: Option<u64>,
    /// From a question to its answer, without what the host took for it.
    pub rtt_ns: Option<Nanos>,
    /// By how much its wall clock is ahead of the agent's, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// How long it has not heard the agent, as it says, in milliseconds; where the path to it is broken.
    pub deaf_ms: Option<u64>,
    /// Instances whose leases it holds.
    pub holds: Vec<String>,
    /// Those of them that it holds by the word of other hosts, because it could not renew them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<String>,
    /// Instances on other hosts that may stay what they are by its word, and for how long it takes nothing over, in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promised: Vec<(String, u64)>,
    /// Further paths over which it renews its leases: the address that it dials, whether it is heard over it, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<(String, bool, Nanos)>,
    /// Instances that it ends when their lease is over.
    pub guards: Vec<String>,
    /// What it may be asked to do: nothing else is done there.
    pub may: Vec<String>,
    /// What it lacks of what the plan will ask of it.
    pub lacks: Vec<String>,
    /// Orders that it is doing, and how far they are.
    pub doing: Vec<String>,
    /// The epoch of the table that its traffic process serves.
    pub serves_epoch: Option<u64>,
    /// The last record of its copy of the journal, if it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<u64>,
    /// How many records that copy lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_lacks: Option<u64>,
    /// Since when it lacks the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_lacks_since_ns: Option<Nanos>,
    /// What that process can't do at the moment.
    pub traffic_trouble: Vec<String>,
}
