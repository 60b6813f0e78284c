//! `mainstay recoveries`: what was recovered, and how long each part took.

use clap::Subcommand;
use mainstay_engine::RecoveryId;

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};
use crate::view::recovery;

/// List recoveries, or show one
///
/// The newest comes first. `show` draws one as a timeline: its steps with their planes, and the time to recover by its
/// five parts.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  mainstay recoveries
  mainstay recoveries show r57
  mainstay recoveries --json | jq '.recoveries[].time_to_recover_ns'")]
pub(crate) struct Recoveries {
    #[command(subcommand)]
    command: Option<Command>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
}

/// Show one recovery as a timeline
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay recoveries show r57\n  mainstay recoveries show r57 --json")]
struct Show {
    /// The recovery: r1, r2, …
    #[arg(value_name = "ID")]
    id: RecoveryId,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Recoveries {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        match self.command {
            Some(Command::Show(Show { id, json })) => {
                let found = cx.client().recovery(&id.to_string())?;
                if json { say_json(&found)? } else { say(&recovery::timeline(&found, cx.look))? }
            }
            None => {
                let found = cx.client().recoveries()?;
                if self.json { say_json(&found)? } else { say(&recovery::list(&found, cx.look))? }
            }
        }
        Ok(Answer::Yes)
    }
}
