//! The same workload under different strategies of disaster recovery, side by side.
//!
//! Components, their failures and what restarts them are those of the plan. What recovers them when a host, a zone or a
//! region is lost is replaced by the strategy: a copy of each component in another region, and the time that the strategy
//! usually needs to make it serve. Every strategy meets the same chances of failure.

use mainstay_plan::assess::{DrStrategy, Row, TABLE};
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{Plan, Proof};
use serde::Serialize;

use super::distribution::Distribution;
use super::estimate::Estimate;
use super::history::Outage;
use super::model::{Loss, Member, Model, Part, Source, TRAFFIC, Timed, Unit, Way, age};
use super::rates::{Assumption, FailsAndRepairs, Kind, Rates, show};
use super::rates_file::{self, PhaseTime};
use super::report::{Downtime, Percentiles, Report};
use super::report_text::{columns, heading, rests_on, share, wrap};
use super::spans::span;
use super::trials::{self, Options};

/// What every comparison says of itself.
pub const MODEL: &str = "a model, not the engine and not your plan's own recoveries: the plan's components and failures, each strategy's usual times. \
                         The agent and several proxies are taken to be outside what is lost";

/// The strategies by the names that the command line knows.
pub const NAMES: [(&str, DrStrategy); 4] = [
    ("backup-restore", DrStrategy::BackupAndRestore),
    ("pilot-light", DrStrategy::PilotLight),
    ("warm-standby", DrStrategy::WarmStandby),
    ("active-active", DrStrategy::MultiSiteActiveActive),
];

/// What data and backups of a stopped instance cost, of what a running one does, where nobody gives prices.
const STORAGE_SHARE: f64 = 0.1;

/// Where nothing is proved, nobody knows how long detecting and deciding takes; this is assumed.
const NOTICED_S: f64 = 60.0;

/// A strategy with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    name: &'static str,
    /// Once it is decided.
    recovery: Distribution,
    /// `None`: as the plan's backups or its standbys' lag say.
    loss: Option<Distribution>,
    works: f64,
    running: f64,
}

/// Strategies side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What kind of statement this is.
    pub model: &'static str,
    /// The seed.
    pub seed: u64,
    /// How many histories.
    pub trials: usize,
    /// Years of each.
    pub years: f64,
    /// What intervals hold, from 0 to 1.
    pub confidence: f64,
    /// What costs are counted in: a currency a month, or `relative`.
    pub unit_of_cost: String,
    /// In the order in which they were asked for.
    pub strategies: Vec<OfStrategy>,
    /// Every number that it rests on.
    pub assumptions: Vec<Assumption>,
}

/// One strategy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfStrategy {
    /// Its name.
    pub name: &'static str,
    /// Recoveries of all components when a host, a zone or a region is lost, in seconds.
    pub rto: Option<Percentiles>,
    /// What those lose, in seconds, where something is kept that can be lost.
    pub rpo: Option<Percentiles>,
    /// Of everything that clients need.
    pub downtime: Option<Downtime>,
    /// The share of histories that kept the strictest availability target of what clients need.
    pub slo_met: Option<Estimate>,
    /// What it costs.
    pub cost: Cost,
}

/// What a strategy costs: money a month, or instances where one running at home is 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// What runs at home.
    pub home: f64,
    /// What runs and is kept elsewhere.
    pub elsewhere: f64,
    /// Downtime, where it has a price.
    pub downtime: Option<f64>,
    /// All of it.
    pub total: f64,
}

/// The candidates of these names, with the numbers of the rates or the usual ones.
///
/// # Errors
///
/// When a name is not known.
pub fn candidates(names: &[String], rates: &Rates) -> Result<Vec<Candidate>, String> {
    let known = || NAMES.map(|it| it.0).join(", ");
    if let Some(name) = rates.file().strategies.keys().find(|it| NAMES.iter().all(|known| known.0 != **it)) {
        return Err(format!("the rates speak of a strategy `{name}`; there are {}", known()));
    }
    let one = |name: &String| {
        let found = NAMES.iter().find(|it| it.0 == name.as_str());
        let (name, strategy) = *found.ok_or_else(|| format!("`{name}` is no strategy; there are {}", known()))?;
        Ok(candidate(name, strategy, rates))
    };
    names.iter().map(one).collect()
}

