//! The model of a plan: what fails, what lives on it, and what is done then, with times.
//!
//! What is done comes from the proof: for each component and each failure, the rung that it proves, and behind that the
//! later rungs of the ladder, for when what was started does not start. How often and how long comes from the
//! [`rates`](super::rates). [`history`](super::history) plays it.

use std::collections::BTreeMap;

use mainstay_plan::action::Plane;
use mainstay_plan::backup::Backup;
use mainstay_plan::component::{Component, Temperature};
use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::policy::Mode;
use mainstay_plan::proof::{Bound, Condition, DataLoss, Recovery};
use mainstay_plan::strategy::{Phase, Play, Rung, Strategy};
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Proof};

use super::chance::Chance;
use super::distribution::Distribution;
use super::rates::{Kind, Odds, Rates};
use super::rates_file::{PhaseTime, Traffic};

/// The parts of an outage, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Until the verdict *down*; where no probe sees it, until a person does.
    Detect,
    /// To the first step.
    Decide,
    /// Held by a guard, or by an agent that is away.
    Held,
    /// Until what it depends on is back.
    Dependencies,
    /// Until it is its turn in an evacuation.
    Turn,
    /// For rungs that did not work.
    EarlierRungs,
    /// Until the old one can't act.
    Fence,
    /// Until the new one serves.
    Act,
    /// Until clients see it.
    Converge,
    /// Nothing recovers it: until what failed is repaired, or a person has recovered it by hand.
    Repair,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 10] = [
        Part::Detect,
        Part::Decide,
        Part::Held,
        Part::Dependencies,
        Part::Turn,
        Part::EarlierRungs,
        Part::Fence,
        Part::Act,
        Part::Converge,
        Part::Repair,
    ];

    /// The word for it, that of the proof where the proof has one.
    pub const fn word(self) -> &'static str {
        match self {
            Part::Detect => "detect",
            Part::Decide => "decide",
            Part::Held => "held",
            Part::Dependencies => "dependencies",
            Part::Turn => "turn",
            Part::EarlierRungs => "earlier rungs",
            Part::Fence => "fence",
            Part::Act => "act",
            Part::Converge => "converge",
            Part::Repair => "repair",
        }
    }
}

/// Seconds by [`Part`], in the order of [`Part::ALL`].
pub type Parts = [f64; Part::ALL.len()];

/// Something that fails and is repaired, and takes with it all that lives on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// `zone us-east-1/us-east-1a`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// From one repair to the next failure.
    pub fails: Distribution,
    /// How long a repair takes.
    pub repair: Distribution,
    /// The unit whose own it is, if that unit is cold and so fails only while it serves.
    pub only_while_serving: Option<usize>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// What it lives on, by place in [`Model::sources`]; the first is its own.
    pub sources: Vec<usize>,
    /// Whether it serves already.
    pub hot: bool,
}

/// The time of one part of a recovery.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// What the proof allows, in seconds.
    pub bound: f64,
    /// How long it takes below that.
    pub law: PhaseTime,
}

impl Timed {
    /// A duration, in seconds.
    pub fn draw(&self, chance: &mut Chance) -> f64 {
        if self.bound <= 0.0 {
            return 0.0;
        }
        match &self.law {
            PhaseTime::Bound => self.bound,
            PhaseTime::Uniform => self.bound * chance.unit(),
            PhaseTime::Of(it) => it.draw(chance).min(self.bound),
        }
    }
}

/// What a recovery loses.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// The component keeps no state.
    NoState,
    /// Nothing: the data are where they were.
    Nothing,
    /// What the standby had not received yet; further behind than this, it does not take over.
    Lag(Distribution, Option<f64>),
    /// What came after the restored copy: this much.
    Copy(Distribution),
    /// Nobody knows.
    Unknown,
}

/// One rung, as the model takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Its place in the ladder, from 0.
    pub rung: usize,
    /// What it does.
    pub strategy: Strategy,
    /// The unit that serves afterwards, while the component is bound to its original.
    pub to: usize,
    /// Its times, by part; those that the model works out itself are zero.
    pub times: Vec<(Part, Timed)>,
    /// Of `converge`, the share that comes after the agent is done: clients' caches, whoever polls. What depends on the
    /// component does not wait for it.
    pub tail: f64,
    /// How long it takes if it does not work: what its steps may take, in seconds.
    pub failing: f64,
    /// The probability that it works.
    pub works: f64,
    /// What it loses.
    pub loss: Loss,
}

