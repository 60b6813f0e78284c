//! Series of backups as the socket tells them.

use mainstay_api as api;
use mainstay_engine::keeping::{self, Standing};
use mainstay_engine::state::{Series, State};
use mainstay_plan::backup::{Backup, Keeper, KeepingJob, MEASURED_MARGIN, TakenBy};
use mainstay_plan::postgres::PostgresBackup;
use mainstay_plan::{ComponentIx, Time};

/// The series of a component that Mainstay takes.
pub(crate) fn all(state: &State, component: ComponentIx, now: Time) -> Vec<api::Series> {
    let places = 0..state.plan.component(component).backups.len();
    places.filter_map(|nth| one(state, component, nth, now)).collect()
}

fn one(state: &State, component: ComponentIx, nth: usize, now: Time) -> Option<api::Series> {
    let (planned, known) = state.series(component, nth)?;
    let postgres = planned.postgres.as_deref()?;
    let nanos = |it: std::time::Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
    let job = |job: KeepingJob| {
        let standing = keeping::standing(state, component, nth, job, now)?;
        let (of, overdue) = (known.job(job), is_overdue(planned, known, job, now));
        let (id, says, waits, until) = match standing {
            Standing::UnderWay { keeping, .. } => {
                (Some(keeping.to_string()), "it is being done".to_owned(), None, None)
            }
            Standing::Waits(why) => (None, why.to_string(), Some(why.code().to_owned()), why.until()),
            Standing::Next => (None, "it begins".to_owned(), None, None),
        };
        let until_ns = until.map(Time::as_nanos);
        Some(api::SeriesJob { job: job.word().to_owned(), id, says, waits, until_ns, failed: of.failed, overdue })
    };
    Some(api::Series {
        name: planned.name.clone(),
        kept_by: kept_by(state, planned, postgres),
        newest: known.newest.as_ref().map(|it| api::SeriesBackup {
            name: it.name.clone(),
            began_ns: it.began.as_nanos(),
            took_ns: nanos(it.took),
            bytes: it.bytes,
            from: it.from.clone(),
            role: it.role.clone(),
        }),
        tested: known.tested.as_ref().map(|it| api::SeriesTest {
            backup: it.backup.clone(),
            at_ns: it.at.as_nanos(),
            took_ns: nanos(it.took),
            longest_ns: nanos(it.longest),
            counts_ns: nanos(it.longest * MEASURED_MARGIN),
        }),
        jobs: KeepingJob::ALL.into_iter().filter_map(job).collect(),
        trouble: trouble(planned, known, now),
    })
}

fn kept_by(state: &State, planned: &Backup, postgres: &PostgresBackup) -> String {
    match (postgres.taken_by, state.plan.keeper(planned)) {
        (TakenBy::Timer, _) | (TakenBy::Agent, Keeper::Nobody(_)) => "timers".to_owned(),
        (TakenBy::Agent, Keeper::Agent) => "the agent".to_owned(),
        (TakenBy::Agent, Keeper::Host(host)) => format!("host {}", host.name),
    }
}

fn is_overdue(planned: &Backup, known: &Series, job: KeepingJob, now: Time) -> bool {
    let is_old = |(at, after): (Time, std::time::Duration)| at + after <= now;
    known.job(job).overdue || known.last(job).zip(planned.overdue_after(job)).is_some_and(is_old)
}

fn trouble(planned: &Backup, known: &Series, now: Time) -> Vec<String> {
    let mut trouble = Vec::new();
    for job in KeepingJob::ALL {
        if let Some((_, why)) = &known.job(job).failure {
            trouble.push(format!("the last {job} failed: {why}"));
        }
        if planned.kept_by_agent().is_some() && is_overdue(planned, known, job, now) {
            trouble.push(format!("the {job} is overdue"));
        }
    }
    if let Some(newest) = known.newest.as_ref().filter(|it| it.took > planned.takes) {
        trouble.push(format!("{} took longer than `takes` of the plan", newest.name));
    }
    trouble.extend(known.trouble.clone());
    trouble
}
