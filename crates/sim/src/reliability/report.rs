//! What trials say of a plan: the site, and each component, with intervals. Data first; the text is made of it.

use mainstay_plan::assess::allowed;
use serde::Serialize;

use super::estimate::{self, Estimate};
use super::history::{Guard, Outage};
use super::model::{Model, Part};
use super::rates::{Assumption, Kind};
use super::trials::{KEPT, Options, Tally};
use super::{YEAR_S, expected};

/// What every report says of itself.
pub const MODEL: &str = "a model of the plan, not the engine: outcomes and bounds are those of the proof, times below the bounds and all \
                         rates are assumptions that are listed";

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
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
    /// Every number that it rests on.
    pub assumptions: Vec<Assumption>,
    /// What of the plan is not in the model.
    pub left_out: Vec<String>,
    /// Everything that clients need, together.
    pub site: Site,
    /// In the order of dependencies.
    pub components: Vec<OfComponent>,
}

/// Downtime.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Downtime {
    /// The part of the time in which it is up.
    pub availability: Estimate,
    /// Minutes a year, on average.
    pub minutes_a_year: Estimate,
    /// Minutes in a history, a year if nothing else was asked for: in half of all, in 95 and in 99 of 100 not more.
    pub p50_minutes: Estimate,
    /// 95 of 100.
    pub p95_minutes: Estimate,
    /// 99 of 100.
    pub p99_minutes: Estimate,
}

/// Everything that clients need.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Site {
    /// Its downtime; `None` with less than two histories.
    pub downtime: Option<Downtime>,
    /// Who spends it, the most first.
    pub spends: Vec<Spends>,
    /// What fails, the costliest first.
    pub because_of: Vec<Spends>,
}

/// A share of the downtime.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spends {
    /// Who or what.
    pub name: String,
    /// Minutes a year.
    pub minutes_a_year: f64,
    /// Of all, from 0 to 1.
    pub share: f64,
}

/// One component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfComponent {
    /// Its name.
    pub name: String,
    /// What its clients see: it and everything that it needs.
    pub clients: Option<Downtime>,
    /// It alone.
    pub own: Option<Downtime>,
    /// It alone, worked out: each failure by itself. `None` where that says too little.
    pub expected_minutes_a_year: Option<f64>,
    /// Against its target, where it has one.
    pub slo: Option<Slo>,
    /// Failures a year.
    pub failures_a_year: f64,
    /// How long recoveries take, by what was lost; the most frequent first.
    pub rto: Vec<Rto>,
    /// Of all its outages, by part.
    pub parts: Vec<OfPart>,
    /// What is lost, where it keeps state.
    pub rpo: Option<Rpo>,
    /// What ended its outages.
    pub ended_by: Vec<EndedBy>,
    /// Which guards held, and for how long.
    pub guards: Vec<Held>,
    /// Failures that no probe saw, a year.
    pub unseen_a_year: f64,
    /// Whether times are those of the first outages alone, because there were more than are kept.
    pub times_are_of_the_first: bool,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slo {
    /// From 0 to 1.
    pub target: f64,
    /// Minutes a year that it allows.
    pub allowed_minutes: f64,
    /// The share of histories in which its clients had no more than that.
    pub met: Option<Estimate>,
}

/// Percentiles of something, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of all.
    pub p50: Estimate,
    /// 95 of 100.
    pub p95: Estimate,
    /// 99 of 100.
    pub p99: Estimate,
    /// The most that was seen.
    pub most: f64,
}

/// Recoveries from one kind of failure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rto {
    /// `instance`, `host`, `shared part`, `zone`, `region`.
    pub lost: &'static str,
    /// How often, a year.
    pub a_year: f64,
    /// The worst case of the proof, in seconds; `None`: nothing is proved.
    pub proved_s: Option<f64>,
    /// The objective, in seconds.
    pub objective_s: Option<f64>,
    /// How long.
    pub seconds: Percentiles,
    /// The share that kept the objective.
    pub kept: Option<Estimate>,
    /// The share that took longer than the proof's worst case: what was started did not work, nobody saw it, or somebody had to
    /// be waited for.
    pub beyond_proof: Option<Estimate>,
}

/// One part of the outages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfPart {
    /// `detect`, `act`, ….
    pub part: &'static str,
    /// Its share of all time that recoveries took, repairs left out, from 0 to 1; of repairs their share of everything.
    pub share: f64,
    /// Mean seconds in an outage.
    pub mean_s: f64,
    /// How long.
    pub seconds: Percentiles,
    /// The share of recoveries in which it was the longest part.
    pub longest: f64,
}

/// What is lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rpo {
    /// The objective, in seconds.
    pub objective_s: f64,
    /// Over all recoveries by the ladder.
    pub seconds: Percentiles,
    /// Recoveries that lose anything, a year.
    pub losing_a_year: f64,
    /// Over those that lose anything.
    pub when_lost: Option<Percentiles>,
    /// The share that kept the objective.
    pub kept: Estimate,
}