/// The usual numbers follow the table of `mainstay assess`: half of all recoveries take what the strategy is good for at
/// best, and nineteen of twenty no longer than where the next cheaper one begins to be good.
fn candidate(name: &'static str, strategy: DrStrategy, rates: &Rates) -> Candidate {
    const AT_LEAST_S: f64 = 5.0;
    const A_DAY_S: f64 = 86_400.0;
    let seconds = |it: &Row| it.rto_from.as_secs_f64().max(AT_LEAST_S);
    let at = TABLE.iter().position(|it| it.strategy == strategy).unwrap_or_default();
    let slowest = at.checked_sub(1).map_or(A_DAY_S, |it| seconds(&TABLE[it]));
    let usual = Distribution::lognormal(seconds(&TABLE[at]), slowest);
    let given = rates.file().strategies.get(name).cloned().unwrap_or_default();
    let (works, running) = match strategy {
        DrStrategy::None | DrStrategy::BackupAndRestore => (95.0, 0.0),
        DrStrategy::PilotLight => (97.0, 0.25),
        DrStrategy::WarmStandby => (99.0, 0.5),
        DrStrategy::MultiSiteActiveActive => (99.9, 1.0),
    };
    let from_schedule = strategy == DrStrategy::BackupAndRestore;
    let usual_loss =
        (!from_schedule).then(|| Distribution::Uniform { from: 0.0, to: TABLE[at].rpo_from.as_secs_f64() });
    Candidate {
        name,
        recovery: given.recovery.map_or(usual, |it| it.fixed()),
        loss: given.loss.as_ref().map(rates_file::Time::fixed).or(usual_loss),
        works: given.works.unwrap_or(works) / 100.0,
        running: given.running.unwrap_or(running),
    }
}

impl Comparison {
    /// Plays each candidate.
    ///
    /// # Errors
    ///
    /// When the rates speak of a component that the plan does not have.
    pub fn of(plan: &Plan, rates: &Rates, candidates: &[Candidate], options: &Options) -> Result<Comparison, String> {
        let base = Model::of(&Proof::of(plan), rates.clone())?;
        let one = |it: &Candidate| of_strategy(&with(plan, &base, it), it, options);
        let mut assumptions = rates.assumptions().to_vec();
        for it in candidates {
            let given = rates.file().strategies.get(it.name);
            assumptions.push(Assumption {
                what: format!("{}: recovery takes", it.name),
                value: show(&it.recovery),
                given: given.is_some_and(|it| it.recovery.is_some()),
            });
            let from_schedule = "what came after the last backup of the plan; without one, of a day".to_owned();
            assumptions.push(Assumption {
                what: format!("{}: what is lost", it.name),
                value: it.loss.as_ref().map_or(from_schedule, show),
                given: given.is_some_and(|it| it.loss.is_some()),
            });
            assumptions.push(Assumption {
                what: format!("{}: it works", it.name),
                value: format!("{} %, and {} of home's instances run elsewhere", it.works * 100.0, it.running),
                given: given.is_some_and(|it| it.works.is_some() && it.running.is_some()),
            });
        }
        let prices = rates.file().prices.as_ref();
        let unit_of_cost = prices.map_or("relative".to_owned(), |it| format!("{} a month", it.currency));
        if prices.is_none() {
            assumptions.push(Assumption {
                what: "data and backups elsewhere cost".to_owned(),
                value: format!("{STORAGE_SHARE} of a running instance"),
                given: false,
            });
        }
        Ok(Comparison {
            model: MODEL,
            seed: options.seed,
            trials: options.trials,
            years: options.years,
            confidence: options.confidence,
            unit_of_cost,
            strategies: candidates.iter().map(one).collect(),
            assumptions,
        })
    }

