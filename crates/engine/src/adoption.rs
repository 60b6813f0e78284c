//! Adopting what somebody else has done: an instance that was made active without us becomes the component, by a recovery of its
//! own kind. Nothing is activated; traffic is cut from the old owner, led to the new one, and asked after from the client's side. If
//! clients are not served then, traffic goes back to where it was.

use mainstay_plan::observation::{Health, SeenRole};
use mainstay_plan::route::Sharing;
use mainstay_plan::strategy::{Play, StepKind};
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use crate::command::{AdoptAs, Refusal};
use crate::decide::phases;
use crate::lease::Role;
use crate::record::{Body, Completion, OldOwner};
use crate::repair;
use crate::state::{Planned, Recovery, State};

/// What is meant where nobody said it: whoever says that it is active is the component; whoever was displaced is a standby.
pub(crate) fn meant(state: &State, instance: InstanceIx, said: Option<AdoptAs>) -> AdoptAs {
    let active = state.instances[instance.index()].role == Some(SeenRole::Active);
    said.unwrap_or(if active { AdoptAs::Active } else { AdoptAs::Standby })
}

/// Whether something was done for the rung under way that can't be taken back.
pub(crate) fn is_past_return(state: &State, recovery: &Recovery) -> bool {
    let Some(progress) = &recovery.progress else { return false };
    let Some(play) = state.play(recovery) else { return false };
    let begun = recovery.steps.iter().filter(|it| it.step.rung == recovery.rung);
    let mut kinds = begun.filter_map(|it| play.steps.get(it.step.step));
    progress.rollback.is_some() || kinds.any(|it| it.kind.is_irreversible())
}

/// What is missing for an instance to be adopted as the component, each as a clause.
pub(crate) fn missing(state: &State, to: InstanceIx, anyway: bool, two_writers: bool) -> Vec<String> {
    let component = state.plan.instance(to).component;
    let planned = state.plan.component(component);
    let lasting = &state.components[component.index()];
    let name = |it: InstanceIx| &state.plan.instance(it).name;
    if lasting.bound == to {
        return vec![format!("`{}` is `{}` already", planned.name, name(to))];
    }
    let mut missing = Vec::new();
    let it = &state.instances[to.index()];
    match it.health {
        Health::Down => missing.push(format!("`{}` is down", name(to))),
        Health::Unknown | Health::Suspect if !anyway => {
            missing.push(format!("`{}` is {}; say --anyway if you know better", name(to), it.health.word()));
        }
        Health::Healthy | Health::Unknown | Health::Suspect => {}
    }
    if it.role != Some(SeenRole::Active) && !anyway {
        let says = match it.role {
            Some(SeenRole::Standby) => "says that it is a standby",
            Some(SeenRole::Active | SeenRole::Unclear) | None => "does not say that it is active",
        };
        missing.push(format!("`{}` {says}; say --anyway if you know better", name(to)));
    }
    let active = |it: &InstanceIx| {
        let other = &state.instances[it.index()];
        *it != to && *it != lasting.bound && other.role == Some(SeenRole::Active) && other.health == Health::Healthy
    };
    if let Some(third) = planned.instances.iter().copied().find(active).filter(|_| !two_writers) {
        missing.push(format!("`{}` says that it is active, too; say --accept two_writers", name(third)));
    }
    if let Some(open) = lasting.recovery.as_ref().filter(|it| is_past_return(state, it)) {
        missing.push(format!("{} has begun what can't be taken back", open.id));
    }
    if lasting.recovery.as_ref().and_then(Recovery::planned).is_some_and(|it| it.adopts.is_some()) {
        missing.push("another adoption is under way".to_owned());
    }
    if old_owner(state, component, to, "", two_writers).is_none() {
        let from = name(lasting.bound);
        missing.push(format!("nothing makes sure that `{from}` writes no more; say --accept two_writers if you do"));
    }
    if state.journal_lost.is_some() {
        missing.push("the journal can't be written".to_owned());
    }
    if state.site.halted.is_some() {
        missing.push("all action is stopped".to_owned());
    }
    if state.leadership.role == Role::Follower {
        missing.push("another agent leads".to_owned());
    }
    if !planned.routes.is_empty() && !state.traffic_was_heard() {
        missing.push("the traffic process was not heard".to_owned());
    }
    missing
}

/// Why the old owner is no second writer, if there is a reason; `by` is who accepts it if there is none.
fn old_owner(state: &State, component: ComponentIx, to: InstanceIx, by: &str, two_writers: bool) -> Option<OldOwner> {
    let from = state.components[component.index()].bound;
    let planned = state.plan.component(component);
    let adoption = planned.adoption(from, to)?;
    let old = &state.instances[from.index()];
    let stops = adoption.play.steps.iter().any(|it| matches!(it.kind, StepKind::Stop { .. }));
    let ends_lease = adoption.play.steps.iter().any(|it| matches!(it.kind, StepKind::EndLease { .. }));
    let shared = |it: &mainstay_plan::RouteIx| state.plan.route(*it).sharing == Sharing::Shared;
    Some(if old.role == Some(SeenRole::Standby) && old.health == Health::Healthy {
        OldOwner::SeenStandby {}
    } else if adoption.cut_fences {
        OldOwner::CutOff {}
    } else if ends_lease {
        OldOwner::LeaseEnds {}
    } else if two_writers {
        OldOwner::TwoWriters { by: by.to_owned() }
    } else if stops {
        OldOwner::Stopped {}
    } else if adoption.play.accepts_two_writers {
        OldOwner::TwoWriters { by: "the plan".to_owned() }
    } else if !planned.routes.is_empty() && planned.routes.iter().all(shared) {
        OldOwner::NotExclusive {}
    } else {
        return None;
    })
}

