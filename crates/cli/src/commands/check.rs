//! `mainstay check`: findings and the proof, offline.

use std::path::{Path, PathBuf};

use mainstay_plan::{Compiled, Finding, Proof, SourceFile, sarif};
use serde::Serialize;

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};
use crate::plan_file::{PlanFile, count};

/// Check a plan, and prove what it would survive
///
/// Reads the file, those that it includes and the variables that it names: no server is asked, no name is resolved.
/// Findings come first, each with its place in the file. The proof follows: for each component and each failure, the first recovery that survives it, its worst
/// case, and what that rests on, or why there is none. With `--sarif` the findings alone are printed, as SARIF 2.1.0,
/// which code hosts and editors show beside the lines.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay check mainstay.yaml
  mainstay check --json mainstay.yaml | jq '.findings[].code'
  mainstay check --sarif mainstay.yaml > findings.sarif
  mainstay check --print-effective mainstay.yaml
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
    /// Print the plan with everything filled in: defaults, included files, variables; secrets stay `${NAME}`
    #[arg(long, conflicts_with_all = ["json", "sarif", "no_proof"])]
    print_effective: bool,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
    /// Print the findings as SARIF
    #[arg(long, conflicts_with = "json")]
    sarif: bool,
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
        let file = PlanFile::read(&self.file)?;
        if self.print_effective {
            return print_effective(&file, cx);
        }
        let checked = file.check();
        let compiled = &checked.compiled;
        if self.sarif {
            say_json(&sarif(&relative(compiled), &compiled.findings))?;
            return Ok(Answer::from(compiled.plan.is_some()));
        }
        let proof = compiled.plan.as_ref().filter(|_| !self.no_proof).map(Proof::of);
        if self.json {
            let valid = compiled.plan.is_some();
            say_json(&Report { file: &file.name, valid, findings: &compiled.findings, proof })?;
        } else {
            let out = match &compiled.plan {
                Some(plan) => {
                    let mut out = checked.findings(cx.look.colour);
                    if let Some(proof) = &proof {
                        out.push_str(&proof.text());
                        out.push('\n');
                    }
                    let found = prefixed("; ", &checked.counts());
                    let components = count(plan.components.len(), "component");
                    let routes = count(plan.routes.len(), "route");
                    out.push_str(&format!("plan is valid: {components}, {routes}{found}\n"));
                    out
                }
                None => checked.refusal(cx.look.colour),
            };
            say(&out)?;
        }
        Ok(Answer::from(compiled.plan.is_some()))
    }
}

/// The plan as one text that says everything; findings, if there is no plan.
fn print_effective(file: &PlanFile, cx: &Cx) -> Result<Answer, Failure> {
    let (checked, text) = file.effective();
    match text {
        Some(text) => say(&text)?,
        None => say(&checked.refusal(cx.look.colour))?,
    }
    Ok(Answer::from(checked.compiled.plan.is_some()))
}

/// Whoever reads SARIF knows files by their place in the repository, and the check is usually run from its root.
fn relative(compiled: &Compiled) -> Vec<SourceFile> {
    let here = std::env::current_dir().unwrap_or_default();
    let name = |name: &str| {
        Path::new(name).strip_prefix(&here).map_or_else(|_| name.to_owned(), |it| it.display().to_string())
    };
    compiled.files.iter().map(|it| SourceFile::new(&name(&it.name), &it.text)).collect()
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}
