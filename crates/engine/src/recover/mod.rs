//! An open recovery moves along its ladder: choose a rung, do its steps stage by stage, verify, or go to the next.
//!
//! - `choose`: which rung.
//! - `steps`: how the steps of a stage go.
//! - `undo`: how a rung that failed is taken back.

mod choose;
mod steps;
mod undo;

use std::time::Duration;

use mainstay_plan::observation::Health;
use mainstay_plan::strategy::{OnExpiry, Play, Step, StepKind};
use mainstay_plan::{RouteIx, Time};

use crate::breaker;
use crate::decide::{completed_by_itself, hold, observation, phases};
use crate::elsewhere;
use crate::guard::{blast_radius, storm_brake};
use crate::machine::Standing;
use crate::record::{Body, Completion, Ended, StepRef};
use crate::scenario;
use crate::state::{Recovery, State, StepAt, StepLog};
use crate::switch;
use crate::waiting::WaitingOn;
use choose::fence_of;
pub use choose::{Choice, Passed, choose};
pub(crate) use choose::{Judged, judged, wait_to_see};

/// How long after a step's timeout the host may still say how it ended: it enforces the timeout itself, this only catches
/// a host that says nothing at all.
pub(crate) const HOST_GRACE: Duration = Duration::from_secs(2);

/// The next decision about a recovery that was initiated.
pub fn next(state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
    let (Some(progress), Some(play)) = (&recovery.progress, state.play(recovery)) else {
        return match &recovery.aborted {
            Some(why) => Some(Body::RecoveryFailed { recovery: recovery.id, why: why.clone() }),
            None => match recovery.planned() {
                Some(planned) => switch::next(state, recovery, planned),
                None => next_rung(state, recovery, now),
            },
        };
    };
    if progress.rollback.is_some() {
        return undo::next(state, recovery, progress, play, now).map(|it| switch::instead(state, recovery, it));
    }
    if let Some(why) = &recovery.aborted {
        let end = undo::end(state, recovery, progress, play, why);
        return Some(switch::instead(state, recovery, end));
    }
    if let Some(why) = scenario::out_of_place(state, play.to).filter(|_| play.to == progress.from) {
        return Some(undo::end(state, recovery, progress, play, &why));
    }
    if progress.stage().is_none() {
        if let Some(planned) = recovery.planned() {
            return Some(switch::completed(state, recovery, planned, play, now));
        }
        return completed(state, recovery, play, now);
    }
    if let Some(waiting) = switch::may_not_move(state, recovery, progress, play, now) {
        return match state.instances[progress.from.index()].health {
            Health::Down => Some(undo::end(state, recovery, progress, play, "the old owner went down before it began")),
            Health::Healthy | Health::Suspect | Health::Unknown => hold(recovery, waiting),
        };
    }
    steps::next(state, recovery, progress, play, now)
}

/// While an operator has stopped all action nothing is begun, repeated or taken back. What runs and may be done only once is
/// awaited, within its time.
pub(crate) fn while_halted(state: &State, recovery: &Recovery, halted: WaitingOn, now: Time) -> Option<Body> {
    let ends = |it: &Body| {
        matches!(it, Body::StepTimedOut { .. } | Body::RecoveryCompleted { .. } | Body::RecoveryFailed { .. })
    };
    next(state, recovery, now).filter(ends).or_else(|| hold(recovery, halted))
}

/// When each step that is being done has timed out, and each that waits begins again. One that waits in vain, since its rung
/// has failed beside it, has a time that is over.
pub fn deadlines<'a>(state: &'a State, recovery: &'a Recovery) -> impl Iterator<Item = Time> + 'a {
    let cuts = state.open_steps(recovery).filter(|it| matches!(it.2.at, StepAt::Running { .. }));
    let cuts = cuts.flat_map(|(at, step, _)| silent_cuts(state, at, step)).filter_map(|it| it.2);
    open(state, recovery).map(|it| it.until).chain(undo::deadline(state, recovery)).chain(cuts)
}

