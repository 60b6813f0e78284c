//! What people say to the agent: at a whim while things go wrong, and what they are asked for once everything works again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mainstay_engine::breaker::Hold;
use mainstay_engine::command::{AdoptAs, Command, Drained, Override};
use mainstay_engine::machine::StepState;
use mainstay_engine::route::rules::RouteRule;
use mainstay_engine::state::{Recovery, RecoveryStatus, State};
use mainstay_engine::{Engine, RecoveryId, WaitingOn, status};
use mainstay_plan::location::Location;
use mainstay_plan::observation::SeenRole;
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Time};

use crate::dice::Dice;

/// Who speaks.
const NAMES: [&str; 3] = ["ada", "bert", "operator"];

/// Something that somebody could say now, and who. Some of it makes no sense, and is refused.
pub(super) fn at_a_whim(engine: &Engine, now: Time, dice: &mut Dice) -> Option<(Command, &'static str)> {
    let state = engine.state();
    let plan = &state.plan;
    let by = dice.pick(&NAMES)?;
    // Somebody who has approved says it once more.
    let again = state.open_recoveries().find_map(|it| Some((it.id, it.approved_by.first()?.clone())));
    if let Some((recovery, who)) = again
        && dice.once_in(6)
    {
        let by = NAMES.into_iter().find(|it| **it == who)?;
        return Some((
            Command::Approve { recovery, overrides: Vec::new(), outcome: None, reason: "once more".to_owned() },
            by,
        ));
    }
    if !dice.once_in(3)
        && let Some(command) = dice.pick(&makes_sense(state, now))
    {
        return Some((command, by));
    }
    let reason = "a whim".to_owned();
    let component = match dice.below(20) {
        0 => "nobody".to_owned(),
        _ => dice.pick(&plan.components)?.name,
    };
    let instance = dice.pick(&plan.instances)?.name;
    let open: Vec<RecoveryId> = state.open_recoveries().map(|it| it.id).collect();
    let all: Vec<RecoveryId> = status::recoveries(state).iter().map(|it| it.id).collect();
    let recovery = if dice.once_in(8) { dice.pick(&all) } else { dice.pick(&open) };
    let recovery = recovery.unwrap_or(RecoveryId(dice.below(40)));
    let until = now + dice.millis(20_000);
    let of = dice.pick(&[None, Some(component.clone())])?;
    let drained = match dice.once_in(2) {
        true => Drained::Instance(instance.clone()),
        false => Drained::Zone(plan.instances.first()?.location.zone.clone().unwrap_or_default()),
    };
    let command = match dice.below(28) {
        0 => Command::Recover { component, reason },
        1..=3 => {
            let overrides = dice.pick(&Override::ALL).into_iter().filter(|_| dice.once_in(2)).collect();
            let outcome = dice.pick(&[None, None, Some(true), Some(false)])?;
            Command::Approve { recovery, overrides, outcome, reason }
        }
        4 => Command::Abort { recovery, reason },
        5 => Command::Pause { component: of, until, reason, owner: None },
        6 => Command::Resume { component: of },
        7 | 8 => Command::Switch { component, to: instance, graceful: !dice.once_in(3), reason },
        9 => Command::Failback { component, reason },
        10 => {
            let control = dice.pick(&plan.controls);
            let service = control.map_or_else(|| "ec2".to_owned(), |it| it.service);
            Command::Breaker { service, region: None, hold: dice.pick(&Hold::ALL)?, reason }
        }
        11 => Command::PauseRecovery { recovery, reason },
        12 => Command::ResumeRecovery { recovery },
        13 => Command::Skip { recovery, reason },
        14 => Command::Retry { recovery, reason },
        15 | 16 => Command::ApproveInAdvance { component, until, reason },
        17 => Command::Drain { what: drained, until, reason },
        18 => Command::Undrain { what: drained },
        19 => {
            let route = dice.pick(&plan.routes).map_or_else(|| "nowhere".to_owned(), |it| it.name);
            Command::RouteOverride { route, rule: dice.pick(&RouteRule::ALL)?, reason }
        }
        20 => Command::Halt { reason },
        21 | 22 => Command::Continue { reason },
        23 => Command::Revoke { component },
        26 => Command::Evacuate {
            place: place(dice, plan)?,
            until: dice.once_in(2).then_some(until),
            graceful: dice.pick(&[None, Some(true), Some(false)])?,
            reason,
        },
        27 => Command::EndEvacuation { place: place(dice, plan)?, reason },
        24 => {
            let role = dice.pick(&[None, None, Some(AdoptAs::Active), Some(AdoptAs::Standby)])?;
            // Where it is believed to be is no news.
            let there = state.instance(&instance).and_then(|it| believed_at(state, it)).filter(|_| dice.once_in(3));
            Command::Adopt { instance, role, anyway: false, two_writers: false, address: there, reason }
        }
        _ => Command::Acknowledge { what: component, reason },
    };
    Some((command, by))
}

