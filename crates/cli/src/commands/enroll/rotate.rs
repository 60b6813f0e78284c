//! `mainstay enroll rotate`: another authority, without losing a host.

use mainstay_wire::trust::{RotateError, Rotation};
use serde::Serialize;

use super::{failure, open};
use crate::commands::Cx;
use crate::exit::{Answer, Code, Failure};
use crate::look::{say, say_json};

/// Replace the authority in three steps, while the hosts go on
///
/// The first step makes another authority, which hosts learn to trust when they renew their certificates. The second lets it sign,
/// and the old one is still trusted. The third ends that. Each step waits until every host has renewed since the one before, which
/// takes up to 20 days; `enroll list` shows who has joined. The agent need not be started anew.
///
/// It is for an authority that is about to end. One that somebody could have read is replaced at once: see the book's page on hosts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay enroll rotate
  mainstay enroll rotate --leave-behind

Exit codes:
  0  the step is taken
  3  there is no authority, or its files can't be used
  4  some hosts have not renewed since the last step")]
pub(crate) struct Rotate {
    /// Take the step even if hosts have not renewed: they must join again
    #[arg(long)]
    leave_behind: bool,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    step: &'static str,
}

impl Rotate {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let step = open(&cx.state)?.rotate(self.leave_behind).map_err(|it| match it {
            RotateError::Waits { .. } => Failure::new(Code::Refused, it.to_string())
                .help("wait until they have, revoke those that are gone, or leave them behind with `--leave-behind`"),
            RotateError::Authority(error) => failure(&error),
        })?;
        let (step, text) = match step {
            Rotation::Begun => (
                "begun",
                "step 1 of 3: another authority is made, and hosts learn to trust it as they renew\n\
                 next: `mainstay enroll rotate` again, when all have\n",
            ),
            Rotation::Switched => (
                "switched",
                "step 2 of 3: the other authority signs from now on; tokens that were not used yet must be made anew\n\
                 next: `mainstay enroll rotate` again, when all hosts have renewed\n",
            ),
            Rotation::Finished => ("finished", "step 3 of 3: the old authority is trusted no more\n"),
        };
        if self.json {
            say_json(&Report { step })?;
        } else {
            say(text)?;
        }
        Ok(Answer::Yes)
    }
}
