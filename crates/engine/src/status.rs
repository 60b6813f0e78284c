//! Questions that people ask, answered from the state: what is healthy, what waits and for what, and could it be recovered
//! *now*?

use std::net::IpAddr;

use mainstay_plan::control::ControlPlane;
use mainstay_plan::observation::Health;
use mainstay_plan::policy::Mode;
use mainstay_plan::route::Sharing;
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use crate::adoption;
use crate::command::{Command, Drained, Refusal};
use crate::engine::Engine;
use crate::guard;
use crate::record::{Ended, RecoveryId};
use crate::recover::{self, Choice};
use crate::repair;
use crate::route::rules;
use crate::state::{Drain, FiredRule, Recovery, RecoveryStatus, State, StepAt};
use crate::switch;
use crate::waiting::WaitingOn;

/// Whether a component could be recovered at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recoverable {
    /// By this rung.
    By {
        /// The rung, from 0.
        rung: usize,
        /// Its strategy.
        strategy: Strategy,
        /// The instance that would be the component.
        to: String,
    },
    /// Not now.
    No {
        /// Why, as a sentence.
        why: String,
    },
}

/// For every component, what would happen if it alone failed at this moment: the same code decides as when it does. Only
/// the witnesses are taken to answer.
pub fn recoverable_now(engine: &Engine, now: Time) -> Vec<Recoverable> {
    let mut trial = engine.state().clone();
    let loss = |instance| engine.soft().loss(instance, now);
    let all = (0u32..).map(ComponentIx).take(trial.components.len());
    all.map(|component| trial.with_failed(component, now, loss, |trial| first_rung(trial, component, now))).collect()
}

fn first_rung(trial: &mut State, component: ComponentIx, now: Time) -> Recoverable {
    let plan = trial.plan.clone();
    let bound = trial.components[component.index()].bound;
    while let Some(recovery) = trial.components[component.index()].recovery.clone() {
        if let Some(waiting) = guard::first(trial, &recovery, now) {
            return Recoverable::No { why: waiting.to_string() };
        }
        match recover::choose(trial, &recovery, now) {
            Choice::Rung(Ok(rung)) => {
                let chosen = &plan.component(component).ladder[rung];
                let to = plan.instance(chosen.plays[&bound].to).name.clone();
                return Recoverable::By { rung, strategy: chosen.strategy, to };
            }
            Choice::Rung(Err(passed)) => trial.pass_over(component, passed.rung),
            Choice::Wait(waiting) => return Recoverable::No { why: waiting.to_string() },
            Choice::Exhausted => break,
        }
    }
    Recoverable::No { why: "no rung is left".to_owned() }
}

/// What a component's open recovery waits for, and since when.
pub fn waiting(state: &State, component: ComponentIx) -> Option<(RecoveryId, WaitingOn, Time)> {
    let recovery = state.components[component.index()].recovery.as_ref()?;
    recover::waiting(state, recovery).map(|(waiting, since)| (recovery.id, waiting, since))
}

/// Why nothing follows from a rule that is true, if nothing does.
pub fn idle(state: &State, fired: &FiredRule) -> Option<String> {
    let Some(accused) = fired.accused else {
        let what = state.topology.domain(fired.domain?).name();
        return Some(format!("what is down in {what} is recovered elsewhere; what still answers there is left alone"));
    };
    let planned = state.plan.instance(accused);
    let component = &state.components[planned.component.index()];
    let name = &planned.name;
    if component.bound != accused {
        return Some(format!("`{name}` is not active: it is only kept from taking over"));
    }
    if component.recovery.is_some() {
        return None;
    }
    match state.instances[accused.index()].health {
        Health::Unknown => Some(format!("`{name}` has to be seen first, and unknown is never down")),
        Health::Healthy | Health::Suspect | Health::Down => None,
    }
}

/// All recoveries that are at hand, the newest first.
pub fn recoveries(state: &State) -> Vec<&Recovery> {
    let mut all: Vec<&Recovery> = state.history.iter().chain(state.open_recoveries()).collect();
    all.sort_by_key(|it| std::cmp::Reverse(it.id));
    all
}

