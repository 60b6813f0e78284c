//! A trial in which whatever can go wrong may, told.

use std::sync::Arc;

use mainstay_plan::Plan;
use mainstay_sim::dice::Dice;
use mainstay_sim::trial::{Stage, Trial};

use crate::exit::{Answer, Failure};
use crate::look::say;

/// On one of the plans that Mainstay is tested with.
pub(super) fn of_ours(seed: u64, in_full: bool) -> Result<Answer, Failure> {
    tell(Trial::of(seed), in_full)
}

/// On a user's own plan.
pub(super) fn of_plan(seed: u64, plan: Plan) -> Result<Answer, Failure> {
    let stage = Arc::new(Stage::of(&plan.site.name.clone(), plan));
    tell(Trial::on(seed, stage, &mut Dice::new(seed)), true)
}

fn tell(trial: Trial, in_full: bool) -> Result<Answer, Failure> {
    let (held, story) = trial.told(true);
    let lines: Vec<&str> = story.lines().collect();
    let ends: String = [lines.first(), lines.last()].into_iter().flatten().map(|it| format!("{it}\n")).collect();
    say(if in_full { &story } else { &ends })?;
    Ok(if held { Answer::Yes } else { Answer::No })
}
