//! One failure, played on the plan.

use mainstay_plan::{Plan, Proof};
use mainstay_sim::reliability::Shown;
use mainstay_sim::scenario::{Options, Sayable, Scenario, Told};
use serde::Serialize;

use crate::exit::Failure;
use crate::look::{say, say_json};

#[derive(Serialize)]
struct Answered<'a> {
    file: &'a str,
    plan: &'a str,
    scenario: &'a Told,
}

#[derive(Serialize)]
struct Listed<'a> {
    file: &'a str,
    plan: &'a str,
    sayable: &'a Sayable,
}

/// What is asked for in place of a scenario to see what can be said.
pub(super) const LIST: &str = "list";

pub(super) fn list(name: &str, plan: &Plan, json: bool) -> Result<(), Failure> {
    let sayable = Sayable::of(&Proof::of(plan));
    if json {
        return say_json(&Listed { file: name, plan: &plan.hash, sayable: &sayable });
    }
    say(&sayable.text(&plan.site.name))
}

/// Plays it.
pub(super) fn play(proof: &Proof<'_>, asked: &str, options: &Options) -> Result<Told, Failure> {
    let scenario = Scenario::parse(asked, proof.plan()).map_err(|why| {
        Failure::usage(why.to_string()).help("`--scenario list` shows all that can be said of this plan")
    })?;
    Told::of(proof, &scenario, options).map_err(|broken| {
        let why = format!("Mainstay did something that it must never do ({}): {}", broken.code, broken.text);
        Failure::new(crate::exit::Code::No, why)
            .help("this is a defect of Mainstay and none of your plan: please report it with the plan")
    })
}

pub(super) fn answer(name: &str, plan: &Plan, told: &Told, shown: &Shown, json: bool) -> Result<(), Failure> {
    if json {
        return say_json(&Answered { file: name, plan: &plan.hash, scenario: told });
    }
    say(&told.text(&plan.site.name, shown))
}
