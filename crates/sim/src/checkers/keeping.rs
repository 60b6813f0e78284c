//! G9: one at a time takes or tests a series, works in its folder, and does that on a machine; nobody does beside an open recovery of the
//! component, or while it is paused or all is stopped; what is due and may be done is begun; and what is overdue is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mainstay_engine::command::Command;
use mainstay_engine::record::{Ended, StepRef};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::backup::{Backup, Keeper, KeepingJob, SeriesSeen};
use mainstay_plan::observation::Health;
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
    /// When the last good one was.
    done: BTreeMap<Of, Time>,
    /// Since when the series is known.
    known: BTreeMap<Of, Time>,
    /// Series with a backup.
    has_backup: BTreeSet<(String, String)>,
    /// Of what it was told that it is overdue, since it was done last.
    told: BTreeSet<Of>,
    /// Until when what failed is not tried again.
    again: BTreeMap<Of, Time>,
    /// Component, or all of them → until when.
    paused: BTreeMap<Option<String>, Time>,
    /// An operator has stopped all action.
    halted: bool,
    /// Repair → its component.
    repairs: BTreeMap<RecoveryId, String>,
    /// Until when the newest record reaches.
    seen: Time,
}

impl Keepings {
    /// The next agent knows nothing of it, and what is being done is done.
    pub(super) fn forget_journal(&mut self) {
        *self = Keepings { working: std::mem::take(&mut self.working), ..Keepings::default() };
    }

    pub(super) fn recorded(&mut self, seq: u64, record: &Record, facts: &Facts) {
        let before = std::mem::replace(&mut self.seen, record.at);
        // What an agent had decided that died is not all on the disk: the next one decides anew.
        let is_first = before == Time::ZERO;
        let is_whole = record.at > before && !is_first && !matches!(record.body, Body::AgentStarted { .. });
        if is_whole && facts.plan.mode == Mode::Act {
            self.is_told(seq, before, &facts.plan);
            self.is_begun(seq, before, facts);
        }
        self.fold(seq, record, facts);
    }

    fn fold(&mut self, seq: u64, record: &Record, facts: &Facts) {
        if let Body::KeepingStarted { component, series, job, .. } = &record.body {
            let beside = |it: &&Of| machine(&facts.plan, &it.0, &it.1) == machine(&facts.plan, component, series);
            let other = self.open.values().find(beside);
            assert!(other.is_none(), "G9: record {seq} begins {job} of {component} {series} beside {other:?}");
            Keepings::alone(seq, component, facts);
            assert!(!self.halted, "G9: record {seq} backs {component} up, and all action is stopped");
            let paused = self.pause(component, record.at);
            assert!(paused.is_none(), "G9: record {seq} backs {component} up, which is paused until {paused:?}");
            self.open.insert(RecoveryId(seq), (component.clone(), series.clone(), *job));
        } else if let Body::StepStarted { step, .. } = &record.body {
            if let Some((component, ..)) = self.open.get(&step.recovery) {
                Keepings::alone(seq, component, facts);
            }
            if let Some(recovery) = facts.open.get(&step.recovery) {
                let beside = self.open.values().find(|it| it.0 == recovery.component);
                assert!(beside.is_none(), "G9: record {seq} recovers beside {beside:?}");
            }
        } else if let Body::StepEnded { step, ended: Ended::Kept(seen), .. } = &record.body {
            if let Some((component, series, _)) = self.open.get(&step.recovery).cloned() {
                self.holds(record.at, &component, &series, seen);
            }
        } else if let Body::KeepingCompleted { keeping, component, series, job, .. } = &record.body {
            self.open.remove(keeping);
            let of = (component.clone(), series.clone(), *job);
            self.told.remove(&of);
            self.again.remove(&of);
        } else if let Body::KeepingFailed { keeping, component, series, job, again, .. } = &record.body {
            self.open.remove(keeping);
            self.again.insert((component.clone(), series.clone(), *job), *again);
        } else if let Body::KeepingGaveWay { keeping, .. } = &record.body {
            self.open.remove(keeping);
        } else if let Body::KeepingOverdue { component, series, job, .. } = &record.body {
            self.told.insert((component.clone(), series.clone(), *job));
        } else if let Body::RepairStarted { component, .. } = &record.body {
            self.repairs.insert(RecoveryId(seq), component.clone());
        } else if let Body::RepairFailed { repair, .. } | Body::RepairCompleted { repair, .. } = &record.body {
            self.repairs.remove(repair);
        } else if let Body::PlanAdopted { .. } = &record.body {
            self.open.clear();
            self.repairs.clear();
        } else if let Body::Commanded { command, .. } = &record.body {
            self.commanded(command);
        }
    }

