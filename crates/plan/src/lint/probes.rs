//! Probes: what they learn, how soon a single answer decides, and what they need to ask at all.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::reading::{Reading, asked, listed};
use crate::action::Action;
use crate::assess::{allowed, percent};
use crate::component::{Component, Criticality, Instance};
use crate::config::Places;
use crate::config::scalar::show_duration;
use crate::finding::{Code, Finding, Span};
use crate::probe::{Address, ProbeKind};
use crate::{ComponentIx, InstanceIx, Plan};

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    for (ix, component) in reading.components() {
        flapping(reading, component, findings);
        cool_down(reading, ix, component, findings);
        by_name(reading, component, findings);
    }
}

/// Instances of which nothing but the kernel is asked.
pub(super) fn tcp_only(plan: &Plan, component: ComponentIx, places: &Places, findings: &mut Vec<Finding>) {
    for ix in &plan.component(component).instances {
        let instance = plan.instance(*ix);
        let mut kinds = instance.probes.iter().map(|it| &plan.probe(*it).kind);
        if kinds.all(ProbeKind::is_answered_by_a_kernel) {
            findings.push(
                Finding::new(
                    Code::TcpOnly,
                    places.instances[ix.index()],
                    format!("`{}` is watched by {} only", instance.name, what_kernels_answer(plan, instance)),
                )
                .label("a hanging server looks healthy")
                .help("add an `http` or `command` probe that asks the application something"),
            );
        }
    }
}

/// One answer decides about something critical, or about a takeover of something exclusive.
fn flapping(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let exclusive = reading.is_exclusive(component) && reading.standbys(component).next().is_some();
    let instance = reading.original(component);
    if component.ladder.is_empty()
        || instance.down_when > 1
        || !(exclusive || component.criticality == Criticality::Critical)
    {
        return;
    }
    let probes = instance.probes.iter().map(|it| reading.plan.probe(*it)).enumerate();
    let Some((nth, probe)) = probes.into_iter().find(|(_, it)| it.timing.fall == 1) else { return };
    let (message, rise) = if probe.timing.rise == 1 {
        (format!("one failed answer takes `{}` down, and one good answer brings it back", component.name), ", rise: 2")
    } else {
        (format!("one failed answer takes `{}` down", component.name), "")
    };
    let rung = component.ladder.first().map_or("", |it| it.strategy.word());
    findings.push(
        Finding::new(Code::Flapping, reading.at_probe(component.original(), nth, "fall"), message)
            .label(format!("then `{rung}` begins"))
            .help(format!(
                "ask again before it counts: `fall: 3{rise}`; to lose no time by it: `fast_interval: {}`",
                show_duration(probe.timing.timeout.min(probe.timing.fast_interval))
            )),
    );
}

fn cool_down(reading: &Reading<'_>, ix: ComponentIx, component: &Component, findings: &mut Vec<Finding>) {
    let Some(worst) = reading.recovery(ix).map(|it| it.worst().total()) else { return };
    let year = component.objectives.availability_ppm.map(|it| allowed(it).year);
    // Where one recovery alone takes longer than a year allows, MS0510 speaks.
    let long = year.filter(|it| component.guards.cool_down > *it && worst <= *it);
    // The default is nobody's word.
    let says = || reading.outline.says(&["components", &component.name, "guards", "cool_down"]);
    if component.guards.cool_down < worst && says() {
        findings.push(short_cool_down(reading, component, worst));
    }
    if let Some(year) = long {
        findings.push(long_cool_down(reading, component, worst, year, says()));
    }
}

fn short_cool_down(reading: &Reading<'_>, component: &Component, worst: Duration) -> Finding {
    let message = format!(
        "`{}` cools down for {}, and is recovered in up to {}",
        component.name,
        show_duration(component.guards.cool_down),
        show_duration(worst)
    );
    Finding::new(Code::CoolDown, reading.at(component, &["guards", "cool_down"]), message)
        .label("shorter than one recovery")
        .reason("what fails again at once is recovered again and again, and is down longer than it serves")
        .help(format!("make it longer than a recovery: `cool_down: {}`", show_duration(roomy(worst))))
}

