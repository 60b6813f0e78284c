//! Why was this decided? What was known, what was asked, what was chosen and what was passed over: the journal is replayed up to
//! the decision, and the same code that decided is asked once more. Nothing here decides, and nothing is guessed.

mod known;

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_plan::routing::TargetState;
use mainstay_plan::{Plan, Time};
use serde::Serialize;

use crate::codec::{Encoded, decode, encode};
use crate::engine::Core;
use crate::guard;
use crate::record::{Body, Record, RecoveryId, ReportedTarget};
use crate::recover;
use crate::replay::ReplayError;
use crate::route;
use crate::sentence::Teller;
use crate::state::{Recovery, RecoveryStatus, State};
use crate::waiting::WaitingOn;
use known::Seen;

/// Why a record is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The record's number.
    pub seq: u64,
    /// When.
    pub at_ns: u64,
    /// Its kind, as the journal has it.
    pub kind: &'static str,
    /// What it says.
    pub says: String,
    /// Whether it was decided. A fact came from outside and has no reasons of ours.
    pub is_decision: bool,
    /// The component that it is about.
    pub component: Option<String>,
    /// The recovery that it belongs to.
    pub recovery: Option<RecoveryId>,
    /// The facts since the decision before: what led to it. None: time did.
    pub led_to_it: Vec<Told>,
    /// What was known then.
    pub known: Vec<Known>,
    /// The guards in the order in which they are asked; empty where none was.
    pub guards: Vec<Asked>,
    /// The rungs of the ladder; empty where none was to be chosen.
    pub rungs: Vec<Weighed>,
    /// What it changes in the routing table.
    pub routes: Vec<Change>,
    /// Whether this version decides the same; if not, what it decides.
    pub again: Again,
    /// The decisions of the same recovery, or those that followed from a fact.
    pub related: Vec<u64>,
}

/// A record as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its number.
    pub seq: u64,
    /// What it says.
    pub says: String,
}

/// Something that was known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Of what.
    pub about: String,
    /// What.
    pub says: String,
}

/// A guard that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Which, by the code of its wait.
    pub guard: &'static str,
    /// What it answered.
    pub answer: Answer,
    /// Its reason, where it had one.
    pub why: Option<String>,
}

/// What a guard answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It had nothing against it.
    Passed,
    /// It would have objected, and a person overruled it.
    Overruled,
    /// It objected.
    Objected,
    /// One before it objected.
    NotAsked,
}

/// A rung that was weighed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Weighed {
    /// Which, from 1.
    pub rung: usize,
    /// Its strategy.
    pub strategy: &'static str,
    /// The instance that it leads to.
    pub to: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was not possible.
    pub why: Option<String>,
}

/// What became of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was the one.
    Chosen,
    /// It was not possible.
    PassedOver,
    /// It was possible; another one came before it.
    Possible,
    /// It had its turn before.
    Over,
}

/// A target of a route that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The route.
    pub route: String,
    /// The instance.
    pub instance: String,
    /// What it was.
    pub from: TargetState,
    /// What it is.
    pub to: TargetState,
}

/// Whether this version decides the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Again {
    /// It does, or there was nothing to decide.
    pub same: bool,
    /// What it decides instead.
    pub instead: Option<String>,
}

/// Why there is no explanation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// The journal can't be replayed up to there.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// There is no such record.
    #[error("there is no record {seq}; the journal ends with {last}")]
    NoRecord {
        /// Asked for.
        seq: u64,
        /// The last.
        last: u64,
    },
}

/// Explains record `wanted`. `compile` turns a plan's text and base folder into a plan.
pub fn explain(
    records: impl IntoIterator<Item = (u64, Encoded)>,
    compile: impl Fn(&str, &str) -> Option<Plan>,
    wanted: u64,
    mut teller: Teller,
) -> Result<Explanation, ExplainError> {
    let mut walk = Walk::default();
    let mut found: Option<Explanation> = None;
    for (seq, stored) in records {
        let record = decode(&stored).map_err(|source| ReplayError::Unreadable { seq, source })?;
        if let Some(explanation) = &mut found {
            if !belongs(explanation, seq, &record) {
                break;
            }
            continue;
        }
        walk.before(seq, &record, &compile)?;
        let says = teller.tell(&record.body);
        if seq == wanted {
            found = Some(walk.explain(seq, &record, &stored, says.clone(), &mut teller)?);
        }
        walk.take(seq, &record, says)?;
    }
    found.ok_or(ExplainError::NoRecord { seq: wanted, last: walk.last })
}

