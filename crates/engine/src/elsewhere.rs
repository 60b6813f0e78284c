//! Somebody else was there first: an instance says that it is active, and none of our recoveries made it so. Then nothing is
//! recovered until a person has said which one it is, because every takeover would make one owner more.
//!
//! What is decided from is what instances said of themselves (`role_seen`), and which of them our own steps touched: whoever is
//! being activated by us may well be active.

use std::time::Duration;

use mainstay_plan::observation::{Health, SeenRole};
use mainstay_plan::route::Sharing;
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Time};

use crate::command::Override;
use crate::planted::{Fault, planted};
use crate::record::Body;
use crate::state::{Recovery, State};
use crate::waiting::WaitingOn;

/// How a component's own instance stands to being active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    /// It says so; or it is healthy, and no probe of it says anything about that.
    Active,
    /// It is down, or says something else.
    Not,
    /// It may say so yet.
    Unseen,
}

/// Whether a probe of the instance tells its role.
pub(crate) fn tells(plan: &Plan, instance: InstanceIx) -> bool {
    plan.instance(instance).probes.iter().any(|it| plan.probe(*it).kind.reports_role())
}

fn is_active(state: &State, instance: InstanceIx) -> bool {
    let it = &state.instances[instance.index()];
    it.role == Some(SeenRole::Active) && it.health == Health::Healthy
}

/// Until when an instance may still be seen, if it tells its role and has not been: after that it counts as not known.
fn seen_by(state: &State, instance: InstanceIx, now: Time) -> Option<Time> {
    let it = &state.instances[instance.index()];
    let is_open = tells(&state.plan, instance)
        && match it.health {
            Health::Unknown | Health::Suspect => true,
            Health::Healthy => it.role.is_none(),
            Health::Down => false,
        };
    let timings = state.plan.instance(instance).probes.iter().map(|it| state.plan.probe(*it).timing);
    let patience = timings.map(|it| 2 * (it.interval * it.rise.max(1) + it.fall * it.fast_interval + it.timeout)).max();
    let until = it.unseen_since.max(it.role_anew) + patience.unwrap_or(Duration::ZERO);
    (is_open && until > now).then_some(until)
}

fn own(state: &State, instance: InstanceIx, now: Time) -> Own {
    if seen_by(state, instance, now).is_some() {
        return Own::Unseen;
    }
    let it = &state.instances[instance.index()];
    match (it.health, it.role) {
        (Health::Healthy, Some(SeenRole::Active)) => Own::Active,
        (Health::Healthy, None) if !tells(&state.plan, instance) => Own::Active,
        (Health::Healthy, None | Some(SeenRole::Standby | SeenRole::Unclear)) => Own::Not,
        (Health::Down | Health::Unknown | Health::Suspect, _) => Own::Not,
    }
}

/// Whether an open recovery has begun to make an instance active, itself or by people.
fn is_ours(state: &State, component: ComponentIx, instance: InstanceIx) -> bool {
    let Some(recovery) = &state.components[component.index()].recovery else { return false };
    let Some(progress) = &recovery.progress else { return false };
    recovery.steps.iter().any(|log| {
        let play = if log.step.rung == recovery.rung {
            state.play(recovery)
        } else {
            let rung = state.plan.component(component).ladder.get(log.step.rung);
            rung.filter(|_| recovery.planned().is_none()).and_then(|it| it.plays.get(&progress.from))
        };
        let Some(play) = play else { return false };
        match play.steps.get(log.step.step).map(|it| &it.kind) {
            Some(StepKind::Act { on, .. }) => *on == instance,
            Some(StepKind::Manual { .. }) => play.to == instance,
            Some(
                StepKind::CutTraffic { .. }
                | StepKind::Stop { .. }
                | StepKind::EndLease { .. }
                | StepKind::CatchUp { .. }
                | StepKind::TakeOver { .. }
                | StepKind::Verify { .. },
            )
            | None => false,
        }
    })
}

