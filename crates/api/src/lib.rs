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
//! | `GET /v1/probing` | [`Probing`] |
//! | `GET /v1/probes` | [`Probes`]: every one, without its results |
//! | `GET /v1/probes/orders-db` | [`Probes`]: that one, or those of that instance, component, witness or route, with results |
//! | `GET /v1/hosts` | [`Hosts`] |
//! | `GET /v1/recoveries` | [`Recoveries`], the newest first |
//! | `GET /v1/recoveries/r17` | [`Recovery`] |
//! | `GET /v1/notices` | [`Notices`], the newest first |
//! | `POST /v1/heartbeats/NAME` | [`Heard`]; any body, which nobody reads |
//! | `POST /v1/commands` with a [`Command`] | [`Accepted`], once it is durable |
//!
//! Whatever goes wrong is answered with a status of 400 or more and a [`Problem`].

mod command;
mod evacuation;
mod hosts;
mod notice;
mod probes;
mod recovery;
mod rule;
mod status;

use serde::{Deserialize, Serialize};

pub use command::Command;
pub use evacuation::{Evacuation, Foreseen, Leaving, LeavingTarget, Staying};
pub use hosts::{Host, Hosts};
pub use notice::{Acknowledged, Channel, Notice, NoticeCount, Notices, ToldOver};
pub use probes::{HostName, ProbePast, ProbeResult, Probes};
pub use recovery::{Fence, Lost, Phases, Recoveries, Recovery, Step};
pub use rule::{Cause, Rule, Term};
pub use status::{
    Agent, Clients, Component, ControlPlane, Drain, Elsewhere, Halt, Impaired, Incident, Instance, Journal, Pause,
    PlanInForce, Probe, Probing, Recoverable, Repair, Replication, Route, RouteHeld, Series, SeriesBackup, SeriesJob,
    SeriesTest, Status, Target, Traffic, Waiting,
};

/// The socket's file name in the state directory.
pub const SOCKET: &str = "agent.sock";

/// Where the status is asked.
pub const STATUS: &str = "/v1/status";
/// Where it is asked how the agent keeps up with its probes.
pub const PROBING: &str = "/v1/probing";
/// Where it is asked what probes got lately: all of them, or with a name behind it those of that name.
pub const PROBES: &str = "/v1/probes";
/// Where hosts are asked.
pub const HOSTS: &str = "/v1/hosts";
/// Where recoveries are asked.
pub const RECOVERIES: &str = "/v1/recoveries";
/// Where notices are asked.
pub const NOTICES: &str = "/v1/notices";
/// Where it is asked what an evacuation would do: the command [`Command::Evacuate`], which is not given thereby.
pub const FORESEEN: &str = "/v1/evacuations/foreseen";
/// Where jobs call; the name follows.
pub const HEARTBEATS: &str = "/v1/heartbeats";
/// Where commands are given.
pub const COMMANDS: &str = "/v1/commands";

/// A moment: nanoseconds since the Unix epoch on the agent's timeline, which never goes back.
pub type Nanos = u64;

/// A job has called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// What it called.
    pub heard: String,
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
