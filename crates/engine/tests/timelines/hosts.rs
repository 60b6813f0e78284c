//! The hosts of a story: each is there or silent, holds leases while it is there, and may serve routes. The agent's end of a link is
//! here too: who was granted what, and when that is over.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::Input;
use mainstay_engine::effect::{Grant, Order};
use mainstay_engine::record::ReportedTarget;
use mainstay_plan::action::{Action, LeaseEnd, Outcome};
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::{Plan, Time};

/// What lasts about hosts, and what the agent knows of them.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// Since when a host is silent.
    pub(crate) silent: BTreeMap<String, Time>,
    /// What the traffic process of a host serves.
    pub(crate) tables: BTreeMap<String, RoutingTable>,
    wanted: Vec<Grant>,
    /// By component: to whom it was granted last. Whoever is there was granted it just now.
    granted: BTreeMap<String, (String, Time)>,
    /// Instances to which nothing is granted any more that could last.
    over: BTreeSet<(String, String)>,
}

impl Hosts {
    /// The agent started: whoever was granted something may have been so until now.
    pub(crate) fn agent_started(&mut self, now: Time) {
        self.wanted.clear();
        self.granted.values_mut().for_each(|it| it.1 = now);
    }

    /// From now on these may hold a lease.
    pub(crate) fn wants(&mut self, plan: &Plan, wanted: &[Grant], now: Time) {
        self.settle(plan, now);
        self.wanted = wanted.to_vec();
        self.settle(plan, now);
    }

    fn is_there(&self, plan: &Plan, instance: &str) -> bool {
        let host = plan.instance_named(instance).and_then(|it| plan.host_of(it));
        host.is_some_and(|it| !self.silent.contains_key(&plan.host(it).name))
    }

    /// Whoever may hold a lease and is there is granted it, unless another one still may act on what it was granted.
    fn settle(&mut self, plan: &Plan, now: Time) {
        let term = plan.lease_term().unwrap_or_default();
        for want in self.wanted.clone() {
            let is_free = match self.granted.get(&want.component) {
                None => true,
                Some((holder, since)) => *holder == want.instance || *since + term <= now,
            };
            if is_free && self.is_there(plan, &want.instance) {
                self.over.remove(&(want.component.clone(), want.instance.clone()));
                self.granted.insert(want.component, (want.instance, now));
            }
        }
    }

    /// A host is silent from now on, or there again.
    pub(crate) fn says(&mut self, plan: &Plan, host: &str, there: bool, now: Time) {
        self.settle(plan, now);
        if there {
            self.silent.remove(host);
        } else {
            self.silent.insert(host.to_owned(), now);
        }
    }

    /// When and how a lease ends that is to end. What is guarded stops as soon as its host hears of it, or by itself.
    pub(crate) fn ends(&mut self, plan: &Plan, order: &Order, now: Time) -> Option<(Time, Outcome)> {
        let Action::EndLease { component } = &order.action else { return None };
        self.settle(plan, now);
        let held = self.granted.get(component).filter(|it| it.0 == order.instance).map(|it| it.1);
        let term = plan.lease_term().unwrap_or_default();
        let (at, how) = match held {
            None => (now, LeaseEnd::NotHeld),
            Some(_) if self.is_there(plan, &order.instance) => (now + crate::world::ACTION, LeaseEnd::Released),
            Some(since) => (now.max(since + term), LeaseEnd::RanOut),
        };
        Some((at, Outcome::LeaseOver(how)))
    }

    /// It is over.
    pub(crate) fn over(&mut self, component: &str, instance: &str) {
        if self.granted.get(component).is_some_and(|it| it.0 == instance) {
            self.granted.remove(component);
        }
        self.over.insert((component.to_owned(), instance.to_owned()));
    }

    /// Whether an instance holds the lease of its component now.
    pub(crate) fn holds(&mut self, plan: &Plan, instance: &str, now: Time) -> bool {
        self.settle(plan, now);
        self.granted.values().any(|it| it.0 == instance)
    }

    /// What a host's traffic process says when it is connected.
    pub(crate) fn greeting(&self, plan: &Plan, host: &str) -> Input {
        let table = self.tables.get(host).cloned().unwrap_or_else(|| RoutingTable::empty(&plan.site.name));
        let (process, epoch, targets) = (host.to_owned(), table.epoch, ReportedTarget::all_of(&table));
        Input::TrafficServes { process, epoch, targets }
    }
}