/// The routes of a cut that a silent process may still serve, and when it has stopped by itself; `None`: nobody knows.
fn silent_cuts<'a>(
    state: &'a State,
    at: StepRef,
    step: &'a Step,
) -> impl Iterator<Item = (&'a str, RouteIx, Option<Time>)> {
    let routes: &[RouteIx] = match &step.kind {
        StepKind::CutTraffic { routes, .. } => routes,
        StepKind::Stop { .. }
        | StepKind::EndLease { .. }
        | StepKind::Act { .. }
        | StepKind::CatchUp { .. }
        | StepKind::Manual { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => &[],
    };
    let all = state.not_known_to_cut(at, step).flat_map(|process| routes.iter().map(move |it| (process, *it)));
    all.map(|(process, route)| (process, route, state.cuts_by_silence(process, route)))
        .filter(|(process, route, _)| state.routing.silent.get(*process).is_some_and(|it| !it.cut.contains(route)))
}

/// A silent process that has stopped serving routes of a cut by itself by now.
pub(super) fn cut_by_silence(state: &State, at: StepRef, step: &Step, now: Time) -> Option<Body> {
    let over: Vec<(&str, RouteIx)> =
        silent_cuts(state, at, step).filter(|it| it.2.is_some_and(|it| it <= now)).map(|it| (it.0, it.1)).collect();
    let (process, _) = *over.first()?;
    let routes = over.iter().filter(|it| it.0 == process).map(|it| state.plan.route(it.1).name.clone()).collect();
    Some(Body::CutBySilence { process: process.to_owned(), routes })
}

/// The traffic processes that a routing step waits for.
fn missing(state: &State, at: StepRef, step: &Step) -> Vec<String> {
    let is_routing = matches!(step.kind, StepKind::CutTraffic { .. } | StepKind::TakeOver { .. });
    let late = |it: &&str| state.standing(it) != Standing::Serves && !state.routing.silent.contains_key(*it);
    let late = state.processes().filter(late).filter(|_| is_routing).map(str::to_owned);
    late.chain(state.not_known_to_cut(at, step).map(str::to_owned)).collect()
}

/// What an open recovery waits for at the moment: a hold, or what is being done; of several steps, the one with the most
/// time.
pub fn waiting(state: &State, recovery: &Recovery) -> Option<(WaitingOn, Time)> {
    if let Some((waiting, since)) = &recovery.held {
        return Some((as_it_is_now(state, recovery, waiting), *since));
    }
    if let Some(undone) = undo::waiting(state, recovery) {
        return Some(undone);
    }
    let Open { step, name, since, until, waits } = open(state, recovery).max_by_key(|it| it.until)?;
    let name = name.to_owned();
    let planned = state.running(step);
    let missing = planned.map(|it| missing(state, step, it)).unwrap_or_default();
    let waiting = if waits {
        WaitingOn::Retry { step, name, until }
    } else if missing.is_empty() {
        WaitingOn::Step { step, name, until }
    } else {
        WaitingOn::Acknowledgements { step, name, missing, until }
    };
    Some((waiting, since))
}

/// A wait for the site as a whole moves on without a record for everybody who waits.
fn as_it_is_now(state: &State, recovery: &Recovery, waiting: &WaitingOn) -> WaitingOn {
    let now = if let WaitingOn::BlastRadius { .. } = waiting {
        blast_radius(state, recovery)
    } else if let WaitingOn::StormBrake { .. } = waiting {
        storm_brake(state, recovery, Time::ZERO)
    } else {
        None
    };
    now.unwrap_or_else(|| waiting.clone())
}

/// A step that is being done, or waits to be begun again.
struct Open<'a> {
    step: StepRef,
    name: &'a str,
    since: Time,
    until: Time,
    waits: bool,
}

fn open<'a>(state: &'a State, recovery: &'a Recovery) -> impl Iterator<Item = Open<'a>> {
    state.open_steps(recovery).filter_map(|(at, step, stand)| {
        let (since, until, waits) = match stand.at {
            StepAt::Running { since } => (since, until(state, since, step), false),
            StepAt::Waiting { until } => (recovery.mark, until, true),
            StepAt::Ready | StepAt::Ended(_) | StepAt::PassedOver => return None,
        };
        Some(Open { step: at, name: &step.name, since, until, waits })
    })
}

