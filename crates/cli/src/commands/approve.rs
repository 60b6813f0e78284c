//! `mainstay approve`: let a recovery go on.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use mainstay_api as api;
use mainstay_engine::{Override, RecoveryId};

use super::Cx;
use crate::clock;
use crate::exit::{Answer, Failure};

/// Let a recovery go on
///
/// Answers its question, overrules guards for this one recovery, or says how a step ended whose outcome is not known.
/// `mainstay status` prints the exact command for what a recovery waits for. With `--in-advance`, the next recovery of a
/// component is approved before it is needed, for when nobody can be reached.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay approve r57
  mainstay approve r57 --override witnesses --reason \"the gateway is in maintenance\"
  mainstay approve r57 --outcome not-done
  mainstay approve orders-db --in-advance --for 8h --reason \"nobody has a signal on the ferry\"
  mainstay approve orders-db --revoke

Guards:
  witnesses     act although too few witnesses answered
  dependency    act although what it depends on is not healthy
  observe-mode  act although the mode is `observe`
  cool-down     act although the cool-down is not over
  journal-lost  act although the journal can't be written
  rpo           accept that more data may be lost than the objective says
  signals       act although too few signals say that it is down
  blast-radius  act although too much of the site would be down or moved
  storm-brake   act although many recoveries have just begun
  route-rules   move a route although its `gates` or its `wait` forbid it
  crash-loop    restart although it was restarted too often")]
pub(crate) struct Approve {
    /// The recovery: r1, r2, …; or a component, with `--in-advance` or `--revoke`
    #[arg(value_name = "ID")]
    recovery: String,
    /// Approve the component's next recovery before it is needed; used once
    #[arg(long, requires = "span", conflicts_with_all = ["overrides", "outcome", "revoke"])]
    in_advance: bool,
    /// For how long that counts: `8h`
    #[arg(long = "for", value_name = "DURATION", value_parser = clock::parse, requires = "in_advance")]
    span: Option<Duration>,
    /// Take approvals in advance of the component back
    #[arg(long, conflicts_with_all = ["overrides", "outcome"])]
    revoke: bool,
    /// A guard to overrule; may be given more than once
    #[arg(long = "override", value_name = "GUARD")]
    #[arg(value_parser = PossibleValuesParser::new(Override::ALL.map(Override::word)))]
    overrides: Vec<String>,
    /// Whether the step whose outcome is not known was done
    #[arg(long)]
    outcome: Option<Outcome>,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Outcome {
    Done,
    NotDone,
}

impl Approve {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let name = self.recovery;
        if self.revoke {
            let next = format!("recoveries of `{name}` ask again");
            return cx.give(&api::Command::Revoke { component: name }, self.json, &next);
        }
        if let Some(span) = self.span.filter(|_| self.in_advance) {
            let for_ns = clock::nanos(span);
            let next = format!(
                "the next recovery of `{name}` within {} does not ask you; `mainstay approve {name} --revoke` takes it back",
                clock::span(for_ns)
            );
            let command = api::Command::ApproveInAdvance { component: name, for_ns, reason: self.reason };
            return cx.give(&command, self.json, &next);
        }
        let recovery = name.parse::<RecoveryId>().map_err(Failure::usage)?.to_string();
        let next = format!("{recovery} goes on unless something else holds it; `mainstay recoveries show {recovery}`");
        let command = api::Command::Approve {
            recovery,
            overrides: self.overrides,
            outcome: self.outcome.map(|it| matches!(it, Outcome::Done)),
            reason: self.reason,
        };
        cx.give(&command, self.json, &next)
    }
}
