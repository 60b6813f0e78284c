//! `mainstay postgres`: what PostgreSQL servers themselves call.

mod archive;
mod fetch;

use clap::Subcommand;

use crate::exit::{Answer, Failure};

/// Archive a PostgreSQL server's log, and fetch it
///
/// For `archive_command` and `restore_command`. The folder is that of a series of backups: `to` in the plan. Nothing of the plan or the agent is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay postgres archive pg_wal/000000010000000000000003 000000010000000000000003 --to /srv/backups/orders
  mainstay postgres fetch 000000010000000000000003 pg_wal/RECOVERYXLOG --from /srv/backups/orders
  archive_command = '/usr/bin/mainstay postgres archive \"%p\" %f --to /srv/backups/orders'
  restore_command = '/usr/bin/mainstay postgres fetch %f \"%p\" --from /srv/backups/orders'")]
pub(crate) struct Postgres {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Archive(archive::Archive),
    Fetch(fetch::Fetch),
}

impl Postgres {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        match self.command {
            Command::Archive(it) => it.run(),
            Command::Fetch(it) => it.run(),
        }
    }
}
