//! `mainstay postgres fetch`: what a server's `restore_command` runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mainstay_backups::{Fetched, Folder};
use mainstay_providers::Providers;

use super::archive::failure;
use crate::commands::series;
use crate::exit::{Answer, Code, Failure};

/// A server that recovers gives up when its `restore_command` ends with more than 125, and takes all else for the end of the log.
const GIVE_UP: u8 = 200;

/// Fetch a file of a server's log from the archive
///
/// A server that recovers takes every failure for the end of the log. With --strict it gives up instead, if the archive can't be read, if the
/// file is damaged, or if it is missing while later ones are there: so a restore never ends early without a word. Leave --strict out for a
/// standby, which asks again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay postgres fetch 000000010000000000000003 pg_wal/RECOVERYXLOG --from /srv/backups/orders
  restore_command = '/usr/bin/mainstay postgres fetch %f \"%p\" --from /srv/backups/orders'
  restore_command = '/usr/bin/mainstay postgres fetch --strict %f \"%p\" --from /srv/backups/orders'

Exit codes:
  0    it is there
  1    it is not archived
  2    the name is none that a server archives
  3    the folder, the bucket or the file can't be used
  4    the file is damaged, the folder is another server's, or the bucket's place another series'
  200  with --strict, in place of 2, 3 and 4, and for a gap")]
pub(crate) struct Fetch {
    /// What it is called in the archive: `%f`
    name: String,
    /// Where it is to be: `%p`
    path: PathBuf,
    /// The folder of the series; the archive is `wal` in it
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The file of a bucket that has a copy: what the folder lacks is brought back from there
    #[arg(long, value_name = "FILE")]
    bucket: Option<PathBuf>,
    /// Let a server that recovers give up rather than take what is there for everything
    #[arg(long)]
    strict: bool,
}

impl Fetch {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        match self.fetch() {
            Ok(Fetched::Done) => Ok(Answer::Yes),
            Ok(Fetched::NotThere) => Ok(Answer::No),
            Err(error) if self.strict => {
                error.report();
                Ok(Answer::Of(GIVE_UP))
            }
            Err(error) => Err(error),
        }
    }

    fn fetch(&self) -> Result<Fetched, Failure> {
        let folder = Folder::open(&self.from).map_err(|it| failure(&it.into()))?;
        let fetch = || folder.fetch(&self.name, &self.path).map_err(|it| failure(&it));
        if fetch()? == Fetched::Done {
            return Ok(Fetched::Done);
        }
        let providers = Providers::new();
        let mut elsewhere = BTreeMap::new();
        if let Some(bucket) = &self.bucket {
            let brought_back = || {
                series::run(async {
                    let back = providers.bring_back_of_log(&folder, bucket, &self.name).await;
                    back.map_err(|error| series::bucket_failure(Code::Unreachable, &error))
                })
            };
            if brought_back()? {
                return fetch();
            }
            if self.strict {
                let log = async { providers.log_in_bucket(bucket).await.map_err(Failure::unreachable) };
                elsewhere = series::run(log)?;
                // It has come meanwhile.
                if elsewhere.contains_key(&self.name) && brought_back()? {
                    return fetch();
                }
            }
        }
        if self.strict {
            folder.is_end(&self.name, &elsewhere).map_err(|it| failure(&it))?;
        }
        Ok(Fetched::NotThere)
    }
}
