//! Resolving names, and putting the plan together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::fields::{At, Cx};
use super::plays;
use super::probes::retarget;
use super::raw::{File, RawComponent, RawFence, RawHow, RawInstance, RawProbe, RawRoute, RawService, RawSharing};
use super::raw::{RawAct, RawRung};
use crate::component::{Component, Instance, Witness, WitnessRule};
use crate::finding::{Code, Finding, Span};
use crate::location::FailureDomain;
use crate::probe::{Address, Probe, ProbeKind, ProbeTiming, Watches};
use crate::route::{Route, RouteTarget, Sharing};
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, RouteIx, WitnessIx};

/// Where the nouns of a plan stand in its file.
pub(crate) struct Places {
    /// The site.
    pub(crate) site: Span,
    /// By component.
    pub(crate) components: Vec<Span>,
    /// By instance.
    pub(crate) instances: Vec<Span>,
    /// By component and rung.
    pub(crate) rungs: Vec<Vec<Span>>,
}

/// A plan and where its nouns stand.
pub(crate) struct Linked {
    pub(crate) plan: Plan,
    pub(crate) places: Places,
}

/// What plays are compiled from: what the plan itself does not keep, by instance and by route.
pub(super) struct Parts {
    pub(super) services: Vec<Option<RawService>>,
    pub(super) activate: Vec<Vec<RawAct>>,
    pub(super) names: Vec<At<String>>,
    pub(super) fences: Vec<Option<(RawFence, Span)>>,
    pub(super) route_places: Vec<Span>,
    /// Whether what verifies the route is a TCP connection only, by route.
    pub(super) weak_verify: Vec<bool>,
    /// Whether some target of the route was not understood, by route.
    pub(super) incomplete: Vec<bool>,
    /// Standbys that belong to no component.
    unused: BTreeSet<String>,
}

pub(super) fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a file of 16 MiB holds fewer than 2^32 of anything")
}