/// Notes what comes after, and says whether there can be more.
fn belongs(explanation: &mut Explanation, seq: u64, record: &Record) -> bool {
    if explanation.is_decision {
        let same = explanation.recovery.is_some() && recovery_of(&encode(record)) == explanation.recovery;
        if same && !record.body.is_fact() {
            explanation.related.push(seq);
        }
        return explanation.recovery.is_some();
    }
    if record.body.is_fact() {
        // Facts of one turn are decided about together.
        return explanation.related.is_empty();
    }
    explanation.related.push(seq);
    true
}

/// What has been read so far.
#[derive(Default)]
struct Walk {
    /// The records one by one: exactly what was known before the next.
    state: Option<State>,
    /// The same, deciding once more.
    core: Option<Core>,
    at: Time,
    /// Decisions that were made again and not met yet.
    again: std::collections::VecDeque<Record>,
    facts: Vec<Told>,
    seen: Seen,
    decisions: BTreeMap<RecoveryId, Vec<u64>>,
    last: u64,
}

impl Walk {
    /// A record that adopts a plan changes what those after it are folded under, and itself as well.
    fn before(
        &mut self,
        seq: u64,
        record: &Record,
        compile: &impl Fn(&str, &str) -> Option<Plan>,
    ) -> Result<(), ExplainError> {
        let Body::PlanAdopted { source, base_dir, .. } = &record.body else { return Ok(()) };
        let plan = Arc::new(compile(source, base_dir).ok_or(ReplayError::Plan { seq })?);
        self.state = Some(match self.state.take() {
            None => State::new(plan.clone()),
            Some(state) if state.plan.hash != plan.hash => state.with_plan(plan.clone(), record.at),
            Some(state) => state,
        });
        match &mut self.core {
            None => self.core = Some(Core::new(plan)),
            Some(core) if core.state.plan.hash != plan.hash => core.replace_plan(plan, record.at),
            Some(_) => {}
        }
        Ok(())
    }

    fn take(&mut self, seq: u64, record: &Record, says: String) -> Result<(), ExplainError> {
        let state = self.state.as_mut().ok_or(ReplayError::NoPlan { seq })?;
        state.apply(seq, record);
        self.seen.take(seq, &record.body, &says);
        self.last = seq;
        let core = self.core.as_mut().ok_or(ReplayError::NoPlan { seq })?;
        if record.body.is_fact() {
            self.again.clear();
            core.state.doubted.clear();
            core.take(record);
            self.at = record.at;
            self.facts.push(Told { seq, says });
        } else {
            self.decide(record);
            self.again.pop_front();
            self.facts.clear();
            if let Some(recovery) = recovery_of(&encode(record)).or_else(|| opened(seq, &record.body)) {
                self.decisions.entry(recovery).or_default().push(seq);
            }
        }
        Ok(())
    }

    /// Decides once more what follows from the facts up to here, unless that was done.
    fn decide(&mut self, record: &Record) {
        if self.again.is_empty()
            && let Some(core) = &mut self.core
        {
            self.at = self.at.max(record.at);
            self.again.extend(core.decide(self.at).into_iter().map(|it| it.1));
        }
    }

    fn explain(
        &mut self,
        seq: u64,
        record: &Record,
        stored: &Encoded,
        says: String,
        teller: &mut Teller,
    ) -> Result<Explanation, ExplainError> {
        let is_decision = !record.body.is_fact();
        let mut again = Again { same: true, instead: None };
        if is_decision {
            self.decide(record);
            let now = self.again.front();
            if now.map(encode).as_ref() != Some(stored) {
                again = Again {
                    same: false,
                    instead: Some(now.map_or_else(|| "nothing".to_owned(), |it| teller.tell(&it.body))),
                };
            }
        }
        let state = self.state.as_ref().ok_or(ReplayError::NoPlan { seq })?;
        let recovery = recovery_of(stored);
        let open = recovery.and_then(|it| state.open_recovery(it));
        let component = open.map(|it| it.component).or_else(|| self.core.as_ref()?.component_of(&record.body));
        let recovery = recovery.or_else(|| opened(seq, &record.body));
        let mut explanation = Explanation {
            seq,
            at_ns: record.at.as_nanos(),
            kind: record.body.kind(),
            says,
            is_decision,
            component: component.map(|it| state.plan.component(it).name.clone()),
            recovery,
            led_to_it: self.facts.clone(),
            known: Vec::new(),
            guards: Vec::new(),
            rungs: Vec::new(),
            routes: Vec::new(),
            again,
            related: recovery.and_then(|it| self.decisions.get(&it)).cloned().unwrap_or_default(),
        };
        if !is_decision {
            explanation.led_to_it.clear();
            explanation.related.clear();
            return Ok(explanation);
        }
        if let Some(component) = component {
            explanation.known = known::of(state, component, &self.seen, teller);
        }
        if let Some(open) = open {
            explanation.guards = guards(state, open, &record.body, record.at);
            explanation.rungs = rungs(state, open, &record.body, record.at);
        }
        if let Body::TablePublished { targets, .. } = &record.body {
            explanation.routes = changes(&route::published(state), targets);
        }
        Ok(explanation)
    }
}

