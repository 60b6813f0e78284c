//! `mainstay enroll revoke`: a host is none any more.

use serde::Serialize;

use super::{failure, open};
use crate::commands::Cx;
use crate::exit::{Answer, Code, Failure};
use crate::look::{say, say_json};

/// Take back all certificates and open tokens of a host
///
/// A running agent closes that host's connection within two seconds and takes no new one. What the host holds a lease for ends as it
/// would if the machine were silent. It can join again with a new token.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay enroll revoke db-a

Exit codes:
  0  they are taken back
  1  there was nothing to take back
  2  the name is none
  3  there is no authority, or its files can't be used")]
pub(crate) struct Revoke {
    /// The host's name
    host: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    host: String,
    certificates: usize,
    tokens: usize,
}

impl Revoke {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let revoked = open(&cx.state)?.revoke(&self.host).map_err(|it| failure(&it))?;
        let (certificates, tokens) = (revoked.certificates, revoked.tokens);
        if certificates + tokens == 0 {
            return Err(Failure::new(Code::No, format!("host `{}` has no certificate and no open token", self.host))
                .help("`mainstay enroll list` names those that have"));
        }
        if self.json {
            say_json(&Report { host: self.host, certificates, tokens })?;
        } else {
            let each = |count, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
            say(&format!("taken back: {}, {}\n", each(certificates, "certificate"), each(tokens, "open token")))?;
        }
        Ok(Answer::Yes)
    }
}
