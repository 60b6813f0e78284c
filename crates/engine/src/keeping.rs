//! Keeping: series of backups are taken and tested when that is due, without a person.
//!
//! Intuition: the fire brigade washes its cars when nothing burns. A backup or a restore test begins when the last one is old enough and
//! nothing of its component is being recovered; as soon as something is, it gives way, and begins again afterwards. Nothing that
//! restores service ever waits for it.
//!
//! What counts is what the series' folder holds, whoever put it there. Its machine is asked to do what is due *by the folder*, and says what it
//! holds: so it may be asked twice, and two that take it do not take it twice. The journal knows what was said last.

use std::fmt;
use std::time::Duration;

use mainstay_plan::backup::{Backup, Keeper, KeepingJob, TakenBy};
use mainstay_plan::observation::Health;
use mainstay_plan::policy::Mode;
use mainstay_plan::{ComponentIx, Time};

use crate::lease::May;
use crate::machine::KeepingState;
use crate::planted::{Fault, planted};
use crate::record::{Body, Ended, RecoveryId, StepRef};
use crate::recover::HOST_GRACE;
use crate::state::keeping::keeps;
use crate::state::{Keeping, Series, State};

/// From one that failed to the next try.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// The longest of these waits, which grow.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Why a job of a series is not being done at the moment: a closed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unkept {
    /// The plan leaves it to a timer of the system.
    Timer,
    /// Mainstay has no hands where it is kept.
    NoHands {
        /// On which machine.
        machine: String,
    },
    /// There is nothing to restore yet.
    NoBackup,
    /// It is not due.
    NotDue {
        /// When it is.
        at: Time,
    },
    /// An operator has stopped all action.
    Halted {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Another agent may decide.
    Lease,
    /// The journal can't be written.
    JournalLost,
    /// It is under maintenance.
    Paused {
        /// Of this component alone; `None`: of all.
        component: Option<String>,
        /// Until when, unless resumed before.
        until: Time,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The plan's mode lets nothing be done.
    Mode {
        /// Which.
        mode: &'static str,
    },
    /// Its component is being recovered or moved.
    Recovery {
        /// That recovery.
        recovery: RecoveryId,
    },
    /// One of its component's instances is being repaired.
    Repair {
        /// That repair.
        repair: RecoveryId,
    },
    /// Something else is done for a series on that machine.
    Others {
        /// That keeping.
        keeping: RecoveryId,
    },
    /// The owner is not known to be healthy.
    Owner {
        /// The owner.
        owner: String,
    },
    /// The last try failed, and the next one waits.
    Again {
        /// Until when.
        at: Time,
        /// Why it failed.
        why: String,
    },
}

impl Unkept {
    /// Stable, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Unkept::Timer => "timer",
            Unkept::NoHands { .. } => "no_hands",
            Unkept::NoBackup => "no_backup",
            Unkept::NotDue { .. } => "not_due",
            Unkept::Halted { .. } => "halted",
            Unkept::Lease => "lease",
            Unkept::JournalLost => "journal_lost",
            Unkept::Paused { .. } => "paused",
            Unkept::Mode { .. } => "mode",
            Unkept::Recovery { .. } => "recovery",
            Unkept::Repair { .. } => "repair",
            Unkept::Others { .. } => "others",
            Unkept::Owner { .. } => "owner",
            Unkept::Again { .. } => "again",
        }
    }

    /// When it ends by itself, if time alone ends it.
    pub const fn until(&self) -> Option<Time> {
        match self {
            Unkept::Paused { until: at, .. } | Unkept::NotDue { at } | Unkept::Again { at, .. } => Some(*at),
            Unkept::Timer
            | Unkept::NoHands { .. }
            | Unkept::NoBackup
            | Unkept::Halted { .. }
            | Unkept::Lease
            | Unkept::JournalLost
            | Unkept::Mode { .. }
            | Unkept::Recovery { .. }
            | Unkept::Repair { .. }
            | Unkept::Others { .. }
            | Unkept::Owner { .. } => None,
        }
    }

    /// The command that helps, where one does.
    pub fn way_out(&self, component: &str) -> String {
        match self {
            Unkept::Halted { .. } => "mainstay continue".to_owned(),
            Unkept::Paused { component, .. } => {
                component.as_ref().map_or("mainstay resume".to_owned(), |it| format!("mainstay resume {it}"))
            }
            Unkept::Recovery { recovery } => format!("mainstay recoveries show {recovery}"),
            Unkept::Timer
            | Unkept::NoHands { .. }
            | Unkept::NoBackup
            | Unkept::NotDue { .. }
            | Unkept::Lease
            | Unkept::JournalLost
            | Unkept::Mode { .. }
            | Unkept::Repair { .. }
            | Unkept::Others { .. }
            | Unkept::Owner { .. }
            | Unkept::Again { .. } => format!("mainstay backup PLAN {component}"),
        }
    }
}

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unkept::Timer => write!(f, "the plan leaves it to a timer of the system"),
            Unkept::NoHands { machine } => write!(f, "Mainstay has no hands on {machine}, where it is kept"),
            Unkept::NoBackup => write!(f, "there is no backup yet"),
            Unkept::NotDue { .. } => write!(f, "it is not due"),
            Unkept::Halted { by, reason } => write!(f, "{by} stopped all action: {reason}"),
            Unkept::Lease => write!(f, "another agent may decide"),
            Unkept::JournalLost => write!(f, "the journal can't be written"),
            Unkept::Paused { component: None, by, reason, .. } => write!(f, "{by} paused everything: {reason}"),
            Unkept::Paused { component: Some(it), by, reason, .. } => write!(f, "{by} paused {it}: {reason}"),
            Unkept::Mode { mode } => write!(f, "the mode is `{mode}`"),
            Unkept::Recovery { recovery } => write!(f, "{recovery} is open"),
            Unkept::Repair { repair } => write!(f, "{repair} repairs one of its instances"),
            Unkept::Others { keeping } => write!(f, "{keeping} is under way on the same machine"),
            Unkept::Owner { owner } => write!(f, "`{owner}`, the owner, is not known to be healthy"),
            Unkept::Again { why, .. } => write!(f, "the last try failed, the next one waits: {why}"),
        }
    }
}

