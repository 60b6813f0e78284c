//! `mainstay enroll join`: this machine becomes a host.

use std::io::Read;

use mainstay_wire::trust::{AskError, Identity, Token, Wall, join};
use serde::Serialize;

use super::mine;
use crate::commands::Cx;
use crate::commands::run::runtime;
use crate::exit::{Answer, Code, Failure, causes, note};
use crate::look::{clean, say, say_json};

/// Make this machine a host of a site, with a token
///
/// Makes a key below the state directory, shows the token to the agent, and keeps the certificate that comes back. The key never
/// leaves this machine. The agent is believed only if it shows the authority that the token names. Run it as the user that
/// `mainstay host` runs as.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay enroll join --agent 10.0.0.5:7400 --token mainstay-1-… --state /var/lib/mainstay-host
  mainstay enroll join --agent 10.0.0.5:7400 --token - --state /var/lib/mainstay-host < token

Exit codes:
  0  it has joined
  2  the command line or the token is wrong, or the directory is another host's
  3  the agent can't be reached, or a file can't be used
  4  refused: by the agent, or because it is another one")]
pub(crate) struct Join {
    /// Where the agent listens: `link.listen` in its plan. Several are tried in turn
    #[arg(long, value_name = "HOST:PORT", required = true)]
    agent: Vec<String>,
    /// What `mainstay enroll token` printed; `-` reads it from standard input, where no list of processes shows it
    #[arg(long, env = "MAINSTAY_TOKEN", hide_env_values = true)]
    token: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    site: String,
    host: String,
    serial: String,
    until: String,
    file: std::path::PathBuf,
}

impl Join {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Some(state) = &cx.named_state else {
            return Err(Failure::usage("where are the key and the certificate to be kept?")
                .help("say it with `--state DIR`: the `state` of this machine's host.yaml"));
        };
        mine(state)?;
        let token: Token = self
            .read_token()?
            .parse()
            .map_err(|it: mainstay_wire::trust::TokenError| Failure::usage(it.to_string()))?;
        let runtime = runtime()?;
        let mut away = None;
        for address in &self.agent {
            match runtime.block_on(join(address, &token, state, &Wall::system())) {
                Ok(identity) => return self.joined(&identity),
                // The token may be used up where an answer was lost; another address then says so.
                Err(error @ AskError::Unreachable { .. }) => {
                    if let Some(error) = away.replace(error) {
                        note(&format!("{}\n", clean(&causes(&error))));
                    }
                }
                Err(error) => return Err(failure(&error)),
            }
        }
        Err(failure(&away.expect("at least one address is given")))
    }

    fn read_token(&self) -> Result<String, Failure> {
        if self.token != "-" {
            return Ok(self.token.clone());
        }
        let mut text = String::new();
        // Longer than any token.
        let read = std::io::stdin().lock().take(4096).read_to_string(&mut text);
        read.map_err(|it| Failure::usage(format!("the token can't be read from standard input: {it}")))?;
        Ok(text)
    }

    fn joined(&self, identity: &Identity) -> Result<Answer, Failure> {
        let me = identity.me();
        if self.json {
            say_json(&Report {
                site: me.site,
                host: me.name,
                serial: me.serial.to_string(),
                until: me.until.to_string(),
                file: identity.path().to_owned(),
            })?;
        } else {
            say(&format!(
                "this is {me}, by a certificate until {}, which renews itself: {}\n",
                me.until,
                identity.path().display()
            ))?;
        }
        Ok(Answer::Yes)
    }
}

fn failure(error: &AskError) -> Failure {
    // What the agent says is text from outside.
    let text = clean(&causes(error));
    match error {
        AskError::Unreachable { .. } => Failure::unreachable(text).help(
            "`link.listen` in the agent's plan says where it listens; a token whose answer was lost is used up, then make a new one",
        ),
        AskError::Refused(_) | AskError::Told { .. } => Failure::new(Code::Refused, text),
        AskError::AnotherHost { .. } => Failure::usage(text),
        AskError::File(_) | AskError::Key(_) => Failure::unreachable(text),
    }
}
