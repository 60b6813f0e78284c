//! `mainstay skip`: go on without what a recovery waits for.

use mainstay_api as api;
use mainstay_engine::RecoveryId;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Go on without what a recovery waits for
///
/// An undo that did not work counts as done by hand, a manual step as done. Otherwise the rung that is tried is given up:
/// what it did is undone, and the next one is tried.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay skip r57 --reason \"demoted db-2 by hand\"
  mainstay skip r57 --reason \"the restart will not help\"")]
pub(crate) struct Skip {
    /// The recovery: r1, r2, …
    #[arg(value_name = "ID")]
    recovery: RecoveryId,
    /// Why, for the journal
    #[arg(long)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Skip {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let recovery = self.recovery.to_string();
        let next = format!("{recovery} goes on without it; `mainstay recoveries show {recovery}`");
        cx.give(&api::Command::Skip { recovery, reason: self.reason }, self.json, &next)
    }
}
