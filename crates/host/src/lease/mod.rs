//! Leases: a fence that holds when the wire is cut.
//!
//! The machine where a component lives holds a lease for it, and asks the agent again and again to renew it. When it can't, it
//! ends what it guards, and the agent, which heard nothing, waits until that must have happened.
//!
//! - [`book`]: the agent's side, who may hold.
//! - [`grantor`]: the same, with its disk, for the agent's links.
//! - [`held`]: the machine's side, what it holds, in files.
//! - [`renewals`]: what the host process asks, and what it does with the answer.
//! - [`keeper`]: the process that ends what is guarded when its lease is over, also when the host process is killed or hangs.
//! - [`promises`]: what this machine does while no agent is heard, and what it gave its word for.
//! - [`leash`]: runs a program under a lease, so that the kernel itself ends it.

pub mod book;
pub mod grantor;
pub mod held;
pub mod keeper;
pub mod leash;
pub mod promises;
pub mod renewals;
