//! From facts to verdicts: what failed, and whether its recovery begins, waits, or has become needless.

use std::time::Duration;

use mainstay_plan::observation::Health;
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use crate::address;
use crate::adoption;
use crate::elsewhere;
use crate::fence;
use crate::guard;
use crate::keeping;
use crate::lease::Role;
use crate::planted::{Fault, planted};
use crate::record::{Body, Completion, PhaseName};
use crate::recover::{self, Choice};
use crate::repair;
use crate::scenario;
use crate::state::{Recovery, RecoveryStatus, State};
use crate::switch;
use crate::waiting::WaitingOn;

/// The next decision that restores a component's service, or `None` when there is nothing to decide now.
pub fn next(state: &State, component: ComponentIx, now: Time) -> Option<Body> {
    if let Some(gives_way) = keeping::gives_way(state, component) {
        return Some(gives_way);
    }
    let first = address::next(state, component)
        .or_else(|| elsewhere::next(state, component, now))
        .or_else(|| adoption::begin(state, component, now));
    if let Some(first) = first {
        return Some(first);
    }
    let Some(recovery) = &state.components[component.index()].recovery else {
        // Whoever has the lease recovers it, and says so.
        if state.leadership.role == Role::Follower {
            return None;
        }
        return detect(state, component).or_else(|| switch::begin(state, component, now));
    };
    if let (Some(budget), Some(due)) = (recovery.budget, recovery.due())
        && due < now
        && !recovery.over_budget
    {
        let rto_ns = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
        return Some(Body::BudgetExceeded { recovery: recovery.id, rto_ns });
    }
    let next = match recovery.status {
        RecoveryStatus::FailureDetected => initiate(state, recovery, now),
        RecoveryStatus::RecoveryInitiated | RecoveryStatus::RecoveryInProgress => match guard::halted(state) {
            Some(halted) => recover::while_halted(state, recovery, halted, now),
            None => fence::confirmed(state, recovery).or_else(|| recover::next(state, recovery, now)),
        },
        RecoveryStatus::RecoveryCompleted | RecoveryStatus::RecoveryFailed => None,
    }?;
    if begins_something(&next)
        && recovery.aborted.is_none()
        && let Some(waiting) = guard::lease(state, recovery, now)
    {
        return hold(recovery, waiting);
    }
    match &recovery.paused {
        Some((by, reason)) if recovery.aborted.is_none() && begins_something(&next) => {
            hold(recovery, WaitingOn::RecoveryPaused { by: by.clone(), reason: reason.clone() })
        }
        Some(_) | None => Some(next),
    }
}

/// The next decision that makes something of a component fit again. It waits for every decision that restores service, and
/// uses up nothing of theirs.
pub fn repair(state: &State, component: ComponentIx, now: Time) -> Option<Body> {
    let fit = repair::next(state, component, now).or_else(|| fit_again(state, component));
    fit.or_else(|| keeping::next(state, component, now))
}

fn fit_again(state: &State, component: ComponentIx) -> Option<Body> {
    let untried = state.components[component.index()].recovery.as_ref().is_none_or(|it| it.steps.is_empty());
    if state.site.halted.is_some() || state.leadership.role == Role::Follower || !untried {
        return None;
    }
    rejoin(state, component)
}

/// Whether a decision about a recovery leads on, so that a pause of the recovery holds it back.
const fn begins_something(decision: &Body) -> bool {
    !matches!(
        decision,
        Body::StepTimedOut { .. }
            | Body::RecoveryCompleted { .. }
            | Body::RecoveryFailed { .. }
            | Body::RungFailed { .. }
    )
}

/// When [`next`] could say something else although no fact came in.
pub fn next_time(state: &State, component: ComponentIx, now: Time) -> Option<Time> {
    let Some(recovery) = &state.components[component.index()].recovery else {
        let back = switch::goes_back_at(state, component).filter(|it| *it > now);
        let repair = repair::next_time(state, component, now);
        let keeping = keeping::next_time(state, component, now);
        return back.into_iter().chain(elsewhere::next_time(state, component, now)).chain(repair).chain(keeping).min();
    };
    let held = recovery.held.as_ref().and_then(|(waiting, _)| {
        // Others may have begun since it was recorded.
        let brakes = matches!(waiting, WaitingOn::StormBrake { .. });
        if brakes { guard::storm_brake(state, recovery, now)?.until() } else { waiting.until() }
    });
    // A moment that is over for good must not be waited for again, so the budget ends just after its last moment.
    let due = recovery.due().filter(|_| !recovery.over_budget).map(|it| it + Duration::from_nanos(1));
    let held = held.filter(|_| !planted(Fault::TimerForgotten));
    let seen = elsewhere::next_time(state, component, now);
    // A pause stops no clock of a question that people were asked before it.
    let asked = recovery.paused.as_ref().and_then(|_| guard::question_ends(state, recovery));
    let advance = &state.components[component.index()].advance;
    let approvals_end = advance.values().map(|it| it.until);
    let repair = repair::next_time(state, component, now);
    let keeping = keeping::next_time(state, component, now);
    let others = [held, due, seen, asked, repair, keeping].into_iter().flatten();
    others.chain(recover::deadlines(state, recovery)).chain(approvals_end).filter(|it| *it > now).min()
}

