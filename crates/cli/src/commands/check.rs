//! `mainstay check`: findings and the proof, offline.

use std::path::{Path, PathBuf};

use mainstay_plan::{Compiled, ComponentIx, Finding, Plan, Proof, Severity, SourceFile, drawn, sarif};
use serde::Serialize;

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_each, say_json};
use crate::measured::measured;
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
  mainstay check --component orders-db mainstay.yaml
  mainstay check --print-effective mainstay.yaml
  mainstay check --deny-warnings --no-proof mainstay.yaml
  generate-plan | mainstay check -

Exit codes:
  0  there is a plan, perhaps with warnings
  1  findings of severity error: there is no plan; with `--deny-warnings` also warnings
  2  the file can't be read, or has no component of that name")]
pub(crate) struct Check {
    /// The plan; `-` reads standard input
    file: PathBuf,
    /// Leave the proof out
    #[arg(long, conflicts_with = "json")]
    no_proof: bool,
    /// Prove this component alone; can be given more than once
    #[arg(long = "component", value_name = "NAME", conflicts_with_all = ["json", "no_proof"])]
    components: Vec<String>,
    /// Show every component's proof, however many there are
    #[arg(long, conflicts_with_all = ["json", "no_proof", "components"])]
    all: bool,
    /// Print the plan with everything filled in: defaults, included files, variables; secrets stay `${NAME}`
    #[arg(long, conflicts_with_all = ["json", "sarif", "no_proof"])]
    print_effective: bool,
    /// Say no to warnings, too
    #[arg(long, conflicts_with = "print_effective")]
    deny_warnings: bool,
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
        let mut checked = file.check();
        if !self.no_proof {
            checked.compiled.plan = checked.compiled.plan.take().map(measured);
        }
        let compiled = &checked.compiled;
        if self.sarif {
            say_json(&sarif(&relative(compiled), &compiled.findings))?;
            return Ok(self.answer(compiled));
        }
        if self.json {
            let (valid, findings) = (compiled.plan.is_some(), compiled.findings.as_slice());
            let proof = compiled.plan.as_ref().map(Proof::of);
            say_json(&Report { file: &file.name, valid, findings, proof })?;
            return Ok(self.answer(compiled));
        }
        let Some(plan) = &compiled.plan else {
            say(&checked.refusal(cx.look.colour))?;
            return Ok(Answer::No);
        };
        let named = self.named(plan)?;
        say_each(drawn(&compiled.files, &compiled.findings, cx.look.colour))?;
        if !self.no_proof {
            self.prove(plan, &named)?;
        }
        let found = prefixed("; ", &checked.counts());
        let components = count(plan.components.len(), "component");
        let routes = count(plan.routes.len(), "route");
        let denied = if self.answer(compiled) == Answer::No { "; warnings are denied" } else { "" };
        say(&format!("plan is valid: {components}, {routes}{found}{denied}\n"))?;
        Ok(self.answer(compiled))
    }

    fn answer(&self, compiled: &Compiled) -> Answer {
        let warned = compiled.findings.iter().any(|it| it.severity == Severity::Warning);
        Answer::from(compiled.plan.is_some() && !(self.deny_warnings && warned))
    }

    fn named(&self, plan: &Plan) -> Result<Vec<ComponentIx>, Failure> {
        let find = |name: &String| {
            let few: Vec<&str> = plan.components.iter().take(12).map(|it| it.name.as_str()).collect();
            let more = if plan.components.len() > few.len() { ", …" } else { "" };
            plan.component_named(name).ok_or_else(|| {
                Failure::usage(format!("there is no component `{name}`"))
                    .help(format!("the plan has {}{more}", few.join(", ")))
            })
        };
        self.components.iter().map(find).collect()
    }

    fn prove(&self, plan: &Plan, named: &[ComponentIx]) -> Result<(), Failure> {
        let proof = Proof::of(plan);
        if !named.is_empty() {
            named.iter().try_for_each(|it| say(&proof.table(*it)))?;
            return say(&format!("{}\n", Proof::foot()));
        }
        if self.all || plan.components.len() <= FEW {
            // One by one: the proof of a large plan is many megabytes.
            say_each(proof.tables())?;
            return say(&format!("{}\n", Proof::foot()));
        }
        say(&format!("{}\n", proof.summary()))?;
        say("`--component NAME` shows the proof of one component, `--all` of all\n")
    }
}

/// Of more components than this only a summary of the proof is shown, unless all is asked for: nobody reads a thousand
/// tables.
const FEW: usize = 50;

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
