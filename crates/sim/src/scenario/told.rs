//! What came of a scenario, as data: what is lost, what becomes of each component, when its clients are back, beside what the
//! proof says of the same.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mainstay_engine::record::Completion;
use mainstay_engine::state::{Recovery, RecoveryStatus};
use mainstay_engine::waiting::WaitingOn;
use mainstay_engine::{Body, RecoveryId};
use mainstay_plan::policy::Mode;
use mainstay_plan::proof::{Bound, Condition, DataLoss, RestsOn, Verdict};
use mainstay_plan::strategy::{Phase, Strategy};
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Proof, RouteIx};
use serde::Serialize;

use super::moments::{self, Moment, seconds};
use super::played::{Played, Stage, recovered};
use super::{Loss, Luck, Scenario};
use crate::trial::{Violation, caught};

/// How long a world in which something is not recovered is watched at least.
const WATCHED: Duration = Duration::from_secs(240);

/// Without an agent nothing happens any more, and it is watched for so long.
const ALONE: Duration = Duration::from_secs(60);

/// Beyond so many instances a world takes seconds, and only the two ends of what may happen are played.
const LARGE: usize = 100;

/// What every answer says of itself.
const MODEL: &str = "the engine that decides is the one that the agent runs; servers, network, disk, traffic process and \
                         clients are models, and no time was measured on your machines";

/// How it is played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How long people take to approve, or to do by hand what a step asks of them; `None`: nobody does.
    pub people: Option<Duration>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// What kind of statement this is.
    pub model: &'static str,
    /// As it was asked.
    pub scenario: String,
    /// The word of the proof for what fails.
    pub failure: &'static str,
    /// The word of the proof for what else is missing.
    pub condition: &'static str,
    /// In how many ways it was played.
    pub ways: usize,
    /// The way that is told: of all, the one in which it took the longest.
    pub way: String,
    /// How long it was watched, in seconds.
    pub watched_s: f64,
    /// How long people take, in seconds; `None`: nobody does what is asked for.
    pub people_s: Option<f64>,
    /// Instances that are lost.
    pub instances: Vec<LostInstance>,
    /// Witnesses that are lost.
    pub witnesses: Vec<String>,
    /// Further agents and copies of backups that are lost: `agent ops-2`, `backup nightly in eu-west-1`.
    pub others: Vec<String>,
    /// Whether the agent's machine is lost, and the traffic process with it.
    pub agent: bool,
    /// Components that lost their instance, and those that were moved all the same.
    pub components: Vec<OfComponent>,
    /// Components that are not lost, and need one that is.
    pub affected: Vec<Affected>,
    /// Routes whose clients were not served for a while.
    pub routes: Vec<OfRoute>,
    /// What happened, in its order.
    pub timeline: Vec<Moment>,
    /// What of the plan or the scenario could not be played.
    pub not_played: Vec<String>,
    /// What was taken for granted.
    pub taken: Vec<String>,
}

/// An instance that is lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LostInstance {
    /// Its name.
    pub name: String,
    /// Its component.
    pub component: String,
    /// Whether the component is bound to it.
    pub active: bool,
    /// Where it is.
    pub location: String,
}

/// One component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfComponent {
    /// Its name.
    pub name: String,
    /// Whether it lost the instance that it was bound to.
    pub lost: bool,
    /// In how many of the ways it was recovered.
    pub recovered_in: usize,
    /// By what, in the way that is told.
    pub by: Option<String>,
    /// The instance that it is bound to then.
    pub to: Option<String>,
    /// How long it took, in seconds after the failure, in the way that is told.
    pub seconds: Option<f64>,
    /// The quickest of all ways.
    pub quickest_s: Option<f64>,
    /// The slowest of those in which it was recovered.
    pub slowest_s: Option<f64>,
    /// Where the time went, in the way that is told.
    pub parts: Vec<Part>,
    /// What the proof says.
    pub proved: Option<Bounded>,
    /// Why the proof says that nothing recovers it.
    pub unproved: Vec<String>,
    /// What would have to change for that.
    pub changes: Vec<String>,
    /// Whether all ways came out as the proof says.
    pub agrees: bool,
    /// The objective for this failure, in seconds.
    pub rto_s: Option<f64>,
    /// Whether the slowest way kept it; `None` without one.
    pub rto_kept: Option<bool>,
    /// The objective for data, in seconds.
    pub rpo_s: Option<f64>,
    /// How much is lost at most, in seconds of work; `None`: nobody knows, or it keeps no state.
    pub data_lost_s: Option<f64>,
    /// How that is known.
    pub data: String,
    /// What held it back, and for how long.
    pub held: Vec<Held>,
    /// Why it is not recovered, in the way that is told.
    pub why_not: Option<String>,
    /// What people can do about it.
    pub way_out: Option<String>,
}

