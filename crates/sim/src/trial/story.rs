//! A trial as a story: what happened in the world, and what the agent recorded, in the order in which it came.

use std::fmt::Write;
use std::time::Duration;

use mainstay_engine::sentence::Teller;
use mainstay_plan::Time;

use super::{Run, Trial, What};

/// Where virtual time begins.
const BEGIN: Time = Time::from_millis(1_000_000);

fn moment(at: Time) -> String {
    format!("{:.3} s", at.since(BEGIN).as_secs_f64())
}

fn span(it: Duration) -> String {
    format!("{it:?}")
}

/// Tells what a trial is, what happened, and how it ended.
pub fn tell(trial: &Trial, run: &Run) -> String {
    let kinds: Vec<&str> = trial.kinds.iter().map(|it| it.word()).collect();
    let mut text = format!("seed {}: {}, with {}\n", trial.seed, trial.stage.name, kinds.join(", "));
    if let Some((nth, how)) = trial.promise {
        let promise = &trial.stage.promises[nth];
        let name = &trial.stage.plan.component(promise.component).name;
        let _ = writeln!(text, "  first {name} goes {how:?}: proved to be recovered within {:?}", promise.bound);
    }
    let mut teller = Teller::new(moment, span);
    let mut happened = run.world.happened.iter().peekable();
    let second = run.world.second_file_of().iter().cloned();
    for (seq, record) in run.world.journal().into_iter().chain(second) {
        while let Some((at, what)) = happened.next_if(|it| it.0 <= record.at) {
            let _ = writeln!(text, "{:>12}  ! {what}", moment(*at));
        }
        let _ = writeln!(text, "{:>12}  {seq:>3} {}", moment(record.at), teller.tell(&record.body));
    }
    for (at, what) in happened {
        let _ = writeln!(text, "{:>12}  ! {what}", moment(*at));
    }
    match &run.violation {
        Some(it) => drop(writeln!(text, "{:>12}  VIOLATED {}", moment(run.world.clock()), it.text)),
        None => drop(writeln!(text, "{:>12}  all is well", moment(run.world.clock()))),
    }
    text
}

impl What {
    /// What it is, in a few words.
    pub fn told(&self) -> String {
        match self {
            What::Fault(fault) => format!("{fault:?}"),
            What::Crash(kind, ahead, down_for) => {
                format!("the agent will crash {ahead} records on, {kind:?}, for {down_for:?}")
            }
            What::Torn(kind, down_for) => {
                format!(
                    "the journal's tail will be torn behind the next {kind}, and the agent is away for {down_for:?}"
                )
            }
            What::JournalGone(down_for) => format!("the journal is gone, and the agent for {down_for:?}"),
            What::Say(_) => "somebody says something".to_owned(),
            What::Reload(_) => "another version of the plan".to_owned(),
        }
    }
}
