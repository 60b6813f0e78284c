//! How far a recovery is.

use super::{Illegal, Machine};
use crate::state::RecoveryStatus;

/// The life of a recovery.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryLife;

/// What moves a recovery: one input a kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryInput {
    /// It waits for something.
    Held,
    /// The guards let it pass.
    Initiated,
    /// A rung is passed over.
    RungSkipped,
    /// A rung is begun.
    RungStarted,
    /// A rung failed.
    RungFailed,
    /// It worked, or has become needless.
    Completed,
    /// It ends without success: no rung is left, nobody approved, aborted.
    Failed,
    /// The plan that its steps belong to was replaced.
    PlanReplaced,
}

impl Machine for RecoveryLife {
    type State = RecoveryStatus;
    type Input = RecoveryInput;

    const NAME: &'static str = "A recovery";
    const ABOUT: &'static str = "It is opened by `failure_detected`. Once it has ended nothing moves it any more: what still \
        fails is detected anew, and opens another.";
    const STATES: &'static [RecoveryStatus] = &[
        RecoveryStatus::FailureDetected,
        RecoveryStatus::RecoveryInitiated,
        RecoveryStatus::RecoveryInProgress,
        RecoveryStatus::RecoveryCompleted,
        RecoveryStatus::RecoveryFailed,
    ];
    const INPUTS: &'static [RecoveryInput] = &[
        RecoveryInput::Held,
        RecoveryInput::Initiated,
        RecoveryInput::RungSkipped,
        RecoveryInput::RungStarted,
        RecoveryInput::RungFailed,
        RecoveryInput::Completed,
        RecoveryInput::Failed,
        RecoveryInput::PlanReplaced,
    ];

    fn state(state: RecoveryStatus) -> &'static str {
        state.word()
    }

    fn input(input: RecoveryInput) -> &'static str {
        match input {
            RecoveryInput::Held => "held",
            RecoveryInput::Initiated => "recovery_initiated",
            RecoveryInput::RungSkipped => "rung_skipped",
            RecoveryInput::RungStarted => "rung_started",
            RecoveryInput::RungFailed => "rung_failed",
            RecoveryInput::Completed => "recovery_completed",
            RecoveryInput::Failed => "recovery_failed",
            RecoveryInput::PlanReplaced => "the plan is replaced",
        }
    }

    fn next(state: RecoveryStatus, input: RecoveryInput) -> Result<RecoveryStatus, Illegal> {
        use RecoveryInput as I;
        use RecoveryStatus as S;
        match (state, input) {
            (S::FailureDetected, I::Held) => Ok(S::FailureDetected),
            (S::FailureDetected, I::Initiated) | (S::RecoveryInitiated, I::Held | I::RungSkipped) => {
                Ok(S::RecoveryInitiated)
            }
            (S::RecoveryInitiated | S::RecoveryInProgress, I::RungStarted)
            | (S::RecoveryInProgress, I::Held | I::RungSkipped | I::RungFailed) => Ok(S::RecoveryInProgress),
            (S::FailureDetected | S::RecoveryInitiated | S::RecoveryInProgress, I::Completed) => {
                Ok(S::RecoveryCompleted)
            }
            (S::FailureDetected | S::RecoveryInitiated | S::RecoveryInProgress, I::Failed | I::PlanReplaced) => {
                Ok(S::RecoveryFailed)
            }
            (S::FailureDetected, I::RungSkipped | I::RungStarted | I::RungFailed)
            | (S::RecoveryInitiated, I::Initiated | I::RungFailed)
            | (S::RecoveryInProgress, I::Initiated)
            | (
                S::RecoveryCompleted | S::RecoveryFailed,
                I::Held
                | I::Initiated
                | I::RungSkipped
                | I::RungStarted
                | I::RungFailed
                | I::Completed
                | I::Failed
                | I::PlanReplaced,
            ) => Self::illegal(state, input),
        }
    }
}
