//! What is asked, and how clients come in, in words.

use std::time::Duration;

use super::{ProbeWalk, millis};
use crate::config::scalar::show_duration;
use crate::plan::Plan;
use crate::probe::{Address, HttpAuth, HttpProbe, ProbeKind};
use crate::route::{OnSilence, Sharing};
use crate::{ProbeIx, RouteIx};

pub(super) fn probe(plan: &Plan, ix: ProbeIx) -> ProbeWalk {
    let probe = plan.probe(ix);
    ProbeWalk {
        name: probe.name.clone(),
        asks: asks(&probe.kind),
        interval_ms: millis(probe.timing.interval),
        fast_interval_ms: millis(probe.timing.fast_interval),
        timeout_ms: millis(probe.timing.timeout),
        fall: probe.timing.fall,
    }
}

/// What a probe asks whom.
pub(crate) fn asks(kind: &ProbeKind) -> String {
    match kind {
        ProbeKind::Tcp { address } => format!("TCP connection to {}{}", address, resolved(address)),
        ProbeKind::Tls(tls) => {
            let mut text = format!("TLS handshake with {}{}", tls.address, resolved(&tls.address));
            if tls.name != tls.address.host() {
                text.push_str(&format!(", for {}", tls.name));
            }
            text.push_str(&valid(tls.expires_after));
            text
        }
        ProbeKind::Http(http) => {
            let scheme = if http.tls { "https" } else { "http" };
            let whom = http.address.to_string();
            let mut text = format!("{} {scheme}://{whom}{}", http.method.word(), http.path);
            if http.host != whom && !whom.starts_with(&format!("{}:", http.host)) {
                text.push_str(&format!(", for host {}", http.host));
            }
            text.push_str(&resolved(&http.address));
            let codes: Vec<String> = (http.expect_status.iter())
                .map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") })
                .collect();
            if !codes.is_empty() && http.expect_status != [HttpProbe::GOOD] {
                text.push_str(&format!(", status {}", codes.join(", ")));
            }
            if http.http2 {
                text.push_str(", over HTTP/2");
            }
            match &http.auth {
                Some(HttpAuth::Basic { file }) => text.push_str(&format!(", as the user in {}", file.display())),
                Some(HttpAuth::Bearer { file }) => text.push_str(&format!(", with the token in {}", file.display())),
                None => {}
            }
            match http.redirects {
                0 => {}
                1 => text.push_str(", through one redirect at most"),
                most => text.push_str(&format!(", through {most} redirects at most")),
            }
            for (name, value) in &http.expect_headers {
                text.push_str(&format!(", header {name} with {value:?}"));
            }
            if let Some(body) = &http.expect_body {
                text.push_str(&format!(", body with {body:?}"));
            }
            text.push_str(&valid(http.expires_after));
            text
        }
        ProbeKind::Dns { server, name, record, expect } => {
            let answer = expect.as_ref().map(|it| format!(", answer {it:?}")).unwrap_or_default();
            format!("{} of {name} from {server}{answer}", record.word())
        }
        ProbeKind::Grpc(grpc) => {
            let of = if grpc.service.is_empty() { "the server".to_owned() } else { grpc.service.clone() };
            let tls = if grpc.tls { ", over TLS" } else { "" };
            format!("gRPC health of {of} at {}{tls}", grpc.address)
        }
        ProbeKind::Udp(udp) => {
            let whom = &udp.address;
            let Some(expect) = &udp.expect else { return format!("datagram to {whom}") };
            match std::str::from_utf8(expect) {
                Ok(text) if !text.contains(char::is_control) => format!("datagram to {whom}, answer with {text:?}"),
                Ok(_) | Err(_) => {
                    let bytes: Vec<String> = expect.iter().map(|it| format!("{it:02x}")).collect();
                    format!("datagram to {whom}, answer with the bytes {}", bytes.join(" "))
                }
            }
        }
        ProbeKind::Postgres(postgres) => {
            let server = &postgres.server;
            let mut text = format!("PostgreSQL at {}{}, as {}", server.address, resolved(&server.address), server.user);
            if let Some(tls) = &server.tls {
                text.push_str(&format!(", over TLS with {}", tls.name));
            }
            text.push_str(match (postgres.only_primary, postgres.writes) {
                (true, true) => ": a primary that can write",
                (true, false) => ": a primary",
                (false, true) => ": a primary can write",
                (false, false) => "",
            });
            text
        }
        ProbeKind::Icmp { address } => format!("ICMP echo to {address}"),
        ProbeKind::Disk(disk) => {
            let mib = disk.free_mib.map(|it| format!("{it} MiB"));
            let share = disk.free_ppm.map(|it| format!("{} %", f64::from(it) / 10_000.0));
            let inodes = disk.free_inodes.map(|it| format!("{it} inodes"));
            let room: Vec<String> = mib.into_iter().chain(share).chain(inodes).collect();
            format!("{} has {} free", disk.path.display(), room.join(" and "))
        }
        ProbeKind::Heartbeat { name, max_age } => format!("{name} calls every {} or sooner", show_duration(*max_age)),
        ProbeKind::Composite(composite) => {
            let of: Vec<String> = composite.of.iter().map(asks).collect();
            format!("{} of {}: {}", composite.needed, of.len(), of.join("; "))
        }
        ProbeKind::Command { argv, .. } => format!("command {}", command(argv)),
        ProbeKind::Process { pid_file } => format!("process of {}", pid_file.display()),
        ProbeKind::FileFreshness { path, max_age } => {
            format!("{} was changed within {}", path.display(), show_duration(*max_age))
        }
    }
}

