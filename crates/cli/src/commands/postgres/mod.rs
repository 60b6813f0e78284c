//! `mainstay postgres`: what PostgreSQL servers themselves call.

mod archive;
mod bring_back;
mod copy;
mod fetch;

use clap::Subcommand;

use crate::exit::{Answer, Failure};

/// Archive a PostgreSQL server's log, fetch it, and keep a copy of it and of backups in a bucket
///
/// For `archive_command` and `restore_command`, and for when a machine is lost. The folder is that of a series of backups: `to` in the plan. Nothing of the plan or the agent is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay postgres archive pg_wal/000000010000000000000003 000000010000000000000003 --to /srv/backups/orders
  mainstay postgres fetch 000000010000000000000003 pg_wal/RECOVERYXLOG --from /srv/backups/orders
  archive_command = '/usr/bin/mainstay postgres archive \"%p\" %f --to /srv/backups/orders'
  restore_command = '/usr/bin/mainstay postgres fetch %f \"%p\" --from /srv/backups/orders'
  mainstay postgres bring-back --bucket /etc/mainstay/orders.bucket.yaml --to /srv/backups/orders")]
pub(crate) struct Postgres {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Archive(archive::Archive),
    Fetch(fetch::Fetch),
    Copy(copy::Copy),
    BringBack(bring_back::BringBack),
}

impl Postgres {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        match self.command {
            Command::Archive(it) => it.run(),
            Command::Fetch(it) => it.run(),
            Command::Copy(it) => it.run(),
            Command::BringBack(it) => it.run(),
        }
    }
}
