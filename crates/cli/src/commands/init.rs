//! `mainstay init`: a plan to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::exit::{Answer, Code, Failure};
use crate::look::say;

/// Write a plan to start from
///
/// The file is a whole plan, with a comment on each part. A file that is there already is never overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay init\n  mainstay init shop.yaml")]
pub(crate) struct Init {
    /// The file to write
    #[arg(default_value = "mainstay.yaml")]
    file: PathBuf,
}

impl Init {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        if self.file == Path::new("-") {
            return Err(Failure::usage("`-` is no name for a file").help("name the file to write"));
        }
        let file = self.file.display();
        let mut opened = OpenOptions::new().write(true).create_new(true).open(&self.file).map_err(|error| {
            if error.kind() == ErrorKind::AlreadyExists {
                Failure::new(Code::Refused, format!("`{file}` is there already; nothing was written"))
                    .help("name another file, or move this one away")
            } else {
                Failure::usage(format!("can't create `{file}`: {error}"))
            }
        })?;
        opened
            .write_all(mainstay_plan::starter().as_bytes())
            .map_err(|error| Failure::unreachable(format!("can't write `{file}`: {error}")))?;
        say(&format!(
            "wrote {file}\n\n\
             next:\n  \
             1. put your own addresses and services into it\n  \
             2. mainstay check {file}    says what it would survive, and how fast\n  \
             3. mainstay run {file}      watches, and recovers\n"
        ))?;
        Ok(Answer::Yes)
    }
}
