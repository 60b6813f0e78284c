//! Rates and times as they are used: what the file says, and for the rest defaults that are named wherever a report is made
//! with them.
//!
//! The defaults are ours: round numbers of the usual order of magnitude, and not measurements of anything. Nobody publishes
//! how often your zone fails. A report says of each number whether it was given or assumed.

use mainstay_plan::location::FailureDomain;
use serde::Serialize;

use super::YEAR_S;
use super::distribution::Distribution;
use super::rates_file::{OfComponent, PhaseTime, Phases, Rate, RatesFile, Time, Traffic};
use super::span;

const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 86_400.0;

/// One number that a report rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assumption {
    /// What it is about.
    pub what: String,
    /// The value, for people.
    pub value: String,
    /// Whether the file of rates or a journal says so; otherwise it is our default.
    pub given: bool,
}

/// How often something fails, and how long it stays so.
#[derive(Clone, Debug, PartialEq)]
pub struct FailsAndRepairs {
    /// From one repair to the next failure.
    pub fails: Distribution,
    /// From the beginning of its repair to the end.
    pub repair: Distribution,
}

/// Probabilities of one component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odds {
    /// A standby that is asked to take over does.
    pub starts: f64,
    /// A restart helps.
    pub restarts: f64,
    /// A restore, a replacement or a scale-out works.
    pub restores: f64,
    /// A failure is seen by the probes.
    pub detected: f64,
}

/// All rates, with what was said of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    file: RatesFile,
    /// How many things are repaired at a time; `None`: all of them.
    pub crews: Option<usize>,
    /// To notice what no probe sees.
    pub notice: Distribution,
    /// To approve.
    pub approve: Distribution,
    /// To recover by hand what nothing recovers.
    pub recover: Option<Distribution>,
    /// Whether one traffic process is in everybody's way.
    pub traffic: Traffic,
    assumptions: Vec<Assumption>,
}

impl Rates {
    /// What the file says, and defaults for the rest.
    pub fn of(file: RatesFile) -> Rates {
        let mut said = Said(Vec::new());
        for (what, domain) in KINDS {
            let rate = stated(&file, domain);
            let default = default_of(domain);
            let beta = beta(&file, domain);
            if let Some(beta) = beta {
                let share = format!("{} % of what one unit has (common cause)", beta * 100.0);
                said.say(format!("{what} fails"), share, true);
            } else {
                let given = rate.and_then(|it| it.mttf.as_ref()).map(Time::exponential);
                said.of(format!("{what} fails"), given, default.fails);
            }
            let given = rate.and_then(|it| it.repair.as_ref()).map(Time::fixed);
            said.of(format!("{what}'s repair takes"), given, default.repair);
        }
        for (what, given, default) in [
            ("a standby starts when it is asked to", file.starts, STARTS),
            ("a restart helps", file.restarts, RESTARTS),
            ("a restore or replacement works", file.restores, RESTORES),
            ("a failure is seen by the probes", file.detected, DETECTED),
        ] {
            said.say(what.to_owned(), format!("{} %", given.unwrap_or(default)), given.is_some());
        }
        let crews = file.crews.map_or("of everything at once".to_owned(), |it| format!("by {it} at a time"));
        said.say("repairs are made".to_owned(), crews, file.crews.is_some());
        let notice = file.people.notice.as_ref().map(Time::fixed);
        let notice = said.of("people notice what no probe sees after".to_owned(), notice, NOTICE());
        let approve = file.people.approve.as_ref().map(Time::fixed);
        let approve = said.of("people approve after".to_owned(), approve, APPROVE());
        let recover = file.people.recover.as_ref().map(Time::fixed);
        match &recover {
            Some(it) => said.say("people recover by hand after".to_owned(), show(it), true),
            None => said.say("what nothing recovers".to_owned(), "waits for the repair".to_owned(), false),
        }
        let lag = file.replication_lag.as_ref().map(|it| show(&it.fixed()));
        let assumed = "anything up to what the proof lets it be".to_owned();
        said.say("standbys lag behind".to_owned(), lag.clone().unwrap_or(assumed), lag.is_some());
        let phases = file.phases.all.is_some();
        let all = match &file.phases.all {
            None | Some(PhaseTime::Uniform) => "anything between nothing and its bound, each as likely".to_owned(),
            Some(PhaseTime::Bound) => "as long as its bound".to_owned(),
            Some(PhaseTime::Of(it)) => format!("{}, at most its bound", show(it)),
        };
        said.say("a part of a recovery takes".to_owned(), all, phases);
        for (name, it) in named(&file.phases) {
            if let Some(it) = it {
                said.say(format!("  {name}"), show_phase(it), true);
            }
        }
        let traffic = file.traffic.unwrap_or(Traffic::Single);
        let path = match traffic {
            Traffic::Single => "run on the agent's host alone: with it they are gone",
            Traffic::Several => "run on several hosts: none of them is missed",
        };
        said.say("proxies".to_owned(), path.to_owned(), file.traffic.is_some());
        for name in file.components.keys() {
            said.say(format!("component {name}"), "has rates of its own".to_owned(), true);
        }
        Rates { crews: file.crews, notice, approve, recover, traffic, assumptions: said.0, file }
    }

