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
use mainstay_backups::{Backup, Folder, Lock, NAME_OF_DATA, WalName, first_kept};

use super::store::{Put, Store};
use crate::Inner;
use crate::postgres::io_error;

/// How many objects are moved at once.
const AT_ONCE: usize = 8;

pub(super) const SYSTEM: &str = "system";
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
            if let Some((name, _)) = key[BASE.len()..].split_once('/') {
                bases.entry(name.to_owned()).or_default().insert(key, size);
            }
        }
        Ok(Bases(bases))
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

/// What a backup in a bucket says of itself.
pub(super) async fn described(store: &Store<'_>, name: &str) -> Result<Backup, String> {
    let key = description(name);
    let text = store.get_text(&key).await?.ok_or_else(|| format!("{}: {key} was removed meanwhile", store.name()))?;
    let backup: Backup =
        serde_json::from_str(&text).map_err(|error| format!("{}: {key} is damaged: {error}", store.name()))?;
    match backup.name == name {
        true => Ok(backup),
        false => Err(format!("{}: {key} is of `{}`", store.name(), backup.name)),
    }
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
) -> Result<Copied, String> {
    let store = Store::open(inner, bucket).await?;
    let mut copied = Copied { to: store.name(), ..Copied::default() };
    if !claim(inner, &store, folder).await? {
        return Ok(copied);
    }
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
pub(crate) async fn lacking(inner: &Inner, folder: &Folder, bucket: &Path) -> Result<Lacking, String> {
    let store = Store::open(inner, bucket).await?;
    let (log, bases) = (store.list(LOG).await?, Bases::list(&store).await?);
    let listed = blocking(inner, folder, |it| it.backups().map_err(io_error)).await?;
    let here = blocking(inner, folder, |it| it.log().map_err(io_error)).await?;
    let missing = here.keys().filter(|it| !log.contains_key(&format!("{LOG}{it}"))).count();
    let backups = listed.backups.into_iter().map(|it| it.name).filter(|it| !bases.is_whole(it)).collect();
    Ok(Lacking { of: store.name(), backups, log: u64::try_from(missing).unwrap_or(u64::MAX) })
}

/// Copies one file of the archive.
pub(crate) async fn copy_one(inner: &Inner, folder: &Folder, bucket: &Path, name: &str) -> Result<(), String> {
    let store = Store::open(inner, bucket).await?;
    claim(inner, &store, folder).await?;
    put_same(&store, format!("{LOG}{name}"), Some(folder.path_of_log(name))).await
}

/// Makes sure that the bucket's place is the server's whose folder that is. `false`: it is nobody's, and nothing is in it.
async fn claim(inner: &Inner, store: &Store<'_>, folder: &Folder) -> Result<bool, String> {
    let Some(system) = blocking(inner, folder, |it| it.system().map_err(io_error)).await? else { return Ok(false) };
    let text = match store.get_text(SYSTEM).await? {
        Some(text) => text,
        None => {
            store.put_bytes(SYSTEM, format!("{system}\n").as_bytes()).await?;
            store.get_text(SYSTEM).await?.unwrap_or_default()
        }
    };
    match text.trim().parse() == Ok(system) {
        true => Ok(true),
        false => Err(format!(
            "{} holds what is of the server with the system identifier {}, and this is of {system}",
            store.name(),
            text.trim()
        )),
    }
}

async fn copy_log(inner: &Inner, store: &Store<'_>, folder: &Folder) -> Result<u64, String> {
    let there = store.list(LOG).await?;
    let here = blocking(inner, folder, |it| it.log().map_err(io_error)).await?;
    let mut missing = Vec::new();
    for (name, length) in here {
        let key = format!("{LOG}{name}");
        match there.get(&key) {
            Some(there) if *there == length => {}
            Some(_) => return Err(differs(store, &key)),
            None => missing.push((key, folder.path_of_log(&name))),
        }
    }
    let many = u64::try_from(missing.len()).unwrap_or(u64::MAX);
    at_once(missing.into_iter().map(|(key, path)| put_same(store, key, Some(path)).boxed()).collect()).await?;
    Ok(many)
}

/// Puts a file, unless the same is there; without one, a folder in which nothing is.
async fn put_same(store: &Store<'_>, key: String, path: Option<PathBuf>) -> Result<(), String> {
    let Some(path) = path else { return store.put_bytes(&key, b"").await.map(drop) };
    match store.put_file(&key, &path).await? {
        Put::Done => Ok(()),
        Put::Taken if store.is_same(&key, &path).await? => Ok(()),
        Put::Taken => Err(differs(store, &key)),
    }
}

/// Does all of it, a few at once, until one fails.
pub(super) async fn at_once(all: Vec<BoxFuture<'_, Result<(), String>>>) -> Result<(), String> {
    stream::iter(all).buffer_unordered(AT_ONCE).try_collect().await
}

fn differs(store: &Store<'_>, key: &str) -> String {
    format!("{}: another {key} is in it: two folders are copied to one place", store.name())
}

async fn copy_base(
    inner: &Inner,
    store: &Store<'_>,
    folder: &Folder,
    backup: &Backup,
    bases: &Bases,
) -> Result<(), String> {
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
    let description_here = from.with_file_name(DESCRIPTION);
    put_same(store, description(&backup.name), Some(description_here)).await
}

async fn remove_old(
    inner: &Inner,
    store: &Store<'_>,
    folder: &Folder,
    (here, keep): (&BTreeSet<String>, Duration),
    copied: &mut Copied,
) -> Result<(), String> {
    let bases = Bases::list(store).await?;
    let mut whole = Vec::new();
    for name in bases.whole() {
        whole.push(described(store, name).await?);
    }
    whole.sort_by(|one, other| (one.began, &one.name).cmp(&(other.began, &other.name)));
    let first = first_kept(&whole, keep, Timestamp::now());
    // What is in the folder stays: it would be copied again.
    let (kept, old): (Vec<&Backup>, Vec<&Backup>) =
        whole.iter().enumerate().fold((Vec::new(), Vec::new()), |(mut kept, mut old), (nth, it)| {
            if nth >= first || here.contains(&it.name) {
                kept.push(it)
            } else {
                old.push(it)
            }
            (kept, old)
        });
    for backup in old {
        remove_base(store, &bases, &backup.name).await?;
        copied.removed.push(backup.name.clone());
    }
    // Nobody goes on copying them.
    let left = bases.0.keys().filter(|it| !bases.is_whole(it) && !here.contains(*it));
    for name in left {
        remove_base(store, &bases, name).await?;
    }
    let log = store.list(LOG).await?;
    let names = log.iter().filter_map(|(key, size)| Some((key, WalName::read(&key[LOG.len()..])?, *size)));
    let of_segment = |it: &(&String, WalName, u64)| matches!(it.1, WalName::Segment(_));
    let size = names.clone().find(of_segment).map(|it| it.2);
    let (Some(start), Some(size)) = (kept.iter().map(|it| it.start).min(), size) else { return Ok(()) };
    let here = blocking(inner, folder, |it| it.log().map_err(io_error)).await?;
    let unneeded: Vec<&String> = names
        .filter(|(key, name, _)| !name.is_needed(start, size) && !here.contains_key(&key[LOG.len()..]))
        .map(|it| it.0)
        .collect();
    copied.removed_of_the_log = u64::try_from(unneeded.len()).unwrap_or(u64::MAX);
    remove_all(store, unneeded.into_iter().map(String::as_str)).await
}

async fn remove_base(store: &Store<'_>, bases: &Bases, name: &str) -> Result<(), String> {
    let description = description(name);
    store.remove(&description).await?;
    remove_all(store, bases.of(name).map(|it| it.0).filter(|it| *it != description)).await
}

async fn remove_all<'k>(store: &Store<'_>, keys: impl Iterator<Item = &'k str>) -> Result<(), String> {
    at_once(keys.map(|it| store.remove(it).boxed()).collect()).await
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
