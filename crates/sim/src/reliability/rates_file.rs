//! The file of rates, as YAML: how often things fail, how long people take. It is a file of its own and no part of the
//! plan: what the agent would do does not change because somebody measured a rate, so neither may the plan's hash.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::distribution::Distribution;

/// What may stand in the file. Everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatesFile {
    /// How often what fails, for every component that says nothing else.
    pub failures: Failures,
    /// The share of a unit's own failures that a zone or region has in common, in percent: in place of `failures.zone` and
    /// `failures.region`.
    pub common_cause: CommonCause,
    /// How many things can be repaired at a time; left out, each is repaired at once.
    pub crews: Option<usize>,
    /// In percent: a standby that is asked to take over does.
    pub starts: Option<f64>,
    /// In percent: a restart helps.
    pub restarts: Option<f64>,
    /// In percent: a restore, a replacement or a scale-out works.
    pub restores: Option<f64>,
    /// In percent: a failure is seen by the probes.
    pub detected: Option<f64>,
    /// How far standbys lag behind.
    pub replication_lag: Option<Time>,
    /// How long the parts of a recovery take, below their bounds.
    pub phases: Phases,
    /// How long people take.
    pub people: People,
    /// Where the traffic process is one that everything depends on (`single`, the default), or several (`several`).
    pub traffic: Option<Traffic>,
    /// What differs for one component, by its name.
    pub components: BTreeMap<String, OfComponent>,
    /// Prices, for `--compare`.
    pub prices: Option<Prices>,
    /// Other numbers for the strategies of `--compare`, by their names.
    pub strategies: BTreeMap<String, Strategy>,
}

/// How often what fails.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Failures {
    /// One process or virtual machine.
    pub instance: Option<Rate>,
    /// A machine.
    pub host: Option<Rate>,
    /// A zone.
    pub zone: Option<Rate>,
    /// A region.
    pub region: Option<Rate>,
    /// Something that instances share beside their location: a power feed, a storage array.
    pub shared_part: Option<Rate>,
}

/// How often something fails, and how long its repair takes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Mean time to failure, which is exponential then; or a distribution.
    pub mttf: Option<Time>,
    /// How long its repair takes.
    pub repair: Option<Time>,
}

/// Beta factors, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommonCause {
    /// Of a zone.
    pub zone: Option<f64>,
    /// Of a region.
    pub region: Option<f64>,
}

/// What differs for one component.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OfComponent {
    /// Its instances.
    pub instance: Option<Rate>,
    /// In percent.
    pub starts: Option<f64>,
    /// In percent.
    pub restarts: Option<f64>,
    /// In percent.
    pub restores: Option<f64>,
    /// In percent.
    pub detected: Option<f64>,
    /// How far its standbys lag behind.
    pub replication_lag: Option<Time>,
    /// How long the parts of its recovery take.
    pub phases: Phases,
}

/// How long the parts of a recovery take. No draw is longer than the bound of the proof.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phases {
    /// All that are not named.
    pub all: Option<PhaseTime>,
    /// From the failure to the verdict.
    pub detect: Option<PhaseTime>,
    /// To the first step.
    pub decide: Option<PhaseTime>,
    /// For a turn in an evacuation.
    pub turn: Option<PhaseTime>,
    /// For rungs that are tried before.
    pub earlier_rungs: Option<PhaseTime>,
    /// Until the old one can't act.
    pub fence: Option<PhaseTime>,
    /// Until the new one serves.
    pub act: Option<PhaseTime>,
    /// Until clients see it.
    pub converge: Option<PhaseTime>,
}

/// How long people take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct People {
    /// To notice a failure that no probe sees.
    pub notice: Option<Time>,
    /// To approve.
    pub approve: Option<Time>,
    /// To recover by hand what nothing recovers, where an instance is left; left out, it waits for the repair.
    pub recover: Option<Time>,
}

/// Whether the traffic process is in everybody's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// One, beside the agent: with that host every proxied route is gone.
    Single,
    /// Several hosts serve the same routes.
    Several,
}

/// What things cost. All of one currency.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Its name.
    pub currency: String,
    /// One instance that runs, for a month.
    pub instance_month: f64,
    /// Data and backups of one instance, stopped, for a month.
    #[serde(default)]
    pub storage_month: f64,
    /// An hour in which the workload is down.
    #[serde(default)]
    pub down_hour: f64,
}

/// A strategy of `--compare`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Strategy {
    /// How long it takes once it is decided.
    pub recovery: Option<Time>,
    /// What is lost.
    pub loss: Option<Time>,
    /// In percent.
    pub works: Option<f64>,
    /// How many instances it keeps running elsewhere, of those that run at home.
    pub running: Option<f64>,
}

/// A time: `4h`, or a distribution.
#[derive(Clone, Debug, PartialEq)]
pub enum Time {
    /// One duration, in seconds. What it means is its field's affair.
    Plain(f64),
    /// How it is distributed.
    Of(Distribution),
}

