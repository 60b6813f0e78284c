//! `mainstay demo`: the whole story on this machine.
//!
//! A primary and a standby are real processes of a small order store ([`app`]).

pub(crate) mod app;
mod http;