/// Who else says that it is active.
fn others(state: &State, component: ComponentIx) -> Vec<InstanceIx> {
    let bound = state.components[component.index()].bound;
    let all = state.plan.component(component).instances.iter().copied();
    all.filter(|it| *it != bound && is_active(state, *it) && !is_ours(state, component, *it)).collect()
}

/// The decision that somebody else has moved a component, or that it is so no more.
pub(crate) fn next(state: &State, component: ComponentIx, now: Time) -> Option<Body> {
    let lasting = &state.components[component.index()];
    let name = |it: InstanceIx| &state.plan.instance(it).name;
    let named = || state.plan.component(component).name.clone();
    let active = others(state, component);
    if active.is_empty() {
        let known = lasting.elsewhere.as_ref()?;
        let over = known.active.iter().map(|it| why_over(state, component, *it)).collect::<Option<Vec<_>>>()?;
        return Some(Body::ElsewhereOver { component: named(), why: over.join("; ") });
    }
    let own = match own(state, lasting.bound, now) {
        Own::Unseen => return None,
        Own::Active => Some(lasting.bound),
        Own::Not => None,
    };
    let two = own.is_some() || active.len() > 1;
    let all = std::iter::once(lasting.bound).chain(active.iter().copied());
    let evidence: Vec<String> = all.map(|it| told(state, it)).collect();
    if lasting.elsewhere.as_ref().is_some_and(|it| (&it.active, it.two, &it.evidence) == (&active, two, &evidence)) {
        return None;
    }
    Some(Body::SeenElsewhere {
        component: named(),
        bound: name(lasting.bound).clone(),
        active: own.iter().chain(&active).map(|it| name(*it).clone()).collect(),
        evidence,
    })
}

/// What is known of an instance, with what it said.
fn told(state: &State, instance: InstanceIx) -> String {
    let (name, it) = (&state.plan.instance(instance).name, &state.instances[instance.index()]);
    match (it.health, &it.role) {
        (Health::Healthy, Some(_)) => it.role_told.join(", "),
        (Health::Healthy, None) => format!("{name} answers, and says nothing of its role"),
        (health @ (Health::Down | Health::Unknown | Health::Suspect), _) => format!("{name} is {}", health.word()),
    }
}

/// Why an instance that was somebody else's is so no more, if that is known.
fn why_over(state: &State, component: ComponentIx, instance: InstanceIx) -> Option<String> {
    let name = &state.plan.instance(instance).name;
    let it = &state.instances[instance.index()];
    if state.components[component.index()].bound == instance {
        return Some(format!("`{name}` is the component now"));
    }
    if is_ours(state, component, instance) {
        return Some(format!("`{name}` is being activated by a recovery"));
    }
    match (it.health, it.role) {
        (Health::Down, _) => Some(format!("`{name}` is down")),
        (Health::Healthy, Some(SeenRole::Standby)) => Some(format!("`{name}` says that it is a standby")),
        (Health::Healthy, None | Some(SeenRole::Active | SeenRole::Unclear))
        | (Health::Unknown | Health::Suspect, _) => None,
    }
}

/// When [`next`], [`held`] or the first table could be otherwise although no fact came in.
pub(crate) fn next_time(state: &State, component: ComponentIx, now: Time) -> Option<Time> {
    let all = &state.plan.component(component).instances;
    if all.iter().all(|it| !tells(&state.plan, *it)) {
        return None;
    }
    let lasting = &state.components[component.index()];
    let matters = lasting.recovery.is_some() || !others(state, component).is_empty();
    all.iter().filter_map(|it| seen_by(state, *it, now)).min().filter(|_| matters)
}

