//! `mainstay postgres bring-back`: a series' folder from a bucket.

use std::path::PathBuf;

use mainstay_backups::Folder;
use mainstay_providers::Providers;

use crate::commands::series;
use crate::exit::{Answer, Code, Failure, causes};
use crate::look::say;

/// Bring a series' backups and log back from a bucket
///
/// For when the folder, or its machine, is lost: what the folder lacks is brought back, and looked at before it counts. Then `mainstay restore` and
/// the agent find it as it was. It goes on where an earlier one was ended. With --newest only the newest backup comes, and the log from there on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay postgres bring-back --bucket /etc/mainstay/orders.bucket.yaml --to /srv/backups/orders
  mainstay postgres bring-back --bucket /etc/mainstay/orders.bucket.yaml --to /srv/backups/orders --newest

Exit codes:
  0  all of it is in the folder
  1  it is not
  3  the folder can't be used, or something is taken or tested there
  4  the folder is another series'")]
pub(crate) struct BringBack {
    /// The file that says where the bucket is
    #[arg(long, value_name = "FILE")]
    bucket: PathBuf,
    /// The folder of the series, which must be there and belong to the user that the server runs as
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only the newest backup, and the log from there on
    #[arg(long)]
    newest: bool,
}

impl BringBack {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let folder = Folder::open(self.to).map_err(|error| Failure::unreachable(causes(&error)))?;
        drop(folder.lock().map_err(|error| Failure::unreachable(causes(&error)))?);
        let back = series::run(async {
            let back = Providers::new().bring_back(&folder, &self.bucket, self.newest).await;
            back.map_err(|error| series::bucket_failure(Code::No, &error))
        })?;
        for name in &back.backups {
            say(&format!("brought back: {name}\n"))?;
        }
        say(&format!("{} is in {}, with {} files of the log\n", back.from, folder.path().display(), back.log))?;
        Ok(Answer::Yes)
    }
}