/// Makes the plan. Where names do not resolve, an error is reported and the plan is not one to use.
pub(crate) fn link(cx: &Cx<'_>, mut file: File, source: &str) -> Linked {
    file.components.sort_by(|a, b| a.instance.name.value.cmp(&b.instance.name.value));
    file.witnesses.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    file.routes.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    let owners = standby_owners(cx, &file);
    let mut plan = Plan {
        hash: Sha256::digest(source.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
        source: source.to_owned(),
        site: file.site,
        state_dir: file.state_dir,
        mode: file.mode,
        on_journal_loss: file.on_journal_loss,
        allowances: file.allowances,
        dns_listen: file.dns_listen.as_ref().map(|it| it.value),
        beacon_listen: file.beacon_listen.as_ref().map(|it| it.value),
        components: Vec::new(),
        instances: Vec::new(),
        probes: Vec::new(),
        witnesses: Vec::new(),
        routes: Vec::new(),
        notifications: file.notifications,
    };
    let mut parts = Parts {
        services: Vec::new(),
        activate: Vec::new(),
        names: Vec::new(),
        fences: Vec::new(),
        route_places: Vec::new(),
        weak_verify: Vec::new(),
        incomplete: Vec::new(),
        unused: BTreeSet::new(),
    };
    let mut ladders = Vec::new();
    let mut rules = Vec::new();
    let mut depends = Vec::new();
    let mut standbys_of: BTreeMap<usize, Vec<RawInstance>> = BTreeMap::new();
    for standby in file.standbys {
        match owners.get(&standby.name.value) {
            Some(owner) => standbys_of.entry(*owner).or_default().push(standby),
            None => {
                parts.unused.insert(standby.name.value);
            }
        }
    }
    for (at, raw) in file.components.into_iter().enumerate() {
        let standbys = standbys_of.remove(&at).unwrap_or_default();
        let RawComponent { instance, ladder, witnesses, depends_on, .. } =
            component(&mut plan, &mut parts, ComponentIx(index(at)), raw, standbys);
        let _ = instance;
        ladders.push(ladder);
        rules.push(witnesses);
        depends.push(depends_on);
    }
    for (at, raw) in file.witnesses.into_iter().enumerate() {
        if let Some(probe) = raw.probe {
            let watches = Watches::Witness(WitnessIx(index(at)));
            let probe = push_probe(&mut plan, format!("witness/{}", raw.name.value), watches, probe);
            plan.witnesses.push(Witness { name: raw.name.value, location: raw.location, probe });
        }
    }
    let instances: HashMap<String, InstanceIx> =
        plan.instances.iter().enumerate().map(|(at, it)| (it.name.clone(), InstanceIx(index(at)))).collect();
    dependencies(cx, &mut plan, &depends);
    witness_rules(cx, &mut plan, rules);
    listeners(cx, &file.routes, file.dns_listen.as_ref(), file.beacon_listen.as_ref());
    for (at, raw) in file.routes.into_iter().enumerate() {
        route(cx, &mut plan, &mut parts, &instances, RouteIx(index(at)), raw);
    }
    let places = Places {
        site: file.site_at,
        components: plan.components.iter().map(|it| parts.names[it.original().index()].span).collect(),
        instances: parts.names.iter().map(|it| it.span).collect(),
        rungs: ladders.iter().map(|it: &Vec<RawRung>| it.iter().map(|rung| rung.at).collect()).collect(),
    };
    for (at, ladder) in ladders.into_iter().enumerate() {
        let component = ComponentIx(index(at));
        let rungs = ladder.iter().map(|rung| plays::rung(cx, &plan, &parts, &instances, component, rung)).collect();
        plan.components[at].ladder = rungs;
    }
    Linked { plan, places }
}

/// Which component each standby belongs to: the one whose ladder names it. Also finds names that stand for two things.
fn standby_owners(cx: &Cx<'_>, file: &File) -> HashMap<String, usize> {
    let standbys: HashMap<&str, Span> = file.standbys.iter().map(|it| (it.name.value.as_str(), it.name.span)).collect();
    for component in &file.components {
        let name = &component.instance.name;
        if let Some(span) = standbys.get(name.value.as_str()) {
            cx.report(
                Finding::new(Code::NameTaken, *span, format!("`{}` is a component and a standby", name.value))
                    .label("a standby")
                    .other(name.span, "a component")
                    .help("give the standby a name of its own"),
            );
        }
    }
    let mut owners: HashMap<String, (usize, Span)> = HashMap::new();
    for (at, component) in file.components.iter().enumerate() {
        for rung in &component.ladder {
            let RawHow::Failover { standby: Some(named), .. } = &rung.how else { continue };
            if !standbys.contains_key(named.value.as_str()) {
                unknown(cx, named, "standby", file.standbys.iter().map(|it| it.name.value.as_str()));
                continue;
            }
            match owners.get(&named.value) {
                Some((owner, first)) if *owner != at => cx.report(
                    Finding::new(
                        Code::StandbyShared,
                        named.span,
                        format!("standby `{}` has two components", named.value),
                    )
                    .label(format!("for `{}`", component.instance.name.value))
                    .other(*first, format!("for `{}`", file.components[*owner].instance.name.value))
                    .help("give each component a standby of its own"),
                ),
                Some(_) => {}
                None => {
                    owners.insert(named.value.clone(), (at, named.span));
                }
            }
        }
    }
    for standby in &file.standbys {
        if !owners.contains_key(&standby.name.value) {
            let name = &standby.name.value;
            cx.report(
                Finding::new(Code::StandbyUnused, standby.name.span, format!("nothing uses the standby `{name}`"))
                    .label("in no component's `recovery`")
                    .help(format!("add `- failover_to_standby: {{ standby: {name} }}` to its component, or remove it")),
            );
        }
    }
    owners.into_iter().map(|(name, (owner, _))| (name, owner)).collect()
}

/// Reports a name that nothing has.
pub(super) fn unknown<'n>(cx: &Cx<'_>, name: &At<String>, what: &str, names: impl Iterator<Item = &'n str> + Clone) {
    let finding = Finding::new(Code::UnknownReference, name.span, format!("there is no {what} `{}`", name.value));
    let few: Vec<String> = names.clone().take(6).map(|it| format!("`{it}`")).collect();
    cx.report(match cx.nearest(&name.value, names) {
        Some(near) => finding.label(format!("did you mean `{near}`?")).help(format!("write `{near}`")),
        None if few.is_empty() => finding.label(format!("the plan has no {what}")),
        None if few.len() < 6 => {
            finding.label("unknown").help(format!("there are {}", super::fields::in_words(&few, "and")))
        }
        None => finding.label("unknown"),
    });
}

