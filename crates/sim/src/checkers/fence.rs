//! S3: an exclusive takeover follows a confirmed fence, or a risk that the plan accepts by name. What really stops or serves
//! counts here, not what the journal says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mainstay_engine::command::Command;
use mainstay_engine::effect::Order;
use mainstay_engine::record::OldOwner;
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::Plan;
use mainstay_plan::action::{Action, ServiceOp};
use mainstay_plan::route::Sharing;
use mainstay_plan::routing::{RouteEntry, RoutingTable, TargetState};

use super::facts::Facts;

/// The model.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// Instances that were really cut off from a route since they last owned it.
    cut: BTreeSet<(String, String, IpAddr)>,
    /// Instances that were told to stop and really did, or may have.
    stopped: BTreeSet<String>,
    /// Instances that act no more for want of a lease.
    unleased: BTreeSet<String>,
    /// Route → who really serves it, or did last, and where its clients really are.
    owner: BTreeMap<String, (String, IpAddr)>,
    /// Instances of which a person, or a new plan, said that they are elsewhere.
    said: BTreeSet<String>,
    /// Adoptions under way: from whom to whom nothing has to be fenced.
    settled: BTreeMap<RecoveryId, Vec<(String, String)>>,
    accepts_two_writers: bool,
}

impl Fences {
    pub(super) fn under(&mut self, plan: &Plan) {
        let plays = plan.components.iter().flat_map(|it| &it.ladder).flat_map(|it| it.plays.values());
        self.accepts_two_writers = plays.into_iter().any(|it| it.accepts_two_writers);
    }

    pub(super) fn owns(&self, instance: &str) -> bool {
        self.owner.values().any(|it| it.0 == instance)
    }

    /// A new plan says anew where everybody is.
    pub(super) fn moved_by_hand(&mut self, plan: &Plan) {
        self.said.extend(plan.instances.iter().map(|it| it.name.clone()));
    }

    pub(super) fn recorded(&mut self, seq: u64, record: &Record, facts: &Facts) {
        if let Body::RungStarted { recovery, to, .. } = &record.body {
            let stays = facts.open.get(recovery).is_some_and(|it| facts.bound(&it.component) == to);
            let displaced = facts.displaced.contains(to) && !stays;
            assert!(!displaced, "S3: {to} takes over, and was displaced and has not rejoined");
        } else if let Body::Commanded { command: Command::Adopt { instance, address: Some(_), .. }, .. } = &record.body
        {
            self.said.insert(instance.clone());
        } else if let Body::AdoptionStarted { from, to, old_owner, .. } = &record.body {
            // An old owner that is no writer needs no fence, one way and back; a risk is accepted by name. One that is to be
            // stopped is a writer until then; afterwards it is none, for the way back.
            let there = !matches!(old_owner, OldOwner::Stopped {});
            let ways = there.then(|| (from.clone(), to.clone())).into_iter().chain([(to.clone(), from.clone())]);
            if !matches!(old_owner, OldOwner::CutOff {} | OldOwner::NotExclusive {}) {
                self.settled.insert(RecoveryId(seq), ways.collect());
            }
        } else if let Body::RecoveryCompleted { recovery, .. } | Body::RecoveryFailed { recovery, .. } = &record.body {
            self.settled.remove(recovery);
        } else if let Body::PlanAdopted { .. } = &record.body {
            self.settled.clear();
        } else if let Body::Bound { component, instance, .. } = &record.body {
            let Some(ix) = facts.plan.component_named(component) else { return };
            let routes = facts.plan.component(ix).routes.iter().map(|it| facts.plan.route(*it));
            for route in routes.filter(|it| it.sharing == Sharing::Exclusive) {
                let Some((owner, at)) = self.owner.get(&route.name).filter(|it| it.0 != *instance) else { continue };
                let at = self.cut_where_said(&route.name, owner).unwrap_or(*at);
                let fenced =
                    self.is_settled(owner, instance) || self.is_fenced(&route.name, owner, at, route.proxy.is_some());
                assert!(fenced, "S3: {instance} becomes {component}, and {owner} still serves {}", route.name);
            }
        }
    }

    fn is_settled(&self, from: &str, to: &str) -> bool {
        self.settled.values().flatten().any(|it| it.0 == from && it.1 == to)
    }

    /// Where an owner of which somebody said that it is elsewhere was cut off before clients were led there.
    fn cut_where_said(&self, route: &str, owner: &str) -> Option<IpAddr> {
        let of = |it: &&(String, String, IpAddr)| it.0 == route && it.1 == owner;
        self.cut.iter().find(of).filter(|_| self.said.contains(owner)).map(|it| it.2)
    }

    fn is_fenced(&self, route: &str, owner: &str, at: IpAddr, has_proxy: bool) -> bool {
        // Clients of a DNS name may know the old address still: only the proxy's is theirs alone.
        let cut = has_proxy && self.cut.contains(&(route.to_owned(), owner.to_owned(), at));
        cut || self.unleased.contains(owner) || self.stopped.contains(owner) || self.accepts_two_writers
    }

    /// A service really stops, or really starts.
    pub(super) fn done(&mut self, order: &Order) {
        if let Action::Service { op, .. } = &order.action {
            match op {
                ServiceOp::Kill | ServiceOp::Stop => self.stopped.insert(order.instance.clone()),
                ServiceOp::Start | ServiceOp::Restart => self.stopped.remove(&order.instance),
            };
        }
        // What brought an instance elsewhere and is undone leaves nobody there.
        if order.address.is_some() && order.key.contains("/undo/") {
            self.stopped.insert(order.instance.clone());
        }
    }

    /// It acts no more, because its lease is over or its machine without power; it may again when it is granted one.
    pub(super) fn may_act(&mut self, instance: &str, may: bool) {
        if may {
            self.unleased.remove(instance);
        } else {
            self.unleased.insert(instance.to_owned());
        }
    }

    pub(super) fn applied(&mut self, table: &RoutingTable) {
        for route in table.routes.iter().filter(|it| it.exclusive) {
            self.ownership(route);
        }
    }

    fn ownership(&mut self, route: &RouteEntry) {
        for target in route.targets.iter().filter(|it| it.state == TargetState::Fenced) {
            self.cut.insert((route.name.clone(), target.instance.clone(), target.address.ip()));
        }
        let Some(serving) = route.targets.iter().find(|it| it.state == TargetState::Serving) else { return };
        let now = (serving.instance.clone(), serving.address.ip());
        let before = self.owner.insert(route.name.clone(), now.clone());
        if let Some((before, at)) = before.filter(|it| *it != now) {
            let said = before == now.0 && self.said.contains(&before);
            let settled = self.is_settled(&before, &now.0);
            let fenced = said || settled || self.is_fenced(&route.name, &before, at, route.proxy.is_some());
            let (instance, place) = &now;
            assert!(
                fenced,
                "S3: {instance} at {place} takes {} over from {before} at {at}, which is not fenced",
                route.name
            );
        }
        self.cut.remove(&(route.name.clone(), now.0, now.1));
        self.stopped.remove(&serving.instance);
        self.said.remove(&serving.instance);
    }
}
