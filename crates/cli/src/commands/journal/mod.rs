//! `mainstay journal`: what was seen, decided and done. Reads the state directory, whether or not an agent runs there.

mod export;
mod replay;
mod show;
mod verify;

use clap::Subcommand;
use mainstay_store::journal::ChainError;
use mainstay_store::{DatabaseError, Reader};

pub(crate) use export::write;
pub(crate) use show::encoded;

use super::Cx;
use crate::exit::{Answer, Failure, causes};

/// Read, verify, export or replay the journal
///
/// The journal holds every change of health with its evidence, every decision, and everything that was done. These
/// commands read it from the state directory, whether or not an agent runs there, and never write to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay journal show --last 20
  mainstay journal verify --anchor 57:9f86d081…
  mainstay journal export > journal.jsonl
  mainstay journal replay")]
pub(crate) struct Journal {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Show),
    Verify(verify::Verify),
    Export(export::Export),
    Replay(replay::Replay),
}

impl Journal {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        match self.command {
            Command::Show(it) => it.run(cx),
            Command::Verify(it) => it.run(cx),
            Command::Export(it) => it.run(cx),
            Command::Replay(it) => it.run(cx),
        }
    }
}

pub(crate) fn open(cx: &Cx) -> Result<Reader, Failure> {
    Reader::open(&cx.state).map_err(|error| {
        let failure = Failure::unreachable(causes(&error));
        match error {
            DatabaseError::Missing { .. } => failure.help(
                "the agent keeps it in its state directory: say where that is with `--state DIR` or MAINSTAY_STATE",
            ),
            DatabaseError::Foreign { .. } => failure.help("name another state directory with `--state DIR`"),
            DatabaseError::Io { .. } | DatabaseError::Sqlite { .. } => {
                failure.help("only the user that runs the agent may read its state directory")
            }
            DatabaseError::Newer { .. } => failure,
        }
    })
}

/// A record on the way can't be trusted.
pub(crate) fn broken(error: &ChainError) -> Failure {
    let text = format!("the journal is broken: {}", causes(error));
    match error {
        ChainError::Unreadable { .. } => Failure::unreachable(text).help("the disk, or the file, is damaged"),
        ChainError::Gap { .. }
        | ChainError::Altered { .. }
        | ChainError::Unlinked { .. }
        | ChainError::Malformed { .. } => Failure::new(crate::exit::Code::No, text)
            .help("somebody changed it, or the disk did; `mainstay journal export` gives what stands before that"),
    }
}
