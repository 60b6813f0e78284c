//! Series of backups that Mainstay takes: found in a plan's file, and worked with by this process, without an agent.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mainstay_backups::{Backup as Taken, Folder, FolderError, Lock, last_test, newest};
use mainstay_plan::Plan;
use mainstay_plan::action::Outcome;
use mainstay_plan::backup::Backup;
use mainstay_plan::component::Component;
use mainstay_plan::postgres::PostgresBackup;
use mainstay_providers::BucketError;
use tokio::time::sleep;

use super::Cx;
use crate::clock;
use crate::exit::{Code, Failure, causes, note};
use crate::look::Look;
use crate::plan_file::PlanFile;

/// How long to wait before looking again whether somebody else has done.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One series.
#[derive(Clone, Copy)]
pub(super) struct Series<'p> {
    pub(super) component: &'p Component,
    pub(super) backup: &'p Backup,
    pub(super) postgres: &'p PostgresBackup,
}

impl Series<'_> {
    pub(super) fn folder(&self) -> Result<Folder, Failure> {
        let name = &self.backup.name;
        Folder::open(&self.postgres.folder).map_err(|error| {
            Failure::unreachable(causes(&error))
                .help(format!("`{name}` is kept at {}: run this there", self.backup.location))
        })
    }

    /// Whether it is time to take the next backup.
    pub(super) fn is_due(&self, backups: &[Taken], now: Timestamp) -> bool {
        newest(backups, now).is_none_or(|it| age(now, it.began) >= self.backup.every)
    }

    /// What is to be said about restore tests, where one is due.
    pub(super) fn untested(&self, backups: &[Taken], now: Timestamp) -> Option<String> {
        let every = self.backup.restore_test?;
        let show = |it: Duration| clock::span(clock::nanos(it));
        match last_test(backups, now).map(|it| it.1.at) {
            Some(last) if age(now, last) < every => None,
            Some(last) => Some(format!(
                "the last restore test is {} old, and one is due every {}",
                show(age(now, last)),
                show(every)
            )),
            None => Some(format!("none was restored to see that it can be, and that is due every {}", show(every))),
        }
    }
}

/// How long ago that was.
pub(super) fn age(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

/// The plan of a file that can be read without an agent.
pub(super) fn plan(file: &Path) -> Result<Plan, Failure> {
    let checked = PlanFile::read(file)?.check();
    match checked.compiled.plan {
        Some(plan) => Ok(plan),
        None => {
            note(&checked.refusal(Look::of_stderr_colour()));
            Err(Failure::new(Code::No, "there is no plan"))
        }
    }
}

/// All series that are ours.
pub(super) fn all(plan: &Plan) -> impl Iterator<Item = Series<'_>> {
    let of = |component| move |backup| series(component, backup);
    plan.components.iter().flat_map(move |component| component.backups.iter().filter_map(of(component)))
}

fn series<'p>(component: &'p Component, backup: &'p Backup) -> Option<Series<'p>> {
    Some(Series { component, backup, postgres: backup.postgres.as_deref()? })
}

/// The series of a component; without a name, the only one.
pub(super) fn find<'p>(plan: &'p Plan, component: &str, name: Option<&str>) -> Result<Series<'p>, Failure> {
    let Some(ix) = plan.component_named(component) else {
        let names: Vec<&str> = plan.components.iter().map(|it| it.name.as_str()).collect();
        let known = format!("the plan has {}", names.join(", "));
        return Err(Failure::usage(format!("there is no component `{component}`")).help(known));
    };
    let component = plan.component(ix);
    let ours: Vec<Series<'p>> = component.backups.iter().filter_map(|it| series(component, it)).collect();
    let names: Vec<&str> = ours.iter().map(|it| it.backup.name.as_str()).collect();
    let found = match name {
        Some(name) => ours.iter().find(|it| it.backup.name == name),
        None => ours.first().filter(|_| ours.len() == 1),
    };
    found.copied().ok_or_else(|| match (names.is_empty(), name) {
        (true, _) => Failure::usage(format!("`{}` has no backups that Mainstay takes", component.name))
            .help("a series of its `backups` with `postgres: { to: DIR }` is one"),
        (false, Some(name)) => {
            Failure::usage(format!("`{}` has no series `{name}` that Mainstay takes", component.name))
                .help(format!("it has {}", names.join(", ")))
        }
        (false, None) => Failure::usage(format!("`{}` has several series", component.name))
            .help(format!("name one of {}", names.join(", "))),
    })
}

/// Runs what takes long. Ctrl-C ends it, and what it has begun.
pub(super) fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::unreachable(error.to_string()))?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => Err(Failure::new(Code::No, "interrupted")),
        }
    });
    // A disk that hangs holds a thread.
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

/// Waits until nobody else takes, tests or removes: whoever does goes first.
pub(super) async fn alone(folder: &Folder, within: Duration) -> Result<Lock, Failure> {
    let waited = Instant::now();
    loop {
        match folder.lock() {
            Err(FolderError::Locked { .. }) if waited.elapsed() < within => sleep(LOOK_AGAIN).await,
            locked => return locked.map_err(|error| Failure::unreachable(causes(&error))),
        }
    }
}

/// What a bucket refused, or could not do.
pub(super) fn bucket_failure(code: Code, error: &BucketError) -> Failure {
    match error {
        BucketError::Failed(why) => Failure::new(code, why.clone()),
        BucketError::Refused(why) => Failure::new(Code::Refused, why.clone()),
    }
}

/// What a provider says that could not do it.
pub(super) fn failure(outcome: Outcome) -> Failure {
    let why = match outcome {
        Outcome::Failed(why) | Outcome::Unknown(why) => why,
        Outcome::Done | Outcome::DoneAt(_) | Outcome::DoneLosing(_) | Outcome::Kept(_) | Outcome::LeaseOver(_) => {
            "it ended in a way that it can't".to_owned()
        }
    };
    Failure::new(Code::No, why)
}

/// A path as the programs see it that are run from elsewhere.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

impl Cx {
    /// A restore may take as long as it takes, where nobody says more.
    pub(super) const PATIENCE: Duration = Duration::from_secs(24 * 3600);
}
