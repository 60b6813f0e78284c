//! Folding what becomes of steps: begun, ended, broken off, taken back.

use mainstay_plan::observation::Health;
use mainstay_plan::strategy::{OnExpiry, Phase, Step, StepKind};
use mainstay_plan::{InstanceIx, Time};

use super::{ComponentState, Progress, State, StepAt, StepLog, UndoAt};
use crate::crash_loop;
use crate::machine::{RecoveryInput, StepInput, UndoInput};
use crate::planted::{Fault, planted};
use crate::record::{Ended, RecoveryId, StepRef};

impl State {
    /// Moves a step on. Whether it could come, as far as it is known: a step of another plan is nobody's.
    pub(super) fn step_moved(&mut self, step: StepRef, input: StepInput, to: StepAt) -> bool {
        let open = self.open.get(&step.recovery).and_then(|it| self.components[it.index()].recovery.as_mut());
        let moved = open.and_then(|it| it.step_mut(step.step)).map(|it| it.moved(input, to));
        let illegal = moved.and_then(Result::err);
        self.note(illegal);
        illegal.is_none()
    }

    /// Moves the undo of a step on; see [`State::step_moved`].
    pub(super) fn undo_moved(&mut self, step: StepRef, input: UndoInput, at: Time, why: &str) -> bool {
        let open = self.open.get(&step.recovery).and_then(|it| self.components[it.index()].recovery.as_mut());
        let moved = open.and_then(|it| it.step_mut(step.step)).map(|it| it.undo_moved(input, at, why));
        let illegal = moved.and_then(Result::err);
        self.note(illegal);
        illegal.is_none()
    }

    /// What is being done ends as unknown, and is done again where that does no harm.
    pub(super) fn interrupt_steps(&mut self, at: Time, why: &str) {
        let interrupted = |it: &ComponentState| {
            let open = it.recovery.iter().flat_map(|it| self.open_steps(it));
            let running = open.filter(|(.., stand)| matches!(stand.at, StepAt::Running { .. }));
            // People go on with what they were asked to do.
            let ours = running.filter(|(_, step, _)| !matches!(step.kind, StepKind::Manual { .. }));
            ours.map(|(at, step, _)| (at, step.idempotent)).collect()
        };
        let undone = |it: &ComponentState| {
            let recovery = it.recovery.as_ref()?;
            let at = recovery.progress.as_ref()?.to_undo()?;
            let undo = self.play(recovery)?.steps.get(at)?.undo.as_ref()?;
            Some((at, undo.action.is_idempotent()))
        };
        let undone: Vec<Option<(usize, bool)>> = self.components.iter().map(undone).collect();
        let interrupted: Vec<Vec<(StepRef, bool)>> = self.components.iter().map(interrupted).collect();
        let mut misfits = Vec::new();
        for ((component, interrupted), undone) in self.components.iter_mut().zip(interrupted).zip(undone) {
            component.witnessed = None;
            component.signalled = None;
            component.observed = None;
            let Some(recovery) = &mut component.recovery else { continue };
            recovery.seeing_anew = true;
            recovery.held = None;
            for (step, repeatable) in interrupted {
                let unknown = Ended::Unknown(why.to_owned());
                recovery.log_end(step, at, unknown.clone());
                if let Some(stand) = recovery.step_mut(step.step) {
                    let (input, to) = match repeatable {
                        true => (StepInput::InterruptedRepeatable, StepAt::Ready),
                        false => (StepInput::Interrupted, StepAt::Ended(unknown)),
                    };
                    misfits.extend(stand.moved(input, to).err());
                    misfits.extend(stand.undo_moved(UndoInput::StepUnknown, at, "").err());
                }
            }
            if let Some((step, repeatable)) = undone {
                recovery.undo_interrupted(at, step, repeatable);
            }
        }
        misfits.into_iter().for_each(|it| self.note(Some(it)));
        self.interrupt_repairs(at, why);
        self.interrupt_keepings(at);
    }

    pub(super) fn on_rung_started(&mut self, id: RecoveryId, rung: usize) {
        let Some(ix) = self.open_recovery(id).map(|it| it.component) else { return };
        let from = self.components[ix.index()].bound;
        let play = self.plan.component(ix).ladder.get(rung).and_then(|it| it.plays.get(&from));
        let progress = play.map(|it| Progress::new(from, it));
        self.moved(id, RecoveryInput::RungStarted, |recovery| {
            recovery.rung = rung;
            recovery.held = None;
            recovery.progress = progress;
        });
    }

