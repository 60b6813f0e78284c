//! What a change of a route must respect, judged on the state that the change leads to.
//!
//! Intuition: a route's rules are a doorman for those who leave. Whoever comes back in is never stopped: a healthy target that
//! serves again helps in any case. But before a target is taken off, it is asked how many stay on (`at_least`), whether those
//! that must be well are well (`gates`), and how long ago the route changed (`wait`). What is held stays on as it is.
//!
//! A recovery that moves a route asks `gates` and `wait` before its rung begins, and a planned move before its first step
//! (`before_rung`); from there on nothing of it is held back half way, because a route that is cut serves nobody.

use std::fmt;

use mainstay_plan::observation::Health;
use mainstay_plan::route::{Route, Sharing};
use mainstay_plan::routing::TargetState;
use mainstay_plan::strategy::Play;
use mainstay_plan::{InstanceIx, RouteIx, Time};
use serde::{Deserialize, Serialize};

use super::{exclusive, shared};
use crate::codec::time_nanos;
use crate::command::Override;
use crate::planted::{Fault, planted};
use crate::state::{Recovery, State};
use crate::waiting::WaitingOn;

/// A rule of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteRule {
    /// So many targets stay on.
    AtLeast,
    /// Components that must be healthy.
    Gates,
    /// From one change to the next.
    Wait,
}

impl RouteRule {
    /// All of them.
    pub const ALL: [RouteRule; 3] = [RouteRule::AtLeast, RouteRule::Gates, RouteRule::Wait];

    /// The word for it in the plan and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            RouteRule::AtLeast => "at_least",
            RouteRule::Gates => "gates",
            RouteRule::Wait => "wait",
        }
    }
}

/// Why a rule holds a change back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objection {
    /// Too few targets would stay on.
    AtLeast {
        /// How many would.
        on: usize,
        /// How many must.
        need: usize,
    },
    /// A component is not healthy.
    Gates {
        /// The component.
        component: String,
        /// What it is.
        health: String,
    },
    /// It changed a short while ago.
    Wait {
        /// When it may change again.
        #[serde(with = "time_nanos")]
        until: Time,
    },
}

impl Objection {
    /// The rule.
    pub const fn rule(&self) -> RouteRule {
        match self {
            Objection::AtLeast { .. } => RouteRule::AtLeast,
            Objection::Gates { .. } => RouteRule::Gates,
            Objection::Wait { .. } => RouteRule::Wait,
        }
    }

    /// When it ends by itself, if time ends it.
    pub const fn until(&self) -> Option<Time> {
        match self {
            Objection::AtLeast { .. } | Objection::Gates { .. } => None,
            Objection::Wait { until } => Some(*until),
        }
    }

    /// What ends it.
    pub fn ends_when(&self) -> String {
        match self {
            Objection::AtLeast { need, .. } => format!("{need} other targets serve, or it is healthy again"),
            Objection::Gates { component, .. } => format!("`{component}` is healthy"),
            Objection::Wait { .. } => "the route's wait is over".to_owned(),
        }
    }

    /// The command that overrules it.
    pub fn way_out(&self, route: &str) -> String {
        format!("mainstay route override {route} --rule {} --reason …", self.rule().word())
    }
}

/// The objection as a sentence without a full stop.
impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::AtLeast { on, need } => write!(f, "only {on} would stay on, and {need} must"),
            Objection::Gates { component, health } => write!(f, "`{component}`, a gate of it, is {health}"),
            Objection::Wait { .. } => write!(f, "it changed less than its wait ago"),
        }
    }
}

/// Targets that stay on although they would leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Why.
    pub objection: Objection,
    /// Which, in the route's order.
    pub targets: Vec<String>,
}

/// What every target may do, and what of it is held back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruled {
    /// By route and target.
    pub targets: Vec<Vec<TargetState>>,
    /// By route.
    pub kept: Vec<Option<Kept>>,
}