/// Adds a component with its instances; what is resolved later is handed back.
fn component(
    plan: &mut Plan,
    parts: &mut Parts,
    ix: ComponentIx,
    raw: RawComponent,
    standbys: Vec<RawInstance>,
) -> RawComponent {
    let mut rest = raw;
    let own = std::mem::replace(
        &mut rest.instance,
        RawInstance {
            name: At { value: String::new(), span: Span::default() },
            location: plan.site.location.clone(),
            temperature: crate::component::Temperature::Hot,
            service: None,
            probes: Vec::new(),
            down_when: 1,
            activate: Vec::new(),
        },
    );
    let name = own.name.value.clone();
    let instances = std::iter::once(own).chain(standbys).map(|it| instance(plan, parts, ix, it)).collect();
    plan.components.push(Component {
        name,
        kind: rest.kind,
        constraint: rest.constraint.take(),
        criticality: rest.criticality,
        objectives: rest.objectives,
        depends_on: Vec::new(),
        instances,
        ladder: Vec::new(),
        guards: rest.guards.clone(),
        witnesses: WitnessRule::default(),
        routes: Vec::new(),
        rejoin: rest.rejoin,
    });
    rest
}

fn instance(plan: &mut Plan, parts: &mut Parts, component: ComponentIx, raw: RawInstance) -> InstanceIx {
    let ix = InstanceIx(index(plan.instances.len()));
    let reports_lag = raw.probes.iter().any(|it| it.kind.reports_lag());
    let mut counts: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut probes = Vec::new();
    for probe in raw.probes {
        let word = probe.kind.word();
        let count = counts.entry(word).or_insert(0);
        *count += 1;
        let name = match count {
            1 => format!("{}/{word}", raw.name.value),
            more => format!("{}/{word}-{more}", raw.name.value),
        };
        probes.push(push_probe(plan, name, Watches::Instance(ix), probe));
    }
    plan.instances.push(Instance {
        name: raw.name.value.clone(),
        component,
        location: raw.location,
        temperature: raw.temperature,
        probes,
        down_when: raw.down_when,
        reports_lag,
    });
    parts.services.push(raw.service);
    parts.activate.push(raw.activate);
    parts.names.push(raw.name);
    ix
}

fn push_probe(plan: &mut Plan, name: String, watches: Watches, raw: RawProbe) -> ProbeIx {
    let ix = ProbeIx(index(plan.probes.len()));
    plan.probes.push(Probe { name, watches, kind: raw.kind, timing: raw.timing });
    ix
}

fn dependencies(cx: &Cx<'_>, plan: &mut Plan, depends: &[Vec<At<String>>]) {
    let by_name: HashMap<String, ComponentIx> =
        plan.components.iter().enumerate().map(|(at, it)| (it.name.clone(), ComponentIx(index(at)))).collect();
    for (at, names) in depends.iter().enumerate() {
        for name in names {
            match by_name.get(&name.value) {
                Some(other) if plan.components[at].depends_on.contains(other) => {}
                Some(other) => plan.components[at].depends_on.push(*other),
                None => unknown(cx, name, "component", plan.components.iter().map(|it| it.name.as_str())),
            }
        }
    }
    cycles(cx, plan, depends);
}