/// How it stands with a job of a series, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being done.
    UnderWay {
        /// Its name.
        keeping: RecoveryId,
        /// Since when.
        since: Time,
    },
    /// It waits.
    Waits(Unkept),
    /// It begins with the next look.
    Next,
}

/// How it stands with a job of a series; `None` where the plan does not ask for it, or Mainstay does not take the series.
pub fn standing(state: &State, component: ComponentIx, nth: usize, job: KeepingJob, now: Time) -> Option<Standing> {
    let (planned, known) = state.series(component, nth)?;
    let postgres = planned.postgres.as_deref()?;
    planned.every(job)?;
    if let Some(open) = known.open.as_ref().filter(|it| it.job == job) {
        return Some(Standing::UnderWay { keeping: open.id, since: open.since });
    }
    if postgres.taken_by == TakenBy::Timer {
        return Some(Standing::Waits(Unkept::Timer));
    }
    if let Keeper::Nobody(machine) = state.plan.keeper(planned) {
        return Some(Standing::Waits(Unkept::NoHands { machine: machine.to_owned() }));
    }
    Some(match due(planned, known, job, now).and_then(|()| objection(state, component, planned, now)) {
        Err(why) => Standing::Waits(why),
        Ok(()) => Standing::Next,
    })
}

/// The next decision about the series of a component.
pub(crate) fn next(state: &State, component: ComponentIx, now: Time) -> Option<Body> {
    if state.leadership.may(&state.plan) != May::Everything {
        return None;
    }
    let all = || kept(state, component);
    let overdue = all().find_map(|it| it.overdue(state, now));
    let overdue = overdue.or_else(|| all().find_map(|it| it.go_on(state, now)));
    overdue.or_else(|| all().find_map(|it| it.begin(state, now)))
}

/// What is being done for the series of a component gives way: asked before anything else is decided about its recovery.
pub(crate) fn gives_way(state: &State, component: ComponentIx) -> Option<Body> {
    let recovery = state.components[component.index()].recovery.as_ref().filter(|_| !planted(Fault::KeepingGoesOn))?;
    // Who begins beside a recovery, and gives way to it at once, would do nothing else for ever.
    let gives = |it: &Kept<'_>| {
        !planted(Fault::KeptBesideRecovery) || it.known.open.as_ref().is_some_and(|it| it.id < recovery.id)
    };
    kept(state, component).filter(gives).find_map(|it| it.give_way(format!("{} goes first", recovery.id)))
}

/// Whether series of other components may go on after such a record.
pub(crate) const fn may_let_go_on(body: &Body) -> bool {
    matches!(body, Body::KeepingCompleted { .. } | Body::KeepingFailed { .. } | Body::KeepingGaveWay { .. })
}

