//! What probes got lately.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// What probes got lately, in the order of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// The moment of the answer.
    pub now_ns: Nanos,
    /// Those that were asked for.
    pub probes: Vec<ProbePast>,
    /// Every host name that probes and steps go by, where all probes were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<HostName>,
}

/// A host name, as the system's resolver last knew it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostName {
    /// The name.
    pub host: String,
    /// The addresses that are used.
    pub addresses: Vec<IpAddr>,
    /// When they were found; `None`: never.
    pub found_ns: Option<Nanos>,
    /// Why nothing newer could be had.
    pub trouble: Option<String>,
}

/// What one probe got since the agent started. Percentiles are of the good results that are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePast {
    /// Its name.
    pub name: String,
    /// What its answers add up to: `healthy`, `suspect`, `down`, `unknown`.
    pub health: String,
    /// How often it was good.
    pub good: u64,
    /// How often it was refused, timed out or got a wrong answer.
    pub failed: u64,
    /// How often it could not be asked.
    pub could_not_ask: u64,
    /// How often the agent was late with it.
    pub late: u64,
    /// How many results are kept.
    pub kept: usize,
    /// When the oldest of them was there.
    pub kept_since_ns: Option<Nanos>,
    /// Half of them took no longer.
    pub p50_ns: Option<Nanos>,
    /// Nine in ten.
    pub p90_ns: Option<Nanos>,
    /// All but one in a hundred.
    pub p99_ns: Option<Nanos>,
    /// The longest.
    pub max_ns: Option<Nanos>,
    /// The results that are kept, the newest first; empty unless something was asked for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ProbeResult>,
}

/// What a probe got once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// When, to a sixteenth of a second.
    pub ended_ns: Nanos,
    /// How long it took, to a microsecond.
    pub took_ns: Nanos,
    /// `good`, `refused`, `timed out`, `wrong answer`, `could not ask`.
    pub answer: String,
}
