//! What a bucket holds, brought back into a folder.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::FutureExt;
use mainstay_backups::{ArchiveError, Backup, Folder, FolderError, WalName};

use super::copy::{Bases, LOG, at_once, blocking, data, log_in, segment_bytes};
use super::store::Store;
use super::{BucketError, joined, owner};
use crate::Inner;
use crate::postgres::io_error;

/// After so many files of the log that could not be got, no more are asked for.
const GIVE_UP_AFTER: usize = 3;

/// What was brought back from a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BroughtBack {
    /// The bucket, as `s3://NAME/PREFIX`.
    pub from: String,
    /// The names of the backups that were not in the folder.
    pub backups: Vec<String>,
    /// How many files of the log were not.
    pub log: u64,
}

/// Brings back what the folder lacks; with `newest`, only the newest backup, and the log from there on. What can't be used does not keep
/// the rest from coming.
pub(crate) async fn bring_back(
    inner: &Inner,
    folder: &Folder,
    bucket: &Path,
    newest: bool,
) -> Result<BroughtBack, BucketError> {
    let store = Store::open(inner, bucket).await?;
    let mut back = BroughtBack { from: store.name(), ..BroughtBack::default() };
    let owner = owner::of(&store).await?;
    let (bases, log) = (Bases::list(&store).await?, log_in(&store).await?);
    let (whole, mut trouble) = bases.described(&store).await?;
    if owner.is_none() && whole.is_empty() && trouble.is_empty() && log.is_empty() {
        return Err(BucketError::Failed(format!("{}: nothing was copied to it", store.name())));
    }
    let here = blocking(inner, folder, |it| it.backups().map_err(io_error)).await?.backups;
    let is_new = blocking(inner, folder, |it| it.known_series().map_err(io_error)).await?.is_none();
    if let Some(own) = here.iter().find(|it| is_new && whole.iter().all(|there| there.name != it.name)) {
        return Err(BucketError::Refused(format!(
            "{} has a backup of its own ({}), which {} has not: take an empty folder",
            folder.path().display(),
            own.name,
            store.name()
        )));
    }
    if let Some(owner) = owner {
        owner::adopt(inner, &store, folder, owner).await?;
    }
    let first = if newest { whole.len().saturating_sub(1) } else { 0 };
    for backup in whole[first..].iter().filter(|it| here.iter().all(|here| here.name != it.name)) {
        let at = folder.data_of(backup).parent().map(Path::to_owned).unwrap_or_default();
        let looked = at.clone();
        if blocking(inner, folder, move |_| looked.try_exists()).await? {
            trouble.push(format!("{} is there and can't be used: move it away", at.display()));
            continue;
        }
        match base(inner, &store, folder, &bases, backup).await {
            Ok(()) => back.backups.push(backup.name.clone()),
            Err(why) => trouble.push(format!("the backup {} did not come: {why}", backup.name)),
        }
    }
    let start = whole.get(first).filter(|_| newest).map(|it| it.start);
    let size = segment_bytes(&log);
    let needed = |name: &WalName| start.zip(size).is_none_or(|(start, size)| name.is_needed(start, size));
    let here = blocking(inner, folder, |it| it.log().map_err(io_error)).await?;
    let missing = log.iter().filter(|(name, it)| !here.contains_key(*name) && needed(&it.0));
    // Segments say whose they are, and come before what does not.
    let (segments, others): (Vec<_>, Vec<_>) = missing.partition(|it| matches!(it.1.0, WalName::Segment(_)));
    let failed = AtomicUsize::new(0);
    for these in [segments, others] {
        let one = |name| one_of_log(inner, &store, folder, name, &failed).boxed();
        for came in at_once(these.into_iter().map(|(name, _)| one(name)).collect()).await? {
            match came {
                Ok(came) => back.log += u64::from(came),
                Err(why) => trouble.push(why),
            }
        }
    }
    if trouble.is_empty() {
        return Ok(back);
    }
    Err(BucketError::Failed(format!("{}; all else that was asked for is there", joined(&trouble))))
}

/// Brings back one file of the log for [`bring_back`]. The inner error is of this file alone; after some that could not be got, the outer one.
async fn one_of_log(
    inner: &Inner,
    store: &Store<'_>,
    folder: &Folder,
    name: &str,
    failed: &AtomicUsize,
) -> Result<Result<bool, String>, BucketError> {
    match log_file(inner, store, folder, name).await {
        Ok(came) => Ok(Ok(came)),
        Err(Lost::Judged(BucketError::Refused(why))) => Ok(Err(why)),
        Err(Lost::Got(why)) if failed.fetch_add(1, Ordering::Relaxed) < GIVE_UP_AFTER => Ok(Err(why)),
        Err(Lost::Got(why)) => Err(BucketError::Failed(why)),
        Err(Lost::Judged(error)) => Err(error),
    }
}

