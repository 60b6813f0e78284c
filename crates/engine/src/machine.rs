//! State machines, in one shape: the states and the inputs are closed lists, and one function says for every pair of them what
//! comes next. The function is a single `match` without a wildcard, so that a new state or input does not compile before
//! each of its pairs was thought about. A pair that can't happen is [`Illegal`], a result like any other: whoever folds a
//! journal ignores it and keeps a note.
//!
//! `docs/state-machines.md` is made from [`all`], by the test `machines`. To add a machine: implement [`Machine`] beside
//! what it is about, and add it to [`all`].

use crate::breaker::Breaker;
use crate::watched;

mod evacuation;
mod incident;
mod keeping;
mod notice;
mod probe;
mod recovery;
mod repair;
mod step;
mod traffic;
mod undo;

pub use evacuation::{EvacuationInput, EvacuationLife, EvacuationState};
pub use incident::{IncidentInput, IncidentLife, IncidentState};
pub use keeping::{KeepingInput, KeepingLife, KeepingState};
pub use notice::{Channel, NoticeInput, NoticeLife, NoticeState, TrayInput, TrayState};
pub(crate) use probe::after;
pub use probe::{ProbeHealth, Told};
pub use recovery::{RecoveryInput, RecoveryLife};
pub use repair::{RepairInput, RepairLife, RepairState};
pub use step::{StepInput, StepLife, StepState};
pub use traffic::{Standing, TrafficProcess, TrafficWord};
pub use undo::{UndoInput, UndoLife, UndoState};

/// A state machine.
pub trait Machine {
    /// Where it may be.
    type State: Copy + Eq + 'static;
    /// What may happen to it.
    type Input: Copy + 'static;

    /// What it is, as a heading.
    const NAME: &'static str;
    /// What it is about, for people, as sentences.
    const ABOUT: &'static str;
    /// All states, in the order of a life; the first is where it begins.
    const STATES: &'static [Self::State];
    /// All inputs.
    const INPUTS: &'static [Self::Input];

    /// The word for a state.
    fn state(state: Self::State) -> &'static str;
    /// The words for an input.
    fn input(input: Self::Input) -> &'static str;
    /// What comes next: one total `match`.
    fn next(state: Self::State, input: Self::Input) -> Result<Self::State, Illegal>;

    /// [`Machine::next`], where it is taken: noted for the coverage of trials.
    fn step(state: Self::State, input: Self::Input) -> Result<Self::State, Illegal> {
        let next = Self::next(state, input);
        if next.is_ok() {
            watched::taken(Self::NAME, Self::state(state), Self::input(input));
        }
        next
    }

    /// The pair as an error, for [`Machine::next`].
    fn illegal(state: Self::State, input: Self::Input) -> Result<Self::State, Illegal> {
        Err(Illegal { machine: Self::NAME, state: Self::state(state), input: Self::input(input) })
    }
}

/// An input that can't come in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{machine}: `{input}` can't come in `{state}`")]
pub struct Illegal {
    /// Which machine.
    pub machine: &'static str,
    /// The state.
    pub state: &'static str,
    /// The input.
    pub input: &'static str,
}

/// A machine written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its heading.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The states.
    pub states: Vec<&'static str>,
    /// For each input its words, and what comes next by state; `None`: illegal.
    pub rows: Vec<(&'static str, Vec<Option<&'static str>>)>,
}

impl Table {
    /// Asks a machine for every pair.
    pub fn of<M: Machine>() -> Table {
        let row = |input: &M::Input| {
            let cell = |state: &M::State| M::next(*state, *input).ok().map(M::state);
            (M::input(*input), M::STATES.iter().map(cell).collect())
        };
        Table {
            name: M::NAME,
            about: M::ABOUT,
            states: M::STATES.iter().map(|it| M::state(*it)).collect(),
            rows: M::INPUTS.iter().map(row).collect(),
        }
    }
}

/// Every machine of the engine.
pub fn all() -> Vec<Table> {
    vec![
        Table::of::<RecoveryLife>(),
        Table::of::<StepLife>(),
        Table::of::<UndoLife>(),
        Table::of::<RepairLife>(),
        Table::of::<KeepingLife>(),
        Table::of::<ProbeHealth>(),
        Table::of::<TrafficProcess>(),
        Table::of::<crate::lease::LeaseMachine>(),
        Table::of::<Breaker>(),
        Table::of::<NoticeLife>(),
        Table::of::<Channel>(),
        Table::of::<IncidentLife>(),
        Table::of::<EvacuationLife>(),
    ]
}
