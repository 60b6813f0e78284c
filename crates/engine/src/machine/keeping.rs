//! How what a series of backups needs is being done.

use super::{Illegal, Machine};

/// The life of a backup or a restore test that the agent begins.
#[derive(Clone, Copy, Debug)]
pub struct KeepingLife;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepingState {
    /// Nothing of it is under way.
    Idle,
    /// Its host is to be asked.
    Ready,
    /// It is being done.
    Running,
    /// It ended, one way or the other.
    Ended,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepingInput {
    /// It is due, and begins.
    Started,
    /// Its host is asked.
    StepStarted,
    /// Its host said how it ended, or did not say it in time.
    StepEnded,
    /// The agent died meanwhile, or may not decide any more.
    Interrupted,
    /// It gave way to something that goes first.
    GaveWay,
    /// It failed.
    Failed,
    /// It was done, or was not due.
    Completed,
}

impl Machine for KeepingLife {
    type State = KeepingState;
    type Input = KeepingInput;

    const NAME: &'static str = "The keeping of a series of backups";
    const ABOUT: &'static str = "A base backup, or a restore test, that the agent begins because one is due. It gives way to a \
        recovery of its component; one that failed is tried again after a wait, which grows.";
    const STATES: &'static [KeepingState] =
        &[KeepingState::Idle, KeepingState::Ready, KeepingState::Running, KeepingState::Ended];
    const INPUTS: &'static [KeepingInput] = &[
        KeepingInput::Started,
        KeepingInput::StepStarted,
        KeepingInput::StepEnded,
        KeepingInput::Interrupted,
        KeepingInput::GaveWay,
        KeepingInput::Failed,
        KeepingInput::Completed,
    ];

    fn state(state: KeepingState) -> &'static str {
        match state {
            KeepingState::Idle => "idle",
            KeepingState::Ready => "ready",
            KeepingState::Running => "running",
            KeepingState::Ended => "ended",
        }
    }

    fn input(input: KeepingInput) -> &'static str {
        match input {
            KeepingInput::Started => "keeping_started",
            KeepingInput::StepStarted => "step_started",
            KeepingInput::StepEnded => "the host said how it ended, or did not in time",
            KeepingInput::Interrupted => "the agent died, or lost the lease",
            KeepingInput::GaveWay => "keeping_gave_way",
            KeepingInput::Failed => "keeping_failed",
            KeepingInput::Completed => "keeping_completed",
        }
    }

    fn next(state: KeepingState, input: KeepingInput) -> Result<KeepingState, Illegal> {
        use KeepingInput as I;
        use KeepingState as S;
        match (state, input) {
            (S::Idle, I::Started) | (S::Running, I::Interrupted) => Ok(S::Ready),
            (S::Ready, I::StepStarted) => Ok(S::Running),
            (S::Running, I::StepEnded) => Ok(S::Ended),
            (S::Ready | S::Running | S::Ended, I::GaveWay) | (S::Ended, I::Failed | I::Completed) => Ok(S::Idle),
            (S::Idle, I::StepStarted | I::StepEnded | I::Interrupted | I::GaveWay | I::Failed | I::Completed)
            | (S::Ready, I::Started | I::StepEnded | I::Interrupted | I::Failed | I::Completed)
            | (S::Running, I::Started | I::StepStarted | I::Failed | I::Completed)
            | (S::Ended, I::Started | I::StepStarted | I::StepEnded | I::Interrupted) => Self::illegal(state, input),
        }
    }
}
