//! Repair: a displaced instance, or a standby that follows another history than the owner's, is made a standby of the owner
//! again, where the plan says how, without a person.
//!
//! Intuition: the wounded are treated when the fight is over. Nothing of a repair begins while its component is being
//! recovered, while others are; and nobody operates on whoever leads, or on somebody who may still be fighting.
//!
//! A repair is a list of actions on the displaced instance, one after the other, each recorded before it is done. Then the
//! instance is asked anew; a healthy standby is fit again. What fails is tried again from its beginning, after a wait that grows.

use std::fmt;
use std::time::Duration;

use mainstay_plan::component::Repair as Planned;
use mainstay_plan::observation::{Health, SeenRole};
use mainstay_plan::policy::Mode;
use mainstay_plan::route::Sharing;
use mainstay_plan::routing::TargetState;
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use crate::command::Refusal;
use crate::elsewhere::tells;
use crate::grants;
use crate::lease::May;
use crate::machine::RepairState;
use crate::planted::{Fault, planted};
use crate::record::{Body, Ended, OldOwner, RecoveryId, StepRef};
use crate::recover::HOST_GRACE;
use crate::state::{Repair, State};

/// How many instances of a site are repaired at the same time.
const AT_ONCE: usize = 4;

/// Why an instance that needs it is not being repaired at the moment: a closed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrepaired {
    /// The plan does not say how.
    NotPlanned,
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
    /// The plan's mode lets nothing be done without a person.
    Mode {
        /// Which.
        mode: &'static str,
    },
    /// Its component is being recovered or moved.
    Recovery {
        /// That recovery.
        recovery: RecoveryId,
    },
    /// Another component is being recovered, and that goes first.
    OthersFirst {
        /// That recovery.
        recovery: RecoveryId,
    },
    /// Others are being repaired.
    Others {
        /// How many at the same time.
        at_once: usize,
    },
    /// The owner is not known to be healthy and active.
    Owner {
        /// The owner.
        owner: String,
    },
    /// It may be healthy already, or something else: it is asked first.
    Unseen,
    /// It may follow the owner by itself: a standby needs a moment after each takeover.
    MayFollow {
        /// Until when.
        until: Time,
    },
    /// It lives in what is being evacuated.
    Evacuated {
        /// Which zone or region.
        place: String,
    },
    /// Nothing shows that it takes no writes.
    MayWrite,
    /// The last try failed, and the next one waits.
    Again {
        /// Until when.
        at: Time,
        /// Why it failed.
        why: String,
    },
    /// Nobody knows what the last try did, and it may be done only once.
    ByHand {
        /// Why.
        why: String,
    },
}

