//! S4: after every change of a shared route its rules hold, judged on the state that the change leads to. What moves a component
//! asks before it begins, and not again half way.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_engine::command::{Command, Override};
use mainstay_engine::record::{ReportedTarget, StepRef};
use mainstay_engine::route::rules::RouteRule;
use mainstay_engine::{Body, IncidentId, Record, RecoveryId};
use mainstay_plan::location::Location;
use mainstay_plan::observation::Health;
use mainstay_plan::route::Sharing;
use mainstay_plan::routing::TargetState;
use mainstay_plan::{Plan, Time};
use std::time::Duration;

use super::facts::Facts;

#[derive(Debug, Default)]
struct Rules {
    at_least: usize,
    gates: Vec<String>,
    wait: Duration,
}

/// The model.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Shared routes.
    rules: BTreeMap<String, Rules>,
    /// Instance → its component.
    of: BTreeMap<String, String>,
    serving: BTreeMap<String, BTreeSet<String>>,
    changed: BTreeMap<String, Time>,
    overridden: BTreeSet<(String, RouteRule)>,
    health: BTreeMap<String, Health>,
    bound: BTreeMap<String, String>,
    /// Components in recovery, or being moved.
    open: BTreeSet<String>,
    /// Planned moves that have done nothing yet.
    ready: BTreeSet<RecoveryId>,
    /// Instance → where it lives.
    places: BTreeMap<String, Location>,
    /// Zones and regions that are lost: what lives there leaves at once.
    lost: BTreeMap<IncidentId, (String, Option<String>)>,
    plan: Option<String>,
}

impl Routes {
    pub(super) fn new(plan: &Plan) -> Routes {
        let shared = plan.routes.iter().filter(|it| it.sharing == Sharing::Shared);
        let minimum = plan.guards.minimum_healthy.unwrap_or(0);
        let rules = |it: &mainstay_plan::route::Route| Rules {
            at_least: it.rules.at_least.unwrap_or(0).max(minimum) as usize,
            gates: it.rules.gates.iter().map(|it| plan.component(*it).name.clone()).collect(),
            wait: it.rules.wait,
        };
        let of = plan.instances.iter().map(|it| (it.name.clone(), plan.component(it.component).name.clone()));
        Routes {
            rules: shared.map(|it| (it.name.clone(), rules(it))).collect(),
            of: of.collect(),
            places: plan.instances.iter().map(|it| (it.name.clone(), it.location.clone())).collect(),
            ..Routes::default()
        }
    }

    pub(super) fn under(&mut self, plan: &Plan) {
        let next = Routes::new(plan);
        self.rules = next.rules;
        self.of = next.of;
        self.places = next.places;
        self.open.clear();
        self.health.clear();
        // Targets that come and go with the plan are no change of a route.
        self.serving.clear();
    }

    pub(super) fn forget_journal(&mut self) {
        *self = Routes {
            rules: std::mem::take(&mut self.rules),
            of: std::mem::take(&mut self.of),
            places: std::mem::take(&mut self.places),
            ..Routes::default()
        };
    }

    pub(super) fn recorded(&mut self, seq: u64, record: &Record, facts: &Facts) {
        if let Body::TablePublished { targets, .. } = &record.body {
            self.published(record.at, targets);
        } else if let Body::HealthChanged { instance, to, .. } = &record.body {
            self.health.insert(instance.clone(), *to);
        } else if let Body::AgentStarted { .. } = &record.body {
            self.health.clear();
        } else if let Body::Bound { component, instance, recovery } = &record.body {
            if self.ready.remove(recovery) {
                self.moves(*recovery, record.at, facts);
            }
            self.bound.insert(component.clone(), instance.clone());
        } else if let Body::FailureDetected { component, .. } | Body::AdoptionStarted { component, .. } = &record.body {
            self.open.insert(component.clone());
        } else if let Body::SwitchStarted { component, .. } = &record.body {
            self.open.insert(component.clone());
            self.ready.insert(RecoveryId(seq));
        } else if let Body::RungStarted { recovery, to, .. } = &record.body {
            if facts.open.get(recovery).is_some_and(|it| facts.bound(&it.component) != to) {
                self.moves(*recovery, record.at, facts);
            }
        } else if let Body::StepStarted { step: StepRef { recovery, .. }, .. } = &record.body {
            if self.ready.remove(recovery) {
                self.moves(*recovery, record.at, facts);
            }
        } else if let Body::RecoveryCompleted { .. } | Body::RecoveryFailed { .. } = &record.body {
            // Whose it was is not said; to know too much open makes the check weaker, never wrong.
        } else if let Body::IncidentOpened { region, zone, .. } = &record.body {
            self.lost.insert(IncidentId(seq), (region.clone(), zone.clone()));
        } else if let Body::IncidentEnded { incident, .. } = &record.body {
            // A region takes the incidents of its zones over, and they end with it.
            if let Some((region, None)) = self.lost.remove(incident) {
                self.lost.retain(|_, it| it.0 != region);
            }
        } else if let Body::PlanAdopted { hash, .. } = &record.body {
            if self.plan.replace(hash.clone()).is_some_and(|before| before != *hash) {
                self.lost.clear();
            }
        } else if let Body::TrafficAhead { targets, .. } = &record.body {
            self.serving.clear();
            // Who serves an exclusive route is its component, whatever the journal knew.
            let exclusive = targets.iter().filter(|it| !self.rules.contains_key(&it.route));
            for target in exclusive.filter(|it| it.state == TargetState::Serving) {
                if let Some(component) = self.of.get(&target.instance) {
                    self.bound.insert(component.clone(), target.instance.clone());
                }
            }
        } else if let Body::Commanded { command: Command::RouteOverride { route, rule, .. }, .. } = &record.body {
            self.overridden.insert((route.clone(), *rule));
        }
    }

