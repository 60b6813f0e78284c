//! The same workload under other strategies.

use mainstay_plan::Plan;
use mainstay_sim::reliability::{Comparison, Options, Rates, compare};
use serde::Serialize;

use crate::exit::Failure;
use crate::look::{say, say_json};

#[derive(Serialize)]
struct Answered<'a> {
    file: &'a str,
    plan: &'a str,
    comparison: &'a Comparison,
}

pub(super) fn play(
    plan: &Plan,
    rates: &Rates,
    strategies: &[String],
    options: &Options,
) -> Result<Comparison, Failure> {
    let usage = |why: String| Failure::usage(why).help(super::HELP);
    let candidates = compare::candidates(strategies, rates).map_err(usage)?;
    Comparison::of(plan, rates, &candidates, options).map_err(usage)
}

pub(super) fn answer(name: &str, plan: &Plan, comparison: &Comparison, json: bool) -> Result<(), Failure> {
    if json {
        return say_json(&Answered { file: name, plan: &plan.hash, comparison });
    }
    say(&comparison.text(&plan.site.name))
}
