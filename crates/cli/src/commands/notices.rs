//! `mainstay notices`: what people should know, and whether they were told.

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};
use crate::view::notice;

/// List what people should know, and whether it reached them
///
/// One notice is all that belongs together: a component that fails, until it is whole again. What stands comes first. Below
/// them stand the channels, with what waits for each.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay notices
  mainstay notices --all
  mainstay notices --json | jq '.channels[] | select(.failures > 0)'")]
pub(crate) struct Notices {
    /// Those that are over, too, as far as they are at hand
    #[arg(long)]
    all: bool,
    /// Answer as JSON: always all of them
    #[arg(long)]
    json: bool,
}

impl Notices {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let found = cx.client().notices()?;
        if self.json {
            say_json(&found)?
        } else {
            say(&notice::list(&found, self.all, cx.look))?
        }
        Ok(Answer::Yes)
    }
}