/// When [`next`] could say something else although no fact came in.
pub(crate) fn next_time(state: &State, component: ComponentIx, now: Time) -> Option<Time> {
    let pauses = [&state.paused, &state.components[component.index()].paused];
    let pauses = pauses.into_iter().flatten().map(|it| it.until);
    let mut any = false;
    let of = kept(state, component).flat_map(|it| {
        any = true;
        it.times(state)
    });
    let first = of.filter(|it| *it > now).min();
    let pauses = if any { pauses.filter(|it| *it > now).min() } else { None };
    first.into_iter().chain(pauses).min()
}

/// A series that the agent keeps.
#[derive(Clone, Copy)]
struct Kept<'s> {
    component: ComponentIx,
    planned: &'s Backup,
    known: &'s Series,
    name: &'s str,
}

fn kept(state: &State, component: ComponentIx) -> impl Iterator<Item = Kept<'_>> {
    let planned = state.plan.component(component);
    let known = &state.components[component.index()].series;
    let both = planned.backups.iter().zip(known).filter(|it| keeps(&state.plan, it.0));
    both.map(move |(backup, known)| Kept { component, planned: backup, known, name: &planned.name })
}

impl Kept<'_> {
    fn begin(&self, state: &State, now: Time) -> Option<Body> {
        // One at a time, so that they do not wait for each other in the folder.
        if self.known.open.is_some() || planted(Fault::DueNeverKept) {
            return None;
        }
        let may = |job: &KeepingJob| {
            due(self.planned, self.known, *job, now).is_ok()
                && objection(state, self.component, self.planned, now).is_ok()
        };
        let job = KeepingJob::ALL.into_iter().find(may)?;
        let nth = self.known.job(job).failed + 1;
        Some(Body::KeepingStarted { component: self.name.to_owned(), series: self.planned.name.clone(), job, nth })
    }

    fn go_on(&self, state: &State, now: Time) -> Option<Body> {
        let open = self.known.open.as_ref()?;
        if let Some(halt) = &state.site.halted {
            return self.give_way(format!("{} stopped all action", halt.by));
        }
        match open.at {
            KeepingState::Idle => None,
            KeepingState::Ready => objection(state, self.component, self.planned, now).is_ok().then(|| {
                let step = StepRef { attempt: open.attempt + 1, ..open.step_ref() };
                let name = format!("{} of {} {}", open.job, self.name, self.planned.name);
                let key = format!("{}/{}/keeping", state.plan.site.name, open.id);
                Body::StepStarted { step, name, key, undo: None }
            }),
            KeepingState::Running => {
                let over = self.deadline(state, open) <= now;
                let why = || "its machine did not say how it ended in its time".to_owned();
                over.then(|| Body::StepTimedOut { step: open.step_ref(), why: why() })
            }
            KeepingState::Ended => Some(self.close(open, now)),
        }
    }

    fn close(&self, open: &Keeping, now: Time) -> Body {
        let (keeping, component, series, job) = (open.id, self.name.to_owned(), self.planned.name.clone(), open.job);
        let why = match &open.ended {
            Some(Ended::Kept(seen)) => {
                return Body::KeepingCompleted { keeping, component, series, job, seen: seen.clone() };
            }
            Some(Ended::Failed(why) | Ended::Unknown(why)) => why.clone(),
            Some(Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_)) | None => {
                "its machine did not say what its folder holds".to_owned()
            }
        };
        let again = now + wait(open.nth).min(self.planned.every(job).unwrap_or(LONGEST_WAIT));
        Body::KeepingFailed { keeping, component, series, job, why, again }
    }

    fn give_way(&self, why: String) -> Option<Body> {
        let open = self.known.open.as_ref()?;
        Some(Body::KeepingGaveWay {
            keeping: open.id,
            component: self.name.to_owned(),
            series: self.planned.name.clone(),
            job: open.job,
            why,
            running: (open.at == KeepingState::Running).then(|| open.step_ref()),
        })
    }

    fn overdue(&self, state: &State, now: Time) -> Option<Body> {
        // Where nothing is begun, nothing is known of what others do.
        if state.plan.mode != Mode::Act {
            return None;
        }
        let job = KeepingJob::ALL.into_iter().find(|job| self.overdue_at(*job).is_some_and(|at| at <= now))?;
        let (component, series) = (self.name.to_owned(), self.planned.name.clone());
        Some(Body::KeepingOverdue { component, series, job, last: self.known.last(job) })
    }

    /// When it is to be said that a job is overdue; `None`: that was said, or there is nothing to say.
    fn overdue_at(&self, job: KeepingJob) -> Option<Time> {
        let after = self.planned.overdue_after(job)?;
        let is_possible = job == KeepingJob::Backup || self.known.newest.is_some();
        let since = self.known.last(job).max(self.known.known_since).filter(|_| is_possible)?;
        let is_told = self.known.job(job).overdue || planted(Fault::OverdueUntold);
        (!is_told).then(|| since + after)
    }

    fn deadline(&self, state: &State, open: &Keeping) -> Time {
        state.out_of_patience(open.moved, self.planned.gives_up(open.job) + HOST_GRACE, HOST_GRACE)
    }

    fn times(&self, state: &State) -> Vec<Time> {
        let deadline = self.known.open.as_ref().filter(|it| it.at == KeepingState::Running);
        let deadline = deadline.map(|it| self.deadline(state, it));
        let due = KeepingJob::ALL.into_iter().filter_map(|job| match due(self.planned, self.known, job, Time::ZERO) {
            Err(why) => why.until(),
            Ok(()) => None,
        });
        let acts = state.plan.mode == Mode::Act;
        let overdue = KeepingJob::ALL.into_iter().filter(|_| acts).filter_map(|job| self.overdue_at(job));
        due.chain(overdue).chain(deadline).collect()
    }
}