impl Unrepaired {
    /// Stable, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Unrepaired::NotPlanned => "not_planned",
            Unrepaired::Halted { .. } => "halted",
            Unrepaired::Lease => "lease",
            Unrepaired::JournalLost => "journal_lost",
            Unrepaired::Paused { .. } => "paused",
            Unrepaired::Mode { .. } => "mode",
            Unrepaired::Recovery { .. } => "recovery",
            Unrepaired::OthersFirst { .. } => "others_first",
            Unrepaired::Others { .. } => "others",
            Unrepaired::Owner { .. } => "owner",
            Unrepaired::Unseen => "unseen",
            Unrepaired::MayFollow { .. } => "may_follow",
            Unrepaired::Evacuated { .. } => "evacuated",
            Unrepaired::MayWrite => "may_write",
            Unrepaired::Again { .. } => "again",
            Unrepaired::ByHand { .. } => "by_hand",
        }
    }

    /// When it ends by itself, if time alone ends it.
    pub const fn until(&self) -> Option<Time> {
        match self {
            Unrepaired::Paused { until, .. } => Some(*until),
            Unrepaired::Again { at, .. } => Some(*at),
            Unrepaired::MayFollow { until } => Some(*until),
            Unrepaired::NotPlanned
            | Unrepaired::Halted { .. }
            | Unrepaired::Lease
            | Unrepaired::JournalLost
            | Unrepaired::Mode { .. }
            | Unrepaired::Recovery { .. }
            | Unrepaired::OthersFirst { .. }
            | Unrepaired::Others { .. }
            | Unrepaired::Owner { .. }
            | Unrepaired::Unseen
            | Unrepaired::Evacuated { .. }
            | Unrepaired::MayWrite
            | Unrepaired::ByHand { .. } => None,
        }
    }

    /// The command that helps.
    pub fn way_out(&self, instance: &str) -> String {
        match self {
            Unrepaired::NotPlanned => format!("mainstay adopt {instance} --as standby --reason repaired-by-hand"),
            Unrepaired::Halted { .. } => "mainstay continue".to_owned(),
            Unrepaired::Paused { component, .. } => {
                component.as_ref().map_or("mainstay resume".to_owned(), |it| format!("mainstay resume {it}"))
            }
            Unrepaired::Recovery { recovery } | Unrepaired::OthersFirst { recovery } => {
                format!("mainstay recoveries show {recovery}")
            }
            Unrepaired::MayWrite => {
                format!("mainstay repair {instance} --accept two_writers --reason it-is-seen-to")
            }
            Unrepaired::Mode { .. }
            | Unrepaired::Evacuated { .. }
            | Unrepaired::Again { .. }
            | Unrepaired::MayFollow { .. }
            | Unrepaired::ByHand { .. } => {
                format!("mainstay repair {instance} --reason now")
            }
            Unrepaired::Lease
            | Unrepaired::JournalLost
            | Unrepaired::Others { .. }
            | Unrepaired::Owner { .. }
            | Unrepaired::Unseen => format!("mainstay adopt {instance} --as standby --reason repaired-by-hand"),
        }
    }
}

impl fmt::Display for Unrepaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unrepaired::NotPlanned => write!(f, "the plan does not say how it is repaired"),
            Unrepaired::Halted { by, reason } => write!(f, "{by} stopped all action: {reason}"),
            Unrepaired::Lease => write!(f, "another agent may decide"),
            Unrepaired::JournalLost => write!(f, "the journal can't be written"),
            Unrepaired::Paused { component: None, by, reason, .. } => write!(f, "{by} paused everything: {reason}"),
            Unrepaired::Paused { component: Some(it), by, reason, .. } => write!(f, "{by} paused {it}: {reason}"),
            Unrepaired::Mode { mode } => write!(f, "the mode is `{mode}`, so a person orders it"),
            Unrepaired::Recovery { recovery } => write!(f, "{recovery} is open"),
            Unrepaired::OthersFirst { recovery } => write!(f, "{recovery} restores service, which goes first"),
            Unrepaired::Others { at_once } => write!(f, "{at_once} others are being repaired"),
            Unrepaired::Owner { owner } => write!(f, "`{owner}`, the owner, is not known to be healthy and active"),
            Unrepaired::Unseen => write!(f, "it has to be seen first"),
            Unrepaired::MayFollow { .. } => write!(f, "it may follow the owner by itself yet"),
            Unrepaired::Evacuated { place } => write!(f, "{place} is being evacuated"),
            Unrepaired::MayWrite => write!(f, "nothing shows that it takes no writes"),
            Unrepaired::Again { why, .. } => write!(f, "the last try failed, the next one waits: {why}"),
            Unrepaired::ByHand { why } => {
                write!(f, "nobody knows what the last try did, and it may be done only once: {why}")
            }
        }
    }
}

/// How it stands with the repair of a displaced instance, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being repaired.
    UnderWay {
        /// The repair.
        repair: RecoveryId,
        /// Which try in a row.
        nth: u32,
        /// Since when.
        since: Time,
        /// What is being done.
        doing: String,
        /// What its next action waits for.
        waits: Option<Unrepaired>,
    },
    /// It waits.
    Waits(Unrepaired),
    /// It begins with the next look.
    Next,
}

