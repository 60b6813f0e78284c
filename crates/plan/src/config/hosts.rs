//! Lowering hosts and the link, and what is checked of both once all instances are known.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::components::place;
use super::fields::{At, Cx, Fields};
use super::grammar::{HOST, HOST_LEASE, LINK};
use super::link::Parts;
use super::raw::RawLink;
use super::routes::{NOWHERE, listen};
use super::scalar::show_duration;
use super::tree::{Entry, Node, Value};
use super::values;
use crate::agents::AgentRole;
use crate::finding::{Code, Finding, Span};
use crate::hosts::{Host, LeaseTimes, Link, OnAgentLoss};
use crate::location::Location;
use crate::policy::Allowances;
use crate::{ComponentIx, InstanceIx, Plan};

/// One host: `NAME: {…}`.
pub(super) fn host<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> At<Host> {
    let name = entry.key.to_string();
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("host `{name}`"), &HOST);
    let (region, zone) = (fields.read("region", place).unwrap_or_default(), fields.read("zone", place));
    let (serves, keeps_journal) = (fields.flag("serves"), fields.flag("keeps_journal"));
    let peer_address = fields.read("peer_address", listen);
    fields.finish();
    let location = Location { region, zone, host: Some(name.clone()) };
    At { value: Host { name, location, serves, keeps_journal, peer_address }, span: entry.key_span }
}

/// Where hosts reach the agent, and the times of their leases.
pub(super) fn link<'a>(cx: &'a Cx<'a>, entry: &'a Entry, allowances: &Allowances) -> RawLink {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "the link", &LINK);
    let listen = fields.read("listen", |cx, node| Some(At { value: listen(cx, node)?, span: node.span }));
    let also: Vec<At<SocketAddr>> = fields.read("also", listens).unwrap_or_default();
    let leased = fields.take("lease");
    fields.finish();
    let at = leased.map_or(entry.key_span, |it| it.key_span);
    let mut fields = Fields::open(cx, leased.map(|it| &it.node), at, "this lease", &HOST_LEASE);
    let lease = LeaseTimes {
        renew: fields.duration("renew"),
        expires: fields.duration("expires"),
        demote: fields.duration_or("demote", allowances.forced_stop),
        drift: fields.duration("drift"),
    };
    let (expires_at, demote_at) = (fields.place("expires").unwrap_or(at), fields.place("demote").unwrap_or(at));
    fields.finish();
    lasts(cx, &lease, allowances, (expires_at, demote_at));
    let address = listen.as_ref().map_or(NOWHERE, |it| it.value);
    let lease_at = expires_at;
    RawLink {
        listen,
        lease_at,
        also: also.clone(),
        link: Link { listen: address, also: also.into_iter().map(|it| it.value).collect(), lease },
    }
}

/// Several addresses to listen at.
fn listens(cx: &Cx<'_>, node: &Node) -> Option<Vec<At<SocketAddr>>> {
    let Value::List(items) = &node.value else {
        // It says what is missing.
        return values::sockets(cx, node).map(|_| Vec::new());
    };
    Some(items.iter().filter_map(|it| Some(At { value: listen(cx, it)?, span: it.span })).collect())
}

/// One renewal that is lost on the way must not end a lease, and whoever has lost it must be gone before another gets it.
fn lasts(cx: &Cx<'_>, lease: &LeaseTimes, allowances: &Allowances, (expires_at, demote_at): (Span, Span)) {
    let LeaseTimes { renew, expires, demote, drift } = *lease;
    let takes = renew * 2 + allowances.lateness + drift;
    let show = show_duration;
    let wait = || {
        format!(
            "who gets it next waits expires {} + demote {} + drift {} + the allowance lateness {}, which are {}",
            show(expires),
            show(demote),
            show(drift),
            show(allowances.lateness),
            show(lease.term(allowances))
        )
    };
    if takes >= expires {
        let message = format!("a lease of {} is lost with one renewal", show(expires));
        let sum = format!(
            "renew twice {} + the allowance lateness {} + drift {} are {}",
            show(renew * 2),
            show(allowances.lateness),
            show(drift),
            show(takes)
        );
        cx.report(
            Finding::new(Code::HostLease, expires_at, message)
                .label(sum)
                .reason(format!("a host whose renewal is lost once would stop what it runs; {}", wait()))
                .help(format!("write more than {}: `expires: {}`", show(takes), show(takes * 3 / 2))),
        );
    }
    if demote < allowances.forced_stop {
        let message = format!("{} are too short for the longest stop", show(demote));
        cx.report(
            Finding::new(Code::HostLease, demote_at, message)
                .label(format!(
                    "a killed process may take {}: the allowance `forced_stop`",
                    show(allowances.forced_stop)
                ))
                .reason(format!("it could still write when another has the lease; {}", wait()))
                .help(format!(
                    "write `demote: {}`, or `allowances: {{ forced_stop: {} }}` if it is never longer",
                    show(allowances.forced_stop),
                    show(demote)
                )),
        );
    }
}

