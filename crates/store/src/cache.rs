//! The cache: configuration copied from control planes while they worked.
//!
//! Each copy has a key, its source, and the time at which it was fetched. Nothing ever drops out of it: in an emergency
//! an old copy is better than none, so a stale one is returned, and says that it is stale. A copy whose bytes are not
//! what was put in is never returned. Time is passed in; this module reads no clock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::hash::Hash;
use crate::sqlite::{DatabaseError, Format};

/// The cache's file in the state directory.
pub const CACHE_FILE: &str = "cache.db";

const BUSY: Duration = Duration::from_secs(5);

const FORMAT: Format = Format {
    name: "cache",
    application_id: 0x4D53_4348,
    version: 1,
    schema: "
        CREATE TABLE copies (
            key TEXT PRIMARY KEY NOT NULL,
            source TEXT NOT NULL,
            kind TEXT NOT NULL,
            bytes BLOB NOT NULL,
            content_hash BLOB NOT NULL,
            fetched_at_ns INTEGER NOT NULL,
            ttl_ns INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
    ",
};

/// What is to be cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// What to ask for it by.
    pub key: String,
    /// Where it was copied from.
    pub source: String,
    /// What it is, in the words of who put it in.
    pub kind: String,
    /// Anything.
    pub bytes: Vec<u8>,
    /// When it was fetched: wall clock, nanoseconds since the Unix epoch.
    pub fetched_at_ns: i64,
    /// How long it counts as fresh; kept up to 292 years.
    pub ttl: Duration,
}

/// What was cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// What was put in.
    pub copy: CacheEntry,
    /// The hash of its bytes.
    pub content_hash: Hash,
    /// How long ago it was fetched; zero when the clock stands before that.
    pub age: Duration,
    /// Whether it is older than its TTL.
    pub stale: bool,
}

/// One line of [`Cache::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What to ask for it by.
    pub key: String,
    /// Where it was copied from.
    pub source: String,
    /// What it is.
    pub kind: String,
    /// Its size, in bytes.
    pub size_bytes: usize,
    /// When it was fetched: wall clock, nanoseconds since the Unix epoch.
    pub fetched_at_ns: i64,
    /// How long ago it was fetched.
    pub age: Duration,
    /// Whether it is older than its TTL.
    pub stale: bool,
    /// Whether its bytes are what was put in; [`Cache::get`] refuses it otherwise.
    pub intact: bool,
}

/// Why the cache does not answer.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Its file can't be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A copy is not what was put in.
    #[error(
        "the cached copy of `{key}` is damaged: its content hashes to {computed}, and {stored} was put in; fetch it again"
    )]
    Damaged {
        /// Its key.
        key: String,
        /// The hash of what was put in, in hexadecimal digits.
        stored: String,
        /// The hash of what is there.
        computed: Hash,
    },
    /// Reading failed.
    #[error("can't read the cache {}", path.display())]
    Read {
        /// The cache's file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Writing failed; the copy that was there before still is.
    #[error("can't write `{key}` to the cache {}", path.display())]
    Write {
        /// The key.
        key: String,
        /// The cache's file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// The cache. See the module.
#[derive(Debug)]
pub struct Cache {
    connection: Connection,
    path: PathBuf,
}

/// A row as it is stored, before its bytes are checked.
struct Stored {
    copy: CacheEntry,
    content_hash: Vec<u8>,
    computed: Hash,
}

impl Stored {
    fn intact(&self) -> bool {
        self.content_hash == self.computed.as_bytes()
    }
}

impl Cache {
    /// Opens the cache in `dir`, or begins one there.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let path = dir.join(CACHE_FILE);
        Ok(Self { connection: FORMAT.open(&path, BUSY)?, path })
    }

    /// Opens the cache in `dir` to read, also while an agent writes it.
    pub fn open_read_only(dir: &Path) -> Result<Self, CacheError> {
        let path = dir.join(CACHE_FILE);
        Ok(Self { connection: FORMAT.open_read_only(&path, BUSY)?, path })
    }

    /// Keeps `copy` in the place of the one with the same key; durable when this returns.
    pub fn put(&mut self, copy: &CacheEntry) -> Result<(), CacheError> {
        let ttl_ns = i64::try_from(copy.ttl.as_nanos()).unwrap_or(i64::MAX);
        let content_hash = Hash::of(&copy.bytes);
        let CacheEntry { key, source, kind, bytes, fetched_at_ns, .. } = copy;
        self.connection
            .execute(
                "INSERT OR REPLACE INTO copies (key, source, kind, bytes, content_hash, fetched_at_ns, ttl_ns)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                (key, source, kind, bytes, content_hash.as_bytes(), fetched_at_ns, ttl_ns),
            )
            .map(|_| ())
            .map_err(|source| CacheError::Write { key: key.clone(), path: self.path.clone(), source })
    }

    /// The copy with this key, fresh or stale, as seen at `now_ns`: wall clock, nanoseconds since the Unix epoch.
    pub fn get(&self, key: &str, now_ns: i64) -> Result<Option<Cached>, CacheError> {
        let stored = self
            .connection
            .prepare_cached(
                "SELECT key, source, kind, bytes, content_hash, fetched_at_ns, ttl_ns FROM copies WHERE key = ?1",
            )
            .and_then(|mut statement| statement.query_row([key], read_row).optional())
            .map_err(|source| self.read_error(source))?;
        let Some(stored) = stored else { return Ok(None) };
        if !stored.intact() {
            let Stored { copy, content_hash, computed } = stored;
            return Err(CacheError::Damaged { key: copy.key, stored: crate::hash::to_hex(&content_hash), computed });
        }
        let Stored { copy, computed, .. } = stored;
        let (age, stale) = freshness(&copy, now_ns);
        Ok(Some(Cached { copy, content_hash: computed, age, stale }))
    }

    /// All copies, by key, as seen at `now_ns`. A damaged one is listed as such and hides no other.
    pub fn list(&self, now_ns: i64) -> Result<Vec<Listed>, CacheError> {
        let read_all = || -> rusqlite::Result<Vec<Listed>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT key, source, kind, bytes, content_hash, fetched_at_ns, ttl_ns FROM copies ORDER BY key",
            )?;
            let rows = statement.query_map([], read_row)?;
            rows.map(|stored| stored.map(|stored| listed(stored, now_ns))).collect()
        };
        read_all().map_err(|source| self.read_error(source))
    }

    fn read_error(&self, source: rusqlite::Error) -> CacheError {
        CacheError::Read { path: self.path.clone(), source }
    }
}