/// A component.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its units, its original first.
    pub units: Vec<usize>,
    /// Members that must serve for it to serve.
    pub needs: Vec<usize>,
    /// Members whose recovery it waits for when they fail together.
    pub waits_for: Vec<usize>,
    /// What is done by what is lost, in the order of [`FailureDomain::ALL`].
    pub ways: [Vec<Way>; 4],
    /// The worst case of the proof, in seconds, by what is lost.
    pub proved: [Option<f64>; 4],
    /// RTO by what is lost, in seconds.
    pub rto: [Option<f64>; 4],
    /// RPO, in seconds.
    pub rpo: Option<f64>,
    /// Its availability target, in parts per million.
    pub slo_ppm: Option<u32>,
    /// From the end of one recovery to the beginning of the next, in seconds.
    pub cool_down: f64,
    /// Whether a person must approve.
    pub approval: bool,
    /// Its probabilities.
    pub odds: Odds,
    /// Whether clients need it.
    pub clients_need: bool,
}

/// A plan and its rates, ready to be played.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What fails.
    pub sources: Vec<Source>,
    /// Instances.
    pub units: Vec<Unit>,
    /// Components, each after all that it needs; the last may be the traffic process.
    pub members: Vec<Member>,
    /// What the agent lives on.
    pub agent: Vec<usize>,
    /// The rates that it was made with.
    pub rates: Rates,
    /// What of the plan is not in the model, in sentences.
    pub left_out: Vec<String>,
}

/// What the member is called that stands for the traffic process.
pub const TRAFFIC: &str = "(traffic process)";

impl Model {
    /// Makes a model of a proved plan.
    ///
    /// # Errors
    ///
    /// When the rates speak of a component that the plan does not have.
    pub fn of(proof: &Proof<'_>, rates: Rates) -> Result<Model, String> {
        let plan = proof.plan();
        if let Some(name) = rates.file().components.keys().find(|it| plan.component_named(it).is_none()) {
            let names: Vec<&str> = plan.components.iter().take(12).map(|it| it.name.as_str()).collect();
            return Err(format!("the rates speak of `{name}`, and the plan has {}", names.join(", ")));
        }
        let mut sources = Sources { all: Vec::new(), known: BTreeMap::new(), rates: &rates };
        let units = plan.instances.iter().map(|it| sources.unit(plan, it)).collect();
        let agent = sources.place(&plan.site.location, "the agent's host");
        let sources = sources.all;
        let order = dependencies_first(plan);
        let place = |ix: &ComponentIx| order.iter().position(|it| it == ix).unwrap_or_default();
        let clients = clients_need(plan);
        let single = rates.traffic == Traffic::Single;
        let proxied = |it: &Component| single && it.routes.iter().any(|it| plan.route(*it).proxy.is_some());
        let mut members: Vec<Member> = Vec::new();
        for ix in &order {
            let component = plan.component(*ix);
            let mut needs: Vec<usize> = component.depends_on.iter().map(place).collect();
            let waits_for = needs.clone();
            if proxied(component) {
                needs.push(order.len());
            }
            members.push(Member { needs, waits_for, clients_need: clients.contains(ix), ..member(proof, *ix, &rates) });
        }
        let mut model = Model { sources, units, members, agent, left_out: left_out(plan), rates };
        if plan.components.iter().any(proxied) {
            model.add_traffic();
        }
        Ok(model)
    }

    /// The process that every proxied route goes through, on the agent's host. Nothing recovers it but its host's repair.
    fn add_traffic(&mut self) {
        let through: Vec<bool> = self.members.iter().map(|it| it.needs.contains(&self.members.len())).collect();
        let clients_need = self.members.iter().zip(through).any(|(it, through)| it.clients_need && through);
        self.units.push(Unit { name: TRAFFIC.to_owned(), sources: self.agent.clone(), hot: false });
        self.members.push(Member {
            name: TRAFFIC.to_owned(),
            units: vec![self.units.len() - 1],
            needs: Vec::new(),
            waits_for: Vec::new(),
            ways: Default::default(),
            proved: [None; 4],
            rto: [None; 4],
            rpo: None,
            slo_ppm: None,
            cool_down: 0.0,
            approval: false,
            odds: self.rates.odds(TRAFFIC),
            clients_need,
        });
    }
}

