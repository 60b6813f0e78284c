//! Planned moves: a switchover, and going back to the original. No data is lost: writes are cut, the new owner is waited for
//! until it is in step, and only then does the old one hand over.
//!
//! Such a move is a recovery without a failure: the same steps, the same records, another cause. What goes wrong before the
//! hand-over is undone: as long as nothing was done to an instance, traffic simply goes back; after that, the old owner is made
//! active again.

use std::time::Duration;

use mainstay_plan::component::{Failback, Temperature};
use mainstay_plan::observation::Health;
use mainstay_plan::policy::Mode;
use mainstay_plan::strategy::Play;
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use crate::adoption;
use crate::command::Refusal;
use crate::decide::phases;
use crate::elsewhere;
use crate::record::{Body, Completion};
use crate::route::rules;
use crate::state::{Planned, Progress, Recovery, State};
use crate::waiting::WaitingOn;

/// How far a standby may be behind for a move to begin by itself: it has to be caught up with while nobody can write.
pub(crate) const NEARLY: Duration = Duration::from_secs(1);

/// What is missing for a planned move, each as a clause. Whether the new owner is in step is asked apart: only soft state
/// knows before traffic is cut.
pub fn missing(state: &State, component: ComponentIx, to: InstanceIx, graceful: bool) -> Vec<String> {
    let planned = state.plan.component(component);
    let lasting = &state.components[component.index()];
    let name = |it: InstanceIx| &state.plan.instance(it).name;
    let mut missing = Vec::new();
    if lasting.bound == to {
        return vec![format!("`{}` is `{}` already", planned.name, name(to))];
    }
    if let Some(open) = &lasting.recovery {
        missing.push(format!("{} is open", open.id));
    }
    if planned.switch(lasting.bound, to).is_none() {
        missing.push(format!("no `failover_to_standby` leads from `{}` to `{}`", name(lasting.bound), name(to)));
    }
    let health = |it: InstanceIx| state.instances[it.index()].health;
    match health(lasting.bound) {
        Health::Healthy => {}
        // Whatever is known of it, it can be left in a hurry; a failure is recovered, not switched away from.
        Health::Unknown | Health::Suspect if !graceful => {}
        other @ (Health::Down | Health::Unknown | Health::Suspect) => {
            missing.push(format!("`{}` is {}", name(lasting.bound), other.word()));
        }
    }
    if health(to) != Health::Healthy {
        let cold = if state.plan.instance(to).temperature == Temperature::Cold { " (start it first)" } else { "" };
        missing.push(format!("`{}` is {}{cold}", name(to), health(to).word()));
    }
    if state.instances[to.index()].displaced {
        missing.push(format!("`{0}` was displaced and has not rejoined (mainstay adopt {0})", name(to)));
    }
    if graceful && planned.objectives.rpo.is_some() && !state.plan.instance(to).reports_lag {
        missing.push(format!("nothing says how far `{}` lags behind", name(to)));
    }
    if let Some(it) = &lasting.elsewhere {
        missing.push(elsewhere::says(&it.names(&state.plan), name(lasting.bound), &it.evidence));
    }
    if state.journal_lost.is_some() {
        missing.push("the journal can't be written".to_owned());
    }
    if !planned.routes.is_empty() && !state.traffic_was_heard() {
        missing.push("the traffic process was not heard".to_owned());
    }
    missing
}

/// Whether a planned move would be taken, as far as the lasting state says.
pub(crate) fn check(state: &State, component: ComponentIx, to: InstanceIx, graceful: bool) -> Result<(), Refusal> {
    if let Some(planned) = state.components[component.index()].recovery.as_ref().and_then(Recovery::planned)
        && planned.to == to
        && planned.graceful
        && !graceful
    {
        return Ok(());
    }
    let missing = missing(state, component, to, graceful);
    if missing.is_empty() {
        return Ok(());
    }
    let (component, to) = (state.plan.component(component).name.clone(), state.plan.instance(to).name.clone());
    Err(Refusal::NotWhole { component, to, missing: missing.join("; ") })
}

/// The decision to begin a planned move: one that was asked for, or going back where the plan says so.
pub(crate) fn begin(state: &State, component: ComponentIx, now: Time) -> Option<Body> {
    if state.site.halted.is_some() {
        return None;
    }
    let lasting = &state.components[component.index()];
    let planned = state.plan.component(component);
    let from = state.plan.instance(lasting.bound).name.clone();
    let named = planned.name.clone();
    if let Some(asked) = &lasting.asked {
        planned.switch(lasting.bound, asked.to)?;
        return Some(Body::SwitchStarted {
            component: named,
            from,
            to: state.plan.instance(asked.to).name.clone(),
            by: asked.by.clone(),
            reason: asked.reason.clone(),
            graceful: asked.graceful,
            evacuation: None,
        });
    }
    let at = goes_back_at(state, component)?;
    let paused = |it: &Option<crate::state::Pause>| it.as_ref().is_some_and(|it| it.until > now);
    if at > now || paused(&state.paused) || paused(&lasting.paused) {
        return None;
    }
    Some(Body::SwitchStarted {
        component: named,
        from,
        to: state.plan.instance(planned.original()).name.clone(),
        by: "the plan".to_owned(),
        reason: "the original is whole again (`failback: when_whole`)".to_owned(),
        graceful: true,
        evacuation: None,
    })
}

