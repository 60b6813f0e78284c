//! An open recovery moves along its ladder: choose a rung, do its steps one after another, verify, or go to the next.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstay_plan::component::Temperature;
use mainstay_plan::observation::Health;
use mainstay_plan::policy::OnJournalLoss;
use mainstay_plan::route::Sharing;
use mainstay_plan::strategy::{Play, Rung, Step, StepKind, Strategy};
use mainstay_plan::{InstanceIx, Time};

use crate::breaker::{self, Blocked};
use crate::command::Override;
use crate::decide::{completed_by_itself, hold, observation, phases};
use crate::guard::{journal, witnesses};
use crate::record::{Body, Completion, Ended, StepRef};
use crate::state::{Progress, Recovery, State, StepAt};
use crate::waiting::WaitingOn;

/// How long after a step's timeout the host may still say how it ended: it enforces the timeout itself, this only catches
/// a host that says nothing at all.
const HOST_GRACE: Duration = Duration::from_secs(2);

/// Which rung comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one, or it is passed over with a reason.
    Rung(Result<usize, Passed>),
    /// None yet: something may still make one possible.
    Wait(WaitingOn),
    /// None is left.
    Exhausted,
}

/// A rung that is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Which.
    pub rung: usize,
    /// Its strategy.
    pub strategy: Strategy,
    /// Why.
    pub why: String,
    /// Only because a control plane is known to be down: it comes again.
    pub for_later: bool,
}

/// Chooses the next rung. While nothing was tried yet, a ladder without a possible rung is a wait, not a failure: a standby
/// may come back, an operator may accept the loss. Until then rungs that were passed over count again.
pub fn choose(state: &State, recovery: &Recovery, now: Time) -> Choice {
    let ladder = &state.plan.component(recovery.component).ladder;
    let untried = recovery.steps.is_empty();
    let mut first_passed = None;
    let (mut reasons, mut overrules) = (Vec::new(), BTreeSet::new());
    let (mut blocked, mut put_off) = (Vec::new(), None);
    for (rung, planned) in ladder.iter().enumerate() {
        let comes = untried || rung >= recovery.rung;
        if !(comes || recovery.for_later.contains(&rung)) || recovery.failed_rungs.contains(&rung) {
            continue;
        }
        let found = possible(state, recovery, planned, now);
        let is_blocked = matches!(found, Possible::Blocked(_));
        let why = match found {
            Possible::Blocked(by) => {
                let why = by.why(state);
                blocked.push((rung, by));
                why
            }
            // What was put off comes after everything else.
            Possible::Yes if comes => return Choice::Rung(first_passed.map_or(Ok(rung), Err)),
            Possible::Yes => {
                put_off.get_or_insert(rung);
                continue;
            }
            Possible::No(why) => why,
            Possible::Guarded(guard, why) => {
                overrules.insert(guard);
                why
            }
            Possible::Unseen(to) => match wait_to_see(state, to, now) {
                Ok(waiting) => return first_passed.map_or(Choice::Wait(waiting), |it| Choice::Rung(Err(it))),
                Err(why) => why,
            },
        };
        reasons.push(format!("{}: {why}", planned.strategy.word()));
        if rung >= recovery.rung && first_passed.is_none() {
            first_passed = Some(Passed { rung, strategy: planned.strategy, why, for_later: is_blocked });
        }
    }
    if let Some(last) = put_off.map(Ok).or_else(|| last_resort(state, &blocked)) {
        return match (last, first_passed.filter(|_| !untried)) {
            (_, Some(passed)) => Choice::Rung(Err(passed)),
            (Ok(rung), None) => Choice::Rung(Ok(rung)),
            (Err(waiting), None) => Choice::Wait(waiting),
        };
    }
    if untried {
        return Choice::Wait(WaitingOn::NoRungPossible { reasons, overrules: overrules.into_iter().collect() });
    }
    first_passed.map_or(Choice::Exhausted, |it| Choice::Rung(Err(it)))
}

/// What is left when nothing is possible but for control planes that are known to be down: a rung whose plane only failures
/// speak against, or a wait.
fn last_resort(state: &State, blocked: &[(usize, Blocked)]) -> Option<Result<usize, WaitingOn>> {
    if let Some((rung, _)) = blocked.iter().find(|(_, it)| it.is_guess) {
        return Some(Ok(*rung));
    }
    let soonest = blocked.iter().min_by_key(|(_, it)| (it.until.is_none(), it.until))?;
    Some(Err(soonest.1.waiting(state)))
}