    /// Every number, and whether it was given.
    pub fn assumptions(&self) -> &[Assumption] {
        &self.assumptions
    }

    /// Something that a journal measured.
    pub(super) fn measured(&mut self, what: String, value: String) {
        self.assumptions.push(Assumption { what, value, given: true });
    }

    /// The file that they came from.
    pub fn file(&self) -> &RatesFile {
        &self.file
    }

    fn component(&self, name: &str) -> Option<&OfComponent> {
        self.file.components.get(name)
    }

    /// An instance of that component.
    pub fn instance(&self, component: &str) -> FailsAndRepairs {
        let own = self.component(component).and_then(|it| it.instance.as_ref());
        let all = self.file.failures.instance.as_ref();
        let default = default_of(Kind::Instance);
        let mttf = own.and_then(|it| it.mttf.as_ref()).or(all.and_then(|it| it.mttf.as_ref()));
        let repair = own.and_then(|it| it.repair.as_ref()).or(all.and_then(|it| it.repair.as_ref()));
        FailsAndRepairs {
            fails: mttf.map_or(default.fails, Time::exponential),
            repair: repair.map_or(default.repair, Time::fixed),
        }
    }

    /// A host, a zone, a region, or a part that is shared. With a beta factor, a zone or region fails as often as that share
    /// of the failures of one unit (an instance on its host) asks for.
    pub fn of_kind(&self, kind: Kind) -> FailsAndRepairs {
        let rate = stated(&self.file, kind);
        let default = default_of(kind);
        let fails = match beta(&self.file, kind) {
            Some(beta) => {
                let rate = |kind| 1.0 / self.of_kind(kind).fails.mean();
                let own = rate(Kind::Instance) + rate(Kind::Host);
                Distribution::Exponential { mean: (1.0 - beta) / (beta * own) }
            }
            None => rate.and_then(|it| it.mttf.as_ref()).map_or(default.fails, Time::exponential),
        };
        let repair = rate.and_then(|it| it.repair.as_ref()).map_or(default.repair, Time::fixed);
        FailsAndRepairs { fails, repair }
    }

    /// The probabilities of a component.
    pub fn odds(&self, component: &str) -> Odds {
        let own = self.component(component);
        let pick = |own: Option<f64>, all: Option<f64>, default: f64| own.or(all).unwrap_or(default) / 100.0;
        Odds {
            starts: pick(own.and_then(|it| it.starts), self.file.starts, STARTS),
            restarts: pick(own.and_then(|it| it.restarts), self.file.restarts, RESTARTS),
            restores: pick(own.and_then(|it| it.restores), self.file.restores, RESTORES),
            detected: pick(own.and_then(|it| it.detected), self.file.detected, DETECTED),
        }
    }

