//! Zones and regions that are left as planned.

use serde::{Deserialize, Serialize};

use crate::Nanos;

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
