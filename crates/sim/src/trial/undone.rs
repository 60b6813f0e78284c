//! Trials in which a rung fails after it has done something, so that it is undone: chance alone brings that about too seldom.

use std::time::Duration;

use mainstay_engine::machine::{StepState, UndoState};
use mainstay_plan::Plan;
use mainstay_plan::action::Action;
use mainstay_plan::strategy::Step;

use super::moments::Moment;
use super::{FaultKind, Item, Trial, What, faults};
use crate::dice::Dice;
use crate::world::{Fault, Server, Trouble};

/// After the last failure before it, in milliseconds.
const SOON: u64 = 40;

impl Trial {
    /// A tenth of the trials on a plan with an undo begin with a rung that fails behind it, and go on where it is undone.
    pub(super) fn is_undone(&mut self, dice: &mut Dice) {
        if !dice.once_in(10) {
            return;
        }
        let Some((component, steps)) = undone(dice, &self.stage.plan) else { return };
        let fails = |it: String| What::Fault(Fault::Trouble(Trouble::CommandFails(it, true)));
        let mut begins: Vec<Item> = steps
            .iter()
            .filter_map(|it| program(if it.undo.is_some() { it.undo.as_ref().map(|it| &it.action) } else { acts(it) }))
            .filter(|_| dice.once_in(2))
            .map(|it| Item { moment: None, after: Duration::ZERO, kind: FaultKind::Command, what: fails(it) })
            .collect();
        let dies = What::Fault(Fault::Server(component, Server::Dead));
        begins.push(Item { moment: None, after: dice.millis(500), kind: FaultKind::Server, what: dies });
        for _ in 0..=dice.below(4) {
            let moment = dice.pick(&[
                Moment::Undo(UndoState::Doubtful),
                Moment::Undo(UndoState::Running),
                Moment::Undo(UndoState::Failed),
                Moment::Undo(UndoState::Unknown),
                Moment::Step(StepState::Running),
                Moment::Step(StepState::Waiting),
                Moment::Step(StepState::Unknown),
            ]);
            let kinds = [FaultKind::Killed, FaultKind::Outcome, FaultKind::Hangs, FaultKind::People, FaultKind::People];
            let Some(kind) = dice.pick(&kinds) else { continue };
            if let Some(what) = faults::draw(kind, dice, &self.stage.plan) {
                begins.push(Item { moment, after: dice.millis(SOON), kind, what });
            }
        }
        self.kinds.extend(begins.iter().map(|it| it.kind));
        self.script.splice(0..0, begins);
    }
}

/// A play that has something to undo: whose it is, and its steps.
fn undone<'a>(dice: &mut Dice, plan: &'a Plan) -> Option<(String, &'a [Step])> {
    let plays = plan.components.iter().flat_map(|component| {
        let plays = component.ladder.iter().flat_map(|it| it.plays.values());
        plays.map(|it| (component.name.clone(), it.steps.as_slice()))
    });
    let all: Vec<_> = plays.filter(|(_, steps)| steps.iter().any(|it| it.undo.is_some())).collect();
    dice.pick(&all)
}

fn acts(step: &Step) -> Option<&Action> {
    step.kind.action().map(|it| it.1)
}

/// What an action runs, if it is a command.
fn program(action: Option<&Action>) -> Option<String> {
    match action? {
        Action::Command { argv, .. } => argv.first().cloned(),
        Action::Service { .. } | Action::TriggerFile { .. } | Action::Webhook { .. } => None,
    }
}