/// What follows from bindings, fences, health and drains, as far as the routes' rules let it.
pub fn ruled(state: &State, now: Time) -> Ruled {
    let routes = state.plan.routes.len();
    let mut all = Ruled { targets: Vec::with_capacity(routes), kept: Vec::with_capacity(routes) };
    for ix in (0u32..).map(RouteIx).take(routes) {
        let (targets, kept) = ruled_route(state, ix, now);
        all.targets.push(targets);
        all.kept.push(kept);
    }
    all
}

/// The same for one route.
pub(crate) fn ruled_route(state: &State, ix: RouteIx, now: Time) -> (Vec<TargetState>, Option<Kept>) {
    let route = state.plan.route(ix);
    let before = &state.routing.targets[ix.index()];
    match route.sharing {
        Sharing::Exclusive => (route.targets.iter().map(|it| exclusive(state, it.instance)).collect(), None),
        Sharing::Shared => {
            let wanted = route.targets.iter().zip(before);
            let wanted = wanted.map(|(it, was)| drained(state, it.instance, shared(state, it.instance, *was), now));
            hold(state, ix, before, wanted.collect(), now)
        }
    }
}

/// Whether a route stays as it is published, and nothing of it is held back: what [`ruled_route`] would say, at a glance.
pub(crate) fn stays(state: &State, ix: RouteIx, now: Time) -> bool {
    let route = state.plan.route(ix);
    let mut targets = route.targets.iter().zip(&state.routing.targets[ix.index()]);
    match route.sharing {
        Sharing::Exclusive => targets.all(|(it, was)| exclusive(state, it.instance) == *was),
        // A drain may have to wait until enough others serve.
        Sharing::Shared => targets.all(|(it, was)| {
            let wanted = drained(state, it.instance, shared(state, it.instance, *was), now);
            wanted == *was && wanted != TargetState::Draining
        }),
    }
}

/// How many targets of a shared route have to stay on.
pub fn at_least(state: &State, route: &Route) -> usize {
    let own = route.rules.at_least.unwrap_or(0);
    own.max(state.plan.guards.minimum_healthy.unwrap_or(0)) as usize
}

/// When a rule or a drain ends by itself next.
pub fn next_time(state: &State, now: Time) -> Option<Time> {
    let waits = state.routing.held.values().filter_map(|it| it.kept.objection.until());
    let drains = state.routing.drains.iter().map(|it| it.until);
    waits.chain(drains).filter(|it| *it > now).min()
}

/// The first rule that keeps a rung which moves routes from beginning. A route that changed since the component failed has
/// changed for this very failure, which is no second change; for a planned move each change counts.
pub(crate) fn before_rung(state: &State, recovery: &Recovery, play: &Play, now: Time) -> Option<WaitingOn> {
    let stays = play.to == state.components[recovery.component.index()].bound;
    if stays || recovery.overrides.contains(&Override::RouteRules) {
        return None;
    }
    let is_planned = recovery.planned().is_some();
    let objection = |ix: &RouteIx| {
        let route = state.plan.route(*ix);
        let gate = (!overridden(state, *ix, RouteRule::Gates)).then(|| closed_gate(state, route)).flatten();
        let changed = state.routing.changed[ix.index()].filter(|it| *it < recovery.first_failed || is_planned);
        let wait = changed.map(|it| it + route.rules.wait).filter(|it| *it > now);
        let wait = wait.filter(|_| !overridden(state, *ix, RouteRule::Wait)).map(|until| Objection::Wait { until });
        Some(WaitingOn::Route { route: route.name.clone(), objection: gate.or(wait)? })
    };
    state.plan.component(recovery.component).routes.iter().find_map(objection)
}

fn overridden(state: &State, route: RouteIx, rule: RouteRule) -> bool {
    state.routing.overridden.contains(&(route, rule))
}

/// A gate that is not healthy, or not known to be.
fn closed_gate(state: &State, route: &Route) -> Option<Objection> {
    route.rules.gates.iter().find_map(|it| {
        let health = state.instances[state.components[it.index()].bound.index()].health;
        let component = || state.plan.component(*it).name.clone();
        (health != Health::Healthy && !planted(Fault::GateIgnored))
            .then(|| Objection::Gates { component: component(), health: health.word().to_owned() })
    })
}

