//! The routing table that follows from bindings, fences, health and drains, as far as the routes' [`rules`] let it. This is the
//! only place that publishes one.
//!
//! An exclusive route belongs to the instance that its component is bound to, and to nobody while that instance is cut off;
//! a displaced instance stays fenced until it has rejoined. A shared route serves from every healthy target that is the
//! component or is hot; what is down leaves, and the traffic process fails open when nothing is left.

pub mod rules;

use std::net::{IpAddr, SocketAddr};

use mainstay_plan::component::Temperature;
use mainstay_plan::observation::Health;
use mainstay_plan::route::{DnsPolicy, OnSilence, Sharing};
use mainstay_plan::routing::{
    DnsEntry, DnsPolicyEntry, FORMAT, ProxyEntry, QueueEntry, RouteEntry, RoutingTable, TargetEntry, TargetState,
};
use mainstay_plan::{InstanceIx, RouteIx, Time};

use crate::command::Override;
use crate::elsewhere;
use crate::planted::{Fault, planted};
use crate::record::{Body, ReportedTarget};
use crate::state::State;

fn exclusive(state: &State, instance: InstanceIx) -> TargetState {
    let component = &state.components[state.plan.instance(instance).component.index()];
    if component.bound == instance {
        let cut = component.recovery.as_ref().is_some_and(|it| it.cut) && !planted(Fault::CutLeftOut);
        // Clients were never led here as far as this journal knows, and somebody else says that it is active.
        let elsewhere = component.elsewhere.is_some() && !component.served;
        return match (cut, elsewhere) {
            (true, _) => TargetState::Fenced,
            (false, true) => TargetState::Standby,
            (false, false) => TargetState::Serving,
        };
    }
    let displaced = if planted(Fault::DisplacedServes) { TargetState::Serving } else { TargetState::Fenced };
    if state.instances[instance.index()].displaced { displaced } else { TargetState::Standby }
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

/// Whether a route is published as it should be.
pub(crate) fn is_as_desired(state: &State, route: RouteIx, now: Time) -> bool {
    rules::ruled_route(state, route, now).0 == state.routing.targets[route.index()]
        && is_published_where_it_is(state, route)
}

/// Whether the newest table has every target of a route where it is.
pub(crate) fn is_published_where_it_is(state: &State, route: RouteIx) -> bool {
    addresses(state, route).eq(state.routing.addresses[route.index()].iter().copied())
}

/// By target: where it is, if not where the plan says.
fn addresses(state: &State, route: RouteIx) -> impl Iterator<Item = Option<IpAddr>> {
    state.plan.route(route).targets.iter().map(|it| state.address(it.instance))
}

/// Whether the plan has a target there.
pub(crate) fn is_planned_at(state: &State, route: &str, instance: &str, ip: IpAddr) -> bool {
    let planned = state
        .route(route)
        .zip(state.instance(instance))
        .and_then(|(route, instance)| state.plan.route(route).targets.iter().find(|it| it.instance == instance));
    planned.is_none_or(|it| it.address.ip() == ip)
}

/// What is held back or let go, or the table to publish, if what is published differs from what should be. Nothing is
/// published before every traffic process has said what it serves: a journal that was lost must not move traffic.
pub fn next(state: &State, now: Time) -> Option<Body> {
    if state.plan.routes.is_empty() || !state.traffic_was_heard() || state.site.halted.is_some() {
        return None;
    }
    if elsewhere::first_table_waits(state, now).is_some() {
        return None;
    }
    // A new lease begins with a table of its own, so that the traffic processes refuse those of the lease before.
    let floor = state.leadership.table_floor();
    let current = state.routing.epoch > floor || (floor == 0 && state.routing.epoch > 0);
    let is_newest = current && state.routing.under == state.adopted;
    let routes = || (0u32..).map(RouteIx).take(state.plan.routes.len());
    let stays = |it: RouteIx| rules::stays(state, it, now) && is_published_where_it_is(state, it);
    if is_newest && state.routing.held.is_empty() && routes().all(stays) {
        return None;
    }
    let rules::Ruled { targets: desired, kept } = rules::ruled(state, now);
    let overruled = || state.open_recoveries().any(|it| it.overrides.contains(&Override::Lease));
    if !state.leadership.may(&state.plan).routes(&state.plan) && !overruled() {
        return None;
    }
    if let Some(news) = held(state, &kept) {
        return Some(news);
    }
    let same = desired == state.routing.targets && routes().all(|it| is_published_where_it_is(state, it));
    if same && is_newest {
        return None;
    }
    let places: Vec<Vec<_>> = routes().map(|it| addresses(state, it).collect()).collect();
    let epoch = state.routing.epoch.max(floor) + u64::from(!planted(Fault::EpochUsedTwice) || state.routing.epoch == 0);
    Some(Body::TablePublished { epoch, targets: named(state, &desired, &places) })
}

/// That a rule holds a change back, or does no more, unless it was said already.
fn held(state: &State, kept: &[Option<rules::Kept>]) -> Option<Body> {
    (0u32..).map(RouteIx).zip(kept).find_map(|(ix, kept)| {
        let known = state.routing.held.get(&ix).map(|it| &it.kept);
        let route = || state.plan.route(ix).name.clone();
        match kept {
            Some(kept) if known != Some(kept) => {
                let (objection, targets) = (kept.objection.clone(), kept.targets.clone());
                Some(Body::RouteHeld { route: route(), targets, objection })
            }
            None if known.is_some() => Some(Body::RouteFreed { route: route() }),
            Some(_) | None => None,
        }
    })
}

fn named(state: &State, targets: &[Vec<TargetState>], places: &[Vec<Option<IpAddr>>]) -> Vec<ReportedTarget> {
    let mut all = Vec::new();
    for (route, (states, places)) in state.plan.routes.iter().zip(targets.iter().zip(places)) {
        for (target, (state_of, place)) in route.targets.iter().zip(states.iter().zip(places)) {
            all.push(ReportedTarget {
                route: route.name.clone(),
                instance: state.plan.instance(target.instance).name.clone(),
                state: *state_of,
                address: *place,
            });
        }
    }
    all
}

/// The newest published table, complete, as the traffic processes serve it.
pub fn table(state: &State) -> RoutingTable {
    let routes = (0u32..).map(RouteIx).take(state.plan.routes.len()).map(|ix| entry(state, ix)).collect();
    RoutingTable {
        format: FORMAT,
        epoch: state.routing.epoch,
        site: state.plan.site.name.clone(),
        dns_listen: state.plan.dns_listen,
        secondaries: state.plan.secondaries.clone(),
        dns_rate_limit: None,
        beacon_listen: state.plan.beacon_listen,
        beacon_tls: state.plan.beacon_tls.clone(),
        routes,
    }
}

fn entry(state: &State, ix: RouteIx) -> RouteEntry {
    let route = state.plan.route(ix);
    let millis = |it: std::time::Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    let (states, places) = (&state.routing.targets[ix.index()], &state.routing.addresses[ix.index()]);
    // As it was published, whatever came to be known since: an epoch has one content.
    let target = |(nth, target): (usize, &mainstay_plan::route::RouteTarget)| TargetEntry {
        instance: state.plan.instance(target.instance).name.clone(),
        address: places[nth].map_or(target.address, |ip| SocketAddr::new(ip, target.address.port())),
        // It belongs to the machine that the plan means.
        unix: target.unix.clone().filter(|_| places[nth].is_none()),
        weight: target.weight,
        agent_check: route.agent_check.iter().find(|it| it.0 == target.instance).map(|it| it.1),
        state: states[nth],
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
            proxy_protocol_from: it.proxy_protocol_from.clone(),
            proxy_protocol_to: it.proxy_protocol_to,
            server_names: it.server_names.clone(),
            hello_timeout_ms: millis(it.hello_timeout),
            half_open_timeout_ms: it.half_open_timeout.map(millis),
            queue: it.queue.map(|it| QueueEntry { length: it.length, wait_ms: millis(it.wait) }),
            max_per_source: it.max_per_source,
            unix: it.unix.clone(),
            slow_start_ms: it.slow_start.map(millis),
            retry_for_ms: it.retry_for.map(millis),
        }),
        dns: route.dns.as_ref().map(|it| DnsEntry {
            name: it.name.clone(),
            ttl_s: u32::try_from(it.ttl.as_secs()).unwrap_or(u32::MAX),
            policy: match it.policy {
                DnsPolicy::Failover => DnsPolicyEntry::Failover,
                DnsPolicy::Weighted => DnsPolicyEntry::Weighted,
                DnsPolicy::Multivalue => DnsPolicyEntry::Multivalue,
            },
            near: Vec::new(),
            records: Vec::new(),
        }),
        beacon: route.beacon,
        targets: route.targets.iter().enumerate().map(target).collect(),
    }
}

/// Every target's state in the newest published table.
pub fn published(state: &State) -> Vec<ReportedTarget> {
    named(state, &state.routing.targets, &state.routing.addresses)
}