    pub(super) fn on_step_started(&mut self, at: Time, step: StepRef, name: &str) {
        if !self.step_moved(step, StepInput::Started, StepAt::Running { since: at }) {
            return;
        }
        let Some(found) = self.open_recovery(step.recovery) else { return };
        let component = found.component;
        let planned = self.play(found).and_then(|it| it.steps.get(step.step));
        let has_undo = planned.is_some_and(|it| it.undo.is_some());
        let restarts = planned.and_then(|it| crash_loop::restarts(self, found, step, it));
        let planned = planned.map(|it| &it.kind);
        let phase = planned.map_or(Phase::Act, StepKind::phase);
        let irreversible = planned.is_none_or(StepKind::is_irreversible);
        let cuts = matches!(planned, Some(StepKind::CutTraffic { .. }));
        let takes_over = if let Some(StepKind::TakeOver { to, .. }) = planned { Some(*to) } else { None };
        let Some(recovery) = &mut self.components[component.index()].recovery else { return };
        let first = recovery.steps.is_empty();
        recovery.account(at, if first { Phase::Decide } else { phase });
        recovery.irreversible |= irreversible;
        recovery.cut = (recovery.cut || cuts) && takes_over.is_none();
        recovery.held = None;
        recovery.steps.push(StepLog::begun(step, name, at));
        if let Some(stand) = recovery.step_mut(step.step) {
            stand.attempt = step.attempt;
        }
        if has_undo {
            self.undo_moved(step, UndoInput::StepStarted, at, "");
        }
        if let Some(instance) = restarts {
            crash_loop::note(&mut self.instances[instance.index()].restarts, at);
        }
        // A cold standby was down because it was stopped, which says nothing about it since its activation.
        if let Some(to) = takes_over.filter(|it| self.instances[it.index()].health == Health::Down) {
            self.doubt(at, to);
        }
        self.end_converged_routing_steps(at, Some(component));
        let ends_lease = |it: &Step| matches!(it.kind, StepKind::EndLease { .. });
        if planted(Fault::EndLeaseTakenForGranted) && self.running(step).is_some_and(ends_lease) {
            self.on_step_ended(at, step, Ended::Done);
        }
    }

