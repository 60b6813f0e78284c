//! Restoring: a server of its own beside the old one, brought to a moment of the past, looked at, and left running or removed.
//!
//! What is restored runs with a configuration made for it: it archives nothing, follows nobody and listens where nobody takes it for the
//! old one. A folder that an earlier attempt left when it was killed is known by its mark, and made anew. What copies is another process, which may go on when
//! we are killed: so each attempt copies into a folder of its own, which gets its name when the copy is settled.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mainstay_backups::{Backup, Folder, Held, Lock, Lsn, Test};
use mainstay_plan::action::{Outcome, ServiceOp};
use mainstay_plan::postgres::{PostgresBackup, PostgresFiles};

use super::backup::{blocking, failed, has_room, io_error, lock, verify};
use super::conninfo::literal;
use super::service::operate;
use crate::action::Attempt;
use crate::child::Output;
use crate::trouble;

/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How much of its log a restored server keeps that is to archive it later: more than it writes while it is looked at.
const KEPT_LOG: &str = "1TB";

/// The port that names the socket of a server that listens nowhere else.
const PORT_OF_SOCKET: u16 = 5432;

/// What a restored server is called in its data directory, and what the mark beside it ends with.
const CONFIGURATION: &str = "mainstay-restore.conf";
const CLIENTS: &str = "mainstay-restore.hba";
const LOG: &str = "mainstay-restore.log";

/// What is of no use where a restored server takes the place of another one.
pub(super) const OF_THE_RESTORE: [&str; 3] = [CONFIGURATION, CLIENTS, LOG];

const MARK: &str = "restoring";

/// Where the settings are kept that somebody made with `ALTER SYSTEM` on the old server.
pub(super) const KEPT_SETTINGS: &str = "postgresql.auto.conf.before-restore";

/// Up to where the log is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreTarget {
    /// The end of the archive.
    Latest,
    /// The last commit that is not after a moment.
    Time(Timestamp),
    /// A place in the log.
    Lsn(Lsn),
    /// A point that `pg_create_restore_point` made.
    Name(String),
}

impl FromStr for RestoreTarget {
    type Err = String;

    /// `latest`, a moment with its zone, a place in the log, or the name of a restore point.
    fn from_str(text: &str) -> Result<RestoreTarget, String> {
        if text == "latest" {
            return Ok(RestoreTarget::Latest);
        }
        if let Ok(lsn) = text.parse() {
            return Ok(RestoreTarget::Lsn(lsn));
        }
        if let Ok(time) = text.parse() {
            return Ok(RestoreTarget::Time(time));
        }
        if text.is_empty() || text.len() > 63 || text.contains(char::is_control) {
            return Err(
                "that is neither `latest`, a moment, a place in the log nor the name of a restore point".to_owned()
            );
        }
        if text.starts_with(|it: char| it.is_ascii_digit()) {
            return Err(
                "write a moment with its zone, as in 2026-11-29T20:15:03Z or 2026-11-29T21:15:03.5+01:00".to_owned()
            );
        }
        Ok(RestoreTarget::Name(text.to_owned()))
    }
}

/// A restore to make.
#[derive(Clone, Copy, Debug)]
pub struct RestoreBackup<'a> {
    /// Of which series.
    pub series: &'a PostgresBackup,
    /// Up to where.
    pub to: &'a RestoreTarget,
    /// From this backup; `None`: the newest that can get there.
    pub backup: Option<&'a str>,
    /// The data directory to make.
    pub beside: &'a Path,
    /// A port of the loopback that it listens at; `None`: only at its socket, which is in its data directory.
    pub port: Option<u16>,
    /// A role that is in the server.
    pub user: &'a str,
    /// The program that knows `postgres fetch`.
    pub program: &'a Path,
    /// Whether all that it writes of its log stays: it is to take another server's place, and archives it then.
    pub keeps_log: bool,
}

/// A server that was restored and runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredServer {
    /// From which backup.
    pub backup: Backup,
    /// Up to where its log was replayed.
    pub reached: Lsn,
    /// The last commit that it has; `None`: none since the backup.
    pub last_commit: Option<String>,
    /// The timeline that it began.
    pub timeline: u32,
    /// Whether it passed a check; `None`: none is asked.
    pub checked: Option<bool>,
    /// From the order on.
    pub took: Duration,
}