fn dependencies_first(plan: &Plan) -> Vec<ComponentIx> {
    fn visit(plan: &Plan, ix: ComponentIx, order: &mut Vec<ComponentIx>) {
        if !order.contains(&ix) {
            plan.component(ix).depends_on.iter().for_each(|it| visit(plan, *it, order));
            order.push(ix);
        }
    }
    let mut order = Vec::new();
    (0u32..).map(ComponentIx).take(plan.components.len()).for_each(|it| visit(plan, it, &mut order));
    order
}

/// As [`mainstay_plan::Assessment`] sees it.
fn clients_need(plan: &Plan) -> Vec<ComponentIx> {
    let names = mainstay_plan::Assessment::of(plan).clients_need;
    names.iter().filter_map(|it| plan.component_named(it)).collect()
}

fn left_out(plan: &Plan) -> Vec<String> {
    let mut out = vec![
        "a takeover begins from the original instance; the way back costs no outage, and an old owner that is repaired is a \
         standby again"
            .to_owned(),
        "one failure at a time meets the rung that the proof proves; what fails while a recovery runs is seen when it ends"
            .to_owned(),
        "what is repaired where it was has lost nothing".to_owned(),
    ];
    match plan.mode {
        Mode::Act => {}
        Mode::Recommend => out.push("`mode: recommend`: every recovery waits for a person's approval".to_owned()),
        Mode::Observe => out.push("the plan has `mode: observe`; it is played as if it had `mode: act`".to_owned()),
    }
    if plan.guards.storm_brake.is_some() || plan.guards.blast_radius.is_some() {
        out.push("storm brake and blast radius count as far as the proof counts them".to_owned());
    }
    if plan.routes.iter().any(|it| it.sharing == mainstay_plan::route::Sharing::Shared) {
        out.push("a shared route is down while its component recovers, though other targets may serve".to_owned());
    }
    let control = |it: &Component| it.ladder.iter().any(|it| it.plane() >= Plane::RegionalControl);
    if plan.components.iter().any(control) {
        out.push("control planes always answer".to_owned());
    }
    out
}

struct Sources<'a> {
    all: Vec<Source>,
    known: BTreeMap<String, usize>,
    rates: &'a Rates,
}

impl Sources<'_> {
    fn unit(&mut self, plan: &Plan, it: &mainstay_plan::component::Instance) -> Unit {
        let component = &plan.component(it.component).name;
        let rate = self.rates.instance(component);
        let own = self.all.len();
        let cold = it.temperature == Temperature::Cold;
        self.all.push(Source {
            name: format!("instance {}", it.name),
            kind: Kind::Instance,
            fails: rate.fails,
            repair: rate.repair,
            // The plan lists a unit for each instance, in the same order, and its own source comes first.
            only_while_serving: cold.then(|| self.known_units()),
        });
        self.known.insert(format!("unit {}", it.name), own);
        let mut sources = vec![own];
        sources.extend(self.place(&it.location, &format!("host of {}", it.name)));
        for part in &it.shares {
            let name = format!("{} {}", part.kind.word(), part.name);
            sources.push(self.named(name, Kind::SharedPart));
        }
        Unit { name: it.name.clone(), sources, hot: it.temperature == Temperature::Hot }
    }

    fn known_units(&self) -> usize {
        self.known.keys().filter(|it| it.starts_with("unit ")).count()
    }

    /// Host, zone and region. A host that the plan does not name is one of its own.
    fn place(&mut self, location: &Location, unnamed: &str) -> Vec<usize> {
        let region = &location.region;
        let host = location.host.as_ref().map_or(unnamed.to_owned(), |it| format!("host {region}/{it}"));
        let mut sources = vec![self.named(host, Kind::Host)];
        if let Some(zone) = &location.zone {
            sources.push(self.named(format!("zone {region}/{zone}"), Kind::Zone));
        }
        sources.push(self.named(format!("region {region}"), Kind::Region));
        sources
    }

    fn named(&mut self, name: String, kind: Kind) -> usize {
        if let Some(at) = self.known.get(&name) {
            return *at;
        }
        let rate = self.rates.of_kind(kind);
        self.all.push(Source {
            name: name.clone(),
            kind,
            fails: rate.fails,
            repair: rate.repair,
            only_while_serving: None,
        });
        self.known.insert(name, self.all.len() - 1);
        self.all.len() - 1
    }
}

