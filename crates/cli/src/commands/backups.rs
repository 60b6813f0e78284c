//! `mainstay backups`: what there is to restore.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use mainstay_backups::{Backup, Listed, Lsn, dated_ahead, newest};
use mainstay_providers::{Lacking, Providers};
use serde::Serialize;

use super::Cx;
use super::series::{self, Series};
use crate::clock;
use crate::exit::{Answer, Failure, causes};
use crate::look::{Look, Table, Tone, bytes, labelled, say, say_json};

/// Show base backups of PostgreSQL servers, and how far each archive reaches
///
/// A backup is listed when it is whole and verified. `TESTED` is when one was last restored to see that it can be, and how long that took. Run it where
/// the series is kept. No agent is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay backups mainstay.yaml
  mainstay backups mainstay.yaml orders-db
  mainstay backups mainstay.yaml --json | jq '.series[].backups[-1].ended'

Exit codes:
  0  each series has a backup that is not older than twice its interval, an archive without a gap, a restore test that is not overdue, and
     all of it in its buckets
  1  one has not
  2  the plan has no such component
  3  a folder can't be reached from here")]
pub(crate) struct Backups {
    /// The plan
    file: PathBuf,
    /// Only this component
    component: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    series: Vec<OfSeries>,
}

#[derive(Serialize)]
struct OfSeries {
    component: String,
    series: String,
    folder: PathBuf,
    backups: Vec<Row>,
    /// Up to where the log can be replayed from the newest backup on.
    reach: Option<Reach>,
    last_archived: Option<Timestamp>,
    /// The buckets that have a copy of all of it.
    copied_to: Vec<String>,
    trouble: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    backup: Backup,
    tested: Option<mainstay_backups::Test>,
}

#[derive(Serialize)]
struct Reach {
    timeline: u32,
    at: Lsn,
}

impl Backups {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let plan = series::plan(&self.file)?;
        if let Some(name) = self.component.as_deref().filter(|it| plan.component_named(it).is_none()) {
            return Err(Failure::usage(format!("there is no component `{name}`")));
        }
        let wanted = |it: &Series<'_>| self.component.as_ref().is_none_or(|name| it.component.name == *name);
        let now = Timestamp::now();
        let mut report = Report { series: Vec::new() };
        for series in series::all(&plan).filter(wanted) {
            let mut looked = look_at(series, now)?;
            copies(series, &mut looked)?;
            report.series.push(looked);
        }
        if self.json {
            say_json(&report)?;
        } else {
            say(&told(&report, now, cx.look))?;
        }
        Ok(report.series.iter().all(|it| it.trouble.is_empty()).into())
    }
}

fn look_at(series: Series<'_>, now: Timestamp) -> Result<OfSeries, Failure> {
    let unreachable = |error: &dyn std::error::Error| Failure::unreachable(causes(error));
    let folder = series.folder()?;
    let Listed { backups, damaged } = folder.backups().map_err(|it| unreachable(&it))?;
    let mut trouble: Vec<String> = damaged.iter().map(|it| causes(it)).collect();
    trouble.extend(dated_ahead(&backups, now));
    let mut reach = None;
    match newest(&backups, now).or_else(|| backups.last()) {
        None => trouble.push("there is no backup".to_owned()),
        Some(newest) => {
            let age = series::age(now, newest.began);
            if age > series.backup.every * 2 {
                let (age, every) = (clock::span(clock::nanos(age)), clock::span(clock::nanos(series.backup.every)));
                trouble.push(format!("the newest backup is {age} old, and one is taken every {every}"));
            }
            trouble.extend(series.untested(&backups, now));
            let reached = folder.reach(newest.timeline, newest.start).map_err(|it| unreachable(&it))?;
            reach = reached.map(|(timeline, at)| Reach { timeline, at });
            if series.backup.archive_lag.is_some() {
                match &reach {
                    None => trouble.push("the log of the newest backup is not archived".to_owned()),
                    Some(reach) => trouble.extend(gap(&folder, reach).map_err(|it| unreachable(&it))?),
                }
            }
        }
    }
    let backups = backups.into_iter().map(|backup| Row { tested: backup.test.clone(), backup }).collect();
    Ok(OfSeries {
        component: series.component.name.clone(),
        series: series.backup.name.clone(),
        folder: series.postgres.folder.clone(),
        backups,
        reach,
        copied_to: Vec::new(),
        last_archived: folder.last_archived().map_err(|it| unreachable(&it))?,
        trouble,
    })
}

