//! G8: nothing is restarted more often than its rung lets, unless a person says so; and nothing is passed over as a crash loop that
//! was not restarted so often.

use std::collections::BTreeMap;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::record::StepRef;
use mainstay_engine::{Body, Record, RecoveryId, WaitingOn};
use mainstay_plan::Time;
use mainstay_plan::strategy::{RestartLimit, Strategy};

use super::facts::Facts;

/// The model: by instance, when it was restarted.
#[derive(Debug, Default)]
pub(super) struct Loops {
    /// Since anybody has said that something was looked at: no more of these than the engine counts.
    counted: BTreeMap<String, Vec<Time>>,
    /// All: no less.
    all: BTreeMap<String, Vec<Time>>,
}

impl Loops {
    pub(super) fn recorded(&mut self, record: &Record, facts: &Facts) {
        if let Body::StepStarted { step, .. } = &record.body {
            self.restarts(*step, record.at, facts);
        } else if let Body::RungSkipped { recovery, rung, why, .. } = &record.body {
            if why.contains("is in a crash loop") {
                self.is_looping(*recovery, *rung, record.at, facts);
            }
        } else if let Body::Held { recovery, waiting: WaitingOn::CrashLoop { .. } } = &record.body {
            let Some(open) = facts.open.get(recovery) else { return };
            let Some(ix) = facts.plan.component_named(&open.component) else { return };
            let rung = facts.plan.component(ix).ladder.iter().position(|it| it.restarts.is_some());
            let rung =
                rung.unwrap_or_else(|| panic!("G8: {recovery} waits for a crash loop, and has nothing to restart"));
            self.is_looping(*recovery, rung, record.at, facts);
        } else if let Body::Commanded { command: Command::Acknowledge { .. } | Command::Recover { .. }, .. } =
            &record.body
        {
            // What is meant by a name is the engine's business.
            self.counted.clear();
        }
    }

    fn restarts(&mut self, step: StepRef, at: Time, facts: &Facts) {
        let Some(open) = facts.open.get(&step.recovery).filter(|it| !it.is_planned && step.attempt == 1) else {
            return;
        };
        let Some(play) = facts.play(step.recovery) else { return };
        let limit = limit(step.recovery, step.rung, facts);
        let acts = play.steps.get(step.step).is_some_and(|it| it.kind.action().is_some());
        let Some(limit) = limit.filter(|_| acts) else { return };
        let name = facts.plan.instance(play.to).name.clone();
        let before = within(self.counted.get(&name), limit, at);
        if !open.overrides.contains(&Override::CrashLoop) {
            assert!(
                before < limit.at_most as usize,
                "G8: {name} is restarted, and was {before} times within {:?}",
                limit.within
            );
        }
        self.counted.entry(name.clone()).or_default().push(at);
        self.all.entry(name).or_default().push(at);
    }

    fn is_looping(&self, recovery: RecoveryId, rung: usize, at: Time, facts: &Facts) {
        let Some(open) = facts.open.get(&recovery) else { return };
        let bound = facts.bound(&open.component);
        let Some(limit) = limit(recovery, rung, facts) else {
            panic!("G8: rung {rung} of {recovery} restarts nothing, and is passed over for it");
        };
        let times = within(self.all.get(bound), limit, at);
        assert!(
            times >= limit.at_most as usize,
            "G8: {bound} is taken for a crash loop after {times} restarts within {:?}",
            limit.within
        );
    }
}

/// How often the rung restarts at most, if it restarts.
fn limit(recovery: RecoveryId, rung: usize, facts: &Facts) -> Option<RestartLimit> {
    let component = facts.plan.component_named(&facts.open.get(&recovery)?.component)?;
    let rung = facts.plan.component(component).ladder.get(rung)?;
    rung.restarts.filter(|_| rung.strategy == Strategy::RestartService)
}

fn within(restarts: Option<&Vec<Time>>, limit: RestartLimit, at: Time) -> usize {
    restarts.into_iter().flatten().filter(|it| **it + limit.within > at).count()
}