/// Brings back one file of the log, so that the folder has it; `false`: the bucket has none.
pub(crate) async fn bring_back_one(
    inner: &Inner,
    folder: &Folder,
    bucket: &Path,
    name: &str,
) -> Result<bool, BucketError> {
    let store = Store::open(inner, bucket).await?;
    if let Some(owner) = owner::of(&store).await? {
        owner::look(inner, &store, folder, &owner).await?;
    }
    log_file(inner, &store, folder, name).await.map_err(|lost| match lost {
        Lost::Got(why) => BucketError::Failed(why),
        Lost::Judged(error) => error,
    })
}

/// Why a file of the log did not come.
enum Lost {
    /// It could not be got.
    Got(String),
    /// What came can't be used, or the folder can't.
    Judged(BucketError),
}

async fn log_file(inner: &Inner, store: &Store<'_>, folder: &Folder, name: &str) -> Result<bool, Lost> {
    let of = name.to_owned();
    let temporary = blocking(inner, folder, move |it| it.on_its_way(&of).map_err(io_error)).await;
    let temporary = temporary.map_err(|why| Lost::Judged(why.into()))?;
    let got = store.get_file(&format!("{LOG}{name}"), &temporary).await;
    let (came, from, of) = (matches!(got, Ok(true)), temporary, name.to_owned());
    let archive = move |folder: &Folder| {
        let archived = if came { folder.archive(&from, &of) } else { Ok(()) };
        let _nothing_there = fs::remove_file(&from);
        Ok(archived)
    };
    let archived = blocking(inner, folder, archive).await.map_err(|why| Lost::Judged(why.into()))?;
    archived.map_err(|error| {
        let is_disk = matches!(error, ArchiveError::Folder(FolderError::Io { .. }) | ArchiveError::Io { .. });
        let its_own = if is_disk { BucketError::Failed } else { BucketError::Refused };
        Lost::Judged(its_own(io_error(error).to_string()))
    })?;
    got.map_err(Lost::Got)
}

async fn base(inner: &Inner, store: &Store<'_>, folder: &Folder, bases: &Bases, backup: &Backup) -> Result<(), String> {
    let begin = |it: &Folder| it.lock().and_then(|lock| it.begin(lock)).map_err(io_error);
    let taking = blocking(inner, folder, begin).await?;
    let (below, to) = (data(&backup.name), taking.data());
    let mut files = Vec::new();
    let mut folders = vec![to.clone()];
    for (key, _) in bases.of(&backup.name) {
        let Some(path) = key.strip_prefix(&below) else { continue };
        if path.is_empty() {
            // Some programs mark a folder so.
            continue;
        }
        let at = to.join(inside(path).ok_or_else(|| format!("{}: {key} would be elsewhere", store.name()))?);
        if path.ends_with('/') {
            folders.push(at);
        } else {
            folders.extend(at.parent().map(Path::to_owned));
            files.push((key, at));
        }
    }
    // Whoever has no business there may read none of it, also not while it comes.
    let one = |it: &PathBuf| fs::DirBuilder::new().recursive(true).mode(0o700).create(it);
    let make = move |_: &Folder| folders.iter().try_for_each(one);
    blocking(inner, folder, make).await?;
    at_once(files.into_iter().map(|(key, at)| file(store, key, at).boxed()).collect()).await?;
    let backup = backup.clone();
    blocking(inner, folder, move |_| taking.bring_back(&backup).map_err(io_error)).await
}

async fn file(store: &Store<'_>, key: &str, at: PathBuf) -> Result<(), String> {
    match store.get_file(key, &at).await? {
        true => Ok(()),
        false => Err(format!("{}: {key} was removed meanwhile", store.name())),
    }
}

/// The path, if it leads nowhere else.
fn inside(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    path.components().all(|it| matches!(it, Component::Normal(_))).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_nowhere_else() {
        assert_eq!(inside("base/1/2619"), Some(PathBuf::from("base/1/2619")));
        assert_eq!(inside("pg_notify/"), Some(PathBuf::from("pg_notify/")));
        for elsewhere in ["../x", "a/../../x", "/etc/passwd", "./x"] {
            assert_eq!(inside(elsewhere), None, "{elsewhere}");
        }
    }
}
