//! That a fence holds is written down, with what says so: nothing here is taken for granted.
//!
//! A cut holds once every traffic process has acknowledged a table without the old owner; a stop, once the host has seen the
//! service stopped; a lease, once nothing of it can last. The step that fenced has ended well then, and this record stands before the next step.

use mainstay_plan::action::LeaseEnd;
use mainstay_plan::strategy::{Step, StepKind};
use mainstay_plan::{InstanceIx, Time};

use crate::record::{Body, Ended, Fence, StepRef};
use crate::state::{Fenced, Recovery, State, StepLog};

/// What is written down where a stop could not be confirmed and the cut before it is fence enough.
pub(crate) fn cut_instead(recovery: &Recovery, at: StepRef, step: &Step, why: &str) -> Option<Body> {
    let StepKind::Stop { or_cut: true, .. } = step.kind else { return None };
    let cut = |it: &&Fenced| it.step.rung == at.rung && matches!(it.fence, Fence::TrafficCut { .. });
    let cut = recovery.fenced.iter().rfind(cut)?;
    let why = format!("{why}; {} is cut off all the same, confirmed by {}", cut.instance, cut.by);
    Some(Body::FencePassedOver { step: at, name: step.name.clone(), why })
}

/// The time of day in UTC, to the millisecond.
fn on_the_clock(at: Time) -> String {
    let millis = at.as_nanos() / 1_000_000;
    let (seconds, minutes, hours) = (millis / 1_000 % 60, millis / 60_000 % 60, millis / 3_600_000 % 24);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03} UTC", millis % 1_000)
}

/// What says that a lease is over: `lease of orders-db on db-a, ran out at 10:02:03.250 UTC`.
fn lease_by(state: &State, from: InstanceIx, log: &StepLog) -> String {
    let instance = state.plan.instance(from);
    let component = &state.plan.component(instance.component).name;
    let host = instance.location.host.as_deref().unwrap_or("its host");
    let how = match log.lease_end {
        Some(LeaseEnd::Released) => "released",
        Some(LeaseEnd::NotHeld) => "held by nobody",
        Some(LeaseEnd::RanOut) | None => "ran out",
    };
    let at = log.ended.as_ref().map(|it| format!(" at {}", on_the_clock(it.0))).unwrap_or_default();
    format!("lease of {component} on {host}, {how}{at}")
}

/// The record of a fence that holds and is not written down yet.
pub(crate) fn confirmed(state: &State, recovery: &Recovery) -> Option<Body> {
    let play = state.play(recovery)?;
    let known = |step| recovery.fenced.iter().any(|it| it.step == step);
    let done = recovery.steps.iter().filter(|it| it.step.rung == recovery.rung && !known(it.step));
    done.filter(|it| matches!(it.ended, Some((_, Ended::Done)))).find_map(|log| {
        let (instance, fence, by) = match &play.steps.get(log.step.step)?.kind {
            StepKind::CutTraffic { from, .. } => {
                let epoch = state.routing.epoch;
                let is_silent = |it: &&str| state.routing.silent.contains_key(*it);
                let named = |it: &str| format!("`{it}`");
                let who: Vec<String> = state.processes().filter(|it| !is_silent(it)).map(named).collect();
                let silent: Vec<String> = state.processes().filter(is_silent).map(named).collect();
                let at = format!("traffic process {} at epoch {epoch}", who.join(", "));
                let by =
                    match (silent.as_slice(), play.steps.iter().any(|it| matches!(it.kind, StepKind::EndLease { .. })))
                    {
                        ([], _) => at,
                        (silent, false) => format!("{at}; {}, silent, by itself", silent.join(", ")),
                        (silent, true) => format!("{at}; not by {}, silent: the lease ends", silent.join(", ")),
                    };
                (*from, Fence::TrafficCut { epoch }, by)
            }
            StepKind::Stop { from, service, .. } => {
                (*from, Fence::Stop {}, format!("{}, seen stopped on its host", service.label()))
            }
            StepKind::EndLease { from } => (*from, Fence::Lease {}, lease_by(state, *from, log)),
            StepKind::CatchUp { .. }
            | StepKind::Act { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Manual { .. }
            | StepKind::Verify { .. } => {
                return None;
            }
        };
        let instance = state.plan.instance(instance).name.clone();
        Some(Body::FenceConfirmed { recovery: recovery.id, step: log.step, instance, fence, by })
    })
}
