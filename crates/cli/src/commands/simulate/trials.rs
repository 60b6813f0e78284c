//! Many years of the plan as it is.

use mainstay_plan::{Plan, Proof};
use mainstay_sim::reliability::{Model, Options, Rates, Report, trials};
use serde::Serialize;

use crate::exit::Failure;
use crate::look::{say, say_json};

#[derive(Serialize)]
struct Answered<'a> {
    file: &'a str,
    plan: &'a str,
    report: &'a Report,
}

pub(super) fn play(name: &str, plan: &Plan, rates: Rates, options: &Options, json: bool) -> Result<(), Failure> {
    let proof = Proof::of(plan);
    let model = Model::of(&proof, rates).map_err(|why| Failure::usage(why).help(super::HELP))?;
    let report = Report::of(&model, options, &trials::play(&model, options));
    if json {
        return say_json(&Answered { file: name, plan: &plan.hash, report: &report });
    }
    say(&report.text(&plan.site.name))
}