/// The time of a part of a recovery.
#[derive(Clone, Debug, PartialEq)]
pub enum PhaseTime {
    /// `bound`: always as long as the proof allows.
    Bound,
    /// `uniform`: anything between nothing and the bound.
    Uniform,
    /// This, but never more than the bound.
    Of(Distribution),
}

impl Time {
    /// With a plain duration as what is always taken.
    pub fn fixed(&self) -> Distribution {
        match self {
            Time::Plain(it) => Distribution::Fixed(*it),
            Time::Of(it) => it.clone(),
        }
    }

    /// With a plain duration as the mean of an exponential distribution.
    pub fn exponential(&self) -> Distribution {
        match self {
            Time::Plain(it) => Distribution::Exponential { mean: *it },
            Time::Of(it) => it.clone(),
        }
    }
}

/// Reads the file; an error says where and why.
///
/// # Errors
///
/// When it is no YAML, or something in it is not known or out of its range.
pub fn read(text: &str) -> Result<RatesFile, String> {
    if text.lines().all(|it| it.trim().is_empty() || it.trim_start().starts_with('#')) {
        return Ok(RatesFile::default());
    }
    let file: RatesFile = serde_saphyr::from_str(text).map_err(|it| it.to_string())?;
    check(&file)?;
    Ok(file)
}

fn check(file: &RatesFile) -> Result<(), String> {
    let of = |at: &str, it: [(&str, Option<f64>); 4]| it.map(|(name, value)| (format!("{at}{name}"), value));
    let own = [
        ("starts", file.starts),
        ("restarts", file.restarts),
        ("restores", file.restores),
        ("detected", file.detected),
    ];
    let mut percents = of("", own).to_vec();
    for (name, it) in &file.components {
        let own =
            [("starts", it.starts), ("restarts", it.restarts), ("restores", it.restores), ("detected", it.detected)];
        percents.extend(of(&format!("components.{name}."), own));
    }
    for (name, it) in &file.strategies {
        percents.push((format!("strategies.{name}.works"), it.works));
    }
    for (name, value) in percents {
        if value.is_some_and(|it| !(0.0..=100.0).contains(&it)) {
            return Err(format!("`{name}` is a percentage from 0 to 100"));
        }
    }
    for (name, value) in [("zone", file.common_cause.zone), ("region", file.common_cause.region)] {
        if value.is_some_and(|it| !(0.0..100.0).contains(&it)) {
            return Err(format!("`common_cause.{name}` is a percentage from 0 to less than 100"));
        }
    }
    let both = (file.common_cause.zone.is_some() && file.failures.zone.as_ref().is_some_and(|it| it.mttf.is_some()))
        || (file.common_cause.region.is_some() && file.failures.region.as_ref().is_some_and(|it| it.mttf.is_some()));
    if both {
        return Err("`common_cause` and a `mttf` of the same zone or region say the same thing twice: keep one".into());
    }
    if file.crews == Some(0) {
        return Err("`crews: 0` repairs nothing; leave it out, and each is repaired at once".into());
    }
    Ok(())
}

