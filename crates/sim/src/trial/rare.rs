//! Trials that begin with what chance alone brings about too seldom: a rung that fails after it has done something, so that
//! it is undone; and a control plane that is tried again while it is still gone.

use std::time::Duration;

use mainstay_engine::breaker::Position;
use mainstay_engine::machine::{StepState, UndoState};
use mainstay_plan::Plan;
use mainstay_plan::action::{Action, Outcome, Plane};
use mainstay_plan::component::Component;
use mainstay_plan::strategy::Step;

use super::moments::Moment;
use super::{FaultKind, Item, Trial, What, faults};
use crate::broken::Broken;
use crate::dice::Dice;
use crate::world::{Fault, Server, Trouble};

/// What follows comes within so many milliseconds.
const SOON: u64 = 40;

/// What may be said or go wrong while a rung is at its work, or is undone: one of these, in its order.
const TURNS: [&[(Moment, FaultKind)]; 10] = {
    use FaultKind as K;
    use Moment::{Step, Undo};
    [
        &[(Undo(UndoState::Running), K::Killed)],
        &[(Undo(UndoState::Running), K::Outcome), (Undo(UndoState::Unknown), K::People)],
        &[(Undo(UndoState::Running), K::Hangs), (Undo(UndoState::Unknown), K::People)],
        &[(Undo(UndoState::Failed), K::People), (Undo(UndoState::Failed), K::People)],
        &[(Undo(UndoState::Doubtful), K::People), (Undo(UndoState::Doubtful), K::Outcome)],
        &[(Step(StepState::Running), K::Outcome), (Step(StepState::Waiting), K::Outcome)],
        &[(Step(StepState::Waiting), K::People), (Step(StepState::Waiting), K::People)],
        &[(Step(StepState::Unknown), K::People), (Step(StepState::Running), K::Killed)],
        &[
            (Step(StepState::Waiting), K::Hangs),
            (Step(StepState::Running), K::People),
            (Step(StepState::Waiting), K::People),
        ],
        &[
            (Step(StepState::Done), K::Hangs),
            (Step(StepState::Failed), K::People),
            (Step(StepState::Failed), K::People),
        ],
    ]
};

impl Trial {
    /// A tenth of the trials on a plan that can have it begin with something rare.
    pub(super) fn begins_rarely(&mut self, dice: &mut Dice) {
        if !dice.once_in(10) {
            return;
        }
        let plan = &self.stage.plan;
        let begins = if plan.controls.is_empty() { undone(dice, plan) } else { tried_again(dice, plan) };
        self.kinds.extend(begins.iter().map(|it| it.kind));
        self.script.splice(0..0, begins);
    }

    /// In some of the trials on a plan that restarts something it dies again and again, for as long as it takes until it is restarted no
    /// more, and a bit.
    pub(super) fn crash_loops(&mut self, dice: &mut Dice) {
        let restarts = |it: &&Component| it.ladder.iter().any(|it| it.restarts.is_some());
        let all: Vec<&Component> = self.stage.plan.components.iter().filter(restarts).collect();
        let Some(component) = dice.pick(&all).filter(|_| dice.once_in(12)) else { return };
        let limit = component.ladder.iter().find_map(|it| it.restarts).map_or(0, |it| it.at_most);
        let lives = dice.millis(8000);
        let each = component.guards.cool_down + LOOP + lives;
        let long = (each * (limit + 1)).min(LONGEST_LOOP) + dice.millis(20_000);
        let of = |after, how| Item {
            moment: None,
            after,
            kind: FaultKind::CrashLoop,
            what: What::Fault(Fault::Trouble(Trouble::CrashLoops(component.name.clone(), how))),
        };
        let items = [of(Duration::ZERO, Some(lives)), of(long, None)];
        self.kinds.insert(FaultKind::CrashLoop);
        self.script.splice(0..0, items);
    }
}

/// How long it takes to see a failure and to restart what failed, roughly.
const LOOP: Duration = Duration::from_secs(8);

/// So long a crash loop is watched at most.
const LONGEST_LOOP: Duration = Duration::from_secs(400);

/// A component fails, and what its rung does can't be done to the end.
fn undone(dice: &mut Dice, plan: &Plan) -> Vec<Item> {
    let plays = plan.components.iter().flat_map(|component| {
        let plays = component.ladder.iter().flat_map(|it| it.plays.values());
        plays.map(|it| (&component.name, it.steps.as_slice()))
    });
    let all: Vec<_> = plays.filter(|(_, steps)| steps.iter().any(|it| it.undo.is_some())).collect();
    let Some((component, steps)) = dice.pick(&all) else { return Vec::new() };
    let mut begins = Vec::new();
    for step in steps {
        let undo = step.undo.as_ref().map(|it| &it.action);
        let (acts, undoes) = (acts(step).and_then(program), undo.and_then(program));
        let acts = acts.filter(|_| dice.once_in(if undoes.is_some() { 3 } else { 2 }));
        let undoes = undoes.filter(|_| dice.once_in(2));
        for program in [acts, undoes].into_iter().flatten() {
            begins.push(at_once(FaultKind::Command, Fault::Trouble(Trouble::CommandFails(program, true))));
        }
    }
    if dice.once_in(3) {
        let fails = Outcome::Failed("exit status 1".to_owned());
        begins.push(at_once(FaultKind::Outcome, Fault::Outcome(fails)));
    }
    begins.push(at_once(FaultKind::Server, Fault::Server(component.clone(), Server::Dead)));
    for (moment, kind) in dice.pick(&TURNS).unwrap_or_default() {
        begins.extend(then(dice, plan, *moment, *kind));
    }
    begins
}

/// The control plane is gone when a component fails that needs it, and is tried again.
fn tried_again(dice: &mut Dice, plan: &Plan) -> Vec<Item> {
    let Some(component) = dice.pick(&plan.components) else { return Vec::new() };
    let planes = [Plane::RegionalControl].into();
    let gone = Broken { planes, hangs: dice.once_in(2), ..Broken::default() };
    let mut begins = vec![
        at_once(FaultKind::Plane, Fault::Breaks(Box::new(gone))),
        at_once(FaultKind::Server, Fault::Server(component.name, Server::Dead)),
    ];
    for _ in 0..3 {
        begins.extend(then(dice, plan, Moment::Breaker(Position::HalfOpen), FaultKind::People));
    }
    begins
}

fn at_once(kind: FaultKind, fault: Fault) -> Item {
    Item { moment: None, after: Duration::ZERO, kind, what: What::Fault(fault) }
}

fn then(dice: &mut Dice, plan: &Plan, moment: Moment, kind: FaultKind) -> Option<Item> {
    let what = faults::draw(kind, dice, plan)?;
    Some(Item { moment: Some(moment), after: dice.millis(SOON), kind, what })
}

fn acts(step: &Step) -> Option<&Action> {
    step.kind.action().map(|it| it.1)
}

/// What an action runs, if it is a command.
fn program(action: &Action) -> Option<String> {
    match action {
        Action::Command { argv, .. } => argv.first().cloned(),
        Action::Service { .. }
        | Action::TriggerFile { .. }
        | Action::Webhook { .. }
        | Action::Postgres(_)
        | Action::EndLease { .. } => None,
    }
}
