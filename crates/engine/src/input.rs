//! What comes in. Folding an input never decides anything.

use std::sync::Arc;

use mainstay_plan::action::Outcome;
use mainstay_plan::observation::{Health, Observation};
use mainstay_plan::{InstanceIx, Plan, Time};

use crate::command::Command;
use crate::record::{NoticeId, ReportedTarget, StepRef};

/// One fact from outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A probe answered.
    Observation(Observation),
    /// An action ended.
    Outcome {
        /// The step that it belongs to.
        step: StepRef,
        /// How it ended.
        outcome: Outcome,
    },
    /// Every record up to this sequence number is durable.
    Recorded(u64),
    /// A traffic process acknowledged a routing table.
    RouteApplied {
        /// The process.
        process: String,
        /// The table's epoch.
        epoch: u64,
    },
    /// A traffic process refused a routing table.
    RouteRefused {
        /// The process.
        process: String,
        /// The table's epoch.
        epoch: u64,
        /// Why.
        reason: String,
    },
    /// A traffic process says what it serves: when the connection to it is new.
    TrafficServes {
        /// The process.
        process: String,
        /// The table's epoch.
        epoch: u64,
        /// What it serves.
        targets: Vec<ReportedTarget>,
    },
    /// A traffic process on a host is silent: nothing is heard of it, and nothing is sent to it any more.
    TrafficSilent {
        /// The process.
        process: String,
        /// The last moment, on this agent's timeline, at which it may have had a word of this agent that counts for it.
        since: Time,
    },
    /// Clients could not reach an instance through a proxy: no verdict, and a reason to look now.
    ClientsFailed {
        /// Which.
        instance: InstanceIx,
    },
    /// An operator's order, already found acceptable by [`crate::Engine::check_command`].
    Command {
        /// What.
        command: Command,
        /// Who.
        by: String,
    },
    /// A new plan, checked, to be used from here on.
    NewPlan {
        /// The plan.
        plan: Arc<Plan>,
        /// The folder against which its relative paths were resolved.
        base_dir: String,
    },
    /// The journal can't be written any more.
    JournalLost {
        /// Why.
        reason: String,
    },
    /// A channel said what became of a message.
    Told {
        /// The channel.
        channel: String,
        /// The notice.
        notice: NoticeId,
        /// Which of its messages.
        nth: u32,
        /// Done: it has arrived.
        outcome: Outcome,
    },
    /// The store granted this agent the lease.
    LeaseGranted {
        /// Its epoch: it grows with each new holder.
        epoch: u64,
        /// When the store was asked, on this agent's timeline: from then on the lease counts.
        asked: Time,
    },
    /// Another agent has the lease.
    LeaseHeld {
        /// Which.
        by: String,
        /// Its epoch.
        epoch: u64,
    },
    /// The store can't be reached.
    StoreGone {
        /// Why.
        reason: String,
    },
    /// Another agent says what it sees of an instance.
    PeerObserved {
        /// Which agent.
        agent: String,
        /// The instance.
        instance: String,
        /// What it sees.
        health: Health,
        /// When it asked, on this agent's timeline.
        asked: Time,
    },
    /// Somebody came as a host and was turned away.
    HostRefused {
        /// Who, as far as it is known.
        who: String,
        /// Why.
        why: String,
    },
    /// Another agent gives an order.
    PeerOrder {
        /// Which agent.
        from: String,
        /// The epoch that it acts under.
        epoch: u64,
        /// What is to be done.
        what: String,
    },
    /// The agent is about to end in order.
    Stopping {
        /// Why, for people.
        reason: String,
    },
}