    /// What the folder of a series holds.
    fn holds(&mut self, at: Time, component: &str, series: &str, seen: &SeriesSeen) {
        let ago = |ms: u64| Time::from_nanos(at.as_nanos().saturating_sub(ms.saturating_mul(1_000_000)));
        let of = |job| (component.to_owned(), series.to_owned(), job);
        if let Some(newest) = &seen.newest {
            self.has_backup.insert((component.to_owned(), series.to_owned()));
            self.done.insert(of(KeepingJob::Backup), ago(newest.age_ms));
        }
        if let Some(tested) = &seen.tested {
            self.done.insert(of(KeepingJob::RestoreTest), ago(tested.age_ms));
        }
    }

    fn commanded(&mut self, command: &Command) {
        if let Command::Pause { component, until, .. } = command {
            self.paused.insert(component.clone(), *until);
        } else if let Command::Resume { component } = command {
            self.paused.remove(component);
        } else if let Command::Halt { .. } = command {
            self.halted = true;
        } else if let Command::Continue { .. } = command {
            self.halted = false;
        }
    }

    /// Until when a component is paused, alone or with all.
    fn pause(&self, component: &str, at: Time) -> Option<Time> {
        let of = [None, Some(component.to_owned())];
        of.iter().filter_map(|it| self.paused.get(it)).copied().find(|until| *until > at)
    }

    /// Whatever was due when the record before this one was made, and could be done, is being done since then.
    fn is_begun(&self, seq: u64, before: Time, facts: &Facts) {
        for (component, backup) in kept(&facts.plan).filter(|it| self.is_free(it.0, it.1, before, facts)) {
            for job in KeepingJob::ALL {
                let Some(every) = backup.every(job) else { continue };
                let of = (component.to_owned(), backup.name.clone(), job);
                let has_some = self.has_backup.contains(&(of.0.clone(), of.1.clone()));
                let is_possible = job == KeepingJob::Backup || has_some;
                let waits = self.again.get(&of).is_some_and(|it| *it > before);
                let is_due = self.done.get(&of).is_none_or(|it| *it + every <= before);
                assert!(
                    !is_possible || waits || !is_due,
                    "G9: record {seq} comes, and nobody began {of:?}, which was due and could be done"
                );
            }
        }
    }

    /// Whether nothing kept a series from being taken or tested.
    fn is_free(&self, component: &str, backup: &Backup, at: Time, facts: &Facts) -> bool {
        let there = Some(facts.plan.keeper(backup));
        let is_healthy = facts.health.get(facts.bound(component)) == Some(&Health::Healthy);
        let beside = self.open.values().any(|it| machine(&facts.plan, &it.0, &it.1) == there);
        let works = facts.of.contains_key(component) || self.repairs.values().any(|it| it == component);
        let held = self.halted || facts.journal_lost || self.pause(component, at).is_some();
        is_healthy && !beside && !works && !held
    }

    /// Whatever was overdue when the record before this one was made was told by then.
    fn is_told(&mut self, seq: u64, before: Time, plan: &Plan) {
        for (component, backup) in kept(plan) {
            for job in KeepingJob::ALL {
                let Some(after) = backup.overdue_after(job) else { continue };
                let of = (component.to_owned(), backup.name.clone(), job);
                let known = *self.known.entry(of.clone()).or_insert(before);
                let since = self.done.get(&of).copied().map_or(known, |it| it.max(known));
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

/// Where a series is kept.
fn machine<'p>(plan: &'p Plan, component: &str, series: &str) -> Option<Keeper<'p>> {
    let component = plan.component(plan.component_named(component)?);
    component.backups.iter().find(|it| it.name == series).map(|it| plan.keeper(it))
}

fn kept(plan: &Plan) -> impl Iterator<Item = (&str, &Backup)> {
    let of = |it: &Backup| it.kept_by_agent().is_some() && !matches!(plan.keeper(it), Keeper::Nobody(_));
    plan.components.iter().flat_map(move |component| {
        component.backups.iter().filter(move |it| of(it)).map(|it| (component.name.as_str(), it))
    })
}
