//!
//! This crate keeps what it is given, in the order it was given, and proves that it is unchanged. It knows nothing of
//! means for a recovery is decided by whoever holds the [`Journal`].

pub mod state_dir;

pub use state_dir::{StateDir, StateDirError};
