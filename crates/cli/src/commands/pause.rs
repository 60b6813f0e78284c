//! `mainstay pause`: hold recoveries back for a while.

use std::time::Duration;

use mainstay_api as api;
use mainstay_engine::RecoveryId;

use super::Cx;
use crate::clock;
use crate::exit::{Answer, Failure};

/// Hold recoveries back for a while: maintenance
///
/// Probes go on and health is recorded; nothing is begun until the pause expires or `mainstay resume` ends it. A recovery
/// that runs is not held back by that: name it (r1, r2, …), and it stops before its next step until it is resumed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay pause orders-db --for 30m --reason \"kernel update\"
  mainstay pause --for 1h30m --reason \"the network is rebuilt\"
  mainstay pause r57 --reason \"let me look at the disk first\"")]
pub(crate) struct Pause {
    /// The component, or one recovery; without it, all components
    component: Option<String>,
    /// For how long: `30m`, `1h30m`; a recovery is held until it is resumed
    #[arg(long = "for", value_name = "DURATION", value_parser = clock::parse)]
    span: Option<Duration>,
    /// Why, for the journal
    #[arg(long)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Pause {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Pause { component, span, reason, json } = self;
        if let Some(id) = component.as_ref().filter(|it| it.parse::<RecoveryId>().is_ok()) {
            if span.is_some() {
                return Err(Failure::usage("a recovery is held until it is resumed").help("leave `--for` out"));
            }
            let next = format!("{id} stops before its next step; `mainstay resume {id}` lets it go on");
            return cx.give(&api::Command::PauseRecovery { recovery: id.clone(), reason }, json, &next);
        }
        let Some(span) = span else {
            return Err(Failure::usage("a pause ends by itself").help("say how long: `--for 30m`"));
        };
        if span.is_zero() {
            return Err(Failure::usage("a pause of no length holds nothing back").help("say how long: `--for 30m`"));
        }
        let what = component.as_ref().map_or("all components".to_owned(), |it| format!("`{it}`"));
        let end = component.as_ref().map_or("mainstay resume".to_owned(), |it| format!("mainstay resume {it}"));
        let for_ns = clock::nanos(span);
        let next = format!("recoveries of {what} are held back for {}; `{end}` ends that before", clock::span(for_ns));
        cx.give(&api::Command::Pause { component, for_ns, reason }, json, &next)
    }
}
