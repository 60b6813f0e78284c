//! Linking routes: their targets, what they need to be served, whether they can fence, and what verifies them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::fields::{At, Cx};
use super::link::{Parts, index, push_probe};
use super::link_operation::route_rules;
use super::probes::retarget;
use super::raw::{File, RawFence, RawProbe, RawRoute, RawSharing};
use super::references::{no_component, unknown};
use super::routes::NOWHERE;
use crate::finding::{Code, Finding, Span};
use crate::probe::{Address, Probe, ProbeKind, ProbeTiming, Watches, Whom};
use crate::route::{ProxyFront, Route, RouteTarget, ServerName, Sharing};
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, RouteIx};

/// Every address and every DNS name has one user, and what routes need is there. Proxies may share an address where the
/// names that TLS clients say tell their routes apart.
pub(super) fn listeners(cx: &Cx<'_>, file: &File) {
    let (dns, beacon) = (file.dns_listen.as_ref(), file.beacon_listen.as_ref());
    let mut taken: HashMap<String, (Span, String)> = HashMap::new();
    let mut take = |key: String, span: Span, what: String| {
        if let Some((first, by)) = taken.get(&key) {
            cx.report(
                Finding::new(Code::ListenTwice, span, format!("`{key}` is used twice"))
                    .label(what)
                    .other(*first, by.clone())
                    .help("give one of them another"),
            );
        } else {
            taken.insert(key, (span, what));
        }
    };
    if let Some(dns) = dns {
        take(dns.value.to_string(), dns.span, "here for DNS".to_owned());
    }
    if let Some(beacon) = beacon {
        take(beacon.value.to_string(), beacon.span, "here for beacons".to_owned());
    }
    if let Some(heartbeats) = &file.heartbeats {
        take(heartbeats.value.listen.to_string(), heartbeats.span, "here for heartbeats".to_owned());
    }
    for link in file.link.iter().flat_map(|it| it.listen.iter().chain(&it.also)) {
        take(link.value.to_string(), link.span, "here for hosts".to_owned());
    }
    let mut doors: BTreeMap<SocketAddr, Vec<&RawRoute>> = BTreeMap::new();
    let mut sockets: BTreeSet<(&Path, SocketAddr)> = BTreeSet::new();
    for route in &file.routes {
        let name = &route.name.value;
        if let Some(proxy) = &route.proxy
            && proxy.listen != NOWHERE
        {
            let door = doors.entry(proxy.listen).or_default();
            if door.is_empty() {
                take(proxy.listen.to_string(), route.proxy_at, format!("here for the proxy of `{name}`"));
            }
            door.push(route);
            // Routes of one address may share it, as they share the address.
            if let Some(unix) = &proxy.unix
                && sockets.insert((unix, proxy.listen))
            {
                take(unix.display().to_string(), route.proxy_at, format!("here for the proxy of `{name}`"));
            }
        }
        for check in route.targets.iter().filter_map(|it| it.agent_check.as_ref()) {
            take(check.value.to_string(), check.span, format!("here for an agent-check of `{name}`"));
        }
        if let Some(front) = &route.dns {
            if !front.name.is_empty() {
                take(front.name.clone(), route.dns_at, format!("here for `{name}`"));
            }
            if dns.is_none() {
                no_listener(cx, route.dns_at, name, "dns", "\"0.0.0.0:53\"");
            }
        }
        if let (Some(span), None) = (route.beacon, beacon) {
            no_listener(cx, span, name, "beacon", "\"0.0.0.0:8600\"");
        }
    }
    doors.values().for_each(|it| door(cx, it));
}

