//! A bucket that holds what the folder of a series holds.
//!
//! A key is a path in the folder. What is immutable there is so here: nothing is put in place of something else. A backup's description is put
//! last and removed first, so that one that has it is whole. What was removed from the folder stays until its time is over by its own
//! description: a folder that was lost takes nothing with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use mainstay_backups::{Backup, Folder, Lock, NAME_OF_DATA, WalName, first_kept, is_name_of_backup};

use super::store::{Put, Store};
use super::{BucketError, joined, owner};
use crate::Inner;
use crate::postgres::io_error;

/// How many objects are moved at once.
const AT_ONCE: usize = 8;

pub(super) const LOG: &str = "wal/";
pub(super) const BASE: &str = "base/";
pub(super) const DESCRIPTION: &str = "backup.json";

/// What was copied to a bucket, and removed from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The bucket, as `s3://NAME/PREFIX`.
    pub to: String,
    /// The names of the backups that were not there.
    pub backups: Vec<String>,
    /// How many files of the log were not.
    pub log: u64,
    /// The names of the backups that nobody needs any more.
    pub removed: Vec<String>,
    /// How many files of the log only those needed.
    pub removed_of_the_log: u64,
    /// Why not all that is old was removed.
    pub trouble: Option<String>,
}

/// What a bucket lacks of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// The bucket, as `s3://NAME/PREFIX`.
    pub of: String,
    /// The names of backups.
    pub backups: Vec<String>,
    /// How many files of the log.
    pub log: u64,
}

/// The backups in a bucket: by name, what each has, by key.
pub(super) struct Bases(BTreeMap<String, BTreeMap<String, u64>>);

impl Bases {
    pub(super) async fn list(store: &Store<'_>) -> Result<Bases, String> {
        let mut bases: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (key, size) in store.list(BASE).await? {
            // What is called otherwise is not ours.
            let name = key.strip_prefix(BASE).and_then(|it| it.split_once('/')).map(|it| it.0);
            if let Some(name) = name.filter(|it| is_name_of_backup(it)) {
                bases.entry(name.to_owned()).or_default().insert(key, size);
            }
        }
        Ok(Bases(bases))
    }

    /// What those that are whole say of themselves, the oldest first, and why some can't be used.
    pub(super) async fn described(&self, store: &Store<'_>) -> Result<(Vec<Backup>, Vec<String>), String> {
        let (mut whole, mut unreadable) = (Vec::new(), Vec::new());
        for name in self.whole() {
            match described(store, name).await? {
                Ok(backup) => whole.push(backup),
                Err(why) => unreadable.push(format!("{}: {} {why}", store.name(), description(name))),
            }
        }
        whole.sort_by(|one, other| (one.began, &one.name).cmp(&(other.began, &other.name)));
        Ok((whole, unreadable))
    }

    pub(super) fn of(&self, name: &str) -> impl Iterator<Item = (&str, u64)> {
        self.0.get(name).into_iter().flatten().map(|(key, size)| (key.as_str(), *size))
    }

    /// The names of those that are whole.
    pub(super) fn whole(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|it| it.1.contains_key(&description(it.0))).map(|it| it.0.as_str())
    }

    fn is_whole(&self, name: &str) -> bool {
        self.whole().any(|it| it == name)
    }
}

pub(super) fn description(name: &str) -> String {
    format!("{BASE}{name}/{DESCRIPTION}")
}

pub(super) fn data(name: &str) -> String {
    format!("{BASE}{name}/{NAME_OF_DATA}/")
}

/// What a backup in a bucket says of itself, or why that can't be read.
async fn described(store: &Store<'_>, name: &str) -> Result<Result<Backup, String>, String> {
    let Some(text) = store.get_text(&description(name)).await? else {
        return Ok(Err("was removed meanwhile".to_owned()));
    };
    Ok(match serde_json::from_str::<Backup>(&text) {
        Ok(backup) if backup.name == name => Ok(backup),
        Ok(backup) => Err(format!("is of `{}`", backup.name)),
        Err(error) => Err(format!("is damaged: {error}")),
    })
}

/// The log in a bucket: by name, what it is, and how many bytes each file has.
pub(super) async fn log_in(store: &Store<'_>) -> Result<BTreeMap<String, (WalName, u64)>, String> {
    let all = store.list(LOG).await?.into_iter();
    let of_log = |(key, size): (String, u64)| {
        let name = key.strip_prefix(LOG)?;
        Some((name.to_owned(), (WalName::read(name)?, size)))
    };
    Ok(all.filter_map(of_log).collect())
}

/// How many bytes a segment of that log has; `None`: none is there.
pub(super) fn segment_bytes(log: &BTreeMap<String, (WalName, u64)>) -> Option<u64> {
    let segments = log.values().filter(|it| matches!(it.0, WalName::Segment(_))).map(|it| it.1);
    // The sizes that a server can have been told. With too small a one, what is needed would seem to be old.
    segments.filter(|it| it.is_power_of_two() && (1 << 20..=1 << 30).contains(it)).max()
}

