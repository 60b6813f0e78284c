//! `mainstay enroll`: which machines are hosts of this site, and how each knows the other.

mod init;
mod join;
mod list;
mod revoke;
mod rotate;
mod token;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::Subcommand;
use mainstay_wire::trust::{Authority, AuthorityError, FileError, Terms, Wall};

use super::Cx;
use crate::exit::{Answer, Code, Failure, causes};

/// Let other machines be hosts of this site, or no longer
///
/// The agent's machine holds a small certificate authority below its state directory. A token lets one host join once: it makes a
/// key that never leaves it, and gets a certificate that renews itself. From then on agent and host know each other by site, role
/// and name. Run these commands as the user that runs the agent; `join` runs on the host, as the user that runs `mainstay host`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay enroll init mainstay.yaml
  mainstay enroll token db-a --valid 30m
  MAINSTAY_STATE=/var/lib/mainstay-host mainstay enroll join --agent 10.0.0.5:7400 --token TOKEN
  mainstay enroll list
  mainstay enroll revoke db-a")]
pub(crate) struct Enroll {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Token(token::Token),
    List(list::List),
    Revoke(revoke::Revoke),
    Rotate(rotate::Rotate),
    Join(join::Join),
}

impl Enroll {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        match self.command {
            Command::Init(it) => it.run(cx),
            Command::Token(it) => it.run(cx),
            Command::List(it) => it.run(cx),
            Command::Revoke(it) => it.run(cx),
            Command::Rotate(it) => it.run(cx),
            Command::Join(it) => it.run(cx),
        }
    }
}

fn open(state: &Path) -> Result<Authority, Failure> {
    mine(state)?;
    Authority::open(state, Terms::default(), &Wall::system()).map_err(|it| failure(&it))
}

/// Files that another user owns would be of no use to the agent that runs as the owner of the state directory.
fn mine(state: &Path) -> Result<(), Failure> {
    let Ok(about) = fs::metadata(state) else { return Ok(()) };
    let (owner, me) = (about.uid(), rustix::process::geteuid().as_raw());
    if owner == me {
        return Ok(());
    }
    let message = format!("{} belongs to user {owner}, and this is user {me}", state.display());
    Err(Failure::usage(message).help(format!("run it as that user: `sudo -u '#{owner}' mainstay enroll …`")))
}

fn failure(error: &AuthorityError) -> Failure {
    let text = causes(error);
    match error {
        AuthorityError::File(FileError::Missing { .. }) => Failure::unreachable(format!("there is no authority: {text}"))
            .help(
                "`mainstay enroll init PLAN` makes one, in the plan's state directory; `--state DIR` or MAINSTAY_STATE says where \
                 that is",
            ),
        AuthorityError::File(_) | AuthorityError::Crypto(_) => Failure::unreachable(text),
        AuthorityError::Name(_) | AuthorityError::Address(_) => Failure::usage(text),
        AuthorityError::AnotherSite { .. } => Failure::new(Code::Refused, text),
    }
}
