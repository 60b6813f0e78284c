//! What may hold a recovery back, in the order in which a careful person would ask: may we be the broken part, did someone ask
//! us to keep still, does something else have to come first, how far may we go alone, and is it too soon?

use mainstay_plan::Time;
use mainstay_plan::observation::Health;
use mainstay_plan::policy::{Mode, OnJournalLoss};

use crate::command::Override;
use crate::state::{Recovery, State};
use crate::waiting::WaitingOn;

/// Whether too few witnesses have answered since the component's instance went down. Asked before a recovery begins, and
/// again under way: who starts anew, or slept, may be cut off now.
pub(crate) fn witnesses(state: &State, recovery: &Recovery) -> Option<WaitingOn> {
    let component = &state.components[recovery.component.index()];
    let rule = &state.plan.component(recovery.component).witnesses;
    let since = state.failing_since(recovery.component).unwrap_or(state.instances[component.bound.index()].since);
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

/// The first guard that holds a recovery back now.
pub fn first(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    let overruled = |it: Override| recovery.overrides.contains(&it);
    let component = &state.components[recovery.component.index()];
    let planned = state.plan.component(recovery.component);
    if let Some(waiting) = journal(state, recovery) {
        return Some(waiting);
    }
    if let Some(waiting) = witnesses(state, recovery) {
        return Some(waiting);
    }
    let on_routes = !planned.routes.is_empty() && !overruled(Override::JournalLost);
    if on_routes && state.routing.epoch == 0 && !state.traffic_was_heard() {
        return Some(WaitingOn::Traffic {});
    }
    let pauses = [(None, &state.paused), (Some(&planned.name), &component.paused)];
    for (of, pause) in pauses {
        if let Some(pause) = pause.as_ref().filter(|it| it.until > now) {
            let (by, reason) = (pause.by.clone(), pause.reason.clone());
            return Some(WaitingOn::Paused { component: of.cloned(), until: pause.until, by, reason });
        }
    }
    let dependency = planned.depends_on.iter().copied().find(|it| {
        let on = &state.components[it.index()];
        on.recovery.is_some() || state.instances[on.bound.index()].health == Health::Down
    });
    if let Some(on) = dependency.filter(|_| !overruled(Override::Dependency)) {
        return Some(WaitingOn::Dependency { component: state.plan.component(on).name.clone() });
    }
    if state.plan.mode == Mode::Observe && !overruled(Override::ObserveMode) {
        return Some(WaitingOn::ObserveMode {});
    }
    let cool = component.last_ended.map(|it| it + planned.guards.cool_down).filter(|it| *it > now);
    if let Some(until) = cool.filter(|_| !overruled(Override::CoolDown)) {
        return Some(WaitingOn::CoolDown { until });
    }
    let expires = planned.guards.approval.map(|it| recovery.opened + it.expires);
    let asks = expires.is_some() || state.plan.mode == Mode::Recommend;
    (asks && !recovery.approved).then_some(WaitingOn::Approval { expires })
}
