//! `mainstay hosts`: how hosts on other machines stand.

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};
use crate::view::hosts;

/// Show the hosts on other machines: connected or silent, and what they may do
///
/// A host that is silent, a path that is broken one way, and a component that is down are three things: a silent host's own
/// probes can't be asked, and say nothing about what lives there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay hosts
  mainstay hosts --json | jq '.hosts[] | select(.state != \"connected\") | .name'

Exit codes:
  0  every host is connected, and may do what the plan will ask of it
  1  one is not
  3  the agent can't be reached")]
pub(crate) struct Hosts {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Hosts {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let found = cx.client().hosts()?;
        if self.json {
            say_json(&found)?
        } else {
            say(&hosts::list(&found, cx.look))?
        }
        Ok(found.trouble.is_empty().into())
    }
}
