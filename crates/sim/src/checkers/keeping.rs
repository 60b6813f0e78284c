//! G9: one at a time takes or tests a series, and works in its folder; nobody does beside an open recovery of the component; and what
//! is overdue is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mainstay_engine::record::StepRef;
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::backup::{Backup, Keeper, KeepingJob};
use mainstay_plan::policy::Mode;
use mainstay_plan::{Plan, Time};

use super::facts::Facts;

/// A component, one of its series, and a job.
type Of = (String, String, KeepingJob);

/// The model.
#[derive(Debug, Default)]
pub(super) struct Keepings {
    /// Keeping → what it does.
    open: BTreeMap<RecoveryId, Of>,
    /// Who works in a folder.
    working: BTreeMap<PathBuf, StepRef>,
    /// When the last good one was, or the first record that speaks of the series' plan.
    last: BTreeMap<Of, Time>,
    /// Series with a backup.
    has_backup: BTreeSet<(String, String)>,
    /// Of what it was told that it is overdue, since it was done last.
    told: BTreeSet<Of>,
    /// Until when the newest record reaches.
    seen: Time,
}

impl Keepings {
    /// The next agent knows nothing of it, and what is being done is done.
    pub(super) fn forget_journal(&mut self) {
        *self = Keepings { working: std::mem::take(&mut self.working), ..Keepings::default() };
    }

    pub(super) fn recorded(&mut self, seq: u64, record: &Record, facts: &Facts) {
        if let Body::KeepingStarted { component, series, job, .. } = &record.body {
            let other = self.open.values().find(|it| it.0 == *component && it.1 == *series);
            assert!(other.is_none(), "G9: record {seq} begins {job} of {component} {series} beside {other:?}");
            Keepings::alone(seq, component, facts);
            self.open.insert(RecoveryId(seq), (component.clone(), series.clone(), *job));
        } else if let Body::StepStarted { step, .. } = &record.body {
            if let Some((component, ..)) = self.open.get(&step.recovery) {
                Keepings::alone(seq, component, facts);
            }
            if let Some(recovery) = facts.open.get(&step.recovery) {
                let beside = self.open.values().find(|it| it.0 == recovery.component);
                assert!(beside.is_none(), "G9: record {seq} recovers beside {beside:?}");
            }
        } else if let Body::KeepingCompleted { keeping, component, series, job, seen } = &record.body {
            self.open.remove(keeping);
            let ago = |ms: u64| Time::from_nanos(record.at.as_nanos().saturating_sub(ms.saturating_mul(1_000_000)));
            let of = |job| (component.clone(), series.clone(), job);
            if let Some(newest) = &seen.newest {
                self.has_backup.insert((component.clone(), series.clone()));
                self.last.insert(of(KeepingJob::Backup), ago(newest.age_ms));
            }
            if let Some(tested) = &seen.tested {
                self.last.insert(of(KeepingJob::RestoreTest), ago(tested.age_ms));
            }
            self.told.remove(&of(*job));
        } else if let Body::KeepingFailed { keeping, .. } | Body::KeepingGaveWay { keeping, .. } = &record.body {
            self.open.remove(keeping);
        } else if let Body::KeepingOverdue { component, series, job, .. } = &record.body {
            self.told.insert((component.clone(), series.clone(), *job));
        } else if let Body::PlanAdopted { .. } = &record.body {
            self.open.clear();
        }
        self.is_told(seq, record, &facts.plan);
    }

    /// Whatever was overdue when the record before this one was made has been told, or is told in the same batch.
    fn is_told(&mut self, seq: u64, record: &Record, plan: &Plan) {
        let before = std::mem::replace(&mut self.seen, record.at);
        if record.at <= before || plan.mode != Mode::Act {
            return;
        }
        for (component, backup) in kept(plan) {
            for job in KeepingJob::ALL {
                let Some(after) = backup.overdue_after(job) else { continue };
                let of = (component.to_owned(), backup.name.clone(), job);
                let since = *self.last.entry(of.clone()).or_insert(record.at);
                let is_possible = job == KeepingJob::Backup || self.has_backup.contains(&(of.0.clone(), of.1.clone()));
                let overdue = is_possible && since + after < before;
                assert!(
                    !overdue || self.told.contains(&of),
                    "G9: record {seq} comes, and nobody told that {of:?} is overdue"
                );
            }
        }
    }

    fn alone(seq: u64, component: &str, facts: &Facts) {
        let open = facts.of.get(component);
        assert!(open.is_none(), "G9: record {seq} backs {component} up while {open:?} is open");
    }

    pub(super) fn works_in(&mut self, folder: &Path, job: KeepingJob, step: StepRef, now: Time, facts: &Facts) {
        let other = self.working.insert(folder.to_owned(), step);
        assert!(other.is_none(), "G9: {step:?} begins a {job} in {} at {now} beside {other:?}", folder.display());
        if let Some((component, ..)) = self.open.get(&step.recovery) {
            Keepings::alone(step.recovery.0, component, facts);
        }
    }

    pub(super) fn works_no_more(&mut self, folder: &Path) {
        self.working.remove(folder);
    }
}

fn kept(plan: &Plan) -> impl Iterator<Item = (&str, &Backup)> {
    let of = |it: &Backup| it.kept_by_agent().is_some() && !matches!(plan.keeper(it), Keeper::Nobody(_));
    plan.components.iter().flat_map(move |component| {
        component.backups.iter().filter(move |it| of(it)).map(|it| (component.name.as_str(), it))
    })
}
