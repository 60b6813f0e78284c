//! `mainstay route`: what an operator says about a route.

use clap::builder::PossibleValuesParser;
use mainstay_api as api;
use mainstay_engine::route::rules::RouteRule;

use super::Cx;
use crate::exit::{Answer, Failure};

/// Overrule a rule of a route
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay route override web --rule at_least --reason \"one is enough at night\"")]
pub(crate) struct Route {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Override(Overruled),
}

/// Let the change through that a rule holds back, once
///
/// `mainstay status` names the rule. The next change is held to it again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay route override web --rule at_least --reason \"one is enough at night\"
  mainstay route override web --rule wait --reason \"it was us, twice\"

Rules:
  at_least  so many targets stay on (`rules.at_least`, `guards.minimum_healthy`)
  gates     components that must be healthy before it may change
  wait      from one change to the next")]
struct Overruled {
    /// The route
    #[arg(value_name = "ROUTE")]
    route: String,
    /// The rule
    #[arg(long, value_name = "RULE", value_parser = PossibleValuesParser::new(RouteRule::ALL.map(RouteRule::word)))]
    rule: String,
    /// Why, for the journal
    #[arg(long)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Route {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Command::Override(Overruled { route, rule, reason, json }) = self.command;
        let next = format!("`{rule}` does not hold the next change of `{route}` back");
        cx.give(&api::Command::RouteOverride { route, rule, reason }, json, &next)
    }
}