/// What somebody who has looked could say now: about what is open, held, stopped, moved, or told.
fn makes_sense(state: &State, now: Time) -> Vec<Command> {
    let reason = || "it was looked at".to_owned();
    let mut all = Vec::new();
    for open in state.open_recoveries() {
        all.extend(about_open(state, open));
    }
    for failed in state.history.iter().rev().filter(|it| it.status == RecoveryStatus::RecoveryFailed).take(1) {
        all.push(Command::Retry { recovery: failed.id, reason: reason() });
        all.push(Command::Recover { component: failed.component_name.clone(), reason: reason() });
    }
    for (route, hold) in &state.routing.held {
        let (route, rule) = (state.plan.route(*route).name.clone(), hold.kept.objection.rule());
        all.push(Command::RouteOverride { route, rule, reason: reason() });
    }
    all.extend(state.routing.drains.iter().map(|it| Command::Undrain { what: it.what.clone() }));
    for it in state.evacuating.values() {
        let place = || it.place.clone();
        all.push(Command::Evacuate { place: place(), until: None, graceful: Some(!it.graceful), reason: reason() });
        all.push(Command::EndEvacuation { place: place(), reason: reason() });
    }
    for control in &state.plan.controls {
        let of = |hold| {
            let (service, region) = (control.service.clone(), Some(control.region.clone()));
            Command::Breaker { service, region, hold, reason: reason() }
        };
        all.extend(Hold::ALL.map(of));
        all.extend(Hold::ALL.map(of));
    }
    if state.site.halted.is_some() {
        all.push(Command::Continue { reason: reason() });
        all.push(Command::Halt { reason: reason() });
    }
    for (component, planned) in state.components.iter().zip(&state.plan.components) {
        let name = || planned.name.clone();
        if component.bound != planned.original() {
            all.push(Command::Failback { component: name(), reason: reason() });
        }
        if component.paused.is_some() {
            all.push(Command::Resume { component: Some(name()) });
        }
        if planned.guards.approval.is_some() {
            let until = now + Duration::from_secs(20);
            all.push(Command::ApproveInAdvance { component: name(), until, reason: reason() });
            all.push(Command::Revoke { component: name() });
        }
    }
    for (instance, planned) in state.instances.iter().zip(&state.plan.instances) {
        let bound = state.components[planned.component.index()].bound;
        let adopt = |role| {
            let (instance, anyway, two_writers, address) = (planned.name.clone(), false, false, None);
            Command::Adopt { instance, role, anyway, two_writers, address, reason: reason() }
        };
        if instance.displaced {
            all.push(adopt(None));
        }
        if instance.role == Some(SeenRole::Active) && state.plan.instance(bound).name != planned.name {
            all.extend([Some(AdoptAs::Active), Some(AdoptAs::Standby)].map(adopt));
        }
    }
    all.extend(state.notices.standing().map(|it| Command::Acknowledge { what: it.id.to_string(), reason: reason() }));
    all
}

