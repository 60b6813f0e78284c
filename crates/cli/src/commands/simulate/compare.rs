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
    name: &str,
    plan: &Plan,
    rates: &Rates,
    strategies: &[String],
    options: &Options,
    json: bool,
) -> Result<(), Failure> {
    let usage = |why: String| Failure::usage(why).help(super::HELP);
    let candidates = compare::candidates(strategies, rates).map_err(usage)?;
    let comparison = Comparison::of(plan, rates, &candidates, options).map_err(usage)?;
    if json {
        return say_json(&Answered { file: name, plan: &plan.hash, comparison: &comparison });
    }
    say(&comparison.text(&plan.site.name))
}
