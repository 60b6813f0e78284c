//! How a step stands, and how its undo stands.

use super::{Illegal, Machine};

/// The life of a step.
#[derive(Clone, Copy, Debug)]
pub struct StepLife;

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// Not begun, or to be begun again.
    Ready,
    /// Begun.
    Running,
    /// To be begun again later.
    Waiting,
    /// Its last try failed.
    Failed,
    /// It is not known whether its last try did anything.
    Unknown,
    /// It is over, and well.
    Done,
    /// It did not work, and what came before it is enough.
    PassedOver,
}

/// What moves a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepInput {
    /// It is begun.
    Started,
    /// It was done.
    Done,
    /// It failed.
    Failed,
    /// Nobody knows: the host does not, its time is over, or it was given up.
    Unknown,
    /// It is tried again later.
    RetryScheduled,
    /// The agent died meanwhile, or all action was stopped, and it may be repeated.
    InterruptedRepeatable,
    /// The agent died meanwhile, and it may be done only once.
    Interrupted,
    /// A person says that it was done.
    SaidDone,
    /// A person says that it was not done.
    SaidNotDone,
    /// A person wants it tried again at once.
    Retried,
    /// Another fence holds.
    PassedOver,
}

impl Machine for StepLife {
    type State = StepState;
    type Input = StepInput;

    const NAME: &'static str = "A step";
    const ABOUT: &'static str = "An outcome that comes late, for a try that is over, is no input: it is recorded and changes nothing. \
        From `failed` and `unknown` the step is begun again while it has tries left, or the rung has failed.";
    const STATES: &'static [StepState] = &[
        StepState::Ready,
        StepState::Running,
        StepState::Waiting,
        StepState::Failed,
        StepState::Unknown,
        StepState::Done,
        StepState::PassedOver,
    ];
    const INPUTS: &'static [StepInput] = &[
        StepInput::Started,
        StepInput::Done,
        StepInput::Failed,
        StepInput::Unknown,
        StepInput::RetryScheduled,
        StepInput::InterruptedRepeatable,
        StepInput::Interrupted,
        StepInput::SaidDone,
        StepInput::SaidNotDone,
        StepInput::Retried,
        StepInput::PassedOver,
    ];

    fn state(state: StepState) -> &'static str {
        match state {
            StepState::Ready => "ready",
            StepState::Running => "running",
            StepState::Waiting => "waiting",
            StepState::Failed => "failed",
            StepState::Unknown => "unknown",
            StepState::Done => "done",
            StepState::PassedOver => "passed_over",
        }
    }

    fn input(input: StepInput) -> &'static str {
        match input {
            StepInput::Started => "step_started",
            StepInput::Done => "it ended: done",
            StepInput::Failed => "it ended: failed",
            StepInput::Unknown => "it ended: unknown, timed out, or given up",
            StepInput::RetryScheduled => "retry_scheduled",
            StepInput::InterruptedRepeatable => "the agent died, or all action was stopped, and it may be repeated",
            StepInput::Interrupted => "the agent died, and it may be done only once",
            StepInput::SaidDone => "`approve --outcome done`",
            StepInput::SaidNotDone => "`approve --outcome not-done`",
            StepInput::Retried => "`retry`",
            StepInput::PassedOver => "fence_passed_over",
        }
    }

    fn next(state: StepState, input: StepInput) -> Result<StepState, Illegal> {
        use StepInput as I;
        use StepState as S;
        match (state, input) {
            (S::Ready | S::Waiting | S::Failed | S::Unknown, I::Started) | (S::Running, I::Retried) => Ok(S::Running),
            (S::Running, I::Done) | (S::Unknown, I::SaidDone) | (S::Done, I::Retried) => Ok(S::Done),
            (S::Running, I::Failed) | (S::Failed, I::Retried) => Ok(S::Failed),
            (S::Running, I::Unknown | I::Interrupted) => Ok(S::Unknown),
            (S::Failed | S::Unknown, I::RetryScheduled) => Ok(S::Waiting),
            (S::Failed | S::Unknown, I::PassedOver) | (S::PassedOver, I::Retried) => Ok(S::PassedOver),
            (S::Running, I::InterruptedRepeatable)
            | (S::Unknown, I::SaidNotDone | I::Retried)
            | (S::Ready | S::Waiting, I::Retried) => Ok(S::Ready),
            (S::Running, I::Started | I::RetryScheduled | I::SaidDone | I::SaidNotDone | I::PassedOver)
            | (
                S::Ready | S::Waiting,
                I::Done
                | I::Failed
                | I::Unknown
                | I::RetryScheduled
                | I::InterruptedRepeatable
                | I::Interrupted
                | I::SaidDone
                | I::SaidNotDone
                | I::PassedOver,
            )
            | (
                S::Failed,
                I::Done
                | I::Failed
                | I::Unknown
                | I::InterruptedRepeatable
                | I::Interrupted
                | I::SaidDone
                | I::SaidNotDone,
            )
            | (S::Unknown, I::Done | I::Failed | I::Unknown | I::InterruptedRepeatable | I::Interrupted)
            | (
                S::Done | S::PassedOver,
                I::Started
                | I::Done
                | I::Failed
                | I::Unknown
                | I::RetryScheduled
                | I::InterruptedRepeatable
                | I::Interrupted
                | I::SaidDone
                | I::SaidNotDone
                | I::PassedOver,
            ) => Self::illegal(state, input),
        }
    }
}
