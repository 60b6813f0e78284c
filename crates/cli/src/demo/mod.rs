//! `mainstay demo`: the whole story on this machine.
//!
//! A primary and a standby are real processes of a small order store ([`app`]); clients ([`client`]) measure from their
//! own side what a failure costs them.

pub(crate) mod app;
pub(crate) mod client;
mod http;