    /// How far the standbys of a component lag behind, where somebody said so.
    pub fn lag(&self, component: &str) -> Option<Distribution> {
        let own = self.component(component).and_then(|it| it.replication_lag.as_ref());
        own.or(self.file.replication_lag.as_ref()).map(Time::fixed)
    }

    /// How long a part of a recovery takes, by its name in the proof.
    pub fn phase(&self, component: &str, name: &str) -> PhaseTime {
        let pick = |phases: &Phases| {
            let it = named(phases).into_iter().find(|(it, _)| *it == name).and_then(|it| it.1);
            it.or(phases.all.as_ref()).cloned()
        };
        self.component(component)
            .and_then(|it| pick(&it.phases))
            .or_else(|| pick(&self.file.phases))
            .unwrap_or(PhaseTime::Uniform)
    }
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One process or virtual machine.
    Instance,
    /// A machine.
    Host,
    /// A part that instances share.
    SharedPart,
    /// A zone.
    Zone,
    /// A region.
    Region,
}

const KINDS: [(&str, Kind); 5] = [
    ("an instance", Kind::Instance),
    ("a host", Kind::Host),
    ("a shared part", Kind::SharedPart),
    ("a zone", Kind::Zone),
    ("a region", Kind::Region),
];

impl Kind {
    /// Which failure of the proof it is.
    pub const fn domain(self) -> FailureDomain {
        match self {
            Kind::Instance => FailureDomain::Instance,
            // From `host` up, what shares a part with the instance is gone too.
            Kind::Host | Kind::SharedPart => FailureDomain::Host,
            Kind::Zone => FailureDomain::Zone,
            Kind::Region => FailureDomain::Region,
        }
    }
}

const STARTS: f64 = 99.0;
const RESTARTS: f64 = 90.0;
const RESTORES: f64 = 95.0;
const DETECTED: f64 = 99.9;

#[expect(non_snake_case, reason = "a constant that needs a logarithm")]
fn NOTICE() -> Distribution {
    Distribution::lognormal(15.0 * MINUTE_S, 2.0 * HOUR_S)
}

#[expect(non_snake_case, reason = "a constant that needs a logarithm")]
fn APPROVE() -> Distribution {
    Distribution::lognormal(5.0 * MINUTE_S, 30.0 * MINUTE_S)
}

fn default_of(kind: Kind) -> FailsAndRepairs {
    let (mean, median, p95) = match kind {
        Kind::Instance => (90.0 * DAY_S, HOUR_S, 8.0 * HOUR_S),
        Kind::Host => (3.0 * YEAR_S, 4.0 * HOUR_S, DAY_S),
        Kind::SharedPart => (5.0 * YEAR_S, 4.0 * HOUR_S, DAY_S),
        Kind::Zone => (5.0 * YEAR_S, 2.0 * HOUR_S, 8.0 * HOUR_S),
        Kind::Region => (10.0 * YEAR_S, 3.0 * HOUR_S, 12.0 * HOUR_S),
    };
    FailsAndRepairs { fails: Distribution::Exponential { mean }, repair: Distribution::lognormal(median, p95) }
}

fn stated(file: &RatesFile, kind: Kind) -> Option<&Rate> {
    let all = &file.failures;
    match kind {
        Kind::Instance => all.instance.as_ref(),
        Kind::Host => all.host.as_ref(),
        Kind::SharedPart => all.shared_part.as_ref(),
        Kind::Zone => all.zone.as_ref(),
        Kind::Region => all.region.as_ref(),
    }
}

fn beta(file: &RatesFile, kind: Kind) -> Option<f64> {
    let percent = match kind {
        Kind::Instance | Kind::Host | Kind::SharedPart => None,
        Kind::Zone => file.common_cause.zone,
        Kind::Region => file.common_cause.region,
    };
    percent.filter(|it| *it > 0.0).map(|it| it / 100.0)
}

