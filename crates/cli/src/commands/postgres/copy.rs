//! `mainstay postgres copy`: a series in a bucket, now.

use std::path::PathBuf;

use mainstay_backups::Folder;
use mainstay_providers::Providers;

use crate::commands::series;
use crate::exit::{Answer, Code, Failure, causes};
use crate::look::say;

/// Copy a series' backups and log to a bucket
///
/// What the bucket lacks is copied; nothing in it is replaced or removed. The agent does this after each backup of a series whose
/// `copies` name a bucket. A copy that was ended goes on with the next one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay postgres copy --from /srv/backups/orders --bucket /etc/mainstay/orders.bucket.yaml

Exit codes:
  0  all of it is in the bucket
  1  it is not
  3  the folder can't be used, or something is taken or tested there
  4  the bucket's place is another series'")]
pub(crate) struct Copy {
    /// The folder of the series
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The file that says where the bucket is
    #[arg(long, value_name = "FILE")]
    bucket: PathBuf,
}

impl Copy {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let unreachable = |error| Failure::unreachable(causes(&error));
        let folder = Folder::open(self.from).map_err(unreachable)?;
        let lock = folder.lock().map_err(unreachable)?;
        let copied = series::run(async {
            let copied = Providers::new().copy_series(&folder, &lock, &self.bucket, None).await;
            copied.map_err(|error| series::bucket_failure(Code::No, &error))
        })?;
        for name in &copied.backups {
            say(&format!("copied: {name}\n"))?;
        }
        say(&format!("{} has all of it; {} files of the log were copied\n", copied.to, copied.log))?;
        Ok(Answer::Yes)
    }
}
