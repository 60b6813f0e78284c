//! `mainstay breaker`: say by hand whether a control plane is tried.

use clap::builder::PossibleValuesParser;
use mainstay_api as api;
use mainstay_engine::breaker::Hold;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Say by hand whether a control plane is tried
///
/// Rungs that need a control plane which is known to be down are passed over. `open` makes it count as down, `closed` has
/// it tried whatever canary and outcomes say, `auto` goes by these again. `mainstay status` lists the control planes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay breaker ec2 open --region us-east-1 --reason \"the provider says so\"
  mainstay breaker ec2 auto")]
pub(crate) struct Breaker {
    /// The service, as `mainstay status` calls it
    service: String,
    /// What shall hold from now on
    #[arg(value_name = "open|closed|auto", value_parser = PossibleValuesParser::new(Hold::ALL.map(Hold::word)))]
    hold: String,
    /// In this region alone; otherwise in every region
    #[arg(long)]
    region: Option<String>,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Breaker {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Breaker { service, hold, region, reason, json } = self;
        let next = match hold.as_str() {
            "open" => format!("what needs `{service}` is passed over until `mainstay breaker {service} auto`"),
            "closed" => format!("what needs `{service}` is tried until `mainstay breaker {service} auto`"),
            _ => "canary and outcomes decide again; see `mainstay status`".to_owned(),
        };
        cx.give(&api::Command::Breaker { service, region, hold, reason }, json, &next)
    }
}
