//! `mainstay repair`: make a displaced instance a standby again now, as its plan says.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Make a displaced instance a standby of the owner again now, as the plan says
///
/// After a takeover the old instance is fenced and no part of any recovery. Where the plan has a `repair` for it, Mainstay makes it
/// a standby again by itself; this orders it at once, also where the mode lets nothing be done without a person, or after
/// a try of which nobody knows what it did.
///
/// It is never done to the owner, nor while the component is being recovered.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  mainstay repair orders-db\n  mainstay repair orders-db --reason \"its disk was replaced\""
)]
pub(crate) struct Repair {
    /// The instance
    instance: String,
    /// Accept by name that nothing shows that it takes no writes
    #[arg(long, value_name = "RISK", value_parser = ["two_writers"])]
    accept: Vec<String>,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Repair {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Repair { instance, accept, reason, json } = self;
        let next = format!("`{instance}` is being made a standby; see `mainstay status`");
        cx.give(&api::Command::Repair { instance, accept, reason }, json, &next)
    }
}