    /// As plain text.
    pub fn text(&self, name: &str) -> String {
        let mut out = heading(name, self.trials, self.years, self.seed);
        wrap(&mut out, "", "", self.model);
        out.push('\n');
        let mut rows = vec![
            ["strategy", "rto half", "95 %", "rpo half", "95 %", "up", "down a year", "(interval)", "slo", "cost"]
                .map(str::to_owned),
        ];
        rows.extend(self.strategies.iter().map(|it| self.row(it)));
        columns(&rows, &mut out);
        out.push('\n');
        wrap(&mut out, "", "", &self.about());
        out.push('\n');
        rests_on(&self.assumptions, &[], &mut out);
        out
    }

    fn row(&self, it: &OfStrategy) -> [String; 10] {
        let time = |it: &Option<Percentiles>, of: fn(&Percentiles) -> f64| {
            it.as_ref().map_or("-".to_owned(), |it| span(of(it)))
        };
        let down = |of: fn(&Downtime) -> String| it.downtime.as_ref().map_or("-".to_owned(), of);
        [
            it.name.to_owned(),
            time(&it.rto, |it| it.p50.value),
            time(&it.rto, |it| it.p95.value),
            time(&it.rpo, |it| it.p50.value),
            time(&it.rpo, |it| it.p95.value),
            down(|it| format!("{:.4} %", it.availability.value * 100.0)),
            down(|it| span(it.minutes_a_year.value * 60.0)),
            down(|it| format!("({} to {})", span(it.minutes_a_year.low * 60.0), span(it.minutes_a_year.high * 60.0))),
            it.slo_met.map_or("-".to_owned(), |it| share(it.value)),
            format!("{:.2}", it.cost.total),
        ]
    }

    pub(crate) fn about(&self) -> String {
        let cost = if self.unit_of_cost == "relative" {
            "cost is relative: all of home running is 1, no money; `prices` in the file of rates gives it in yours"
                .to_owned()
        } else {
            format!(
                "cost is {}: what runs at home and elsewhere, what is kept, and downtime at its price",
                self.unit_of_cost
            )
        };
        format!(
            "rto and rpo: all recoveries when a host, a zone or a region is lost, repairs included; up, down: everything that \
             clients need; slo: histories that kept the strictest availability target; {cost}"
        )
    }
}

/// The plan's components, with the strategy's copies elsewhere and its times.
fn with(plan: &Plan, base: &Model, candidate: &Candidate) -> Model {
    let mut model = base.clone();
    model.agent.clear();
    model.members.retain(|it| it.name != TRAFFIC);
    model.units.retain(|it| it.name != TRAFFIC);
    let members = model.members.len();
    let mut common = Vec::new();
    for kind in [Kind::Zone, Kind::Region] {
        common.push(model.sources.len());
        model.sources.push(source("elsewhere", kind, model.rates.of_kind(kind)));
    }
    for at in 0..members {
        let name = model.members[at].name.clone();
        let copy = model.units.len();
        let mut sources = vec![model.sources.len(), model.sources.len() + 1];
        let cold = candidate.running <= 0.0;
        let own = Source {
            only_while_serving: cold.then_some(copy),
            ..source(&name, Kind::Instance, model.rates.instance(&name))
        };
        model.sources.push(own);
        model.sources.push(source(&name, Kind::Host, model.rates.of_kind(Kind::Host)));
        sources.extend(&common);
        model.units.push(Unit { name: format!("{name} elsewhere"), sources, hot: candidate.running >= 1.0 });
        let member = &mut model.members[at];
        member.units = vec![member.units[0], copy];
        member.needs.retain(|it| *it < members);
        let loss = loss(plan, member, candidate, &base.rates);
        member.ways = [0, 1, 2, 3].map(|lost| ways(&base.members[at], lost, candidate, copy, &loss));
        member.proved = [None; 4];
    }
    // Standbys of the plan are nobody's here; they may fail and be missed by no one.
    model
}