fn rejoin(state: &State, component: ComponentIx) -> Option<Body> {
    use mainstay_plan::component::Rejoin;
    let planned = state.plan.component(component);
    let back = planned.instances.iter().copied().find(|it| {
        let instance = &state.instances[it.index()];
        let may = (planned.rejoin == Rejoin::WhenHealthy || instance.in_order) && instance.mending.open.is_none();
        may && instance.displaced && (state.is_whole(*it) || planted(Fault::RejoinsUnwell))
    })?;
    Some(Body::Rejoined { instance: state.plan.instance(back).name.clone() })
}

fn detect(state: &State, component: ComponentIx) -> Option<Body> {
    let bound = state.components[component.index()].bound;
    let instance = &state.instances[bound.index()];
    let (component_name, instance_name) =
        (state.plan.component(component).name.clone(), state.plan.instance(bound).name.clone());
    let plan = state.adopted.clone().unwrap_or_default();
    match instance.health {
        Health::Down => {
            let (scenario, incident, evidence) = scenario::explain(state, component);
            Some(Body::FailureDetected {
                component: component_name,
                instance: instance_name,
                scenario,
                first_failed: instance.since,
                last_good: instance.last_good,
                plan,
                rule: None,
                evidence,
                incident,
            })
        }
        Health::Healthy | Health::Suspect => state.accuser(bound).map(|accuser| Body::FailureDetected {
            component: component_name,
            instance: instance_name,
            scenario: accuser.then,
            first_failed: accuser.since,
            last_good: None,
            plan,
            rule: Some(accuser.rule.clone()),
            evidence: accuser.terms.iter().map(ToString::to_string).collect(),
            incident: None,
        }),
        // Whatever a rule says, unknown is never down.
        Health::Unknown => None,
    }
}

fn initiate(state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
    let component = &state.components[recovery.component.index()];
    if let Some(why) = recovery.aborted.as_ref().filter(|_| !planted(Fault::AbortIgnored)) {
        return Some(Body::RecoveryFailed { recovery: recovery.id, why: why.clone() });
    }
    match state.instances[component.bound.index()].health {
        Health::Healthy if state.is_whole(component.bound) => return Some(completed_by_itself(recovery, now)),
        Health::Healthy | Health::Down => {}
        Health::Unknown | Health::Suspect => return hold(recovery, observation(state, component.bound)),
    }
    if let Some(waiting) = guard::first(state, recovery, now) {
        if let WaitingOn::Approval { expires: Some(at), need, .. } = waiting
            && at <= now
        {
            let whoever = if need > 1 { "too few people" } else { "nobody" };
            let why = format!("{whoever} approved it before the question expired");
            return Some(Body::RecoveryFailed { recovery: recovery.id, why });
        }
        // A turn is for whoever could go.
        if matches!(waiting, WaitingOn::Turn { .. })
            && let Choice::Wait(before) = recover::choose(state, recovery, now)
        {
            return hold(recovery, before);
        }
        return hold(recovery, waiting);
    }
    if let Some((WaitingOn::Correlation { .. }, _)) = recovery.held
        && recovery.incident.is_none()
        && !recovery.classified
    {
        let (scenario, _, evidence) = scenario::explain(state, recovery.component);
        return Some(Body::Classified { recovery: recovery.id, scenario, evidence });
    }
    match recover::choose(state, recovery, now) {
        Choice::Rung(_) | Choice::Exhausted => Some(Body::RecoveryInitiated {
            recovery: recovery.id,
            overruled: recovery.overrides.iter().map(|it| it.word().to_owned()).collect(),
            approval: guard::approved(state, recovery, now),
        }),
        Choice::Wait(waiting) => hold(recovery, waiting),
    }
}

/// The record that says so, unless it was said already.
pub(crate) fn hold(recovery: &Recovery, waiting: WaitingOn) -> Option<Body> {
    let known = recovery.held.as_ref().is_some_and(|(before, _)| before.is_same(&waiting));
    (!known).then_some(Body::Held { recovery: recovery.id, waiting })
}

pub(crate) fn observation(state: &State, instance: InstanceIx) -> WaitingOn {
    WaitingOn::Observation { instance: state.plan.instance(instance).name.clone(), until: None }
}

pub(crate) fn completed_by_itself(recovery: &Recovery, now: Time) -> Body {
    Body::RecoveryCompleted { recovery: recovery.id, how: Completion::ByItself, phases_ns: phases(recovery, now) }
}

/// The time to recover by phase, as a record holds it, if the recovery ends now.
pub(crate) fn phases(recovery: &Recovery, now: Time) -> Vec<(PhaseName, u64)> {
    let phases = recovery.phases_at(now);
    let nanos = |it: &std::time::Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
    mainstay_plan::strategy::Phase::ALL
        .into_iter()
        .map(|phase| (PhaseName(phase), phases.get(&phase).map_or(0, nanos)))
        .collect()
}
