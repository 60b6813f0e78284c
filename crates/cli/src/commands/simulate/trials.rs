//! Many years of the plan as it is.

use mainstay_engine::codec::decode;
use mainstay_plan::{Plan, Proof};
use mainstay_sim::page::Drawn;
use mainstay_sim::reliability::{Measured, Model, Options, Rates, Report, Shown, trials};
use serde::Serialize;

use crate::commands::Cx;
use crate::commands::journal::{broken, encoded, open};
use crate::exit::Failure;
use crate::look::{say, say_json};

#[derive(Serialize)]
struct Answered<'a> {
    file: &'a str,
    plan: &'a str,
    report: &'a Report,
}

/// How long the recoveries of the journal took.
pub(super) fn measured(cx: &Cx) -> Result<Measured, Failure> {
    let reader = open(cx)?;
    let mut records = Vec::new();
    for record in reader.records(1) {
        let record = record.map_err(|error| broken(&error))?;
        // A kind of a newer or another program measures nothing.
        if let Ok(it) = decode(&encoded(&record)) {
            records.push((record.seq, it));
        }
    }
    Ok(Measured::of(records))
}

/// What was played.
pub(super) struct Played {
    model: Model,
    tally: trials::Tally,
    pub(super) report: Report,
}

impl Played {
    /// As a page.
    pub(super) fn html(&self, plan: &Plan, shown: &Shown) -> String {
        self.report.html(&Drawn { plan, model: &self.model, tally: &self.tally }, shown)
    }
}

pub(super) fn play(
    plan: &Plan,
    rates: Rates,
    options: &Options,
    measured: Option<&Measured>,
) -> Result<Played, Failure> {
    let proof = Proof::of(plan);
    let mut model = Model::of(&proof, rates).map_err(|why| Failure::usage(why).help(super::HELP))?;
    if let Some(measured) = measured {
        model.take(measured);
    }
    let tally = trials::play(&model, options);
    let report = Report::of(&model, options, &tally);
    Ok(Played { model, tally, report })
}

pub(super) fn answer(name: &str, plan: &Plan, report: &Report, shown: &Shown, json: bool) -> Result<(), Failure> {
    if json {
        return say_json(&Answered { file: name, plan: &plan.hash, report });
    }
    say(&report.text(&plan.site.name, shown))
}
