//! What a component's downtime comes to without trials: each failure by itself, times how often it comes.
//!
//! Exact as long as no failure meets another one that is still going on; where things fail in months and are back in hours
//! that is nearly always so. It stands beside the trials as a check of both.

use super::YEAR_S;
use super::model::{Loss, Member, Model, Part, Timed, Way};
use super::rates::Kind;
use super::rates_file::PhaseTime;

/// A cool-down matters where failures come as close as it is long.
const LONG_S: f64 = 6.0 * 3600.0;

/// Steps of a numeric mean.
const STEPS: u32 = 4000;

/// Expected seconds a year in which a member is down itself. `None` where it may wait for others that fail with it, where a
/// guard looks at what came before, or where repair crews are few: then one failure by itself says too little.
pub fn down_a_year(model: &Model, member: usize) -> Option<f64> {
    let it = &model.members[member];
    if model.rates.crews.is_some() || model.rates.recover.is_some() || it.cool_down > LONG_S {
        return None;
    }
    let home = it.units[0];
    let lives_on = |member: usize| &model.units[model.members[member].units[0]].sources;
    if it.waits_for.iter().any(|other| lives_on(*other).iter().any(|it| lives_on(member).contains(it))) {
        return None;
    }
    let each = model.units[home].sources.iter().map(|at| {
        let source = &model.sources[*at];
        let outage = outage(model, it, source.kind, source.repair.mean());
        // A source that is repaired begins anew; what is mended with the recovery does so sooner.
        YEAR_S / (source.fails.mean() + outage.min(source.repair.mean())) * outage
    });
    Some(each.sum())
}

/// The mean length of one outage from what fails so.
fn outage(model: &Model, it: &Member, kind: Kind, repair: f64) -> f64 {
    let ways = &it.ways[kind.domain() as usize];
    let Some(first) = ways.first() else {
        return repair;
    };
    let before = |part: &Part| matches!(part, Part::Detect | Part::Decide);
    let mut common: f64 = first.times.iter().filter(|(part, _)| before(part)).map(|(_, it)| mean(it)).sum();
    common += (1.0 - it.odds.detected) * model.rates.notice.mean();
    common += if it.approval { model.rates.approve.mean() } else { 0.0 };
    let (mut left, mut tried, mut sum) = (1.0, 0.0, 0.0);
    for way in ways {
        let works = way.works * chance_of_position(way);
        let after: f64 = way.times.iter().filter(|(part, _)| !before(part)).map(|(_, it)| mean(it)).sum();
        sum += left * works * (common + tried + after);
        // A standby that is too far behind is passed over at once; one that does not start costs its time.
        tried += way.failing * chance_of_position(way) * (1.0 - way.works) / (1.0 - works).max(f64::MIN_POSITIVE);
        left *= 1.0 - works;
    }
    sum + left * repair.max(common + tried)
}

/// The probability that a standby is near enough to take over.
fn chance_of_position(way: &Way) -> f64 {
    match &way.loss {
        Loss::Lag(lag, Some(most)) => {
            let within = (0..STEPS).filter(|at| lag.quantile((f64::from(*at) + 0.5) / f64::from(STEPS)) <= *most);
            within.count() as f64 / f64::from(STEPS)
        }
        Loss::Lag(_, None) | Loss::NoState | Loss::Nothing | Loss::Copy(_) | Loss::Unknown => 1.0,
    }
}

fn mean(timed: &Timed) -> f64 {
    match &timed.law {
        PhaseTime::Bound => timed.bound,
        PhaseTime::Uniform => timed.bound / 2.0,
        PhaseTime::Of(it) => {
            let each = (0..STEPS).map(|at| it.quantile((f64::from(at) + 0.5) / f64::from(STEPS)).min(timed.bound));
            each.sum::<f64>() / f64::from(STEPS)
        }
    }
}
