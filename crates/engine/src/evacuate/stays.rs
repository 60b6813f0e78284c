//! Why a component stays in what is being evacuated: a closed list, like the waits of a recovery.

use std::fmt;

use mainstay_plan::Time;
use serde::{Deserialize, Serialize};

use crate::codec::time_nanos;
use crate::record::RecoveryId;

/// Why a component has not left yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stays {
    /// An operator has stopped all action.
    Halted {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Another agent may decide.
    Lease {},
    /// It is under maintenance: moves that are not asked for by name wait, as recoveries do.
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
    },
    /// It is being recovered from a failure, or moved by somebody else.
    UnderWay {
        /// The recovery.
        recovery: RecoveryId,
    },
    /// What it depends on is down, or is being moved or recovered.
    Dependency {
        /// That component.
        component: String,
    },
    /// Others go first.
    Turn {
        /// How many go at the same time.
        at_once: u32,
    },
    /// There is no room where it could go.
    NoRoom {
        /// For each instance that it could be, why not.
        reasons: Vec<String>,
    },
    /// It can't be moved now.
    NotPossible {
        /// For each instance that it could be, what is missing.
        reasons: Vec<String>,
        /// Whether it could be moved in a hurry.
        hurried: bool,
    },
    /// It was moved, or that was tried, once in this evacuation.
    Tried {
        /// How.
        recovery: RecoveryId,
        /// What became of it.
        why: String,
    },
}

impl Stays {
    /// Stable, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Stays::Halted { .. } => "halted",
            Stays::Lease {} => "lease",
            Stays::Paused { .. } => "paused",
            Stays::UnderWay { .. } => "under_way",
            Stays::Dependency { .. } => "dependency",
            Stays::Turn { .. } => "turn",
            Stays::NoRoom { .. } => "no_room",
            Stays::NotPossible { .. } => "not_possible",
            Stays::Tried { .. } => "tried",
        }
    }

    /// When it ends by itself, if time ends it.
    pub const fn until(&self) -> Option<Time> {
        match self {
            Stays::Paused { until, .. } => Some(*until),
            Stays::Halted { .. }
            | Stays::Lease {}
            | Stays::UnderWay { .. }
            | Stays::Dependency { .. }
            | Stays::Turn { .. }
            | Stays::NoRoom { .. }
            | Stays::NotPossible { .. }
            | Stays::Tried { .. } => None,
        }
    }

    /// Whether it goes on without anybody doing something: it waits for others of the evacuation, or for a recovery.
    pub const fn ends_by_itself(&self) -> bool {
        match self {
            Stays::UnderWay { .. } | Stays::Dependency { .. } | Stays::Turn { .. } => true,
            Stays::Halted { .. }
            | Stays::Lease {}
            | Stays::Paused { .. }
            | Stays::NoRoom { .. }
            | Stays::NotPossible { .. }
            | Stays::Tried { .. } => false,
        }
    }

    /// What ends it.
    pub fn ends_when(&self) -> String {
        match self {
            Stays::Halted { .. } => "someone says that it goes on".to_owned(),
            Stays::Lease {} => "this agent is granted the lease".to_owned(),
            Stays::Paused { .. } => "the pause expires or is ended".to_owned(),
            Stays::UnderWay { recovery } => format!("{recovery} has ended"),
            Stays::Dependency { component } => format!("`{component}` is healthy, and nothing of it is under way"),
            Stays::Turn { .. } => "one before it has left, or can't go on".to_owned(),
            Stays::NoRoom { .. } => "somebody leaves where it could go".to_owned(),
            Stays::NotPossible { .. } => "what is missing is there".to_owned(),
            Stays::Tried { .. } => "someone says once more that it shall leave".to_owned(),
        }
    }

    /// The command that helps.
    pub fn way_out(&self, place: &str, component: &str) -> String {
        match self {
            Stays::Halted { .. } => "mainstay continue".to_owned(),
            Stays::Lease {} => "mainstay status".to_owned(),
            Stays::Paused { component: Some(component), .. } => format!("mainstay resume {component}"),
            Stays::Paused { component: None, .. } => "mainstay resume".to_owned(),
            Stays::UnderWay { recovery } => format!("mainstay recoveries show {recovery}"),
            Stays::NotPossible { hurried: true, .. } => format!("mainstay evacuate {place} --now"),
            Stays::Dependency { .. } | Stays::Turn { .. } | Stays::NoRoom { .. } => {
                format!("mainstay switch {component} --to INSTANCE")
            }
            Stays::NotPossible { hurried: false, .. } => format!("mainstay status {component}"),
            Stays::Tried { .. } => format!("mainstay evacuate {place}"),
        }
    }
}

/// The reason as a sentence without a full stop.
impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stays::Halted { by, reason } => write!(f, "{by} stopped all action: {reason}"),
            Stays::Lease {} => write!(f, "another agent may decide"),
            Stays::Paused { by, reason, .. } => write!(f, "paused by {by}: {reason}"),
            Stays::UnderWay { recovery } => write!(f, "{recovery} is under way"),
            Stays::Dependency { component } => {
                write!(f, "it depends on `{component}`, which is not healthy or is under way itself")
            }
            Stays::Turn { at_once: 1 } => write!(f, "one goes at a time, and others are before it"),
            Stays::Turn { at_once } => write!(f, "{at_once} go at the same time, and others are before it"),
            Stays::NoRoom { reasons } | Stays::NotPossible { reasons, .. } => write!(f, "{}", reasons.join("; ")),
            Stays::Tried { why, .. } => write!(f, "{why}"),
        }
    }
}
