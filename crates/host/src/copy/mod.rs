//! Copies of the agent's journal on hosts, so that it can be gone on with when the agent's machine is lost.
//!
//! - [`sender`]: the agent's side, what is sent to each host.
//! - [`growth`]: how the journal grew, to know how old what a copy lacks is.
//! - [`kept`]: a host's copy. It is a journal like any other, record for record and hash for hash.

pub mod growth;
pub mod kept;
pub mod sender;
