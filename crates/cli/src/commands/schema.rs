//! `mainstay schema`: the grammar of plans for editors.

use mainstay_plan::{part_schema, schema};

use crate::exit::{Answer, Failure};
use crate::look::say_json;

/// Print the grammar of plans as JSON Schema
///
/// Draft 7. An editor that is given it completes fields, shows what they mean, and marks what is wrong while you write;
/// `mainstay check` finds more. A file that a plan includes has a schema of its own: `--part`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay schema > mainstay.schema.json
  mainstay schema --part > mainstay-part.schema.json

Then name it in the first line of the plan, for editors with a YAML language server:
  # yaml-language-server: $schema=./mainstay.schema.json")]
pub(crate) struct Schema {
    /// Print that of a file that a plan includes
    #[arg(long)]
    part: bool,
}

impl Schema {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        say_json(&if self.part { part_schema() } else { schema() })?;
        Ok(Answer::Yes)
    }
}
