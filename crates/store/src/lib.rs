//! Bytes that outlive the process: the state directory, the journal and the cache.
//!
//! This crate keeps what it is given, in the order it was given, and proves that it is unchanged. It knows nothing of
//! what the bytes mean, reads no configuration, and decides nothing: what a slow disk, a full disk or a lost journal
//! means for a recovery is decided by whoever holds the [`Journal`].

pub mod cache;
pub mod hash;
pub mod journal;
pub mod sqlite;
pub mod state_dir;

pub use cache::{Cache, CacheEntry, CacheError};
pub use hash::Hash;
pub use journal::{Entry, Event, Fallback, Journal, Options, Reader, Record};
pub use sqlite::DatabaseError;
pub use state_dir::{StateDir, StateDirError};
