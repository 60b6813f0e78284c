//! Many years of the plan as it is.

use mainstay_engine::codec::decode;
use mainstay_plan::{Plan, Proof};
use mainstay_sim::page::Drawn;
use mainstay_sim::reliability::{Failures, Measured, Model, Options, Rates, Report, Shown, trials};
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

/// What a journal knows.
pub(super) struct Known {
    /// How long recoveries took.
    pub(super) times: Option<Measured>,
    /// How often what failed.
    pub(super) failures: Option<Failures>,
}

impl Known {
    /// Of the journal in the state directory, as much as is asked for.
    pub(super) fn of(cx: &Cx, plan: &Plan, times: bool, failures: bool) -> Result<Known, Failure> {
        if !times && !failures {
            return Ok(Known { times: None, failures: None });
        }
        let reader = open(cx)?;
        let mut records = Vec::new();
        for record in reader.records(1) {
            let record = record.map_err(|error| broken(&error))?;
            // A kind of a newer or another program measures nothing.
            if let Ok(it) = decode(&encoded(&record)) {
                records.push((record.seq, it));
            }
        }
        let home = |name: &str| plan.instance_named(name).map(|it| plan.instance(it).location.clone());
        let failures = failures.then(|| Failures::of(&records, home));
        Ok(Known { times: times.then(|| Measured::of(records)), failures })
    }
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

pub(super) fn play(plan: &Plan, rates: Rates, options: &Options, known: &Known) -> Result<Played, Failure> {
    let proof = Proof::of(plan);
    let mut model = Model::of(&proof, rates).map_err(|why| Failure::usage(why).help(super::HELP))?;
    if let Some(times) = &known.times {
        model.take(times);
    }
    if let Some(failures) = &known.failures {
        model.take_failures(failures);
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
