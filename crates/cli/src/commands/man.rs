//! `mainstay man`: manual pages.

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man as Page;

use super::Cli;
use crate::exit::{Answer, Failure};
use crate::look::say;

/// Print the manual page, or write all of them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay man | man -l -\n  mainstay man --out /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        match self.out {
            None => {
                let mut page = Vec::new();
                Page::new(Cli::command()).render(&mut page).map_err(|error| Failure::output(&error))?;
                say(&String::from_utf8_lossy(&page))?;
            }
            Some(out) => {
                fs::create_dir_all(&out)
                    .and_then(|()| clap_mangen::generate_to(Cli::command(), &out))
                    .map_err(|error| Failure::usage(format!("can't write into `{}`: {error}", out.display())))?;
                say(&format!("wrote the manual pages into {}\n", out.display()))?;
            }
        }
        Ok(Answer::Yes)
    }
}