/// Leaves it running.
pub(crate) async fn restore(attempt: &Attempt<'_>, order: &RestoreBackup<'_>) -> Result<RestoredServer, Outcome> {
    let begun = Instant::now();
    let Candidates { folder, backups } = candidates(attempt, order).await?;
    let mut last = None;
    for backup in backups {
        let path = folder.clone();
        let held = blocking(attempt, &order.series.folder, move || {
            path.hold(&backup).map(|held| (held, backup)).map_err(io_error)
        });
        let (held, backup) = held.await.map_err(|why| failed("nothing was restored", &why))?;
        match from(attempt, order, &folder, &backup, held).await {
            Ok(restored) => return Ok(RestoredServer { took: begun.elapsed(), ..restored }),
            // A name says nothing about when it was: the backup before may be the one.
            Err(Trouble::NotReached(why)) => last = Some(why),
            Err(Trouble::Other(outcome)) => return Err(outcome),
        }
    }
    let why = last.unwrap_or_else(|| "there is no backup that can get there".to_owned());
    Err(failed("nothing was restored", &why))
}

/// Restores, looks, and removes it again.
pub(crate) async fn test(attempt: &Attempt<'_>, order: &RestoreBackup<'_>) -> Result<RestoredServer, Outcome> {
    test_alone(attempt, order, lock(attempt, order.series).await?).await
}

/// The same, while nobody else takes, tests or removes: two tests would restore into one folder.
pub(super) async fn test_alone(
    attempt: &Attempt<'_>,
    order: &RestoreBackup<'_>,
    lock: Lock,
) -> Result<RestoredServer, Outcome> {
    let restored = restore(attempt, order).await?;
    let files = order.series.files(order.beside.to_owned());
    remove(attempt, &files).await?;
    let (path, backup) = (order.series.folder.clone(), restored.backup.clone());
    let took_ms = u64::try_from(restored.took.as_millis()).unwrap_or(u64::MAX);
    let result = Test { at: Timestamp::now(), took_ms, reached: restored.reached };
    let written = move || Folder::open(path).and_then(|it| it.tested(&backup, &result)).map_err(io_error);
    let written = blocking(attempt, &order.series.folder, written).await;
    written.map_err(|why| failed("restored, and not written down", &why))?;
    drop(lock);
    Ok(restored)
}

enum Trouble {
    /// The log ended before the target came.
    NotReached(String),
    Other(Outcome),
}

impl From<Outcome> for Trouble {
    fn from(outcome: Outcome) -> Trouble {
        Trouble::Other(outcome)
    }
}

struct Candidates {
    folder: Folder,
    /// The one to try first comes first.
    backups: Vec<Backup>,
}

async fn candidates(attempt: &Attempt<'_>, order: &RestoreBackup<'_>) -> Result<Candidates, Outcome> {
    let path = order.series.folder.clone();
    let list = move || {
        let folder = Folder::open(path).map_err(io_error)?;
        let listed = folder.backups().map_err(io_error)?;
        Ok((folder, listed.backups))
    };
    let listed = blocking(attempt, &order.series.folder, list).await;
    let (folder, all) = listed.map_err(|why| failed("nothing was restored", &why))?;
    let Some(oldest) = all.first().cloned() else {
        return Err(failed("nothing was restored", &format!("there is no backup in {}", folder.path().display())));
    };
    let named = |it: &Backup| order.backup.is_none_or(|name| it.name == name);
    let early = |it: &Backup| match order.to {
        RestoreTarget::Latest | RestoreTarget::Name(_) => true,
        RestoreTarget::Time(time) => it.ended <= *time,
        RestoreTarget::Lsn(lsn) => it.stop <= *lsn,
    };
    if let Some(name) = order.backup.filter(|_| !all.iter().any(named)) {
        return Err(failed("nothing was restored", &format!("there is no backup `{name}`")));
    }
    let mut backups: Vec<Backup> = all.into_iter().rev().filter(|it| named(it) && early(it)).collect();
    if backups.is_empty() {
        let why = match order.backup {
            Some(name) => format!("`{name}` was not complete then"),
            None => format!("the oldest backup was complete at {} ({})", oldest.ended, oldest.stop),
        };
        return Err(failed("nothing was restored", &why));
    }
    if !matches!(order.to, RestoreTarget::Name(_)) {
        backups.truncate(1);
    }
    Ok(Candidates { folder, backups })
}