/// What could be said about an open recovery.
fn about_open(state: &State, open: &Recovery) -> Vec<Command> {
    let reason = || "it was looked at".to_owned();
    let recovery = open.id;
    let approve = |overrides, outcome| Command::Approve { recovery, overrides, outcome, reason: reason() };
    let mut all = vec![
        approve(Vec::new(), None),
        approve(Override::ALL.to_vec(), None),
        Command::Abort { recovery, reason: reason() },
        Command::PauseRecovery { recovery, reason: reason() },
        Command::Skip { recovery, reason: reason() },
        Command::Retry { recovery, reason: reason() },
    ];
    if open.paused.is_some() {
        all.push(Command::ResumeRecovery { recovery });
    }
    if let Some((WaitingOn::OutcomeUnknown { .. }, _)) = &open.held {
        all.extend([true, false, true, false].map(|done| approve(Vec::new(), Some(done))));
    }
    if let Some((WaitingOn::Approval { .. }, _)) = &open.held {
        all.extend((0..6).map(|_| approve(Vec::new(), None)));
    }
    let steps = || open.progress.iter().flat_map(|it| &it.steps).map(|it| it.at.state());
    let waits = steps().any(|it| matches!(it, StepState::Waiting | StepState::Unknown));
    if open.stuck_undo().is_some() || waits {
        for _ in 0..4 {
            all.extend([Command::Skip { recovery, reason: reason() }, Command::Retry { recovery, reason: reason() }]);
        }
    }
    if let Some(planned) = open.planned() {
        let (component, to) = (open.component_name.clone(), state.plan.instance(planned.to).name.clone());
        all.push(Command::Switch { component, to, graceful: false, reason: reason() });
    }
    all
}

/// Where an instance is, as the agent knows it.
fn believed_at(state: &State, instance: InstanceIx) -> Option<IpAddr> {
    let planned = || match state.plan.hosts_of(instance).as_slice() {
        [only] => only.parse().ok(),
        _ => None,
    };
    state.address(instance).or_else(planned)
}

/// A zone, or a region.
fn place(dice: &mut Dice, plan: &Plan) -> Option<String> {
    let location = dice.pick(&plan.instances)?.location;
    Some(if dice.once_in(3) { location.region } else { location.zone.unwrap_or(location.region) })
}

/// What somebody says who does what they are asked for. What was really done is known to them.
pub(crate) fn as_asked(engine: &Engine, was_done: impl Fn(&str) -> bool) -> Vec<(Command, &'static str)> {
    let state = engine.state();
    let reason = || "it was looked at".to_owned();
    let mut say = Vec::new();
    if state.site.halted.is_some() {
        say.push((Command::Continue { reason: reason() }, "ada"));
    }
    say.push((Command::Resume { component: None }, "ada"));
    let places = state.plan.instances.iter().map(|it| &it.location);
    let zone = |it: &Location| it.zone.as_ref().map(|zone| format!("{}/{zone}", it.region));
    let places: BTreeSet<String> = places.flat_map(|it| [Some(it.region.clone()), zone(it)]).flatten().collect();
    for place in places {
        say.push((Command::EndEvacuation { place, reason: reason() }, "ada"));
    }
    for control in &state.plan.controls {
        let service = control.service.clone();
        say.push((Command::Breaker { service, region: None, hold: Hold::Auto, reason: reason() }, "ada"));
    }
    for ix in (0u32..).map(ComponentIx).take(state.components.len()) {
        let component = &state.plan.component(ix).name;
        say.push((Command::Resume { component: Some(component.clone()) }, "ada"));
        say.push((Command::Acknowledge { what: component.clone(), reason: reason() }, "ada"));
        let Some((recovery, waiting, _)) = status::waiting(state, ix) else { continue };
        match waiting.code() {
            "approval" => {
                for by in ["ada", "bert"] {
                    let approve = Command::Approve { recovery, overrides: Vec::new(), outcome: None, reason: reason() };
                    say.push((approve, by));
                }
            }
            "outcome_unknown" => {
                let open = state.open_recovery(recovery);
                let step = open.and_then(|it| it.steps.last()).map(|it| it.step);
                let key = step.map(|it| format!("/{recovery}/{}/{}/", it.rung + 1, it.step + 1)).unwrap_or_default();
                let outcome = Some(was_done(&key));
                say.push((Command::Approve { recovery, overrides: Vec::new(), outcome, reason: reason() }, "ada"));
            }
            "recovery_paused" => say.push((Command::ResumeRecovery { recovery }, "ada")),
            "undo_failed" | "manual" => say.push((Command::Skip { recovery, reason: reason() }, "ada")),
            // The rest ends by itself, or is not for people to end.
            _ => {}
        }
    }
    for (instance, planned) in state.instances.iter().zip(&state.plan.instances) {
        if instance.displaced {
            let instance = planned.name.clone();
            let (role, anyway, two_writers, address) = (None, false, false, None);
            say.push((Command::Adopt { instance, role, anyway, two_writers, address, reason: reason() }, "ada"));
        }
    }
    say
}

/// How long somebody takes to see what is asked.
pub(crate) const TAKES: Duration = Duration::from_secs(10);
