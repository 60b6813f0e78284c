//! Agents beside the one that decides, and the store over which several of them agree.

use std::time::Duration;

use crate::location::Location;

/// An agent beside the site's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub location: Location,
    /// What it is for.
    pub role: AgentRole,
}

/// What a further agent is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentRole {
    /// `successor`: decides when the deciding agent is gone.
    Successor,
    /// `hands`: probes and acts on its machine, and decides nothing.
    Hands,
}

impl AgentRole {
    /// All of them.
    pub const ALL: [AgentRole; 2] = [AgentRole::Successor, AgentRole::Hands];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            AgentRole::Successor => "successor",
            AgentRole::Hands => "hands",
        }
    }
}

/// Where leases and epochs live when more than one agent may decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordination {
    /// What keeps them.
    pub store: StoreKind,
    /// Where it lives: for a replicated store the domain that takes all of it down.
    pub location: Location,
    /// How long an agent may decide without asking again.
    pub lease: Lease,
    /// What an agent may still do when the store can't be reached.
    pub alone: Alone,
}

/// How long an agent may decide without asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How often it is renewed.
    pub renew: Duration,
    /// How long it lasts, from when it was asked for.
    pub expires: Duration,
    /// How much the clocks of the agent and of the store may drift apart meanwhile.
    pub drift: Duration,
}

/// What an agent may still do when the store can't be reached, and its lease may have gone to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alone {
    /// `hold`, the default: nothing.
    Hold,
    /// `shared_only`: what can't give something exclusive two owners.
    SharedOnly,
    /// `proceed`: everything, also if another agent does the same.
    Proceed,
}

impl Alone {
    /// All of them.
    pub const ALL: [Alone; 3] = [Alone::Hold, Alone::SharedOnly, Alone::Proceed];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Alone::Hold => "hold",
            Alone::SharedOnly => "shared_only",
            Alone::Proceed => "proceed",
        }
    }
}

/// Engines that keep leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreKind {
    /// `etcd`
    Etcd,
    /// `dynamodb`
    DynamoDb,
    /// `postgresql`
    PostgreSql,
}

impl StoreKind {
    /// All of them.
    pub const ALL: [StoreKind; 3] = [StoreKind::Etcd, StoreKind::DynamoDb, StoreKind::PostgreSql];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            StoreKind::Etcd => "etcd",
            StoreKind::DynamoDb => "dynamodb",
            StoreKind::PostgreSql => "postgresql",
        }
    }
}
