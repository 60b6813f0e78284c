//! The hands on one machine: asks probes, performs orders, and supervises the traffic process.
//!
//! A host decides nothing. It is told what to do, does it through the providers, stamps when, and reports what was seen.
//! The agent reaches its own machine through this crate, called in process; other machines run the same code behind a wire.

pub mod clock;
pub mod copy;
mod crash;
pub mod daemon;
pub mod hands;
pub mod lease;
pub mod links;
mod pulse;
mod ration;
mod rounds;
pub mod traffic;

pub use clock::Clock;
pub use hands::{Hands, Job, JobOf, Report};
pub use links::Links;
pub use mainstay_providers::ResolvedName;
pub use traffic::{Launch, TrafficLink};
