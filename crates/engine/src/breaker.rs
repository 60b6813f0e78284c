//! The control plane as a state: whether actions that need one are tried, or known to fail.
//!
//! Intuition: when a region's control plane is gone, everybody's recovery finds out by running into the same timeout, one
//! after another. A breaker remembers for all of them. It *opens* when a canary says so, or when a few rungs in a row
//! failed there; while it is open, rungs that need the plane are passed over at once, with the reason. After a while it is
//! *half open*: one recovery tries. What opened it by failures alone is a guess, so it never keeps a component from
//! its last rung: when nothing else is left, that rung is tried all the same.

use std::time::Duration;

use mainstay_plan::observation::Health;
use mainstay_plan::strategy::Play;
use mainstay_plan::{ControlIx, Time};
use serde::{Deserialize, Serialize};

use crate::machine::{Illegal, Machine};
use crate::planted::{Fault, planted};
use crate::record::{Body, RecoveryId};
use crate::state::{Control, Recovery, State};
use crate::waiting::WaitingOn;

/// How a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Actions are tried.
    #[default]
    Closed,
    /// They are known to fail, and not tried.
    Open,
    /// One recovery tries.
    HalfOpen,
    /// An operator says that they fail.
    HeldOpen,
    /// An operator says that they are to be tried.
    HeldClosed,
}

impl Position {
    /// All of them.
    pub const ALL: [Position; 5] =
        [Position::Closed, Position::Open, Position::HalfOpen, Position::HeldOpen, Position::HeldClosed];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Position::Closed => "closed",
            Position::Open => "open",
            Position::HalfOpen => "half_open",
            Position::HeldOpen => "held_open",
            Position::HeldClosed => "held_closed",
        }
    }
}

/// What an operator says about a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Pass over what needs it.
    Open,
    /// Try what needs it.
    Closed,
    /// As outcomes and canary say.
    Auto,
}

impl Hold {
    /// All of them.
    pub const ALL: [Hold; 3] = [Hold::Open, Hold::Closed, Hold::Auto];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Hold::Open => "open",
            Hold::Closed => "closed",
            Hold::Auto => "auto",
        }
    }
}

/// What moves a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// As many rungs in a row failed as it takes; half open, the one that tried.
    Failed,
    /// An action worked.
    Worked,
    /// The canary went down.
    CanaryDown,
    /// The canary is healthy.
    CanaryWell,
    /// It was left alone for long enough, or nothing else is left to try.
    Due,
    /// An operator holds it open.
    HoldOpen,
    /// An operator holds it closed.
    HoldClosed,
    /// An operator lets it go.
    Release,
}

impl Signal {
    /// All of them.
    pub const ALL: [Signal; 8] = [
        Signal::Failed,
        Signal::Worked,
        Signal::CanaryDown,
        Signal::CanaryWell,
        Signal::Due,
        Signal::HoldOpen,
        Signal::HoldClosed,
        Signal::Release,
    ];

    /// The words for it in the table of transitions.
    pub const fn words(self) -> &'static str {
        match self {
            Signal::Failed => "enough rungs failed, or the try did",
            Signal::Worked => "an action worked",
            Signal::CanaryDown => "the canary goes down",
            Signal::CanaryWell => "the canary answers",
            Signal::Due => "a recovery may try",
            Signal::HoldOpen => "an operator holds it open",
            Signal::HoldClosed => "an operator holds it closed",
            Signal::Release => "an operator lets it go",
        }
    }
}

/// Whether actions that need a control plane are tried.
#[derive(Debug)]
pub struct Breaker;

impl Machine for Breaker {
    type State = Position;
    type Input = Signal;

    const NAME: &'static str = "breaker of a control plane";
    const ABOUT: &'static str =
        "One for each service and region that some action needs. What is open is passed over by ladders.";
    const STATES: &'static [Position] = &Position::ALL;
    const INPUTS: &'static [Signal] = &Signal::ALL;

    fn state(state: Position) -> &'static str {
        state.word()
    }

    fn input(input: Signal) -> &'static str {
        input.words()
    }

    fn next(at: Position, signal: Signal) -> Result<Position, Illegal> {
        match (at, signal) {
            (Position::Closed, Signal::Failed | Signal::CanaryDown) => Ok(Position::Open),
            (Position::Closed, Signal::Worked | Signal::CanaryWell | Signal::Release) => Ok(at),
            (Position::Open, Signal::Worked | Signal::CanaryWell) => Ok(Position::Closed),
            (Position::Open, Signal::Due) => Ok(Position::HalfOpen),
            (Position::Open, Signal::Failed | Signal::CanaryDown | Signal::Release) => Ok(at),
            (Position::HalfOpen, Signal::Worked | Signal::CanaryWell) => Ok(Position::Closed),
            (Position::HalfOpen, Signal::Failed | Signal::CanaryDown) => Ok(Position::Open),
            // Whoever tried ended without having tried: another one does.
            (Position::HalfOpen, Signal::Due | Signal::Release) => Ok(at),
            (Position::HeldOpen | Position::HeldClosed, Signal::Release) => Ok(Position::Closed),
            (
                Position::HeldOpen | Position::HeldClosed,
                Signal::Failed | Signal::Worked | Signal::CanaryDown | Signal::CanaryWell,
            ) => Ok(at),
            (Position::Closed | Position::HeldOpen | Position::HeldClosed, Signal::Due) => Self::illegal(at, signal),
            (
                Position::Closed | Position::Open | Position::HalfOpen | Position::HeldOpen | Position::HeldClosed,
                Signal::HoldOpen,
            ) => Ok(Position::HeldOpen),
            (
                Position::Closed | Position::Open | Position::HalfOpen | Position::HeldOpen | Position::HeldClosed,
                Signal::HoldClosed,
            ) => Ok(Position::HeldClosed),
        }
    }
}

