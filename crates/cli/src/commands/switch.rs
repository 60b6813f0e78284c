//! `mainstay switch`: move a component to another instance, as planned.

use mainstay_api as api;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Move a component to another instance, as planned
///
/// Traffic is cut, the new owner is waited for until it is in step, the old one hands over, and clients are led to the new
/// one: no data is lost. Refused unless both sides are healthy and the new one is nearly in step. What goes wrong before the
/// hand-over is undone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay switch orders-db --to orders-db-b --reason \"new kernel on db-1\"
  mainstay switch orders-db --to orders-db-b --ungraceful    goes on without waiting until it is in step")]
pub(crate) struct Switch {
    /// The component
    component: String,
    /// The instance that takes over
    #[arg(long, value_name = "INSTANCE")]
    to: String,
    /// Do not wait until the new owner is in step: what it has not received is lost. Also of a switch that runs
    #[arg(long)]
    ungraceful: bool,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Switch {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Switch { component, to, ungraceful, reason, json } = self;
        let next = "see `mainstay recoveries`".to_owned();
        cx.give(&api::Command::Switch { component, to, graceful: !ungraceful, reason }, json, &next)
    }
}
