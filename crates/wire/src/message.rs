//! What an agent and a host say to each other.
//!
//! Each message is one line of JSON: an object with one field, the word of the message. Fields that are not known are passed
//! over, so that the two may be one release apart; a message that is not known is answered with `not_understood` and not
//! acted upon. What is no JSON at all, or longer than [`LONGEST`] allows, ends the connection: whatever sent it is no agent
//! and no host.
//!
//! Times are durations, never dates: the two clocks are compared nowhere. Where a host has to know how old an order is, the
//! order says so on the host's own timeline ([`Sent`]).

mod line;

use std::net::{IpAddr, SocketAddr};

use mainstay_plan::action::{Action, Outcome};
use mainstay_plan::observation::{Answer, LogPosition};
use mainstay_plan::probe::ProbeKind;
use mainstay_plan::routing::{RoutingTable, TrafficReport};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::may::May;
pub use line::{Garbled, LONGEST, LONGEST_LARGE, Lines, Understood, decode, encode};

/// The version of the protocol. Both sides say theirs; one that is further apart than one is refused.
pub const PROTOCOL: u32 = 1;

/// One of the two vocabularies.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// The words of messages that may be as long as [`LONGEST_LARGE`].
    const LARGE: &'static [&'static str];
    /// All words.
    const WORDS: &'static [&'static str];

    /// Says that a message was not understood.
    fn not_understood(what: String) -> Self;
}

/// What an agent says to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromAgent {
    /// The first word of an agent, after the host's.
    Welcome(Welcome),
    /// Ask this probe now; the answer comes back in [`FromHost::Answers`].
    Ask(Box<Ask>),
    /// Do this; how it ended comes back as [`FromHost::Ended`].
    Act(Box<Act>),
    /// Stop doing this, if it is still being done.
    Cancel {
        /// Its idempotency key.
        key: String,
    },
    /// The answer to a [`Renew`].
    Granted(Granted),
    /// Give the lease back: stop or demote what it guards, see it stopped, and say [`FromHost::Released`].
    Revoke(Held),
    /// What to do while the agent is silent. The host says with its renewals by which it goes ([`Renew::stands`]).
    Stance(Box<Stance>),
    /// Serve this table; what becomes of it comes back as [`FromHost::Traffic`].
    Serve {
        /// The table.
        table: Box<RoutingTable>,
    },
    /// Keep these records of the agent's journal; answered by [`FromHost::Copied`].
    Copy {
        /// Each as `mainstay journal export` writes it, in order and without a gap.
        records: Vec<String>,
    },
    /// A message was not understood, and nothing was done about it.
    NotUnderstood {
        /// Which, and why.
        what: String,
    },
}

/// What a host says to its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHost {
    /// The first word of a connection. It counts as the renewal numbered 0.
    Hello(Box<Hello>),
    /// A sign of life, and the wish to hold what it guards for longer.
    Renew(Renew),
    /// What probes answered.
    Answers(Vec<Answered>),
    /// How far an order is, for people.
    Progress {
        /// Its idempotency key.
        key: String,
        /// What is being done.
        text: String,
    },
    /// An order ended.
    Ended(Ended),
    /// What it held is stopped or demoted, and that was seen.
    Released(Held),
    /// What its traffic process says.
    Traffic(TrafficNews),
    /// The records up to this one are on its disk.
    Copied(Head),
    /// A message was not understood, and nothing was done about it.
    NotUnderstood {
        /// Which, and why.
        what: String,
    },
}

/// An agent introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL`] of the agent.
    pub protocol: u32,
    /// The name that the agent gives the host: that of its certificate.
    pub host: String,
    /// Who the agent is, for people.
    pub agent: String,
    /// The site that it decides for.
    pub site: String,
    /// The version of its program.
    pub version: String,
    /// The epoch that it decides under. A host that has seen a higher one obeys this agent no more.
    pub epoch: u64,
    /// How leases are timed.
    pub lease: LeaseTimes,
    /// Whether it takes further connections of the same host, over other paths ([`Hello::beside`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paths: bool,
}

