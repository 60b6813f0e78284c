//! How an agent and its hosts know and reach each other.
//!
//! It says nothing about what is to be done on a host, and decides nothing: [`trust`] answers who is at the other end,
//! [`message`] is what the two say, [`stream`] carries it, [`reception`] is where
//! hosts come in, [`agreement`] is what two hosts say to each other while no agent is heard, and [`may`] is what a host lets itself be asked for.

pub mod agreement;
pub mod may;
pub mod message;
pub mod reception;
pub mod stream;
pub mod trust;
