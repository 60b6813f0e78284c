//! How the undo of a step stands.

use super::{Illegal, Machine};

/// The life of the undo of a step.
#[derive(Clone, Copy, Debug)]
pub struct UndoLife;

/// How the undo of a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoState {
    /// There is none, or nothing was done that it would undo.
    Nothing,
    /// It is undone if the rung fails.
    Registered,
    /// The same, and a try of the step ended unknown: it may have been done, whatever a later one says.
    Doubtful,
    /// It is being undone.
    Running,
    /// It was not undone.
    Failed,
    /// It is not known whether it was undone.
    Unknown,
    /// It was undone, or a person says that it need not be.
    Done,
}

/// What moves the undo of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoInput {
    /// The step that it belongs to is begun.
    StepStarted,
    /// The step failed: it was not done.
    StepFailed,
    /// Nobody knows whether the step was done.
    StepUnknown,
    /// A person says that the step was not done.
    StepSaidNotDone,
    /// It is begun.
    Started,
    /// It was undone.
    Done,
    /// It was not.
    Failed,
    /// Nobody knows.
    Unknown,
    /// The agent died meanwhile, and it may be repeated.
    InterruptedRepeatable,
    /// The agent died meanwhile, and it may be done only once.
    Interrupted,
    /// A person goes on without it.
    Skipped,
    /// A person wants it tried again.
    Retried,
}

impl Machine for UndoLife {
    type State = UndoState;
    type Input = UndoInput;

    const NAME: &'static str = "The undo of a step";
    const ABOUT: &'static str = "An undo is registered before its step is done. When a rung fails or is aborted before the hand-over, \
        what is registered is undone, the last first. One that `failed`, or is `unknown`, needs an operator.";
    const STATES: &'static [UndoState] = &[
        UndoState::Nothing,
        UndoState::Registered,
        UndoState::Doubtful,
        UndoState::Running,
        UndoState::Failed,
        UndoState::Unknown,
        UndoState::Done,
    ];
    const INPUTS: &'static [UndoInput] = &[
        UndoInput::StepStarted,
        UndoInput::StepFailed,
        UndoInput::StepUnknown,
        UndoInput::StepSaidNotDone,
        UndoInput::Started,
        UndoInput::Done,
        UndoInput::Failed,
        UndoInput::Unknown,
        UndoInput::InterruptedRepeatable,
        UndoInput::Interrupted,
        UndoInput::Skipped,
        UndoInput::Retried,
    ];

    fn state(state: UndoState) -> &'static str {
        match state {
            UndoState::Nothing => "nothing",
            UndoState::Registered => "registered",
            UndoState::Doubtful => "doubtful",
            UndoState::Running => "running",
            UndoState::Failed => "failed",
            UndoState::Unknown => "unknown",
            UndoState::Done => "done",
        }
    }

    fn input(input: UndoInput) -> &'static str {
        match input {
            UndoInput::StepStarted => "step_started, of a step with an undo",
            UndoInput::StepFailed => "the step failed",
            UndoInput::StepUnknown => "the step is unknown",
            UndoInput::StepSaidNotDone => "`approve --outcome not-done`",
            UndoInput::Started => "undo_started",
            UndoInput::Done => "it ended: done",
            UndoInput::Failed => "it ended: failed",
            UndoInput::Unknown => "it ended: unknown, or timed out",
            UndoInput::InterruptedRepeatable => "the agent died, and it may be repeated",
            UndoInput::Interrupted => "the agent died, and it may be done only once",
            UndoInput::Skipped => "`skip`",
            UndoInput::Retried => "`retry`",
        }
    }

    fn next(state: UndoState, input: UndoInput) -> Result<UndoState, Illegal> {
        use UndoInput as I;
        use UndoState as S;
        match (state, input) {
            (S::Nothing, I::StepFailed | I::StepUnknown | I::StepSaidNotDone)
            | (S::Registered, I::StepFailed | I::StepSaidNotDone)
            | (S::Doubtful, I::StepSaidNotDone) => Ok(S::Nothing),
            (S::Nothing | S::Registered, I::StepStarted) => Ok(S::Registered),
            (S::Registered, I::StepUnknown)
            | (S::Doubtful, I::StepStarted | I::StepFailed | I::StepUnknown)
            | (S::Running, I::InterruptedRepeatable)
            | (S::Failed | S::Unknown, I::Retried) => Ok(S::Doubtful),
            (S::Registered | S::Doubtful | S::Failed | S::Unknown, I::Started) => Ok(S::Running),
            (S::Running, I::Failed) => Ok(S::Failed),
            (S::Running, I::Unknown | I::Interrupted) => Ok(S::Unknown),
            (S::Running, I::Done) | (S::Failed | S::Unknown, I::Skipped) => Ok(S::Done),
            (S::Nothing, I::Started)
            | (S::Running, I::StepStarted | I::StepFailed | I::StepUnknown | I::StepSaidNotDone | I::Started)
            | (S::Failed | S::Unknown, I::StepStarted | I::StepFailed | I::StepUnknown | I::StepSaidNotDone)
            | (
                S::Nothing | S::Registered | S::Doubtful | S::Failed | S::Unknown,
                I::Done | I::Failed | I::Unknown | I::InterruptedRepeatable | I::Interrupted,
            )
            | (S::Nothing | S::Registered | S::Doubtful | S::Running, I::Skipped | I::Retried)
            | (
                S::Done,
                I::StepStarted
                | I::StepFailed
                | I::StepUnknown
                | I::StepSaidNotDone
                | I::Started
                | I::Done
                | I::Failed
                | I::Unknown
                | I::InterruptedRepeatable
                | I::Interrupted
                | I::Skipped
                | I::Retried,
            ) => Self::illegal(state, input),
        }
    }
}