async fn from(
    attempt: &Attempt<'_>,
    order: &RestoreBackup<'_>,
    folder: &Folder,
    backup: &Backup,
    held: Held,
) -> Result<RestoredServer, Trouble> {
    let files = order.series.files(order.beside.to_owned());
    let copied = order.series.files(clear(attempt, order, folder, backup, &files).await?);
    let run = async {
        let source = folder.data_of(backup);
        verify(attempt, order.series, &source).await?;
        copy(attempt, &source, &copied).await?;
        settle(attempt, order, folder, &copied).await?;
        let (from, to) = (copied.data.clone(), order.beside.to_owned());
        let named = blocking(attempt, order.beside, move || fs::rename(from, to)).await;
        named.map_err(|why| failed("nothing was restored", &why))?;
        let restored = recover(attempt, order, folder, backup, &files).await?;
        // Its log was needed until now.
        drop(held);
        Ok(restored)
    };
    match run.await {
        Ok(restored) => {
            let mark = mark(order.beside);
            let unmark = blocking(attempt, order.beside, move || fs::remove_file(mark)).await;
            unmark.map_err(|why| failed("restored, and its mark was not removed", &why))?;
            Ok(restored)
        }
        Err(trouble) => {
            remove(attempt, &files).await?;
            Err(trouble)
        }
    }
}

/// Stands beside the folder while it is being made.
pub(super) fn mark(beside: &Path) -> PathBuf {
    let name = beside.file_name().unwrap_or_default().to_string_lossy();
    beside.with_file_name(format!(".{name}.{MARK}"))
}

/// Makes room for the folder: what an attempt left that was killed goes, and what is anything else stays.
async fn clear(
    attempt: &Attempt<'_>,
    order: &RestoreBackup<'_>,
    folder: &Folder,
    backup: &Backup,
    files: &PostgresFiles,
) -> Result<PathBuf, Outcome> {
    let nothing = |why: String| failed("nothing was restored", &why);
    let (beside, marked) = (order.beside.to_owned(), mark(order.beside));
    let look = move || Ok((beside.try_exists()?, marked.try_exists()?));
    let (is_there, is_marked) = blocking(attempt, order.beside, look).await.map_err(nothing)?;
    if is_there && !is_marked {
        let why = format!("{} is there already, and no restore that was killed left it", order.beside.display());
        return Err(nothing(why));
    }
    if is_marked {
        remove(attempt, files).await?;
    }
    let (beside, marked, folder, bytes) = (order.beside.to_owned(), mark(order.beside), folder.clone(), backup.bytes);
    let make = move || {
        let parent = beside.parent().unwrap_or(Path::new("/"));
        folder.make_beside(parent).map_err(io_error)?;
        has_room(parent, bytes)?;
        folder
            .write_beside(&marked, "being restored by mainstay; a restore that was killed is made anew\n")
            .map_err(io_error)?;
        let copy = beside.with_file_name(format!("{}{}", copies(&beside), Timestamp::now().as_nanosecond()));
        folder.make_beside(&copy).map_err(io_error)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o700))?;
        Ok(copy)
    };
    blocking(attempt, order.beside, make).await.map_err(nothing)
}

/// What the names of copies that are being made begin with.
fn copies(beside: &Path) -> String {
    format!(".{}.copy-", beside.file_name().unwrap_or_default().to_string_lossy())
}

async fn copy(attempt: &Attempt<'_>, source: &Path, files: &PostgresFiles) -> Result<(), Outcome> {
    let source = source.join(".").display().to_string();
    let to = files.data.display().to_string();
    let programs = PostgresFiles { bin: None, ..files.clone() };
    let argv = programs.command("cp", &["-a", "--reflink=auto", &source, &to]);
    attempt.so_far.set(Outcome::Failed("copying the backup did not end in time".to_owned()));
    match attempt.ask(&argv).await {
        Ok(ended) if ended.success() => Ok(()),
        Ok(ended) => Err(failed("nothing was restored: cp", &ended.describe())),
        Err(error) => Err(failed("nothing was restored: cp", &trouble::describe(&error))),
    }
}

