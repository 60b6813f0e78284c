//! What may hold a recovery back, in the order in which a careful person would ask: may we be the broken part, did someone ask
//! us to keep still, does something else have to come first, how far may we go alone, is it too soon, and is it too much?

use mainstay_plan::Time;
use mainstay_plan::observation::Health;
use mainstay_plan::policy::{AfterFailure, Mode, OnJournalLoss};

use crate::command::Override;
use crate::state::{Pause, Recovery, State};
use crate::waiting::{Unacknowledged, WaitingOn};

/// Whether too few witnesses have answered since the component's instance went down. Asked before a recovery begins, and
/// again under way: who starts anew, or slept, may be cut off now.
pub(crate) fn witnesses(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let component = &state.components[recovery.component.index()];
    let rule = &state.plan.component(recovery.component).witnesses;
    let since = state.instances[component.bound.index()].since;
    let witnessed = component.witnessed.is_some_and(|it| it >= since);
    let missing = rule.need > 0 && !witnessed && !recovery.overrides.contains(&Override::Witnesses);
    missing.then(|| WaitingOn::Witnesses {
        need: rule.need,
        of: rule.of.iter().map(|it| state.plan.witness(*it).name.clone()).collect(),
    })
}

/// Whether the journal is lost and the plan says that nothing is done then.
pub(crate) fn journal(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let holds =
        state.plan.on_journal_loss == OnJournalLoss::Hold && !recovery.overrides.contains(&Override::JournalLost);
    (state.journal_lost.is_some() && holds).then_some(WaitingOn::JournalLost {})
}

/// Whether an operator has stopped all action. Asked before everything, also under way.
pub(crate) fn halted(state: &State) -> Option<WaitingOn> {
    let halt = state.site.halted.as_ref()?;
    Some(WaitingOn::Halted { by: halt.by.clone(), reason: halt.reason.clone() })
}

/// Whether too few signals of different kinds say that the component's instance is down.
fn signals(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let component = &state.components[recovery.component.index()];
    let need = state.plan.component(recovery.component).guards.signals;
    let since = state.instances[component.bound.index()].since;
    let seen = need < 2 || component.signalled.is_some_and(|it| it >= since);
    (!seen && !recovery.overrides.contains(&Override::Signals)).then_some(WaitingOn::Signals { need })
}

fn pause(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    let name = &state.plan.component(recovery.component).name;
    let pauses = [(None, &state.paused), (Some(name), &state.components[recovery.component.index()].paused)];
    let (of, pause) = pauses.into_iter().find_map(|(of, it)| Some((of, it.as_ref().filter(|it| it.until > now)?)))?;
    let Pause { by, reason, owner, until, since: _ } = pause.clone();
    Some(WaitingOn::Paused { component: of.cloned(), until, by, reason, owner })
}

fn dependency(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let mut needed = state.plan.component(recovery.component).depends_on.iter().copied();
    let missing = needed.find(|it| {
        let on = &state.components[it.index()];
        on.recovery.is_some() || state.instances[on.bound.index()].health == Health::Down
    });
    let on = missing.filter(|_| !recovery.overrides.contains(&Override::Dependency))?;
    Some(WaitingOn::Dependency { component: state.plan.component(on).name.clone() })
}

/// What happened to the component before: how long ago, how often, and whether anybody has looked.
fn past(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    let component = &state.components[recovery.component.index()];
    let planned = state.plan.component(recovery.component);
    let cool = component.last_ended.map(|it| it + planned.guards.cool_down).filter(|it| *it > now);
    if let Some(until) = cool.filter(|_| !recovery.overrides.contains(&Override::CoolDown)) {
        return Some(WaitingOn::CoolDown { until });
    }
    let asks = |why| WaitingOn::Acknowledgement { component: planned.name.clone(), why };
    let failed = component.unacknowledged.filter(|_| planned.guards.after_failure == AfterFailure::Acknowledge);
    if let Some(before) = failed {
        return Some(asks(Unacknowledged::Failed { recovery: before }));
    }
    let limit = planned.guards.flapping?;
    let nth = component.begun.len().checked_sub(limit.at_most as usize)?;
    let flaps = *component.begun.get(nth)? + limit.within > recovery.opened;
    let within_ns = u64::try_from(limit.within.as_nanos()).unwrap_or(u64::MAX);
    flaps.then(|| asks(Unacknowledged::Flapping { times: limit.at_most, within_ns }))
}

/// Whether more of the site would be down or moved after this recovery than the plan allows. The component itself counts in
/// any case: it is down now, and moved or just recovered afterwards.
pub(crate) fn blast_radius(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let radius = state.plan.guards.blast_radius?;
    let of = state.components.len();
    let (would_be, allowed) = (state.site.touched_with(recovery.component), radius.allowed(of));
    let over = would_be > allowed && !recovery.overrides.contains(&Override::BlastRadius);
    over.then_some(WaitingOn::BlastRadius { would_be, of, allowed })
}

/// Whether as many recoveries have begun lately as the plan lets begin.
pub(crate) fn storm_brake(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    let brake = state.plan.guards.storm_brake?;
    let until = state.site.brake_frees(brake, now).filter(|_| !recovery.overrides.contains(&Override::StormBrake))?;
    let within_ns = u64::try_from(brake.within.as_nanos()).unwrap_or(u64::MAX);
    Some(WaitingOn::StormBrake { at_most: brake.at_most, within_ns, until })
}

/// The first guard that holds a recovery back now.
pub fn first(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    let planned = state.plan.component(recovery.component);
    let overruled = |it: Override| recovery.overrides.contains(&it);
    let on_routes = !planned.routes.is_empty() && !overruled(Override::JournalLost);
    let unheard = on_routes && state.routing.epoch == 0 && !state.traffic_was_heard();
    let observes = state.plan.mode == Mode::Observe && !overruled(Override::ObserveMode);
    let expires = planned.guards.approval.map(|it| recovery.opened + it.expires);
    let asks = (expires.is_some() || state.plan.mode == Mode::Recommend) && !recovery.approved;
    halted(state)
        .or_else(|| journal(state, recovery))
        .or_else(|| witnesses(state, recovery))
        .or_else(|| signals(state, recovery))
        .or_else(|| unheard.then_some(WaitingOn::Traffic {}))
        .or_else(|| pause(state, recovery, now))
        .or_else(|| dependency(state, recovery))
        .or_else(|| observes.then_some(WaitingOn::ObserveMode {}))
        .or_else(|| past(state, recovery, now))
        .or_else(|| blast_radius(state, recovery))
        .or_else(|| asks.then_some(WaitingOn::Approval { expires }))
        // The last, because who passes it begins and counts.
        .or_else(|| storm_brake(state, recovery, now))
}