/// What ended outages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndedBy {
    /// `restart_service`, …, `repair`.
    pub what: String,
    /// Of all, from 0 to 1.
    pub share: f64,
}

/// What held recoveries back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Held {
    /// Which guard.
    pub guard: &'static str,
    /// How often, a year.
    pub a_year: f64,
    /// Minutes a year.
    pub minutes_a_year: f64,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Instance, "instance"),
    (Kind::Host, "host"),
    (Kind::SharedPart, "shared part"),
    (Kind::Zone, "zone"),
    (Kind::Region, "region"),
];

impl Report {
    /// What the histories say.
    pub fn of(model: &Model, options: &Options, tally: &Tally) -> Report {
        let cx = Cx { model, options, tally, years: options.years * options.trials as f64 };
        Report {
            model: MODEL,
            seed: options.seed,
            trials: options.trials,
            years: options.years,
            confidence: options.confidence,
            assumptions: model.rates.assumptions().to_vec(),
            left_out: model.left_out.clone(),
            site: cx.site(),
            components: (0..model.members.len()).map(|it| cx.component(it)).collect(),
        }
    }
}

impl Percentiles {
    /// `None` without values.
    pub(super) fn of(mut values: Vec<f64>, confidence: f64) -> Option<Percentiles> {
        values.sort_by(f64::total_cmp);
        let percentile = |p| estimate::percentile(&values, p, confidence);
        Some(Percentiles {
            p50: percentile(0.5)?,
            p95: percentile(0.95)?,
            p99: percentile(0.99)?,
            most: *values.last()?,
        })
    }
}

struct Cx<'a> {
    model: &'a Model,
    options: &'a Options,
    tally: &'a Tally,
    /// Of all histories together.
    years: f64,
}

