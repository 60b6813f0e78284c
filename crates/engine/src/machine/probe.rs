//! What the answers of one probe add up to.

use mainstay_plan::observation::Health;

use super::{Illegal, Machine};

/// The health that one probe sees.
#[derive(Clone, Copy, Debug)]
pub struct ProbeHealth;

/// What one answer means, given those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A good answer, fewer than `rise` in a row.
    Good,
    /// The good answer that makes it `rise` in a row, or a later one.
    GoodEnough,
    /// A failure (refused, timed out, or wrong), fewer than `fall` in a row.
    Failure,
    /// The failure that makes it `fall` in a row, or a later one.
    FailureEnough,
    /// It could not be asked, and what is known of it is not old yet.
    CouldNotAsk,
    /// It could not be asked for so long that what was known counts no more.
    Stale,
    /// We were late ourselves: failures that we saw are not believed.
    Distrusted,
    /// Whatever was seen counts no more, because something was done to it.
    LookAgain,
}

impl Machine for ProbeHealth {
    type State = Health;
    type Input = Told;

    const NAME: &'static str = "The health that a probe sees";
    const ABOUT: &'static str = "Every input is possible in every state. An instance is down when `down_when` of its probes are, \
        and unknown as long as one of them is and it is not down. *Suspect* is soft: no record says it.";
    const STATES: &'static [Health] = &[Health::Unknown, Health::Healthy, Health::Suspect, Health::Down];
    const INPUTS: &'static [Told] = &[
        Told::Good,
        Told::GoodEnough,
        Told::Failure,
        Told::FailureEnough,
        Told::CouldNotAsk,
        Told::Stale,
        Told::Distrusted,
        Told::LookAgain,
    ];

    fn state(state: Health) -> &'static str {
        state.word()
    }

    fn input(input: Told) -> &'static str {
        match input {
            Told::Good => "good, fewer than `rise` in a row",
            Told::GoodEnough => "good, `rise` or more in a row",
            Told::Failure => "failed, fewer than `fall` in a row",
            Told::FailureEnough => "failed, `fall` or more in a row",
            Told::CouldNotAsk => "could not ask",
            Told::Stale => "could not ask for long",
            Told::Distrusted => "we were late ourselves",
            Told::LookAgain => "something was done to it",
        }
    }

    fn next(state: Health, input: Told) -> Result<Health, Illegal> {
        Ok(becomes(state, input))
    }
}

/// [`Machine::step`] of this machine, which has no illegal pair.
pub(crate) fn after(state: Health, input: Told) -> Health {
    ProbeHealth::step(state, input).unwrap_or(state)
}

const fn becomes(state: Health, input: Told) -> Health {
    match (state, input) {
        (Health::Unknown | Health::Healthy | Health::Suspect, Told::Good | Told::GoodEnough)
        | (Health::Down, Told::GoodEnough)
        | (Health::Healthy, Told::CouldNotAsk)
        | (Health::Healthy | Health::Suspect, Told::Distrusted) => Health::Healthy,
        (Health::Healthy | Health::Suspect, Told::Failure) | (Health::Suspect, Told::CouldNotAsk) => Health::Suspect,
        (Health::Unknown | Health::Healthy | Health::Suspect | Health::Down, Told::FailureEnough)
        | (Health::Down, Told::Good | Told::Failure | Told::CouldNotAsk) => Health::Down,
        (Health::Unknown, Told::Failure | Told::CouldNotAsk)
        | (Health::Unknown | Health::Down, Told::Distrusted)
        | (Health::Unknown | Health::Healthy | Health::Suspect | Health::Down, Told::Stale | Told::LookAgain) => {
            Health::Unknown
        }
    }
}