/// The guards that let a recovery begin, or did not. Once it has begun, they are not asked again.
fn guards(state: &State, recovery: &Recovery, decided: &Body, now: Time) -> Vec<Asked> {
    let asks = matches!(decided, Body::Held { .. } | Body::RecoveryInitiated { .. });
    if recovery.status != RecoveryStatus::FailureDetected || !asks {
        return Vec::new();
    }
    let mut without = recovery.clone();
    without.overrides.clear();
    without.approved_by.clear();
    let mut objected = false;
    let ask = |(code, guard): (&'static str, guard::Guard)| {
        let (answer, why) = match (objected, guard(state, recovery, now), guard(state, &without, now)) {
            (true, _, _) => (Answer::NotAsked, None),
            (false, Some(waiting), _) => (Answer::Objected, Some(waiting)),
            (false, None, Some(waiting)) => (Answer::Overruled, Some(waiting)),
            (false, None, None) => (Answer::Passed, None),
        };
        objected |= answer == Answer::Objected;
        Asked { guard: code, answer, why: why.map(|it| it.to_string()) }
    };
    guard::ALL.into_iter().map(ask).collect()
}

/// The rungs as they were weighed for a decision that needs one.
fn rungs(state: &State, recovery: &Recovery, decided: &Body, now: Time) -> Vec<Weighed> {
    let chooses = matches!(
        decided,
        Body::RecoveryInitiated { .. }
            | Body::RungStarted { .. }
            | Body::RungSkipped { .. }
            | Body::Held { waiting: WaitingOn::NoRungPossible { .. } | WaitingOn::Observation { .. }, .. }
    );
    if !chooses || recovery.progress.is_some() {
        return Vec::new();
    }
    let mut free = true;
    let weigh = |it: recover::Judged| {
        let verdict = match &it.why {
            _ if it.rung < recovery.rung && !recovery.steps.is_empty() => Verdict::Over,
            Some(_) => Verdict::PassedOver,
            None if std::mem::take(&mut free) => Verdict::Chosen,
            None => Verdict::Possible,
        };
        Weighed { rung: it.rung + 1, strategy: it.strategy.word(), to: it.to, verdict, why: it.why }
    };
    recover::judged(state, recovery, now).into_iter().map(weigh).collect()
}

fn changes(before: &[ReportedTarget], after: &[ReportedTarget]) -> Vec<Change> {
    let change = |to: &ReportedTarget| {
        let from = before.iter().find(|it| it.route == to.route && it.instance == to.instance)?;
        (from.state != to.state).then(|| Change {
            route: to.route.clone(),
            instance: to.instance.clone(),
            from: from.state,
            to: to.state,
        })
    };
    after.iter().filter_map(change).collect()
}

fn opened(seq: u64, body: &Body) -> Option<RecoveryId> {
    matches!(body, Body::FailureDetected { .. }).then_some(RecoveryId(seq))
}

/// The recovery that a record belongs to: its payload names it as `recovery`, or as the recovery of its `step`. What opens one
/// names it by its own number; see [`opened`].
fn recovery_of(encoded: &Encoded) -> Option<RecoveryId> {
    let payload: serde_json::Value = serde_json::from_slice(&encoded.payload).ok()?;
    payload.get("recovery").or_else(|| payload.get("step")?.get("recovery"))?.as_u64().map(RecoveryId)
}