/// Who has tried already waits so much longer, each time, so that the others come first.
const A_MOMENT: Duration = Duration::from_secs(1);

/// What follows from the facts about a control plane, if they move its breaker.
pub fn next(state: &State, ix: ControlIx, now: Time) -> Option<Body> {
    let control = &state.controls[ix.index()];
    let (signal, why) = signal(state, ix, control)?;
    let to = Breaker::step(control.position, signal).ok().filter(|it| *it != control.position)?;
    let planned = state.plan.control(ix);
    // Whoever fails again and again is asked less and less.
    let rest = planned.retry_after.saturating_mul(1 << control.reopened.min(4));
    Some(Body::BreakerChanged {
        service: planned.service.clone(),
        region: planned.region.clone(),
        from: control.position,
        to,
        why,
        until: (to == Position::Open).then(|| now + rest),
        by: None,
    })
}

/// The strongest signal that stands: an operator's word, then what worked, then what did not.
fn signal(state: &State, ix: ControlIx, control: &Control) -> Option<(Signal, String)> {
    if let Some((hold, why)) = &control.said {
        let signal = match hold {
            Hold::Open => Signal::HoldOpen,
            Hold::Closed => Signal::HoldClosed,
            Hold::Auto => Signal::Release,
        };
        return Some((signal, why.clone()));
    }
    match control.position {
        Position::Closed => {
            let refuted = control.worked.is_some_and(|it| it >= control.canary_since);
            if control.canary == Health::Down && !refuted {
                let told = control.canary_told.as_deref().unwrap_or("is down");
                return Some((Signal::CanaryDown, format!("canary {told}")));
            }
            let enough = control.failed.len() >= state.plan.control(ix).opens_after as usize;
            let why =
                || format!("{} rungs in a row failed on it, the last with: {}", control.failed.len(), control.last);
            enough.then(|| (Signal::Failed, why()))
        }
        Position::Open | Position::HalfOpen => {
            if control.worked.is_some_and(|it| it >= control.since) {
                return Some((Signal::Worked, "an action worked".to_owned()));
            }
            if control.canary == Health::Healthy && !planted(Fault::BreakerNeverCloses) {
                return Some((Signal::CanaryWell, "its canary answers".to_owned()));
            }
            let tried = control.position == Position::HalfOpen && !control.failed.is_empty();
            tried.then(|| (Signal::Failed, format!("the try failed: {}", control.last)))
        }
        Position::HeldOpen | Position::HeldClosed => None,
    }
}

/// A control plane that is known to be down, in the way of a play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) control: ControlIx,
    /// When it may be tried again.
    pub(crate) until: Option<Time>,
    /// Whether failures alone say so.
    pub(crate) is_guess: bool,
}

/// The first control plane that is in the way of a play, if one is.
pub(crate) fn blocked(state: &State, recovery: &Recovery, play: &Play) -> Option<Blocked> {
    play.steps.iter().filter_map(|it| it.control).find_map(|ix| {
        let control = &state.controls[ix.index()];
        let until = match control.position {
            Position::Closed | Position::HeldClosed => return None,
            Position::HalfOpen if control.by == Some(recovery.id) => return None,
            Position::HeldOpen => None,
            Position::Open => control
                .until
                .map(|it| it + A_MOMENT * control.tried.get(&recovery.component).map_or(0, |it| (*it).min(60))),
            Position::HalfOpen => Some(control.since + state.plan.control(ix).retry_after),
        };
        let is_guess = control.position != Position::HeldOpen && control.canary != Health::Down;
        Some(Blocked { control: ix, until, is_guess })
    })
}

impl Blocked {
    /// Whether it may be tried now.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.until.is_some_and(|it| it <= now)
    }

    /// Why a rung is passed over.
    pub(crate) fn why(&self, state: &State) -> String {
        let control = &state.controls[self.control.index()];
        let label = state.plan.control(self.control).label();
        match control.position {
            Position::HalfOpen => format!("{label} is just being tried by another recovery"),
            Position::Closed | Position::Open | Position::HeldOpen | Position::HeldClosed => {
                format!("{label} is known to be down: {}", control.why)
            }
        }
    }

    /// The wait where nothing else is left.
    pub(crate) fn waiting(&self, state: &State) -> WaitingOn {
        let planned = state.plan.control(self.control);
        WaitingOn::ControlPlane {
            service: planned.service.clone(),
            region: planned.region.clone(),
            why: self.why(state),
            until: self.until,
        }
    }

    /// The record that lets this recovery try.
    fn half_open(&self, state: &State, recovery: RecoveryId, why: &str) -> Option<Body> {
        let control = &state.controls[self.control.index()];
        let planned = state.plan.control(self.control);
        Some(Body::BreakerChanged {
            service: planned.service.clone(),
            region: planned.region.clone(),
            from: control.position,
            to: Breaker::step(control.position, Signal::Due).ok()?,
            why: why.to_owned(),
            until: None,
            by: Some(recovery),
        })
    }
}

/// What has to be recorded before a play begins that needs an open breaker: that this recovery tries.
pub(crate) fn lets_through(state: &State, recovery: &Recovery, play: &Play, now: Time) -> Option<Body> {
    let blocked = blocked(state, recovery, play)?;
    let why = if blocked.is_due(now) { "it is tried again" } else { "it is tried: nothing else is left" };
    blocked.half_open(state, recovery.id, why)
}