/// The wait after so many failures in a row.
fn wait(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT)
}

/// Whether a job is due, and may be tried.
fn due(planned: &Backup, known: &Series, job: KeepingJob, now: Time) -> Result<(), Unkept> {
    let Some(every) = planned.every(job) else { return Err(Unkept::Timer) };
    if job == KeepingJob::RestoreTest && known.newest.is_none() {
        return Err(Unkept::NoBackup);
    }
    let of = known.job(job);
    if let Some(at) = of.again.filter(|it| *it > now) {
        let why = of.failure.as_ref().map(|it| it.1.clone()).unwrap_or_default();
        return Err(Unkept::Again { at, why });
    }
    match known.last(job).map(|it| it + every).filter(|it| *it > now) {
        Some(at) => Err(Unkept::NotDue { at }),
        None => Ok(()),
    }
}

/// What keeps a job from being begun.
fn objection(state: &State, component: ComponentIx, planned: &Backup, now: Time) -> Result<(), Unkept> {
    let lasting = &state.components[component.index()];
    if let Some(halt) = &state.site.halted {
        return Err(Unkept::Halted { by: halt.by.clone(), reason: halt.reason.clone() });
    }
    if state.leadership.may(&state.plan) != May::Everything {
        return Err(Unkept::Lease);
    }
    if state.journal_lost.is_some() {
        return Err(Unkept::JournalLost);
    }
    if let Some((component, it)) = state.pause_of(component, now).filter(|_| !planted(Fault::KeptInPause)) {
        return Err(Unkept::Paused { component, until: it.until, by: it.by.clone(), reason: it.reason.clone() });
    }
    if state.plan.mode != Mode::Act {
        return Err(Unkept::Mode { mode: state.plan.mode.word() });
    }
    if let Some(open) = lasting.recovery.as_ref().filter(|_| !planted(Fault::KeptBesideRecovery)) {
        return Err(Unkept::Recovery { recovery: open.id });
    }
    let mut repairs = state.open_repairs();
    if let Some((_, open)) = repairs.find(|it| state.plan.instance(it.0).component == component) {
        return Err(Unkept::Repair { repair: open.id });
    }
    let machine = state.plan.keeper(planned);
    let is_there =
        |at: ComponentIx, nth: usize| state.series(at, nth).is_some_and(|(it, _)| state.plan.keeper(it) == machine);
    let is_this = |at: ComponentIx, nth: usize| {
        at == component && state.series(at, nth).is_some_and(|(it, _)| it.name == planned.name)
    };
    let mut others = state.open_keepings().filter(|it| !is_this(it.0, it.1));
    let other = others.find(|it| is_there(it.0, it.1)).filter(|_| !planted(Fault::KeptBesideOthers));
    if let Some((.., open)) = other {
        return Err(Unkept::Others { keeping: open.id });
    }
    if state.instances[lasting.bound.index()].health != Health::Healthy {
        return Err(Unkept::Owner { owner: state.plan.instance(lasting.bound).name.clone() });
    }
    Ok(())
}
