//! S1, where people interfere: nothing is made active while an instance is active that somebody else made so, once its probes have
//! had the time to tell us.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::{Plan, Time};

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
        let seen_within = probes.max().unwrap_or_default() + Duration::from_secs(1);
        Strangers { of: of.collect(), seen_within, ..Strangers::default() }
    }

    /// Somebody else made an instance active, or a standby; or it can be seen only from now on.
    pub(super) fn made(&mut self, name: &str, active: bool, now: Time) {
        let is_bound = self.of.get(name).is_some_and(|it| self.bound.get(it).unwrap_or(it) == name);
        if active && !is_bound {
            self.since.insert(name.to_owned(), now);
        } else {
            self.since.remove(name);
        }
    }

    /// Nothing that was seen before counts.
    pub(super) fn blind_until(&mut self, now: Time) {
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
            self.of.get(*name) == component && !self.silent.contains(*name) && now.since(**since) > self.seen_within
        });
        if let Some((name, since)) = stranger.filter(|_| !goes_on) {
            panic!("S1: {recovery} makes {instance} active, and {name} is since {since:?} (now {now:?})");
        }
        self.since.remove(instance);
    }
}