/// Routes of one address: at most one takes whoever says no name of the others, no name leads to two of them, and what is
/// read of a client before its name is the same for all.
fn door(cx: &Cx<'_>, routes: &[&RawRoute]) {
    let mut rest: Option<&RawRoute> = None;
    let mut names: BTreeMap<&ServerName, &RawRoute> = BTreeMap::new();
    let proxies = routes.iter().filter_map(|it| Some((*it, it.proxy.as_ref()?)));
    for (route, proxy) in proxies {
        let here = format!("here for the proxy of `{}`", route.name.value);
        let there = |it: &RawRoute| format!("here for the proxy of `{}`", it.name.value);
        if let Some(first) = rest
            && proxy.server_names.is_empty()
        {
            cx.report(
                Finding::new(Code::ListenTwice, route.proxy_at, format!("`{}` is used twice", proxy.listen))
                    .label(here.clone())
                    .other(first.proxy_at, there(first))
                    .help("give one of them another, or tell TLS clients apart by name: `server_names: [shop.example.com]`"),
            );
        }
        if proxy.server_names.is_empty() {
            rest = rest.or(Some(route));
        }
        for name in &proxy.server_names {
            let Some(first) = names.insert(name, route) else { continue };
            let message = format!("`{}` is used twice at {}", name.as_str(), proxy.listen);
            cx.report(
                Finding::new(Code::ListenTwice, route.proxy_at, message)
                    .label(here.clone())
                    .other(first.proxy_at, there(first))
                    .help("keep it in one of them"),
            );
        }
        let (first, leads) = (routes[0], routes[0].proxy.as_ref().unwrap_or(proxy));
        let field = if leads.proxy_protocol_from != proxy.proxy_protocol_from {
            "proxy_protocol_from"
        } else if leads.hello_timeout != proxy.hello_timeout {
            "hello_timeout"
        } else {
            continue;
        };
        cx.report(
            Finding::new(Code::Contradiction, route.proxy_at, format!("{} has two values of `{field}`", proxy.listen))
                .label(here)
                .other(first.proxy_at, there(first))
                .reason("it counts before a client has said which route it wants")
                .help("say the same in all routes of the address"),
        );
    }
}

fn no_listener(cx: &Cx<'_>, span: Span, route: &str, what: &str, example: &str) {
    cx.report(
        Finding::new(
            Code::NoListener,
            span,
            format!("route `{route}` has `{what}`, but `traffic` has no `{what}` address"),
        )
        .label("nothing would answer here")
        .help(format!("add `traffic: {{ {what}: {example} }}` at the top of the plan")),
    );
}

/// Adds a route.
pub(super) fn route(
    cx: &Cx<'_>,
    plan: &mut Plan,
    parts: &mut Parts,
    instances: &HashMap<String, InstanceIx>,
    ix: RouteIx,
    raw: RawRoute,
) {
    let Targets { targets, places, agent_check, owner } = targets(cx, plan, parts, instances, ix, &raw);
    let verify = verify_probes(plan, ix, &raw, owner, &targets);
    let (sharing, fence) = match raw.sharing {
        RawSharing::Exclusive(fence) => (Sharing::Exclusive, fence),
        RawSharing::Shared | RawSharing::Unknown => (Sharing::Shared, None),
    };
    fence_works(cx, &raw, fence);
    proxy_can(cx, &raw);
    parts.fences.push(fence);
    parts.route_places.push(raw.name.span);
    let weak = raw.verify.is_none() && verify.iter().all(|it| matches!(plan.probe(*it).kind, ProbeKind::Tcp { .. }));
    parts.weak_verify.push(weak);
    // A route without targets was reported as such.
    parts.incomplete.push(targets.len() < raw.targets.len() || raw.targets.is_empty());
    parts.targets.push(places.into_keys().collect());
    let rules = route_rules(cx, plan, targets.len(), &raw.rules);
    plan.routes.push(Route {
        name: raw.name.value,
        sharing,
        proxy: raw.proxy,
        dns: raw.dns,
        beacon: raw.beacon.is_some(),
        agent_check,
        targets,
        on_silence: raw.on_silence,
        verify,
        polled: raw.polled,
        rules,
    });
}

/// The targets of a route, as far as their names resolve.
struct Targets {
    targets: Vec<RouteTarget>,
    places: BTreeMap<InstanceIx, Span>,
    agent_check: Vec<(InstanceIx, SocketAddr)>,
    /// The component of the first target.
    owner: Option<ComponentIx>,
}

fn targets(
    cx: &Cx<'_>,
    plan: &mut Plan,
    parts: &Parts,
    instances: &HashMap<String, InstanceIx>,
    ix: RouteIx,
    raw: &RawRoute,
) -> Targets {
    let mut targets: Vec<RouteTarget> = Vec::new();
    let mut places: BTreeMap<InstanceIx, Span> = BTreeMap::new();
    let mut agent_check = Vec::new();
    let mut first: Option<(ComponentIx, Span)> = None;
    for target in &raw.targets {
        let Some((name, standby)) = &target.instance else { continue };
        let Some(instance) = resolve(cx, plan, instances, &parts.unused, name, *standby) else { continue };
        if let Some(twice) = places.insert(instance, name.span) {
            cx.report(
                Finding::new(Code::NameTaken, name.span, format!("`{}` is a target twice", name.value))
                    .label("again here")
                    .other(twice, "first here")
                    .reason("an instance serves a route at one address")
                    .help("keep one of them"),
            );
            continue;
        }
        let component = plan.instance(instance).component;
        match first {
            None => first = Some((component, name.span)),
            Some((owner, span)) if owner != component && matches!(raw.sharing, RawSharing::Exclusive(_)) => cx.report(
                Finding::new(
                    Code::MixedRoute,
                    name.span,
                    format!("route `{}` is exclusive and has two owners", raw.name.value),
                )
                .label(format!("of component `{}`", plan.component(component).name))
                .other(span, format!("of component `{}`", plan.component(owner).name))
                .help("make it `shared: {}`, or give each component a route of its own"),
            ),
            Some(_) => {}
        }
        // Routes are added in order, so this one can only be the last.
        if plan.component(component).routes.last() != Some(&ix) {
            plan.components[component.index()].routes.push(ix);
        }
        if let Some(check) = &target.agent_check {
            agent_check.push((instance, check.value));
        }
        let unix = target.unix.as_ref().map(|it| it.value.clone());
        targets.push(RouteTarget { instance, address: target.address, unix, weight: target.weight });
    }
    Targets { targets, places, agent_check, owner: first.map(|(it, _)| it) }
}