/// Whether an instance is to be repaired: it was displaced, or is a standby that follows another history than the owner's.
fn needs_repair(state: &State, instance: InstanceIx) -> bool {
    let it = &state.instances[instance.index()];
    it.displaced || it.astray_since().is_some()
}

/// How it stands with the repair of an instance that needs one; `None` where its plan repairs nobody.
pub fn standing(state: &State, instance: InstanceIx, now: Time) -> Option<Standing> {
    let it = &state.instances[instance.index()];
    let component = state.plan.instance(instance).component;
    if let Some(open) = &it.mending.open {
        let step = state.planned_repair(instance, open.owner).and_then(|planned| planned.steps.get(open.step));
        let doing = match (open.at, step) {
            (RepairState::Asked, _) | (_, None) => "it is asked whether it is a healthy standby".to_owned(),
            (_, Some(step)) => step.name.clone(),
        };
        let waits = (open.at == RepairState::Ready).then(|| holds(state, component, now)).flatten();
        return Some(Standing::UnderWay { repair: open.id, nth: open.nth, since: open.since, doing, waits });
    }
    let is_planned = !state.plan.component(component).repairs.is_empty();
    if !needs_repair(state, instance) || !is_planned || state.components[component.index()].bound == instance {
        return None;
    }
    Some(match objection(state, component, instance, now) {
        Err(waits) => Standing::Waits(waits),
        Ok(_) => Standing::Next,
    })
}

/// The next decision about the repairs of a component.
pub(crate) fn next(state: &State, component: ComponentIx, now: Time) -> Option<Body> {
    if state.leadership.may(&state.plan) != May::Everything {
        return None;
    }
    let planned = state.plan.component(component);
    if planned.repairs.is_empty() {
        return None;
    }
    let open = |ix: &InstanceIx| Some((*ix, state.instances[ix.index()].mending.open.as_ref()?));
    if let Some((ix, open)) = planned.instances.iter().find_map(open) {
        return go_on(state, component, ix, open, now);
    }
    planned.instances.iter().find_map(|ix| begin(state, component, *ix, now))
}

/// Whether other components may go on with their repairs after such a record.
pub(crate) const fn may_let_go_on(body: &Body) -> bool {
    matches!(
        body,
        Body::RecoveryCompleted { .. }
            | Body::RecoveryFailed { .. }
            | Body::RungFailed { .. }
            | Body::Held { .. }
            | Body::RepairFailed { .. }
            | Body::RepairCompleted { .. }
            | Body::EvacuationEnded { .. }
    )
}

/// When [`next`] could say something else although no fact came in.
pub(crate) fn next_time(state: &State, component: ComponentIx, now: Time) -> Option<Time> {
    let planned = state.plan.component(component);
    if planned.repairs.is_empty() {
        return None;
    }
    let of = |ix: &InstanceIx| {
        let it = &state.instances[ix.index()];
        let pauses = [&state.paused, &state.components[component.index()].paused];
        let pauses = pauses.into_iter().flatten().map(|it| it.until).filter(|it| *it > now).min();
        match &it.mending.open {
            Some(open) => match open.at {
                RepairState::Running => deadline(state, *ix, open),
                RepairState::Asked => Some(seen_until(state, *ix, open)),
                RepairState::Idle | RepairState::Ready | RepairState::Broken => pauses,
            },
            None if needs_repair(state, *ix) => {
                let waits = [it.mending.again, it.astray_since().map(|it| it + Planned::FOLLOWS_WITHIN)];
                waits.into_iter().flatten().filter(|it| *it > now).chain(pauses).min()
            }
            None => None,
        }
    };
    planned.instances.iter().filter_map(of).filter(|it| *it > now).min()
}

