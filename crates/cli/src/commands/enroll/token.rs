//! `mainstay enroll token`: a host may join, once.

use std::time::Duration;

use serde::Serialize;

use super::{failure, open};
use crate::clock;
use crate::commands::Cx;
use crate::exit::{Answer, Failure, note};
use crate::look::{say, say_json};

/// Print a token with which a host may join, once
///
/// It is a secret until it is used: whoever holds it can be that host. It names the authority, too, so that the host believes no
/// other agent. Only its hash is kept here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay enroll token db-a
  mainstay enroll token db-a --valid 10m |
    ssh db-a mainstay enroll join --agent 10.0.0.5:7400 --token - --state /var/lib/mainstay-host

Exit codes:
  0  it is printed
  2  the name is none, or the time is
  3  there is no authority, or its files can't be used")]
pub(crate) struct Token {
    /// The host's name in the plan: what its components have as `location.host`
    host: String,
    /// For how long it may be used: `10m`, `1h`
    #[arg(long, value_name = "DURATION", value_parser = clock::parse, default_value = "1h")]
    valid: Duration,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

/// So long that it would be forgotten.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Serialize)]
struct Report {
    host: String,
    token: String,
    until: String,
}

impl Token {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        if self.valid.as_secs() == 0 || self.valid > LONGEST {
            return Err(Failure::usage("a token is valid for a second to seven days"));
        }
        let authority = open(cx)?;
        let (token, invited) = authority.invite(&self.host, self.valid).map_err(|it| failure(&it))?;
        if self.json {
            let (token, until) = (token.to_string(), invited.until.to_string());
            say_json(&Report { host: self.host, token, until })?;
            return Ok(Answer::Yes);
        }
        // The token alone is on standard output, for a pipe.
        say(&format!("{token}\n"))?;
        note(&format!(
            "valid until {}, once, for host {}. There: `mainstay enroll join --agent ADDRESS --token TOKEN --state DIR`\n",
            invited.until, self.host
        ));
        Ok(Answer::Yes)
    }
}