/// All of a member but its place among others.
fn member(proof: &Proof<'_>, ix: ComponentIx, rates: &Rates) -> Member {
    let plan = proof.plan();
    let component = plan.component(ix);
    let seconds = |it: std::time::Duration| it.as_secs_f64();
    let cells = FailureDomain::ALL.map(|it| {
        let cell = proof.cell(ix, it, Condition::None);
        cell.and_then(|it| it.verdict.as_ref().ok())
    });
    let ways = |at: usize| cells[at].map(|it| ways(plan, component, FailureDomain::ALL[at], it, rates));
    Member {
        name: component.name.clone(),
        units: component.instances.iter().map(|it| it.index()).collect(),
        needs: Vec::new(),
        waits_for: Vec::new(),
        ways: [0, 1, 2, 3].map(|at| ways(at).unwrap_or_default()),
        proved: cells.map(|it| it.map(|it| seconds(it.worst().total()))),
        rto: FailureDomain::ALL.map(|it| component.objectives.rto_for(it).map(seconds)),
        rpo: component.objectives.rpo.map(seconds),
        slo_ppm: component.objectives.availability_ppm,
        cool_down: seconds(component.guards.cool_down),
        approval: component.guards.approval.is_some() || plan.mode == Mode::Recommend,
        odds: rates.odds(&component.name),
        clients_need: false,
    }
}

/// The proved rung, and behind it those that are left if it does not work.
fn ways(plan: &Plan, component: &Component, lost: FailureDomain, proved: &Recovery, rates: &Rates) -> Vec<Way> {
    let home = component.original();
    let mut ways = Vec::new();
    for (at, rung) in component.ladder.iter().enumerate().skip(proved.rung) {
        let Some(play) = rung.plays.get(&home) else { continue };
        let bound = if at == proved.rung { proved.worst() } else { bound_of(play, &proved.worst()) };
        if at > proved.rung && !is_left(plan, component, lost, rung, play) {
            continue;
        }
        let mut way = way(plan, component, rates, (at, rung, play), &bound);
        if at == proved.rung && !bound.converge.is_zero() {
            let after = bound.total().saturating_sub(proved.completed);
            way.tail = (after.as_secs_f64() / bound.converge.as_secs_f64()).min(1.0);
        }
        ways.push(way);
    }
    ways
}

/// Whether a later rung is of any use: what the proof asks of it, in short.
fn is_left(plan: &Plan, component: &Component, lost: FailureDomain, rung: &Rung, play: &Play) -> bool {
    let home = &plan.instance(component.original()).location;
    match rung.strategy {
        Strategy::FailoverToStandby => !home.shares(&plan.instance(play.to).location, lost),
        Strategy::RestartService | Strategy::RestoreFromBackup => lost == FailureDomain::Instance,
        Strategy::ReplaceInstance | Strategy::ScaleOut => {
            matches!(lost, FailureDomain::Instance | FailureDomain::Host)
        }
    }
}

/// What the steps of a play may take, with everything before them as in the proof of another rung.
fn bound_of(play: &Play, like: &Bound) -> Bound {
    let phase = |phase: Phase| {
        let slowest = |stage: &[mainstay_plan::strategy::Step]| {
            let times = stage.iter().filter(|it| it.kind.phase() == phase).map(|it| it.timeout * it.attempts);
            times.max().unwrap_or_default()
        };
        play.stages().map(slowest).sum()
    };
    Bound {
        earlier_rungs: std::time::Duration::ZERO,
        fence: phase(Phase::Fence),
        act: phase(Phase::Act),
        converge: phase(Phase::Converge),
        ..*like
    }
}

