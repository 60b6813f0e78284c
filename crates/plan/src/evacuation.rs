//! Evacuations: what is recovered together, and in which order, when a zone or a region is lost.

use crate::ComponentIx;

/// A plan for the loss of one zone or one region, and for leaving it as planned. It recovers the components that are bound to an instance there, those
/// that others depend on first, then by criticality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evacuation {
    /// Its name.
    pub name: String,
    /// The region.
    pub region: String,
    /// The zone; `None`: the whole region.
    pub zone: Option<String>,
    /// How it is done as planned, unless an operator says otherwise. A loss asks nobody.
    pub variant: Variant,
    /// How many recoveries run at the same time.
    pub at_once: u32,
    /// Components that go before all others, in this order.
    pub first: Vec<ComponentIx>,
    /// How much may be active in each surviving zone, in the unit of the instances' `capacity`.
    pub capacity: Vec<ZoneCapacity>,
    /// Evacuations (by place in the plan's list) that are part of this one: those of the zones of a region.
    pub parts: Vec<usize>,
}

/// What a surviving zone can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneCapacity {
    /// The region.
    pub region: String,
    /// The zone.
    pub zone: String,
    /// At most this much in all.
    pub units: u32,
}

/// How an evacuation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// `graceful`: the old side is there and hands over without loss.
    Graceful,
    /// `ungraceful`: the old side is given up.
    Ungraceful,
}

impl Variant {
    /// All of them.
    pub const ALL: [Variant; 2] = [Variant::Graceful, Variant::Ungraceful];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Variant::Graceful => "graceful",
            Variant::Ungraceful => "ungraceful",
        }
    }
}
