//! Recoveries, their steps and their times.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Cause, Nanos, Waiting};

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
    /// How much the new owner lacks of what clients were told before, at most, where that was known when it took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at_most_ns: Option<u64>,
    /// What it lacks, counted when the old owner became a standby again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// What it waits for.
    pub waiting: Option<Waiting>,
}

/// Writes that the old owner had and the new one has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// How much of its log, in bytes.
    pub bytes: u64,
    /// How many committed transactions.
    pub transactions: u64,
    /// When the first of them was committed, by the old owner's clock, to the second.
    pub first_ns: Option<Nanos>,
    /// When the last of them was.
    pub last_ns: Option<Nanos>,
    /// The folder that keeps them, on the old owner's machine; `None`: there is nothing to keep.
    pub kept_at: Option<String>,
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
