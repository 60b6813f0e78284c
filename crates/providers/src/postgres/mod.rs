//! PostgreSQL servers: what they are asked and what is done to them, over their own protocol and by their own programs.
//!
//! Each question is a connection of its own: it also shows that new clients are let in. Passwords are read from files when they
//! are used, and stand in no error.

mod act;
mod backup;
mod clone;
mod connect;
mod conninfo;
mod keeping;
mod lost;
mod own;
mod place;
mod probe;
mod rejoin;
mod restore;
mod rewind;
mod service;

pub(crate) use act::{may_be_done, perform};
pub use backup::{TakeBackup, TakenBackup};
pub(crate) use backup::{io_error, take};
pub(crate) use connect::prepare;
pub(crate) use keeping::{choose, prepare_keeping, programs_of_keeping};
pub(crate) use own::NO_LINK;
pub(crate) use place::{prepare_restore, programs_of_restore};
pub(crate) use probe::ask;
pub(crate) use rejoin::{prepare_rejoin, programs_of_rejoin};
pub use restore::{RestoreBackup, RestoreTarget, RestoredServer};
pub(crate) use restore::{restore, test};
pub(crate) use service::{look, operate, programs};
