//! `mainstay enroll init`: an authority for the site of a plan.

use std::path::PathBuf;

use mainstay_wire::trust::{Authority, Created, Terms, Wall};
use serde::Serialize;

use super::{failure, mine};
use crate::commands::Cx;
use crate::exit::{Answer, Failure, note};
use crate::look::{Look, say, say_json};
use crate::plan_file::PlanFile;

/// Make the site's authority and the agent's certificate, where they are missing
///
/// Both lie in `pki` below the plan's state directory, for their owner alone. Asked again it changes nothing; with other addresses
/// it makes the agent's certificate anew. Whoever has read `pki/authority.pem` can make hosts and agents of this site: keep it as
/// you keep a root password, and keep a copy where you keep those.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay enroll init mainstay.yaml
  mainstay enroll init mainstay.yaml --address agent.shop.internal --address 10.0.0.5

Exit codes:
  0  they are there
  2  the plan can't be read or has errors, or a name is wrong
  3  the files can't be used
  4  the state directory holds another site's authority")]
pub(crate) struct Init {
    /// The plan
    file: PathBuf,
    /// Another name or IP address under which hosts reach the agent, beside `link.listen`. They stand in the certificate for other
    /// people's tools; hosts know the agent by site and role
    #[arg(long, value_name = "NAME")]
    address: Vec<String>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    site: String,
    directory: PathBuf,
    made: &'static str,
    authority_until: String,
}

impl Init {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let checked = PlanFile::read(&self.file)?.check();
        let Some(plan) = &checked.compiled.plan else {
            note(&checked.refusal(Look::of_stderr_colour()));
            return Err(Failure::usage(format!("{} is no plan", self.file.display())));
        };
        let state = cx.named_state.as_ref().unwrap_or(&plan.state_dir);
        mine(state)?;
        let listens = plan.link.as_ref().map(|it| it.listen.ip()).filter(|it| !it.is_unspecified());
        let addresses: Vec<String> = listens.iter().map(ToString::to_string).chain(self.address).collect();
        let made = Authority::create(state, &plan.site.name, &addresses, Terms::default(), &Wall::system());
        let (authority, created) = made.map_err(|it| failure(&it))?;
        let directory = state.join("pki");
        let until = authority.until();
        if self.json {
            let made = match created {
                Created::Authority => "authority",
                Created::Certificate => "certificate",
                Created::Nothing => "nothing",
            };
            let site = authority.site().to_owned();
            say_json(&Report { site, directory, made, authority_until: until.to_string() })?;
            return Ok(Answer::Yes);
        }
        let (site, at) = (authority.site(), directory.display());
        let text = match created {
            Created::Authority => format!(
                "site {site} has an authority, until {until}: {at}\nkeep a copy of {at}/authority.pem where only you can read it\n\
                 next: `mainstay enroll token HOST` for each machine that is to be a host\n"
            ),
            Created::Certificate => format!("the agent of site {site} has a new certificate: {at}\n"),
            Created::Nothing => format!("site {site} has an authority already, until {until}: {at}\n"),
        };
        say(&text)?;
        if plan.link.is_none() {
            note(
                "the plan has no `link`, so the agent does not listen for hosts yet: add `link: { listen: \"ADDRESS:PORT\" }`\n",
            );
        }
        Ok(Answer::Yes)
    }
}