fn way(
    plan: &Plan,
    component: &Component,
    rates: &Rates,
    (at, rung, play): (usize, &Rung, &Play),
    bound: &Bound,
) -> Way {
    let timed = |part: Part, bound: std::time::Duration| {
        let law = rates.phase(&component.name, part.word());
        (part, Timed { bound: bound.as_secs_f64(), law })
    };
    let odds = rates.odds(&component.name);
    let hot = plan.instance(play.to).temperature == Temperature::Hot;
    let works = match rung.strategy {
        Strategy::RestartService => odds.restarts,
        // It serves already.
        Strategy::FailoverToStandby if hot => 1.0,
        Strategy::FailoverToStandby => odds.starts,
        Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut => odds.restores,
    };
    Way {
        rung: at,
        strategy: rung.strategy,
        to: play.to.index(),
        times: vec![
            timed(Part::Detect, bound.detect),
            timed(Part::Decide, bound.decide),
            timed(Part::Turn, bound.turn),
            timed(Part::EarlierRungs, bound.earlier_rungs),
            timed(Part::Fence, bound.fence),
            timed(Part::Act, bound.act),
            timed(Part::Converge, bound.converge),
        ],
        tail: 0.0,
        failing: (bound.fence + bound.act + bound.converge).as_secs_f64(),
        works,
        loss: loss(component, rung, play.to, rates),
    }
}

fn loss(component: &Component, rung: &Rung, to: InstanceIx, rates: &Rates) -> Loss {
    let Some(rpo) = component.objectives.rpo.map(|it| it.as_secs_f64()) else { return Loss::NoState };
    match rung.strategy {
        Strategy::FailoverToStandby => {
            let lag = rates.lag(&component.name).unwrap_or(Distribution::Uniform { from: 0.0, to: rpo });
            Loss::Lag(lag, Some(rpo))
        }
        Strategy::RestoreFromBackup => match rung.backup.map(|it| &component.backups[it]) {
            Some(backup) => Loss::Copy(age(backup)),
            None => Loss::Unknown,
        },
        Strategy::RestartService => Loss::Nothing,
        Strategy::ReplaceInstance | Strategy::ScaleOut if to == component.original() => Loss::Unknown,
        Strategy::ReplaceInstance | Strategy::ScaleOut => Loss::Nothing,
    }
}

/// How old what can be restored is, at a moment that has nothing to do with the schedule: the newest whole backup began
/// between its duration and one interval more ago; an archive is behind by anything up to its lag.
pub(super) fn age(backup: &Backup) -> Distribution {
    let seconds = |it: std::time::Duration| it.as_secs_f64();
    match backup.archive_lag {
        Some(lag) => Distribution::Uniform { from: 0.0, to: seconds(lag) },
        None => {
            let from = seconds(backup.takes) + seconds(backup.copy_lag);
            Distribution::Uniform { from, to: from + seconds(backup.every) }
        }
    }
}

/// The most that the proof says is lost, in seconds.
pub fn proved_loss(recovery: &Recovery) -> Option<f64> {
    match recovery.data_loss {
        DataLoss::AtMost(it) => Some(it.as_secs_f64()),
        DataLoss::NoState | DataLoss::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_takes_longer_than_its_bound() {
        let mut chance = Chance::new(4, 0);
        let longer = Distribution::Exponential { mean: 7.0 };
        for law in [PhaseTime::Bound, PhaseTime::Uniform, PhaseTime::Of(longer)] {
            let timed = Timed { bound: 5.0, law };
            let draws: Vec<f64> = (0..1000).map(|_| timed.draw(&mut chance)).collect();
            assert!(draws.iter().all(|it| (0.0..=5.0).contains(it)), "{timed:?}");
        }
        assert!(Timed { bound: 0.0, law: PhaseTime::Bound }.draw(&mut chance).abs() < 1e-12);
    }

    /// A backup a day that takes an hour: between one hour old, just after it was complete, and twenty-five.
    #[test]
    fn a_backup_is_as_old_as_its_schedule_lets_it_be() {
        let hours = |it: u64| std::time::Duration::from_hours(it);
        let here = Location { region: "berlin".to_owned(), zone: None, host: None };
        let mut backup = Backup {
            name: "nightly".to_owned(),
            every: hours(24),
            takes: hours(1),
            copy_lag: hours(0),
            archive_lag: None,
            keep: hours(240),
            location: here,
            copies: Vec::new(),
            restore_test: None,
            postgres: None,
            measured: None,
        };
        assert_eq!(age(&backup), Distribution::Uniform { from: 3600.0, to: 25.0 * 3600.0 });
        assert!((age(&backup).quantile(1.0 - 1e-12) - backup.loss().as_secs_f64()).abs() < 1e-3, "as the proof has it");
        backup.archive_lag = Some(std::time::Duration::from_mins(5));
        assert_eq!(age(&backup), Distribution::Uniform { from: 0.0, to: 300.0 });
    }
}
