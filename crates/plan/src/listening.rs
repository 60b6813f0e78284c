//! What other machines ask Mainstay over HTTP, and what it shows them.

use std::net::SocketAddr;
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

/// Where jobs on other machines call the agent, and who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatListener {
    /// Where.
    pub listen: SocketAddr,
    /// A file of the agent's machine with tokens, one a line; a call has one of them. It is read again when it changes.
    pub token_file: PathBuf,
    /// What is shown over TLS; `None`: calls come over plain HTTP.
    pub tls: Option<TlsFiles>,
}