/// `90d`, `4h30m`, and `10y` for ten times 365 days.
fn seconds(text: &str) -> Result<f64, String> {
    let wrong = |why: String| format!("`{text}` is no duration, because {why}: write `90d`, `4h`, `1m30s` or `10y`");
    let (years, rest) = match text.trim().split_once('y') {
        Some((years, rest)) => (years.parse::<u32>().map_err(|it| wrong(it.to_string()))?, rest),
        None => (0, text),
    };
    let rest = if years > 0 && rest.trim().is_empty() {
        0.0
    } else {
        mainstay_plan::config::duration(rest).map_err(wrong)?.as_secs_f64()
    };
    Ok(f64::from(years) * super::YEAR_S + rest)
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Shape {
    Fixed(String),
    Exponential(String),
    Lognormal(MedianAndP95),
    Weibull(ShapeAndScale),
    Uniform(FromAndTo),
    Empirical(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MedianAndP95 {
    median: String,
    p95: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapeAndScale {
    shape: f64,
    scale: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromAndTo {
    from: String,
    to: String,
}

impl Shape {
    fn distribution(self) -> Result<Distribution, String> {
        let positive = |text: &str| match seconds(text)? {
            it if it > 0.0 => Ok(it),
            _ => Err(format!("`{text}` has to be more than nothing here")),
        };
        Ok(match self {
            Shape::Fixed(it) => Distribution::Fixed(seconds(&it)?),
            Shape::Exponential(mean) => Distribution::Exponential { mean: positive(&mean)? },
            Shape::Lognormal(MedianAndP95 { median, p95 }) => {
                let (median, p95) = (positive(&median)?, positive(&p95)?);
                if p95 < median {
                    return Err("`p95` is what 95 of 100 are shorter than, and can't be less than `median`".into());
                }
                Distribution::lognormal(median, p95)
            }
            Shape::Weibull(ShapeAndScale { shape, scale }) => {
                if !(0.1..=20.0).contains(&shape) {
                    return Err(format!("`shape: {shape}` is not from 0.1 to 20"));
                }
                Distribution::Weibull { shape, scale: positive(&scale)? }
            }
            Shape::Uniform(FromAndTo { from, to }) => {
                let (from, to) = (seconds(&from)?, seconds(&to)?);
                if to < from {
                    return Err("`to` can't be less than `from`".into());
                }
                Distribution::Uniform { from, to }
            }
            Shape::Empirical(all) => {
                let measured = all.iter().map(|it| seconds(it)).collect::<Result<Vec<f64>, String>>()?;
                if measured.is_empty() {
                    return Err("`empirical` needs at least one measured duration".into());
                }
                Distribution::empirical(measured)
            }
        })
    }
}

/// Reads text or a mapping with one key.
struct Reader<T> {
    plain: fn(&str) -> Result<T, String>,
    shape: fn(Distribution) -> T,
    expects: &'static str,
}

impl<'de, T> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expects)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.plain)(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let shape = Shape::deserialize(MapAccessDeserializer::new(map))?;
        shape.distribution().map(self.shape).map_err(A::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        deserializer.deserialize_any(Reader {
            plain: |text| seconds(text).map(Time::Plain),
            shape: Time::Of,
            expects: "a duration such as `4h`, or a distribution such as `{ lognormal: { median: 4h, p95: 1d } }`",
        })
    }
}

impl<'de> Deserialize<'de> for PhaseTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PhaseTime, D::Error> {
        deserializer.deserialize_any(Reader {
            plain: |text| match text {
                "bound" => Ok(PhaseTime::Bound),
                "uniform" => Ok(PhaseTime::Uniform),
                other => seconds(other).map(|it| PhaseTime::Of(Distribution::Fixed(it))),
            },
            shape: PhaseTime::Of,
            expects: "`bound`, `uniform`, a duration, or a distribution",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "
failures:
  instance: { mttf: 90d, repair: { lognormal: { median: 1h, p95: 8h } } }
  host: { mttf: { weibull: { shape: 1.3, scale: 3y } }, repair: 4h }
  zone: { repair: { empirical: [2h, 40m, 9h] } }
common_cause: { zone: 5, region: 0.5 }
crews: 2
starts: 99.5
phases: { all: uniform, act: { uniform: { from: 1s, to: 3s } }, converge: bound }
people: { approve: { exponential: 5m } }
components:
  orders-db: { detected: 99, replication_lag: { exponential: 200ms } }
";

    #[test]
    fn everything_can_be_said() {
        let file = read(ALL).expect("it is right");
        let instance = file.failures.instance.expect("given");
        assert_eq!(instance.mttf.expect("given").exponential(), Distribution::Exponential { mean: 90.0 * 86_400.0 });
        let host = file.failures.host.expect("given");
        assert_eq!(host.mttf, Some(Time::Of(Distribution::Weibull { shape: 1.3, scale: 3.0 * 365.0 * 86_400.0 })));
        assert_eq!(host.repair.expect("given").fixed(), Distribution::Fixed(4.0 * 3600.0));
        let zone = file.failures.zone.expect("given");
        assert_eq!(zone.repair, Some(Time::Of(Distribution::Empirical(vec![2400.0, 7200.0, 32400.0]))));
        assert_eq!((file.common_cause.zone, file.crews, file.starts), (Some(5.0), Some(2), Some(99.5)));
        assert_eq!((file.phases.all, file.phases.converge), (Some(PhaseTime::Uniform), Some(PhaseTime::Bound)));
        assert_eq!(file.components["orders-db"].detected, Some(99.0));
        assert_eq!(read("# nothing\n"), Ok(RatesFile::default()));
    }

    /// What the book shows can be read as it stands.
    #[test]
    fn the_examples_of_the_book_are_right() {
        let book = include_str!("../../../../docs/simulate.md");
        let blocks: Vec<&str> = book.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next()).collect();
        assert_eq!(blocks.len(), 2);
        for block in blocks {
            assert!(read(block).is_ok_and(|it| it != RatesFile::default()), "{:?}", read(block));
        }
    }

    #[test]
    fn mistakes_are_told_with_their_reasons() {
        for (text, why) in [
            ("failures: { instance: { mtfb: 90d } }", "mtfb"),
            ("failures: { instance: { mttf: 90 } }", "expected a duration"),
            ("failures: { instance: { mttf: 90x } }", "no unit of time"),
            ("failures: { instance: { repair: { normal: 3h } } }", "normal"),
            ("failures: { instance: { repair: { lognormal: { median: 4h, p95: 1h } } } }", "p95"),
            ("failures: { instance: { repair: { empirical: [] } } }", "at least one"),
            ("failures: { instance: { repair: { exponential: 0s } } }", "more than nothing"),
            ("starts: 101", "0 to 100"),
            ("components: { db: { starts: -1 } }", "components.db.starts"),
            ("crews: 0", "leave it out"),
            ("common_cause: { zone: 5 }\nfailures: { zone: { mttf: 3y } }", "twice"),
            ("phases: { act: worst }", "worst"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
