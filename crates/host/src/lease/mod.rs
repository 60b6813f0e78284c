//! Leases: a fence that holds when the wire is cut.
//!
//! The machine where a component lives holds a lease for it, and asks the agent again and again to renew it. When it can't, it
//! ends what it guards, and the agent, which heard nothing, waits until that must have happened.
//!
//! - [`book`]: the agent's side, who may hold.
//! - [`held`]: the machine's side, what it holds, in files.
//! - [`renewals`]: what the host process asks, and what it does with the answer.
//! - [`keeper`]: the process that ends what is guarded when its lease is over, also when the host process is killed or hangs.

pub mod book;
pub mod held;
pub mod keeper;
pub mod renewals;
