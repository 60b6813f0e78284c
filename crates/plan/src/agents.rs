//! Agents beside the one that decides, and the store over which several of them agree.

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
