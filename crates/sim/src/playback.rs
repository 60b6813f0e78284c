//! A journal that a real agent wrote, played in a virtual world.
//!
//! The world is scripted by the journal: its probes answer, its actions end and its traffic process acknowledges so that the
//! facts of the journal come about, at their moments. What follows from them is left to the engine, behind the same driver
//! and through the same four calls as on the day it was written. Every record that comes out, fact or decision, has to be the
//! one in the journal, byte for byte; and the simulator's checkers look on.
//!
//! `replay` in the engine folds the facts as they stand and makes the decisions again; here the facts have to come about as
//! well, and what is ordered has to be ordered before its outcome is heard. In return it knows only the facts that
//! [`Unplayable::NoWay`] does not name.
//!
//! Intuition: a film is played with the actors of today. Between two scenes they may breathe (probes are asked, and are told
//! again what they were told before), and nothing of that may be seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::codec::{DecodeError, Encoded, decode, encode};
use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::effect::Order;
use mainstay_engine::observe::Watch;
use mainstay_engine::record::{Ended, Evidence, ReportedTarget, StepRef};
use mainstay_engine::{Body, Engine, Input, Record};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::{Answer, Concerns, Health, Observation};
use mainstay_plan::probe::Watches;
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{Plan, ProbeIx, Time};

use crate::checkers::Checkers;

/// What was played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Records, all of them as in the journal.
    pub records: u64,
    /// Those of them that are decisions.
    pub decisions: u64,
    /// How often an agent started.
    pub starts: u64,
    /// Actions that were ordered.
    pub orders: u64,
    /// Routing tables that were sent.
    pub tables: u64,
}

