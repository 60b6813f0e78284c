//! `mainstay backup`: one base backup, now.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mainstay_backups::{Backup as Taken, Folder, Removed};
use mainstay_plan::Plan;
use mainstay_plan::component::Instance;
use mainstay_plan::postgres::PostgresServer;
use mainstay_providers::{Providers, TakeBackup};
use serde::Serialize;
use tokio::time::timeout_at;

use super::Cx;
use super::series::{self, Series};
use crate::clock;
use crate::exit::{Answer, Code, Failure, causes};
use crate::look::{bytes, say, say_json};

/// Take a base backup of a PostgreSQL server now
///
/// From a standby that keeps up, if there is one, else from the primary. It is there when it is whole and verified; whatever ends this before leaves nothing that
/// looks like one. Then backups that nobody needs any more are removed, and so is the log that only they needed. Run it where the
/// series is kept. No agent is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay backup mainstay.yaml orders-db
  mainstay backup mainstay.yaml orders-db nightly --from orders-db-b
  mainstay backup mainstay.yaml orders-db --if-due
  mainstay backup mainstay.yaml orders-db --within 2h --json | jq .backup.name

Exit codes:
  0  it is taken, verified and copied to the series' buckets, or none is due
  1  it is not
  2  the plan has no such series
  3  the folder can't be reached from here")]
pub(crate) struct Backup {
    /// The plan
    file: PathBuf,
    /// Of which component
    component: String,
    /// For which series, where it has several
    series: Option<String>,
    /// From which instance
    #[arg(long, value_name = "INSTANCE")]
    from: Option<String>,
    /// Only if the series' `every` is over since the newest began: for a timer of the system
    #[arg(long)]
    if_due: bool,
    /// How long it and its copies may take, as in 2h
    #[arg(long, value_name = "DURATION", value_parser = clock::parse)]
    within: Option<Duration>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    backup: &'a Taken,
    removed: Vec<String>,
    removed_of_the_log: u64,
    trouble: Option<String>,
    copied_to: &'a [String],
    not_copied: &'a [String],
}

/// What became of the copies in buckets.
#[derive(Default)]
struct Copies {
    /// The buckets that have all of it.
    to: Vec<String>,
    /// Why others have not.
    missing: Vec<String>,
    /// Why not all that is old was removed there.
    trouble: Option<String>,
}

impl Copies {
    fn answer(&self) -> Result<Answer, Failure> {
        match self.missing.is_empty() {
            true => Ok(Answer::Yes),
            false => Err(Failure::new(Code::No, format!("it is not copied: {}", self.missing.join("; ")))),
        }
    }
}

impl Backup {
    pub(crate) fn run(self, _cx: &Cx) -> Result<Answer, Failure> {
        let within = self.within.unwrap_or(Cx::PATIENCE);
        let deadline = Instant::now() + within;
        let plan = series::plan(&self.file)?;
        let found = series::find(&plan, &self.component, self.series.as_deref())?;
        let folder = found.folder()?;
        let there = folder.backups().map_err(|it| Failure::unreachable(causes(&it)))?.backups;
        if self.if_due && !found.is_due(&there, Timestamp::now()) {
            // The last one may have been ended before it was copied.
            let copies = self.copied(&Providers::new(), found, &folder, deadline);
            say(if self.json { "{}\n" } else { "none is due\n" })?;
            return copies.answer();
        }
        let providers = Providers::new();
        let taken = series::run(async {
            let server = self.server(&plan, found, &providers).await?;
            let order = TakeBackup { server, series: found.postgres, keep: found.backup.keep };
            providers.take_backup(&order, within).await.map_err(series::failure)
        })?;
        let copies = self.copied(&providers, found, &folder, deadline);
        let (removed, trouble) = match taken.removed {
            Ok(it) => (it, copies.trouble.clone()),
            Err(why) => (Removed::default(), Some(format!("nothing old was removed: {why}"))),
        };
        if self.json {
            let report = Report {
                backup: &taken.backup,
                removed: removed.backups,
                removed_of_the_log: removed.archived,
                trouble,
                copied_to: &copies.to,
                not_copied: &copies.missing,
            };
            say_json(&report)?;
        } else {
            say(&told(&taken.backup, &removed, trouble.as_deref()))?;
            for to in &copies.to {
                say(&format!("copied to {to}\n"))?;
            }
        }
        copies.answer()
    }

    /// Copies the series to its buckets. What was taken is there, whatever becomes of that.
    fn copied(&self, providers: &Providers, series: Series<'_>, folder: &Folder, deadline: Instant) -> Copies {
        let mut copies = Copies::default();
        if series.postgres.buckets.is_empty() {
            return copies;
        }
        let copying = async {
            let lock = series::alone(folder, deadline.saturating_duration_since(Instant::now())).await?;
            for bucket in &series.postgres.buckets {
                match providers.copy_series(folder, &lock, bucket, Some(series.backup.keep)).await {
                    Ok(copied) => {
                        copies.to.push(copied.to);
                        copies.trouble = copies.trouble.take().or(copied.trouble);
                    }
                    Err(error) => copies.missing.push(error.to_string()),
                }
            }
            Ok(())
        };
        let done = series::run(async {
            let late = |_| Failure::new(Code::No, "not all of it was copied in time");
            timeout_at(deadline.into(), copying).await.map_err(late)?
        });
        copies.missing.extend(done.err().map(|it| it.message));
        copies
    }

    async fn server<'p>(
        &self,
        plan: &'p Plan,
        series: Series<'p>,
        providers: &Providers,
    ) -> Result<&'p PostgresServer, Failure> {
        let instances = series.component.instances.iter().map(|it| plan.instance(*it));
        let with_server: Vec<(&Instance, &PostgresServer)> =
            instances.filter_map(|it| Some((it, it.postgres.as_deref().filter(|it| it.follow.is_some())?))).collect();
        if let Some(name) = &self.from {
            let found = with_server.iter().find(|it| it.0.name == *name);
            return found.map(|it| it.1).ok_or_else(|| {
                let names: Vec<&str> = with_server.iter().map(|it| it.0.name.as_str()).collect();
                Failure::usage(format!("`{name}` is none of its instances that say how they are followed"))
                    .help(format!("there is {}", names.join(", ")))
            });
        }
        let servers: Vec<PostgresServer> = with_server.iter().map(|it| it.1.clone()).collect();
        let chosen = providers.choose_server(&servers).await.map_err(|why| Failure::new(Code::No, why))?;
        let at = servers.iter().position(|it| it == chosen).unwrap_or_default();
        Ok(with_server[at].1)
    }
}

fn told(taken: &Taken, removed: &Removed, trouble: Option<&str>) -> String {
    let mut text = format!(
        "taken and verified: {} from the {} {}, {} in {}\nit is consistent from {} on, timeline {}\n",
        taken.name,
        taken.role,
        taken.from,
        bytes(taken.bytes),
        clock::span(taken.took_ms * 1_000_000),
        taken.stop,
        taken.timeline
    );
    for name in &removed.backups {
        text.push_str(&format!("removed: {name}, which is older than it has to be kept\n"));
    }
    if removed.archived > 0 {
        text.push_str(&format!("removed: {} files of the archive that no backup needs\n", removed.archived));
    }
    if let Some(why) = trouble {
        text.push_str(&format!("trouble: {why}\n"));
    }
    text
}
