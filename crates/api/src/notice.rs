//! What people should know, and over which channels they are told.

use serde::{Deserialize, Serialize};

use crate::Nanos;

/// How many notices stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeCount {
    /// All that stand.
    pub standing: usize,
    /// Those of them that nobody has acknowledged, and that somebody should look at.
    pub unseen: usize,
    /// The channels that carry nothing at the moment.
    pub failing: Vec<String>,
}

/// What people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notices {
    /// The moment of the answer.
    pub now_ns: Nanos,
    /// The newest first.
    pub notices: Vec<Notice>,
    /// In the order of the plan.
    pub channels: Vec<Channel>,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// `n17`: the number of the record that opened it.
    pub id: String,
    /// A component, or what else it is about.
    pub about: String,
    /// `info`, `warning` or `error`: the loudest that it was.
    pub level: String,
    /// The newest of it.
    pub text: String,
    /// When it was opened.
    pub opened_ns: Nanos,
    /// When it was over.
    pub over_ns: Option<Nanos>,
    /// Who has seen it.
    pub acknowledged: Option<Acknowledged>,
    /// The recoveries that it tells of.
    pub recoveries: Vec<String>,
    /// How many messages were made of it.
    pub messages: u32,
    /// How many steps of the escalation were taken.
    pub escalated: usize,
    /// Who was told.
    pub told: Vec<ToldOver>,
}

/// A person has seen a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at_ns: Nanos,
    /// What they said.
    pub reason: String,
}

/// A channel that a notice was given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldOver {
    /// The channel.
    pub channel: String,
    /// Whether all of it has arrived.
    pub arrived: bool,
}

/// A notification channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Messages that have not arrived.
    pub waiting: usize,
    /// How often it failed in a row.
    pub failures: u32,
    /// Why it failed last.
    pub trouble: Option<String>,
    /// When it is tried again.
    pub again_ns: Option<Nanos>,
    /// Messages that gave way to newer ones because too many waited.
    pub dropped: u64,
}
