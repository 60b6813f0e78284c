//! `mainstay retry`: try again, at once.

use mainstay_api as api;
use mainstay_engine::RecoveryId;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Try again, at once
///
/// A step that waits for its next attempt, a step whose outcome nobody knows, or an undo that did not work. Of a recovery
/// that failed while its component is still down: the whole ladder, without waiting for the cool-down.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay retry r57 --reason \"the standby is reachable again\"")]
pub(crate) struct Retry {
    /// The recovery: r1, r2, …
    #[arg(value_name = "ID")]
    recovery: RecoveryId,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Retry {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let recovery = self.recovery.to_string();
        let next = format!("{recovery} is tried again; `mainstay recoveries` shows how it goes");
        cx.give(&api::Command::Retry { recovery, reason: self.reason }, self.json, &next)
    }
}
