//! `mainstay restore`: a server of the past, beside the one that is there.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_plan::postgres::PostgresBackup;
use mainstay_providers::{Providers, RestoreBackup, RestoreTarget, RestoredServer};
use serde::Serialize;

use super::Cx;
use super::run::this_program;
use super::series::{self, Series};
use crate::clock;
use crate::exit::{Answer, Failure, causes};
use crate::look::{say, say_json};

/// Restore a PostgreSQL server to a moment, beside the one that is there
///
/// The newest backup that was complete by then is verified and copied, the log is replayed up to the target, and the server is started with a configuration of its own: it
/// archives nothing, follows nobody, and listens only at its socket, or at a port of the loopback. It is left running when the series'
/// `check` is true. A log that is damaged, or missing in the middle, is said; it never ends a restore early without a word. Nothing that was there
/// before is touched.
///
/// With --test it is removed again, and how long it took is kept with the backup. Run it where the series is kept. No agent is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay restore mainstay.yaml orders-db --to latest --beside /srv/restored/orders --port 5440
  mainstay restore mainstay.yaml orders-db --to 2026-11-29T20:15:03Z --beside /srv/restored/orders
  mainstay restore mainstay.yaml orders-db --to 16/B374D848 --beside /srv/restored/orders
  mainstay restore mainstay.yaml orders-db --to before-release-4 --beside /srv/restored/orders
  mainstay restore mainstay.yaml orders-db --test --if-due

Exit codes:
  0  it runs, and its check is true; with --test: it did, and is removed
  1  it was not restored, and nothing of it is left
  2  the plan has no such series, or the target can't be read
  3  the folder can't be reached from here")]
pub(crate) struct Restore {
    /// The plan
    file: PathBuf,
    /// Of which component
    component: String,
    /// From which series, where it has several
    series: Option<String>,
    /// Up to where: `latest`, a moment with its zone, a place in the log, or the name of a restore point
    #[arg(long, value_name = "TARGET", required_unless_present = "test")]
    to: Option<RestoreTarget>,
    /// From this backup, in place of the newest that can get there
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// The data directory to make
    #[arg(long, value_name = "DIR", required_unless_present = "test", conflicts_with = "test")]
    beside: Option<PathBuf>,
    /// A port of the loopback that it listens at
    #[arg(long, value_name = "N", conflicts_with = "test")]
    port: Option<u16>,
    /// Only see that it can be done: remove it again
    #[arg(long)]
    test: bool,
    /// Test only if the series' `restore_test` is over since the last one: for a timer of the system
    #[arg(long, requires = "test")]
    if_due: bool,
    /// How long it may take, as in 2h
    #[arg(long, value_name = "DURATION", value_parser = clock::parse)]
    within: Option<Duration>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    backup: &'a str,
    reached: String,
    last_commit: Option<&'a str>,
    timeline: u32,
    checked: Option<bool>,
    took_ms: u64,
    data: Option<PathBuf>,
    port: Option<u16>,
}

impl Restore {
    pub(crate) fn run(self, _cx: &Cx) -> Result<Answer, Failure> {
        let plan = series::plan(&self.file)?;
        let found = series::find(&plan, &self.component, self.series.as_deref())?;
        let folder = found.folder()?;
        let there = folder.backups().map_err(|it| Failure::unreachable(causes(&it)))?.backups;
        if self.if_due && found.untested(&there, Timestamp::now()).is_none() {
            say(if self.json { "{}\n" } else { "none is due\n" })?;
            return Ok(Answer::Yes);
        }
        let beside = match &self.beside {
            Some(beside) => series::absolute(beside)?,
            None => found.postgres.scratch.join("test"),
        };
        let server = plan.instance(found.component.original()).postgres.as_deref();
        let program = this_program()?;
        let order = RestoreBackup {
            series: found.postgres,
            to: self.to.as_ref().unwrap_or(&RestoreTarget::Latest),
            backup: self.backup.as_deref(),
            beside: &beside,
            port: self.port,
            user: server.map_or("postgres", |it| it.user.as_str()),
            program: &program,
            keeps_log: false,
        };
        let within = self.within.unwrap_or(Cx::PATIENCE);
        let providers = Providers::new();
        let restored = series::run(async {
            match self.test {
                true => providers.test_restore(&order, within).await.map_err(series::failure),
                false => providers.restore(&order, within).await.map_err(series::failure),
            }
        })?;
        let data = (!self.test).then_some(beside);
        if self.json {
            say_json(&Report {
                backup: &restored.backup.name,
                reached: restored.reached.to_string(),
                last_commit: restored.last_commit.as_deref(),
                timeline: restored.timeline,
                checked: restored.checked,
                took_ms: u64::try_from(restored.took.as_millis()).unwrap_or(u64::MAX),
                data,
                port: self.port,
            })?;
        } else {
            say(&told(found, &restored, data, self.port))?;
        }
        Ok(Answer::Yes)
    }
}

fn told(series: Series<'_>, restored: &RestoredServer, data: Option<PathBuf>, port: Option<u16>) -> String {
    let checked = match restored.checked {
        Some(_) => "its check is true",
        None => "the plan has no check for it",
    };
    let mut text = format!(
        "restored from {} up to {} in {}; {checked}\n",
        restored.backup.name,
        restored.reached,
        clock::span(clock::nanos(restored.took))
    );
    match &restored.last_commit {
        Some(at) => text.push_str(&format!("the last commit in it is of {at}\n")),
        None => text.push_str("nothing was committed since the backup\n"),
    }
    match data {
        None => text.push_str("it was a test: what was restored is removed\n"),
        Some(data) => text.push_str(&next_steps(series.postgres, &data, port)),
    }
    text
}

fn next_steps(postgres: &PostgresBackup, data: &std::path::Path, port: Option<u16>) -> String {
    let files = postgres.files(data.to_owned());
    let at = data.display().to_string();
    let host = port.map_or(at.clone(), |_| "127.0.0.1".to_owned());
    let number = port.unwrap_or(5432).to_string();
    let look = files.command("psql", &["-h", &host, "-p", &number, "-d", &postgres.database]).join(" ");
    let end = files.command("pg_ctl", &["-D", &at, "-m", "fast", "stop"]).join(" ");
    format!("it runs in {at}\nlook: {look}\nend it: {end}\n")
}
