//! The channels that carry messages to people.

use std::time::Duration;

use mainstay_engine::Input;
use mainstay_engine::effect::Telling;
use mainstay_plan::action::Outcome;

use super::{Event, World};

/// How long a message takes, and how long whoever carries it waits for an answer.
const CARRIED_IN: Duration = Duration::from_millis(50);
const CARRIER_TIMEOUT: Duration = Duration::from_secs(10);

/// How a notification channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// It carries.
    Works,
    /// It refuses.
    Fails,
    /// It accepts and never answers.
    Hangs,
    /// Whoever carries it loses it, and never says anything.
    Swallows,
}

impl World {
    pub(super) fn carry(&mut self, telling: Telling) {
        self.checkers.told(&telling);
        if self.channels.get(&telling.channel) == Some(&Carrier::Swallows) {
            return;
        }
        let (took, outcome) = match self.channels.get(&telling.channel).copied().unwrap_or(Carrier::Works) {
            Carrier::Works => (CARRIED_IN, Outcome::Done),
            Carrier::Fails => (CARRIED_IN, Outcome::Failed("connection refused".to_owned())),
            Carrier::Hangs | Carrier::Swallows => (CARRIER_TIMEOUT, Outcome::Unknown("no answer in time".to_owned())),
        };
        if outcome == Outcome::Done {
            self.at(took, Event::Arrives(Box::new(telling.clone())));
        }
        let Telling { channel, notice, nth, .. } = telling;
        self.at(took, Event::Told(Box::new(Input::Told { channel, notice, nth, outcome })));
    }
}
