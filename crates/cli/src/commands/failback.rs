//! `mainstay failback`: move a component back to its original instance.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Move a component back to the instance that it began with
///
/// A planned switch without data loss. Refused, with all that is missing, unless the old side is whole and in step.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay failback orders-db --reason \"db-1 is repaired\"")]
pub(crate) struct Failback {
    /// The component
    component: String,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Failback {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Failback { component, reason, json } = self;
        cx.give(&api::Command::Failback { component, reason }, json, "see `mainstay recoveries`")
    }
}
