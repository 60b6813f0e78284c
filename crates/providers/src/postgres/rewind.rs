//! Taking back what a server has alone, with `pg_rewind`.
//!
//! One that did not end leaves data that is neither the server's nor the leader's. Begun again on it, `pg_rewind` takes what it wrote itself for the
//! server's own log, and the server starts on a line that nobody else has; so nothing but a fresh copy mends it, as its manual says
//! (<https://www.postgresql.org/docs/current/app-pgrewind.html>). Therefore it runs once without writing, and then a mark is laid beside the data that
//! goes away when it has succeeded. The mark also holds the server's own configuration, in whose place `pg_rewind` puts the leader's.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mainstay_plan::postgres::{PostgresFiles, PostgresServer};
use serde::{Deserialize, Serialize};

use super::clone::named;
use super::conninfo::following;
use super::own::{Control, Kept, configuration, put_back, said, setting, write};
use super::rejoin::{STANDBY_SIGNAL, stopped};
use crate::action::Attempt;
use crate::child::Output;
use crate::trouble;

/// What lies beside data that `pg_rewind` may have begun to write into.
#[derive(Serialize, Deserialize)]
struct Mark {
    /// The inode of the data directory, and when that was made, where its file system says so: what was put in its place later is not meant.
    directory: (u64, Option<SystemTime>),
    configuration: Vec<(PathBuf, Kept)>,
}

fn path(data: &Path) -> PathBuf {
    named(data, ".mainstay-rewind")
}

