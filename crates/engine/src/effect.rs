//! What comes out of a tick, as one ordered batch.

use std::net::IpAddr;
use std::time::Duration;

use mainstay_plan::ProbeIx;
use mainstay_plan::action::Action;
use mainstay_plan::routing::RoutingTable;

pub use mainstay_plan::notification::NoticeLevel;

use crate::record::{NoticeId, Record, StepRef};

/// One effect. `Record` and `Probe` are emitted at once; all others only after the record that justifies them is known
/// to be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append this to the journal. Records are numbered in the order in which they are emitted.
    Record(Record),
    /// Ask this probe now, at this address if its instance is not where the plan says; the answer comes back as an
    /// observation.
    Probe(ProbeIx, Option<IpAddr>),
    /// Do this; the outcome comes back under the same step.
    Act(Order),
    /// Stop doing this, if it is still being done. No outcome is waited for.
    Cancel(StepRef),
    /// Ask the store for the lease, or to renew it; the answer comes back as [`crate::Input::LeaseGranted`],
    /// [`crate::Input::LeaseHeld`] or [`crate::Input::StoreGone`].
    AskLease,
    /// From now on these may hold a lease, and nobody else: for each component one instance. Whoever keeps the leases grants
    /// none before what another instance was granted is over.
    Grant(Vec<Grant>),
    /// Connect anew to the traffic processes. Each of them refuses every table below this epoch from then on, says what it serves,
    /// and is heard no more on an old connection.
    HearTraffic(u64),
    /// Serve this table; acknowledgements come back by process.
    Route(RoutingTable),
    /// Write this into the log.
    Log(Line),
    /// Tell people.
    Notify(Telling),
}

/// A lease that may be held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The component that it is for.
    pub component: String,
    /// The instance that may hold it.
    pub instance: String,
}

/// One action to perform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The step that it belongs to.
    pub step: StepRef,
    /// The instance that it is done to.
    pub instance: String,
    /// The host that does it; `None`: the agent's own machine.
    pub host: Option<String>,
    /// Where the instance is, if not where the plan says.
    pub address: Option<IpAddr>,
    /// Whether it may only be done where the lease of the component is held: it makes the instance active.
    pub needs_lease: bool,
    /// What to do.
    pub action: Action,
    /// Visible to the callee; the same again after an unknown outcome.
    pub key: String,
    /// After this the outcome is unknown.
    pub timeout: Duration,
    /// The epoch that it is given under: that of the agent's lease, or of the last takeover where one agent decides alone. Whoever has seen
    /// a higher one refuses it.
    pub epoch: u64,
}

/// One message over one channel. What became of it comes back as [`crate::Input::Told`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The channel.
    pub channel: String,
    /// The notice.
    pub notice: NoticeId,
    /// Which of its messages.
    pub nth: u32,
    /// Unique, and the same again when it is not known whether it arrived.
    pub key: String,
    /// How loud.
    pub level: NoticeLevel,
    /// One line.
    pub text: String,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How loud.
    pub level: NoticeLevel,
    /// What.
    pub text: String,
}
