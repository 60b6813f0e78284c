//! From facts to verdicts: what failed, and whether its recovery begins, waits, or has become needless.

use mainstay_plan::observation::{Health, Scenario};
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use crate::guard;
use crate::record::{Body, Completion, PhaseName};
use crate::recover::{self, Choice};
use crate::state::{Recovery, RecoveryStatus, State};
use crate::switch;
use crate::waiting::WaitingOn;

/// The next decision about a component, or `None` when there is nothing to decide now.
pub fn next(state: &State, component: ComponentIx, now: Time) -> Option<Body> {
    let Some(recovery) = &state.components[component.index()].recovery else {
        return (rejoin(state, component).or_else(|| detect(state, component)))
            .or_else(|| switch::begin(state, component, now));
    };
    match recovery.status {
        RecoveryStatus::FailureDetected => initiate(state, recovery, now),
        RecoveryStatus::RecoveryInitiated | RecoveryStatus::RecoveryInProgress => recover::next(state, recovery, now),
        RecoveryStatus::RecoveryCompleted | RecoveryStatus::RecoveryFailed => None,
    }
}

/// When [`next`] could say something else although no fact came in.
pub fn next_time(state: &State, component: ComponentIx, now: Time) -> Option<Time> {
    let Some(recovery) = &state.components[component.index()].recovery else {
        return switch::goes_back_at(state, component).filter(|it| *it > now);
    };
    let held = recovery.held.as_ref().and_then(|(waiting, _)| waiting.until());
    [held, recover::deadline(state, recovery)].into_iter().flatten().filter(|it| *it > now).min()
}

fn rejoin(state: &State, component: ComponentIx) -> Option<Body> {
    use mainstay_plan::component::Rejoin;
    let planned = state.plan.component(component);
    let back = planned.instances.iter().copied().find(|it| {
        let instance = &state.instances[it.index()];
        let may = planned.rejoin == Rejoin::WhenHealthy || instance.in_order;
        may && instance.displaced && instance.health == Health::Healthy
    })?;
    Some(Body::Rejoined { instance: state.plan.instance(back).name.clone() })
}

fn detect(state: &State, component: ComponentIx) -> Option<Body> {
    let bound = state.components[component.index()].bound;
    let instance = &state.instances[bound.index()];
    (instance.health == Health::Down).then(|| Body::FailureDetected {
        component: state.plan.component(component).name.clone(),
        instance: state.plan.instance(bound).name.clone(),
        scenario: if instance.partly_answering { Scenario::ServiceFailure } else { Scenario::InstanceFailure },
        first_failed: instance.since,
        last_good: instance.last_good,
    })
}

fn initiate(state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
    let component = &state.components[recovery.component.index()];
    if let Some(why) = &recovery.aborted {
        return Some(Body::RecoveryFailed { recovery: recovery.id, why: why.clone() });
    }
    match state.instances[component.bound.index()].health {
        Health::Healthy => return Some(completed_by_itself(recovery, now)),
        Health::Down => {}
        Health::Unknown | Health::Suspect => return hold(recovery, observation(state, component.bound)),
    }
    if let Some(waiting) = guard::first(state, recovery, now) {
        if let WaitingOn::Approval { expires: Some(at) } = waiting
            && at <= now
        {
            let why = "nobody approved it before the question expired".to_owned();
            return Some(Body::RecoveryFailed { recovery: recovery.id, why });
        }
        return hold(recovery, waiting);
    }
    match recover::choose(state, recovery, now) {
        Choice::Rung(_) | Choice::Exhausted => Some(Body::RecoveryInitiated {
            recovery: recovery.id,
            overruled: recovery.overrides.iter().map(|it| it.word().to_owned()).collect(),
        }),
        Choice::Wait(waiting) => hold(recovery, waiting),
    }
}

/// The record that says so, unless it was said already.
pub(crate) fn hold(recovery: &Recovery, waiting: WaitingOn) -> Option<Body> {
    let known = recovery.held.as_ref().is_some_and(|(before, _)| *before == waiting);
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