fn resolve(
    cx: &Cx<'_>,
    plan: &Plan,
    instances: &HashMap<String, InstanceIx>,
    unused: &BTreeSet<String>,
    name: &At<String>,
    standby: bool,
) -> Option<InstanceIx> {
    let is_standby = |ix: InstanceIx| plan.component(plan.instance(ix).component).original() != ix;
    match instances.get(&name.value) {
        Some(ix) if is_standby(*ix) == standby => Some(*ix),
        Some(_) => {
            let (right, wrong) = if standby { ("component", "standby") } else { ("standby", "component") };
            cx.report(
                Finding::new(Code::UnknownReference, name.span, format!("`{}` is no {wrong}", name.value))
                    .label(format!("this is a {right}"))
                    .help(format!("write `{right}: {}`", name.value)),
            );
            None
        }
        // Where there is no component, or a ladder could not be read, this is a consequence.
        None if cx.is_broken() && (plan.components.is_empty() || (standby && unused.contains(&name.value))) => None,
        None if standby && unused.contains(&name.value) => {
            cx.report(
                Finding::new(
                    Code::UnknownReference,
                    name.span,
                    format!("standby `{}` belongs to no component", name.value),
                )
                .label("nobody could be taken over from")
                .help(format!("add `- failover_to_standby: {{ standby: {} }}` to its component", name.value)),
            );
            None
        }
        None if standby => {
            let names = plan.instances.iter().enumerate().filter(|(at, _)| is_standby(InstanceIx(index(*at))));
            unknown(cx, name, "standby", names.map(|(_, it)| it.name.as_str()));
            None
        }
        None => {
            no_component(cx, plan, name);
            None
        }
    }
}

/// What asks for something that only a proxy does, or only where there is a choice.
fn proxy_can(cx: &Cx<'_>, raw: &RawRoute) {
    let name = &raw.name.value;
    let unix = raw.targets.iter().find_map(|it| it.unix.as_ref());
    if let (Some(unix), None) = (unix, &raw.proxy) {
        cx.report(
            Finding::new(
                Code::Contradiction,
                unix.span,
                format!("route `{name}` has no proxy to use this UNIX socket"),
            )
            .label("clients of other machines can't reach it")
            .help("add `proxy: { listen: \"10.0.9.1:6432\" }`, or remove it: clients go to `address`"),
        );
    }
    if let (RawSharing::Exclusive(_), Some(ProxyFront { slow_start: Some(_), .. })) = (&raw.sharing, &raw.proxy) {
        cx.report(
            Finding::new(
                Code::Contradiction,
                raw.proxy_at,
                format!("route `{name}` is exclusive and has `slow_start`"),
            )
            .label("one target at a time serves")
            .reason("nobody else could serve the clients that the target does not get yet")
            .help("remove `slow_start`"),
        );
    }
}

