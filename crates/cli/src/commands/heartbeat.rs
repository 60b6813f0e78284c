//! `mainstay heartbeat`: a job says that it works.

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};

/// Say that a job works
///
/// For the end of a job that is to run again and again. A `heartbeat` probe of that name is good until the job has been silent
/// for longer than its `max_age`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay heartbeat nightly-copy
  copy-files && mainstay heartbeat nightly-copy
  curl --unix-socket /var/lib/mainstay/agent.sock -X POST http://agent/v1/heartbeats/nightly-copy

From another machine, where the plan has `heartbeats`:
  curl -fsS -H \"Authorization: Bearer TOKEN\" https://AGENT:8700/heartbeats/nightly-copy

Exit codes:
  0  the agent has heard it
  2  its plan waits for no heartbeat of that name
  3  the agent can't be reached: it counts as silent")]
pub(crate) struct Heartbeat {
    /// The `name` of the probe
    name: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Heartbeat {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        if !self.name.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.')) {
            return Err(Failure::usage(format!("`{}` is no name of a heartbeat", self.name)));
        }
        let heard = cx.client().heartbeat(&self.name)?;
        if self.json {
            say_json(&heard)?;
        } else {
            say(&format!("heard {}\n", heard.heard))?;
        }
        Ok(Answer::Yes)
    }
}
