//! What other machines ask Mainstay over HTTP, and what it shows them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A certificate and its key, each in a PEM file on the machine that shows it. They are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate first, then those that lead from it to one that clients trust.
    pub cert_file: PathBuf,
    /// The certificate's private key, which no password locks.
    pub key_file: PathBuf,
}