    /// Something that leads the routes of a component elsewhere begins.
    fn moves(&self, recovery: RecoveryId, at: Time, facts: &Facts) {
        let Some(open) = facts.open.get(&recovery).filter(|it| !it.overrides.contains(&Override::RouteRules)) else {
            return;
        };
        let Some(ix) = facts.plan.component_named(&open.component) else { return };
        for route in facts.plan.component(ix).routes.iter().map(|it| facts.plan.route(*it)) {
            let overruled = |rule| self.overridden.contains(&(route.name.clone(), rule));
            let gates = route.rules.gates.iter().map(|it| &facts.plan.component(*it).name);
            for gate in gates.filter(|_| !overruled(RouteRule::Gates)) {
                let health = self.health.get(facts.bound(gate));
                assert_eq!(
                    health,
                    Some(&Health::Healthy),
                    "S4: {recovery} moves {} while its gate {gate} is not healthy",
                    route.name
                );
            }
            // What the same failure has changed is no second change.
            let since = self.changed.get(&route.name).map(|it| at.since(*it)).filter(|_| open.is_planned);
            let waited = since.is_none_or(|it| it >= route.rules.wait) || overruled(RouteRule::Wait);
            assert!(waited, "S4: {recovery} moves {} {since:?} after it changed", route.name);
        }
    }

    fn published(&mut self, at: Time, targets: &[ReportedTarget]) {
        let mut now: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for target in targets {
            let serving = now.entry(target.route.clone()).or_default();
            if target.state == TargetState::Serving {
                serving.insert(target.instance.clone());
            }
        }
        for (route, is) in now {
            let Some(was) = self.serving.insert(route.clone(), is.clone()) else { continue };
            if was == is {
                continue;
            }
            if let Some(rules) = self.rules.get(&route) {
                self.check(&route, rules, &was, &is, at);
            }
            self.changed.insert(route.clone(), at);
            self.overridden.retain(|(of, _)| *of != route);
        }
    }

    fn check(&self, route: &str, rules: &Rules, was: &BTreeSet<String>, is: &BTreeSet<String>, at: Time) {
        let left: Vec<&String> = was.difference(is).collect();
        if left.is_empty() {
            return;
        }
        let lost = |it: &&String| {
            let place = self.places.get(*it);
            let is_in = |(region, zone): &(String, Option<String>)| {
                place.is_some_and(|it| it.region == *region && (zone.is_none() || it.zone == *zone))
            };
            self.lost.values().any(is_in)
        };
        let overruled = |rule| self.overridden.contains(&(route.to_owned(), rule));
        let enough = is.len() >= rules.at_least.min(was.len()) || overruled(RouteRule::AtLeast);
        assert!(enough, "S4: {route} has {is:?} on after {left:?} left, and must have {}", rules.at_least);
        let moved = |it: &&&String| {
            let component = &self.of[**it];
            self.open.contains(component) && self.bound.get(component).is_some_and(|bound| bound != **it)
        };
        // What is lost with its zone leaves at once; whatever else leaves with it waits as ever.
        if left.iter().all(&lost) || left.iter().any(|it| moved(&it)) {
            return;
        }
        let since = self.changed.get(route).map(|it| at.since(*it));
        let waited = since.is_none_or(|it| it >= rules.wait) || overruled(RouteRule::Wait);
        assert!(waited, "S4: {left:?} left {route} {since:?} after it changed, and it waits {:?}", rules.wait);
        for gate in rules.gates.iter().filter(|_| !overruled(RouteRule::Gates)) {
            let bound = self.bound.get(gate).unwrap_or(gate);
            let health = self.health.get(bound);
            assert_eq!(
                health,
                Some(&Health::Healthy),
                "S4: {left:?} left {route} while its gate {gate} is not healthy"
            );
        }
    }
}