/// Why a journal was not played to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplayable {
    /// A record can't be read.
    #[error("record {seq} can't be read")]
    Unreadable {
        /// Its number.
        seq: u64,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The journal does not begin with a plan and the start of an agent.
    #[error("record {seq} comes before any agent started under a plan")]
    NoStart {
        /// Its number.
        seq: u64,
    },
    /// The plan in the journal does not compile any more.
    #[error("the plan that record {seq} adopted does not compile with this version")]
    Plan {
        /// Its number.
        seq: u64,
    },
    /// A fact that this world can't bring about.
    #[error("record {seq} is `{kind}`, which this world can't bring about: {why}")]
    NoWay {
        /// Its number.
        seq: u64,
        /// Its kind.
        kind: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// Something else than then.
    #[error("record {seq} differs:\n  the journal has {then}\n  what came about is {now}")]
    Differs {
        /// Its number.
        seq: u64,
        /// What the journal has.
        then: String,
        /// What came about.
        now: String,
    },
}

/// One moment of the journal: what one tick recorded.
struct Scene {
    first: u64,
    at: Time,
    records: Vec<(Encoded, Record)>,
}

impl Scene {
    fn numbered(&self) -> impl Iterator<Item = (u64, &Body)> {
        (self.first..).zip(self.records.iter().map(|it| &it.1.body))
    }

    fn starts_an_agent(&self) -> bool {
        self.records.iter().any(|it| matches!(it.1.body, Body::AgentStarted { .. }))
    }

    /// When the agent wanted to be called, if it was so late that it noticed.
    fn was_due(&self) -> Option<Time> {
        self.records.iter().find_map(|it| {
            let Body::OwnLateness { late_ns } = it.1.body else { return None };
            Some(Time::from_nanos(self.at.as_nanos().saturating_sub(late_ns)))
        })
    }
}

/// Plays a journal from its first record on. `compile` turns a plan's text and base folder into a plan. An invariant that does
/// not hold is a panic with its code in front, as everywhere in the simulator.
pub fn play(
    records: impl IntoIterator<Item = (u64, Encoded)>,
    compile: impl Fn(&str, &str) -> Option<Plan>,
) -> Result<Played, Unplayable> {
    let scenes = scenes(records)?;
    let mut stage: Option<Stage> = None;
    for (nth, scene) in scenes.iter().enumerate() {
        let next = scenes.get(nth + 1);
        for (seq, body) in scene.numbered() {
            if let Body::PlanAdopted { source, base_dir, .. } = body {
                let plan = Arc::new(compile(source, base_dir).ok_or(Unplayable::Plan { seq })?);
                match &mut stage {
                    Some(stage) => stage.plan_changes(plan, base_dir),
                    None => stage = Some(Stage::new(plan, base_dir, losses(&scenes))),
                }
            }
        }
        let stage = stage.as_mut().ok_or(Unplayable::NoStart { seq: scene.first })?;
        stage.play(scene, next)?;
    }
    Ok(stage.map(|it| it.played).unwrap_or_default())
}

fn scenes(records: impl IntoIterator<Item = (u64, Encoded)>) -> Result<Vec<Scene>, Unplayable> {
    let mut scenes: Vec<Scene> = Vec::new();
    for (seq, encoded) in records {
        let record = decode(&encoded).map_err(|source| Unplayable::Unreadable { seq, source })?;
        let at = record.at;
        match scenes.last_mut().filter(|it| it.at == at) {
            Some(scene) => scene.records.push((encoded, record)),
            None => scenes.push(Scene { first: seq, at, records: vec![(encoded, record)] }),
        }
    }
    Ok(scenes)
}

fn losses(scenes: &[Scene]) -> BTreeMap<String, VecDeque<Duration>> {
    let mut losses: BTreeMap<String, VecDeque<Duration>> = BTreeMap::new();
    for (_, record) in scenes.iter().flat_map(|it| &it.records) {
        if let Body::PositionFrozen { instance, loss_ns: Some(loss), .. } = &record.body {
            losses.entry(instance.clone()).or_default().push_back(Duration::from_nanos(*loss));
        }
    }
    losses
}

struct Stage {
    plan: Arc<Plan>,
    base_dir: String,
    driver: Option<Driver>,
    checkers: Checkers,
    /// What was played so far.
    records: Vec<Record>,
    now: Time,
    in_flight: BTreeSet<ProbeIx>,
    /// Actions that were ordered, and whose outcome was not heard.
    ordered: BTreeMap<StepRef, Order>,
    /// Every table that was sent, whoever sent it.
    sent: BTreeMap<u64, RoutingTable>,
    /// Epochs that this agent has sent and that were not acknowledged.
    awaited: BTreeSet<u64>,
    served: u64,
    /// The words of the last failure of each probe.
    failed: BTreeMap<ProbeIx, Answer>,
    /// By instance: how much it will be found to lose at most, one failure after the other.
    losses: BTreeMap<String, VecDeque<Duration>>,
    played: Played,
}

/// A moment later: when what was recorded is durable.
const MOMENT: Duration = Duration::from_nanos(1);

impl Stage {
    fn new(plan: Arc<Plan>, base_dir: &str, losses: BTreeMap<String, VecDeque<Duration>>) -> Stage {
        Stage {
            checkers: Checkers::new(&plan),
            plan,
            base_dir: base_dir.to_owned(),
            driver: None,
            records: Vec::new(),
            now: Time::ZERO,
            in_flight: BTreeSet::new(),
            ordered: BTreeMap::new(),
            sent: BTreeMap::new(),
            awaited: BTreeSet::new(),
            served: 0,
            failed: BTreeMap::new(),
            losses,
            played: Played::default(),
        }
    }

    fn plan_changes(&mut self, plan: Arc<Plan>, base_dir: &str) {
        if plan.hash != self.plan.hash {
            self.checkers.plan_changed(&plan);
        }
        self.plan = plan;
        base_dir.clone_into(&mut self.base_dir);
    }

    fn play(&mut self, scene: &Scene, next: Option<&Scene>) -> Result<(), Unplayable> {
        let aim = next.filter(|it| !it.starts_an_agent()).and_then(Scene::was_due);
        if scene.starts_an_agent() {
            self.start(scene)?;
        } else {
            let driver = self.driver.as_ref().ok_or(Unplayable::NoStart { seq: scene.first })?;
            debug_assert!(driver.engine().state().seq + 1 == scene.first, "scenes follow each other");
            self.breathe_until(scene)?;
        }
        let mut all = self.said_again(scene.at, aim);
        all.extend(self.brought_about_by(scene)?);
        self.turn(scene.at, all, Some((scene, next)))?;
        for (seq, record) in (scene.first..).zip(scene.records.iter().map(|it| &it.1)) {
            self.checkers.recorded(seq, record);
            self.records.push(record.clone());
        }
        self.played.records += scene.records.len() as u64;
        self.played.decisions += scene.records.iter().filter(|it| !it.1.body.is_fact()).count() as u64;
        if next.is_none_or(|it| it.at > scene.at + MOMENT) {
            let mut all = self.said_again(scene.at + MOMENT, aim);
            all.push(Input::Recorded(self.records.len() as u64));
            self.turn(scene.at + MOMENT, all, None)?;
        }
        Ok(())
    }

    fn start(&mut self, scene: &Scene) -> Result<(), Unplayable> {
        let version = scene.records.iter().find_map(|it| {
            if let Body::AgentStarted { version, .. } = &it.1.body { Some(version.clone()) } else { None }
        });
        let version = version.ok_or(Unplayable::NoStart { seq: scene.first })?;
        let folded = (1..).zip(self.records.iter());
        let engine = Engine::new(self.plan.clone(), &self.base_dir, &version, folded, scene.at);
        self.driver = Some(Driver::new(engine));
        self.checkers.agent_started(scene.at);
        self.in_flight.clear();
        self.ordered.clear();
        self.awaited.clear();
        self.played.starts += 1;
        Ok(())
    }

    /// The agent is called when it asks to be, and nothing comes of it, until the scene begins.
    fn breathe_until(&mut self, scene: &Scene) -> Result<(), Unplayable> {
        let due = scene.was_due();
        let lateness = self.plan.allowances.lateness;
        while let Some((wake, _)) = self.driver.as_ref().and_then(|it| it.engine().next_wakeup()) {
            let wake = wake.max(self.now + MOMENT);
            // Whoever was called hardly later than it had asked to be was called for this scene.
            let is_for_the_scene = match due {
                Some(due) => wake >= due,
                None => wake + lateness >= scene.at,
            };
            if is_for_the_scene {
                break;
            }
            let all = self.said_again(wake, due);
            self.turn(wake, all, None)?;
        }
        Ok(())
    }

    /// Folds, ticks, and compares what is recorded with the scene; beside a scene nothing may be.
    fn turn(
        &mut self,
        at: Time,
        inputs: Vec<Input>,
        scene: Option<(&Scene, Option<&Scene>)>,
    ) -> Result<(), Unplayable> {
        let Some(driver) = &mut self.driver else { return Ok(()) };
        let turn = driver.turn(at, inputs);
        self.now = at;
        let then = scene.map_or(&[][..], |it| it.0.records.as_slice());
        // Of its last batch a crash may have kept the beginning alone.
        let may_be_torn = scene.is_some_and(|it| it.1.is_some_and(Scene::starts_an_agent));
        let longest = if may_be_torn { then.len() } else { then.len().max(turn.append.len()) };
        for nth in 0..longest {
            let (then, now) = (then.get(nth).map(|it| &it.0), turn.append.get(nth).map(encode));
            if then != now.as_ref() {
                let seq = turn.first_seq + nth as u64;
                return Err(Unplayable::Differs { seq, then: told(then), now: told(now.as_ref()) });
            }
        }
        for todo in turn.todo {
            self.perform(todo);
        }
        Ok(())
    }

    fn perform(&mut self, todo: Todo) {
        match todo {
            Todo::Probe(probe, _) => drop(self.in_flight.insert(probe)),
            Todo::Act(order) => {
                self.checkers.acted(&order);
                self.ordered.insert(order.step, order);
                self.played.orders += 1;
            }
            Todo::Cancel(step) => drop(self.ordered.remove(&step)),
            Todo::Route(table) => {
                self.checkers.ordered(&table);
                self.awaited.insert(table.epoch);
                self.sent.insert(table.epoch, table);
                self.played.tables += 1;
            }
            Todo::Notify(telling) => self.checkers.told(&telling),
            Todo::AskLease | Todo::Grant(_) | Todo::HearTraffic(_) | Todo::Log(_) => {}
        }
    }

    /// Whoever was asked says what it said before, so that nothing comes of it. If the agent is to be late by what it had asked
    /// for, one of them says so that it is asked again at that moment.
    fn said_again(&mut self, now: Time, due: Option<Time>) -> Vec<Input> {
        let Some(driver) = &self.driver else { return Vec::new() };
        let soft = driver.engine().soft();
        let asked = std::mem::take(&mut self.in_flight);
        let due = due.filter(|it| *it > now);
        let is_witness = |it: &&ProbeIx| matches!(self.plan.probe(**it).watches, Watches::Witness(_));
        let is_well = |it: &&ProbeIx| soft.watch(**it).health == Health::Healthy;
        let aimed = due.and_then(|_| asked.iter().find(is_witness).or_else(|| asked.iter().find(is_well))).copied();
        let again = |probe: ProbeIx| self.again(soft.watch(probe), probe, now, due.filter(|_| aimed == Some(probe)));
        asked.iter().copied().map(again).collect()
    }

    /// What a probe said before, said once more; so that it is asked again at the moment `due`, if there is one.
    fn again(&self, watch: &Watch, probe: ProbeIx, now: Time, due: Option<Time>) -> Input {
        let planned = self.plan.probe(probe);
        let is_steady = watch.health == Health::Healthy || (watch.health == Health::Down && watch.goods == 0);
        let spacing = if is_steady { planned.timing.interval } else { planned.timing.fast_interval };
        let aimed = due.map(|it| Time::from_nanos(it.as_nanos().saturating_sub(nanos(spacing))));
        let is_witness = matches!(planned.watches, Watches::Witness(_));
        match (watch.health, watch.last_good_asked, watch.last_failed) {
            (Health::Healthy, Some(before), _) if !is_witness => {
                let asked = aimed.unwrap_or(before);
                self.good(probe, asked, asked + MOMENT)
            }
            (Health::Down, _, Some(before)) if !is_witness => {
                let answer = self.failed.get(&probe).cloned().unwrap_or(Answer::TimedOut);
                observed(probe, before, before + MOMENT, answer, None)
            }
            _ => {
                let asked = aimed.unwrap_or(now);
                observed(probe, asked, asked, Answer::CouldNotAsk(UNASKED.to_owned()), None)
            }
        }
    }

    /// What has to come in for the facts of a scene to come about.
    fn brought_about_by(&mut self, scene: &Scene) -> Result<Vec<Input>, Unplayable> {
        let mut inputs = Vec::new();
        // Where a standby stood is asked before anything else: that is no answer of its health.
        for (_, body) in scene.numbered() {
            if let Body::PositionFrozen { instance, loss_ns: Some(loss), .. } = body {
                let (lag, asked) = (Duration::from_nanos(*loss), scene.at);
                let lagging = |it| observed(it, asked, asked, Answer::CouldNotAsk(UNASKED.to_owned()), Some(lag));
                let soft = self.driver.as_ref().map(|it| it.engine().soft());
                for probe in self.probes_of(instance).filter(|it| self.plan.probe(*it).kind.reports_lag()) {
                    inputs.push(lagging(probe));
                    inputs.extend(soft.map(|it| self.again(it.watch(probe), probe, scene.at, None)));
                }
            }
        }
        for (seq, body) in scene.numbered() {
            self.brings_about(seq, scene.at, body, &mut inputs)?;
        }
        for (_, body) in scene.numbered() {
            if let Body::PositionFrozen { instance, .. } = body {
                self.losses.get_mut(instance).and_then(VecDeque::pop_front);
            }
        }
        for input in &inputs {
            if let Input::Observation(observation) = input {
                self.checkers.heard(observation, scene.at, scene.at);
            }
        }
        Ok(inputs)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every fact is named, and decisions bring themselves about")]
    fn brings_about(&mut self, seq: u64, at: Time, body: &Body, inputs: &mut Vec<Input>) -> Result<(), Unplayable> {
        let no_way = |why| Err(Unplayable::NoWay { seq, kind: body.kind(), why });
        match body {
            Body::AgentStarted { coordinated: true, .. } => return no_way("there is no store"),
            Body::AgentStarted { coordinated: false, .. } | Body::OwnLateness { .. } => {}
            Body::PlanAdopted { .. } => {
                let runs = self.driver.as_ref().is_some_and(|it| it.engine().state().plan.hash != self.plan.hash);
                if runs {
                    inputs.push(Input::NewPlan { plan: self.plan.clone(), base_dir: self.base_dir.clone() });
                }
            }
            Body::AgentStopped { reason } => inputs.push(Input::Stopping { reason: reason.clone() }),
            Body::HealthChanged { to, since, last_good, evidence, .. } => {
                for it in evidence {
                    self.answers(it, *to, *since, *last_good, inputs);
                }
            }
            Body::WitnessesAnswered { answered, since, .. } => {
                let witnesses = self.plan.witnesses.iter().filter(|it| answered.contains(&it.name));
                let soft = self.driver.as_ref().map(|it| it.engine().soft());
                for probe in witnesses.map(|it| it.probe) {
                    // One answer may count for several failures: no later one is of an older question.
                    let earlier = inputs.iter().filter_map(|it| asked_of(it, probe)).max();
                    let before = soft.and_then(|it| it.watch(probe).last_good_asked);
                    let asked = before.max(earlier).map_or(*since, |it| it.max(*since));
                    inputs.push(self.good(probe, asked, asked + MOMENT));
                }
            }
            Body::NeighbourAnswered { by, asked, .. } => {
                let probe = self.probe_named(by);
                inputs.extend(probe.map(|it| self.good(it, *asked, *asked + MOMENT)));
            }
            Body::DependencyAnswered { instance, asked } => {
                let good = |it| self.good(it, *asked, *asked + MOMENT);
                inputs.extend(self.probes_of(instance).map(good));
            }
            Body::StepEnded { step, ended } => match self.looks(*step) {
                Some(probes) => {
                    inputs.extend(probes.into_iter().map(|it| self.good(it, at, at)));
                }
                None => {
                    let Some(order) = self.ordered.remove(step) else {
                        return no_way("it is the outcome of what was not ordered");
                    };
                    if let Ended::Done
                    | Ended::DoneAt(_)
                    | Ended::LeaseOver(_)
                    | Ended::DoneLosing(_)
                    | Ended::Kept(_) = ended
                    {
                        self.checkers.done(&order);
                    }
                    inputs.push(Input::Outcome { step: *step, outcome: outcome(ended) });
                }
            },
            Body::RouteApplied { process, epoch } => inputs.push(self.serves(process, *epoch)),
            Body::RouteRefused { process, epoch, reason } => {
                let (process, reason) = (process.clone(), reason.clone());
                inputs.push(Input::RouteRefused { process, epoch: *epoch, reason });
            }
            Body::TrafficSilent { process, since } => {
                inputs.push(Input::TrafficSilent { process: process.clone(), since: *since });
            }
            Body::TrafficAhead { process, epoch, targets } => {
                let (process, targets) = (process.clone(), targets.clone());
                inputs.push(Input::TrafficServes { process, epoch: *epoch, targets });
            }
            Body::Commanded { command, by } => {
                inputs.push(Input::Command { command: command.clone(), by: by.clone() });
            }
            Body::JournalLost { reason } => inputs.push(Input::JournalLost { reason: reason.clone() }),
            Body::Told { channel, notice, nth, ended } => {
                let (channel, outcome) = (channel.clone(), outcome(ended));
                inputs.push(Input::Told { channel, notice: *notice, nth: *nth, outcome });
            }
            Body::HostRefused { who, why } => {
                inputs.push(Input::HostRefused { who: who.clone(), why: why.clone() });
            }
            Body::LeaseChanged { .. } | Body::PeerOrder { .. } | Body::ObserversAnswered { .. } => {
                return no_way("there are no other agents");
            }
            Body::RoleSeen { .. }
            | Body::InStepChanged { .. }
            | Body::CanaryChanged { .. }
            | Body::Impaired { .. }
            | Body::ImpairmentEnded { .. }
            | Body::RuleFired { .. }
            | Body::RuleCleared { .. } => return no_way("it does not say which answers made it so"),
            // The answers that make these are brought in by another fact, or before.
            Body::PositionFrozen { .. } | Body::SignalsSeen { .. } => {}
            decision => debug_assert!(!decision.is_fact(), "every kind of fact is named above"),
        }
        Ok(())
    }

    /// The answers of a probe that make what the evidence says of it.
    fn answers(&mut self, it: &Evidence, to: Health, since: Time, last_good: Option<Time>, inputs: &mut Vec<Input>) {
        let (Some(probe), Some(driver)) = (self.probe_named(&it.probe), &self.driver) else { return };
        let watch = driver.engine().soft().watch(probe);
        let answer = answered(&it.answer);
        if answer.is_failure() {
            self.failed.insert(probe, answer.clone());
        }
        match (&answer, to) {
            (Answer::Good, _) => {
                let ended = if to == Health::Healthy { since } else { it.since + MOMENT };
                let more = it.count.saturating_sub(watch.goods).max(1);
                inputs.extend((0..more).map(|_| self.good(probe, it.since, ended)));
            }
            (Answer::Refused(_) | Answer::TimedOut | Answer::Wrong(_), _) => {
                if let Some(ended) = last_good {
                    inputs.push(self.good(probe, ended, ended));
                }
                let failure = |_| observed(probe, it.since, it.since + MOMENT, answer.clone(), None);
                inputs.extend((0..it.count).map(failure));
            }
            (Answer::CouldNotAsk(_), _) => inputs.push(observed(probe, it.since, it.since + MOMENT, answer, None)),
        }
    }

    /// What a step that only looks waits for.
    fn looks(&self, step: StepRef) -> Option<Vec<ProbeIx>> {
        let planned = self.driver.as_ref()?.engine().state().running(step)?;
        if let StepKind::Verify { probes } = &planned.kind { Some(probes.clone()) } else { None }
    }

    /// A traffic process acknowledges a table; or, where no table of this agent is awaited, says what it serves when it is
    /// connected.
    fn serves(&mut self, process: &str, epoch: u64) -> Input {
        let process = process.to_owned();
        if self.awaited.remove(&epoch) {
            self.applied(epoch);
            return Input::RouteApplied { process, epoch };
        }
        let newest = self.driver.as_ref().map_or(0, |it| it.engine().state().routing.epoch);
        // What it serves of ours is said to be one epoch earlier, until it has acknowledged that.
        let serves = if newest == epoch + 1 && self.sent.contains_key(&newest) { newest } else { epoch };
        self.applied(serves);
        let targets = self.sent.get(&serves).map(ReportedTarget::all_of).unwrap_or_default();
        Input::TrafficServes { process, epoch: serves, targets }
    }

    fn applied(&mut self, epoch: u64) {
        if let Some(table) = self.sent.get(&epoch).filter(|_| epoch > self.served) {
            self.served = epoch;
            self.checkers.applied(table);
        }
    }

    /// A good answer. A standby that says how far it is behind says what it will be found to have been when it counts.
    fn good(&self, probe: ProbeIx, started: Time, ended: Time) -> Input {
        let planned = self.plan.probe(probe);
        let lag = match planned.watches {
            Watches::Instance(it) if planned.kind.reports_lag() => {
                let ahead = self.losses.get(&self.plan.instance(it).name).and_then(|it| it.front());
                Some(ahead.copied().unwrap_or_default())
            }
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
        };
        observed(probe, started, ended, Answer::Good, lag)
    }

    fn probe_named(&self, name: &str) -> Option<ProbeIx> {
        (0u32..).map(ProbeIx).zip(&self.plan.probes).find(|it| it.1.name == name).map(|it| it.0)
    }

    fn probes_of(&self, instance: &str) -> impl Iterator<Item = ProbeIx> + use<> {
        let plan = self.plan.clone();
        let of = plan.instance_named(instance);
        let all: Vec<ProbeIx> = (0u32..)
            .map(ProbeIx)
            .zip(&plan.probes)
            .filter_map(|(ix, probe)| match probe.watches {
                Watches::Instance(it) if Some(it) == of => Some(ix),
                Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
            })
            .collect();
        all.into_iter()
    }
}

/// What a probe says that has nothing to say.
const UNASKED: &str = "nobody was asked";

fn observed(probe: ProbeIx, started: Time, ended: Time, answer: Answer, lag: Option<Duration>) -> Input {
    Input::Observation(Observation {
        probe,
        started,
        ended,
        answer,
        lag,
        role: None,
        concerns: Concerns::NONE,
        position: None,
    })
}

/// When a probe was asked that answers with this input.
fn asked_of(input: &Input, probe: ProbeIx) -> Option<Time> {
    if let Input::Observation(it) = input { (it.probe == probe).then_some(it.started) } else { None }
}

/// The answer that the words of an evidence stand for.
fn answered(words: &str) -> Answer {
    let (word, detail) = words.split_once(": ").unwrap_or((words, ""));
    let detail = detail.to_owned();
    match word {
        "good" => Answer::Good,
        "refused" => Answer::Refused(detail),
        "timed out" => Answer::TimedOut,
        "wrong answer" => Answer::Wrong(detail),
        _ => Answer::CouldNotAsk(detail),
    }
}

fn outcome(ended: &Ended) -> Outcome {
    match ended {
        Ended::Done => Outcome::Done,
        Ended::DoneAt(address) => Outcome::DoneAt(*address),
        Ended::LeaseOver(how) => Outcome::LeaseOver(*how),
        Ended::DoneLosing(lost) => Outcome::DoneLosing(lost.clone()),
        Ended::Kept(seen) => Outcome::Kept(seen.clone()),
        Ended::Failed(why) => Outcome::Failed(why.clone()),
        Ended::Unknown(why) => Outcome::Unknown(why.clone()),
    }
}

fn told(record: Option<&Encoded>) -> String {
    let line = |it: &Encoded| format!("{} {} at {}", it.kind, String::from_utf8_lossy(&it.payload), it.at_ns);
    record.map_or_else(|| "nothing".to_owned(), line)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