/// Whether a person may order the repair of an instance.
pub(crate) fn check(state: &State, instance: InstanceIx, two_writers: bool) -> Result<(), Refusal> {
    let name = state.plan.instance(instance).name.clone();
    let component = state.plan.instance(instance).component;
    let it = &state.instances[instance.index()];
    let refuse = |why: String| Err(Refusal::NotRepairable { instance: name.clone(), why });
    if let Some(open) = &it.mending.open {
        return refuse(format!("{} repairs it already", open.id));
    }
    if !needs_repair(state, instance) {
        return refuse(format!("it is {}, there is nothing to repair", state.standby_state(instance).word()));
    }
    let mut trial = state.clone();
    let (by, reason) = (String::new(), String::new());
    trial.instances[instance.index()].mending.ordered = Some(crate::state::Ordered { by, reason, two_writers });
    match objection(&trial, component, instance, Time::ZERO) {
        // It is done as soon as that is over. A pause may be over already: when, only the next decision is told.
        Ok(_) | Err(Unrepaired::OthersFirst { .. } | Unrepaired::Others { .. } | Unrepaired::Paused { .. }) => Ok(()),
        Err(why) => refuse(format!("{why} ({})", why.way_out(&name))),
    }
}

/// Whether an instance is being repaired, so that nobody may take it for something else.
pub(crate) fn under_way(state: &State, instance: InstanceIx) -> Option<RecoveryId> {
    state.instances[instance.index()].mending.open.as_ref().map(|it| it.id)
}

fn begin(state: &State, component: ComponentIx, ix: InstanceIx, now: Time) -> Option<Body> {
    let bound = state.components[component.index()].bound;
    let it = &state.instances[ix.index()];
    if !needs_repair(state, ix) || (ix == bound && !planted(Fault::RepairsOwner)) {
        return None;
    }
    let harmless = objection(state, component, ix, now).ok()?;
    let name = |it: InstanceIx| state.plan.instance(it).name.clone();
    Some(Body::RepairStarted {
        component: state.plan.component(component).name.clone(),
        instance: name(ix),
        owner: name(bound),
        nth: it.mending.failed + 1,
        harmless,
        by: it.mending.ordered.as_ref().map(|it| it.by.clone()),
        reason: it.mending.ordered.as_ref().map(|it| it.reason.clone()),
    })
}

fn go_on(state: &State, component: ComponentIx, ix: InstanceIx, open: &Repair, now: Time) -> Option<Body> {
    let bound = state.components[component.index()].bound;
    let failed = |why: String, again: Option<Time>| {
        let running = (open.at == RepairState::Running).then(|| open.step_ref());
        let instance = state.plan.instance(ix).name.clone();
        Some(Body::RepairFailed { repair: open.id, instance, why, again, running })
    };
    let wait = now + wait(open.nth);
    let Some(planned) = state.planned_repair(ix, open.owner) else {
        return failed("the plan does not say how any more".to_owned(), Some(wait));
    };
    if bound == ix || !state.instances[ix.index()].displaced {
        return failed(format!("`{}` needs no repair any more", state.plan.instance(ix).name), Some(now));
    }
    if bound != open.owner {
        let (is, was) = (&state.plan.instance(bound).name, &state.plan.instance(open.owner).name);
        return failed(format!("`{is}` is the owner now, not `{was}`"), Some(now));
    }
    match open.at {
        RepairState::Idle => None,
        RepairState::Ready => {
            let step = planned.steps.get(open.step)?;
            if holds(state, component, now).is_some() {
                return None;
            }
            let it = &state.instances[ix.index()];
            let is_active = it.role == Some(SeenRole::Active) && it.health == Health::Healthy;
            let is_accepted = matches!(open.harmless, OldOwner::TwoWriters { .. });
            if is_active && !is_accepted && harmless(state, component, ix).is_none() {
                return failed(
                    "it says that it is active, and nothing keeps it from taking writes".to_owned(),
                    Some(wait),
                );
            }
            let site = &state.plan.site.name;
            Some(Body::StepStarted {
                step: StepRef { attempt: open.attempt + 1, ..open.step_ref() },
                name: step.name.clone(),
                key: format!("{site}/{}/1/{}/0", open.id, open.step + 1),
                undo: None,
            })
        }
        RepairState::Running => {
            let over = deadline(state, ix, open).is_some_and(|it| it <= now);
            let why = || "the host did not say how it ended in its time".to_owned();
            over.then(|| Body::StepTimedOut { step: open.step_ref(), why: why() })
        }
        RepairState::Broken => {
            let name = planned.steps.get(open.step).map_or("", |it| it.name.as_str());
            match &open.ended {
                Some((Ended::Unknown(why), false)) => failed(format!("{name}: {why}"), None),
                Some((Ended::Failed(why) | Ended::Unknown(why), _)) => failed(format!("{name}: {why}"), Some(wait)),
                Some((
                    Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_),
                    _,
                ))
                | None => failed(name.to_owned(), Some(wait)),
            }
        }
        RepairState::Asked => {
            let it = &state.instances[ix.index()];
            let tells = tells(&state.plan, ix);
            if it.health == Health::Healthy && (!tells || it.role == Some(SeenRole::Standby)) {
                let (repair, instance) = (open.id, state.plan.instance(ix).name.clone());
                return Some(Body::RepairCompleted { repair, instance });
            }
            if it.health == Health::Healthy && it.role == Some(SeenRole::Active) {
                return failed("it says that it is active".to_owned(), Some(wait));
            }
            let over = seen_until(state, ix, open) <= now;
            over.then(|| failed("it was not seen as a healthy standby in time".to_owned(), Some(wait))).flatten()
        }
    }
}

