//! `mainstay assess`: what a plan is worth in a disaster, offline.

use std::path::PathBuf;

use mainstay_plan::{Assessment, Finding};
use serde::Serialize;

use crate::exit::{Answer, Failure, note};
use crate::look::{Look, say, say_json};
use crate::plan_file::PlanFile;

/// Say what a plan is worth in a disaster
///
/// Reads what `mainstay check` reads and nothing else. Says which strategy of disaster recovery each component really has for the loss of its
/// zone and of its region, and which one its objectives need; what the availability targets mean and add up to; and how the
/// usual readiness checklist is answered. A recovery counts where `mainstay check` proves it. What the plan does not show is
/// not known.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay assess mainstay.yaml
  mainstay assess --markdown mainstay.yaml > runbook/readiness.md
  mainstay assess --json mainstay.yaml | jq '.assessment.strategies.region.verdict'

Exit codes:
  0  it is assessed, whatever the verdict
  1  findings of severity error: there is no plan
  2  the file can't be read")]
pub(crate) struct Assess {
    /// The plan; `-` reads standard input
    file: PathBuf,
    /// Answer as Markdown, to stand in a runbook
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    valid: bool,
    /// Why there is no plan; what is worth knowing about a sound one, `check` says.
    #[serde(skip_serializing_if = "<[Finding]>::is_empty")]
    findings: &'a [Finding],
    assessment: Option<Assessment>,
}

impl Assess {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let file = PlanFile::read(&self.file)?;
        let checked = file.check();
        let compiled = &checked.compiled;
        let valid = compiled.plan.is_some();
        let assessment = compiled.plan.as_ref().map(Assessment::of);
        if self.json {
            let findings = if valid { &[] } else { compiled.findings.as_slice() };
            say_json(&Report { file: &file.name, valid, findings, assessment })?;
            return Ok(Answer::from(valid));
        }
        match &assessment {
            Some(it) if self.markdown => say(&it.markdown())?,
            Some(it) => say(&it.text())?,
            None => note(&checked.refusal(Look::of_stderr_colour())),
        }
        Ok(Answer::from(valid))
    }
}