fn source(of: &str, kind: Kind, rate: FailsAndRepairs) -> Source {
    Source { name: of.to_owned(), kind, fails: rate.fails, repair: rate.repair, only_while_serving: None }
}

fn loss(plan: &Plan, member: &Member, candidate: &Candidate, rates: &Rates) -> Loss {
    if member.rpo.is_none() {
        return Loss::NoState;
    }
    let component = plan.component_named(&member.name).map(|it| plan.component(it));
    match (&candidate.loss, component.and_then(|it| it.backups.first())) {
        (Some(it), _) if candidate.running > 0.0 => Loss::Lag(rates.lag(&member.name).unwrap_or(it.clone()), None),
        (Some(it), _) => Loss::Copy(it.clone()),
        (None, Some(backup)) => Loss::Copy(age(backup)),
        (None, None) => Loss::Copy(Distribution::Uniform { from: 0.0, to: 86_400.0 }),
    }
}

fn ways(base: &Member, lost: usize, candidate: &Candidate, copy: usize, loss: &Loss) -> Vec<Way> {
    let noticed = |part: Part| {
        let proved = base.ways.iter().flatten().next().map(|it| it.times.iter().filter(|it| it.0 == part));
        let proved = proved.and_then(|mut it| it.next()).map(|it| it.1.clone());
        let assumed = if part == Part::Detect { NOTICED_S } else { 0.0 };
        (part, proved.unwrap_or(Timed { bound: assumed, law: PhaseTime::Uniform }))
    };
    let restart = base.ways[lost].first().filter(|it| lost == 0 && it.strategy == Strategy::RestartService);
    let act = Timed { bound: f64::INFINITY, law: PhaseTime::Of(candidate.recovery.clone()) };
    let own = Way {
        rung: usize::MAX,
        strategy: Strategy::FailoverToStandby,
        to: copy,
        times: vec![noticed(Part::Detect), noticed(Part::Decide), (Part::Act, act)],
        tail: 0.0,
        failing: candidate.recovery.mean(),
        works: candidate.works,
        loss: loss.clone(),
    };
    restart.cloned().into_iter().chain([own]).collect()
}

fn of_strategy(model: &Model, candidate: &Candidate, options: &Options) -> OfStrategy {
    let tally = trials::play(model, options);
    let report = Report::of(model, options, &tally);
    let lost = |it: &&Outage| it.kind != Kind::Instance;
    let far: Vec<&Outage> = tally.outages.iter().flatten().filter(lost).collect();
    let percentiles = |values: Vec<f64>| Percentiles::of(values, options.confidence);
    let strictest = model.members.iter().filter(|it| it.clients_need).filter_map(|it| it.slo_ppm).max();
    let down_s = report.site.downtime.as_ref().map_or(0.0, |it| it.minutes_a_year.value * 60.0);
    OfStrategy {
        name: candidate.name,
        rto: percentiles(far.iter().map(|it| it.total()).collect()),
        rpo: percentiles(far.iter().filter_map(|it| it.loss).collect()),
        slo_met: strictest.and_then(|ppm| {
            let allowed = mainstay_plan::assess::allowed(ppm).year.as_secs_f64() * options.years;
            let met = tally.site.iter().filter(|it| **it <= allowed).count();
            super::estimate::share(met, tally.site.len(), options.confidence)
        }),
        downtime: report.site.downtime,
        cost: cost(model, candidate, down_s),
    }
}

fn cost(model: &Model, candidate: &Candidate, down_a_year_s: f64) -> Cost {
    let prices = model.rates.file().prices.as_ref();
    let count = model.members.len() as f64;
    // Relative to all of home.
    let (running, storage) = match prices {
        Some(it) => (it.instance_month * count, it.storage_month * count),
        None => (1.0, STORAGE_SHARE),
    };
    let downtime = prices.map(|it| it.down_hour * down_a_year_s / 3600.0 / 12.0);
    let elsewhere = running * candidate.running + storage;
    Cost { home: running, elsewhere, downtime, total: running + elsewhere + downtime.unwrap_or(0.0) }
}