/// A standby that is not known (after a restart, say) is waited for as long as seeing it may take, and twice that, counted
/// from when it ceased to be known: one that nobody could ask for an hour has had its time.
fn wait_to_see(state: &State, to: InstanceIx, now: Time) -> Result<WaitingOn, String> {
    let instance = state.plan.instance(to);
    let patience = (instance.probes.iter())
        .map(|it| state.plan.probe(*it).timing)
        .map(|it| 2 * (it.interval + it.fall * it.fast_interval + it.timeout))
        .max()
        .unwrap_or_default();
    let until = state.instances[to.index()].unseen_since + patience;
    if until <= now {
        return Err(format!("`{}` could not be observed for {patience:?}", instance.name));
    }
    Ok(WaitingOn::Observation { instance: instance.name.clone(), until: Some(until) })
}

enum Possible {
    Yes,
    /// This instance has to be seen first.
    Unseen(InstanceIx),
    No(String),
    /// Not unless an operator overrules this.
    Guarded(Override, String),
    /// A control plane that it needs is known to be down.
    Blocked(Blocked),
}

fn possible(state: &State, recovery: &Recovery, rung: &Rung, now: Time) -> Possible {
    let bound = state.components[recovery.component.index()].bound;
    let Some(play) = rung.plays.get(&bound) else {
        return Possible::No(format!("there is no way from `{}`", state.plan.instance(bound).name));
    };
    let blocked = breaker::blocked(state, recovery, play).filter(|it| !it.is_due(now));
    if play.to == bound {
        return blocked.map_or(Possible::Yes, Possible::Blocked);
    }
    let to = &state.instances[play.to.index()];
    let name = &state.plan.instance(play.to).name;
    if to.displaced {
        return Possible::No(format!("`{name}` was displaced and has not rejoined (mainstay adopt {name})"));
    }
    match to.health {
        Health::Healthy => {}
        // It is stopped, and answers nothing until its activation starts it.
        Health::Down | Health::Unknown | Health::Suspect if is_started(state, play) => {}
        Health::Down => return Possible::No(format!("`{name}` is down")),
        Health::Unknown | Health::Suspect => return Possible::Unseen(play.to),
    }
    if let Some(why) = too_much_loss(state, recovery, play.to) {
        return Possible::Guarded(Override::Rpo, why);
    }
    let exclusive = state
        .plan
        .component(recovery.component)
        .routes
        .iter()
        .any(|it| state.plan.route(*it).sharing == Sharing::Exclusive)
        || fence_of(play).is_some();
    let refused =
        state.plan.on_journal_loss != OnJournalLoss::Proceed && !recovery.overrides.contains(&Override::JournalLost);
    if state.journal_lost.is_some() && exclusive && refused {
        let why = "the journal can't be written, and a takeover without it is refused".to_owned();
        return Possible::Guarded(Override::JournalLost, why);
    }
    blocked.map_or(Possible::Yes, Possible::Blocked)
}

/// Whether the takeover is by a cold standby, which its activation starts.
fn is_started(state: &State, play: &Play) -> bool {
    let is_cold = state.plan.instance(play.to).temperature == Temperature::Cold;
    is_cold && play.steps.iter().any(|it| acts_on(it, play.to))
}

fn acts_on(step: &Step, instance: InstanceIx) -> bool {
    matches!(step.kind, StepKind::Act { on, .. } if on == instance)
}

/// The RPO guard: unknown counts as too much.
fn too_much_loss(state: &State, recovery: &Recovery, to: InstanceIx) -> Option<String> {
    let rpo = state.plan.component(recovery.component).objectives.rpo?;
    if recovery.overrides.contains(&Override::Rpo) {
        return None;
    }
    let name = &state.plan.instance(to).name;
    match state.instances[to.index()].frozen_loss.flatten() {
        None => Some(format!("it is not known how far `{name}` lags behind, and the RPO is {rpo:?}")),
        Some(loss) if loss > rpo => Some(format!("`{name}` may lag {loss:?} behind, more than the RPO of {rpo:?}")),
        Some(_) => None,
    }
}