/// Whether the bucket's file can be read. The bucket is asked nothing.
pub(crate) async fn prepare(inner: &Inner, bucket: &Path) -> Result<(), String> {
    Store::open(inner, bucket).await.map(drop)
}

/// Copies what the bucket lacks; with `keep`, removes what nobody needs there to restore a moment of that time.
pub(crate) async fn copy(
    inner: &Inner,
    folder: &Folder,
    _alone: &Lock,
    bucket: &Path,
    keep: Option<Duration>,
) -> Result<Copied, BucketError> {
    let store = Store::open(inner, bucket).await?;
    let mut copied = Copied { to: store.name(), ..Copied::default() };
    if blocking(inner, folder, |it| it.system().map_err(io_error)).await?.is_none() {
        // Nothing is in it, and no place is taken for nothing.
        return Ok(copied);
    }
    owner::claim(inner, &store, folder).await?;
    copied.log = copy_log(inner, &store, folder).await?;
    let bases = Bases::list(&store).await?;
    let listed = blocking(inner, folder, |it| it.backups().map_err(io_error)).await?;
    for backup in listed.backups.iter().filter(|it| !bases.is_whole(&it.name)) {
        copy_base(inner, &store, folder, backup, &bases).await?;
        copied.backups.push(backup.name.clone());
    }
    if let Some(keep) = keep {
        let here: BTreeSet<String> = listed.backups.into_iter().map(|it| it.name).collect();
        remove_old(inner, &store, folder, (&here, keep), &mut copied).await?;
    }
    Ok(copied)
}

/// What the bucket lacks of the folder.
pub(crate) async fn lacking(inner: &Inner, folder: &Folder, bucket: &Path) -> Result<Lacking, BucketError> {
    let store = Store::open(inner, bucket).await?;
    if let Some(owner) = owner::of(&store).await? {
        owner::look(inner, &store, folder, &owner).await?;
    }
    let (log, bases) = (log_in(&store).await?, Bases::list(&store).await?);
    let listed = blocking(inner, folder, |it| it.backups().map_err(io_error)).await?;
    let here = blocking(inner, folder, |it| it.log().map_err(io_error)).await?;
    let missing = here.iter().filter(|(name, length)| log.get(*name).is_none_or(|it| it.1 != **length)).count();
    let backups = listed.backups.into_iter().map(|it| it.name).filter(|it| !bases.is_whole(it)).collect();
    Ok(Lacking { of: store.name(), backups, log: u64::try_from(missing).unwrap_or(u64::MAX) })
}

/// What the bucket has of the log: by name, how many bytes each file has.
pub(crate) async fn log(inner: &Inner, bucket: &Path) -> Result<BTreeMap<String, u64>, String> {
    let log = log_in(&Store::open(inner, bucket).await?).await?;
    Ok(log.into_iter().map(|(name, (_, size))| (name, size)).collect())
}

/// Copies one file of the archive.
pub(crate) async fn copy_one(inner: &Inner, folder: &Folder, bucket: &Path, name: &str) -> Result<(), BucketError> {
    let store = Store::open(inner, bucket).await?;
    owner::claim(inner, &store, folder).await?;
    put_same(&store, format!("{LOG}{name}"), Some(folder.path_of_log(name))).await
}

async fn copy_log(inner: &Inner, store: &Store<'_>, folder: &Folder) -> Result<u64, BucketError> {
    let there = log_in(store).await?;
    let here = blocking(inner, folder, |it| it.log().map_err(io_error)).await?;
    let mut missing = Vec::new();
    for (name, length) in here {
        let key = format!("{LOG}{name}");
        match there.get(&name) {
            Some(there) if there.1 == length => {}
            Some(_) => return Err(differs(store, &key)),
            None => missing.push((key, folder.path_of_log(&name))),
        }
    }
    let many = u64::try_from(missing.len()).unwrap_or(u64::MAX);
    at_once(missing.into_iter().map(|(key, path)| put_same(store, key, Some(path)).boxed()).collect()).await?;
    Ok(many)
}

/// Puts a file, unless the same is there; without one, a folder in which nothing is.
async fn put_same(store: &Store<'_>, key: String, path: Option<PathBuf>) -> Result<(), BucketError> {
    let Some(path) = path else {
        store.put_bytes(&key, b"").await?;
        return Ok(());
    };
    match store.put_file(&key, &path).await? {
        Put::Done => Ok(()),
        Put::Taken if store.is_same(&key, &path).await? => Ok(()),
        Put::Taken => Err(differs(store, &key)),
    }
}

/// Does all of it, a few at once, until one fails.
pub(super) async fn at_once<T, E>(all: Vec<BoxFuture<'_, Result<T, E>>>) -> Result<Vec<T>, E> {
    stream::iter(all).buffer_unordered(AT_ONCE).try_collect().await
}

