//! Making a standby of a server, whatever it is: on its own machine, with its own programs.
//!
//! One that was a primary until a moment ago is stopped in order and started as a standby. Where its leader has begun a line of its own
//! meanwhile, `pg_rewind` first takes back what the leader does not have. What can't be rewound is left stopped: only a fresh copy
//! helps, and throwing data away is for a person.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use mainstay_plan::action::{Outcome, ServiceOp};
use mainstay_plan::postgres::{PostgresFiles, PostgresServer};

use super::act::{is_standby, nothing_done, open, prefixed, streams};
use super::connect::answer;
use super::conninfo::{following, literal, parse};
use super::service::operate;
use crate::action::Attempt;
use crate::child::Output;
use crate::trouble;

pub(super) async fn rejoin(
    attempt: &Attempt<'_>,
    server: &PostgresServer,
    leader: &PostgresServer,
) -> Result<Outcome, Outcome> {
    let Some(files) = &server.files else {
        return Err(Outcome::Failed("nothing was done: the plan does not say where its data is".to_owned()));
    };
    // Asked before anything is done: whoever does not know the leader can't become its standby.
    let session = open(attempt, leader).await.map_err(|outcome| prefixed("the one to follow", outcome))?;
    let leads =
        !is_standby(&session).await.map_err(|error| nothing_done(&answer("asking the one to follow", &error)))?;
    if leads {
        // Its control file names the timeline that it began only from its next checkpoint on, and `pg_rewind` looks there.
        session
            .run("CHECKPOINT")
            .await
            .map_err(|error| nothing_done(&answer("a checkpoint of the one to follow", &error)))?;
    }
    drop(session);
    match operate(attempt, ServiceOp::Stop, files).await {
        Outcome::Done => {}
        outcome @ (Outcome::DoneAt(_) | Outcome::LeaseOver(_) | Outcome::Failed(_) | Outcome::Unknown(_)) => {
            return Err(prefixed("stopping it", outcome));
        }
    }
    if leads {
        let own = configuration(attempt, files).await.map_err(|why| stopped(&why))?;
        rewind(attempt, files, leader).await?;
        restore(attempt, files, own).await.map_err(|why| stopped(&why))?;
    }
    let (data, leader_too) = (files.data.clone(), leader.clone());
    let key = format!("write in {}", files.data.display());
    let written = attempt.inner.gates.run(key, move || follow_from_start(&data, &leader_too)).await;
    written.map_err(|error| stopped(&format!("writing whom it follows: {}", trouble::describe(&error))))?;
    match operate(attempt, ServiceOp::Start, files).await {
        Outcome::Done => streams(attempt, server, leader).await,
        outcome @ (Outcome::DoneAt(_) | Outcome::LeaseOver(_) | Outcome::Failed(_) | Outcome::Unknown(_)) => {
            Err(prefixed("starting it as a standby", outcome))
        }
    }
}

/// What is run to see that it is there.
pub(crate) fn rewinds(files: &PostgresFiles) -> Vec<String> {
    PostgresFiles { run_as: None, ..files.clone() }.command("pg_rewind", &[])
}

/// Files of a data directory that say how this server is, and not what is in it.
const CONFIGURATION: [&str; 4] = ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"];

/// Its own configuration, as far as it is in its data directory: `pg_rewind` brings that of the leader.
async fn configuration(attempt: &Attempt<'_>, files: &PostgresFiles) -> Result<Vec<(PathBuf, String)>, String> {
    let data = files.data.clone();
    let read = move || {
        let there = CONFIGURATION.iter().map(|it| data.join(it)).filter(|it| it.exists());
        there.map(|it| Ok((it.clone(), fs::read_to_string(&it)?))).collect()
    };
    let read: io::Result<_> = attempt.inner.gates.run(format!("read in {}", files.data.display()), read).await;
    read.map_err(|error| format!("reading its configuration: {}", trouble::describe(&error)))
}

async fn restore(attempt: &Attempt<'_>, files: &PostgresFiles, own: Vec<(PathBuf, String)>) -> Result<(), String> {
    let data = files.data.clone();
    let write = move || own.iter().try_for_each(|(path, text)| write(&data, path, text));
    let written = attempt.inner.gates.run(format!("write in {}", files.data.display()), write).await;
    written.map_err(|error| format!("writing its configuration back: {}", trouble::describe(&error)))
}

/// Takes back what the leader does not have. Where nothing is, `pg_rewind` does nothing.
async fn rewind(attempt: &Attempt<'_>, files: &PostgresFiles, leader: &PostgresServer) -> Result<(), Outcome> {
    let mut source = following("", leader);
    source.push_str(" dbname=postgres");
    let data = files.data.display().to_string();
    let (target, source) = (format!("--target-pgdata={data}"), format!("--source-server={source}"));
    let config = files.config_file.as_ref().map(|it| format!("--config-file={}", it.display()));
    let mut arguments = vec![target.as_str(), source.as_str()];
    arguments.extend(config.as_deref());
    let argv = files.command("pg_rewind", &arguments);
    attempt.so_far.set(stopped("pg_rewind did not end in time and was killed: its data can't be used as it is"));
    match attempt.run(&argv, &BTreeMap::new(), Output::Capture).await {
        Ok(ended) if ended.success() => Ok(()),
        Ok(ended) => Err(stopped(&format!("pg_rewind {}; only a fresh copy makes a standby of it", ended.describe()))),
        Err(error) => Err(stopped(&format!("pg_rewind: {}", trouble::describe(&error)))),
    }
}

fn stopped(why: &str) -> Outcome {
    Outcome::Failed(trouble::clip(&format!("it is stopped: {why}")))
}

/// Says in its own files that it is a standby, and whose. What `pg_rewind` brought from the leader is there by now.
fn follow_from_start(data: &Path, leader: &PostgresServer) -> io::Result<()> {
    let settings = data.join("postgresql.auto.conf");
    let before = fs::read_to_string(&settings)?;
    let is_whom = |line: &&str| line.split('=').next().is_some_and(|it| it.trim() == "primary_conninfo");
    let old = before.lines().rfind(is_whom).and_then(value).unwrap_or_default();
    let old = if parse(&old).is_some() { old } else { String::new() };
    let kept = before.lines().filter(|it| !is_whom(it));
    let mut after: String = kept.flat_map(|it| [it, "\n"]).collect();
    after.push_str(&format!("primary_conninfo = {}\n", literal(&following(&old, leader))));
    write(data, &settings, &after)?;
    write(data, &data.join("standby.signal"), "")
}

/// The value of a setting's line, which its server wrote itself.
fn value(line: &str) -> Option<String> {
    let quoted = line.split_once('=')?.1.trim();
    Some(quoted.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'"))
}

/// Beside it and renamed, synced, and its server's own.
fn write(data: &Path, path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("mainstay");
    fs::write(&beside, text)?;
    let owner = fs::metadata(data)?;
    chown(&beside, Some(owner.uid()), Some(owner.gid()))?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    fs::File::open(&beside)?.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(data)?.sync_all()
}
