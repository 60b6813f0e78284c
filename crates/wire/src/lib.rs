//! How an agent and its hosts know and reach each other.
//!
//! It says nothing about what is to be done on a host, and decides nothing: [`message`] is what the two say, and [`may`] what a
//! host lets itself be asked for.

pub mod may;
pub mod message;
