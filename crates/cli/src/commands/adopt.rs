//! `mainstay adopt`: take a displaced instance as a standby again.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Take a displaced instance as a standby again
///
/// After a takeover the old instance is fenced and no part of any recovery. Once it follows the new one, this makes it
/// the standby to fall back to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay adopt orders-db --reason \"rebuilt as a replica\"")]
pub(crate) struct Adopt {
    /// The instance
    instance: String,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Adopt {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Adopt { instance, reason, json } = self;
        let next = format!("`{instance}` is a standby again once its probes find it healthy; see `mainstay status`");
        cx.give(&api::Command::Adopt { instance, reason }, json, &next)
    }
}
