//! How the repair of a displaced instance stands.

use super::{Illegal, Machine};

/// The life of a repair.
#[derive(Clone, Copy, Debug)]
pub struct RepairLife;

/// How the repair of an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairState {
    /// Nothing of it is under way.
    Idle,
    /// Its next action is to be begun.
    Ready,
    /// An action is being done.
    Running,
    /// An action was not done, or nobody knows whether it was.
    Broken,
    /// All is done; the instance is asked whether it is a healthy standby.
    Asked,
}

/// What moves a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairInput {
    /// It begins.
    Started,
    /// An action is begun.
    StepStarted,
    /// An action was done, and there is another one.
    StepDone,
    /// The last action was done.
    LastStepDone,
    /// An action failed, or nobody knows whether it was done.
    StepBroken,
    /// The agent died meanwhile, or was stopped, and the action may be repeated.
    InterruptedRepeatable,
    /// The agent died meanwhile, and the action may be done only once.
    Interrupted,
    /// It ended without success.
    Failed,
    /// The instance is a healthy standby again.
    Completed,
}

impl Machine for RepairLife {
    type State = RepairState;
    type Input = RepairInput;

    const NAME: &'static str = "The repair of an instance";
    const ABOUT: &'static str = "A repair makes a displaced instance a standby of the owner again. One that failed begins anew \
        after a wait, which grows; one of which nobody knows whether it was done, and which may not be done twice, by hand.";
    const STATES: &'static [RepairState] =
        &[RepairState::Idle, RepairState::Ready, RepairState::Running, RepairState::Broken, RepairState::Asked];
    const INPUTS: &'static [RepairInput] = &[
        RepairInput::Started,
        RepairInput::StepStarted,
        RepairInput::StepDone,
        RepairInput::LastStepDone,
        RepairInput::StepBroken,
        RepairInput::InterruptedRepeatable,
        RepairInput::Interrupted,
        RepairInput::Failed,
        RepairInput::Completed,
    ];

    fn state(state: RepairState) -> &'static str {
        match state {
            RepairState::Idle => "idle",
            RepairState::Ready => "ready",
            RepairState::Running => "running",
            RepairState::Broken => "broken",
            RepairState::Asked => "asked",
        }
    }

    fn input(input: RepairInput) -> &'static str {
        match input {
            RepairInput::Started => "repair_started",
            RepairInput::StepStarted => "step_started",
            RepairInput::StepDone => "an action ended: done",
            RepairInput::LastStepDone => "the last action ended: done",
            RepairInput::StepBroken => "an action ended: failed, unknown, or timed out",
            RepairInput::InterruptedRepeatable => "the agent died, or all action was stopped, and it may be repeated",
            RepairInput::Interrupted => "the agent died, and it may be done only once",
            RepairInput::Failed => "repair_failed",
            RepairInput::Completed => "repair_completed",
        }
    }

    fn next(state: RepairState, input: RepairInput) -> Result<RepairState, Illegal> {
        use RepairInput as I;
        use RepairState as S;
        match (state, input) {
            (S::Idle, I::Started) | (S::Running, I::StepDone | I::InterruptedRepeatable) => Ok(S::Ready),
            (S::Ready, I::StepStarted) => Ok(S::Running),
            (S::Running, I::LastStepDone) => Ok(S::Asked),
            (S::Running, I::StepBroken | I::Interrupted) => Ok(S::Broken),
            (S::Ready | S::Running | S::Broken | S::Asked, I::Failed) | (S::Asked, I::Completed) => Ok(S::Idle),
            (
                S::Idle,
                I::StepStarted
                | I::StepDone
                | I::LastStepDone
                | I::StepBroken
                | I::InterruptedRepeatable
                | I::Interrupted
                | I::Failed
                | I::Completed,
            )
            | (S::Running, I::StepStarted)
            | (S::Ready | S::Running | S::Broken | S::Asked, I::Started)
            | (S::Ready | S::Running | S::Broken, I::Completed)
            | (S::Ready, I::StepDone | I::LastStepDone | I::StepBroken | I::InterruptedRepeatable | I::Interrupted)
            | (
                S::Broken | S::Asked,
                I::StepStarted
                | I::StepDone
                | I::LastStepDone
                | I::StepBroken
                | I::InterruptedRepeatable
                | I::Interrupted,
            ) => Self::illegal(state, input),
        }
    }
}