/// Whether an instance would be adopted.
pub(crate) fn check(
    state: &State,
    instance: InstanceIx,
    said: Option<AdoptAs>,
    anyway: bool,
    two_writers: bool,
) -> Result<(), Refusal> {
    let name = state.plan.instance(instance).name.clone();
    if let Some(repair) = repair::under_way(state, instance) {
        let component = state.plan.component(state.plan.instance(instance).component).name.clone();
        let missing = format!("{repair} repairs it at the moment; `mainstay pause {component}` keeps it from going on");
        return Err(Refusal::NotAdoptable { component, instance: name, missing });
    }
    match meant(state, instance, said) {
        AdoptAs::Active => {
            let missing = missing(state, instance, anyway, two_writers);
            if missing.is_empty() {
                return Ok(());
            }
            let component = state.plan.component(state.plan.instance(instance).component).name.clone();
            Err(Refusal::NotAdoptable { component, instance: name, missing: missing.join("; ") })
        }
        AdoptAs::Standby if state.instances[instance.index()].displaced => Ok(()),
        AdoptAs::Standby => Err(Refusal::NotDisplaced { instance: name, state: state.standby_state(instance).word() }),
    }
}

/// The decision to begin an adoption that an operator asked for; a recovery of our own that has done nothing yet ends first.
pub(crate) fn begin(state: &State, component: ComponentIx, now: Time) -> Option<Body> {
    let lasting = &state.components[component.index()];
    let asked = lasting.adopting.as_ref()?;
    let planned = state.plan.component(component);
    let heard = planned.routes.is_empty() || state.traffic_was_heard();
    let may = state.site.halted.is_none() && state.leadership.role != Role::Follower && heard;
    let old_owner = old_owner(state, component, asked.to, &asked.by, asked.two_writers).filter(|_| may)?;
    let name = |it: InstanceIx| state.plan.instance(it).name.clone();
    if let Some(open) = &lasting.recovery {
        let ends = || Body::RecoveryCompleted {
            recovery: open.id,
            how: Completion::BySomeoneElse { instance: name(asked.to) },
            phases_ns: phases(open, now),
        };
        return (!is_past_return(state, open)).then(ends);
    }
    Some(Body::AdoptionStarted {
        component: planned.name.clone(),
        from: name(lasting.bound),
        to: name(asked.to),
        by: asked.by.clone(),
        reason: asked.reason.clone(),
        old_owner,
    })
}

/// The next decision about an adoption whose steps ended, one way or the other.
pub(crate) fn next(state: &State, recovery: &Recovery, planned: &Planned) -> Body {
    let bound = state.components[recovery.component.index()].bound;
    let (why, id) = (recovery.tried.join("; "), recovery.id);
    let (is, name) = (&state.plan.instance(bound).name, &state.plan.instance(planned.to).name);
    match (bound == planned.to, planned.back) {
        (true, false) => Body::SwitchUndone { recovery: id, why, adopted: true },
        (true, true) => {
            let why =
                format!("{why}; `{name}` is the component all the same, because its route could not be given back");
            Body::RecoveryFailed { recovery: id, why }
        }
        (false, true) => {
            Body::RecoveryFailed { recovery: id, why: format!("{why}; the route is as it was, and leads to `{is}`") }
        }
        (false, false) => Body::RecoveryFailed {
            recovery: id,
            why: format!("{why}; `{name}` was not adopted, the route is as it was"),
        },
    }
}

/// An adoption that is aborted after the hand-over gives the route back first.
pub(crate) fn instead(state: &State, recovery: &Recovery, planned: &Planned, decided: Body) -> Body {
    let bound = state.components[recovery.component.index()].bound;
    if let (true, Body::RecoveryFailed { recovery, why }) = (bound == planned.to && !planned.back, &decided) {
        return Body::SwitchUndone { recovery: *recovery, why: why.clone(), adopted: true };
    }
    decided
}

/// The end of the last step.
pub(crate) fn completed(state: &State, recovery: &Recovery, planned: &Planned, play: &Play, now: Time) -> Body {
    if planned.back {
        return next(state, recovery, planned);
    }
    Body::RecoveryCompleted {
        recovery: recovery.id,
        how: Completion::Adopted { instance: state.plan.instance(play.to).name.clone() },
        phases_ns: phases(recovery, now),
    }
}