/// The fence of a takeover, in words.
fn fence_of(play: &Play) -> Option<String> {
    let names: Vec<&str> = (play.steps.iter())
        .filter(|it| matches!(it.kind, StepKind::CutTraffic { .. } | StepKind::Stop { .. }))
        .map(|it| it.name.as_str())
        .collect();
    if play.accepts_two_writers {
        return Some("two_writers accepted by the plan".to_owned());
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// The next decision about a recovery that was initiated.
pub fn next(state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
    if let Some(why) = &recovery.aborted {
        return Some(Body::RecoveryFailed { recovery: recovery.id, why: why.clone() });
    }
    let Some(progress) = &recovery.progress else { return next_rung(state, recovery, now) };
    let Some((play, step)) = state.current_step(recovery) else { return completed(state, recovery, progress, now) };
    match &progress.at {
        StepAt::Ready => begin(state, recovery, progress, play, step, now),
        StepAt::Running { since } => (*since + patience(step) <= now)
            .then(|| Body::StepTimedOut { step: step_ref(recovery, progress), why: late(step) }),
        StepAt::Ended(ended) => after(state, recovery, progress, play, step, ended, now),
    }
}

/// When a running step has timed out.
pub fn deadline(state: &State, recovery: &Recovery) -> Option<Time> {
    let (_, step) = state.current_step(recovery)?;
    match recovery.progress.as_ref()?.at {
        StepAt::Running { since } => Some(since + patience(step)),
        StepAt::Ready | StepAt::Ended(_) => None,
    }
}

/// What an open recovery waits for at the moment: a hold, or the step that is being done.
pub fn waiting(state: &State, recovery: &Recovery) -> Option<(WaitingOn, Time)> {
    if recovery.held.is_some() {
        return recovery.held.clone();
    }
    let (_, step) = state.current_step(recovery)?;
    let progress = recovery.progress.as_ref()?;
    match progress.at {
        StepAt::Running { since } => {
            let until = since + patience(step);
            Some((WaitingOn::Step { step: step_ref(recovery, progress), name: step.name.clone(), until }, since))
        }
        StepAt::Ready | StepAt::Ended(_) => None,
    }
}

fn patience(step: &Step) -> Duration {
    match step.kind {
        StepKind::Stop { .. } | StepKind::Act { .. } => step.timeout + HOST_GRACE,
        StepKind::CutTraffic { .. } | StepKind::TakeOver { .. } | StepKind::Verify { .. } => step.timeout,
    }
}

fn late(step: &Step) -> String {
    match step.kind {
        StepKind::CutTraffic { .. } | StepKind::TakeOver { .. } => {
            format!("not every traffic process acknowledged within {:?}", step.timeout)
        }
        StepKind::Verify { .. } => format!("no good answer within {:?}", step.timeout),
        StepKind::Stop { .. } | StepKind::Act { .. } => {
            format!("the host did not say how it ended within {:?}", patience(step))
        }
    }
}

fn step_ref(recovery: &Recovery, progress: &Progress) -> StepRef {
    StepRef { recovery: recovery.id, rung: recovery.rung, step: progress.step, attempt: progress.attempt }
}

fn next_rung(state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
    let bound = state.components[recovery.component.index()].bound;
    match state.instances[bound.index()].health {
        Health::Healthy if !recovery.irreversible => return Some(completed_by_itself(recovery, now)),
        Health::Healthy | Health::Down => {}
        Health::Unknown | Health::Suspect => return hold(recovery, observation(state, bound)),
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

/// Begins a step, unless something has to be seen first: nothing that can't be taken back is done on a guess.
fn begin(state: &State, recovery: &Recovery, progress: &Progress, play: &Play, step: &Step, now: Time) -> Option<Body> {
    let failed = &state.instances[progress.from.index()];
    // Nothing was done yet; or what is to be done once more, because nobody knows whether it was done, has had its effect.
    let again = play.to == progress.from && progress.attempt > 0 && matches!(step.kind, StepKind::Act { .. });
    if failed.health == Health::Healthy && (!recovery.irreversible || again) {
        return Some(completed_by_itself(recovery, now));
    }
    if let Some(waiting) = journal(state, recovery).filter(|_| step.kind.is_irreversible()) {
        return hold(recovery, waiting);
    }
    if step.kind.is_irreversible() {
        let bound = state.components[recovery.component.index()].bound;
        if failed.health == Health::Down
            && bound == progress.from
            && let Some(waiting) = witnesses(state, recovery)
        {
            return hold(recovery, waiting);
        }
        if failed.health == Health::Unknown && play.to != progress.from && !is_stopped(recovery, play, progress) {
            return hold(recovery, observation(state, progress.from));
        }
        if failed.health == Health::Healthy && bound == progress.from && was_stopped(play, progress) {
            let why = format!("`{}` was stopped, and runs again", state.plan.instance(progress.from).name);
            return Some(Body::RungFailed { recovery: recovery.id, rung: recovery.rung, why });
        }
        let is_started = play.to != progress.from && is_started(state, play);
        match state.instances[play.to.index()].health {
            Health::Unknown | Health::Suspect if is_started && !was_touched(recovery, play) => {}
            Health::Unknown | Health::Suspect => return hold(recovery, observation(state, play.to)),
            Health::Down if play.to != progress.from && !is_started => {
                let why = format!("`{}` went down before it could take over", state.plan.instance(play.to).name);
                return Some(Body::RungFailed { recovery: recovery.id, rung: recovery.rung, why });
            }
            Health::Down | Health::Healthy => {}
        }
    }
    if let StepKind::TakeOver { to, .. } = &step.kind
        && state.components[recovery.component.index()].bound != *to
    {
        return Some(Body::Bound {
            component: recovery.component_name.clone(),
            instance: state.plan.instance(*to).name.clone(),
            recovery: recovery.id,
        });
    }
    let StepRef { recovery: id, rung, step: nth, attempt } = step_ref(recovery, progress);
    let site = &state.plan.site.name;
    Some(Body::StepStarted {
        step: StepRef { recovery: id, rung, step: nth, attempt: attempt + 1 },
        name: step.name.clone(),
        key: format!("{site}/{id}/{}/{}/{}", rung + 1, nth + 1, progress.round),
    })
}

/// Whether something was done in this rung to the instance that takes over.
fn was_touched(recovery: &Recovery, play: &Play) -> bool {
    let act = |nth: usize| play.steps.get(nth).is_some_and(|it| acts_on(it, play.to));
    recovery.steps.iter().any(|it| it.step.rung == recovery.rung && act(it.step.step))
}

fn was_stopped(play: &Play, progress: &Progress) -> bool {
    play.steps[..progress.step].iter().any(|it| matches!(it.kind, StepKind::Stop { .. }))
}

/// Once a stop has been confirmed the old owner need not be seen again, unless we were away: someone may have started it.
fn is_stopped(recovery: &Recovery, play: &Play, progress: &Progress) -> bool {
    was_stopped(play, progress) && !recovery.seeing_anew
}

/// What follows a step that did not end well: the same step once more, under the rules of its beginning; a person; or the
/// end of the rung.
fn after(
    state: &State,
    recovery: &Recovery,
    progress: &Progress,
    play: &Play,
    step: &Step,
    ended: &Ended,
    now: Time,
) -> Option<Body> {
    let (unknown, why) = match ended {
        Ended::Done => return None,
        Ended::Failed(why) => (false, why),
        Ended::Unknown(why) => (true, why),
    };
    if unknown && !step.idempotent {
        let waiting = WaitingOn::OutcomeUnknown { step: step_ref(recovery, progress), name: step.name.clone() };
        return hold(recovery, waiting);
    }
    if progress.failures < step.attempts {
        return begin(state, recovery, progress, play, step, now);
    }
    Some(Body::RungFailed { recovery: recovery.id, rung: recovery.rung, why: format!("{}: {why}", step.name) })
}

fn completed(state: &State, recovery: &Recovery, progress: &Progress, now: Time) -> Option<Body> {
    let rung = &state.plan.component(recovery.component).ladder[recovery.rung];
    let to = rung.plays[&progress.from].to;
    Some(Body::RecoveryCompleted {
        recovery: recovery.id,
        how: Completion::ByRung { strategy: rung.strategy, instance: state.plan.instance(to).name.clone() },
        phases_ns: phases(recovery, now),
    })
}
