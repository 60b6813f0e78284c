//! How a rung that failed is taken back: what it did is undone, the last step first, each undo recorded before it is done.
//!
//! From the hand-over on nothing is undone, because the component lives on the new side then. An undo that did not work is
//! no reason to go on as if it had: a person has to look.

use mainstay_plan::Time;
use mainstay_plan::strategy::{Play, Undo};

use super::HOST_GRACE;
use crate::decide::hold;
use crate::guard::journal;
use crate::planted::{Fault, planted};
use crate::record::{Body, Ended, StepRef};
use crate::state::{Progress, Recovery, State, UndoAt};
use crate::waiting::WaitingOn;

/// Ends a rung that failed, or was aborted: at once, or by first taking back what it did.
pub(super) fn end(state: &State, recovery: &Recovery, progress: &Progress, play: &Play, why: &str) -> Body {
    let bound = state.components[recovery.component.index()].bound;
    let handed_over = play.to != progress.from && bound == play.to;
    if progress.to_undo().is_some() && !handed_over && !planted(Fault::UndoLeftOut) {
        return Body::RollbackStarted { recovery: recovery.id, rung: recovery.rung, why: why.to_owned() };
    }
    ended(recovery, why)
}

fn ended(recovery: &Recovery, why: &str) -> Body {
    match &recovery.aborted {
        Some(why) => Body::RecoveryFailed { recovery: recovery.id, why: why.clone() },
        None => Body::RungFailed { recovery: recovery.id, rung: recovery.rung, why: why.to_owned() },
    }
}

/// The next decision while a rung is taken back.
pub(super) fn next(state: &State, recovery: &Recovery, progress: &Progress, play: &Play, now: Time) -> Option<Body> {
    let why = progress.rollback.as_deref().unwrap_or_default();
    let Some(nth) = progress.to_undo() else { return Some(ended(recovery, why)) };
    let (planned, stand) = (play.steps.get(nth)?, &progress.steps[nth]);
    let undo = planned.undo.as_deref()?;
    let at = StepRef { recovery: recovery.id, rung: recovery.rung, step: nth, attempt: stand.attempt };
    let name = || format!("undo {}: {}", planned.name, undo.name);
    match &stand.undo {
        UndoAt::Running { since } if until(state, *since, undo) <= now => {
            let why = format!("the host did not say how it ended within {:?}", undo.timeout + HOST_GRACE);
            Some(Body::StepTimedOut { step: at, why })
        }
        UndoAt::Running { .. } => None,
        UndoAt::Registered { .. } => match journal(state, recovery) {
            Some(waiting) => hold(recovery, waiting),
            None => Some(Body::UndoStarted {
                step: StepRef { attempt: at.attempt + 1, ..at },
                name: name(),
                key: format!(
                    "{}/{}/{}/{}/undo/{}",
                    state.plan.site.name,
                    at.recovery,
                    at.rung + 1,
                    at.step + 1,
                    stand.round
                ),
            }),
        },
        UndoAt::Ended(Ended::Failed(why) | Ended::Unknown(why)) => {
            hold(recovery, WaitingOn::UndoFailed { step: at, name: name(), why: why.clone() })
        }
        // Neither is to be undone, so `to_undo` names none of them.
        UndoAt::Nothing
        | UndoAt::Ended(Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_)) => {
            None
        }
    }
}

/// The undo that is being done.
fn running<'a>(state: &'a State, recovery: &'a Recovery) -> Option<(StepRef, &'a str, &'a Undo, Time)> {
    let progress = recovery.progress.as_ref().filter(|it| it.rollback.is_some())?;
    let nth = progress.to_undo()?;
    let stand = &progress.steps[nth];
    let UndoAt::Running { since } = stand.undo else { return None };
    let planned = state.play(recovery)?.steps.get(nth)?;
    let at = StepRef { recovery: recovery.id, rung: recovery.rung, step: nth, attempt: stand.attempt };
    Some((at, &planned.name, planned.undo.as_deref()?, since))
}

fn until(state: &State, since: Time, undo: &Undo) -> Time {
    state.out_of_patience(since, undo.timeout + HOST_GRACE, HOST_GRACE)
}

/// When it has timed out.
pub(super) fn deadline(state: &State, recovery: &Recovery) -> Option<Time> {
    running(state, recovery).map(|(_, _, undo, since)| until(state, since, undo))
}

/// The undo that is waited for.
pub(super) fn waiting(state: &State, recovery: &Recovery) -> Option<(WaitingOn, Time)> {
    let (step, name, undo, since) = running(state, recovery)?;
    let until = until(state, since, undo);
    Some((WaitingOn::Step { step, name: format!("undo {name}: {}", undo.name), until }, since))
}
