//! The routing table that follows from bindings, fences and health. This is the only place that publishes one.

use mainstay_plan::component::Temperature;
use mainstay_plan::observation::Health;
use mainstay_plan::route::{DnsPolicy, OnSilence, Sharing};
use mainstay_plan::routing::{
    DnsEntry, DnsPolicyEntry, FORMAT, ProxyEntry, RouteEntry, RoutingTable, TargetEntry, TargetState,
};
use mainstay_plan::{InstanceIx, RouteIx};

use crate::command::Override;
use crate::lease::May;
use crate::record::{Body, ReportedTarget};
use crate::state::State;

/// What every target may do, by route and target.
///
/// An exclusive route belongs to the instance that its component is bound to, and to nobody while that instance is cut off;
/// a displaced instance stays fenced until it has rejoined. A shared route serves from every healthy target that is the
/// component or is hot; what is down leaves, and the traffic process fails open when nothing is left.
pub fn desired(state: &State) -> Vec<Vec<TargetState>> {
    (0..state.plan.routes.len()).map(|at| desired_of(state, at)).collect()
}

fn desired_of(state: &State, at: usize) -> Vec<TargetState> {
    let route = &state.plan.routes[at];
    let target = |(nth, target): (usize, &mainstay_plan::route::RouteTarget)| match route.sharing {
        Sharing::Exclusive => exclusive(state, target.instance),
        Sharing::Shared => shared(state, target.instance, state.routing.targets[at][nth]),
    };
    route.targets.iter().enumerate().map(target).collect()
}

/// Whether a route is published as it should be.
pub(crate) fn is_as_desired(state: &State, route: RouteIx) -> bool {
    desired_of(state, route.index()) == state.routing.targets[route.index()]
}

fn exclusive(state: &State, instance: InstanceIx) -> TargetState {
    let component = &state.components[state.plan.instance(instance).component.index()];
    if component.bound == instance {
        let cut = component.recovery.as_ref().is_some_and(|it| it.cut);
        return if cut { TargetState::Fenced } else { TargetState::Serving };
    }
    if state.instances[instance.index()].displaced { TargetState::Fenced } else { TargetState::Standby }
}

fn shared(state: &State, instance: InstanceIx, now: TargetState) -> TargetState {
    let component = &state.components[state.plan.instance(instance).component.index()];
    let bound = component.bound == instance;
    let displaced = state.instances[instance.index()].displaced;
    if !bound && (displaced || state.plan.instance(instance).temperature != Temperature::Hot) {
        return if displaced { TargetState::Down } else { TargetState::Standby };
    }
    match state.instances[instance.index()].health {
        Health::Healthy => TargetState::Serving,
        Health::Down => TargetState::Down,
        // Not knowing changes nothing, but the bound instance serves until it is known to be down.
        Health::Unknown | Health::Suspect if bound && now == TargetState::Standby => TargetState::Serving,
        Health::Unknown | Health::Suspect => now,
    }
}

/// The table to publish, if what is published differs from what should be. Nothing is published before every traffic
/// process has said what it serves: a journal that was lost must not move traffic.
pub fn next(state: &State) -> Option<Body> {
    if state.plan.routes.is_empty() || !state.traffic_was_heard() {
        return None;
    }
    let mut desired = desired(state);
    match state.leadership.may(&state.plan) {
        May::Everything => {}
        May::Nothing | May::Shared if state.open_recoveries().any(|it| it.overrides.contains(&Override::Lease)) => {}
        May::Nothing => return None,
        // What is exclusive stays where it is: another agent may be moving it.
        May::Shared => {
            for ((route, desired), now) in state.plan.routes.iter().zip(&mut desired).zip(&state.routing.targets) {
                if route.sharing == Sharing::Exclusive {
                    desired.clone_from(now);
                }
            }
        }
    }
    // A new lease begins with a table of its own, so that the traffic processes refuse those of the lease before.
    let floor = state.leadership.table_floor();
    let current = state.routing.epoch > floor || (floor == 0 && state.routing.epoch > 0);
    if desired == state.routing.targets && current && state.routing.under == state.adopted {
        return None;
    }
    let epoch = state.routing.epoch.max(floor) + 1;
    Some(Body::TablePublished { epoch, targets: named(state, &desired) })
}

fn named(state: &State, targets: &[Vec<TargetState>]) -> Vec<ReportedTarget> {
    let route = |(route, states): (&mainstay_plan::route::Route, &Vec<TargetState>)| {
        let name = route.name.clone();
        let target = |(target, state_of): (&mainstay_plan::route::RouteTarget, &TargetState)| ReportedTarget {
            route: name.clone(),
            instance: state.plan.instance(target.instance).name.clone(),
            state: *state_of,
        };
        route.targets.iter().zip(states).map(target).collect::<Vec<_>>()
    };
    state.plan.routes.iter().zip(targets).flat_map(route).collect()
}

/// The newest published table, complete, as the traffic processes serve it.
pub fn table(state: &State) -> RoutingTable {
    let routes = (0u32..).map(RouteIx).take(state.plan.routes.len()).map(|ix| entry(state, ix)).collect();
    RoutingTable {
        format: FORMAT,
        epoch: state.routing.epoch,
        site: state.plan.site.name.clone(),
        dns_listen: state.plan.dns_listen,
        beacon_listen: state.plan.beacon_listen,
        routes,
    }
}

fn entry(state: &State, ix: RouteIx) -> RouteEntry {
    let route = state.plan.route(ix);
    let millis = |it: std::time::Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    let target = |(target, state_of): (&mainstay_plan::route::RouteTarget, &TargetState)| TargetEntry {
        instance: state.plan.instance(target.instance).name.clone(),
        address: target.address,
        weight: target.weight,
        agent_check: route.agent_check.iter().find(|it| it.0 == target.instance).map(|it| it.1),
        state: *state_of,
    };
    RouteEntry {
        name: route.name.clone(),
        exclusive: route.sharing == Sharing::Exclusive,
        cut_after_silence_ms: match route.on_silence {
            OnSilence::Keep => None,
            OnSilence::Cut { after } => Some(millis(after)),
        },
        proxy: route.proxy.as_ref().map(|it| ProxyEntry {
            listen: it.listen,
            connect_timeout_ms: millis(it.connect_timeout),
            idle_timeout_ms: it.idle_timeout.map(millis),
            max_connections: it.max_connections,
            drain_ms: millis(it.drain),
        }),
        dns: route.dns.as_ref().map(|it| DnsEntry {
            name: it.name.clone(),
            ttl_s: u32::try_from(it.ttl.as_secs()).unwrap_or(u32::MAX),
            policy: match it.policy {
                DnsPolicy::Failover => DnsPolicyEntry::Failover,
                DnsPolicy::Weighted => DnsPolicyEntry::Weighted,
                DnsPolicy::Multivalue => DnsPolicyEntry::Multivalue,
            },
        }),
        beacon: route.beacon,
        targets: route.targets.iter().zip(&state.routing.targets[ix.index()]).map(target).collect(),
    }
}

/// Every target's state in the newest published table.
pub fn published(state: &State) -> Vec<ReportedTarget> {
    named(state, &state.routing.targets)
}