/// A part of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Part {
    /// `detect`, `act`, ….
    pub part: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// What the proof says of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bounded {
    /// By which strategy.
    pub strategy: &'static str,
    /// To which instance.
    pub to: String,
    /// The worst case for clients of the slowest route.
    pub total_s: f64,
    /// The worst case until the agent is done.
    pub completed_s: f64,
    /// The parts of the former.
    pub parts: Vec<Part>,
    /// What may be lost; `None`: no state, or nobody knows.
    pub data_lost_s: Option<f64>,
}

/// Something that a recovery waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Held {
    /// The code of the wait.
    pub guard: &'static str,
    /// Since when, in seconds after the failure.
    pub from_s: f64,
    /// Until when; `None`: to the end.
    pub to_s: Option<f64>,
    /// Why.
    pub why: String,
}

/// A component that needs a lost one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Affected {
    /// Its name.
    pub name: String,
    /// What it needs.
    pub because_of: Vec<String>,
    /// Until all of those are recovered; `None`: never, as far as was watched.
    pub until_s: Option<f64>,
}

/// A route whose clients were not served.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfRoute {
    /// Its name.
    pub name: String,
    /// The component behind it.
    pub component: Option<String>,
    /// When they were not served.
    pub away: Vec<Away>,
    /// What may come on top of it until the last client knows: caches and whoever polls, by the proof. It is not played.
    pub further_s: f64,
}

/// A time in which clients were not served.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Away {
    /// From, in seconds after the failure.
    pub from_s: f64,
    /// To; `None`: to the end.
    pub to_s: Option<f64>,
}

impl Told {
    /// Plays a scenario in all ways, and tells the one that took the longest.
    ///
    /// # Errors
    ///
    /// When something that must always hold did not: that is a defect of ours, and the message says which.
    pub fn of(proof: &Proof<'_>, scenario: &Scenario, options: &Options) -> Result<Told, Violation> {
        let loss = scenario.loss(proof.plan());
        let stage = stage(proof, scenario, &loss, options);
        let all = play_all(&stage)?;
        let slowest = all.iter().enumerate().max_by(|(a, one), (b, other)| {
            let key =
                |it: &Played| -> Vec<f64> { stage.lost.iter().map(|ix| took(it, *ix).unwrap_or(f64::MAX)).collect() };
            let worst = |it: &Played| key(it).into_iter().fold(0.0, f64::max);
            let sum = |it: &Played| key(it).into_iter().map(|it| it.min(1e12)).sum::<f64>();
            // Of equals the first.
            worst(one).total_cmp(&worst(other)).then(sum(one).total_cmp(&sum(other))).then(b.cmp(a))
        });
        let told = slowest.map_or(0, |it| it.0);
        Ok(Cx { proof, scenario, loss: &loss, stage: &stage, all: &all, told: &all[told] }.told(options))
    }
}

fn stage<'a>(proof: &Proof<'a>, scenario: &Scenario, loss: &'a Loss<'a>, options: &Options) -> Stage<'a> {
    let plan = proof.plan();
    let lost: Vec<ComponentIx> = loss.components().collect();
    let cells = |condition| lost.iter().filter_map(move |it| proof.cell(*it, scenario.failure, condition));
    let bounds = |condition| cells(condition).filter_map(|it| it.verdict.as_ref().ok()).map(|it| it.completed).max();
    let most = bounds(scenario.condition).unwrap_or_default();
    let mut lags: BTreeMap<InstanceIx, Duration> = BTreeMap::new();
    for cell in cells(scenario.condition) {
        let rests_on = cell.verdict.as_ref().map(|it| it.rests_on.as_slice()).unwrap_or_default();
        let lag = |it: &RestsOn| if let RestsOn::StandbyLag(ix, most) = it { Some((*ix, *most)) } else { None };
        lags.extend(rests_on.iter().filter_map(lag));
    }
    let usual = bounds(Condition::None).unwrap_or(Duration::from_secs(60));
    Stage {
        plan,
        loss,
        lost,
        watched: if loss.takes_agent() { ALONE } else { WATCHED.max(most * 2) }
            + options.people.unwrap_or_default() * 2,
        usual,
        lags,
        people: options.people,
    }
}