/// The wait after so many failures in a row.
fn wait(failures: u32) -> Duration {
    Planned::FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(Planned::LONGEST_WAIT)
}

/// At the soonest so long after an instance was seen to run again, whatever failed before.
pub(crate) const fn soonest() -> Duration {
    Planned::FIRST_WAIT
}

fn deadline(state: &State, ix: InstanceIx, open: &Repair) -> Option<Time> {
    let step = state.planned_repair(ix, open.owner)?.steps.get(open.step)?;
    Some(state.out_of_patience(open.moved, step.timeout + HOST_GRACE, HOST_GRACE))
}

fn seen_until(state: &State, ix: InstanceIx, open: &Repair) -> Time {
    let timings = state.plan.instance(ix).probes.iter().map(|it| state.plan.probe(*it).timing);
    let probes = timings.map(|it| 2 * (it.interval * it.rise.max(1) + it.timeout)).max().unwrap_or_default();
    state.out_of_patience(open.moved, Planned::SEEN_WITHIN + probes, HOST_GRACE)
}

/// What keeps the next action of a component's repairs from being begun.
fn holds(state: &State, component: ComponentIx, now: Time) -> Option<Unrepaired> {
    let lasting = &state.components[component.index()];
    if let Some(halt) = &state.site.halted {
        return Some(Unrepaired::Halted { by: halt.by.clone(), reason: halt.reason.clone() });
    }
    if state.leadership.may(&state.plan) != May::Everything {
        return Some(Unrepaired::Lease);
    }
    if state.journal_lost.is_some() {
        return Some(Unrepaired::JournalLost);
    }
    if let Some((component, it)) = state.pause_of(component, now).filter(|_| !planted(Fault::PauseIgnored)) {
        return Some(Unrepaired::Paused { component, until: it.until, by: it.by.clone(), reason: it.reason.clone() });
    }
    if let Some(open) = lasting.recovery.as_ref().filter(|_| !planted(Fault::RepairsBesideRecovery)) {
        return Some(Unrepaired::Recovery { recovery: open.id });
    }
    let bound = lasting.bound;
    let is_active = !tells(&state.plan, bound) || state.instances[bound.index()].role == Some(SeenRole::Active);
    if !state.is_whole(bound) || !is_active {
        return Some(Unrepaired::Owner { owner: state.plan.instance(bound).name.clone() });
    }
    // Who waits for a person holds nobody up.
    let restores = state.open_recoveries().find(|it| it.progress.is_some() && it.held.is_none());
    restores.map(|it| Unrepaired::OthersFirst { recovery: it.id })
}