/// DNS, beacons and agent-checks tell clients where to go; only a proxy can keep them from going there.
fn fence_works(cx: &Cx<'_>, raw: &RawRoute, fence: Option<(RawFence, Span)>) {
    let Some((fence @ (RawFence::TrafficCut | RawFence::StopOrCut), span)) = fence else { return };
    let name = &raw.name.value;
    let help = match fence {
        RawFence::StopOrCut => "remove `otherwise`, or let clients come by a proxy alone",
        RawFence::TrafficCut | RawFence::Stop | RawFence::Lease => {
            "use `fence: stop`, or accept the risk by name: `accept_risk: [two_writers]` at the failover"
        }
    };
    let finding = |why: &str| {
        Finding::new(Code::CutIsNoFence, span, format!("`traffic_cut` does not fence route `{name}`"))
            .label(why.to_owned())
            .help(help)
    };
    let unusable = raw.proxy.is_none() && raw.dns.is_none() && raw.beacon.is_none();
    if raw.proxy.is_none() && !unusable {
        cx.report(finding("there is no proxy to cut it at"));
    } else if let Some(beacon) = raw.beacon {
        cx.report(finding("clients come past the proxy").other(beacon, "whoever polls this reaches targets directly"));
    } else if let Some(check) = raw.targets.iter().find_map(|it| it.agent_check.as_ref()) {
        cx.report(finding("clients come past the proxy").other(check.span, "HAProxy reaches targets directly"));
    }
    if let (Some(proxy), Some(_)) = (&raw.proxy, &raw.dns)
        && proxy.listen.ip().is_unspecified()
        && proxy.listen.port() != 0
    {
        cx.report(
            Finding::new(
                Code::CutIsNoFence,
                raw.proxy_at,
                format!("DNS can't answer {} for route `{name}`", proxy.listen.ip()),
            )
            .label("listens on every address")
            .reason("the name answers with the proxy's own address, so that clients have no way past the proxy")
            .other(raw.dns_at, "answers with the proxy's address")
            .help("let the proxy listen on the address that clients are to use"),
        );
    }
}

/// The probes that see what a client of the route gets: those that the plan names, or the original instance's own
/// question asked through the proxy or the name, if it is one for the port that the route serves.
fn verify_probes(
    plan: &mut Plan,
    ix: RouteIx,
    raw: &RawRoute,
    component: Option<ComponentIx>,
    targets: &[RouteTarget],
) -> Vec<ProbeIx> {
    let probe_name = |at: usize| match at {
        0 => format!("route/{}/verify", raw.name.value),
        more => format!("route/{}/verify-{}", raw.name.value, more + 1),
    };
    if let Some(stated) = &raw.verify {
        let pushed = stated.clone().into_iter().enumerate();
        return pushed.map(|(at, it)| push_probe(plan, probe_name(at), Watches::Route(ix), it)).collect();
    }
    let (Some(component), Some(target)) = (component, targets.first()) else { return Vec::new() };
    let original = plan.component(component).original();
    let own: Vec<&Probe> = plan.instance(original).probes.iter().map(|it| plan.probe(*it)).collect();
    let served = targets.iter().find(|it| it.instance == original).unwrap_or(target).address.port();
    let find = |wanted: &str| own.iter().copied().find(|it| it.kind.word() == wanted && port(&it.kind) == Some(served));
    let Some(base) = find("http").or_else(|| find("tls")).or_else(|| find("tcp")).or_else(|| own.first().copied())
    else {
        return Vec::new();
    };
    let address = match (&raw.proxy, &raw.dns, plan.dns_listen) {
        (Some(proxy), _, _) => Address::Socket(reachable(proxy.listen)),
        (None, Some(dns), Some(server)) => {
            Address::ResolvedBy { server: reachable(server), name: dns.name.clone(), port: target.address.port() }
        }
        (None, Some(_), None) | (None, None, _) => return Vec::new(),
    };
    // A monitor on another port speaks another protocol than the route: then a connection is all that can be asked.
    let same = port(&base.kind) == Some(served);
    let same = same && says_a_name(raw, &base.kind);
    let kind = same.then(|| retarget(&base.kind, address.clone())).flatten().unwrap_or(ProbeKind::Tcp { address });
    let pace = base.timing.timeout.max(Duration::from_millis(50));
    let timing = ProbeTiming { interval: pace, fast_interval: pace, timeout: base.timing.timeout, fall: 1, rise: 1 };
    vec![push_probe(
        plan,
        probe_name(0),
        Watches::Route(ix),
        RawProbe { kind, from: Vec::new(), from_host: None, timing },
    )]
}

/// Whether a probe would be led to the route by the name that it says, where names decide.
fn says_a_name(route: &RawRoute, kind: &ProbeKind) -> bool {
    let Some(proxy) = route.proxy.as_ref().filter(|it| !it.server_names.is_empty()) else { return true };
    let ProbeKind::Http(http) = kind else { return false };
    let name = http.host.rsplit_once(':').map_or(http.host.as_str(), |it| it.0).to_ascii_lowercase();
    http.tls && proxy.server_names.iter().any(|it| it.means(&name))
}

/// The port that a probe connects to, where it asks the instance itself.
fn port(kind: &ProbeKind) -> Option<u16> {
    match kind.whom() {
        Whom::Server(address) => Some(address.port()),
        Whom::NameServer(_) | Whom::Machine(_) | Whom::Several(_) | Whom::Nobody => None,
    }
}

/// Where we reach our own listener: an address that means "all of ours" is asked at the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}