/// Reports each circle of dependencies once: a walk along dependencies that comes back to where it still is.
fn cycles(cx: &Cx<'_>, plan: &Plan, depends: &[Vec<At<String>>]) {
    const NEW: u8 = 0;
    const ON_PATH: u8 = 1;
    const DONE: u8 = 2;
    let mut state = vec![NEW; plan.components.len()];
    for start in 0..plan.components.len() {
        if state[start] != NEW {
            continue;
        }
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        state[start] = ON_PATH;
        while let Some((at, next)) = path.last_mut() {
            let Some(other) = plan.components[*at].depends_on.get(*next).map(|it| it.index()) else {
                state[*at] = DONE;
                path.pop();
                continue;
            };
            let from = *at;
            *next += 1;
            match state[other] {
                NEW => {
                    state[other] = ON_PATH;
                    path.push((other, 0));
                }
                ON_PATH => {
                    let begin = path.iter().position(|(it, _)| *it == other).unwrap_or(0);
                    let mut names: Vec<&str> =
                        path[begin..].iter().map(|(it, _)| plan.components[*it].name.as_str()).collect();
                    names.push(&plan.components[other].name);
                    let circle = names.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" → ");
                    let wanted = &plan.components[other].name;
                    let span = depends[from].iter().find(|it| it.value == *wanted).map(|it| it.span);
                    cx.report(
                        Finding::new(Code::Cycle, span.unwrap_or_default(), format!("a circle: {circle}"))
                            .label("this closes the circle")
                            .help("remove the dependency that recovery can do without"),
                    );
                }
                _ => {}
            }
        }
    }
}

fn witness_rules(cx: &Cx<'_>, plan: &mut Plan, rules: Vec<Option<super::raw::RawWitnessRule>>) {
    let by_name: HashMap<&str, WitnessIx> =
        plan.witnesses.iter().enumerate().map(|(at, it)| (it.name.as_str(), WitnessIx(index(at)))).collect();
    let mut found = Vec::new();
    for (component, rule) in plan.components.iter().zip(rules) {
        let home = &plan.instances[component.original().index()].location;
        let outside = || -> Vec<WitnessIx> {
            let all = plan.witnesses.iter().enumerate();
            let fits = |it: &Witness| home.zone.is_none() || !home.shares(&it.location, FailureDomain::Zone);
            all.filter(|(_, it)| fits(it)).map(|(at, _)| WitnessIx(index(at))).collect()
        };
        let Some(rule) = rule else {
            let of = outside();
            found.push(WitnessRule { need: usize::from(!of.is_empty()), of });
            continue;
        };
        let of = match &rule.of {
            None => outside(),
            Some(names) => {
                let mut of = Vec::new();
                for name in names {
                    match by_name.get(name.value.as_str()) {
                        Some(ix) if of.contains(ix) => {}
                        Some(ix) => of.push(*ix),
                        None => unknown(cx, name, "witness", plan.witnesses.iter().map(|it| it.name.as_str())),
                    }
                }
                of
            }
        };
        let need = rule.need.unwrap_or(usize::from(!of.is_empty()));
        let named = rule.of.as_ref().map_or(of.len(), Vec::len);
        if need > named {
            cx.report(
                Finding::new(
                    Code::WitnessNeed,
                    rule.at,
                    format!("`need` is {need}, the number of witnesses is {named}"),
                )
                .label("more than there are")
                .help("name more witnesses in `of`, or lower `need`"),
            );
        }
        found.push(WitnessRule { need, of });
    }
    for (component, rule) in plan.components.iter_mut().zip(found) {
        component.witnesses = rule;
    }
}