/// Writes what makes it a server of its own.
async fn settle(
    attempt: &Attempt<'_>,
    order: &RestoreBackup<'_>,
    folder: &Folder,
    files: &PostgresFiles,
) -> Result<(), Outcome> {
    let needed = settings_of_the_log(attempt, files).await?;
    let configuration = configuration(order, folder, &needed);
    let (data, folder) = (files.data.clone(), folder.clone());
    let write = move || {
        // The backup may be of a standby, and of a server that somebody has set to follow, to wait for or to archive.
        remove_if_there(&data.join("standby.signal"))?;
        match fs::rename(data.join("postgresql.auto.conf"), data.join(KEPT_SETTINGS)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let clients = fs::read_to_string(data.join("pg_hba.conf")).unwrap_or_default();
        let write = |name: &str, text: &str| folder.write_beside(&data.join(name), text).map_err(io_error);
        // The socket is in its data directory, which nobody else may enter.
        write(CLIENTS, &format!("local all all trust\n{clients}"))?;
        write(CONFIGURATION, &configuration)?;
        write(LOG, "")?;
        write("recovery.signal", "")
    };
    blocking(attempt, order.beside, write).await.map_err(|why| failed("nothing was restored", &why))
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a server must have as much of as the one whose log it replays.
const OF_THE_LOG: [&str; 5] =
    ["max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_xacts", "max_locks_per_xact"];

async fn settings_of_the_log(
    attempt: &Attempt<'_>,
    files: &PostgresFiles,
) -> Result<Vec<(&'static str, String)>, Outcome> {
    let data = files.data.display().to_string();
    let programs = files.command("pg_controldata", &[&data]);
    // Its words are read.
    let argv: Vec<String> = ["env", "LC_ALL=C"].map(str::to_owned).into_iter().chain(programs).collect();
    let ended = attempt.ask(&argv).await.map_err(|error| failed("pg_controldata", &trouble::describe(&error)))?;
    if !ended.success() {
        return Err(failed("nothing was restored: pg_controldata", &ended.describe()));
    }
    let text = ended.stdout_text();
    let of = |name: &'static str| {
        let line = text.lines().find_map(|it| it.strip_prefix(&format!("{name} setting:")))?;
        Some((name, line.trim().to_owned()))
    };
    Ok(OF_THE_LOG.into_iter().filter_map(of).collect())
}

fn configuration(order: &RestoreBackup<'_>, folder: &Folder, needed: &[(&'static str, String)]) -> String {
    let data = order.beside.display().to_string();
    let port = order.port.unwrap_or(PORT_OF_SOCKET).to_string();
    let shell = |it: &Path| format!("'{}'", it.display().to_string().replace('\'', r"'\''")).replace('%', "%%");
    let fetch = format!("{} postgres fetch --strict %f \"%p\" --from {}", shell(order.program), shell(folder.path()));
    let mut all = vec![
        ("listen_addresses", if order.port.is_some() { "127.0.0.1" } else { "" }.to_owned()),
        ("port", port),
        ("unix_socket_directories", data.clone()),
        ("hba_file", format!("{data}/{CLIENTS}")),
        ("cluster_name", "restored".to_owned()),
        ("archive_mode", "off".to_owned()),
        ("hot_standby", "on".to_owned()),
        ("restore_command", fetch),
        ("recovery_target_timeline", "latest".to_owned()),
        ("recovery_target_action", "promote".to_owned()),
    ];
    match order.to {
        RestoreTarget::Latest => {}
        RestoreTarget::Time(time) => {
            all.push(("recovery_target_time", time.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string()));
        }
        RestoreTarget::Lsn(lsn) => all.push(("recovery_target_lsn", lsn.to_string())),
        RestoreTarget::Name(name) => all.push(("recovery_target_name", name.clone())),
    }
    let named = |it: &'static str| match it {
        "max_prepared_xacts" => "max_prepared_transactions",
        "max_locks_per_xact" => "max_locks_per_transaction",
        other => other,
    };
    all.extend(needed.iter().map(|(name, value)| (named(name), value.clone())));
    let lines = all.iter().map(|(name, value)| format!("{name} = {}\n", literal(value)));
    let head = "# Made for a restore: it archives nothing and follows nobody.\n".to_owned();
    std::iter::once(head).chain(lines).collect()
}

