//! What is known of a traffic process.

use super::{Illegal, Machine};

/// A traffic process, as the engine knows it.
#[derive(Clone, Copy, Debug)]
pub struct TrafficProcess;

/// How a traffic process stands to the newest table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It has not said what it serves since the agent started, or could act again.
    Unheard,
    /// It serves an older table.
    Behind,
    /// It has refused the newest table.
    Refuses,
    /// It serves the newest table, and what that cuts is closed.
    Serves,
}

/// What a traffic process says, and what changes under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficWord {
    /// An agent started: nothing is known.
    AgentStarted,
    /// This agent may act from here on: another one may have published since it was heard.
    LeaseBegan,
    /// A newer table was published.
    Published,
    /// It serves a table that is not the newest.
    AppliedOlder,
    /// It serves the newest table.
    AppliedNewest,
    /// It refused a table that is not the newest.
    RefusedOlder,
    /// It refused the newest table.
    RefusedNewest,
    /// It is ahead of the journal: what it serves is the newest from here on.
    Ahead,
    /// Another process is ahead of the journal.
    AnotherAhead,
}

impl Machine for TrafficProcess {
    type State = Standing;
    type Input = TrafficWord;

    const NAME: &'static str = "A traffic process";
    const ABOUT: &'static str = "A cut is a fence, and a hand-over is done, once every traffic process `serves` the table that says so. \
        No table is published while one is `unheard`.";
    const STATES: &'static [Standing] = &[Standing::Unheard, Standing::Behind, Standing::Refuses, Standing::Serves];
    const INPUTS: &'static [TrafficWord] = &[
        TrafficWord::AgentStarted,
        TrafficWord::LeaseBegan,
        TrafficWord::Published,
        TrafficWord::AppliedOlder,
        TrafficWord::AppliedNewest,
        TrafficWord::RefusedOlder,
        TrafficWord::RefusedNewest,
        TrafficWord::Ahead,
        TrafficWord::AnotherAhead,
    ];

    fn state(state: Standing) -> &'static str {
        match state {
            Standing::Unheard => "unheard",
            Standing::Behind => "behind",
            Standing::Refuses => "refuses",
            Standing::Serves => "serves",
        }
    }

    fn input(input: TrafficWord) -> &'static str {
        match input {
            TrafficWord::AgentStarted => "agent_started",
            TrafficWord::LeaseBegan => "lease_changed, this agent may act",
            TrafficWord::Published => "table_published",
            TrafficWord::AppliedOlder => "route_applied, of an older table",
            TrafficWord::AppliedNewest => "route_applied, of the newest",
            TrafficWord::RefusedOlder => "route_refused, of an older table",
            TrafficWord::RefusedNewest => "route_refused, of the newest",
            TrafficWord::Ahead => "traffic_ahead",
            TrafficWord::AnotherAhead => "traffic_ahead, of another process",
        }
    }

    fn next(state: Standing, input: TrafficWord) -> Result<Standing, Illegal> {
        use Standing as S;
        use TrafficWord as I;
        match (state, input) {
            (S::Unheard | S::Behind | S::Refuses | S::Serves, I::AgentStarted | I::LeaseBegan)
            | (S::Unheard, I::RefusedOlder | I::RefusedNewest | I::AnotherAhead) => Ok(S::Unheard),
            (S::Behind | S::Refuses | S::Serves, I::Published)
            | (S::Unheard | S::Behind | S::Serves, I::AppliedOlder)
            | (S::Behind, I::RefusedOlder)
            | (S::Behind | S::Refuses | S::Serves, I::AnotherAhead) => Ok(S::Behind),
            (S::Behind | S::Refuses, I::RefusedNewest) | (S::Refuses, I::RefusedOlder | I::AppliedOlder) => {
                Ok(S::Refuses)
            }
            (S::Unheard | S::Behind | S::Refuses | S::Serves, I::AppliedNewest | I::Ahead)
            | (S::Serves, I::RefusedOlder) => Ok(S::Serves),
            // It was published before anyone was heard; it refuses what it serves.
            (S::Unheard, I::Published) | (S::Serves, I::RefusedNewest) => Self::illegal(state, input),
        }
    }
}
