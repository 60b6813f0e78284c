//! What people say to the agent: at a whim while things go wrong, and what they are asked for once everything works again.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstay_engine::breaker::Hold;
use mainstay_engine::command::{Command, Drained, Override};
use mainstay_engine::route::rules::RouteRule;
use mainstay_engine::{Engine, RecoveryId, status};
use mainstay_plan::location::Location;
use mainstay_plan::{ComponentIx, Plan, Time};

use crate::dice::Dice;

/// Who speaks.
const NAMES: [&str; 3] = ["ada", "bert", "operator"];

/// Something that somebody could say now, and who. Some of it makes no sense, and is refused.
pub(super) fn at_a_whim(engine: &Engine, now: Time, dice: &mut Dice) -> Option<(Command, &'static str)> {
    let state = engine.state();
    let plan = &state.plan;
    let by = dice.pick(&NAMES)?;
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
        24 => Command::Adopt { instance, role: None, anyway: false, two_writers: false, address: None, reason },
        _ => Command::Acknowledge { what: component, reason },
    };
    Some((command, by))
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
