//! `mainstay abort`: end a recovery where it stands.

use mainstay_api as api;
use mainstay_engine::RecoveryId;

use super::Cx;
use crate::exit::{Answer, Failure};

/// End a recovery where it stands
///
/// Actions that were done stay done. Where no other instance has taken over yet, the route goes back to its owner. The
/// recovery counts as failed, and the cool-down begins.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay abort r57 --reason \"we restore by hand\"")]
pub(crate) struct Abort {
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

impl Abort {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let recovery = self.recovery.to_string();
        let next =
            format!("{recovery} ends where it stands; what was done is in `mainstay recoveries show {recovery}`");
        cx.give(&api::Command::Abort { recovery, reason: self.reason }, self.json, &next)
    }
}