/// A drain takes a target off that would serve.
fn drained(state: &State, instance: InstanceIx, wanted: TargetState, now: Time) -> TargetState {
    let leaves = wanted == TargetState::Serving && is_drained(state, instance, now);
    if leaves { TargetState::Draining } else { wanted }
}

fn is_drained(state: &State, instance: InstanceIx, now: Time) -> bool {
    let by_name = state.routing.drains.iter().any(|it| it.until > now && it.what.covers(&state.plan, instance));
    by_name || state.evacuated(instance).is_some()
}

type Held = (Vec<TargetState>, Option<Kept>);

fn hold(state: &State, ix: RouteIx, before: &[TargetState], wanted: Vec<TargetState>, now: Time) -> Held {
    let route = state.plan.route(ix);
    let leaves = |at: &usize| before[*at] == TargetState::Serving && wanted[*at] != TargetState::Serving;
    let leaving: Vec<usize> = (0..wanted.len()).filter(leaves).collect();
    // What is lost with its zone or region leaves at once: a lost zone is one failure, and so one change.
    let is_lost = |at: &usize| crate::scenario::lost_with(state, route.targets[*at].instance).is_some();
    let moves = leaving.iter().any(|at| is_moved(state, route.targets[*at].instance));
    let mut wanted = wanted;
    let mut stay: Vec<usize> = leaving.iter().copied().filter(|at| !is_lost(at)).collect();
    let mut objection = frozen(state, ix, now).filter(|_| !stay.is_empty() && !moves);
    if objection.is_none() {
        stay.clear();
    }
    for at in &stay {
        wanted[*at] = TargetState::Serving;
    }
    let judged = if planted(Fault::RuleJudgedBefore) { before } else { &wanted };
    let on = judged.iter().filter(|it| **it == TargetState::Serving).count();
    let is_drained = |at: &usize| wanted[*at] == TargetState::Draining;
    let rule = if overridden(state, ix, RouteRule::AtLeast) { 0 } else { at_least(state, route) };
    // A drain never takes the last one, whatever the plan says.
    let need = rule.max(usize::from((0..wanted.len()).any(|at| is_drained(&at))));
    // Who is well and drained stays before who is not well.
    let mut more: Vec<usize> = (0..wanted.len()).filter(is_drained).collect();
    more.extend(leaving.iter().copied().filter(|at| !is_drained(at) && !stay.contains(at)));
    more.truncate(need.saturating_sub(on));
    if !more.is_empty() {
        objection = objection.or(Some(Objection::AtLeast { on, need }));
        stay.extend(more);
        stay.sort_unstable();
    }
    match objection {
        Some(objection) => keep(state, route, stay, wanted, objection),
        None => (wanted, None),
    }
}

/// Whether a takeover of its component moves the route away from it: that was judged before its rung began.
fn is_moved(state: &State, instance: InstanceIx) -> bool {
    let component = &state.components[state.plan.instance(instance).component.index()];
    component.bound != instance && component.recovery.is_some() && state.instances[instance.index()].displaced
}

/// Why nothing leaves the route at all.
fn frozen(state: &State, ix: RouteIx, now: Time) -> Option<Objection> {
    let route = state.plan.route(ix);
    let gate = (!overridden(state, ix, RouteRule::Gates)).then(|| closed_gate(state, route)).flatten();
    let until = state.routing.changed[ix.index()].map(|it| it + route.rules.wait).filter(|it| *it > now);
    let until = until.filter(|_| !planted(Fault::RouteWaitIgnored));
    let wait = until.filter(|_| !overridden(state, ix, RouteRule::Wait)).map(|until| Objection::Wait { until });
    gate.or(wait)
}

fn keep(state: &State, route: &Route, at: Vec<usize>, mut wanted: Vec<TargetState>, objection: Objection) -> Held {
    for at in &at {
        wanted[*at] = TargetState::Serving;
    }
    let named = |at: usize| state.plan.instance(route.targets[at].instance).name.clone();
    (wanted, Some(Kept { objection, targets: at.into_iter().map(named).collect() }))
}