fn named(phases: &Phases) -> [(&'static str, Option<&PhaseTime>); 7] {
    [
        ("detect", phases.detect.as_ref()),
        ("decide", phases.decide.as_ref()),
        ("turn", phases.turn.as_ref()),
        ("earlier rungs", phases.earlier_rungs.as_ref()),
        ("fence", phases.fence.as_ref()),
        ("act", phases.act.as_ref()),
        ("converge", phases.converge.as_ref()),
    ]
}

struct Said(Vec<Assumption>);

impl Said {
    fn say(&mut self, what: String, value: String, given: bool) {
        self.0.push(Assumption { what, value, given });
    }

    fn of(&mut self, what: String, given: Option<Distribution>, default: Distribution) -> Distribution {
        let is_given = given.is_some();
        let it = given.unwrap_or(default);
        let often = what.ends_with("fails");
        let value = if often { format!("after {}", show(&it)) } else { show(&it) };
        self.say(what, value, is_given);
        it
    }
}

fn show_phase(it: &PhaseTime) -> String {
    match it {
        PhaseTime::Bound => "as long as its bound".to_owned(),
        PhaseTime::Uniform => "anything between nothing and its bound, each as likely".to_owned(),
        PhaseTime::Of(it) => format!("{}, at most its bound", show(it)),
    }
}

/// A distribution, for people.
pub fn show(it: &Distribution) -> String {
    match it {
        Distribution::Fixed(it) => span(*it),
        Distribution::Exponential { mean } => format!("{} on average (exponential)", span(*mean)),
        Distribution::Lognormal { median, .. } => {
            format!("{} in half of all cases, {} in 95 % (lognormal)", span(*median), span(it.quantile(0.95)))
        }
        Distribution::Weibull { shape, .. } => format!("{} on average (Weibull, shape {shape})", span(it.mean())),
        Distribution::Uniform { from, to } => format!("{} to {} (uniform)", span(*from), span(*to)),
        Distribution::Empirical(all) => {
            format!("one of {} measured, {} to {}", all.len(), span(it.quantile(1e-9)), span(it.quantile(1.0 - 1e-9)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rates_file::read;
    use super::*;

    fn rates(text: &str) -> Rates {
        Rates::of(read(text).expect("it is right"))
    }

    #[test]
    fn defaults_are_named_and_what_is_given_is_told_apart() {
        let none = rates("");
        assert!(none.assumptions().iter().all(|it| !it.given) && none.assumptions().len() > 15);
        let some = rates("failures: { zone: { mttf: 3y } }\nstarts: 97");
        let given: Vec<&str> = some.assumptions().iter().filter(|it| it.given).map(|it| it.what.as_str()).collect();
        assert_eq!(given, ["a zone fails", "a standby starts when it is asked to"]);
        assert!((some.odds("any").starts - 0.97).abs() < 1e-12);
    }

    #[test]
    fn a_component_may_differ() {
        let it =
            rates("detected: 90\ncomponents: { db: { detected: 99, instance: { mttf: 10d }, phases: { act: 1s } } }");
        assert!((it.odds("db").detected - 0.99).abs() < 1e-12 && (it.odds("app").detected - 0.9).abs() < 1e-12);
        assert!((it.instance("db").fails.mean() - 10.0 * DAY_S).abs() < 1e-6);
        assert!((it.instance("app").fails.mean() - 90.0 * DAY_S).abs() < 1e-6);
        assert_eq!(it.phase("db", "act"), PhaseTime::Of(Distribution::Fixed(1.0)));
        assert_eq!((it.phase("db", "detect"), it.phase("app", "act")), (PhaseTime::Uniform, PhaseTime::Uniform));
    }

    /// With a beta of 5 % one in twenty failures that a unit suffers is its zone's.
    #[test]
    fn a_beta_factor_is_a_share_of_all_failures() {
        let it = rates("common_cause: { zone: 5 }");
        let rate = |kind| 1.0 / it.of_kind(kind).fails.mean();
        let own = rate(Kind::Instance) + rate(Kind::Host);
        assert!((rate(Kind::Zone) / (rate(Kind::Zone) + own) - 0.05).abs() < 1e-12);
    }
}