/// How leases are timed, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTimes {
    /// How often a host renews.
    pub renew_ms: u64,
    /// How long a lease is good after the renewal that it answers was sent.
    pub expires_ms: u64,
    /// How long stopping or demoting may take after that.
    pub demote_ms: u64,
    /// How far two clocks may drift apart meanwhile.
    pub drift_ms: u64,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Comes back with the answer.
    pub id: u64,
    /// What is asked.
    pub probe: ProbeKind,
    /// Where the instance is, if not where the probe says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<IpAddr>,
    /// The address of the host's own that it asks from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// How long the whole of it may take.
    pub timeout_ms: u64,
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The same for each attempt at one step: what was done under it is not done again.
    pub key: String,
    /// The recovery that it belongs to, for people.
    pub recovery: u64,
    /// The step of that recovery, for people.
    pub step: String,
    /// From 1; grows with each try that the agent decides on. A lower or equal one is a repetition.
    pub attempt: u32,
    /// The epoch that it is given under.
    pub epoch: u64,
    /// When it was sent.
    pub sent: Sent,
    /// How long after that it has ended, one way or the other.
    pub deadline_ms: u64,
    /// The instance that it is done to.
    pub instance: String,
    /// The component that this can be.
    pub component: String,
    /// Where the instance is, if not where the plan says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Whether it may be done only while the host holds the lease of `component` for `instance`.
    #[serde(default)]
    pub needs_lease: bool,
    /// What to do.
    pub action: Action,
}

/// When an agent said something, on the timeline of the host that hears it: so long after the host's renewal numbered `seq` had
/// arrived. The host adds this to when it sent that renewal, so that an order is taken for older than it is, never for younger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The renewal; 0 is the [`Hello`] of this connection.
    pub seq: u64,
    /// Milliseconds.
    pub after_ms: u64,
}

/// The answer to a [`Renew`]: what the host may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The renewal that it answers.
    pub seq: u64,
    /// What it holds, from when it *sent* that renewal...
    pub holds: Vec<Held>,
    /// ...for so long.
    pub ttl_ms: u64,
    /// Who holds goes by no [`Stance`] older than this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stance: u64,
}

/// What a host is to do while its agent is silent: whom it asks for its word that it may stay what it is, and whom it gives that
/// word. The newest one counts, whenever it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stance {
    /// The epoch that the agent decides under...
    pub epoch: u64,
    /// ...and a number that grows with each stance under it.
    pub nth: u64,
    /// Nobody gives his word who has heard an agent within so many milliseconds.
    pub silent_ms: u64,
    /// How long a host stays by the word of the others, from when it asked.
    pub expires_ms: u64,
    /// How long whoever gave that word takes no lease of the same component, from when he was asked.
    pub whole_ms: u64,
    /// What lives here and may stay if all of these others agree.
    pub stays: Vec<Stays>,
    /// Who may stay, as far as this host is asked.
    pub agrees: Vec<MayStay>,
    /// Who is known to act no more: a word that was given to him binds nobody.
    #[serde(default)]
    pub over: Vec<Held>,
}

/// Something that may stay what it is without a word of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stays {
    /// What.
    pub held: Held,
    /// The hosts where another instance of the component lives: each has to agree.
    pub peers: Vec<PeerAt>,
}

/// A host, and where it takes the questions of others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerAt {
    /// Its name.
    pub host: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Somebody on another host who may stay what he is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MayStay {
    /// What.
    pub held: Held,
    /// On whose machine: nobody else asks for it.
    pub host: String,
}

/// By which [`Stance`] a host goes. It is on its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stands {
    /// Its epoch.
    pub epoch: u64,
    /// Its number.
    pub nth: u64,
    /// The words that it has given and that still bind it.
    #[serde(default)]
    pub promised: Vec<Promised>,
    /// What it holds by the word of others, and not of the agent.
    #[serde(default)]
    pub stays: Vec<Held>,
}