/// Whether a command would be taken.
pub(crate) fn check_command(state: &State, command: &Command, by: &str) -> Result<(), Refusal> {
    match command {
        Command::Recover { component, .. } => {
            let ix = component_named(state, component)?;
            let open = state.components[ix.index()].recovery.is_some();
            let health = state.instances[state.components[ix.index()].bound.index()].health;
            if open || health == Health::Down {
                Ok(())
            } else {
                Err(Refusal::NotDown { component: component.clone(), health: health.word() })
            }
        }
        Command::Approve { recovery, overrides, outcome, .. } => {
            let open = state.open_recovery(*recovery).ok_or(Refusal::NotOpen { recovery: *recovery })?;
            let unknown = matches!(open.held, Some((WaitingOn::OutcomeUnknown { .. }, _)));
            if let Some((_, role)) = state.asked_by_hand(open) {
                return may(state, by, role.as_deref());
            }
            if outcome.is_some() && !unknown {
                return Err(Refusal::NotWaiting { recovery: *recovery, waiting: waits_for(state, open) });
            }
            let Some(asked) = guard::Asked::of(state, open) else { return Ok(()) };
            if open.status != RecoveryStatus::FailureDetected {
                return Ok(());
            }
            may(state, by, asked.role)?;
            if asked.need > 1 && open.approved_by.contains(by) && overrides.is_empty() {
                let (need, given) = (asked.need, open.approved_by.len());
                return Err(Refusal::ApprovedAlready { by: by.to_owned(), recovery: *recovery, need, given });
            }
            Ok(())
        }
        Command::Abort { recovery, .. } => {
            state.open_recovery(*recovery).map(|_| ()).ok_or(Refusal::NotOpen { recovery: *recovery })
        }
        Command::Pause { component, .. } => match component {
            None => Ok(()),
            Some(name) => component_named(state, name).map(|_| ()),
        },
        Command::Resume { component } => {
            let paused = match component {
                None => state.paused.is_some(),
                Some(name) => state.components[component_named(state, name)?.index()].paused.is_some(),
            };
            if paused { Ok(()) } else { Err(Refusal::NotPaused) }
        }
        Command::Switch { component, to, graceful, .. } => {
            let ix = component_named(state, component)?;
            let to = one_of(state, ix, to)?;
            switch::check(state, ix, to, *graceful)
        }
        Command::Failback { component, .. } => {
            let ix = component_named(state, component)?;
            switch::check(state, ix, state.plan.component(ix).original(), true)
        }
        Command::Breaker { service, region, .. } => {
            let all = &state.plan.controls;
            let fits = |it: &ControlPlane| it.service == *service && region.as_ref().is_none_or(|r| *r == it.region);
            let name = region.as_ref().map_or_else(|| service.clone(), |region| format!("{service} in {region}"));
            let known = || match all.is_empty() {
                true => "none".to_owned(),
                false => all.iter().map(|it| format!("{} in {}", it.service, it.region)).collect::<Vec<_>>().join(", "),
            };
            let what = "control plane";
            all.iter().any(fits).then_some(()).ok_or_else(|| Refusal::Unknown { what, name, known: known() })
        }
        Command::Acknowledge { what, .. } => {
            let looked = state.meant_component(what).map(|it| &state.components[it.index()]);
            let counted =
                looked.is_some_and(|it| it.last_ended.is_some() || it.unacknowledged.is_some() || !it.begun.is_empty());
            let stands = counted || !state.notices.meant(what).is_empty();
            if stands { Ok(()) } else { Err(Refusal::NothingStands { what: what.clone() }) }
        }
        Command::Drain { what, .. } => check_drain(state, what),
        Command::Undrain { what } => {
            let known = state.routing.drains.iter().any(|it| it.what == *what);
            if known { Ok(()) } else { Err(Refusal::NotDrained { what: what.to_string() }) }
        }
        Command::Evacuate { place, .. } => match state.place_named(place) {
            Some(_) => Ok(()),
            None => {
                let known = state.places().join(", ");
                Err(Refusal::Unknown { what: "zone or region", name: place.clone(), known })
            }
        },
        Command::EndEvacuation { place, .. } => {
            let known = state.evacuation_of(place).is_some();
            if known { Ok(()) } else { Err(Refusal::NotEvacuated { place: place.clone() }) }
        }
        Command::RouteOverride { route, rule, .. } => {
            let ix = state.route(route).ok_or_else(|| Refusal::Unknown {
                what: "route",
                name: route.clone(),
                known: state.plan.routes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", "),
            })?;
            let by_table = state.routing.held.get(&ix).is_some_and(|it| it.kept.objection.rule() == *rule);
            let by_recovery = state.open_recoveries().any(|it| {
                matches!(&it.held, Some((WaitingOn::Route { route: of, objection }, _)) if of == route && objection.rule() == *rule)
            });
            let nothing = Refusal::NothingHeld { route: route.clone(), rule: rule.word() };
            if by_table || by_recovery { Ok(()) } else { Err(nothing) }
        }
        Command::Halt { .. } => match &state.site.halted {
            None => Ok(()),
            Some(it) => Err(Refusal::Halted { by: it.by.clone(), reason: it.reason.clone() }),
        },
        Command::Continue { .. } if state.site.halted.is_none() => Err(Refusal::NotHalted),
        Command::Continue { .. } => Ok(()),
        Command::PauseRecovery { recovery, .. } => {
            state.open_recovery(*recovery).map(|_| ()).ok_or(Refusal::NotOpen { recovery: *recovery })
        }
        Command::ResumeRecovery { recovery } => {
            let open = state.open_recovery(*recovery).ok_or(Refusal::NotOpen { recovery: *recovery })?;
            open.paused.is_some().then_some(()).ok_or_else(|| nothing_to(state, open, "resume"))
        }
        Command::Skip { recovery, .. } => {
            let open = state.open_recovery(*recovery).ok_or(Refusal::NotOpen { recovery: *recovery })?;
            if let Some((_, role)) = state.asked_by_hand(open) {
                return may(state, by, role.as_deref());
            }
            let under_way = open.progress.as_ref().is_some_and(|it| it.rollback.is_none());
            let next = matches!(open.held, Some((WaitingOn::Observation { until: Some(_), .. }, _)));
            let begun = open.status != RecoveryStatus::FailureDetected;
            let fits = begun && (open.stuck_undo().is_some() || under_way || next);
            fits.then_some(()).ok_or_else(|| nothing_to(state, open, "skip"))
        }
        Command::Retry { recovery, .. } => check_retry(state, *recovery),
        Command::ApproveInAdvance { component, .. } => {
            let ix = component_named(state, component)?;
            let approval = &state.plan.component(ix).guards.approval;
            if approval.is_none() && state.plan.mode != Mode::Recommend {
                return Err(Refusal::NoApprovalAsked { component: component.clone() });
            }
            may(state, by, approval.as_ref().and_then(|it| it.role.as_deref()))
        }
        Command::Revoke { component } => {
            let ix = component_named(state, component)?;
            let none = state.components[ix.index()].advance.is_empty();
            if none { Err(Refusal::NothingToRevoke { component: component.clone() }) } else { Ok(()) }
        }
        Command::Repair { instance, two_writers, .. } => {
            let ix = instance_named(state, instance)?;
            repair::check(state, ix, *two_writers)
        }
        Command::Adopt { instance, role, anyway, two_writers, address, .. } => {
            let ix = instance_named(state, instance)?;
            if let Some(address) = address {
                may_be_said_to_be_at(state, ix, *address)?;
            }
            // Who only says where something is says nothing about what it is.
            if role.is_some() || address.is_none() {
                adoption::check(state, ix, *role, *anyway, *two_writers)?;
            }
            Ok(())
        }
    }
}

