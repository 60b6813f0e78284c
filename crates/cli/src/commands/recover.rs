//! `mainstay recover`: begin a recovery now.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Recover a component that is down, without waiting for the cool-down
///
/// All other guards hold as ever. A component that is not down is left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay recover orders-db --reason \"the disk was replaced\"")]
pub(crate) struct Recover {
    /// The component
    component: String,
    /// Why, for the journal
    #[arg(long)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Recover {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Recover { component, reason, json } = self;
        let next = format!(
            "the agent recovers `{component}` as soon as the other guards let it; follow it with \
             `mainstay status {component}`"
        );
        cx.give(&api::Command::Recover { component, reason }, json, &next)
    }
}
