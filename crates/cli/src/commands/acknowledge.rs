//! `mainstay acknowledge`: a person has looked.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Say that you have looked at what happened to a component
///
/// Its cool-down ends, and so does the wait after a recovery that failed (`after_failure: acknowledge`) or after too many of
/// them (`flapping`). Nothing else is overruled: the other guards hold as before.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay acknowledge r57 --reason \"the disk was full, it is not any more\"
  mainstay acknowledge orders-db")]
pub(crate) struct Acknowledge {
    /// A recovery (r1, r2, …) or a component
    #[arg(value_name = "ID|COMPONENT")]
    of: String,
    /// What you found, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Acknowledge {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let next = format!("nothing that happened before holds `{}` back any more", self.of);
        cx.give(&api::Command::Acknowledge { of: self.of, reason: self.reason }, self.json, &next)
    }
}