/// For how long a certificate must be valid.
fn valid(expires_after: Option<Duration>) -> String {
    expires_after
        .map(|it| format!(", certificate valid for {} at least (people are told)", show_duration(it)))
        .unwrap_or_default()
}

fn resolved(address: &Address) -> String {
    match address {
        Address::ResolvedBy { server, .. } => format!(" as {server} resolves it"),
        Address::Socket(_) | Address::Name { .. } => String::new(),
    }
}

/// A command as a person would type it.
pub(super) fn command(argv: &[String]) -> String {
    let word = |it: &String| {
        let plain = !it.is_empty() && it.chars().all(|c| c.is_alphanumeric() || "-_./:=@%+,".contains(c));
        if plain { it.clone() } else { format!("{it:?}") }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A route with its fronts and its targets.
pub(super) fn route(plan: &Plan, ix: RouteIx) -> String {
    let route = plan.route(ix);
    let sharing = match route.sharing {
        Sharing::Exclusive => "exclusive",
        Sharing::Shared => "shared",
    };
    let targets: Vec<String> =
        route.targets.iter().map(|it| format!("{} {}", plan.instance(it.instance).name, it.address)).collect();
    let silence = match route.on_silence {
        OnSilence::Keep => String::new(),
        OnSilence::Cut { after } => format!("; cut after {} without the agent", show_duration(after)),
    };
    format!("{}: {sharing}, {}; targets {}{silence}", route.name, fronts(plan, ix).join(", "), targets.join(", "))
}

/// The ways in.
pub(crate) fn fronts(plan: &Plan, ix: RouteIx) -> Vec<String> {
    let route = plan.route(ix);
    let proxy = route.proxy.as_ref().map(|it| format!("proxy {}", it.listen));
    let dns = route.dns.as_ref().map(|it| format!("DNS {} (ttl {})", it.name, show_duration(it.ttl)));
    let beacon = plan.beacon_listen.filter(|_| route.beacon).map(|it| format!("beacon {it}"));
    let checks = route.agent_check.iter().map(|(_, it)| format!("agent-check {it}"));
    proxy.into_iter().chain(dns).chain(beacon).chain(checks).collect()
}
