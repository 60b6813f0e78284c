//! Folding what holds recoveries and routes back: the waits of a recovery, what a person has looked at, the lever, and the
//! rules of routes.

use mainstay_plan::{ComponentIx, InstanceIx, Time};

use super::steps::touched;
use super::{Halt, Pause, RecoveryStatus, RouteHold, State, StepAt, UndoAt};
use crate::machine::{RecoveryInput, StepInput};
use crate::record::{Ended, RecoveryId, StepRef};
use crate::route::rules::{Kept, Objection};
use crate::waiting::WaitingOn;

/// How many beginnings of one component are remembered: as many as the plan can limit.
const REMEMBERED: usize = 1000;

impl State {
    /// The pause that holds a component at that moment: of the component that is named; `None`: of everything.
    pub(crate) fn pause_of(&self, component: ComponentIx, now: Time) -> Option<(Option<String>, &Pause)> {
        let holds = |it: &&Pause| it.until > now;
        let all = self.paused.as_ref().filter(holds).map(|it| (None, it));
        all.or_else(|| {
            let alone = self.components[component.index()].paused.as_ref().filter(holds)?;
            Some((Some(self.plan.component(component).name.clone()), alone))
        })
    }

    pub(super) fn on_held(&mut self, at: Time, id: RecoveryId, waiting: &WaitingOn) {
        self.moved(id, RecoveryInput::Held, |it| it.held = Some((waiting.clone(), at)));
        let Some(recovery) = self.open_recovery(id) else { return };
        let (ix, begins) = (recovery.component, recovery.status == RecoveryStatus::FailureDetected);
        self.site.set_held(ix, begins);
    }

    pub(super) fn on_initiated(&mut self, at: Time, id: RecoveryId) {
        self.moved(id, RecoveryInput::Initiated, |it| it.held = None);
        let Some(ix) = self.open.get(&id).copied() else { return };
        self.site.set_held(ix, false);
        let recovery = self.components[ix.index()].recovery.as_ref();
        let incident = recovery.and_then(|it| it.incident.or(it.evacuated));
        // A planned move is no failure, and uses up nothing that failures need.
        if recovery.is_some_and(|it| it.planned().is_some()) {
            return;
        }
        self.site.begins(at, incident);
        let component = &mut self.components[ix.index()];
        component.unacknowledged = None;
        if component.begun.len() == REMEMBERED {
            component.begun.pop_front();
        }
        component.begun.push_back(at);
    }

    pub(super) fn on_route_held(&mut self, at: Time, route: &str, targets: &[String], objection: &Objection) {
        let Some(ix) = self.route(route) else { return };
        let before = self.routing.held.get(&ix).filter(|it| it.kept.objection.rule() == objection.rule());
        let since = before.map_or(at, |it| it.since);
        let kept = Kept { objection: objection.clone(), targets: targets.to_vec() };
        self.routing.held.insert(ix, RouteHold { kept, since });
    }

    /// A person has looked: what was counted against the component counts no more.
    pub(super) fn acknowledge(&mut self, ix: ComponentIx) {
        let component = &mut self.components[ix.index()];
        component.last_ended = None;
        component.unacknowledged = None;
        component.begun.clear();
        for instance in &self.plan.component(ix).instances {
            self.instances[instance.index()].restarts.clear();
        }
    }

    /// Steps that may be done again are given up where they stand, and begun anew afterwards; what may be done only once is
    /// waited for.
    pub(super) fn halt(&mut self, at: Time, reason: &str, by: &str) {
        let given_up: Vec<(ComponentIx, StepRef, Vec<InstanceIx>)> = (self.open_recoveries())
            .flat_map(|it| self.open_steps(it).map(|(at, step, stand)| (it.component, at, step, stand)))
            .filter(|(.., step, stand)| step.idempotent && matches!(stand.at, StepAt::Running { .. }))
            .map(|(ix, at, step, _)| (ix, at, touched(&step.kind)))
            .collect();
        for (ix, step, touched) in &given_up {
            self.step_moved(*step, StepInput::InterruptedRepeatable, StepAt::Ready);
            let Some(recovery) = &mut self.components[ix.index()].recovery else { continue };
            if let Some(stand) = recovery.progress.as_mut().and_then(|it| it.steps.get_mut(step.step))
                && let UndoAt::Registered { doubtful } = &mut stand.undo
            {
                *doubtful = true;
            }
            if let Some(log) = recovery.steps.iter_mut().rev().find(|it| it.step == *step) {
                log.ended = Some((at, Ended::Unknown(format!("{by} stopped all action"))));
                log.given_up = true;
            }
            for instance in touched {
                self.doubt(at, *instance);
            }
        }
        let given_up = given_up.into_iter().map(|it| it.1).chain(self.halt_repairs(at)).collect();
        self.site.halted = Some(Halt { by: by.to_owned(), reason: reason.to_owned(), since: at, given_up });
    }

    pub(super) fn go_on(&mut self) {
        self.site.halted = None;
        for ix in self.open.values() {
            if let Some(recovery) = &mut self.components[ix.index()].recovery
                && matches!(recovery.held, Some((WaitingOn::Halted { .. }, _)))
            {
                recovery.held = None;
            }
        }
    }
}