fn differs(store: &Store<'_>, key: &str) -> BucketError {
    BucketError::Refused(format!(
        "{}: another {key} is in it, and stays: if it is the wrong one, remove it there",
        store.name()
    ))
}

async fn copy_base(
    inner: &Inner,
    store: &Store<'_>,
    folder: &Folder,
    backup: &Backup,
    bases: &Bases,
) -> Result<(), BucketError> {
    let of = backup.clone();
    let holding = blocking(inner, folder, move |it| it.holding(&of).map_err(io_error)).await?;
    let there: BTreeMap<&str, u64> = bases.of(&backup.name).collect();
    let (below, from) = (data(&backup.name), folder.data_of(backup));
    let key = |path: &Path| match path.to_str() {
        Some(path) => Ok(format!("{below}{path}")),
        None => Err(format!("{}: its name is no text", from.join(path).display())),
    };
    let mut missing: Vec<(String, Option<PathBuf>)> = Vec::new();
    for (path, length) in &holding.files {
        let key = key(path)?;
        match there.get(key.as_str()) {
            // From a copy that was ended in the middle.
            Some(there) if there == length => {}
            Some(_) => return Err(differs(store, &key)),
            None => missing.push((key, Some(from.join(path)))),
        }
    }
    for path in &holding.empty {
        let key = format!("{}/", key(path)?);
        if !there.contains_key(key.as_str()) {
            missing.push((key, None));
        }
    }
    at_once(missing.into_iter().map(|(key, path)| put_same(store, key, path).boxed()).collect()).await?;
    // Nobody else may have removed some of it meanwhile.
    let there = store.list(&below).await?;
    for path in holding.files.keys() {
        let key = key(path)?;
        if !there.contains_key(&key) {
            return Err(BucketError::Failed(format!("{}: {key} was removed meanwhile", store.name())));
        }
    }
    let description_here = from.with_file_name(DESCRIPTION);
    put_same(store, description(&backup.name), Some(description_here)).await
}

async fn remove_old(
    inner: &Inner,
    store: &Store<'_>,
    folder: &Folder,
    (here, keep): (&BTreeSet<String>, Duration),
    copied: &mut Copied,
) -> Result<(), BucketError> {
    let bases = Bases::list(store).await?;
    let (whole, unreadable) = bases.described(store).await?;
    let first = first_kept(&whole, keep, Timestamp::now());
    // What is in the folder stays: it would be copied again.
    let is_kept = |(nth, it): &(usize, &Backup)| *nth >= first || here.contains(&it.name);
    let (kept, old): (Vec<_>, Vec<_>) = whole.iter().enumerate().partition(is_kept);
    for (_, backup) in old {
        remove_base(store, &bases, &backup.name).await?;
        copied.removed.push(backup.name.clone());
    }
    // Nobody goes on copying them.
    let left = bases.0.keys().filter(|it| !bases.is_whole(it) && !here.contains(*it));
    for name in left {
        remove_base(store, &bases, name).await?;
    }
    if !unreadable.is_empty() {
        let why = "none of the log was removed, which it may need: remove all that begins as its key does";
        copied.trouble = Some(format!("{}; {why}", joined(&unreadable)));
        return Ok(());
    }
    let log = log_in(store).await?;
    let start = kept.iter().map(|it| it.1.start).min();
    let (Some(start), Some(size)) = (start, segment_bytes(&log)) else { return Ok(()) };
    let here = blocking(inner, folder, |it| it.log().map_err(io_error)).await?;
    let unneeded = log.iter().filter(|(name, it)| !it.0.is_needed(start, size) && !here.contains_key(*name));
    let unneeded: Vec<String> = unneeded.map(|it| format!("{LOG}{}", it.0)).collect();
    copied.removed_of_the_log = u64::try_from(unneeded.len()).unwrap_or(u64::MAX);
    remove_all(store, unneeded.iter().map(String::as_str)).await?;
    Ok(())
}

async fn remove_base(store: &Store<'_>, bases: &Bases, name: &str) -> Result<(), String> {
    let description = description(name);
    store.remove(&description).await?;
    remove_all(store, bases.of(name).map(|it| it.0).filter(|it| *it != description)).await
}

async fn remove_all<'k>(store: &Store<'_>, keys: impl Iterator<Item = &'k str>) -> Result<(), String> {
    at_once(keys.map(|it| store.remove(it).boxed()).collect()).await.map(drop)
}

/// What waits for the disk, one at a time for each folder.
pub(super) async fn blocking<T: Send + 'static>(
    inner: &Inner,
    folder: &Folder,
    what: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let folder = folder.clone();
    let done = inner.gates.run(format!("backups in {}", folder.path().display()), move || what(&folder)).await;
    done.map_err(|it| it.to_string())
}