/// Every address and every DNS name has one user, and what routes need is there.
fn listeners(cx: &Cx<'_>, routes: &[RawRoute], dns: Option<&At<SocketAddr>>, beacon: Option<&At<SocketAddr>>) {
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
    for route in routes {
        let name = &route.name.value;
        if let Some(proxy) = &route.proxy
            && proxy.listen != super::routes::NOWHERE
        {
            take(proxy.listen.to_string(), route.proxy_at, format!("here for the proxy of `{name}`"));
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

fn route(
    cx: &Cx<'_>,
    plan: &mut Plan,
    parts: &mut Parts,
    instances: &HashMap<String, InstanceIx>,
    ix: RouteIx,
    raw: RawRoute,
) {
    let mut targets: Vec<RouteTarget> = Vec::new();
    let mut agent_check = Vec::new();
    let mut first: Option<(ComponentIx, Span)> = None;
    for target in &raw.targets {
        let Some((name, standby)) = &target.instance else { continue };
        let Some(instance) = resolve(cx, plan, instances, &parts.unused, name, *standby) else { continue };
        if let Some(twice) = targets.iter().position(|it| it.instance == instance) {
            cx.report(
                Finding::new(Code::NameTaken, name.span, format!("`{}` is a target twice", name.value))
                    .label("again here")
                    .other(raw.targets[twice].at, "first here")
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
        if !plan.component(component).routes.contains(&ix) {
            plan.components[component.index()].routes.push(ix);
        }
        if let Some(check) = &target.agent_check {
            agent_check.push((instance, check.value));
        }
        targets.push(RouteTarget { instance, address: target.address, weight: target.weight });
    }
    let verify = verify_probes(plan, ix, &raw, first.map(|(it, _)| it), targets.first());
    let (sharing, fence) = match raw.sharing {
        RawSharing::Exclusive(fence) => (Sharing::Exclusive, fence),
        RawSharing::Shared | RawSharing::Unknown => (Sharing::Shared, None),
    };
    fence_works(cx, &raw, fence);
    parts.fences.push(fence);
    parts.route_places.push(raw.name.span);
    let weak = raw.verify.is_none() && verify.iter().all(|it| matches!(plan.probe(*it).kind, ProbeKind::Tcp { .. }));
    parts.weak_verify.push(weak);
    parts.incomplete.push(targets.len() < raw.targets.len());
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
    });
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
            unknown(cx, name, "component", plan.components.iter().map(|it| it.name.as_str()));
            None
        }
    }
}

/// DNS, beacons and agent-checks tell clients where to go; only a proxy can keep them from going there.
fn fence_works(cx: &Cx<'_>, raw: &RawRoute, fence: Option<(RawFence, Span)>) {
    let Some((RawFence::TrafficCut, span)) = fence else { return };
    let name = &raw.name.value;
    let help = "use `fence: stop`, or accept the risk by name: `accept_risk: [two_writers]` at the failover";
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
/// question asked through the proxy or the name.
fn verify_probes(
    plan: &mut Plan,
    ix: RouteIx,
    raw: &RawRoute,
    component: Option<ComponentIx>,
    target: Option<&RouteTarget>,
) -> Vec<ProbeIx> {
    let probe_name = |at: usize| match at {
        0 => format!("route/{}/verify", raw.name.value),
        more => format!("route/{}/verify-{}", raw.name.value, more + 1),
    };
    if let Some(stated) = &raw.verify {
        let copies = stated.iter().map(|it| RawProbe { at: it.at, kind: it.kind.clone(), timing: it.timing });
        let copies: Vec<RawProbe> = copies.collect();
        let pushed = copies.into_iter().enumerate();
        return pushed.map(|(at, it)| push_probe(plan, probe_name(at), Watches::Route(ix), it)).collect();
    }
    let (Some(component), Some(target)) = (component, target) else { return Vec::new() };
    let own = &plan.instance(plan.component(component).original()).probes;
    let find = |wanted: &str| own.iter().map(|it| plan.probe(*it)).find(|it| it.kind.word() == wanted);
    let Some(base) = find("http").or_else(|| find("tcp")) else { return Vec::new() };
    let address = match (&raw.proxy, &raw.dns, plan.dns_listen) {
        (Some(proxy), _, _) => Address::Socket(reachable(proxy.listen)),
        (None, Some(dns), Some(server)) => {
            Address::ResolvedBy { server: reachable(server), name: dns.name.clone(), port: target.address.port() }
        }
        (None, Some(_), None) | (None, None, _) => return Vec::new(),
    };
    let pace = base.timing.timeout.max(Duration::from_millis(50));
    let timing = ProbeTiming { interval: pace, fast_interval: pace, timeout: base.timing.timeout, fall: 1, rise: 1 };
    let Some(kind) = retarget(&base.kind, address) else { return Vec::new() };
    vec![push_probe(plan, probe_name(0), Watches::Route(ix), RawProbe { at: raw.name.span, kind, timing })]
}

/// Where we reach our own listener: an address that means "all of ours" is asked at the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