    pub(super) fn on_step_ended(&mut self, at: Time, step: StepRef, ended: Ended) {
        if self.undoing(step).is_some() {
            self.on_undo_ended(at, step, ended);
            return;
        }
        let Some(planned) = self.running(step) else { return };
        let phase = planned.kind.phase();
        let touched = touched(&planned.kind);
        let ended = match ended {
            Ended::DoneAt(address) => {
                let why = format!("`{}` says so", planned.name);
                touched.iter().for_each(|it| self.arrives(*it, Some(address), Some(step), why.clone()));
                self.with(step.recovery, |it| it.log_address(step, address));
                Ended::Done
            }
            Ended::LeaseOver(how) => {
                self.with(step.recovery, |it| it.log_lease_end(step, how));
                Ended::Done
            }
            Ended::DoneLosing(lost) => {
                touched.iter().for_each(|it| self.writes_lost(*it, &lost));
                Ended::Done
            }
            Ended::Kept(_) => Ended::Done,
            Ended::Done | Ended::Failed(_) | Ended::Unknown(_) => ended,
        };
        let Some(planned) = self.running(step) else { return };
        let stops = matches!(planned.kind, StepKind::Stop { .. } | StepKind::EndLease { .. });
        let taken_as_done = matches!(planned.kind, StepKind::Stop { .. }) && planted(Fault::UnknownStopCounts);
        let ended = if taken_as_done { Ended::Done } else { ended };
        let says_anew = matches!(planned.kind, StepKind::Manual { .. }) || !touched.is_empty();
        self.on_control_used(at, step, &ended);
        let Some(component) = self.open.get(&step.recovery).copied() else { return };
        if says_anew {
            self.forget_roles(at, component);
        }
        let Some(recovery) = &mut self.components[component.index()].recovery else { return };
        recovery.account(at, phase);
        recovery.log_end(step, at, ended.clone());
        recovery.held = None;
        let input = match &ended {
            Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_) => {
                StepInput::Done
            }
            Ended::Failed(_) => StepInput::Failed,
            Ended::Unknown(_) => StepInput::Unknown,
        };
        self.step_moved(step, input, StepAt::Ended(ended.clone()));
        let stand = self.open.get(&step.recovery).and_then(|it| self.components[it.index()].recovery.as_mut());
        let Some(stand) = stand.and_then(|it| it.step_mut(step.step)) else { return };
        stand.failures += u32::from(ended != Ended::Done);
        match ended {
            Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_) => {
                for instance in touched {
                    self.acted_on.push(instance);
                    // It was stopped, so what its probes said before is not so any more.
                    if stops && self.instances[instance.index()].health == Health::Healthy {
                        self.doubt(at, instance);
                    }
                }
            }
            Ended::Failed(_) => {
                stand.round += 1;
                // It was not done, so there is nothing to undo, unless a try before may have done it.
                self.undo_moved(step, UndoInput::StepFailed, at, "");
            }
            Ended::Unknown(_) => {
                self.undo_moved(step, UndoInput::StepUnknown, at, "");
                // Nobody knows what became of it, so it has to be looked at before anything else is done to it.
                touched.into_iter().for_each(|it| self.doubt(at, it));
            }
        }
    }

    /// A step whose time is over. People are asked once, and the plan says what their silence means.
    pub(super) fn on_step_timed_out(&mut self, at: Time, step: StepRef, why: &str) {
        let on_expiry = self.running(step).and_then(|it| match it.kind {
            StepKind::Manual { on_expiry, .. } => Some(on_expiry),
            StepKind::CutTraffic { .. }
            | StepKind::Stop { .. }
            | StepKind::EndLease { .. }
            | StepKind::Act { .. }
            | StepKind::CatchUp { .. }
            | StepKind::TakeOver { .. }
            | StepKind::Verify { .. } => None,
        });
        let ended = match on_expiry {
            None => Ended::Unknown(why.to_owned()),
            Some(OnExpiry::Fail) => Ended::Failed(why.to_owned()),
            Some(OnExpiry::Proceed) => Ended::Done,
        };
        self.on_step_ended(at, step, ended);
    }

    /// What is being done is given up; nobody knows whether it was done, so it is undone too.
    pub(super) fn on_rollback_started(&mut self, at: Time, id: RecoveryId, why: &str) {
        let Some(recovery) = self.open_recovery(id) else { return };
        let running = self.open_steps(recovery).filter(|(.., stand)| matches!(stand.at, StepAt::Running { .. }));
        let running: Vec<StepRef> = running.map(|it| it.0).collect();
        for step in running {
            self.on_step_ended(at, step, Ended::Unknown("it was given up".to_owned()));
            self.with(id, |it| it.give_up(step));
        }
        self.with(id, |it| {
            it.held = None;
            if let Some(progress) = &mut it.progress {
                progress.rollback = Some(why.to_owned());
            }
        });
    }

    pub(super) fn on_undo_started(&mut self, at: Time, step: StepRef, name: &str) {
        if !self.undo_moved(step, UndoInput::Started, at, "") {
            return;
        }
        self.with(step.recovery, |it| {
            it.account(at, Phase::Act);
            it.held = None;
            it.steps.push(StepLog::begun(step, name, at));
            if let Some(stand) = it.step_mut(step.step) {
                stand.attempt = step.attempt;
            }
        });
    }

    /// Whatever was undone has to be seen anew.
    pub(super) fn on_undo_ended(&mut self, at: Time, step: StepRef, ended: Ended) {
        let touched = self.undoing(step).map(|it| touched(&it.kind)).unwrap_or_default();
        let (input, why) = match &ended {
            Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_) => {
                (UndoInput::Done, "")
            }
            Ended::Failed(why) => (UndoInput::Failed, why.as_str()),
            Ended::Unknown(why) => (UndoInput::Unknown, why.as_str()),
        };
        self.undo_moved(step, input, at, why);
        self.with(step.recovery, |it| {
            it.account(at, Phase::Act);
            it.log_end(step, at, ended.clone());
            it.held = None;
            if let Some(stand) = it.step_mut(step.step) {
                stand.round += u32::from(matches!(ended, Ended::Failed(_)));
            }
        });
        for instance in touched {
            self.doubt(at, instance);
            if ended == Ended::Done {
                self.on_undone(instance, step);
            }
            self.forget_roles(at, self.plan.instance(instance).component);
        }
    }

    /// A standby that was activated, or may have been, and did not take over is no standby any more: it may have a history
    /// of its own.
    pub(super) fn displace_half_activated(&mut self, id: RecoveryId) {
        let Some(recovery) = self.open_recovery(id) else { return };
        let (Some(play), Some(progress)) = (self.play(recovery), &recovery.progress) else { return };
        let bound = self.components[recovery.component.index()].bound;
        let activates = |log: &StepLog| {
            let kind = play.steps.get(log.step.step).map(|it| &it.kind);
            matches!(kind, Some(StepKind::Act { on, .. }) if *on != bound)
                && log.step.rung == recovery.rung
                && progress.steps.get(log.step.step).is_some_and(|it| it.undo != UndoAt::Ended(Ended::Done))
                && !matches!(log.ended, Some((_, Ended::Failed(_))))
        };
        let to = play.to;
        if to != bound && recovery.steps.iter().any(activates) {
            self.instances[to.index()].displaced = true;
        }
    }
}

/// The instances whose condition is in doubt when the outcome of such a step is unknown.
pub(super) fn touched(kind: &StepKind) -> Vec<InstanceIx> {
    match kind {
        StepKind::Stop { from, .. } | StepKind::EndLease { from } => vec![*from],
        StepKind::Act { on, .. } => vec![*on],
        StepKind::CutTraffic { .. }
        | StepKind::CatchUp { .. }
        | StepKind::Manual { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => Vec::new(),
    }
}