/// Whether a person may say where an instance is now: while a recovery of its component does something, it may be about to
/// move it itself.
fn may_be_said_to_be_at(state: &State, ix: InstanceIx, address: IpAddr) -> Result<(), Refusal> {
    let planned = state.plan.instance(ix);
    let instance = planned.name.clone();
    if let Some(open) = &state.components[planned.component.index()].recovery {
        let waiting = recover::waiting(state, open).map(|it| it.0);
        if !waiting.is_some_and(|it| it.is_for_people()) {
            return Err(Refusal::InUse { instance, recovery: open.id, waiting: waits_for(state, open) });
        }
    }
    let planned_there = || state.plan.hosts_of(ix) == [address.to_string()];
    let there = state.address(ix).map_or_else(planned_there, |it| it == address);
    if there && !state.instances[ix.index()].displaced {
        return Err(Refusal::IsThere { instance, address });
    }
    Ok(())
}

/// Whether the routes' rules let something go. Their waits end by themselves, so those refuse nothing.
fn check_drain(state: &State, what: &Drained) -> Result<(), Refusal> {
    let shared = state.plan.routes.iter().filter(|it| it.sharing == Sharing::Shared);
    if !shared.flat_map(|it| &it.targets).any(|it| what.covers(&state.plan, it.instance)) {
        return Err(Refusal::NotDrainable { what: what.to_string() });
    }
    let mut trial = state.clone();
    trial.routing.changed.fill(None);
    let (until, since) = (Time::from_nanos(u64::MAX), Time::ZERO);
    let drain = Drain { what: what.clone(), until, by: String::new(), reason: String::new(), since };
    trial.routing.drains.push(drain);
    let ruled = rules::ruled(&trial, Time::ZERO);
    let covered = |name: &String| state.instance(name).is_some_and(|it| what.covers(&state.plan, it));
    for (route, kept) in state.plan.routes.iter().zip(ruled.kept) {
        if let Some(kept) = kept.filter(|it| it.targets.iter().any(covered)) {
            let (route, objection) = (route.name.clone(), kept.objection.to_string());
            return Err(Refusal::RouteRule { route, what: what.to_string(), objection });
        }
    }
    Ok(())
}