/// Until when a step may be done that was begun at `since`.
fn until(state: &State, since: Time, step: &Step) -> Time {
    match step.kind {
        // People were there while the agent was not.
        StepKind::Manual { .. } => since + patience(step),
        StepKind::Stop { .. }
        | StepKind::EndLease { .. }
        | StepKind::Act { .. }
        | StepKind::CutTraffic { .. }
        | StepKind::CatchUp { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => state.out_of_patience(since, patience(step), HOST_GRACE),
    }
}

fn patience(step: &Step) -> Duration {
    match step.kind {
        StepKind::Stop { .. } | StepKind::EndLease { .. } | StepKind::Act { .. } => step.timeout + HOST_GRACE,
        StepKind::CutTraffic { .. }
        | StepKind::CatchUp { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Manual { .. }
        | StepKind::Verify { .. } => step.timeout,
    }
}

/// Why a verification was not over although clients may be served: the rule that began the recovery is still true.
fn still_accused(state: &State, recovery: &Recovery, play: &Play, step: &Step) -> Option<String> {
    let verifies = matches!(step.kind, StepKind::Verify { .. }) && recovery.rule.is_some();
    let accuser = state.accuser(play.to).filter(|_| verifies)?;
    Some(format!("rule `{}` was still true, or no answer was good, after {:?}", accuser.rule, step.timeout))
}

fn late(state: &State, at: StepRef, step: &Step) -> String {
    match step.kind {
        StepKind::CutTraffic { .. } | StepKind::TakeOver { .. } => {
            let missing = missing(state, at, step);
            let silent = |it: &String| state.routing.silent.contains_key(it);
            let others = if missing.iter().any(silent) {
                let names: Vec<&str> = missing.iter().map(String::as_str).collect();
                format!(": {} (silent, and may go on serving)", names.join(", "))
            } else {
                String::new()
            };
            format!("not every traffic process acknowledged within {:?}{others}", step.timeout)
        }
        StepKind::CatchUp { .. } => format!("it was not in step within {:?}", step.timeout),
        StepKind::Verify { .. } => format!("no good answer within {:?}", step.timeout),
        StepKind::Manual { on_expiry: OnExpiry::Fail, .. } => {
            format!("nobody said within {:?} that it is done", step.timeout)
        }
        StepKind::Manual { on_expiry: OnExpiry::Proceed, .. } => {
            format!("nobody said within {:?} that it is done; the plan goes on then", step.timeout)
        }
        StepKind::EndLease { .. } => format!("nobody said within {:?} that the lease is over", patience(step)),
        StepKind::Stop { .. } | StepKind::Act { .. } => {
            format!("the host did not say how it ended within {:?}", patience(step))
        }
    }
}

fn next_rung(state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
    let bound = state.components[recovery.component.index()].bound;
    if let Some(waiting) = elsewhere::held(state, recovery, now) {
        let whole = state.is_whole(bound) && !recovery.irreversible;
        return if whole { Some(completed_by_itself(recovery, now)) } else { hold(recovery, waiting) };
    }
    match state.instances[bound.index()].health {
        Health::Healthy if !recovery.irreversible && state.is_whole(bound) => {
            return Some(completed_by_itself(recovery, now));
        }
        Health::Healthy
            if state.is_whole(bound)
                && let Some(worked) = worked_in_place(state, recovery, now) =>
        {
            return Some(worked);
        }
        Health::Healthy | Health::Down => {}
        Health::Unknown | Health::Suspect => return hold(recovery, observation(state, bound)),
    }
    if state.components[recovery.component.index()].loss_anew {
        // They are measured in this very tick.
        return None;
    }
    match choose(state, recovery, now) {
        Choice::Wait(waiting) => hold(recovery, waiting),
        Choice::Exhausted => {
            let why = format!("no rung is left: {}", recovery.tried.join("; "));
            Some(Body::RecoveryFailed { recovery: recovery.id, why })
        }
        Choice::Rung(Err(passed)) => Some(Body::RungSkipped {
            recovery: recovery.id,
            rung: passed.rung,
            strategy: passed.strategy,
            why: passed.why,
            for_later: passed.for_later,
        }),
        Choice::Rung(Ok(nth)) => {
            let rung = &state.plan.component(recovery.component).ladder[nth];
            let play = &rung.plays[&bound];
            if let Some(tries) = breaker::lets_through(state, recovery, play, now) {
                return Some(tries);
            }
            Some(Body::RungStarted {
                recovery: recovery.id,
                rung: nth,
                strategy: rung.strategy,
                to: state.plan.instance(play.to).name.clone(),
                fence: fence_of(play),
            })
        }
    }
}

/// A rung that works where the component is has failed because nobody knew whether its last try was done; and now it is
/// healthy: it was. Going on to the next rung would move what serves. A verification without an answer is no such try: it
/// says that clients are not served.
fn worked_in_place(state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
    let bound = state.components[recovery.component.index()].bound;
    let ladder = &state.plan.component(recovery.component).ladder;
    let play =
        |log: &StepLog| ladder.get(log.step.rung).and_then(|it| it.plays.get(&bound)).filter(|it| it.to == bound);
    let all_in_place = recovery.steps.iter().all(|it| play(it).is_some());
    let last = recovery.steps.last().filter(|it| matches!(it.ended, Some((_, Ended::Unknown(_)))))?;
    let step = play(last).and_then(|it| it.steps.get(last.step.step))?;
    if matches!(step.kind, StepKind::Verify { .. }) {
        return None;
    }
    let (strategy, instance) = (ladder[last.step.rung].strategy, state.plan.instance(bound).name.clone());
    all_in_place.then(|| Body::RecoveryCompleted {
        recovery: recovery.id,
        how: Completion::ByRung { strategy, instance },
        phases_ns: phases(recovery, now),
    })
}

fn completed(state: &State, recovery: &Recovery, play: &Play, now: Time) -> Option<Body> {
    let rung = &state.plan.component(recovery.component).ladder[recovery.rung];
    let to = play.to;
    Some(Body::RecoveryCompleted {
        recovery: recovery.id,
        how: Completion::ByRung { strategy: rung.strategy, instance: state.plan.instance(to).name.clone() },
        phases_ns: phases(recovery, now),
    })
}
