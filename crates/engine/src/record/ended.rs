//! How something ended, as the journal holds it: an action, a fence, a recovery.

use std::fmt;
use std::net::IpAddr;

use mainstay_plan::action::{LeaseEnd, LostWrites};
use mainstay_plan::backup::SeriesSeen;
use mainstay_plan::strategy::Strategy;
use serde::{Deserialize, Serialize};

use crate::codec::{lease_end_word, strategy_word};

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was done, and that was seen.
    Done,
    /// The same, and its instance is at this address from then on.
    DoneAt(IpAddr),
    /// A lease is over.
    LeaseOver(#[serde(with = "lease_end_word")] LeaseEnd),
    /// It was done, and its instance lost what it alone had.
    DoneLosing(LostWrites),
    /// A series of backups is as it should be, and this is what its folder holds.
    Kept(Box<SeriesSeen>),
    /// It was not done, or it was seen to fail.
    Failed(String),
    /// It may or may not have been done.
    Unknown(String),
}

/// How a recovery was completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// By a rung of the ladder.
    ByRung {
        /// Which.
        #[serde(with = "strategy_word")]
        strategy: Strategy,
        /// The instance that is the component now.
        instance: String,
    },
    /// As it was planned.
    Switched {
        /// The instance that is the component now.
        instance: String,
    },
    /// Somebody else had made the instance active, and an operator said that it is the component.
    Adopted {
        /// The instance that is the component now.
        instance: String,
    },
    /// The component was healthy again before anything was done.
    ByItself,
    /// Before anything was done that can't be taken back: what somebody else has done is adopted instead.
    BySomeoneElse {
        /// The instance that they made active.
        instance: String,
    },
}

/// Why the old owner is no second writer when another instance is adopted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldOwner {
    /// It says that it is a standby.
    SeenStandby {},
    /// Clients are cut off from it, and have no other way in.
    CutOff {},
    /// It is stopped.
    Stopped {},
    /// Its lease ends first.
    LeaseEnds {},
    /// Nothing exclusive changes hands.
    NotExclusive {},
    /// It may be one, and somebody accepts that.
    TwoWriters {
        /// Who.
        by: String,
    },
}

impl fmt::Display for OldOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OldOwner::SeenStandby {} => write!(f, "the old owner says that it is a standby"),
            OldOwner::CutOff {} => write!(f, "the old owner is cut off"),
            OldOwner::Stopped {} => write!(f, "the old owner is stopped"),
            OldOwner::LeaseEnds {} => write!(f, "the lease of the old owner ends"),
            OldOwner::NotExclusive {} => write!(f, "nothing exclusive changes hands"),
            OldOwner::TwoWriters { by } => write!(f, "two writers accepted by {by}"),
        }
    }
}

/// How an old owner was made unable to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// Every traffic process serves a table of this epoch, in which it has no clients.
    TrafficCut {
        /// The epoch.
        epoch: u64,
    },
    /// Its service was seen stopped.
    Stop {},
    /// Its lease is over: its host has stopped or demoted it, or has had all the time for that.
    Lease {},
}
