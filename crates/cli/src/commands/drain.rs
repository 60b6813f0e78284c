//! `mainstay drain`: take a target or a zone off shared routes for a while.

use std::time::Duration;

use mainstay_api as api;

use super::Cx;
use crate::clock;
use crate::exit::{Answer, Failure};

/// Take a target, or all of a zone, off shared routes for a while
///
/// New clients go elsewhere, those that are there finish. It ends by itself. It is refused where a rule of a route forbids it,
/// and yields where it would leave a route with fewer targets than its rules ask for, or with none. An exclusive route changes
/// hands by a switch of its component, not by a drain.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay drain web-b --for 2h --reason \"new certificate\"
  mainstay drain --zone us-east-1a --for 45m --reason \"power work in the hall\"")]
pub(crate) struct Drain {
    /// The instance
    #[arg(value_name = "TARGET", required_unless_present = "zone")]
    target: Option<String>,
    /// All instances of this zone: `ZONE`, or `REGION/ZONE`
    #[arg(long, value_name = "ZONE", conflicts_with = "target")]
    zone: Option<String>,
    /// For how long: `30m`, `2h`
    #[arg(long = "for", value_name = "DURATION", value_parser = clock::parse)]
    span: Duration,
    /// Why, for the journal
    #[arg(long)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Drain {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Drain { target, zone, span, reason, json } = self;
        if span.is_zero() {
            return Err(Failure::usage("a drain of no length takes nothing off").help("say how long: `--for 30m`"));
        }
        let for_ns = clock::nanos(span);
        let what = super::undrain::named(target.as_deref(), zone.as_deref());
        let next = format!("off shared routes for {}; `mainstay undrain {what}` ends that before", clock::span(for_ns));
        cx.give(&api::Command::Drain { target, zone, for_ns, reason }, json, &next)
    }
}