/// The hosts of a plan, by name. An agent with `role: hands` is one.
pub(super) fn register(cx: &Cx<'_>, plan: &mut Plan, hosts: Vec<At<Host>>, link: Option<RawLink>) {
    let mut found: BTreeMap<String, (Host, Option<Span>)> = BTreeMap::new();
    for it in hosts {
        found.insert(it.value.name.clone(), (it.value, Some(it.span)));
    }
    for agent in plan.agents.iter().filter(|it| it.role == AgentRole::Hands) {
        let name = agent.location.host.clone().unwrap_or_else(|| agent.name.clone());
        let location = Location { host: Some(name.clone()), ..agent.location.clone() };
        if let Some((_, Some(span))) = found.get(&name) {
            cx.report(
                Finding::new(Code::NameTaken, *span, format!("`{name}` is a host, and an agent with `role: hands`"))
                    .label("here, and in `agents`")
                    .help("both mean the same: keep this one"),
            );
            continue;
        }
        let host = Host { name: name.clone(), location, serves: false, keeps_journal: false, peer_address: None };
        found.insert(name, (host, None));
    }
    let first = found.values().find_map(|it| it.1);
    if let (Some(at), None) = (first, &link) {
        cx.report(
            Finding::new(Code::NoLink, at, "the plan has hosts and no `link`")
                .label("does not know where to find its agent")
                .help("add `link: { listen: \"IP:7400\" }`, with an address of the agent's machine"),
        );
    }
    plan.hosts = found.into_values().map(|it| it.0).collect();
    plan.link = link.map(|it| it.link);
}

/// What of an instance names a host that is not there, or one that is somewhere else.
pub(super) fn instance(cx: &Cx<'_>, plan: &Plan, ix: InstanceIx, name: Span, ask_from: &[Option<Span>]) {
    let it = plan.instance(ix);
    let host = plan.host_of(ix).map(|it| plan.host(it));
    if let Some(host) = host
        && (host.location.region != it.location.region
            || (host.location.zone != it.location.zone && host.location.zone.is_some() && it.location.zone.is_some()))
    {
        let message = format!("`{}` is in {}, and its host `{}` is not", it.name, it.location, host.name);
        cx.report(
            Finding::new(Code::Contradiction, name, message)
                .label(format!("`{}` is in {}", host.name, host.location))
                .help("say the same `region` and `zone` of both"),
        );
    }
    for (probe, at) in it.probes.iter().zip(ask_from) {
        let probe = plan.probe(*probe);
        if let (Some(at), None) = (at, host) {
            asks_nobody(cx, *at, &it.name, it.location.host.as_deref());
        }
        if host.is_some() && probe.kind.waits_for_calls() && (probe.from_host || probe.kind.is_of_one_machine()) {
            cx.report(
                Finding::new(
                    Code::Contradiction,
                    at.unwrap_or(name),
                    format!("`{}` is asked by its host, and a job tells it to the agent", probe.name),
                )
                .label("nobody knows all of it")
                .help("write the heartbeat as a probe of its own"),
            );
        }
    }
}

/// A question for a host that is not there.
fn asks_nobody(cx: &Cx<'_>, at: Span, instance: &str, machine: Option<&str>) {
    let message = format!("`{instance}` has no host that could ask");
    let finding = Finding::new(Code::NoHost, at, message).label("asked by nobody");
    cx.report(match machine {
        Some(machine) => finding.help(format!(
            "add `hosts: {{ {machine}: {{ region: … }} }}`, and run `mainstay host` there; or leave `ask_from` out"
        )),
        None => finding.help("say `host` in its `location`, and add it to `hosts`; or leave `ask_from` out"),
    });
}

/// A question from a host about something that lives on none.
pub(super) fn of_no_instance(cx: &Cx<'_>, at: Option<Span>) {
    let Some(at) = at else { return };
    cx.report(
        Finding::new(Code::NoHost, at, "this is no probe of an instance")
            .label("lives on no host of ours")
            .help("leave `ask_from` out: the agent asks it"),
    );
}

/// What is known of a component that is to stay without the agent.
pub(super) struct Staying {
    /// Where it says so.
    pub(super) at: Option<Span>,
    /// Whether it holds a lease at all.
    pub(super) is_leased: bool,
    /// Where the lease's length stands.
    pub(super) lease_at: Option<Span>,
}