/// Looks whether the series' buckets have all of it.
fn copies(series: Series<'_>, looked: &mut OfSeries) -> Result<(), Failure> {
    let (folder, providers) = (series.folder()?, Providers::new());
    for bucket in &series.postgres.buckets {
        match series::run(async { Ok(providers.lacking(&folder, bucket).await) })? {
            Ok(Lacking { of, backups, log: 0 }) if backups.is_empty() => looked.copied_to.push(of),
            Ok(Lacking { of, backups, log }) => {
                let backups = backups.into_iter().map(|it| format!("the backup {it}"));
                let log = (log > 0).then(|| format!("{log} files of the log"));
                let lacks: Vec<String> = backups.chain(log).collect();
                looked.trouble.push(format!("{of} lacks {}", lacks.join(", ")));
            }
            Err(error) => looked.trouble.push(error.to_string()),
        }
    }
    Ok(())
}

/// What is missing where the archive ends, if something comes after it.
fn gap(folder: &mainstay_backups::Folder, reach: &Reach) -> Result<Option<String>, mainstay_backups::ArchiveError> {
    let next = mainstay_backups::Segment::of(reach.timeline, reach.at, folder.segment_bytes()?).to_string();
    match folder.is_end(&next, &BTreeMap::new()) {
        Ok(()) => Ok(None),
        Err(gap @ mainstay_backups::ArchiveError::Gap { .. }) => Ok(Some(gap.to_string())),
        Err(error) => Err(error),
    }
}

fn told(report: &Report, now: Timestamp, look: Look) -> String {
    if report.series.is_empty() {
        return "the plan has no backups that Mainstay takes\n".to_owned();
    }
    report.series.iter().map(|it| one(it, now, look)).collect::<Vec<_>>().join("\n")
}

fn one(of: &OfSeries, now: Timestamp, look: Look) -> String {
    let mut text = format!("{} {}, in {}\n", of.component, of.series, of.folder.display());
    let ago = |at: Timestamp| clock::span(clock::nanos(series::age(now, at)));
    if !of.backups.is_empty() {
        let mut table = Table::new(&["BACKUP", "AGE", "SIZE", "TOOK", "FROM", "CONSISTENT FROM", "TESTED"]);
        for Row { backup, tested } in &of.backups {
            let tested = match tested {
                Some(test) => format!("{} ago, in {}", ago(test.at), clock::span(test.took_ms * 1_000_000)),
                None => "never".to_owned(),
            };
            let cells = [
                (Tone::Strong, backup.name.clone()),
                (Tone::Plain, ago(backup.ended)),
                (Tone::Plain, bytes(backup.bytes)),
                (Tone::Plain, clock::span(backup.took_ms * 1_000_000)),
                (Tone::Plain, backup.role.clone()),
                (Tone::Plain, format!("{} ({})", backup.stop, backup.timeline)),
                (Tone::Plain, tested),
            ];
            table.row(cells, String::new());
        }
        text.push_str(&table.render(look, 2));
    }
    let archive = match (&of.reach, of.last_archived) {
        (Some(reach), Some(at)) => {
            format!("up to {} on timeline {}; the last file came {} ago", reach.at, reach.timeline, ago(at))
        }
        (None, Some(at)) => format!("the last file came {} ago", ago(at)),
        (_, None) => "nothing: only whole backups can be restored".to_owned(),
    };
    text.push_str(&labelled(look, 2, 7, "archive", &archive));
    for bucket in &of.copied_to {
        text.push_str(&labelled(look, 2, 7, "copy", &format!("all of it is in {bucket}")));
    }
    for trouble in &of.trouble {
        text.push_str(&labelled(look, 2, 7, "trouble", trouble));
    }
    text
}
