//! `mainstay upgrade`: a plan in the newest version of the grammar.

use std::fs;
use std::path::PathBuf;

use mainstay_plan::{SourceFile, render, upgrade};

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::say;
use crate::plan_file::PlanFile;

/// Rewrite a plan in the newest version of the grammar
///
/// Changes what the newest version writes in another way and nothing else: comments and layout stay. Older versions are
/// read for ever, so nothing has to be upgraded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay upgrade mainstay.yaml | diff mainstay.yaml -
  mainstay upgrade --write mainstay.yaml")]
pub(crate) struct Upgrade {
    /// The plan; `-` reads standard input
    file: PathBuf,
    /// Write it back instead of printing it
    #[arg(long)]
    write: bool,
}

impl Upgrade {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let file = PlanFile::read(&self.file)?;
        let upgraded = match upgrade(&file.name, &file.text) {
            Ok(upgraded) => upgraded,
            Err(findings) => {
                let files = [SourceFile::new(&file.name, &file.text)];
                say(&format!("{}nothing was changed\n", render(&files, &findings, cx.look.colour)))?;
                return Ok(Answer::No);
            }
        };
        match upgraded {
            Some(text) if self.write => {
                fs::write(&self.file, text)
                    .map_err(|error| Failure::usage(format!("can't write `{}`: {error}", file.name)))?;
                say(&format!("{} is in the newest version\n", file.name))?;
            }
            Some(text) => say(&text)?,
            None if self.write => say(&format!("{} is in the newest version already\n", file.name))?,
            None => say(&file.text)?,
        }
        Ok(Answer::Yes)
    }
}
