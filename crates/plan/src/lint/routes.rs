//! Routes: how long clients go on with an old answer, and whether what verifies a route sees what they see.

use std::net::SocketAddr;

use super::reading::{Reading, asked, rounded_down};
use crate::component::Component;
use crate::config::scalar::show_duration;
use crate::finding::{Code, Finding};
use crate::probe::{Address, ProbeKind};
use crate::route::{OnSilence, Route, Sharing};

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    for (_, component) in reading.components() {
        if reading.standbys(component).next().is_some() {
            for route in &component.routes {
                old_answers(reading, component, reading.plan.route(*route), findings);
            }
        }
    }
    for route in &reading.plan.routes {
        verification(reading, route, findings);
        copies(reading, route, findings);
    }
}

/// Silence cuts what this machine answers, and no table says so.
fn copies(reading: &Reading<'_>, route: &Route, findings: &mut Vec<Finding>) {
    let (Some(dns), OnSilence::Cut { after }) = (&route.dns, route.on_silence) else { return };
    if reading.plan.secondaries.is_empty() || route.proxy.is_some() {
        return;
    }
    let message =
        format!("`{}` is cut after {} of silence here, and goes on in the secondaries", dns.name, show_duration(after));
    findings.push(
        Finding::new(Code::CopyOutlives, reading.outline.at(&["routes", &route.name, "on_silence"]), message)
            .label("not told to who copies the zone")
            .other(reading.outline.at(&["traffic", "secondaries"]), "these go on")
            .help("put a proxy in front, which is cut for whoever comes; or leave `on_silence` out"),
    );
}

/// With a proxy the answer never changes.
fn old_answers(reading: &Reading<'_>, component: &Component, route: &Route, findings: &mut Vec<Finding>) {
    let (Some(dns), None, Some(rto)) = (&route.dns, &route.proxy, component.objectives.rto) else { return };
    if dns.ttl * 2 <= rto {
        return;
    }
    let message = format!(
        "clients may go on with an old answer for `{}` for {}, the rto of `{}` is {}",
        dns.name,
        show_duration(dns.ttl),
        component.name,
        show_duration(rto)
    );
    let ttl = show_duration(rounded_down(rto / 10));
    findings.push(
        Finding::new(Code::LongTtl, reading.outline.at(&["routes", &route.name, "dns", "ttl"]), message)
            .label(if dns.ttl >= rto { "all of the rto" } else { "more than half of the rto" })
            .other(reading.at(component, &["objectives", "rto"]), "this is promised")
            .help(format!("shorten it: `ttl: {ttl}`; or put a proxy in front, whose address never changes")),
    );
}

fn verification(reading: &Reading<'_>, route: &Route, findings: &mut Vec<Finding>) {
    let path = ["routes", &route.name, "verify"];
    if !reading.outline.says(&path) || route.verify.is_empty() {
        return;
    }
    let at = reading.outline.at(&path);
    let kinds = || route.verify.iter().map(|it| &reading.plan.probe(*it).kind);
    if kinds().all(|it| comes_past(route, it)) {
        let way_in = match (&route.proxy, &route.dns) {
            (Some(proxy), _) => proxy.listen.to_string(),
            (None, Some(dns)) => format!("`{}`", dns.name),
            (None, None) => return,
        };
        findings.push(
            Finding::new(Code::WeakVerify, at, format!("nothing verifies route `{}` by its own address", route.name))
                .label("asks an instance itself")
                .help(format!("ask {way_in}, as clients do; or leave `verify` out, then that is asked")),
        );
    } else if route.sharing == Sharing::Exclusive && kinds().all(|it| matches!(it, ProbeKind::Tcp { .. })) {
        let finding =
            Finding::new(Code::WeakVerify, at, format!("route `{}` is verified by TCP connections only", route.name));
        let (label, reason) = match route.proxy {
            Some(_) => ("the proxy accepts them", "our proxy accepts before it knows its target"),
            None => ("a kernel accepts them", "a kernel accepts connections for a process that hangs"),
        };
        findings.push(
            finding
                .label(label)
                .reason(format!("{reason}, so the recovery would be called complete without anybody being served"))
                .help(
                    "ask the application: `http` or `command`; or leave `verify` out, then the instance is asked too",
                ),
        );
    }
}

/// Whether a probe goes to a target of the route, and not through its proxy or its name.
fn comes_past(route: &Route, kind: &ProbeKind) -> bool {
    let Some(Address::Socket(socket)) = asked(kind) else { return false };
    let is_ours =
        |listen: SocketAddr| listen == *socket || (listen.ip().is_unspecified() && listen.port() == socket.port());
    if route.proxy.as_ref().is_some_and(|it| is_ours(it.listen)) {
        return false;
    }
    route.targets.iter().any(|it| it.address == *socket)
        || (!socket.ip().is_loopback() && route.targets.iter().any(|it| it.address.ip() == socket.ip()))
}
