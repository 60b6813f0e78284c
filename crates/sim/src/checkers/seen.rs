//! S8: unless enough witnesses have answered since the first failed observation nothing is done; what was not seen to fail is
//! not down; and what was down before the agent started is seen anew.

use std::collections::{BTreeMap, VecDeque};

use mainstay_engine::command::Override;
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::observation::{Answer, Health, Observation};
use mainstay_plan::{Plan, Time};

use super::facts::Facts;

/// How many answers back a verdict may rest on one that came before its record was durable.
const REMEMBERED: usize = 32;

/// What one probe was answered.
#[derive(Debug, Default)]
struct Answers {
    failures: u32,
    goods: u32,
    /// When it became so, and whether so many answers in a row failed that its instance may be called down.
    down: VecDeque<(Time, bool)>,
}

/// The model.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By place in the plan.
    answers: Vec<Answers>,
    /// Instance → it went down at this record, since the agent started.
    went_down: BTreeMap<String, u64>,
    /// Rule → it fired at this record.
    fired: BTreeMap<String, u64>,
    /// Component → witnesses, and signals, answered at this record.
    witnessed: BTreeMap<String, u64>,
    signalled: BTreeMap<String, u64>,
    /// Recovery → what accuses its instance.
    accused: BTreeMap<RecoveryId, u64>,
}

impl Seen {
    /// What was heard under the plan before still explains what it made the agent say, which may not be durable yet.
    pub(super) fn under(&mut self, plan: &Plan) {
        self.answers.resize_with(plan.probes.len(), Answers::default);
        self.answers.iter_mut().for_each(|it| (it.failures, it.goods) = (0, 0));
    }

    pub(super) fn agent_started(&mut self) {
        self.answers.iter_mut().for_each(|it| *it = Answers::default());
    }

    /// The agent hears an answer at `now`, on its own clock.
    pub(super) fn heard(&mut self, observation: &Observation, plan: &Plan, now: Time) {
        let timing = plan.probe(observation.probe).timing;
        let it = &mut self.answers[observation.probe.index()];
        let was = it.down.back().is_some_and(|it| it.1);
        if observation.answer == Answer::Good {
            (it.failures, it.goods) = (0, it.goods + 1);
        } else if observation.answer.is_failure() {
            (it.failures, it.goods) = (it.failures + 1, 0);
        }
        let is = if was { it.goods < timing.rise } else { it.failures >= timing.fall };
        if was != is || it.down.is_empty() {
            if it.down.len() == REMEMBERED {
                it.down.pop_front();
            }
            it.down.push_back((now, is));
        }
    }

    pub(super) fn recorded(&mut self, seq: u64, record: &Record, facts: &Facts) {
        if let Body::HealthChanged { instance, to: Health::Down, .. } = &record.body {
            self.went_down.insert(instance.clone(), seq);
            self.rests_on_failures(instance, record.at, facts);
        } else if let Body::AgentStarted { .. } = &record.body {
            self.went_down.clear();
        } else if let Body::RuleFired { rule, .. } = &record.body {
            self.fired.insert(rule.clone(), seq);
        } else if let Body::WitnessesAnswered { component, .. } = &record.body {
            self.witnessed.insert(component.clone(), seq);
        } else if let Body::SignalsSeen { component, .. } = &record.body {
            self.signalled.insert(component.clone(), seq);
        } else if let Body::FailureDetected { rule: Some(rule), .. } = &record.body {
            let fired = self.fired.get(rule).copied().unwrap_or(seq);
            self.accused.insert(RecoveryId(seq), fired);
        } else if let Body::RecoveryInitiated { recovery, .. } = &record.body {
            self.initiated(*recovery, facts);
        }
    }

    /// Unknown is never down.
    fn rests_on_failures(&self, instance: &str, at: Time, facts: &Facts) {
        let Some(ix) = facts.plan.instance_named(instance) else { return };
        let planned = facts.plan.instance(ix);
        let was_down = |it: &&mainstay_plan::ProbeIx| {
            let answers = self.answers.get(it.index());
            // Of several answers at that very moment any may have been the last that was heard.
            let known = || answers.iter().flat_map(|it| it.down.iter());
            let just_then = known().any(|it| it.0 == at && it.1);
            just_then || known().rev().find(|it| it.0 < at).is_some_and(|it| it.1)
        };
        let down = planned.probes.iter().filter(was_down).count();
        let need = planned.down_when;
        assert!(
            down >= need,
            "S8: {instance} is called down, and {down} of its probes failed often enough, not {need}"
        );
    }

    fn initiated(&self, recovery: RecoveryId, facts: &Facts) {
        let Some(open) = facts.open.get(&recovery).filter(|it| !it.is_planned) else { return };
        let Some(ix) = facts.plan.component_named(&open.component) else { return };
        let planned = facts.plan.component(ix);
        let down = self.went_down.get(&open.instance).copied();
        assert!(
            down.is_some() || open.by_rule,
            "S8: {recovery} was initiated, and {} was not seen down since the agent started",
            open.instance
        );
        let since = self.accused.get(&recovery).copied().max(down);
        if planned.witnesses.need > 0 && !open.overrides.contains(&Override::Witnesses) {
            let seen = self.witnessed.get(&open.component).copied();
            assert!(
                seen > since,
                "S8: {recovery} was initiated, and no witness answered since {} failed",
                open.component
            );
        }
        let by_probes = !open.by_rule && planned.guards.signals >= 2;
        if by_probes && !open.overrides.contains(&Override::Signals) {
            let seen = self.signalled.get(&open.component).copied();
            assert!(seen > since, "S8: {recovery} was initiated on signals of one kind");
        }
    }
}