/// Starts it and waits until it takes writes, then looks at it.
async fn recover(
    attempt: &Attempt<'_>,
    order: &RestoreBackup<'_>,
    folder: &Folder,
    backup: &Backup,
    files: &PostgresFiles,
) -> Result<RestoredServer, Trouble> {
    let (path, timeline, start) = (folder.clone(), backup.timeline, backup.start);
    let reach = move || path.reach(timeline, start).map_err(io_error);
    let reach = blocking(attempt, &order.series.folder, reach).await;
    let reach = reach.map_err(|why| failed("nothing was restored", &why))?;
    start_server(attempt, order, files).await?;
    let server = Restored { attempt, order, files };
    while server.ask(order.user, "postgres", "SELECT pg_is_in_recovery()").await.as_deref() != Ok("f") {
        attempt.so_far.set(Outcome::Failed("the log was not replayed in time".to_owned()));
        if let Some(why) = server.why_it_ended().await {
            return Err(why);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let said = |why: String| failed("restored, and it can't be asked", &why);
    if order.keeps_log {
        server.keep_log(folder).await.map_err(said)?;
    }
    let owner =
        server.ask(order.user, "postgres", "SELECT rolname FROM pg_roles WHERE oid = 10").await.map_err(said)?;
    let facts = "SELECT pg_last_wal_replay_lsn(), (SELECT timeline_id FROM pg_control_checkpoint()), \
                 to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let facts = server.ask(&owner, "postgres", facts).await.map_err(said)?;
    let mut facts = facts.split('|');
    let reached: Option<Lsn> = facts.next().and_then(|it| it.parse().ok());
    let reached = reached.ok_or_else(|| said("it did not say how far it is".to_owned()))?;
    let timeline = facts.next().and_then(|it| it.parse().ok()).unwrap_or(0);
    let last_commit = facts.next().filter(|it| !it.is_empty()).map(str::to_owned);
    if let (RestoreTarget::Latest, Some((_, end))) = (order.to, reach) {
        whole(reached, end, folder).map_err(|why| failed("restored, and not all of it", &why))?;
    }
    let checked = match &order.series.check {
        None => None,
        Some(check) => {
            let answer = server.ask(&owner, &order.series.database, check).await;
            let answer = answer.map_err(|why| failed("restored, and its check", &why))?;
            if answer != "t" {
                return Err(failed("restored, and its check says", &answer).into());
            }
            Some(true)
        }
    };
    Ok(RestoredServer { backup: backup.clone(), reached, last_commit, timeline, checked, took: Duration::ZERO })
}

/// A segment that is damaged within ends a recovery as if it were the last. Only in the last one is the end where it may be.
fn whole(reached: Lsn, end: Lsn, folder: &Folder) -> Result<(), String> {
    let size = folder.segment_bytes().map_err(|error| io_error(error).to_string())?;
    if reached.0 + size >= end.0 {
        return Ok(());
    }
    Err(format!("the archive goes up to {end}, and the log can't be read from {reached} on"))
}

async fn start_server(attempt: &Attempt<'_>, order: &RestoreBackup<'_>, files: &PostgresFiles) -> Result<(), Trouble> {
    let data = files.data.display().to_string();
    let log = files.data.join(LOG).display().to_string();
    let config = format!("-c config_file='{data}/{CONFIGURATION}'");
    let left = attempt.deadline.saturating_duration_since(tokio::time::Instant::now()).as_secs().max(1).to_string();
    let arguments = ["-D", &data, "-s", "-w", "-t", &left, "-l", &log, "-o", &config, "start"];
    attempt.so_far.set(Outcome::Failed("the log was not replayed in time".to_owned()));
    match attempt.run(&files.command("pg_ctl", &arguments), &BTreeMap::new(), Output::Discard).await {
        Ok(ended) if ended.success() => Ok(()),
        Ok(ended) => {
            let server = Restored { attempt, order, files };
            let why = server.why_it_ended().await;
            Err(why.unwrap_or_else(|| failed("nothing was restored: pg_ctl", &ended.describe()).into()))
        }
        Err(error) => Err(failed("nothing was restored: pg_ctl", &trouble::describe(&error)).into()),
    }
}

/// A restored server.
struct Restored<'a> {
    attempt: &'a Attempt<'a>,
    order: &'a RestoreBackup<'a>,
    files: &'a PostgresFiles,
}

impl Restored<'_> {
    /// What a statement gives that changes nothing, columns apart by `|`.
    async fn ask(&self, user: &str, database: &str, statement: &str) -> Result<String, String> {
        let data = self.files.data.display().to_string();
        let port = self.order.port.unwrap_or(PORT_OF_SOCKET).to_string();
        let arguments = [
            "-X",
            "-q",
            "-A",
            "-t",
            "-w",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &data,
            "-p",
            &port,
            "-U",
            user,
            "-d",
            database,
            "-c",
            statement,
        ];
        let argv = self.files.command("psql", &arguments);
        let read_only = ["env", "PGOPTIONS=-c default_transaction_read_only=on"].map(str::to_owned);
        let argv: Vec<String> = read_only.into_iter().chain(argv).collect();
        match self.attempt.ask(&argv).await {
            Ok(ended) if ended.success() => Ok(ended.stdout_text().trim().to_owned()),
            Ok(ended) => Err(ended.describe()),
            Err(error) => Err(trouble::describe(&error)),
        }
    }

    /// Lets it remove nothing of its log any more. Not from the beginning: it would keep all that it replays, too. Until now it has written no more than
    /// the checkpoint with which a recovery ends.
    async fn keep_log(&self, folder: &Folder) -> Result<(), String> {
        let (path, folder) = (self.files.data.join(CONFIGURATION), folder.clone());
        let add = move || {
            let text = fs::read_to_string(&path)?;
            folder.write_beside(&path, &format!("{text}wal_keep_size = '{KEPT_LOG}'\n")).map_err(io_error)
        };
        blocking(self.attempt, self.order.beside, add).await?;
        let reload = self.files.command("pg_ctl", &["-D", &self.files.data.display().to_string(), "-s", "reload"]);
        match self.attempt.ask(&reload).await {
            Ok(ended) if ended.success() => {}
            Ok(ended) => return Err(format!("pg_ctl {}", ended.describe())),
            Err(error) => return Err(format!("pg_ctl: {}", trouble::describe(&error))),
        }
        while self.ask(self.order.user, "postgres", "SHOW wal_keep_size").await? != KEPT_LOG {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Why it runs no more; `None`: it does.
    async fn why_it_ended(&self) -> Option<Trouble> {
        let (data, user_log) = (self.files.data.clone(), self.files.data.join(LOG));
        let look = move || {
            let runs = data.join("postmaster.pid").try_exists()?;
            Ok((runs, fs::read_to_string(user_log)?))
        };
        let (runs, log) = match blocking(self.attempt, self.order.beside, look).await {
            Ok(it) => it,
            Err(why) => return Some(failed("its log can't be read", &why).into()),
        };
        if runs {
            return None;
        }
        // What it tells those who come too early or too late is not why it ended.
        let fatal = |it: &str| it.split_once("FATAL:  ").map(|(_, it)| it.trim().to_owned());
        let fatal = |it: &str| fatal(it).filter(|it| !it.starts_with("the database system is "));
        let why = log.lines().rev().find_map(fatal).unwrap_or_else(|| "it ended without a word".to_owned());
        let said = |it: &str| it.split_once("LOG:  ").map(|(_, it)| it.trim().to_owned());
        let why = if why.contains("contains errors") { log.lines().rev().find_map(said).unwrap_or(why) } else { why };
        // What our own program said about the archive.
        let archive = log.lines().rev().find_map(|it| it.strip_prefix("error: ")).map(str::to_owned);
        if why.contains("recovery ended before configured recovery target") {
            return Some(Trouble::NotReached("the archive ends before that".to_owned()));
        }
        Some(failed("it was not restored", &archive.unwrap_or(why)).into())
    }
}

/// Ends what runs there, and removes it with its mark.
async fn remove(attempt: &Attempt<'_>, files: &PostgresFiles) -> Result<(), Outcome> {
    let ended = operate(attempt, ServiceOp::Kill, files).await;
    if ended != Outcome::Done {
        return Err(super::act::prefixed("ending the restored server", ended));
    }
    let data = files.data.clone();
    let removed = move || {
        for copy in fs::read_dir(data.parent().unwrap_or(Path::new("/")))?.flatten() {
            if copy.file_name().to_string_lossy().starts_with(&copies(&data)) {
                // Somebody may still copy into it: the next one removes it.
                let _next_time = fs::remove_dir_all(copy.path());
            }
        }
        match fs::remove_dir_all(&data) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        remove_if_there(&mark(&data))
    };
    blocking(attempt, &files.data, removed).await.map_err(|why| failed("removing the restored server", &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_by_its_looks() {
        let read = |text: &str| text.parse::<RestoreTarget>();
        assert_eq!(read("latest"), Ok(RestoreTarget::Latest));
        assert_eq!(read("16/B374D848"), Ok(RestoreTarget::Lsn(Lsn(0x16_B374_D848))));
        let time: Timestamp = "2026-11-29T20:15:03Z".parse().expect("a moment");
        assert_eq!(read("2026-11-29 21:15:03+01"), Ok(RestoreTarget::Time(time)));
        assert_eq!(read("before-release-4"), Ok(RestoreTarget::Name("before-release-4".to_owned())));
        assert!(read("2026-11-29 21:15:03").is_err_and(|why| why.contains("zone")));
        assert!(read("").is_err());
    }
}
