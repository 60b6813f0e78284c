//! Folding what becomes of series of backups: what their folders hold, and what is being done for them.

use std::time::Duration;

use mainstay_plan::action::Action;
use mainstay_plan::backup::{Backup, Keeper, KeepingJob, SeriesSeen};
use mainstay_plan::{ComponentIx, Plan, Time};

use super::State;
use crate::machine::{KeepingInput, KeepingLife, KeepingState, Machine};
use crate::record::{Ended, RecoveryId, StepRef};

/// What is known of a series of backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Since when the agent keeps it.
    pub known_since: Option<Time>,
    /// The newest backup, as its host said last.
    pub newest: Option<KnownBackup>,
    /// The last good restore test, as its host said last.
    pub tested: Option<KnownTest>,
    /// What its host found wrong.
    pub trouble: Option<String>,
    /// What is known of the jobs: by [`KeepingJob`], in its order.
    jobs: [Job; KeepingJob::ALL.len()],
    /// What is being done.
    pub open: Option<Keeping>,
}

/// A backup, on the agent's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBackup {
    /// Its name.
    pub name: String,
    /// When it was begun.
    pub began: Time,
    /// How long taking and verifying it took.
    pub took: Duration,
    /// How much it holds.
    pub bytes: u64,
    /// The server that it was taken from.
    pub from: String,
    /// Whether that was a `primary` or a `standby`.
    pub role: String,
}

/// A restore test, on the agent's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTest {
    /// What was restored.
    pub backup: String,
    /// When it ended.
    pub at: Time,
    /// How long it took.
    pub took: Duration,
    /// The longest that it took for any of the backups that are there.
    pub longest: Duration,
}

/// What is known of one job of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// How many failed in a row.
    pub failed: u32,
    /// When the last one failed, and why; over with the next good one.
    pub failure: Option<(Time, String)>,
    /// When it may be tried again, after one that failed.
    pub again: Option<Time>,
    /// Whether it was said that it is overdue.
    pub overdue: bool,
}

/// A job that is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Its name.
    pub id: RecoveryId,
    /// What.
    pub job: KeepingJob,
    /// Which try in a row.
    pub nth: u32,
    /// When it began.
    pub since: Time,
    /// How it stands.
    pub at: KeepingState,
    /// How often its host was asked.
    pub attempt: u32,
    /// When it came to stand so.
    pub moved: Time,
    /// How it ended, where it has.
    pub ended: Option<Ended>,
}

impl Keeping {
    /// What its host is asked under.
    pub const fn step_ref(&self) -> StepRef {
        StepRef { recovery: self.id, rung: 0, step: 0, attempt: self.attempt }
    }
}

impl Series {
    /// What is known of a job.
    pub const fn job(&self, job: KeepingJob) -> &Job {
        match job {
            KeepingJob::Backup => &self.jobs[0],
            KeepingJob::RestoreTest => &self.jobs[1],
        }
    }

    const fn job_mut(&mut self, job: KeepingJob) -> &mut Job {
        match job {
            KeepingJob::Backup => &mut self.jobs[0],
            KeepingJob::RestoreTest => &mut self.jobs[1],
        }
    }

    /// When the last good one was: of backups when it began, of restore tests when it ended.
    pub fn last(&self, job: KeepingJob) -> Option<Time> {
        match job {
            KeepingJob::Backup => self.newest.as_ref().map(|it| it.began),
            KeepingJob::RestoreTest => self.tested.as_ref().map(|it| it.at),
        }
    }

    /// What stays known of it: what is being done for it belongs to the plan before.
    pub(super) fn under_another_plan(self) -> Series {
        Series { open: None, ..self }
    }

