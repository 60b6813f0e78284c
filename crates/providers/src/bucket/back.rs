//! What a bucket holds, brought back into a folder.

use std::fs;
use std::path::{Component, Path, PathBuf};

use futures_util::future::{FutureExt, TryFutureExt};
use mainstay_backups::{Backup, Folder, WalName};

use super::copy::{Bases, LOG, SYSTEM, at_once, blocking, data, described};
use super::store::Store;
use crate::Inner;
use crate::postgres::io_error;

/// Where files of the log are until they were looked at.
const UNDER_WAY: &str = ".bringing-back";

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

/// Brings back what the folder lacks; with `newest`, only the newest backup, and the log from there on.
pub(crate) async fn bring_back(
    inner: &Inner,
    folder: &Folder,
    bucket: &Path,
    newest: bool,
) -> Result<BroughtBack, String> {
    let store = Store::open(inner, bucket).await?;
    let mut back = BroughtBack { from: store.name(), ..BroughtBack::default() };
    let Some(system) = store.get_text(SYSTEM).await? else {
        return Err(format!("{}: nothing was copied to it", store.name()));
    };
    let system: u64 =
        system.trim().parse().map_err(|_| format!("{}: {SYSTEM} holds no system identifier", store.name()))?;
    blocking(inner, folder, move |it| it.claim(system).map_err(io_error)).await?;
    let bases = Bases::list(&store).await?;
    let mut whole = Vec::new();
    for name in bases.whole() {
        whole.push(described(&store, name).await?);
    }
    whole.sort_by(|one, other| (one.began, &one.name).cmp(&(other.began, &other.name)));
    let first = if newest { whole.len().saturating_sub(1) } else { 0 };
    let here = blocking(inner, folder, |it| it.backups().map_err(io_error)).await?.backups;
    for backup in whole[first..].iter().filter(|it| here.iter().all(|here| here.name != it.name)) {
        base(inner, &store, folder, &bases, backup).await?;
        back.backups.push(backup.name.clone());
    }
    let start = whole.get(first).filter(|_| newest).map(|it| it.start);
    let log = store.list(LOG).await?;
    let names: Vec<(&str, WalName, u64)> = log
        .iter()
        .filter_map(|(key, size)| Some((&key[LOG.len()..], WalName::read(&key[LOG.len()..])?, *size)))
        .collect();
    let size = names.iter().find(|it| matches!(it.1, WalName::Segment(_))).map(|it| it.2);
    let needed = |name: &WalName| start.zip(size).is_none_or(|(start, size)| name.is_needed(start, size));
    let here = blocking(inner, folder, |it| it.log().map_err(io_error)).await?;
    let missing: Vec<&str> =
        names.iter().filter(|it| !here.contains_key(it.0) && needed(&it.1)).map(|it| it.0).collect();
    back.log = u64::try_from(missing.len()).unwrap_or(u64::MAX);
    at_once(missing.into_iter().map(|name| log_file(inner, &store, folder, name).map_ok(drop).boxed()).collect())
        .await?;
    let _nothing_in_it = fs::remove_dir(folder.path().join(UNDER_WAY));
    Ok(back)
}

/// Brings back one file of the log, so that the folder has it; `false`: the bucket has none.
pub(crate) async fn bring_back_one(inner: &Inner, folder: &Folder, bucket: &Path, name: &str) -> Result<bool, String> {
    let store = Store::open(inner, bucket).await?;
    log_file(inner, &store, folder, name).await
}

async fn log_file(inner: &Inner, store: &Store<'_>, folder: &Folder, name: &str) -> Result<bool, String> {
    let under_way = folder.path().join(UNDER_WAY);
    let making = under_way.clone();
    blocking(inner, folder, move |it| it.make_beside(&making).map_err(io_error)).await?;
    let temporary = under_way.join(format!("{name}.{}", std::process::id()));
    let got = async {
        if !store.get_file(&format!("{LOG}{name}"), &temporary).await? {
            return Ok(false);
        }
        let (from, name) = (temporary.clone(), name.to_owned());
        blocking(inner, folder, move |it| it.archive(&from, &name).map_err(io_error)).await?;
        Ok(true)
    };
    let got = got.await;
    let _nothing_there = fs::remove_file(&temporary);
    got
}

async fn base(inner: &Inner, store: &Store<'_>, folder: &Folder, bases: &Bases, backup: &Backup) -> Result<(), String> {
    let begin = |it: &Folder| it.lock().and_then(|lock| it.begin(lock)).map_err(io_error);
    let taking = blocking(inner, folder, begin).await?;
    let (below, to) = (data(&backup.name), taking.data());
    let mut files = Vec::new();
    let mut folders = vec![to.clone()];
    for (key, _) in bases.of(&backup.name) {
        let Some(path) = key.strip_prefix(&below) else { continue };
        let at = to.join(inside(path).ok_or_else(|| format!("{}: {key} would be elsewhere", store.name()))?);
        if path.ends_with('/') {
            folders.push(at);
        } else {
            folders.extend(at.parent().map(Path::to_owned));
            files.push((key, at));
        }
    }
    let make = move |_: &Folder| folders.iter().try_for_each(fs::create_dir_all);
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
