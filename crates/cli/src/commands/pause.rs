//! `mainstay pause`: hold recoveries back for a while.

use std::time::Duration;

use mainstay_api as api;

use super::Cx;
use crate::clock;
use crate::exit::{Answer, Failure};

/// Hold recoveries back for a while: maintenance
///
/// Probes go on and health is recorded; nothing is begun until the pause expires or `mainstay resume` ends it. What depends
/// on a paused component needs no pause of its own: while that one is down it waits for it anyway.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay pause orders-db --for 30m --reason \"kernel update\"
  mainstay pause orders-db --for 2h --owner \"storage team\" --reason \"disks, change 4711\"
  mainstay pause --for 1h30m --reason \"the network is rebuilt\"")]
pub(crate) struct Pause {
    /// The component; without it, all of them
    component: Option<String>,
    /// For how long: `30m`, `1h30m`
    #[arg(long = "for", value_name = "DURATION", value_parser = clock::parse)]
    span: Duration,
    /// Why, for the journal
    #[arg(long)]
    reason: String,
    /// Whose work it is, where that is not you
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Pause {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Pause { component, span, reason, owner, json } = self;
        if span.is_zero() {
            return Err(Failure::usage("a pause of no length holds nothing back").help("say how long: `--for 30m`"));
        }
        let what = component.as_ref().map_or("all components".to_owned(), |it| format!("`{it}`"));
        let end = component.as_ref().map_or("mainstay resume".to_owned(), |it| format!("mainstay resume {it}"));
        let for_ns = clock::nanos(span);
        let next = format!("recoveries of {what} are held back for {}; `{end}` ends that before", clock::span(for_ns));
        cx.give(&api::Command::Pause { component, for_ns, reason, owner }, json, &next)
    }
}
