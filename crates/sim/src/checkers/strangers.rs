//! S1, where people interfere: nothing is made active while an instance is active that somebody else made so, once its probes have
//! had the time to tell us.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::observation::{Answer, Observation, SeenRole};
use mainstay_plan::probe::{Probe, Watches};
use mainstay_plan::{Plan, ProbeIx, Time};

/// Who has told us so often was heard.
const OFTEN: u32 = 4;

/// The model: it counts less than the engine may, never more.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Instance → its component.
    of: BTreeMap<String, String>,
    bound: BTreeMap<String, String>,
    /// Who was made active by somebody else, and since when that could be seen.
    since: BTreeMap<String, Time>,
    /// Who answers nothing at the moment.
    silent: BTreeSet<String>,
    /// How often each of them has told us since, and when it did last.
    told: BTreeMap<String, (u32, Time)>,
    probes: BTreeMap<ProbeIx, String>,
    /// Recoveries that have done something to an instance: they go on.
    begun: BTreeSet<RecoveryId>,
    overruled: BTreeSet<RecoveryId>,
    /// After this whoever can be asked has told its role.
    seen_within: Duration,
}

impl Strangers {
    pub(super) fn new(plan: &Plan) -> Strangers {
        let of = plan.instances.iter().map(|it| (it.name.clone(), plan.component(it.component).name.clone()));
        let probes = plan.probes.iter().map(|it| it.timing.interval * (it.timing.rise + 1) + it.timing.timeout);
        let of_instance = |it: &Probe| match it.watches {
            Watches::Instance(instance) => Some(plan.instance(instance).name.clone()),
            Watches::Witness(_) | Watches::Route(_) | Watches::Control(_) => None,
        };
        let names =
            (0u32..).map(ProbeIx).zip(&plan.probes).filter_map(|(ix, it)| Some((ix, of_instance(it)?))).collect();
        let seen_within = probes.max().unwrap_or_default() + Duration::from_secs(1);
        Strangers { of: of.collect(), probes: names, seen_within, ..Strangers::default() }
    }

    /// Somebody else made an instance active, or a standby; or it can be seen only from now on.
    pub(super) fn made(&mut self, name: &str, active: bool, now: Time) {
        self.told.remove(name);
        let is_bound = self.of.get(name).is_some_and(|it| self.bound.get(it).unwrap_or(it) == name);
        if active && !is_bound {
            self.since.insert(name.to_owned(), now);
        } else {
            self.since.remove(name);
        }
    }

    /// Nothing that was seen before counts.
    pub(super) fn blind_until(&mut self, now: Time) {
        self.told.clear();
        self.since.values_mut().for_each(|it| *it = (*it).max(now));
    }

    /// A server dies or hangs, or is there again.
    pub(super) fn lives(&mut self, name: &str, up: bool, now: Time) {
        if !up {
            self.silent.insert(name.to_owned());
            return;
        }
        self.silent.remove(name);
        if let Some(since) = self.since.get_mut(name) {
            *since = (*since).max(now);
        }
    }

    /// The agent hears what an instance is, at `now`.
    pub(super) fn heard(&mut self, observation: &Observation, now: Time) {
        let Some(name) = self.probes.get(&observation.probe).filter(|it| self.since.contains_key(*it)) else { return };
        let role = observation.role.as_deref().map(SeenRole::read);
        if role == Some(SeenRole::Active) && observation.answer == Answer::Good {
            let told = self.told.entry(name.clone()).or_insert((0, now));
            *told = (told.0 + 1, now);
        } else {
            self.told.remove(name);
        }
    }

    pub(super) fn recorded(&mut self, record: &Record) {
        if let Body::Bound { component, instance, .. } = &record.body {
            self.bound.insert(component.clone(), instance.clone());
            self.since.remove(instance);
        } else if let Body::Commanded { command: Command::Approve { recovery, overrides, .. }, .. } = &record.body
            && overrides.contains(&Override::SomeoneElse)
        {
            self.overruled.insert(*recovery);
        }
    }

    /// An instance is about to be made active by one of our recoveries.
    pub(super) fn activates(&mut self, recovery: RecoveryId, instance: &str, now: Time) {
        let goes_on = !self.begun.insert(recovery) || self.overruled.contains(&recovery);
        let component = self.of.get(instance);
        let stranger = self.since.iter().find(|(name, since)| {
            let told = self.told.get(*name).is_some_and(|it| it.0 >= OFTEN && now.since(it.1) <= self.seen_within);
            let seen = told && !self.silent.contains(*name) && now.since(**since) > self.seen_within;
            self.of.get(*name) == component && seen
        });
        if let Some((name, since)) = stranger.filter(|_| !goes_on) {
            panic!("S1: {recovery} makes {instance} active, and {name} is since {since:?} (now {now:?})");
        }
        self.since.remove(instance);
    }
}
