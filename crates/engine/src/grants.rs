//! Who may hold the lease of each component that is fenced by one: the instance that it is bound to; nobody from the beginning of
//! the step that ends it; the new owner from the end of that step on, until the rung has failed or the binding says so anyway.
//!
//! Who holds is decided elsewhere, by whoever keeps the book of leases: nobody gets one here before what the one before him was
//! granted is over.

use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ComponentIx, InstanceIx};

use crate::effect::Grant;
use crate::lease::May;
use crate::planted::{Fault, planted};
use crate::record::Body;
use crate::state::State;

/// All that may be held now, in the order of the components.
pub(crate) fn wanted(state: &State) -> Vec<Grant> {
    if state.leadership.may(&state.plan) != May::Everything {
        return Vec::new();
    }
    let of = |ix: &ComponentIx| {
        let instance = state.plan.instance(holder(state, *ix)?).name.clone();
        Some(Grant { component: state.plan.component(*ix).name.clone(), instance })
    };
    state.leased.iter().filter_map(of).collect()
}

/// Who may hold the lease of a component.
pub(crate) fn holder(state: &State, component: ComponentIx) -> Option<InstanceIx> {
    let lasting = &state.components[component.index()];
    let moving = lasting.recovery.as_ref().and_then(|it| Some((it.progress.as_ref()?, state.play(it)?)));
    let Some((progress, play)) = moving else { return Some(lasting.bound) };
    let mut steps = play.steps.iter().zip(&progress.steps);
    match steps.find(|(step, _)| matches!(step.kind, StepKind::EndLease { .. })) {
        Some((_, stand)) if stand.is_done() => Some(play.to),
        Some((_, stand)) if stand.attempt > 0 && planted(Fault::GrantedWhileItEnds) => Some(play.to),
        Some((_, stand)) if stand.attempt > 0 => None,
        Some(_) | None => Some(lasting.bound),
    }
}

/// Whether a record may change who may hold a lease.
pub(crate) fn may_change(body: &Body) -> bool {
    matches!(
        body,
        Body::AgentStarted { .. }
            | Body::PlanAdopted { .. }
            | Body::LeaseChanged { .. }
            | Body::TrafficAhead { .. }
            | Body::Commanded { .. }
            | Body::StepStarted { .. }
            | Body::StepEnded { .. }
            | Body::StepTimedOut { .. }
            | Body::RungStarted { .. }
            | Body::RungFailed { .. }
            | Body::Bound { .. }
            | Body::SwitchStarted { .. }
            | Body::SwitchUndone { .. }
            | Body::AdoptionStarted { .. }
            | Body::RecoveryCompleted { .. }
            | Body::RecoveryFailed { .. }
    )
}