fn listed(stored: Stored, now_ns: i64) -> Listed {
    let intact = stored.intact();
    let (age, stale) = freshness(&stored.copy, now_ns);
    let CacheEntry { key, source, kind, bytes, fetched_at_ns, .. } = stored.copy;
    Listed { key, source, kind, size_bytes: bytes.len(), fetched_at_ns, age, stale, intact }
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let ttl_ns: i64 = row.get(6)?;
    let copy = CacheEntry {
        key: row.get(0)?,
        source: row.get(1)?,
        kind: row.get(2)?,
        bytes: row.get(3)?,
        fetched_at_ns: row.get(5)?,
        ttl: Duration::from_nanos(u64::try_from(ttl_ns).unwrap_or(0)),
    };
    let computed = Hash::of(&copy.bytes);
    Ok(Stored { copy, content_hash: row.get(4)?, computed })
}

fn freshness(copy: &CacheEntry, now_ns: i64) -> (Duration, bool) {
    let age_ns = i128::from(now_ns) - i128::from(copy.fetched_at_ns);
    let age = Duration::from_nanos(u64::try_from(age_ns.max(0)).unwrap_or(u64::MAX));
    (age, age > copy.ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(key: &str, bytes: &[u8]) -> CacheEntry {
        let (source, kind) = ("route53".to_owned(), "record_set".to_owned());
        let ttl = Duration::from_nanos(50);
        CacheEntry { key: key.to_owned(), source, kind, bytes: bytes.to_vec(), fetched_at_ns: 100, ttl }
    }

    #[test]
    fn a_stale_copy_is_returned_and_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut cache = Cache::open(dir.path()).expect("opens");
        cache.put(&copy("a", b"one")).expect("writes");
        for (now, age, stale) in [(99, 0, false), (100, 0, false), (150, 50, false), (151, 51, true)] {
            let cached = cache.get("a", now).expect("reads").expect("is there");
            assert_eq!((cached.age, cached.stale), (Duration::from_nanos(age), stale), "at {now}");
            assert_eq!(cached.copy, copy("a", b"one"));
        }
        assert_eq!(cache.get("b", 100).expect("reads"), None);
    }

    #[test]
    fn the_last_copy_lasts() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut cache = Cache::open(dir.path()).expect("opens");
        cache.put(&copy("a", b"one")).expect("writes");
        cache.put(&copy("a", b"two")).expect("writes");
        let reader = Cache::open_read_only(dir.path()).expect("opens beside the writer");
        assert_eq!(reader.get("a", 100).expect("reads").expect("is there").copy.bytes, b"two");
        drop((cache, reader));
        let cache = Cache::open(dir.path()).expect("opens again");
        assert_eq!(cache.get("a", 100).expect("reads").expect("is there").copy.bytes, b"two");
        assert_eq!(cache.list(100).expect("reads").len(), 1);
    }

    #[test]
    fn a_damaged_copy_is_refused_by_name_and_hides_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut cache = Cache::open(dir.path()).expect("opens");
        cache.put(&copy("a", b"one")).expect("writes");
        cache.put(&copy("b", b"two")).expect("writes");
        cache.connection.execute("UPDATE copies SET bytes = x'00' WHERE key = 'a'", []).expect("writes");
        let error = cache.get("a", 100).expect_err("is damaged");
        assert!(matches!(&error, CacheError::Damaged { key, .. } if key == "a"), "{error:?}");
        assert!(error.to_string().contains("`a`"), "{error}");
        cache.get("b", 100).expect("is whole");
        let intact: Vec<_> = cache.list(100).expect("reads").into_iter().map(|copy| (copy.key, copy.intact)).collect();
        assert_eq!(intact, [("a".to_owned(), false), ("b".to_owned(), true)]);
        cache.put(&copy("a", b"one")).expect("heals");
        cache.get("a", 100).expect("is whole again");
    }

    #[test]
    fn times_at_the_ends_of_their_range_are_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut cache = Cache::open(dir.path()).expect("opens");
        let forever = CacheEntry { ttl: Duration::MAX, fetched_at_ns: i64::MIN, ..copy("a", b"") };
        cache.put(&forever).expect("writes");
        let cached = cache.get("a", i64::MAX).expect("reads").expect("is there");
        assert_eq!(cached.age, Duration::from_nanos(u64::MAX));
        assert!(cached.stale);
    }

    #[test]
    fn another_file_is_no_cache() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(CACHE_FILE), "text").expect("writes");
        let error = Cache::open(dir.path()).expect_err("is text");
        assert!(matches!(error, CacheError::Database(DatabaseError::Foreign { name: "cache", .. })), "{error:?}");
        assert!(matches!(
            Cache::open_read_only(&dir.path().join("none")).expect_err("is not there"),
            CacheError::Database(DatabaseError::Missing { .. })
        ));
    }
}
