//! A plan's file, for the commands that look at one without an agent.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mainstay_agent::REAL_SURROUNDINGS;
use mainstay_plan::{Compiled, Severity, Surroundings, compile_in, effective, render};

use crate::exit::Failure;

/// Secrets need not be known to check a plan: they are where the agent runs, and not in everybody's CI.
const CHECKING: Surroundings<'static> = Surroundings { needs_secrets: false, ..REAL_SURROUNDINGS };

/// A file that was read.
pub(crate) struct PlanFile {
    /// What people call it.
    pub(crate) name: String,
    pub(crate) text: Arc<str>,
    base_dir: PathBuf,
}

impl PlanFile {
    /// Reads it; `-` is standard input.
    pub(crate) fn read(file: &Path) -> Result<PlanFile, Failure> {
        let stdin = file == Path::new("-");
        let name = if stdin { "standard input".to_owned() } else { file.display().to_string() };
        let mut bytes = Vec::new();
        // One byte more than is read, so that the limit is seen: a device may never end.
        let most = mainstay_plan::config::MAX_BYTES as u64 + 1;
        let bytes = if stdin {
            io::stdin().lock().take(most).read_to_end(&mut bytes).map(|_| bytes)
        } else {
            fs::File::open(file).and_then(|it| it.take(most).read_to_end(&mut bytes)).map(|_| bytes)
        };
        let bytes = bytes.map_err(|error| unreadable(&name, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            Failure::usage(format!("`{name}` is not UTF-8: byte {at}, on line {line}, is not text"))
                .help("save the file as UTF-8")
        })?;
        let base_dir = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        Ok(PlanFile { name, text: text.into(), base_dir })
    }

    /// Compiles it, with the files that it includes and the variables that it names.
    pub(crate) fn check(&self) -> Checked {
        Checked { compiled: compile_in(&self.name, Arc::clone(&self.text), &self.base_dir, &CHECKING) }
    }

    /// The same, and the plan as one text with everything filled in.
    pub(crate) fn effective(&self) -> (Checked, Option<String>) {
        let (compiled, text) = effective(&self.name, Arc::clone(&self.text), &self.base_dir, &CHECKING);
        (Checked { compiled }, text)
    }
}

/// What came out of a plan's file.
pub(crate) struct Checked {
    pub(crate) compiled: Compiled,
}

impl Checked {
    /// What was found, drawn.
    pub(crate) fn findings(&self, colour: bool) -> String {
        render(&self.compiled.files, &self.compiled.findings, colour)
    }

    /// Why there is no plan.
    pub(crate) fn refusal(&self, colour: bool) -> String {
        let (findings, found) = (self.findings(colour), self.counts());
        format!("{findings}there is no plan: {found}\n`mainstay explain CODE` says more about each code\n")
    }

    /// How many errors, warnings and notes: `2 errors, 1 note`.
    pub(crate) fn counts(&self) -> String {
        let each = [Severity::Error, Severity::Warning, Severity::Note].into_iter().filter_map(|severity| {
            let number = self.compiled.findings.iter().filter(|it| it.severity == severity).count();
            (number > 0).then(|| count(number, severity.word()))
        });
        each.collect::<Vec<_>>().join(", ")
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// What is said of a file that can't be read.
pub(crate) fn unreadable(name: &str, error: &io::Error) -> Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the operating system's errors are not ours to list")]
    match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!("there is no file `{name}`"))
            .help(format!("`mainstay init {name}` writes a plan to start from")),
        ErrorKind::IsADirectory => {
            Failure::usage(format!("`{name}` is a directory")).help("name the plan's file in it")
        }
        ErrorKind::PermissionDenied => Failure::usage(format!("no permission to read `{name}`")),
        ErrorKind::InvalidData => Failure::usage(format!("`{name}` is not text"))
            .help("a plan is YAML in UTF-8; `mainstay init FILE` writes one to start from"),
        _ => Failure::usage(format!("can't read `{name}`: {error}")),
    }
}