/// All ways, on all cores, in their order.
fn play_all(stage: &Stage<'_>) -> Result<Vec<Played>, Violation> {
    let mut ways = Luck::all(stage.loss.condition());
    if stage.plan.instances.len() > LARGE {
        ways = [ways.first(), ways.last()].into_iter().flatten().copied().collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Played, Violation>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get).min(ways.len()) {
            scope.spawn(|| {
                while let Some((at, way)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|it| Some((it, ways.get(it)?)))
                {
                    let played = caught(|| stage.play(*way));
                    done.lock().expect("nobody panics with it").push((at, played));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody panics with it");
    done.sort_by_key(|it| it.0);
    done.into_iter().map(|it| it.1).collect()
}

/// The recovery that ended the first well, in seconds after the failure.
fn took(played: &Played, ix: ComponentIx) -> Option<f64> {
    let mine = played.recoveries.iter().filter(|it| it.component == ix);
    mine.filter_map(|it| recovered(it, played.failed)).min().map(|it| it.as_secs_f64())
}

struct Cx<'a> {
    proof: &'a Proof<'a>,
    scenario: &'a Scenario,
    loss: &'a Loss<'a>,
    stage: &'a Stage<'a>,
    all: &'a [Played],
    told: &'a Played,
}

impl Cx<'_> {
    fn plan(&self) -> &Plan {
        self.stage.plan
    }

    fn told(&self, options: &Options) -> Told {
        let plan = self.plan();
        let instances = self.instances();
        let lost: Vec<&String> =
            plan.witnesses.iter().filter(|it| self.loss.takes(&it.location)).map(|it| &it.name).collect();
        let witnesses: Vec<String> = lost.into_iter().cloned().collect();
        let others = self.others();
        let agent = self.loss.takes_agent();
        let moved = self.told.recoveries.iter().map(|it| it.component);
        let known: BTreeSet<ComponentIx> = self.stage.lost.iter().copied().chain(moved).collect();
        let what = what_is_lost(&instances, &witnesses, &others, agent, self.scenario.condition);
        Told {
            model: MODEL,
            scenario: self.scenario.name(),
            failure: self.scenario.failure.word(),
            condition: self.scenario.condition.word(),
            ways: self.all.len(),
            way: self.told.luck.said(),
            watched_s: seconds(self.told.failed, self.told.ended),
            people_s: options.people.map(|it| it.as_secs_f64()),
            agent,
            components: known.into_iter().map(|it| self.component(it)).collect(),
            affected: self.affected(),
            routes: self.routes(),
            timeline: moments::of(plan, self.told, &what),
            not_played: self.not_played(),
            taken: self.taken(),
            instances,
            witnesses,
            others,
        }
    }

    fn others(&self) -> Vec<String> {
        let plan = self.plan();
        let agents =
            plan.agents.iter().filter(|it| self.loss.takes(&it.location)).map(|it| format!("agent {}", it.name));
        let backups = plan.components.iter().flat_map(|it| &it.backups);
        let copies = backups.flat_map(|it| it.places().map(|(location, _)| (&it.name, location)));
        let gone = copies.filter(|(_, location)| self.loss.takes(location));
        agents.chain(gone.map(|(name, location)| format!("backup {name} in {location}"))).collect()
    }

    fn instances(&self) -> Vec<LostInstance> {
        let all = self.plan().instances.iter().zip((0u32..).map(InstanceIx));
        let lost = all.filter(|(_, ix)| self.loss.takes_instance(*ix));
        let one = |(it, ix): (&mainstay_plan::component::Instance, InstanceIx)| {
            let component = self.plan().component(it.component);
            LostInstance {
                name: it.name.clone(),
                component: component.name.clone(),
                active: component.original() == ix,
                location: it.location.to_string(),
            }
        };
        lost.map(one).collect()
    }

    fn component(&self, ix: ComponentIx) -> OfComponent {
        let plan = self.plan();
        let component = plan.component(ix);
        let lost = self.stage.lost.contains(&ix);
        let times: Vec<f64> = self.all.iter().filter_map(|it| took(it, ix)).collect();
        let recovery = self.best(self.told, ix);
        let verdict =
            self.proof.cell(ix, self.scenario.failure, self.scenario.condition).filter(|_| lost).map(|it| it.verdict);
        let proved = verdict.and_then(|it| it.as_ref().ok());
        let rto = component.objectives.rto_for(self.scenario.failure).map(|it| it.as_secs_f64());
        let slowest = times.iter().copied().reduce(f64::max);
        let (data_lost_s, data) = self.data(ix, recovery, verdict);
        let everywhere = times.len() == self.all.len();
        let (why_not, way_out) = if everywhere || !lost { (None, None) } else { self.why_not(ix) };
        let to = recovery.and_then(|it| match &it.completion {
            Some(
                Completion::ByRung { instance, .. }
                | Completion::Switched { instance }
                | Completion::Adopted { instance },
            ) => Some(instance.clone()),
            Some(Completion::ByItself | Completion::BySomeoneElse { .. }) | None => None,
        });
        OfComponent {
            name: component.name.clone(),
            lost,
            recovered_in: times.len(),
            by: recovery.map(|it| component.ladder[it.rung].strategy.word().to_owned()),
            to,
            seconds: took(self.told, ix),
            quickest_s: times.iter().copied().reduce(f64::min),
            slowest_s: slowest,
            parts: recovery.map(|it| self.parts(it)).unwrap_or_default(),
            proved: proved.map(|it| Bounded {
                strategy: it.strategy.word(),
                to: plan.instance(it.to).name.clone(),
                total_s: it.worst().total().as_secs_f64(),
                completed_s: it.completed.as_secs_f64(),
                parts: bound_parts(&it.worst()),
                data_lost_s: loss_s(it.data_loss),
            }),
            unproved: self.unproved(ix, verdict),
            changes: match verdict {
                Some(Err(_)) => self.changes(ix),
                Some(Ok(_)) | None => Vec::new(),
            },
            agrees: match verdict {
                Some(Ok(it)) => everywhere && slowest.is_some_and(|took| took <= it.completed.as_secs_f64() + 1e-6),
                Some(Err(_)) => times.is_empty(),
                None => true,
            },
            rto_s: rto,
            rto_kept: rto.filter(|_| lost).map(|rto| everywhere && slowest.is_some_and(|it| it <= rto)),
            rpo_s: component.objectives.rpo.map(|it| it.as_secs_f64()),
            data_lost_s,
            data,
            held: self.held(ix),
            why_not,
            way_out,
        }
    }

    /// The recovery that ended it, where one did.
    fn best<'b>(&self, played: &'b Played, ix: ComponentIx) -> Option<&'b Recovery> {
        let mine = played.recoveries.iter().filter(|it| it.component == ix);
        mine.filter(|it| recovered(it, played.failed).is_some()).min_by_key(|it| it.ended)
    }

    fn parts(&self, recovery: &Recovery) -> Vec<Part> {
        // The journal's clock starts at the last good answer, which may have been on its way when the failure came.
        let before = recovery.last_good.map_or(0.0, |it| seconds(it, self.told.failed));
        let one = |(phase, took): (&Phase, &Duration)| {
            let less = if *phase == Phase::Detect { before } else { 0.0 };
            Part { part: phase.word(), seconds: (took.as_secs_f64() - less).max(0.0) }
        };
        recovery.phases.iter().map(one).collect()
    }

    fn unproved(&self, ix: ComponentIx, verdict: Option<&Verdict>) -> Vec<String> {
        let cell = self.proof.cell(ix, self.scenario.failure, self.scenario.condition);
        match (verdict, cell) {
            (Some(Err(none)), Some(cell)) => self.proof.reasons(&cell, none),
            (Some(Ok(_)) | None, _) | (_, None) => Vec::new(),
        }
    }

    fn changes(&self, ix: ComponentIx) -> Vec<String> {
        let all = self.proof.changes(ix, self.scenario.failure, self.scenario.condition);
        all.iter().map(|it| it.said(self.plan()).to_string()).collect()
    }

    /// What is lost at most, and how that is known.
    fn data(&self, ix: ComponentIx, by: Option<&Recovery>, verdict: Option<&Verdict>) -> (Option<f64>, String) {
        let component = self.plan().component(ix);
        if component.objectives.rpo.is_none() {
            return (None, "the plan states no rpo: it keeps no state".to_owned());
        }
        let Some(by) = by else { return (None, "it is not recovered: what it had stays where it was".to_owned()) };
        match component.ladder[by.rung].strategy {
            Strategy::RestartService => (Some(0.0), "a restart loses nothing that was acknowledged".to_owned()),
            Strategy::FailoverToStandby => {
                let to = match &by.completion {
                    Some(Completion::ByRung { instance, .. }) => Some(instance),
                    Some(_) | None => None,
                };
                let mut frozen = self.told.records.iter().rev().filter_map(|(_, record)| {
                    let Body::PositionFrozen { instance, loss_ns, .. } = &record.body else { return None };
                    loss_ns.filter(|_| Some(instance) == to)
                });
                let most = frozen.next().map(|ns| ns as f64 / 1e9);
                let text = match most {
                    Some(_) => "what the engine knew of the standby's lag when it took over",
                    None => "the standby did not say how far behind it was",
                };
                (most, text.to_owned())
            }
            Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut => {
                let bound = verdict.and_then(|it| it.as_ref().ok()).filter(|it| it.rung == by.rung);
                (
                    bound.and_then(|it| loss_s(it.data_loss)),
                    "as the proof says: the age of a backup is not played".to_owned(),
                )
            }
        }
    }

    fn why_not(&self, ix: ComponentIx) -> (Option<String>, Option<String>) {
        // The way that is told may be one in which it was recovered.
        let played = std::iter::once(self.told).chain(self.all).find(|it| took(it, ix).is_none());
        let Some(played) = played else { return (None, None) };
        if !played.agent_left {
            return (Some("the agent's machine is gone, and nobody else decides".to_owned()), None);
        }
        let Some(last) = played.recoveries.iter().filter(|it| it.component == ix).max_by_key(|it| it.id) else {
            return (Some("nobody decided anything: what the agent saw did not amount to a failure".to_owned()), None);
        };
        if last.status == RecoveryStatus::RecoveryFailed {
            let why = played.records.iter().find_map(|(_, record)| {
                let Body::RecoveryFailed { recovery, why } = &record.body else { return None };
                (*recovery == last.id).then(|| why.clone())
            });
            return (Some(format!("its recovery failed: {}", why.unwrap_or_default())), None);
        }
        match &last.held {
            Some((waiting, _)) => (Some(waiting.to_string()), Some(way_out(waiting, last.id))),
            None => match last.steps.iter().rev().find(|it| it.ended.is_none()) {
                Some(step) => (Some(format!("still at `{}` when the world was left", step.name)), None),
                None => (Some("still under way when the world was left".to_owned()), None),
            },
        }
    }

    /// What its recoveries waited for, one after the other.
    fn held(&self, ix: ComponentIx) -> Vec<Held> {
        let mine: BTreeSet<RecoveryId> =
            self.told.recoveries.iter().filter(|it| it.component == ix).map(|it| it.id).collect();
        let mut found: Vec<Held> = Vec::new();
        for (_, record) in &self.told.records {
            let at = seconds(self.told.failed, record.at);
            let (recovery, waiting) = if let Body::Held { recovery, waiting } = &record.body {
                (*recovery, Some(waiting))
            } else if let Body::RecoveryInitiated { recovery, .. }
            | Body::RungStarted { recovery, .. }
            | Body::RungSkipped { recovery, .. }
            | Body::RecoveryCompleted { recovery, .. }
            | Body::RecoveryFailed { recovery, .. } = &record.body
            {
                (*recovery, None)
            } else if let Body::StepStarted { step, .. } = &record.body {
                (step.recovery, None)
            } else {
                continue;
            };
            if !mine.contains(&recovery) {
                continue;
            }
            if let Some(last) = found.last_mut().filter(|it| it.to_s.is_none()) {
                last.to_s = Some(at);
            }
            if let Some(waiting) = waiting {
                found.push(Held { guard: waiting.code(), from_s: at, to_s: None, why: waiting.to_string() });
            }
        }
        found
    }

    fn affected(&self) -> Vec<Affected> {
        let plan = self.plan();
        let all = (0u32..).map(ComponentIx).take(plan.components.len());
        let one = |ix: ComponentIx| {
            let (mut open, mut seen) = (plan.component(ix).depends_on.clone(), BTreeSet::new());
            while let Some(next) = open.pop() {
                if seen.insert(next) {
                    open.extend(&plan.component(next).depends_on);
                }
            }
            let needs: Vec<ComponentIx> = seen.into_iter().filter(|it| self.stage.lost.contains(it)).collect();
            let until = needs.iter().map(|it| took(self.told, *it)).collect::<Option<Vec<f64>>>();
            (!needs.is_empty()).then(|| Affected {
                name: plan.component(ix).name.clone(),
                because_of: needs.iter().map(|it| plan.component(*it).name.clone()).collect(),
                until_s: until.and_then(|it| it.into_iter().reduce(f64::max)),
            })
        };
        all.filter(|it| !self.stage.lost.contains(it)).filter_map(one).collect()
    }

    fn routes(&self) -> Vec<OfRoute> {
        let mut away: BTreeMap<RouteIx, Vec<Away>> = BTreeMap::new();
        for change in &self.told.changes {
            let at = seconds(self.told.failed, change.at);
            let of = away.entry(change.route).or_default();
            match of.last_mut().filter(|it| change.served && it.to_s.is_none()) {
                Some(last) => last.to_s = Some(at),
                None if !change.served => of.push(Away { from_s: at, to_s: None }),
                None => {}
            }
        }
        let one = |(ix, away): (RouteIx, Vec<Away>)| {
            let route = self.plan().route(ix);
            let owner = route.targets.first().map(|it| self.plan().instance(it.instance).component);
            let verdict = owner.and_then(|it| self.proof.cell(it, self.scenario.failure, self.scenario.condition));
            let proved = verdict.and_then(|it| it.verdict.as_ref().ok());
            let further = proved.and_then(|it| {
                let (_, bound) = it.bounds.iter().find(|it| it.0 == Some(ix))?;
                Some(bound.total().saturating_sub(it.completed).as_secs_f64())
            });
            OfRoute {
                name: route.name.clone(),
                component: owner.map(|it| self.plan().component(it).name.clone()),
                away,
                further_s: further.unwrap_or(0.0),
            }
        };
        away.into_iter().map(one).collect()
    }

    fn not_played(&self) -> Vec<String> {
        let plan = self.plan();
        let mut all = Vec::new();
        let store = self.scenario.condition == Condition::CoordinationStoreGone;
        if !plan.agents.is_empty() {
            let names: Vec<&str> = plan.agents.iter().map(|it| it.name.as_str()).collect();
            all.push(format!(
                "the plan has further agents ({}): the world has the deciding one alone, so that none of them takes over",
                names.join(", ")
            ));
        }
        match (&plan.coordination, store) {
            (Some(_), true) => all.push(
                "the coordination store is not in the world: the loss was played as if it were there, and only the proof speaks of the store"
                    .to_owned(),
            ),
            (None, true) => all.push("the plan has no coordination store, so its loss changes nothing".to_owned()),
            (_, false) => {}
        }
        let cached = plan.routes.iter().filter(|it| (it.dns.is_some() && it.proxy.is_none()) || it.polled.is_some());
        let cached: Vec<&str> = cached.map(|it| it.name.as_str()).collect();
        if !cached.is_empty() {
            let names = listed(&cached);
            all.push(format!(
                "how long clients keep an address, and how seldom somebody polls ({names}): that time is added from the proof"
            ));
        }
        if self.all.iter().all(|it| it.luck.killed_at.is_none()) && self.scenario.condition == Condition::AgentRestarts
        {
            all.push("the agent was not killed".to_owned());
        }
        if plan.instances.len() > LARGE {
            all.push(format!(
                "{} instances are many: only the quickest and the slowest of the usual ways were played",
                plan.instances.len()
            ));
        }
        all
    }

    /// Parts that took more with them than the place alone.
    fn shared_parts(&self) -> BTreeSet<String> {
        let plan = self.plan();
        let lost = (0u32..).map(InstanceIx).take(plan.instances.len()).filter(|it| self.loss.takes_instance(*it));
        let (with, by_place): (Vec<InstanceIx>, Vec<InstanceIx>) =
            lost.partition(|it| !self.loss.takes(&plan.instance(*it).location) && self.loss.takes_part_of(*it));
        let shares = |it: &InstanceIx| plan.instance(*it).shares.iter();
        let roots: BTreeSet<_> = by_place.iter().flat_map(shares).collect();
        let found = with.iter().flat_map(shares).filter(|it| roots.contains(it));
        found.map(|it| format!("{} {}", it.kind.word(), it.name)).collect()
    }

    fn taken(&self) -> Vec<String> {
        let plan = self.plan();
        let mut all = vec![
            "the user's own commands, scripts and webhooks do what their step is for, wherever they can be reached".to_owned(),
            "everything in the lost place fails at the same moment, and what is not stated to be elsewhere counts as lost".to_owned(),
        ];
        let parts: BTreeSet<String> = self.shared_parts();
        if !parts.is_empty() {
            all.push(format!(
                "what lives on the same part as something that is lost counts as lost with it, as in the proof: {}",
                listed(&parts.iter().map(String::as_str).collect::<Vec<_>>())
            ));
        }
        if !self.stage.lags.is_empty() {
            all.push(
                "standbys are in step in the quick ways, and as far behind as the proof lets them be in the slow ones"
                    .to_owned(),
            );
        }
        let asks = plan.components.iter().any(|it| it.guards.approval.is_some()) || plan.mode == Mode::Recommend;
        match (self.stage.people, asks) {
            (Some(takes), _) => all.push(format!(
                "people approve and do by hand what is asked for within {}",
                crate::reliability::span(takes.as_secs_f64())
            )),
            (None, true) => {
                all.push("nobody approves anything: `--people 5m` lets somebody do so after that time".to_owned())
            }
            (None, false) => {}
        }
        all
    }
}

