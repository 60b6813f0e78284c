//! What availability targets mean in time, whether they agree with each other, and what they add up to.

use std::time::Duration;

use serde::Serialize;

use super::proved::Verdicts;
use super::{depends_on, domain, domains, micros, millis, probability};
use crate::location::FailureDomain;
use crate::{ComponentIx, Plan};

/// What all of this takes for granted, in one line.
const ASSUMPTIONS: &str = "components fail independently; summed up, a target counts the component's own downtime, compared with \
                           its dependencies, what its clients see; a year has 365 days, a month 30";

/// 365 days, as in the usual tables.
const YEAR_S: u64 = 365 * DAY_S;
/// 30 days, as in the usual tables.
const MONTH_S: u64 = 30 * DAY_S;
const WEEK_S: u64 = 7 * DAY_S;
const DAY_S: u64 = 24 * 60 * 60;

const MILLION: u32 = 1_000_000;

/// How long something may be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// In 365 days.
    #[serde(rename = "year_us", serialize_with = "micros")]
    pub year: Duration,
    /// In 30 days.
    #[serde(rename = "month_us", serialize_with = "micros")]
    pub month: Duration,
    /// In 7 days.
    #[serde(rename = "week_us", serialize_with = "micros")]
    pub week: Duration,
}

/// The downtime that a target in parts per million allows, exactly: a millionth of a second is a microsecond.
pub fn allowed(ppm: u32) -> Allowed {
    let down = u64::from(MILLION.saturating_sub(ppm));
    let of = |seconds: u64| Duration::from_micros(seconds * down);
    Allowed { year: of(YEAR_S), month: of(MONTH_S), week: of(WEEK_S) }
}

/// The probability of being down that a target in parts per million allows.
fn down(ppm: u32) -> f64 {
    f64::from(MILLION.saturating_sub(ppm)) / f64::from(MILLION)
}

/// That part of a year, to the nearest microsecond.
fn of_year(down: f64) -> Duration {
    Duration::from_secs(YEAR_S).mul_f64(down)
}

/// How many failures of the worst proved length fit into a year's allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// The smallest failure whose proved recovery takes longest.
    #[serde(serialize_with = "domain")]
    pub failure: FailureDomain,
    /// How long it takes at worst.
    #[serde(rename = "worst_ms", serialize_with = "millis")]
    pub worst: Duration,
    /// Whole failures a year.
    pub fit_a_year: u64,
}

/// A target held against those of what the component depends on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dependencies {
    /// What it depends on, directly and through others, where that has a target: name and parts per million.
    pub of: Vec<(String, u32)>,
    /// What it depends on that has none.
    pub without_target: Vec<String>,
    /// The unavailability that they add up to: the component's clients see at least this.
    pub unavailability: f64,
    /// Whether the target can't be met even if the component itself never fails.
    pub contradiction: bool,
    /// What is left a year for the component's own downtime.
    #[serde(rename = "left_a_year_us", serialize_with = "micros")]
    pub left_a_year: Duration,
}

/// What a target asks of each of several instances, if `needed` of them at a time are enough and switching took no time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Copies {
    /// How many must be up: the most that a shared route of it asks for with `at_least`, 1 otherwise.
    pub needed: usize,
    /// Instances no two of which share a zone, a named host or another named part.
    pub of: usize,
    /// How much each of them may be down, as a probability.
    pub unavailability_each: f64,
}

/// One component's target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Its name.
    pub component: String,
    /// In parts per million.
    pub availability_ppm: u32,
    /// What it means in time.
    pub allowed: Allowed,
    /// What its proved worst case means for it; `None` where no failure of it has a proved recovery.
    pub failures: Option<Failures>,
    /// Failures without a proved recovery: those last until a person acts.
    #[serde(serialize_with = "domains")]
    pub until_a_person_acts: Vec<FailureDomain>,
    /// Its share of the error budgets of what clients need, from 0 to 1. `None` if clients don't need it or nothing may fail.
    pub share_of_budget: Option<f64>,
    /// Whether its dependencies let it be met; `None` where it has none.
    pub dependencies: Option<Dependencies>,
    /// What it asks of each instance; `None` where there is one only.
    pub copies: Option<Copies>,
}

/// What the targets of all components that clients need add up to, in series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sum {
    /// As a probability of being down.
    pub unavailability: f64,
    /// That part of a year.
    #[serde(rename = "down_a_year_us", serialize_with = "micros")]
    pub down_a_year: Duration,
    /// How many targets are in it.
    pub targets: usize,
}

/// What the targets of a plan mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Availability {
    /// What clients are promised by the targets together; `None` where nothing that they need has one.
    pub workload: Option<Sum>,
    /// What clients need and has no target: with it the sum is an upper limit only.
    pub without_target: Vec<String>,
    /// In the order of the plan.
    pub targets: Vec<Target>,
    /// What was taken for granted.
    pub assumptions: &'static str,
}

