//! What comes out of a tick, as one ordered batch.

use std::time::Duration;

use mainstay_plan::ProbeIx;
use mainstay_plan::action::Action;
use mainstay_plan::routing::RoutingTable;

use crate::record::{Record, StepRef};

/// One effect. `Record` and `Probe` are emitted at once; all others only after the record that justifies them is known
/// to be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append this to the journal. Records are numbered in the order in which they are emitted.
    Record(Record),
    /// Ask this probe now; the answer comes back as an observation.
    Probe(ProbeIx),
    /// Do this; the outcome comes back under the same step.
    Act(Order),
    /// Stop doing this, if it is still being done. No outcome is waited for.
    Cancel(StepRef),
    /// Serve this table; acknowledgements come back by process.
    Route(RoutingTable),
    /// Tell people.
    Notify(Notice),
}

/// One action to perform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The step that it belongs to.
    pub step: StepRef,
    /// The instance that it is done to.
    pub instance: String,
    /// What to do.
    pub action: Action,
    /// Visible to the callee; the same again after an unknown outcome.
    pub key: String,
    /// After this the outcome is unknown.
    pub timeout: Duration,
}

/// Something that people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Unique: the sequence number of the record behind it.
    pub key: String,
    /// How loud.
    pub level: NoticeLevel,
    /// One line.
    pub text: String,
}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeLevel {
    /// For the record.
    Info,
    /// Someone should look.
    Warning,
    /// Something is broken and Mainstay can't mend it.
    Error,
}
