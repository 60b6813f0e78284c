//! Folding what is learnt about control planes.

use mainstay_plan::observation::Health;
use mainstay_plan::{ControlIx, Time};

use super::{Control, State};
use crate::breaker::{Hold, Position};
use crate::record::{Ended, Evidence, RecoveryId, StepRef};

impl State {
    /// The control plane that a step needs.
    pub(crate) fn control_of(&self, step: StepRef) -> Option<ControlIx> {
        let recovery = self.open_recovery(step.recovery).filter(|it| it.rung == step.rung)?;
        self.play(recovery)?.steps.get(step.step)?.control
    }

    /// What the end of a step says about its control plane. A canary that answers knows better.
    pub(super) fn on_control_used(&mut self, at: Time, step: StepRef, ended: &Ended) {
        let Some(ix) = self.control_of(step) else { return };
        let control = &mut self.controls[ix.index()];
        match ended {
            Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_) => {
                control.worked = Some(at);
                control.failed.clear();
            }
            Ended::Failed(why) | Ended::Unknown(why) => {
                if control.canary != Health::Healthy {
                    control.failed.insert((step.recovery, step.rung));
                    control.last.clone_from(why);
                }
            }
        }
    }

    pub(super) fn on_canary(&mut self, service: &str, region: &str, to: Health, since: Time, evidence: &Evidence) {
        let Some(ix) = self.plan.control_named(service, region) else { return };
        let control = &mut self.controls[ix.index()];
        control.canary = to;
        control.canary_since = since;
        control.canary_told = (to == Health::Down).then(|| format!("{} {}", evidence.probe, evidence.answer));
        if to == Health::Healthy {
            control.failed.clear();
        }
    }

    pub(super) fn on_breaker(&mut self, at: Time, change: Change<'_>) {
        let Some(ix) = self.plan.control_named(change.service, change.region) else { return };
        let tries = change.by.and_then(|it| self.open_recovery(it)).map(|it| it.component);
        let control = &mut self.controls[ix.index()];
        control.reopened = match (control.position, change.to) {
            (Position::HalfOpen, Position::Open) => control.reopened + 1,
            (Position::Open, Position::HalfOpen) | (Position::HalfOpen, Position::HalfOpen) => control.reopened,
            (
                Position::Closed | Position::Open | Position::HalfOpen | Position::HeldOpen | Position::HeldClosed,
                Position::Closed | Position::Open | Position::HalfOpen | Position::HeldOpen | Position::HeldClosed,
            ) => 0,
        };
        match change.to {
            Position::Closed | Position::HeldOpen | Position::HeldClosed => control.tried.clear(),
            Position::HalfOpen => {
                if let Some(component) = tries {
                    *control.tried.entry(component).or_default() += 1;
                }
            }
            Position::Open => {}
        }
        if change.to != Position::HalfOpen {
            control.why = change.why.to_owned();
        }
        control.position = change.to;
        control.since = at;
        control.until = change.until;
        control.by = change.by;
        control.failed.clear();
        control.said = None;
    }

    pub(super) fn on_said(&mut self, by: &str, service: &str, region: Option<&str>, hold: Hold, reason: &str) {
        for (planned, control) in self.plan.controls.iter().zip(&mut self.controls) {
            let is_held = matches!(control.position, Position::HeldOpen | Position::HeldClosed);
            let is_so = match hold {
                Hold::Open => control.position == Position::HeldOpen,
                Hold::Closed => control.position == Position::HeldClosed,
                Hold::Auto => !is_held,
            };
            if !is_so && planned.service == service && region.is_none_or(|it| it == planned.region) {
                control.said = Some((hold, format!("{by} says so: {reason}")));
            }
        }
    }

    /// What canaries said before a restart is not known any more.
    pub(super) fn forget_canaries(&mut self) {
        for control in &mut self.controls {
            control.canary = Health::Unknown;
        }
    }
}

/// A change of a breaker, as its record has it.
pub(super) struct Change<'a> {
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) to: Position,
    pub(super) why: &'a str,
    pub(super) until: Option<Time>,
    pub(super) by: Option<RecoveryId>,
}

impl Control {
    /// Whether actions that need it are tried.
    pub fn is_tried(&self) -> bool {
        match self.position {
            Position::Closed | Position::HalfOpen | Position::HeldClosed => true,
            Position::Open | Position::HeldOpen => false,
        }
    }
}