/// When a component goes back by itself, if nothing else happens.
pub(crate) fn goes_back_at(state: &State, component: ComponentIx) -> Option<Time> {
    let planned = state.plan.component(component);
    let lasting = &state.components[component.index()];
    let Failback::WhenWhole { stable_for } = planned.failback else { return None };
    let original = planned.original();
    let back = &state.instances[original.index()];
    if state.evacuated(original).is_some() {
        return None;
    }
    let whole = lasting.bound != original && state.plan.mode == Mode::Act && back.in_step;
    if !whole || !missing(state, component, original, true).is_empty() {
        return None;
    }
    let bound = &state.instances[lasting.bound.index()];
    let stable = back.whole_since.max(bound.whole_since).max(lasting.moved.unwrap_or_default()) + stable_for;
    let cool = lasting.last_ended.map(|it| it + planned.guards.cool_down).unwrap_or_default();
    let pauses = [&state.paused, &lasting.paused].into_iter().flatten().map(|it| it.until);
    Some(pauses.fold(stable.max(cool), Time::max))
}

/// The rule of a route that keeps a planned move from beginning. Whoever is active already, or is made so again, is led to at
/// once.
pub(crate) fn may_not_move(
    state: &State,
    recovery: &Recovery,
    progress: &Progress,
    play: &Play,
    now: Time,
) -> Option<WaitingOn> {
    let planned = recovery.planned().filter(|it| it.adopts.is_none() && !it.back)?;
    let bound = state.components[recovery.component.index()].bound;
    let begins = recovery.steps.is_empty() && bound == progress.from && bound != planned.to;
    begins.then(|| rules::before_rung(state, recovery, play, now)).flatten()
}

/// The next decision about a planned move whose steps ended, one way or the other.
pub(crate) fn next(state: &State, recovery: &Recovery, planned: &Planned) -> Option<Body> {
    if planned.adopts.is_some() {
        return Some(adoption::next(state, recovery, planned));
    }
    let bound = state.components[recovery.component.index()].bound;
    let why = recovery.tried.join("; ");
    let id = recovery.id;
    if bound == planned.to {
        let name = &state.plan.instance(bound).name;
        return Some(Body::RecoveryFailed {
            recovery: id,
            why: format!("{why}; `{name}` has taken over all the same"),
        });
    }
    if planned.back {
        let name = &state.plan.instance(bound).name;
        let why = format!("{why}; it is not known whether `{name}` is active again");
        return Some(Body::RecoveryFailed { recovery: id, why });
    }
    if recovery.irreversible {
        return Some(Body::SwitchUndone { recovery: id, why, adopted: false });
    }
    Some(Body::RecoveryFailed { recovery: id, why: format!("{why}; traffic is back and nothing was changed") })
}

/// A planned move that is aborted after something was done to an instance does not end there: the old owner is made active
/// again.
pub(crate) fn instead(state: &State, recovery: &Recovery, decided: Body) -> Body {
    let Some(planned) = recovery.planned() else { return decided };
    if planned.adopts.is_some() {
        return adoption::instead(state, recovery, planned, decided);
    }
    let bound = state.components[recovery.component.index()].bound;
    let goes_back = recovery.irreversible && !planned.back && bound != planned.to;
    if let (true, Body::RecoveryFailed { recovery, why }) = (goes_back, &decided) {
        return Body::SwitchUndone { recovery: *recovery, why: why.clone(), adopted: false };
    }
    decided
}

/// The end of the last step.
pub(crate) fn completed(state: &State, recovery: &Recovery, planned: &Planned, play: &Play, now: Time) -> Body {
    if planned.adopts.is_some() {
        return adoption::completed(state, recovery, planned, play, now);
    }
    let name = state.plan.instance(play.to).name.clone();
    if planned.back {
        let why = format!("{}; `{name}` is active again", recovery.tried.join("; "));
        return Body::RecoveryFailed { recovery: recovery.id, why };
    }
    Body::RecoveryCompleted {
        recovery: recovery.id,
        how: Completion::Switched { instance: name },
        phases_ns: phases(recovery, now),
    }
}