impl Availability {
    pub(super) fn of(plan: &Plan, verdicts: &Verdicts<'_>, needed: &[ComponentIx]) -> Availability {
        let target = |ix: &ComponentIx| plan.component(*ix).objectives.availability_ppm;
        let stated: Vec<u32> = needed.iter().filter_map(target).collect();
        let unavailability = probability::series(stated.iter().map(|it| down(*it)));
        let sum = Sum { unavailability, down_a_year: of_year(unavailability), targets: stated.len() };
        let budget: f64 = stated.iter().map(|it| down(*it)).sum();
        let targets = super::components(plan).filter_map(|ix| {
            let ppm = target(&ix)?;
            let share = (needed.contains(&ix) && budget > 0.0).then(|| down(ppm) / budget);
            Some(one(plan, verdicts, ix, ppm, share))
        });
        let without = needed.iter().filter(|it| target(it).is_none());
        Availability {
            workload: (!stated.is_empty()).then_some(sum),
            without_target: without.map(|it| plan.component(*it).name.clone()).collect(),
            targets: targets.collect(),
            assumptions: ASSUMPTIONS,
        }
    }
}

fn one(plan: &Plan, verdicts: &Verdicts<'_>, ix: ComponentIx, ppm: u32, share_of_budget: Option<f64>) -> Target {
    let allowed = allowed(ppm);
    let (slowest, until_a_person_acts) = verdicts.slowest(ix);
    let failures = slowest.filter(|(_, worst)| !worst.is_zero()).map(|(failure, worst)| Failures {
        failure,
        worst,
        fit_a_year: u64::try_from(allowed.year.as_nanos() / worst.as_nanos()).unwrap_or(u64::MAX),
    });
    Target {
        component: plan.component(ix).name.clone(),
        availability_ppm: ppm,
        allowed,
        failures,
        until_a_person_acts,
        share_of_budget,
        dependencies: dependencies(plan, ix, ppm),
        copies: copies(plan, ix, ppm),
    }
}

fn dependencies(plan: &Plan, ix: ComponentIx, ppm: u32) -> Option<Dependencies> {
    let all = depends_on(plan, ix);
    let (mut of, mut without_target) = (Vec::new(), Vec::new());
    for it in all.iter().map(|it| plan.component(*it)) {
        match it.objectives.availability_ppm {
            Some(ppm) => of.push((it.name.clone(), ppm)),
            None => without_target.push(it.name.clone()),
        }
    }
    if all.is_empty() {
        return None;
    }
    let below = probability::series(of.iter().map(|(_, ppm)| down(*ppm)));
    // Of what is up below, the component itself may spoil the rest: (1 - below)(1 - own) = 1 - target.
    let left = if below < 1.0 { ((down(ppm) - below) / (1.0 - below)).max(0.0) } else { 0.0 };
    // A billionth of a part per million is below any target's last digit and above what rounding leaves.
    let contradiction = below - down(ppm) > 1e-15;
    Some(Dependencies { of, without_target, unavailability: below, contradiction, left_a_year: of_year(left) })
}

fn copies(plan: &Plan, ix: ComponentIx, ppm: u32) -> Option<Copies> {
    let component = plan.component(ix);
    let mut apart: Vec<&crate::component::Instance> = Vec::new();
    for it in component.instances.iter().map(|it| plan.instance(*it)) {
        let together = |other: &&&crate::component::Instance| {
            let place = |domain| it.location.shares(&other.location, domain);
            place(FailureDomain::Zone)
                || place(FailureDomain::Host)
                || it.shares.iter().any(|part| other.shares.contains(part))
        };
        if apart.iter().find(together).is_none() {
            apart.push(it);
        }
    }
    let of = apart.len();
    let asked = component.routes.iter().filter_map(|it| plan.route(*it).rules.at_least).max().unwrap_or(1);
    let needed = usize::try_from(asked).unwrap_or(usize::MAX).max(1);
    if of < 2 || needed > of {
        return None;
    }
    Some(Copies { needed, of, unavailability_each: probability::each_of(needed, of, down(ppm)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The table *SLA Calculations* in 46.2 of the source that [`super::super::TABLE`] names, worked out by hand.
    #[test]
    fn targets_allow_what_the_usual_table_says() {
        for (ppm, year_ms) in [
            // 99 %: 3.65 days.
            (990_000, 315_360_000),
            // 99.9 %: 8.76 hours.
            (999_000, 31_536_000),
            // 99.95 %: 4.38 hours, 4 h 22 m 48 s.
            (999_500, (4 * 3600 + 22 * 60 + 48) * 1000),
            // 99.99 %: 52.56 minutes.
            (999_900, 3_153_600),
            // 99.999 %: 5.256 minutes.
            (999_990, 315_360),
            (1_000_000, 0),
        ] {
            assert_eq!(allowed(ppm).year, ms(year_ms), "{ppm}");
        }
        // 99.99 %: 4.32 minutes a month, 1.008 minutes a week.
        assert_eq!((allowed(999_900).month, allowed(999_900).week), (ms(259_200), ms(60_480)));
        assert_eq!(allowed(999_999).week, Duration::from_micros(604_800));
    }

    #[test]
    fn a_part_of_a_year_is_exact_where_the_part_is() {
        for ppm in [990_000, 999_000, 999_500, 999_900, 999_990, 999_999] {
            let rounded = of_year(down(ppm)).as_nanos().div_ceil(1000) * 1000;
            let exact = allowed(ppm).year.as_nanos();
            assert!(rounded.abs_diff(exact) <= 1000, "{ppm}: {rounded} is not {exact}");
        }
    }
}