/// What keeps the repair of an instance from beginning; or why it takes no writes.
fn objection(state: &State, component: ComponentIx, ix: InstanceIx, now: Time) -> Result<OldOwner, Unrepaired> {
    let bound = state.components[component.index()].bound;
    let mending = &state.instances[ix.index()].mending;
    let ordered = mending.ordered.as_ref();
    if state.planned_repair(ix, bound).is_none() && !planted(Fault::RepairsOwner) {
        return Err(Unrepaired::NotPlanned);
    }
    if let Some(why) = holds(state, component, now) {
        return Err(why);
    }
    if ordered.is_none() {
        if state.plan.mode != Mode::Act {
            return Err(Unrepaired::Mode { mode: state.plan.mode.word() });
        }
        if mending.by_hand {
            return Err(Unrepaired::ByHand { why: mending.why.clone() });
        }
        if let Some(at) = mending.again.filter(|it| *it > now) {
            return Err(Unrepaired::Again { at, why: mending.why.clone() });
        }
        if let Some(it) = state.evacuated(ix) {
            return Err(Unrepaired::Evacuated { place: it.place.clone() });
        }
        let it = &state.instances[ix.index()];
        let follows_by = it.astray_since().map(|it| it + Planned::FOLLOWS_WITHIN);
        if let Some(until) = follows_by.filter(|it| *it > now)
            && !it.displaced
        {
            return Err(Unrepaired::MayFollow { until });
        }
        // It may be on its way to being seen as what it should be.
        if matches!(state.instances[ix.index()].health, Health::Unknown | Health::Suspect) {
            return Err(Unrepaired::Unseen);
        }
    }
    if state.open_repairs().count() >= AT_ONCE {
        return Err(Unrepaired::Others { at_once: AT_ONCE });
    }
    let accepted = ordered.filter(|it| it.two_writers).map(|it| OldOwner::TwoWriters { by: it.by.clone() });
    let why = harmless(state, component, ix).or(accepted);
    why.or_else(|| planted(Fault::RepairsWriter).then_some(OldOwner::Stopped {})).ok_or(Unrepaired::MayWrite)
}

/// Why an instance that is not the owner takes no writes, as far as that is known.
fn harmless(state: &State, component: ComponentIx, ix: InstanceIx) -> Option<OldOwner> {
    let planned = state.plan.component(component);
    let bound = state.components[component.index()].bound;
    let it = &state.instances[ix.index()];
    if it.role == Some(SeenRole::Standby) && it.health == Health::Healthy {
        return Some(OldOwner::SeenStandby {});
    }
    let exclusive: Vec<_> =
        planned.routes.iter().filter(|it| state.plan.route(**it).sharing == Sharing::Exclusive).collect();
    let is_cut = |route: &&&mainstay_plan::RouteIx| {
        let targets = state.plan.route(***route).targets.iter().zip(&state.routing.targets[route.index()]);
        targets.into_iter().all(|(target, stands)| target.instance != ix || *stands == TargetState::Fenced)
    };
    let cut_fences = planned.repair(ix, bound).is_some_and(|it| it.cut_fences);
    let served = state.processes().all(|it| state.standing(it) == crate::machine::Standing::Serves);
    if cut_fences && served && !exclusive.is_empty() && exclusive.iter().all(|it| is_cut(&it)) {
        return Some(OldOwner::CutOff {});
    }
    if state.plan.is_leased(component) && grants::holder(state, component) == Some(bound) {
        return Some(OldOwner::LeaseEnds {});
    }
    if it.mending.stopped {
        return Some(OldOwner::Stopped {});
    }
    if !planned.routes.is_empty() && exclusive.is_empty() {
        return Some(OldOwner::NotExclusive {});
    }
    let accepts = planned.ladder.iter().flat_map(|it| it.plays.values()).any(|it| it.accepts_two_writers);
    accepts.then(|| OldOwner::TwoWriters { by: "the plan".to_owned() })
}
