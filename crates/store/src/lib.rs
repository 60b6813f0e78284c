//!
//! This crate keeps what it is given, in the order it was given, and proves that it is unchanged. It knows nothing of
//! means for a recovery is decided by whoever holds the [`Journal`].

pub mod cache;
pub mod hash;
pub mod sqlite;
pub mod state_dir;

pub use cache::{Cache, CacheEntry, CacheError};
pub use hash::Hash;
pub use sqlite::DatabaseError;
pub use state_dir::{StateDir, StateDirError};