    fn seen(&mut self, at: Time, seen: &SeriesSeen) {
        let ago = |ms: u64| Time::from_nanos(at.as_nanos().saturating_sub(ms.saturating_mul(1_000_000)));
        self.newest = seen.newest.as_ref().map(|it| KnownBackup {
            name: it.name.clone(),
            began: ago(it.age_ms),
            took: Duration::from_millis(it.took_ms),
            bytes: it.bytes,
            from: it.from.clone(),
            role: it.role.clone(),
        });
        self.tested = seen.tested.as_ref().map(|it| KnownTest {
            backup: it.backup.clone(),
            at: ago(it.age_ms),
            took: Duration::from_millis(it.took_ms),
            longest: Duration::from_millis(it.longest_ms),
        });
        self.trouble.clone_from(&seen.trouble);
    }
}

/// The components with a series that the agent keeps.
pub(super) fn kept(plan: &Plan) -> Vec<ComponentIx> {
    let is_kept = |it: &ComponentIx| plan.component(*it).backups.iter().any(|it| keeps(plan, it));
    (0u32..).map(ComponentIx).take(plan.components.len()).filter(is_kept).collect()
}

/// Whether the agent has a series kept.
pub(crate) fn keeps(plan: &Plan, backup: &Backup) -> bool {
    backup.kept_by_agent().is_some() && !matches!(plan.keeper(backup), Keeper::Nobody(_))
}

impl State {
    /// What is known of a series, by its place in the plan.
    pub fn series(&self, component: ComponentIx, nth: usize) -> Option<(&Backup, &Series)> {
        let planned = self.plan.component(component).backups.get(nth)?;
        Some((planned, self.components[component.index()].series.get(nth)?))
    }

    /// What is being done for series, oldest first: of which component, and which of its series.
    pub fn open_keepings(&self) -> impl Iterator<Item = (ComponentIx, usize, &Keeping)> {
        self.keepings.iter().filter_map(|(id, (component, nth))| {
            let open = self.components[component.index()].series.get(*nth)?.open.as_ref()?;
            (open.id == *id).then_some((*component, *nth, open))
        })
    }

    /// The job of that name.
    pub fn open_keeping(&self, id: RecoveryId) -> Option<(ComponentIx, usize, &Keeping)> {
        let (component, nth) = *self.keepings.get(&id)?;
        let open = self.components[component.index()].series.get(nth)?.open.as_ref()?;
        Some((component, nth, open))
    }

    /// What its host is asked for, while this very try of it is being made; the host, `None`: the agent's own machine; and how long that may take.
    pub(crate) fn keeping(&self, step: StepRef) -> Option<(ComponentIx, Action, Option<String>, Duration)> {
        let (component, nth, open) = self.open_keeping(step.recovery)?;
        let planned = self.plan.component(component).backups.get(nth)?;
        let runs = open.at == KeepingState::Running && open.step_ref() == step;
        let action = self.plan.keeping(component, planned, open.job, |it| self.address(it)).filter(|_| runs)?;
        let host = match self.plan.keeper(planned) {
            Keeper::Host(host) => Some(host.name.clone()),
            Keeper::Agent | Keeper::Nobody(_) => None,
        };
        Some((component, action, host, planned.gives_up(open.job)))
    }

    fn series_named(&mut self, component: &str, series: &str) -> Option<(ComponentIx, usize)> {
        let ix = self.component(component)?;
        let nth = self.plan.component(ix).backups.iter().position(|it| it.name == series)?;
        Some((ix, nth))
    }

    pub(super) fn on_keeping_started(&mut self, at: Time, id: RecoveryId, of: (&str, &str), job: KeepingJob, nth: u32) {
        let Some((component, series)) = self.series_named(of.0, of.1) else { return };
        let Some(known) = self.components[component.index()].series.get_mut(series) else { return };
        let before = known.open.as_ref().map_or(KeepingState::Idle, |it| it.at);
        match KeepingLife::step(before, KeepingInput::Started) {
            Ok(to) => {
                known.open = Some(Keeping { id, job, nth, since: at, at: to, attempt: 0, moved: at, ended: None });
                self.keepings.insert(id, (component, series));
            }
            Err(illegal) => self.note(Some(illegal)),
        }
    }

