//! `mainstay check`: findings and the proof, offline.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use mainstay_plan::{Finding, Proof, Severity, compile, render};
use serde::Serialize;

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};

/// Check a plan, and prove what it would survive
///
/// Reads the file and nothing else: no server is asked, no name is resolved. Findings come first, each with its place in
/// the file. The proof follows: for each component and each failure, the first recovery that survives it, its worst
/// case, and what that rests on, or why there is none.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay check mainstay.yaml
  mainstay check --json mainstay.yaml | jq '.findings[].code'
  generate-plan | mainstay check -

Exit codes:
  0  there is a plan, perhaps with warnings
  1  findings of severity error: there is no plan
  2  the file can't be read")]
pub(crate) struct Check {
    /// The plan; `-` reads standard input
    file: PathBuf,
    /// Leave the proof out
    #[arg(long, conflicts_with = "json")]
    no_proof: bool,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    valid: bool,
    findings: &'a [Finding],
    proof: Option<Proof<'a>>,
}

impl Check {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let (name, text) = read(&self.file)?;
        let base = self.file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let compiled = compile(&name, &text, base);
        let proof = compiled.plan.as_ref().filter(|_| !self.no_proof).map(Proof::of);
        if self.json {
            let valid = compiled.plan.is_some();
            say_json(&Report { file: &name, valid, findings: &compiled.findings, proof })?;
        } else {
            let mut out = render(&text, &compiled.findings, cx.look.colour);
            if let Some(proof) = &proof {
                out.push_str(&proof.text());
                out.push('\n');
            }
            let found = counts(&compiled.findings);
            match &compiled.plan {
                Some(plan) => {
                    let components = count(plan.components.len(), "component");
                    let routes = count(plan.routes.len(), "route");
                    out.push_str(&format!("plan is valid: {components}, {routes}{}\n", prefixed("; ", &found)));
                }
                None => out.push_str(&format!(
                    "there is no plan: {found}\n`mainstay explain CODE` says more about each code\n"
                )),
            }
            say(&out)?;
        }
        Ok(Answer::from(compiled.plan.is_some()))
    }
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn counts(findings: &[Finding]) -> String {
    let each = [Severity::Error, Severity::Warning, Severity::Note].into_iter().filter_map(|severity| {
        let number = findings.iter().filter(|it| it.severity == severity).count();
        (number > 0).then(|| count(number, severity.word()))
    });
    each.collect::<Vec<_>>().join(", ")
}

/// The file's name for people, and its text.
fn read(file: &Path) -> Result<(String, String), Failure> {
    let stdin = file == Path::new("-");
    let name = if stdin { "standard input".to_owned() } else { file.display().to_string() };
    let bytes = if stdin {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    let bytes = bytes.map_err(|error| unreadable(&name, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::usage(format!("`{name}` is not UTF-8: byte {at}, on line {line}, is not text"))
            .help("save the file as UTF-8")
    })?;
    Ok((name, text))
}

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
