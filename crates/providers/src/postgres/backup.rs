//! Taking a base backup: copied over the protocol of standbys, verified, and only then there.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_backups::{Backup, Folder, Lock, Removed, Taking};
use mainstay_plan::action::Outcome;
use mainstay_plan::postgres::{PostgresBackup, PostgresServer};

use super::act::{nothing_done, open};
use super::connect::{Session, answer};
use super::conninfo::following;
use crate::action::Attempt;
use crate::child::{Ended, Output};
use crate::trouble;

/// A base backup to take.
#[derive(Clone, Copy, Debug)]
pub struct TakeBackup<'a> {
    /// From which server: a primary or a standby.
    pub server: &'a PostgresServer,
    /// For which series.
    pub series: &'a PostgresBackup,
    /// How long backups of it are kept.
    pub keep: Duration,
}

/// What was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBackup {
    /// It is there, whole and verified.
    pub backup: Backup,
    /// What was removed for being old, or why that could not be done.
    pub removed: Result<Removed, String>,
}

/// What is asked before: a backup with tablespaces of their own would write beside its folder.
const ASK: &str = "SELECT pg_is_in_recovery() AS is_standby, \
                   (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')) AS spaces, \
                   (SELECT sum(pg_database_size(oid)) FROM pg_database) AS bytes";

/// The moment of the server's own clock, by which its commits are dated.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now";

pub(crate) async fn take(attempt: &Attempt<'_>, order: &TakeBackup<'_>) -> Result<TakenBackup, Outcome> {
    take_alone(attempt, order, lock(attempt, order.series).await?).await
}

/// Makes sure that nobody else takes, tests or removes.
pub(super) async fn lock(attempt: &Attempt<'_>, series: &PostgresBackup) -> Result<Lock, Outcome> {
    let path = series.folder.clone();
    let lock = move || Folder::open(path).and_then(|it| it.lock()).map_err(io_error);
    blocking(attempt, &series.folder, lock).await.map_err(|why| failed("nothing was done", &why))
}

pub(super) async fn take_alone(
    attempt: &Attempt<'_>,
    order: &TakeBackup<'_>,
    lock: Lock,
) -> Result<TakenBackup, Outcome> {
    let TakeBackup { server, series, keep } = *order;
    let session = open(attempt, server).await?;
    let row = session.row(ASK).await.map_err(|error| nothing_done(&answer("asking", &error)))?;
    let role = if row.get("is_standby") == Some("t") { "standby" } else { "primary" };
    if row.get("spaces").is_some_and(|it| it != "0") {
        let why = "it has tablespaces of its own, which would be copied over those that are there";
        return Err(Outcome::Failed(format!("nothing was done: {why}")));
    }
    let needed = row.get("bytes").and_then(|it| it.parse().ok()).unwrap_or(0);
    let path = series.folder.clone();
    let begin = move || {
        let folder = Folder::open(path).map_err(io_error)?;
        has_room(folder.path(), needed)?;
        folder.begin(lock).map_err(io_error)
    };
    let taking = blocking(attempt, &series.folder, begin).await.map_err(|why| failed("nothing was done", &why))?;
    copy(attempt, server, series, &taking).await?;
    let ended = moment(&session).await;
    verify(attempt, series, &taking.data()).await?;
    let (path, from) = (series.folder.clone(), server.address.to_string());
    let finish = move || {
        let backup = taking.finish(ended, &from, role).map_err(io_error)?;
        let folder = Folder::open(path).map_err(io_error)?;
        let removed = folder.remove_old(taking.lock(), keep, Timestamp::now()).map_err(io_error);
        Ok(TakenBackup { backup, removed: removed.map_err(|it| it.to_string()) })
    };
    attempt.so_far.set(Outcome::Unknown("it was copied and verified, and not seen to be kept in time".to_owned()));
    blocking(attempt, &series.folder, finish).await.map_err(|why| failed("it was not kept", &why))
}

async fn copy(
    attempt: &Attempt<'_>,
    server: &PostgresServer,
    series: &PostgresBackup,
    taking: &Taking,
) -> Result<(), Outcome> {
    let data = taking.data();
    let (to, from) = (format!("--pgdata={}", data.display()), format!("--dbname={}", following("", server)));
    let arguments = [
        to.as_str(),
        &from,
        "--no-password",
        "--checkpoint=fast",
        "--wal-method=stream",
        "--manifest-checksums=SHA256",
        "--label=mainstay",
        // All of it is synced before it is renamed.
        "--no-sync",
    ];
    let argv = series.files(data.clone()).command("pg_basebackup", &arguments);
    attempt.so_far.set(Outcome::Failed("pg_basebackup did not end in time and was killed; nothing is kept".to_owned()));
    match attempt.run(&argv, &BTreeMap::new(), Output::Capture).await {
        Ok(ended) if ended.success() => Ok(()),
        Ok(ended) => Err(failed("nothing is kept: pg_basebackup", &why(&ended))),
        Err(error) => Err(failed("nothing was done: pg_basebackup", &trouble::describe(&error))),
    }
}

/// Whether all that was copied is as its manifest says, and the log that it needs is with it.
pub(super) async fn verify(attempt: &Attempt<'_>, series: &PostgresBackup, data: &Path) -> Result<(), Outcome> {
    let path = data.display().to_string();
    let argv = series.files(data.to_owned()).command("pg_verifybackup", &["--quiet", &path]);
    attempt.so_far.set(Outcome::Failed("pg_verifybackup did not end in time".to_owned()));
    match attempt.ask(&argv).await {
        Ok(ended) if ended.success() => Ok(()),
        Ok(ended) => Err(failed("it is not whole: pg_verifybackup", &why(&ended))),
        Err(error) => Err(failed("pg_verifybackup", &trouble::describe(&error))),
    }
}

/// What one of PostgreSQL's programs says first: the rest follows from it.
pub(super) fn why(ended: &Ended) -> String {
    let text = ended.stderr_text();
    let after =
        |line: &str| ["error: ", "fatal: "].iter().find_map(|it| Some(line.split_once(it)?.1.trim().to_owned()));
    text.lines().find_map(after).unwrap_or_else(|| ended.describe())
}

async fn moment(session: &Session) -> Timestamp {
    let row = session.row(NOW).await.ok();
    let now = row.and_then(|it| Timestamp::from_millisecond(it.get("now")?.parse().ok()?).ok());
    now.unwrap_or_else(Timestamp::now)
}

/// Before anything is begun: a disk that is filled for nothing may be somebody else's, too.
pub(super) fn has_room(folder: &Path, needed: u64) -> io::Result<()> {
    let there = rustix::fs::statvfs(folder)?;
    let free = there.f_bavail * there.f_frsize;
    if free >= needed {
        return Ok(());
    }
    let mb = |it: u64| it / 1_000_000;
    Err(io::Error::other(format!(
        "{} has room for {} MB, and {} MB are needed",
        folder.display(),
        mb(free),
        mb(needed)
    )))
}

/// What waits for the disk, one at a time for each folder.
pub(super) async fn blocking<T: Send + 'static>(
    attempt: &Attempt<'_>,
    folder: &Path,
    what: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = attempt.inner.gates.run(format!("backups in {}", folder.display()), what).await;
    done.map_err(|it| it.to_string())
}

pub(super) fn failed(what: &str, why: &str) -> Outcome {
    Outcome::Failed(trouble::clip(&format!("{what}: {why}")))
}

/// An error with all that caused it.
pub(crate) fn io_error(error: impl Error) -> io::Error {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    io::Error::other(text)
}