/// Whether every instance of a component can hold a lease; what can't is reported.
pub(super) fn can_hold_leases(cx: &Cx<'_>, plan: &Plan, parts: &Parts, component: ComponentIx, fence: Span) {
    let it = plan.component(component);
    if plan.link.is_none() && plan.hosts.is_empty() {
        cx.report(
            Finding::new(
                Code::NoHost,
                fence,
                format!("nobody holds a lease for `{}`: the plan has no `hosts`", it.name),
            )
            .label("a lease is held by a host")
            .help(
                "add `hosts: { db-a: { region: … } }` and `link: { listen: \"IP:7400\" }`, and say `host` in the \
                     `location` of every instance",
            ),
        );
        return;
    }
    for ix in it.instances.iter().filter(|it| plan.host_of(**it).is_none()) {
        let name = &parts.names[ix.index()];
        let (label, help) = match &plan.instance(*ix).location.host {
            Some(host) => (
                format!("`{host}` is none of the plan's `hosts`"),
                format!("add `{host}: {{ region: {} }}` to `hosts`", plan.instance(*ix).location.region),
            ),
            None => {
                let hosts: Vec<&str> = plan.hosts.iter().map(|it| it.name.as_str()).collect();
                (
                    "does not say on which host it is".to_owned(),
                    format!("say `host` in its `location`: {}", hosts.join(", ")),
                )
            }
        };
        cx.report(
            Finding::new(Code::NoHost, name.span, format!("nobody holds a lease for `{}`", name.value))
                .label(label)
                .other(fence, "fenced by a lease")
                .help(help),
        );
    }
}

/// Whether a component can stay what it is without the agent, as it says: somebody has to be asked, and in time.
pub(super) fn can_stay(cx: &Cx<'_>, plan: &Plan, parts: &Parts, component: ComponentIx, stays: &Staying) {
    let it = plan.component(component);
    let Some(at) = stays.at.filter(|_| it.on_agent_loss == OnAgentLoss::Hold) else { return };
    if !stays.is_leased {
        cx.report(
            Finding::new(
                Code::NobodyAgrees,
                at,
                format!("`{}` holds no lease, so nothing ends it without the agent", it.name),
            )
            .label("holds nothing")
            .help("leave it out; or fence its takeovers with `fence: lease`"),
        );
        return;
    }
    let hosts: Vec<&Host> = it.instances.iter().filter_map(|ix| plan.host_of(*ix)).map(|it| plan.host(it)).collect();
    for ix in &it.instances {
        let Some(host) = plan.host_of(*ix).map(|it| plan.host(it)).filter(|it| it.peer_address.is_none()) else {
            continue;
        };
        let name = &parts.names[ix.index()];
        cx.report(
            Finding::new(
                Code::NobodyAgrees,
                name.span,
                format!("host `{}` can't be asked whether `{}` may stay", host.name, it.name),
            )
            .label(format!("lives on `{}`, which has no `peer_address`", host.name))
            .other(at, "asks every host that could take over")
            .help(format!(
                "add `peer_address: \"IP:7401\"` to `{}` below `hosts`, and `listen: \"IP:7401\"` to its host.yaml",
                host.name
            )),
        );
    }
    let first = hosts.first().map(|it| &it.name);
    if hosts.len() == it.instances.len() && hosts.iter().all(|it| Some(&it.name) == first) {
        cx.report(
            Finding::new(Code::NobodyAgrees, at, format!("no other host could agree that `{}` stays", it.name))
                .label("all its instances live on one host")
                .help("leave it out; or put a standby on another host"),
        );
    }
    let (Some(link), Some(lease_at)) = (&plan.link, stays.lease_at) else { return };
    let (lease, allowed, show) = (link.lease, &plan.allowances, show_duration);
    let takes = lease.renew * 4 + allowed.lateness * 2 + lease.drift;
    if takes < lease.expires {
        return;
    }
    let message = format!("a lease of {} is over before the other hosts can agree", show(lease.expires));
    let sum = format!(
        "renew four times {} + the allowance lateness twice {} + drift {} are {}",
        show(lease.renew * 4),
        show(allowed.lateness * 2),
        show(lease.drift),
        show(takes)
    );
    cx.report(
        Finding::new(Code::HostLease, lease_at, message)
            .label(sum)
            .other(at, "is to stay without the agent")
            .reason(format!(
                "a host agrees only when it has heard no agent for {}, and is asked every {} from the second renewal that failed on",
                show(lease.heard_within(allowed)),
                show(lease.renew)
            ))
            .help(format!("write more than {}: `expires: {}`", show(takes), show(takes * 3 / 2))),
    );
}