fn long_cool_down(
    reading: &Reading<'_>,
    component: &Component,
    worst: Duration,
    year: Duration,
    says: bool,
) -> Finding {
    let cool_down = show_duration(component.guards.cool_down);
    let message = format!(
        "a second failure of `{}` may wait {cool_down} for the cool-down, and {} are allowed a year",
        component.name,
        show_duration(year)
    );
    let promised = component.objectives.availability_ppm.map(percent).unwrap_or_default();
    Finding::new(Code::CoolDown, reading.at(component, &["guards", "cool_down"]), message)
        .label(if says {
            "longer than a year's allowance".to_owned()
        } else {
            format!("no `cool_down` is said: {cool_down}")
        })
        .other(reading.at(component, &["objectives", "availability"]), format!("{promised} is promised"))
        .reason("within the cool-down nothing is recovered until an operator overrules it")
        .help(format!("shorten it: `guards: {{ cool_down: {} }}`", show_duration(roomy(worst).min(year))))
}

/// Twice as long, in whole seconds.
fn roomy(time: Duration) -> Duration {
    Duration::from_secs((time * 2).as_secs() + 1)
}

/// What a recovery of something critical would have to look up at the moment of failure.
fn by_name(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    if component.criticality != Criticality::Critical || component.ladder.is_empty() {
        return;
    }
    let mut names = BTreeSet::new();
    let mut first = None;
    for ix in &component.instances {
        for (nth, probe) in reading.plan.instance(*ix).probes.iter().enumerate() {
            if let Some(host) = looked_up(&reading.plan.probe(*probe).kind) {
                names.insert(host.to_owned());
                first = first.or(Some((*ix, nth)));
            }
        }
    }
    let plays = component.ladder.iter().flat_map(|it| it.plays.values());
    for step in plays.flat_map(|it| &it.steps) {
        if let Some((_, Action::Webhook { url, .. })) = step.kind.action()
            && let Some(host) = host(url)
        {
            names.insert(host.to_owned());
        }
    }
    if names.is_empty() {
        return;
    }
    let at = first.map_or_else(|| reading.at(component, &[]), |(ix, nth)| at_question(reading, ix, nth));
    let all = listed(names.iter().map(String::as_str));
    findings.push(
        Finding::new(Code::ByName, at, format!("recovering `{}` needs the address of {all}", component.name))
            .label("looked up when it is asked")
            .help("write the IP address; `host` keeps the name for HTTP and its certificate"),
    );
}

/// What is asked of an instance of which nothing but the kernel is asked.
fn what_kernels_answer(plan: &Plan, instance: &Instance) -> &'static str {
    let pinged = |it: &&crate::ProbeIx| matches!(plan.probe(**it).kind, ProbeKind::Icmp { .. });
    match instance.probes.iter().filter(pinged).count() {
        0 => "TCP connections",
        pings if pings == instance.probes.len() => "ICMP",
        _ => "ICMP and TCP connections",
    }
}

fn at_question(reading: &Reading<'_>, ix: InstanceIx, nth: usize) -> Span {
    let field = match &reading.plan.probe(reading.plan.instance(ix).probes[nth]).kind {
        ProbeKind::Http(_) => "url",
        ProbeKind::Tcp { .. }
        | ProbeKind::Tls(_)
        | ProbeKind::Dns { .. }
        | ProbeKind::Grpc(_)
        | ProbeKind::Postgres(_)
        | ProbeKind::Udp(_)
        | ProbeKind::Icmp { .. }
        | ProbeKind::Command { .. }
        | ProbeKind::Process { .. }
        | ProbeKind::FileFreshness { .. }
        | ProbeKind::Disk(_)
        | ProbeKind::Heartbeat { .. }
        | ProbeKind::Composite(_) => "address",
    };
    reading.at_probe(ix, nth, field)
}

fn looked_up(kind: &ProbeKind) -> Option<&str> {
    match asked(kind)? {
        Address::Name { host, .. } => (host != "localhost").then_some(host.as_str()),
        Address::Socket(_) | Address::ResolvedBy { .. } => None,
    }
}

/// The host of a URL, if it has to be looked up.
fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, it)| it);
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    if authority.starts_with('[') {
        return None;
    }
    let host = authority.split(':').next()?;
    (!host.is_empty() && host != "localhost" && host.parse::<IpAddr>().is_err()).then_some(host)
}
