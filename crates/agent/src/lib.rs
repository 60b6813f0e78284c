//! The agent: joins an engine to a journal, a host and a socket, and decides nothing itself.
//!
//! One loop owns the engine. Everything that happens (a probe's answer, a durable record, an operator's word, a signal)
//! comes to it through bounded queues, is folded, and one tick later whatever has to be done goes out again. The loop never
//! waits for a network, a person or the journal's disk; only a reload reads a file in it.

mod crash;
mod evacuations;
mod heartbeats;
mod hosts;
mod ledger;
mod operate;
mod pace;
mod past;
mod people;
mod places;
mod series;
mod server;
mod start;
mod surroundings;
pub mod takeover;
mod view;

/// A runtime for an agent: two threads where there are two processors, so that a burst of answers does not keep the loop
/// waiting.
///
/// # Errors
/// The system gives no threads or descriptors.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get().min(2));
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

pub use ledger::LedgerError;
pub use operate::Agent;
pub use start::{Options, PlanFile, StartError};
pub use surroundings::REAL as REAL_SURROUNDINGS;
