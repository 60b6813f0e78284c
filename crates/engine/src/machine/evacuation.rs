//! The life of a planned evacuation.

use super::{Illegal, Machine};

/// A planned evacuation.
#[derive(Clone, Copy, Debug)]
pub struct EvacuationLife;

/// How far a planned evacuation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvacuationState {
    /// Somebody moves, or can.
    Moving,
    /// Whoever could leave has left. It stands all the same: nothing goes back in by itself.
    Settled,
    /// It does not stand any more.
    Over,
}

impl EvacuationState {
    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            EvacuationState::Moving => "moving",
            EvacuationState::Settled => "settled",
            EvacuationState::Over => "over",
        }
    }
}

/// What may happen to a planned evacuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvacuationInput {
    /// An operator says it (once more).
    Said,
    /// A component begins to move: what it lacked is there.
    MoveBegan,
    /// Whoever could leave has left.
    Settled,
    /// The plan is replaced: everybody is looked at anew.
    PlanReplaced,
    /// An operator ends it.
    EndedByHand,
    /// Its time is over.
    Expired,
}

impl Machine for EvacuationLife {
    type State = EvacuationState;
    type Input = EvacuationInput;

    const NAME: &'static str = "A planned evacuation";
    const ABOUT: &'static str = "It is begun by `mainstay evacuate`. Each move in it is a recovery of its own, which it does not wait for \
        when it ends.";
    const STATES: &'static [EvacuationState] =
        &[EvacuationState::Moving, EvacuationState::Settled, EvacuationState::Over];
    const INPUTS: &'static [EvacuationInput] = &[
        EvacuationInput::Said,
        EvacuationInput::MoveBegan,
        EvacuationInput::Settled,
        EvacuationInput::PlanReplaced,
        EvacuationInput::EndedByHand,
        EvacuationInput::Expired,
    ];

    fn state(state: EvacuationState) -> &'static str {
        state.word()
    }

    fn input(input: EvacuationInput) -> &'static str {
        match input {
            EvacuationInput::Said => "`evacuate`, said once more",
            EvacuationInput::MoveBegan => "switch_started, of one of its components",
            EvacuationInput::Settled => "evacuation_settled",
            EvacuationInput::PlanReplaced => "the plan is replaced",
            EvacuationInput::EndedByHand => "`evacuate --end`",
            EvacuationInput::Expired => "evacuation_ended",
        }
    }

    fn next(state: EvacuationState, input: EvacuationInput) -> Result<EvacuationState, Illegal> {
        use EvacuationInput as I;
        use EvacuationState as S;
        match (state, input) {
            (S::Moving | S::Settled, I::Said | I::MoveBegan | I::PlanReplaced) => Ok(S::Moving),
            (S::Moving | S::Settled, I::Settled) => Ok(S::Settled),
            (S::Moving | S::Settled, I::EndedByHand | I::Expired) => Ok(S::Over),
            (S::Over, I::Said | I::MoveBegan | I::Settled | I::PlanReplaced | I::EndedByHand | I::Expired) => {
                Self::illegal(state, input)
            }
        }
    }
}