/// A word that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promised {
    /// To whom.
    pub held: Held,
    /// How much longer it binds.
    pub left_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(it: &u64) -> bool {
    *it == 0
}

/// A component, and the instance that is this component alone as long as it holds the lease.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// The component.
    pub component: String,
    /// The instance.
    pub instance: String,
}

/// A host introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the host.
    pub protocol: u32,
    /// The version of its program.
    pub version: String,
    /// The kernel's word for this start of the machine.
    pub boot_id: String,
    /// How long ago the process started.
    pub up_ms: u64,
    /// The highest epoch that it has seen.
    pub epoch: u64,
    /// What it may be asked to do.
    pub may: May,
    /// What it can demote or stop by itself.
    pub guards: Vec<Held>,
    /// Whether it runs a traffic process.
    pub serves: bool,
    /// Whether it takes questions of other hosts.
    #[serde(default)]
    pub listens: bool,
    /// How far its copy of the agent's journal goes, if it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_head: Option<Head>,
    /// This connection is beside another one, over a path of its own: nothing but leases is renewed over it. The address that the host
    /// dialed, which names the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

/// A sign of life of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// From 1; grows by one, also over connections.
    pub seq: u64,
    /// How long ago it last heard the agent. It grows where the path to the host is broken and the one back is not.
    pub heard_ms: u64,
    /// Its wall clock, nanoseconds since the Unix epoch: shown to people, and used for nothing.
    pub wall_ns: u64,
    /// What it holds.
    pub holds: Vec<Held>,
    /// What it asks to hold from now on. It asks for nothing that it could not end in time.
    #[serde(default)]
    pub asks: Vec<Held>,
    /// What it does while the agent is silent; `None`: it was never told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands: Option<Stands>,
}

/// What one probe answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The question.
    pub id: u64,
    /// The answer.
    pub answer: Answer,
    /// How far the instance lags behind the active one, where the probe reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ns: Option<u64>,
    /// What the instance says that it is, where the probe reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What is to be said about a certificate that expires soon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiring: Option<String>,
    /// What is to be done beside the work and is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upkeep: Option<String>,
    /// How far the instance's data goes, where the probe reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<LogPosition>,
    /// From when the question had arrived to when the answer was given to the connection.
    pub took_ns: u64,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its idempotency key.
    pub key: String,
    /// Which attempt is answered.
    pub attempt: u32,
    /// How. It is on the host's disk.
    pub outcome: Outcome,
    /// Whether it had ended before it was asked for this time.
    #[serde(default)]
    pub done_before: bool,
}

/// A place in the agent's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of its last record; 0 while there is none.
    pub seq: u64,
    /// That record's hash.
    pub hash: String,
}

/// What the traffic process of a host says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficNews {
    /// The connection to it is new; this is what it serves.
    Serves(Box<TrafficReport>),
    /// What it serves, said again now and then.
    Stands(Box<TrafficReport>),
    /// It serves this epoch, and it is on its disk.
    Applied {
        /// The epoch.
        epoch: u64,
    },
    /// It refused a table.
    Refused {
        /// The epoch that was refused.
        epoch: u64,
        /// Why.
        reason: String,
    },
    /// Clients could not reach these instances.
    Failed {
        /// Their names.
        instances: Vec<String>,
    },
    /// It can't be reached.
    Lost {
        /// Why.
        reason: String,
    },
}

impl Message for FromAgent {
    const LARGE: &'static [&'static str] = &["serve", "copy"];
    const WORDS: &'static [&'static str] =
        &["welcome", "ask", "act", "cancel", "granted", "revoke", "stance", "serve", "copy", "not_understood"];

    fn not_understood(what: String) -> FromAgent {
        FromAgent::NotUnderstood { what }
    }
}

impl Message for FromHost {
    const LARGE: &'static [&'static str] = &["traffic"];
    const WORDS: &'static [&'static str] =
        &["hello", "renew", "answers", "progress", "ended", "released", "traffic", "copied", "not_understood"];

    fn not_understood(what: String) -> FromHost {
        FromHost::NotUnderstood { what }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
