//! The whole process against real sockets.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod agent_check;
mod beacon;
mod control;
mod crowds;
mod dns;
mod dns_programs;
mod names;
mod proxy;
mod running;
mod secondaries;
mod stability;
mod unix;
