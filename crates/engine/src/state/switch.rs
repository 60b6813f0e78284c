//! Folding planned moves.

use mainstay_plan::observation::{Health, Scenario};
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ComponentIx, Time};

use super::{Asked, Cause, Planned, Progress, Recovery, State, StepAt};
use crate::machine::RecoveryInput;
use crate::record::{Ended, RecoveryId};

/// A planned move, as its record has it.
pub(super) struct Started<'a> {
    pub(super) component: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) by: &'a str,
    pub(super) reason: &'a str,
    pub(super) graceful: bool,
    pub(super) evacuation: Option<&'a str>,
}

impl State {
    /// A move is asked for; or one that runs need not wait any more.
    pub(super) fn on_asked(
        &mut self,
        at: Time,
        component: &str,
        to: Option<&str>,
        graceful: bool,
        by: &str,
        why: &str,
    ) {
        let Some(ix) = self.component(component) else { return };
        let to = match to {
            Some(name) => self.instance(name),
            None => Some(self.plan.component(ix).original()),
        };
        let Some(to) = to else { return };
        let open = self.components[ix.index()].recovery.as_mut();
        if let Some(planned) = open.and_then(Recovery::planned_mut) {
            if planned.to == to && !graceful {
                planned.graceful = false;
                self.pass_over_catching_up(at, ix);
            }
            return;
        }
        if self.components[ix.index()].recovery.is_none() {
            let asked = Asked { to, by: by.to_owned(), reason: why.to_owned(), graceful };
            self.components[ix.index()].asked = Some(asked);
        }
    }

    pub(super) fn on_switch_started(&mut self, at: Time, id: RecoveryId, started: &Started<'_>) {
        let (Some(ix), Some(to)) = (self.component(started.component), self.instance(started.to)) else { return };
        let bound = self.components[ix.index()].bound;
        let opened = Recovery::open(ix, started.component, started.from, Scenario::InstanceFailure, at, None);
        let planned = Planned {
            to,
            by: started.by.to_owned(),
            reason: started.reason.to_owned(),
            graceful: started.graceful,
            back: false,
            adopts: None,
        };
        let play = self.plan.component(ix).switch(bound, to).map(|it| &it.play);
        let progress = play.map(|it| Progress::new(bound, it));
        let evacuated = started.evacuation.and_then(|it| self.evacuation_of(it)).map(|it| it.id);
        let opened = Recovery { cause: Cause::Planned(planned), progress, evacuated, ..opened.at(id, at) };
        self.components[ix.index()].asked = None;
        self.components[ix.index()].recovery = Some(opened);
        self.open.insert(id, ix);
        self.note_moving(ix);
        self.moved(id, RecoveryInput::Initiated, |_| {});
        self.moved(id, RecoveryInput::RungStarted, |_| {});
        if !started.graceful {
            self.pass_over_catching_up(at, ix);
        }
    }

    pub(super) fn pass_over_catching_up(&mut self, at: Time, ix: ComponentIx) {
        let Some(recovery) = &self.components[ix.index()].recovery else { return };
        let steps = self.play(recovery).map(|it| it.steps.as_slice()).unwrap_or_default();
        let nth: Vec<usize> = (steps.iter().enumerate())
            .filter(|it| matches!(it.1.kind, StepKind::CatchUp { .. }))
            .map(|it| it.0)
            .collect();
        let Some(recovery) = &mut self.components[ix.index()].recovery else { return };
        for step in nth {
            let Some(stand) = recovery.step_mut(step) else { continue };
            let was_running = matches!(stand.at, StepAt::Running { .. });
            stand.at = StepAt::Ended(Ended::Done);
            if was_running {
                let given_up = Ended::Failed("an operator does not wait for it".to_owned());
                if let Some(log) = recovery.steps.iter_mut().rev().find(|it| it.step.step == step) {
                    log.ended = Some((at, given_up));
                }
            }
        }
    }

    pub(super) fn on_switch_undone(&mut self, at: Time, id: RecoveryId, why: &str) {
        self.displace_half_activated(id);
        let Some(ix) = self.open_recovery(id).map(|it| it.component) else { return };
        let bound = self.components[ix.index()].bound;
        let Some(planned) = self.open_recovery(id).and_then(Recovery::planned) else { return };
        let of = self.plan.component(ix);
        let plays = match &planned.adopts {
            Some(adopts) => of.adoption(adopts.from, planned.to).map(|it| (&it.play, &it.back)),
            None => of.switch(bound, planned.to).map(|it| (&it.play, &it.back)),
        };
        let cuts = plays.is_some_and(|it| it.0.steps.iter().any(|it| matches!(it.kind, StepKind::CutTraffic { .. })));
        let progress = plays.map(|it| Progress::new(bound, it.1));
        self.moved(id, RecoveryInput::RungStarted, |it| {
            for log in it.steps.iter_mut().filter(|log| log.ended.is_none()) {
                log.ended = Some((at, Ended::Unknown("taken back".to_owned())));
                log.given_up = true;
            }
            if it.tried.is_empty() {
                it.tried.push(why.to_owned());
            }
            it.aborted = None;
            it.rung = 1;
            it.progress = progress;
            // Until it is active again, clients would meet a standby.
            it.cut = cuts;
            it.held = None;
            if let Some(planned) = it.planned_mut() {
                planned.back = true;
            }
        });
    }

    /// Who handed over in order knows that it is a standby now, and lost nothing. It has to be seen anew all the same.
    pub(super) fn hand_over_in_order(&mut self, at: Time, ix: ComponentIx, from: mainstay_plan::InstanceIx) {
        let bound = self.components[ix.index()].bound;
        let planned = self.components[ix.index()].recovery.as_ref().and_then(Recovery::planned);
        let in_order = planned.is_some_and(|it| it.graceful)
            && self.plan.component(ix).switch(from, bound).is_some_and(|it| it.demotes);
        self.instances[from.index()].in_order = in_order;
        if in_order && self.instances[from.index()].health == Health::Healthy {
            self.doubt(at, from);
        }
    }
}
