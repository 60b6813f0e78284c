//! `mainstay upgrade`: a plan in the newest version of the grammar.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mainstay_plan::{SourceFile, render, upgrade};

use crate::exit::{Answer, Failure, note};
use crate::look::{Look, say};
use crate::plan_file::PlanFile;

/// Rewrite a plan in the newest version of the grammar
///
/// Changes what the newest version writes in another way and nothing else: comments and layout stay. Older versions are
/// read for ever, so nothing has to be upgraded. Files that are included are upgraded one by one; those that don't say
/// their version are told it with `--from`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay upgrade mainstay.yaml | diff mainstay.yaml -
  mainstay upgrade --write mainstay.yaml
  mainstay upgrade --write --from 1 teams/orders.yaml")]
pub(crate) struct Upgrade {
    /// The plan; `-` reads standard input
    file: PathBuf,
    /// Write it back instead of printing it
    #[arg(long)]
    write: bool,
    /// The version of a file that does not say it
    #[arg(long, value_name = "VERSION")]
    from: Option<String>,
}

impl Upgrade {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        if self.write && self.file == Path::new("-") {
            return Err(Failure::usage("standard input can't be written back").help("leave `--write` out"));
        }
        let file = PlanFile::read(&self.file)?;
        let upgraded = match upgrade(&file.name, &file.text, self.from.as_deref()) {
            Ok(upgraded) => upgraded,
            Err(findings) => {
                let files = [SourceFile::new(&file.name, &file.text)];
                note(&format!("{}nothing was changed\n", render(&files, &findings, Look::of_stderr_colour())));
                return Ok(Answer::No);
            }
        };
        match &upgraded.text {
            Some(text) if self.write => {
                self.replace(text).map_err(|error| Failure::usage(format!("can't write `{}`: {error}", file.name)))?;
                say(&format!("{} is in the newest version\n", file.name))?;
            }
            Some(text) => say(text)?,
            None if self.write => say(&format!("{} is in the newest version already\n", file.name))?,
            None => say(&file.text)?,
        }
        if upgraded.text.is_some() && !upgraded.includes.is_empty() {
            let each = upgraded.includes.join(" ");
            note(&format!("the files that it includes are still of version {}; each needs\n", upgraded.from));
            note(&format!("  mainstay upgrade --write --from {} FILE      # {each}\n", upgraded.from));
        }
        Ok(Answer::Yes)
    }

    /// All of it or nothing: beside the file first, then in its place.
    fn replace(&self, text: &str) -> io::Result<()> {
        // Behind a link stands the file that is meant.
        let file = fs::canonicalize(&self.file)?;
        let mut beside = file.clone().into_os_string();
        beside.push(".upgraded");
        let permissions = fs::metadata(&file)?.permissions();
        fs::write(&beside, text)?;
        fs::set_permissions(&beside, permissions)?;
        fs::rename(&beside, &file)
    }
}
