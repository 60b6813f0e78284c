//! Drills: rehearsals, and how often they are due.

use std::time::Duration;

use crate::ComponentIx;

/// A rehearsal that comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drill {
    /// Its name.
    pub name: String,
    /// How real it is.
    pub kind: DrillKind,
    /// What is rehearsed.
    pub components: Vec<ComponentIx>,
    /// From one to the next.
    pub every: Duration,
}

/// How real a drill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrillKind {
    /// `tabletop`: people walk through the runbook.
    Tabletop,
    /// `component`: one component is recovered.
    Component,
    /// `simulation`: failures are played in the simulator.
    Simulation,
    /// `full_scale`: everything moves, with its clients.
    FullScale,
}

impl DrillKind {
    /// All of them, the least real first.
    pub const ALL: [DrillKind; 4] =
        [DrillKind::Tabletop, DrillKind::Component, DrillKind::Simulation, DrillKind::FullScale];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            DrillKind::Tabletop => "tabletop",
            DrillKind::Component => "component",
            DrillKind::Simulation => "simulation",
            DrillKind::FullScale => "full_scale",
        }
    }

    /// Whether it really recovers something, which a table and a simulator don't.
    pub const fn is_real(self) -> bool {
        match self {
            DrillKind::Component | DrillKind::FullScale => true,
            DrillKind::Tabletop | DrillKind::Simulation => false,
        }
    }
}