fn way_out(waiting: &WaitingOn, id: RecoveryId) -> String {
    format!("until {}; or `{}`", waiting.ends_when(), waiting.way_out(id))
}

fn bound_parts(bound: &Bound) -> Vec<Part> {
    let all = bound.parts().into_iter().filter(|it| !it.1.is_zero());
    all.map(|(part, it)| Part { part, seconds: it.as_secs_f64() }).collect()
}

fn loss_s(loss: DataLoss) -> Option<f64> {
    match loss {
        DataLoss::AtMost(most) => Some(most.as_secs_f64()),
        DataLoss::NoState | DataLoss::Unknown => None,
    }
}

/// So many names, and how many more.
pub(super) fn listed(names: &[&str]) -> String {
    const MOST: usize = 6;
    let more = names.len().saturating_sub(MOST);
    let first = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

fn what_is_lost(
    instances: &[LostInstance],
    witnesses: &[String],
    others: &[String],
    agent: bool,
    condition: Condition,
) -> String {
    let names = |active: bool| -> Vec<&str> {
        instances.iter().filter(|it| it.active == active).map(|it| it.name.as_str()).collect()
    };
    let mut parts = Vec::new();
    for (what, names) in
        [("", names(true)), ("standby", names(false)), ("witness", witnesses.iter().map(String::as_str).collect())]
    {
        let plural = match (what, names.len()) {
            ("", _) => String::new(),
            (_, 1) => format!("{what} "),
            ("witness", _) => "witnesses ".to_owned(),
            (_, _) => format!("{what}s "),
        };
        if !names.is_empty() {
            parts.push(format!("{plural}{}", listed(&names)));
        }
    }
    if !others.is_empty() {
        parts.push(listed(&others.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    if agent {
        parts.push("the agent's machine with the traffic process".to_owned());
    }
    if parts.is_empty() {
        parts.push("nothing that the plan runs".to_owned());
    }
    let missing = match condition {
        Condition::None | Condition::AgentsHostGone => String::new(),
        Condition::AgentRestarts => "; the agent is killed once on the way".to_owned(),
        Condition::RegionalControlGone
        | Condition::GlobalControlGone
        | Condition::AgentsPathGone
        | Condition::CoordinationStoreGone
        | Condition::DnsGone
        | Condition::BackupsLocationGone => format!("; and {} is gone", condition.missing()),
    };
    format!("{}{missing}", parts.join("; "))
}
