//! `mainstay enroll token`: a host may join, once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_wire::trust::Authority;
use serde::Serialize;

use super::{failure, open};
use crate::clock;
use crate::commands::Cx;
use crate::exit::{Answer, Failure, causes, note};
use crate::look::{Look, say, say_json};
use crate::plan_file::PlanFile;

/// Print a token with which a host may join, once
///
/// It is a secret until it is used: whoever holds it can be that host. It names the authority, too, so that the host believes no
/// other agent. Only its hash is kept here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay enroll token db-a --plan mainstay.yaml
  mainstay enroll token db-a --valid 10m |
    ssh db-a mainstay enroll join --agent 10.0.0.5:7400 --token - --state /var/lib/mainstay-host

Exit codes:
  0  it is printed
  2  the name is none, the plan has no such host, or the time is wrong
  3  there is no authority, or its files can't be used")]
pub(crate) struct Token {
    /// The host's name in the plan: what its components have as `location.host`
    host: String,
    /// The plan: the host must be one of its `hosts`, the authority is in its state directory, and the hint says where the agent listens
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// For how long it may be used: `10m`, `1h`
    #[arg(long, value_name = "DURATION", value_parser = clock::parse, default_value = "1h")]
    valid: Duration,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

fn has_joined(authority: &Authority, host: &str) -> Result<bool, Failure> {
    let all = authority.register().all().map_err(|it| Failure::unreachable(causes(&it)))?;
    let now = authority.now();
    Ok(all.iter().any(|it| it.host == host && it.certificates.iter().any(|it| it.revoked.is_none() && it.until >= now)))
}

/// So long that it would be forgotten.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Serialize)]
struct Report {
    host: String,
    token: String,
    until: String,
}

/// What a plan says of its agent.
struct Found {
    state: PathBuf,
    /// Where, if that says where it is.
    listens: Option<String>,
}

impl Token {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        if self.valid.as_secs() == 0 || self.valid > LONGEST {
            return Err(Failure::usage("a token is valid for a second to seven days"));
        }
        let found = self.plan.as_deref().map(|it| self.find(it)).transpose()?;
        let planned = found.as_ref().map(|it| &it.state);
        let authority = open(cx.named_state.as_ref().or(planned).unwrap_or(&cx.state))?;
        let (token, invited) = authority.invite(&self.host, self.valid).map_err(|it| failure(&it))?;
        if self.json {
            let (token, until) = (token.to_string(), invited.until.to_string());
            say_json(&Report { host: self.host, token, until })?;
            return Ok(Answer::Yes);
        }
        // The token alone is on standard output, for a pipe.
        say(&format!("{token}\n"))?;
        note(&format!(
            "valid until {}, once, for host {}. There: `mainstay enroll join --agent {} --token TOKEN --state DIR`\n",
            invited.until,
            self.host,
            found.and_then(|it| it.listens).unwrap_or_else(|| "ADDRESS".to_owned()),
        ));
        if has_joined(&authority, &self.host)? {
            note(&format!(
                "{} has joined already, and what it has stays good: if another machine takes its name, run `mainstay enroll revoke {}` \
                 first, which takes back this token, too\n",
                self.host, self.host
            ));
        }
        Ok(Answer::Yes)
    }

    /// Sees that the plan has this host.
    fn find(&self, file: &Path) -> Result<Found, Failure> {
        let checked = PlanFile::read(file)?.check();
        let Some(plan) = &checked.compiled.plan else {
            note(&checked.refusal(Look::of_stderr_colour()));
            return Err(Failure::usage(format!("{} is no plan", file.display())));
        };
        if !plan.hosts.iter().any(|it| it.name == self.host) {
            let names: Vec<&str> = plan.hosts.iter().map(|it| it.name.as_str()).collect();
            let has = if names.is_empty() { "no hosts".to_owned() } else { names.join(", ") };
            return Err(Failure::usage(format!("{} has no host `{}`", file.display(), self.host))
                .help(format!("its `hosts` has {has}")));
        }
        let link = plan.link.as_ref().filter(|it| !it.listen.ip().is_unspecified());
        Ok(Found { state: plan.state_dir.clone(), listens: link.map(|it| it.listen.to_string()) })
    }
}
