//! Who is told, by which channel, and who is told next when nobody answers.

use std::time::Duration;

use crate::action::Action;
use crate::location::Location;

/// Who is told, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationChannel {
    /// Its name.
    pub name: String,
    /// A command or a webhook. The text is handed over as `MAINSTAY_MESSAGE` or as the body.
    pub action: Action,
    /// Where what carries it lives, if the plan says so.
    pub location: Option<Location>,
}

/// One step of an escalation: who is told when nobody has answered for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscalationStep {
    /// From the first notice.
    pub after: Duration,
    /// Channels, by their place in the plan's list.
    pub tell: Vec<usize>,
}
