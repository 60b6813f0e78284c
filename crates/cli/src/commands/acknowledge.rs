//! `mainstay acknowledge`: a person has seen it.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Say that a person has seen it
///
/// A notice that was acknowledged is neither repeated nor escalated any more; that it is over is told nevertheless. What
/// becomes louder has to be seen again. Of a recovery or a component it says, too, that you have looked at what happened: the
/// cool-down ends, and so does the wait after a recovery that failed (`after_failure: acknowledge`) or after too many of them
/// (`flapping`). Nothing else is overruled: see `mainstay approve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay acknowledge n57 --reason \"on my way\"
  mainstay acknowledge r57
  mainstay acknowledge orders-db --reason \"the disk is being replaced\"")]
pub(crate) struct Acknowledge {
    /// A notice (n1, n2, …), a recovery (r1, r2, …) or a component
    what: String,
    /// Why, or what is done about it, for the journal and for whoever was told
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Acknowledge {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Acknowledge { what, reason, json } = self;
        let notice = what.strip_prefix('n').is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()));
        let ended = if notice { "" } else { ", and its cool-down has ended" };
        let next = format!(
            "nobody is told again or next about {what}, unless it becomes louder{ended}; see `mainstay notices`"
        );
        cx.give(&api::Command::Acknowledge { what, reason }, json, &next)
    }
}