impl Cx<'_> {
    fn site(&self) -> Site {
        let spends = |name: &str, seconds: f64| {
            let minutes = seconds / 60.0 / self.years;
            Spends { name: name.to_owned(), minutes_a_year: minutes, share: 0.0 }
        };
        let members = self.model.members.iter().zip(&self.tally.spent).map(|(it, spent)| spends(&it.name, *spent));
        let kinds = KINDS.iter().map(|(kind, name)| spends(name, self.tally.spent_on[*kind as usize]));
        Site {
            downtime: self.downtime(&self.tally.site),
            spends: ranked(members.collect()),
            because_of: ranked(kinds.collect()),
        }
    }

    fn downtime(&self, seconds: &[f64]) -> Option<Downtime> {
        let confidence = self.options.confidence;
        let minutes_in = |seconds: &f64| seconds / 60.0;
        let a_year: Vec<f64> = seconds.iter().map(|it| minutes_in(it) / self.options.years).collect();
        let mean = estimate::mean(&a_year, confidence)?;
        let up = |minutes: f64| 1.0 - minutes * 60.0 / YEAR_S;
        let mut sorted: Vec<f64> = seconds.iter().map(minutes_in).collect();
        sorted.sort_by(f64::total_cmp);
        let percentile = |p| estimate::percentile(&sorted, p, confidence);
        Some(Downtime {
            availability: Estimate { value: up(mean.value), low: up(mean.high), high: up(mean.low.max(0.0)) },
            minutes_a_year: Estimate { low: mean.low.max(0.0), ..mean },
            p50_minutes: percentile(0.5)?,
            p95_minutes: percentile(0.95)?,
            p99_minutes: percentile(0.99)?,
        })
    }

    fn component(&self, at: usize) -> OfComponent {
        let it = &self.model.members[at];
        let outages = &self.tally.outages[at];
        // Rates are of all that were counted, times of those that were kept.
        let weight = self.tally.counted[at] as f64 / (outages.len().max(1)) as f64 / self.years;
        OfComponent {
            name: it.name.clone(),
            clients: self.downtime(&self.tally.down[at]),
            own: self.downtime(&self.tally.own[at]),
            expected_minutes_a_year: expected::down_a_year(self.model, at).map(|it| it / 60.0),
            slo: it.slo_ppm.map(|ppm| self.slo(ppm, &self.tally.down[at])),
            failures_a_year: self.tally.counted[at] as f64 / self.years,
            rto: KINDS.iter().filter_map(|kind| self.rto(at, *kind, outages, weight)).collect(),
            parts: self.parts(outages),
            rpo: self.rpo(at, outages, weight),
            ended_by: self.ended_by(at, outages),
            guards: guards(outages, weight),
            unseen_a_year: outages.iter().filter(|it| it.unseen).count() as f64 * weight,
            times_are_of_the_first: self.tally.counted[at] > KEPT,
        }
    }

    fn slo(&self, ppm: u32, down: &[f64]) -> Slo {
        let allowed_s = allowed(ppm).year.as_secs_f64();
        let met = down.iter().filter(|it| **it <= allowed_s * self.options.years).count();
        Slo {
            target: f64::from(ppm) / 1e6,
            allowed_minutes: allowed_s / 60.0,
            met: estimate::share(met, down.len(), self.options.confidence),
        }
    }

    fn percentiles(&self, values: Vec<f64>) -> Option<Percentiles> {
        Percentiles::of(values, self.options.confidence)
    }

    fn rto(&self, at: usize, (kind, lost): (Kind, &'static str), outages: &[Outage], weight: f64) -> Option<Rto> {
        let it = &self.model.members[at];
        let times: Vec<f64> = outages.iter().filter(|it| it.kind == kind).map(Outage::total).collect();
        let domain = kind.domain() as usize;
        let (count, confidence) = (times.len(), self.options.confidence);
        let within = |most: f64| times.iter().filter(|it| **it <= most).count();
        let kept = it.rto[domain].and_then(|most| estimate::share(within(most), count, confidence));
        // A millisecond is below what a bound is stated to.
        let beyond =
            it.proved[domain].and_then(|most| estimate::share(count - within(most + 0.001), count, confidence));
        Some(Rto {
            lost,
            a_year: count as f64 * weight,
            proved_s: it.proved[domain],
            objective_s: it.rto[domain],
            kept,
            beyond_proof: beyond,
            seconds: self.percentiles(times)?,
        })
    }

    /// Parts that take any time, in their order. Repairs are set apart: one of them takes longer than a hundred recoveries.
    fn parts(&self, outages: &[Outage]) -> Vec<OfPart> {
        let all: f64 = outages.iter().map(Outage::total).sum();
        let repairs: f64 = outages.iter().map(|it| it.parts[Part::Repair as usize]).sum();
        let by_ladder = outages.iter().filter(|it| it.way.is_some());
        let longest: Vec<Option<usize>> = by_ladder.map(|it| longest(&it.parts)).collect();
        let one = |part: Part| {
            let values: Vec<f64> = outages.iter().map(|it| it.parts[part as usize]).collect();
            let sum: f64 = values.iter().sum();
            let of = if part == Part::Repair { all } else { all - repairs };
            let times = longest.iter().filter(|it| **it == Some(part as usize)).count();
            (sum > 0.0).then_some(())?;
            Some(OfPart {
                part: part.word(),
                share: sum / of,
                mean_s: sum / values.len() as f64,
                seconds: self.percentiles(values)?,
                longest: times as f64 / longest.len().max(1) as f64,
            })
        };
        Part::ALL.into_iter().filter_map(one).collect()
    }

    fn rpo(&self, at: usize, outages: &[Outage], weight: f64) -> Option<Rpo> {
        let objective = self.model.members[at].rpo?;
        let losses: Vec<f64> = outages.iter().filter_map(|it| it.loss).collect();
        let kept = losses.iter().filter(|it| **it <= objective).count();
        let lost: Vec<f64> = losses.iter().copied().filter(|it| *it > 0.0).collect();
        Some(Rpo {
            objective_s: objective,
            losing_a_year: lost.len() as f64 * weight,
            when_lost: self.percentiles(lost),
            kept: estimate::share(kept, losses.len(), self.options.confidence)?,
            seconds: self.percentiles(losses)?,
        })
    }

    fn ended_by(&self, at: usize, outages: &[Outage]) -> Vec<EndedBy> {
        let it = &self.model.members[at];
        let mut found: Vec<(&str, usize)> = Vec::new();
        for outage in outages {
            let way = outage.way.map(|way| &it.ways[outage.kind.domain() as usize][way]);
            let what = way.map_or("repair", |it| it.strategy.word());
            match found.iter_mut().find(|it| it.0 == what) {
                Some((_, times)) => *times += 1,
                None => found.push((what, 1)),
            }
        }
        found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let share = |(what, times): (&str, usize)| EndedBy {
            what: what.to_owned(),
            share: times as f64 / outages.len() as f64,
        };
        found.into_iter().map(share).collect()
    }
}

fn longest(parts: &[f64]) -> Option<usize> {
    parts.iter().enumerate().filter(|it| *it.1 > 0.0).max_by(|a, b| a.1.total_cmp(b.1)).map(|it| it.0)
}

fn guards(outages: &[Outage], weight: f64) -> Vec<Held> {
    let one = |guard: Guard| {
        let held = outages.iter().filter_map(|it| it.held).filter(|it| it.0 == guard);
        let (count, seconds) = held.fold((0_u32, 0.0), |sum, it| (sum.0 + 1, sum.1 + it.1));
        (count > 0).then(|| Held {
            guard: guard.word(),
            a_year: f64::from(count) * weight,
            minutes_a_year: seconds / 60.0 * weight,
        })
    };
    Guard::ALL.into_iter().filter_map(one).collect()
}

fn ranked(mut all: Vec<Spends>) -> Vec<Spends> {
    let sum: f64 = all.iter().map(|it| it.minutes_a_year).sum();
    all.retain(|it| it.minutes_a_year > 0.0);
    all.iter_mut().for_each(|it| it.share = it.minutes_a_year / sum);
    all.sort_by(|a, b| b.minutes_a_year.total_cmp(&a.minutes_a_year));
    all
}
