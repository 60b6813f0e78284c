//! What an action needs beside its target, prepared ahead: credentials, and configuration copied from control planes.

use std::path::PathBuf;
use std::time::Duration;

use crate::location::Location;

/// Something that must be there when an action runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its name, unique among credentials and cache entries.
    pub name: String,
    /// What it is.
    pub kind: PreparedKind,
    /// The file that holds it.
    pub file: PathBuf,
    /// Where it lives: with the agent unless the plan says otherwise.
    pub location: Location,
}

/// What is prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreparedKind {
    /// What proves to somebody else that an action may be done.
    Credential,
    /// Configuration that was copied while its control plane worked.
    CacheEntry {
        /// The oldest that it should be. An older one is used in an emergency, and said.
        max_age: Duration,
    },
}

impl PreparedKind {
    /// What a person calls it.
    pub const fn word(self) -> &'static str {
        match self {
            PreparedKind::Credential => "credential",
            PreparedKind::CacheEntry { .. } => "cache entry",
        }
    }
}
