//! `mainstay postgres archive`: what a server's `archive_command` runs.

use std::path::PathBuf;

use mainstay_backups::{ArchiveError, Folder, FolderError};
use mainstay_providers::Providers;

use crate::commands::series;
use crate::exit::{Answer, Code, Failure, causes};

/// Archive a file of a server's log
///
/// It is copied, synced and renamed: when this says that it is archived, it outlives a power cut. The same file again is no mistake, as after
/// a crash; another one of the same name is refused, and so is what is not whole or is of another server. The
/// server keeps what is not archived, and tries again. With --bucket it is archived when the bucket has it, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay postgres archive pg_wal/000000010000000000000003 000000010000000000000003 --to /srv/backups/orders
  archive_command = '/usr/bin/mainstay postgres archive \"%p\" %f --to /srv/backups/orders'
  archive_command = '/usr/bin/mainstay postgres archive \"%p\" %f --to /srv/backups/orders --bucket /etc/mainstay/orders.bucket.yaml'

Exit codes:
  0  it is archived
  2  the name is none that a server archives
  3  the folder, the bucket or the file can't be used
  4  another file of that name is archived, the folder is another server's or the bucket's place another series',
     or the file is damaged")]
pub(crate) struct Archive {
    /// The file: `%p`
    path: PathBuf,
    /// What it is called in the archive: `%f`
    name: String,
    /// The folder of the series, which must be there; the archive is `wal` in it
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The file of a bucket that is to have it, too
    #[arg(long, value_name = "FILE")]
    bucket: Option<PathBuf>,
}

impl Archive {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let folder = Folder::open(self.to).map_err(|it| failure(&it.into()))?;
        folder.archive(&self.path, &self.name).map_err(|it| failure(&it))?;
        if let Some(bucket) = &self.bucket {
            let copied = async { Providers::new().copy_of_log(&folder, bucket, &self.name).await };
            series::run(async { copied.await.map_err(|error| series::bucket_failure(Code::Unreachable, &error)) })?;
        }
        Ok(Answer::Yes)
    }
}

pub(super) fn failure(error: &ArchiveError) -> Failure {
    let text = causes(error);
    match error {
        ArchiveError::Name(_) => Failure::usage(text).help("the first is `%p`, the second is `%f`"),
        ArchiveError::Differs { .. } => Failure::new(Code::Refused, text)
            .help("one of the two must archive somewhere else, each in a folder of its own"),
        ArchiveError::Folder(FolderError::OtherSystem { .. }) => {
            Failure::new(Code::Refused, text).help("each server needs a folder of its own; its standbys share it")
        }
        ArchiveError::Damaged { .. } | ArchiveError::Gap { .. } => Failure::new(Code::Refused, text),
        ArchiveError::Folder(_) | ArchiveError::Io { .. } => {
            Failure::unreachable(text).help("the folder must be there and belong to the user that the server runs as")
        }
    }
}
