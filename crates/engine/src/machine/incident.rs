//! The life of an incident.

use super::{Illegal, Machine};

/// A zone or a region that was lost, and what lived there.
#[derive(Clone, Copy, Debug)]
pub struct IncidentLife;

/// How an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncidentState {
    /// It is lost, and recoveries of what lived there are open, or none has begun.
    Lost,
    /// It is lost, and the last recovery of it has ended.
    Recovered,
    /// Something in it lives again, and recoveries of it are still open.
    Back,
    /// Nothing of it is left to be done.
    Over,
}

/// What may happen to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentInput {
    /// A recovery of what lived there is opened, or merged into it.
    Joined,
    /// The last recovery of it has ended.
    Recovered,
    /// Something in it is healthy again, while recoveries are open.
    EndedBefore,
    /// Something in it is healthy again, and no recovery is open.
    Ended,
    /// Its region is lost, and takes it over.
    TakenOver,
    /// The plan is replaced: recoveries end with the one before.
    PlanReplaced,
}

impl Machine for IncidentLife {
    type State = IncidentState;
    type Input = IncidentInput;

    const NAME: &'static str = "An incident";
    const ABOUT: &'static str = "It is opened by `incident_opened`: a zone or a region is lost. People are told once when the last \
        recovery of it has ended, and its notice is over when it is.";
    const STATES: &'static [IncidentState] =
        &[IncidentState::Lost, IncidentState::Recovered, IncidentState::Back, IncidentState::Over];
    const INPUTS: &'static [IncidentInput] = &[
        IncidentInput::Joined,
        IncidentInput::Recovered,
        IncidentInput::EndedBefore,
        IncidentInput::Ended,
        IncidentInput::TakenOver,
        IncidentInput::PlanReplaced,
    ];

    fn state(state: IncidentState) -> &'static str {
        match state {
            IncidentState::Lost => "lost",
            IncidentState::Recovered => "recovered",
            IncidentState::Back => "back",
            IncidentState::Over => "over",
        }
    }

    fn input(input: IncidentInput) -> &'static str {
        match input {
            IncidentInput::Joined => "failure_detected in it, or merged into it",
            IncidentInput::Recovered => "incident_recovered",
            IncidentInput::EndedBefore => "incident_ended, while recoveries are open",
            IncidentInput::Ended => "incident_ended, and none is open",
            IncidentInput::TakenOver => "incident_opened, of its region",
            IncidentInput::PlanReplaced => "the plan is replaced",
        }
    }

    fn next(state: IncidentState, input: IncidentInput) -> Result<IncidentState, Illegal> {
        use IncidentInput as I;
        use IncidentState as S;
        match (state, input) {
            (S::Lost | S::Recovered, I::Joined) => Ok(S::Lost),
            (S::Lost, I::Recovered) => Ok(S::Recovered),
            (S::Lost, I::EndedBefore) => Ok(S::Back),
            (S::Back, I::Recovered)
            | (S::Lost | S::Recovered, I::Ended)
            | (S::Lost | S::Recovered | S::Back, I::TakenOver | I::PlanReplaced) => Ok(S::Over),
            // What is back opens no recovery of its own any more; what is recovered has none open.
            (S::Back, I::Joined | I::EndedBefore | I::Ended)
            | (S::Recovered, I::Recovered | I::EndedBefore)
            | (S::Over, I::Joined | I::Recovered | I::EndedBefore | I::Ended | I::TakenOver | I::PlanReplaced) => {
                Self::illegal(state, input)
            }
        }
    }
}
