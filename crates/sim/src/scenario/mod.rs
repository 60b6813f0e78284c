//! One failure on a user's own plan, played through the real engine and told in the plan's names.
//!
//! - a [`Scenario`] is what is asked: `zone-loss:us-east-1a`, or with a condition of the proof `zone-loss:us-east-1a+dns_gone`;
//! - a [`Loss`] is what that takes, laid over a plan and done to a world. The test of the proof uses the same;
//! - [`Luck`] is what the plan leaves open; every scenario is played in all ways that are worth it;
//! - a [`Told`] is what came of it, as data; text is made of it.
//!
//! The engine decides as it does in the agent. Servers, network, disk and clients are models, and what they can't play is
//! said in each answer.

mod loss;
mod luck;
mod moments;
mod played;
mod text;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::proof::Condition;
use mainstay_plan::{InstanceIx, Plan, Proof};
use serde::Serialize;
use thiserror::Error;

pub use loss::Loss;
pub use luck::{KILLS, Luck, PHASES};
pub(crate) use moments::clock;
pub use moments::{Moment, Stage};
pub use played::recovered;
pub use told::{Affected, Away, Bounded, Held, LostInstance, OfComponent, OfRoute, Options, Part, Told};

/// Names that a message lists at most.
const LISTED: usize = 24;

/// A failure, a place, and what else is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What sort of thing is lost.
    pub failure: FailureDomain,
    /// Which.
    pub place: Place,
    /// What else is missing.
    pub condition: Condition,
}

/// Something of a plan that can be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As one says it: short where that is enough, else with zone or region before it.
    pub name: String,
    path: String,
    at: Location,
    named: BTreeSet<InstanceIx>,
}

/// Why a scenario can't be played.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsayable {
    /// It does not begin as one does.
    #[error("`{0}` is no scenario: one is {FORMS}")]
    NoFailure(String),
    /// The plan has no such place.
    #[error("the plan has no {failure} `{name}`{known}")]
    NoPlace {
        /// What sort.
        failure: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// More than one place is called so.
    #[error("`{name}` may be {}: say which", .which.join(" or "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// All of those, in full.
        which: Vec<String>,
    },
    /// There is no such condition.
    #[error("`{word}` is no condition of the proof: there are {}", conditions().join(", "))]
    NoCondition {
        /// What was asked for.
        word: String,
    },
}

const FORMS: &str =
    "`instance-loss:NAME`, `host-loss:NAME`, `zone-loss:NAME` or `region-loss:NAME`, and may end with `+CONDITION`";

impl Scenario {
    /// Reads `zone-loss:us-east-1a` or `zone-loss:us-east-1a+dns_gone`. A hyphen is as good as an underscore.
    ///
    /// # Errors
    ///
    /// When that is no scenario of this plan; the message lists what could be said in that place.
    pub fn parse(text: &str, plan: &Plan) -> Result<Scenario, Unsayable> {
        let (loss, rest) = text.split_once(':').ok_or_else(|| Unsayable::NoFailure(text.to_owned()))?;
        let fits = |it: &FailureDomain| loss == format!("{}-loss", it.word()) || loss == format!("{}_loss", it.word());
        let failure = FailureDomain::ALL.into_iter().find(fits);
        let failure = failure.ok_or_else(|| Unsayable::NoFailure(text.to_owned()))?;
        // A name may have a plus in it.
        let (name, condition) = match rest.rsplit_once('+') {
            Some((name, word)) if place(plan, failure, rest).is_err() => (name, condition(word)?),
            Some(_) | None => (rest, Condition::None),
        };
        Ok(Scenario { failure, place: place(plan, failure, name)?, condition })
    }

    /// As one says it.
    pub fn name(&self) -> String {
        let more = self.condition != Condition::None;
        let condition = if more { format!("+{}", self.condition.word()) } else { String::new() };
        format!("{}-loss:{}{condition}", self.failure.word(), self.place.name)
    }

    /// What it takes.
    pub fn loss<'a>(&self, plan: &'a Plan) -> Loss<'a> {
        Loss::of(plan, self.failure, self.place.at.clone(), self.place.named.clone(), self.condition)
    }
}

fn condition(word: &str) -> Result<Condition, Unsayable> {
    let plain = word.replace('-', "_");
    Condition::ALL
        .into_iter()
        .find(|it| it.word() == plain)
        .ok_or_else(|| Unsayable::NoCondition { word: word.to_owned() })
}

fn conditions() -> Vec<&'static str> {
    Condition::ALL.into_iter().filter(|it| *it != Condition::None).map(Condition::word).collect()
}

