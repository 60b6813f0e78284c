//! Many years of the plan as it is.

use mainstay_engine::codec::decode;
use mainstay_plan::{Plan, Proof};
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

/// What is asked for beside the plan and its rates.
pub(super) struct Asked<'a> {
    pub(super) options: Options,
    pub(super) measured: Option<&'a Measured>,
    pub(super) shown: Shown,
}

pub(super) fn play(name: &str, plan: &Plan, rates: Rates, asked: &Asked<'_>, json: bool) -> Result<(), Failure> {
    let proof = Proof::of(plan);
    let mut model = Model::of(&proof, rates).map_err(|why| Failure::usage(why).help(super::HELP))?;
    if let Some(measured) = asked.measured {
        model.take(measured);
    }
    let report = Report::of(&model, &asked.options, &trials::play(&model, &asked.options));
    if json {
        return say_json(&Answered { file: name, plan: &plan.hash, report: &report });
    }
    say(&report.text(&plan.site.name, &asked.shown))
}
