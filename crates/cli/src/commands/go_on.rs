//! `mainstay continue`: go on after a halt.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Go on after `mainstay halt`
///
/// Recoveries go on where they stand: a step that was given up is begun again, after a look at what it was done to.
#[derive(Debug, clap::Args)]
#[command(
    name = "continue",
    after_help = "\
Examples:
  mainstay continue --reason \"the plan is mended\""
)]
pub(crate) struct Continue {
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Continue {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let next = "action goes on where it stands; `mainstay status` says what waits for what";
        cx.give(&api::Command::Continue { reason: self.reason }, self.json, next)
    }
}