fn place(plan: &Plan, failure: FailureDomain, name: &str) -> Result<Place, Unsayable> {
    let all = places(plan, failure);
    if let Some(it) = all.iter().find(|it| it.name == name || it.path == name) {
        return Ok(it.clone());
    }
    let last = |it: &&Place| it.path.rsplit('/').next() == Some(name);
    let which: Vec<String> = all.iter().filter(last).map(|it| it.path.clone()).collect();
    if which.len() > 1 {
        return Err(Unsayable::Ambiguous { name: name.to_owned(), which });
    }
    let mut known: Vec<&str> = all.iter().take(LISTED).map(|it| it.name.as_str()).collect();
    let more = format!("{} more", all.len().saturating_sub(LISTED));
    if all.len() > LISTED {
        known.push(&more);
    }
    let known =
        if known.is_empty() { ": it names none".to_owned() } else { format!(": there are {}", known.join(", ")) };
    Err(Unsayable::NoPlace { failure: failure.word(), name: name.to_owned(), known })
}

/// All places of a plan that can be lost, of one sort.
pub fn places(plan: &Plan, failure: FailureDomain) -> Vec<Place> {
    let mut found: BTreeMap<String, Place> = BTreeMap::new();
    if failure == FailureDomain::Instance {
        let one = |(at, it): (u32, &mainstay_plan::component::Instance)| Place {
            name: it.name.clone(),
            path: it.name.clone(),
            at: it.location.clone(),
            named: BTreeSet::from([InstanceIx(at)]),
        };
        return (0u32..).zip(&plan.instances).map(one).collect();
    }
    for location in locations(plan) {
        let Location { region, zone, host } = location;
        let (path, at) = match (failure, zone, host) {
            (FailureDomain::Region, ..) => {
                (Some(region.clone()), Location { zone: None, host: None, ..location.clone() })
            }
            (FailureDomain::Zone, Some(zone), _) => {
                (Some(format!("{region}/{zone}")), Location { host: None, ..location.clone() })
            }
            (FailureDomain::Host, _, Some(_)) => (Some(location.to_string()), location.clone()),
            (FailureDomain::Instance | FailureDomain::Zone | FailureDomain::Host, ..) => (None, location.clone()),
        };
        if let Some(path) = path {
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            found.entry(path.clone()).or_insert(Place { name, path, at, named: BTreeSet::new() });
        }
    }
    let mut all: Vec<Place> = found.into_values().collect();
    let names: Vec<String> = all.iter().map(|it| it.name.clone()).collect();
    for it in &mut all {
        if names.iter().filter(|name| **name == it.name).count() > 1 {
            it.name.clone_from(&it.path);
        }
    }
    all
}

fn locations(plan: &Plan) -> impl Iterator<Item = &Location> {
    let backups = plan.components.iter().flat_map(|it| &it.backups).flat_map(|it| it.places().map(|it| it.0));
    std::iter::once(&plan.site.location)
        .chain(plan.instances.iter().map(|it| &it.location))
        .chain(plan.witnesses.iter().map(|it| &it.location))
        .chain(plan.prepared.iter().map(|it| &it.location))
        .chain(plan.agents.iter().map(|it| &it.location))
        .chain(backups)
}

/// What can be said of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Sayable {
    /// Without a condition, from the smallest to the largest.
    pub scenarios: Vec<Listed>,
    /// What may follow a plus.
    pub conditions: Vec<ListedCondition>,
}

/// One scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// As one says it.
    pub scenario: String,
    /// Components that lose the instance that they are bound to.
    pub components: Vec<String>,
    /// How many of those the proof says are recovered.
    pub proved: usize,
    /// How many further instances are lost.
    pub standbys: usize,
    /// Whether the agent goes with it.
    pub agent: bool,
}

/// One condition.
#[derive(Clone, Debug, Serialize)]
pub struct ListedCondition {
    /// The word of the proof.
    pub condition: &'static str,
    /// What is missing.
    pub missing: &'static str,
}

impl Sayable {
    /// All of a plan.
    pub fn of(proof: &Proof<'_>) -> Sayable {
        let plan = proof.plan();
        let one = |failure: FailureDomain, place: Place| {
            let scenario = Scenario { failure, place, condition: Condition::None };
            let loss = scenario.loss(plan);
            let lost: Vec<_> = loss.components().collect();
            let is_proved = |it: &&_| proof.cell(**it, failure, Condition::None).is_some_and(|it| it.verdict.is_ok());
            let instances = (0u32..).map(InstanceIx).take(plan.instances.len());
            Listed {
                scenario: scenario.name(),
                proved: lost.iter().filter(is_proved).count(),
                standbys: instances.filter(|it| loss.takes_instance(*it)).count() - lost.len(),
                agent: loss.takes_agent(),
                components: lost.into_iter().map(|it| plan.component(it).name.clone()).collect(),
            }
        };
        let of = |it: FailureDomain| places(plan, it).into_iter().map(move |place| (it, place));
        let scenarios = FailureDomain::ALL.into_iter().flat_map(of).map(|(failure, place)| one(failure, place));
        let conditions = Condition::ALL.into_iter().filter(|it| *it != Condition::None);
        Sayable {
            scenarios: scenarios.collect(),
            conditions: conditions.map(|it| ListedCondition { condition: it.word(), missing: it.missing() }).collect(),
        }
    }
}