/// The instance of that name that the component can be.
fn one_of(state: &State, component: ComponentIx, name: &str) -> Result<InstanceIx, Refusal> {
    let all = &state.plan.component(component).instances;
    state.instance(name).filter(|it| all.contains(it)).ok_or_else(|| Refusal::Unknown {
        what: "instance",
        name: name.to_owned(),
        known: all.iter().map(|it| state.plan.instance(*it).name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// Whether that person may answer what asks for `role`.
fn may(state: &State, by: &str, role: Option<&str>) -> Result<(), Refusal> {
    let Some(role) = role.filter(|it| !state.plan.may(by, Some(it))) else { return Ok(()) };
    let has = |it: &&mainstay_plan::policy::Person| it.roles.iter().any(|it| it == role);
    let names: Vec<&str> = state.plan.people.iter().filter(has).map(|it| it.name.as_str()).collect();
    let who = match names.as_slice() {
        [] => "nobody has".to_owned(),
        [one] => format!("{one} has"),
        all => format!("{} have", all.join(", ")),
    };
    Err(Refusal::NotAllowed { by: by.to_owned(), role: role.to_owned(), who })
}

fn waits_for(state: &State, recovery: &Recovery) -> String {
    recover::waiting(state, recovery).map_or_else(|| "nothing".to_owned(), |it| it.0.to_string())
}

fn nothing_to(state: &State, recovery: &Recovery, verb: &'static str) -> Refusal {
    let waiting = recover::waiting(state, recovery)
        .map_or_else(|| "it goes on by itself".to_owned(), |(it, _)| format!("{it} ({})", it.way_out(recovery.id)));
    Refusal::NothingTo { recovery: recovery.id, verb, waiting }
}

/// A step that waits for its next try, or whose outcome nobody knows; an undo that did not work; or a recovery that failed
/// while what it was for still fails.
fn check_retry(state: &State, id: RecoveryId) -> Result<(), Refusal> {
    if let Some(open) = state.open_recovery(id) {
        let waits = state.open_steps(open).any(|(.., stand)| match stand.at {
            StepAt::Waiting { .. } | StepAt::Ended(Ended::Unknown(_)) => true,
            StepAt::Ready
            | StepAt::Running { .. }
            | StepAt::PassedOver
            | StepAt::Ended(
                Ended::Done
                | Ended::DoneAt(_)
                | Ended::LeaseOver(_)
                | Ended::DoneLosing(_)
                | Ended::Kept(_)
                | Ended::Failed(_),
            ) => false,
        });
        let fits = open.stuck_undo().is_some() || waits;
        return fits.then_some(()).ok_or_else(|| nothing_to(state, open, "retry"));
    }
    let failed = state.history.iter().find(|it| it.id == id && it.status == RecoveryStatus::RecoveryFailed);
    let Some(failed) = failed else { return Err(Refusal::NotOpen { recovery: id }) };
    let open = state.components.get(failed.component.index()).and_then(|it| it.recovery.as_ref());
    match open {
        Some(open)
            if open.status == RecoveryStatus::FailureDetected && open.component_name == failed.component_name =>
        {
            Ok(())
        }
        Some(open) => Err(nothing_to(state, open, "retry")),
        None => Err(Refusal::NotDown { component: failed.component_name.clone(), health: "not being recovered" }),
    }
}

fn instance_named(state: &State, name: &str) -> Result<InstanceIx, Refusal> {
    state.instance(name).ok_or_else(|| Refusal::Unknown {
        what: "instance",
        name: name.to_owned(),
        known: state.plan.instances.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

fn component_named(state: &State, name: &str) -> Result<ComponentIx, Refusal> {
    state.component(name).ok_or_else(|| Refusal::Unknown {
        what: "component",
        name: name.to_owned(),
        known: state.plan.components.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}