impl Mark {
    fn read(data: &Path) -> io::Result<Option<Mark>> {
        let text = match fs::read(path(data)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mark: Mark = serde_json::from_slice(&text).map_err(io::Error::other)?;
        Ok((mark.directory == identity(data)?).then_some(mark))
    }
}

fn identity(data: &Path) -> io::Result<(u64, Option<SystemTime>)> {
    fs::metadata(data).map(|it| (it.ino(), it.created().ok()))
}

/// Why this data can't be used, where `pg_rewind` was begun on it and did not end.
pub(super) fn did_not_end(data: &Path) -> io::Result<Option<String>> {
    let why = || format!("pg_rewind was begun on its data and did not end, as {} says", path(data).display());
    Ok(Mark::read(data)?.map(|_| why()))
}

/// The server's own configuration, which is put back first where the leader's may be in its place.
pub(super) fn own_configuration(data: &Path) -> io::Result<Vec<(PathBuf, Kept)>> {
    let Some(mark) = Mark::read(data)? else { return configuration(data) };
    put_back(data, &mark.configuration)?;
    Ok(mark.configuration)
}

/// Lays the mark, so that it outlives whoever is killed from now on.
fn begin(data: &Path, own: Vec<(PathBuf, Kept)>) -> io::Result<()> {
    let mark = Mark { directory: identity(data)?, configuration: own };
    write(data, &path(data), &serde_json::to_vec(&mark)?)
}

/// The data can be used, because it was rewound or because other data is in its place.
pub(super) fn forget(data: &Path) -> io::Result<()> {
    match fs::remove_file(path(data)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Takes back what the leader does not have. Where nothing is, `pg_rewind` does nothing.
///
/// # Errors
/// Why not, for people.
pub(super) async fn rewind(
    attempt: &Attempt<'_>,
    files: &PostgresFiles,
    leader: &PostgresServer,
    control: &Control,
    own: &[(PathBuf, Kept)],
) -> Result<(), String> {
    if !control.is_shut_down {
        end_its_log(attempt, files).await?;
    }
    let source = format!("{} dbname=postgres", following("", leader));
    let target = format!("--target-pgdata={}", files.data.display());
    let source = format!("--source-server={source}");
    let config = files.config_file.as_ref().map(|it| format!("--config-file={}", it.display()));
    let mut arguments = vec![target.as_str(), source.as_str()];
    arguments.extend(config.as_deref());
    let archived = setting(&attempt.inner.gates, files, "restore_command").await.unwrap_or_default();
    arguments.extend((!archived.is_empty()).then_some("--restore-target-wal"));
    let argv = files.command("pg_rewind", &arguments);
    arguments.push("--dry-run");
    attempt.so_far.set(stopped("pg_rewind did not find out in time what is to be taken back; nothing was"));
    run(attempt, &files.command("pg_rewind", &arguments)).await?;
    let (data, laid) = (files.data.clone(), own.to_vec());
    let laid = blocking(attempt, files, move || begin(&data, laid)).await;
    laid.map_err(|why| format!("laying its configuration aside: {why}"))?;
    attempt.so_far.set(stopped("pg_rewind did not end in time and was killed: its data can't be used as it is"));
    let ended = run(attempt, &argv).await;
    let (data, own, is_whole) = (files.data.clone(), own.to_vec(), ended.is_ok());
    let restore = move || {
        put_back(&data, &own)?;
        if !is_whole {
            return Ok(());
        }
        // It is no primary any more, whoever starts it.
        write(&data, &data.join(STANDBY_SIGNAL), b"")?;
        forget(&data)
    };
    let restored = blocking(attempt, files, restore).await;
    ended.and(restored.map_err(|why| format!("writing its configuration back: {why}")))
}

async fn run(attempt: &Attempt<'_>, argv: &[String]) -> Result<(), String> {
    let ended = attempt.run(argv, &BTreeMap::new(), Output::Capture).await;
    let ended = ended.map_err(|error| format!("pg_rewind: {}", trouble::describe(&error)))?;
    if ended.success() { Ok(()) } else { Err(format!("pg_rewind {}", ended.describe())) }
}

/// Replays the log of a server that was killed to its end, which `pg_rewind` asks for. It is nobody's standby in that.
async fn end_its_log(attempt: &Attempt<'_>, files: &PostgresFiles) -> Result<(), String> {
    let signal = files.data.join(STANDBY_SIGNAL);
    let removed = blocking(attempt, files, move || match fs::remove_file(signal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    });
    let was_standby = removed.await.map_err(|why| format!("{STANDBY_SIGNAL}: {why}"))?;
    attempt.so_far.set(stopped("its log was not replayed to its end in time"));
    let data = files.data.display().to_string();
    let config = files.config_file.as_ref().map(|it| format!("config_file={}", it.display()));
    // What it writes at the end removes no log that `pg_rewind` reads next.
    let mut arguments = vec!["--single", "-D", &data, "-c", "wal_keep_size=1TB"];
    arguments.extend(config.iter().flat_map(|it| ["-c", it]));
    arguments.push("template1");
    let ended = said(&attempt.inner.gates, &files.command("postgres", &arguments)).await.map(drop);
    if was_standby {
        let data = files.data.clone();
        let put = blocking(attempt, files, move || write(&data, &data.join(STANDBY_SIGNAL), b"")).await;
        put.map_err(|why| format!("{STANDBY_SIGNAL}: {why}"))?;
    }
    ended
}

/// Works in the data directory, where a disk may hang.
pub(super) async fn blocking<T: Send + 'static>(
    attempt: &Attempt<'_>,
    files: &PostgresFiles,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let key = format!("work in {}", files.data.display());
    attempt.inner.gates.run(key, work).await.map_err(|error| trouble::describe(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_is_half_rewound_is_known_and_its_configuration_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("orders");
        fs::create_dir(&data).expect("made");
        let conf = data.join("postgresql.auto.conf");
        fs::write(&conf, "port = 6001").expect("written");
        assert_eq!(did_not_end(&data).expect("read"), None);
        begin(&data, own_configuration(&data).expect("read")).expect("laid");
        fs::write(&conf, "port = 5432").expect("the leader's");
        let again = own_configuration(&data).expect("read");
        assert_eq!((again.len(), fs::read_to_string(&conf).expect("read").as_str()), (1, "port = 6001"));
        assert!(did_not_end(&data).expect("read").is_some_and(|it| it.contains("orders.mainstay-rewind")));

        fs::remove_dir_all(&data).expect("removed");
        fs::create_dir(&data).expect("other data in its place");
        assert_eq!(did_not_end(&data).expect("read"), None);
        forget(&data).expect("removed");
        forget(&data).expect("nothing to remove");
    }
}