    /// Its host is asked; whether it is one.
    pub(super) fn on_keeping_step_started(&mut self, at: Time, step: StepRef) -> bool {
        self.keeping_moved(at, step.recovery, KeepingInput::StepStarted, |it| it.attempt = step.attempt)
    }

    /// Its host said how it ended, or did not; whether it is one.
    pub(super) fn on_keeping_step_ended(&mut self, at: Time, step: StepRef, ended: &Ended) -> bool {
        let Some((component, nth, open)) = self.open_keeping(step.recovery) else { return false };
        if open.at != KeepingState::Running || open.step_ref() != step {
            return true;
        }
        self.keeping_moved(at, step.recovery, KeepingInput::StepEnded, |it| it.ended = Some(ended.clone()));
        if let (Ended::Kept(seen), Some(known)) = (ended, self.components[component.index()].series.get_mut(nth)) {
            known.seen(at, seen);
        }
        true
    }

    pub(super) fn on_keeping_completed(&mut self, at: Time, id: RecoveryId) {
        self.close_keeping(at, id, KeepingInput::Completed, |it| *it = Job::default());
    }

    pub(super) fn on_keeping_failed(&mut self, at: Time, id: RecoveryId, why: &str, again: Time) {
        self.close_keeping(at, id, KeepingInput::Failed, |it| {
            it.failed += 1;
            it.failure = Some((at, why.to_owned()));
            it.again = Some(again);
        });
    }

    pub(super) fn on_keeping_gave_way(&mut self, at: Time, id: RecoveryId) {
        self.close_keeping(at, id, KeepingInput::GaveWay, |_| {});
    }

    pub(super) fn on_keeping_overdue(&mut self, component: &str, series: &str, job: KeepingJob) {
        let Some((component, nth)) = self.series_named(component, series) else { return };
        if let Some(known) = self.components[component.index()].series.get_mut(nth) {
            known.job_mut(job).overdue = true;
        }
    }

    fn close_keeping(&mut self, at: Time, id: RecoveryId, input: KeepingInput, change: impl FnOnce(&mut Job)) {
        if !self.keeping_moved(at, id, input, |_| {}) {
            return;
        }
        let Some((component, nth)) = self.keepings.remove(&id) else { return };
        let Some(known) = self.components[component.index()].series.get_mut(nth) else { return };
        if let Some(closed) = known.open.take() {
            change(known.job_mut(closed.job));
        }
    }

    /// What is being done for series is asked again where nobody knows how it ended: it does no harm.
    pub(super) fn interrupt_keepings(&mut self, at: Time) {
        for id in self.keepings.keys().copied().collect::<Vec<_>>() {
            let runs = self.open_keeping(id).is_some_and(|it| it.2.at == KeepingState::Running);
            if runs {
                self.keeping_moved(at, id, KeepingInput::Interrupted, |_| {});
            }
        }
    }

    /// Every series that was not known before is from now on.
    pub(super) fn know_series(&mut self, at: Time) {
        for series in self.components.iter_mut().flat_map(|it| &mut it.series) {
            series.known_since.get_or_insert(at);
        }
    }

    fn keeping_moved(
        &mut self,
        at: Time,
        id: RecoveryId,
        input: KeepingInput,
        change: impl FnOnce(&mut Keeping),
    ) -> bool {
        let Some((component, nth)) = self.keepings.get(&id).copied() else { return false };
        let known = self.components[component.index()].series.get_mut(nth);
        let Some(open) = known.and_then(|it| it.open.as_mut()) else { return false };
        match KeepingLife::step(open.at, input) {
            Ok(to) => {
                open.at = to;
                open.moved = at;
                change(open);
                true
            }
            Err(illegal) => {
                self.note(Some(illegal));
                false
            }
        }
    }
}
