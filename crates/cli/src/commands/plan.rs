//! `mainstay plan`: what exactly would be done, and the plan as a picture, offline.

use std::path::PathBuf;

use mainstay_plan::{Walkthrough, picture};

use super::Cx;
use crate::exit::{Answer, Failure, note};
use crate::look::{Look, say, say_json};
use crate::plan_file::PlanFile;
use crate::view::walkthrough;

/// Show step by step what would be done, or draw the plan
///
/// Reads what `mainstay check` reads and nothing else. For each component: what must be seen before anything is done, then every rung and
/// every step of it, with what the step needs, what it changes, and what is taken back when the rung fails. First as the
/// plan begins, then for each standby that the component may be bound to after a takeover.
///
/// A picture shows where everything lives, how clients come in, and what depends on what.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay plan mainstay.yaml
  mainstay plan --component orders-db mainstay.yaml
  mainstay plan --json mainstay.yaml | jq '.components[].bindings[].rungs[].steps[].name'
  mainstay plan --svg mainstay.yaml > plan.svg
  mainstay plan --dot mainstay.yaml | dot -Tpdf > plan.pdf

Exit codes:
  0  done
  1  findings of severity error: there is no plan
  2  the file can't be read, or has no component of that name")]
pub(crate) struct Plan {
    /// The plan; `-` reads standard input
    file: PathBuf,
    /// Only this component; can be given more than once
    #[arg(long = "component", value_name = "NAME", conflicts_with_all = ["dot", "svg"])]
    components: Vec<String>,
    /// Answer as JSON
    #[arg(long, conflicts_with_all = ["dot", "svg"])]
    json: bool,
    /// Draw it, as source for Graphviz
    #[arg(long, conflicts_with = "svg")]
    dot: bool,
    /// Draw it, as an SVG file
    #[arg(long)]
    svg: bool,
}

impl Plan {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let checked = PlanFile::read(&self.file)?.check();
        let Some(plan) = &checked.compiled.plan else {
            // Standard output may be on its way into a file.
            note(&checked.refusal(Look::of_stderr_colour()));
            return Ok(Answer::No);
        };
        if let Some(name) = self.components.iter().find(|it| plan.component_named(it).is_none()) {
            let names: Vec<&str> = plan.components.iter().map(|it| it.name.as_str()).collect();
            let known = format!("the plan has {}", names.join(", "));
            return Err(Failure::usage(format!("there is no component `{name}`")).help(known));
        }
        if self.dot {
            say(&picture::dot(plan))?;
        } else if self.svg {
            say(&picture::svg(plan))?;
        } else {
            let all = self.components.is_empty();
            let walk = Walkthrough::of(plan, |it| all || self.components.contains(&it.name));
            if self.json {
                say_json(&walk)?;
            } else {
                say(&walkthrough::text(&walk, cx.look))?;
            }
        }
        Ok(Answer::Yes)
    }
}
