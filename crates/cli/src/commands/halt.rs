//! `mainstay halt`: stop all action at once.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Stop all action at once, also recoveries under way
///
/// No step, no repetition, nothing taken back and no new routing table, until `mainstay continue`; also after a restart. An
/// action that runs is ended where it may be done again, and waited for where it may be done only once. Traffic goes on
/// being served as it is; health goes on being seen and recorded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay halt --reason \"it fails over what we work on\"")]
pub(crate) struct Halt {
    /// Why, for the journal
    #[arg(long)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Halt {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let next = "all action is stopped; `mainstay continue` goes on, `mainstay status` says what stands where";
        cx.give(&api::Command::Halt { reason: self.reason }, self.json, next)
    }
}