/// Asked before a recovery begins, and before it does the first thing of a rung that can't be taken back: who else is active,
/// or could be.
pub(crate) fn held(state: &State, recovery: &Recovery, now: Time) -> Option<WaitingOn> {
    if recovery.overrides.contains(&Override::SomeoneElse) || planted(Fault::StrangerIgnored) {
        return None;
    }
    let lasting = &state.components[recovery.component.index()];
    if let Some(it) = &lasting.elsewhere {
        return Some(WaitingOn::SomeoneElse {
            active: it.names(&state.plan),
            instance: state.plan.instance(it.active[0]).name.clone(),
            evidence: it.evidence.clone(),
        });
    }
    if let (false, Some(until)) = (others(state, recovery.component).is_empty(), seen_by(state, lasting.bound, now)) {
        let instance = state.plan.instance(lasting.bound).name.clone();
        return Some(WaitingOn::Observation { instance, until: Some(until) });
    }
    let others = state.plan.component(recovery.component).instances.iter().filter(|it| **it != lasting.bound);
    let (instance, until) = others.filter_map(|it| Some((*it, seen_by(state, *it, now)?))).next()?;
    let instance = state.plan.instance(instance).name.clone();
    Some(WaitingOn::Observation { instance, until: Some(until) })
}

/// Until when the first table of a journal waits: it would lead clients to an instance that has not been seen active, while
/// another may be the owner.
pub(crate) fn first_table_waits(state: &State, now: Time) -> Option<Time> {
    if state.routing.epoch > 0 {
        return None;
    }
    let waits = |(planned, lasting): (&mainstay_plan::component::Component, &crate::state::ComponentState)| {
        let exclusive = planned.routes.iter().any(|it| state.plan.route(*it).sharing == Sharing::Exclusive);
        if !exclusive || is_active(state, lasting.bound) || lasting.elsewhere.is_some() {
            return None;
        }
        planned.instances.iter().filter_map(|it| seen_by(state, *it, now)).min()
    };
    state.plan.components.iter().zip(&state.components).filter_map(waits).min()
}

/// What people should know of it, each in one line with the command that helps: who says that it is active beside a
/// component, and who says nothing that can be understood.
pub fn trouble(state: &State) -> Vec<String> {
    let elsewhere = state.plan.components.iter().zip(&state.components).filter_map(|(planned, lasting)| {
        let it = lasting.elsewhere.as_ref()?;
        let bound = &state.plan.instance(lasting.bound).name;
        let (names, other) = (it.names(&state.plan), &state.plan.instance(it.active[0]).name);
        Some(format!("{}: {}; {}", planned.name, says(&names, bound, &it.evidence), help(&names, other)))
    });
    let unclear = state.plan.instances.iter().zip(&state.instances).filter(|it| it.1.role == Some(SeenRole::Unclear));
    let unclear = unclear.map(|(planned, it)| {
        let words = SeenRole::ACTIVE.iter().chain(&SeenRole::STANDBY).copied().collect::<Vec<_>>().join(", ");
        let told = it.role_told.join(", ");
        format!("{}: its role is not known ({told}); words that are understood: {words}", planned.name)
    });
    elsewhere.chain(unclear).collect()
}

/// The sentence about it.
pub(crate) fn says(active: &[String], bound: &str, evidence: &[String]) -> String {
    let evidence = evidence.join("; ");
    match active {
        [one] => format!(
            "`{one}` says that it is active, none of our recoveries made it so, and `{bound}` is not active ({evidence})"
        ),
        all => {
            let all: Vec<String> = all.iter().map(|it| format!("`{it}`")).collect();
            format!("two writers: {} say that they are active ({evidence})", all.join(" and "))
        }
    }
}

/// What a person can do about it.
pub(crate) fn help(active: &[String], other: &str) -> String {
    let adopt = way_out(other);
    match active {
        [_] => format!("to take it over: {adopt}"),
        _ => format!("make a standby of all but one; if `{other}` is the right one: {adopt}"),
    }
}

/// The command that makes an instance the component.
pub(crate) fn way_out(instance: &str) -> String {
    format!("mainstay adopt {instance} --as active --reason promoted-by-hand")
}
