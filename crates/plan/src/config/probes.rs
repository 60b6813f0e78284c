//! Lowering probes.

use std::net::IpAddr;
use std::time::Duration;

use super::actions;
use super::fields::{Cx, Fields, choose, items};
use super::grammar::{AUTH, Choice, PROBE, PROBE_PART};
use super::raw::RawProbe;
use super::tree::{Node, Value};
use super::values;
use crate::finding::{Code, Finding, Span};
use crate::postgres::{PostgresProbe, PostgresServer};
use crate::probe::{
    Address, CompositeProbe, DiskProbe, DnsRecord, GrpcProbe, Hidden, HttpAuth, HttpMethod, HttpProbe, ProbeKind,
    ProbeTiming, TlsProbe, UdpProbe,
};

/// A list of probes.
pub(super) fn probes<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Vec<RawProbe> {
    items(cx, node).unwrap_or_default().iter().filter_map(|it| probe(cx, it)).collect()
}

/// One probe: `tcp: {…}`.
pub(super) fn probe<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<RawProbe> {
    let (mut fields, kind) = question(cx, node, &PROBE, "probe")?;
    let from = if fields.may_have("from") { from(&mut fields, kind.as_ref()) } else { Vec::new() };
    let from_host = if fields.may_have("ask_from") { from_host(&mut fields) } else { None };
    let timing = timing(&mut fields);
    fields.finish();
    Some(RawProbe { kind: kind?, from, from_host, timing })
}

/// What is asked, and what else is said of it.
fn question<'a>(
    cx: &'a Cx<'a>,
    node: &'a Node,
    kinds: &'static Choice,
    what: &str,
) -> Option<(Fields<'a>, Option<ProbeKind>)> {
    let chosen = choose(cx, node, kinds)?;
    let mut fields = Fields::behind(cx, &chosen, format!("this {} {what}", chosen.word));
    let kind = match chosen.word {
        "tcp" => fields.read("address", values::address).map(|address| ProbeKind::Tcp { address }),
        "tls" => tls(&mut fields).map(ProbeKind::Tls),
        "http" => http(&mut fields).map(|it| ProbeKind::Http(Box::new(it))),
        "dns" => dns(&mut fields),
        "grpc" => grpc(&mut fields).map(|it| ProbeKind::Grpc(Box::new(it))),
        "udp" => udp(&mut fields).map(ProbeKind::Udp),
        "icmp" => fields.read("address", values::ip).map(|address| ProbeKind::Icmp { address }),
        "command" => command(&mut fields),
        "process" => fields.read("pid_file", values::path).map(|pid_file| ProbeKind::Process { pid_file }),
        "disk" => disk(&mut fields).map(ProbeKind::Disk),
        "heartbeat" => heartbeat(&mut fields),
        "postgres" => postgres(&mut fields, chosen.at).map(|it| ProbeKind::Postgres(Box::new(it))),
        "composite" => composite(&mut fields).map(|it| ProbeKind::Composite(Box::new(it))),
        _ => file(&mut fields),
    };
    Some((fields, kind))
}

/// Where it says that the host of its instance asks.
fn from_host(fields: &mut Fields<'_>) -> Option<Span> {
    let at = fields.place("ask_from");
    let asks = fields.word("ask_from", &["host"], |it| it).is_some();
    at.filter(|_| asks)
}

/// Where it is asked from. An address that can't reach what is asked would be no help.
fn from(fields: &mut Fields<'_>, kind: Option<&ProbeKind>) -> Vec<IpAddr> {
    let listed = fields.read("from", values::ips).unwrap_or_default();
    let asked = kind.and_then(ProbeKind::host).and_then(|it| it.parse::<IpAddr>().ok());
    for it in &listed {
        if let Some(asked) = asked.filter(|asked| asked.is_ipv4() != it.value.is_ipv4()) {
            fields.cx.report(
                Finding::new(Code::BadAddress, it.span, format!("`{asked}` can't be asked from `{}`", it.value))
                    .label("one is of IPv4, the other of IPv6")
                    .help("write an address of the other kind"),
            );
        }
    }
    listed.into_iter().map(|it| it.value).collect()
}

fn tls(fields: &mut Fields<'_>) -> Option<TlsProbe> {
    let address = fields.read("address", values::address);
    let name = fields.text("name");
    let ca_file = fields.read("ca_file", values::path);
    let expires_after = fields.maybe_duration("expires_after");
    let address = address?;
    Some(TlsProbe { name: name.unwrap_or_else(|| address.host()), address, ca_file, expires_after })
}

fn http(fields: &mut Fields<'_>) -> Option<HttpProbe> {
    let url = fields.read("url", values::url);
    let method = fields.word("method", &HttpMethod::ALL, HttpMethod::word);
    let headers = fields.read("headers", actions::headers).unwrap_or_default();
    let send = fields.read("send", values::content).map(Hidden);
    let auth = fields.read("auth", auth);
    let http2 = fields.flag("http2");
    let redirects = fields.number("redirects");
    let expect_headers = fields.read("expect_headers", actions::headers).unwrap_or_default();
    let expect_status = fields.read("status", statuses).unwrap_or_else(|| vec![HttpProbe::GOOD]);
    let expect_body = fields.text("body");
    let host = fields.text("host");
    let reports = fields.may_have("lag_header");
    let lag_header = reports.then(|| fields.text("lag_header")).flatten();
    let role_header = reports.then(|| fields.text("role_header")).flatten();
    let ca_file = fields.read("ca_file", values::path);
    let expires_after = fields.maybe_duration("expires_after");
    let keep_alive = fields.flag("keep_alive");
    let url = url?;
    if !url.tls {
        of_tls_alone(fields, &["ca_file", "expires_after"], ("plain HTTP", "ask `https://…`"));
    }
    own_headers(fields, headers.keys());
    if let (Some(HttpMethod::Head), Some(at)) = (method, fields.key_place("body")) {
        fields.cx.report(
            Finding::new(Code::Contradiction, at, "an answer to `HEAD` has no body")
                .label("never there")
                .help("ask with `method: GET`, or remove `body`"),
        );
    }
    // With TLS the certificate carries a name without a port.
    let own = if url.tls { url.host } else { url.authority };
    Some(HttpProbe {
        tls: url.tls,
        address: url.address,
        host: host.unwrap_or(own),
        method: method?,
        path: url.path,
        headers: headers.into_iter().map(|(name, value)| (name, Hidden(value))).collect(),
        send,
        auth,
        http2,
        redirects,
        expect_status,
        expect_headers,
        expect_body,
        lag_header,
        role_header,
        ca_file,
        expires_after,
        keep_alive,
    })
}

/// `basic: FILE` or `bearer: FILE`.
fn auth<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<HttpAuth> {
    let chosen = choose(cx, node, &AUTH)?;
    let Some(file) = chosen.node else {
        cx.report(
            Finding::new(Code::MissingField, chosen.at, format!("`{}` names no file", chosen.word))
                .label("of which file?")
                .help(format!("write for example `{}: /etc/mainstay/secret`", chosen.word)),
        );
        return None;
    };
    let file = values::path(cx, file)?;
    Some(if chosen.word == "basic" { HttpAuth::Basic { file } } else { HttpAuth::Bearer { file } })
}

/// Headers that are ours to send, or that would make another request of this one.
const OWN_HEADERS: [(&str, &str); 6] = [
    ("host", "use `host`"),
    ("authorization", "use `auth`, which reads it from a file"),
    ("connection", "remove it"),
    ("content-length", "remove it: it is counted"),
    ("transfer-encoding", "remove it"),
    ("upgrade", "remove it"),
];

fn own_headers<'h>(fields: &Fields<'_>, names: impl Iterator<Item = &'h String>) {
    for name in names {
        let Some((own, help)) = OWN_HEADERS.iter().find(|(own, _)| name.eq_ignore_ascii_case(own)) else { continue };
        let at = fields.place("headers").unwrap_or(fields.at);
        fields.cx.report(
            Finding::new(Code::Contradiction, at, format!("the header `{own}` is not said under `headers`"))
                .label("holds it")
                .help(*help),
        );
    }
}

/// Reports what is said about certificates where there is none.
fn of_tls_alone(fields: &Fields<'_>, names: &[&str], (what, instead): (&str, &str)) {
    for (name, at) in names.iter().filter_map(|it| Some((*it, fields.key_place(it)?))) {
        let message = format!("`{name}` is about a certificate, and {what} shows none");
        fields.cx.report(
            Finding::new(Code::Contradiction, at, message)
                .label("has no effect")
                .help(format!("{instead}, or remove `{name}`")),
        );
    }
}

/// `[200, "300-399"]`, or one of them alone.
fn statuses<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<Vec<(u16, u16)>> {
    let nodes = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Scalar { .. } => std::slice::from_ref(node),
        Value::Null | Value::Map(_) => return items(cx, node).map(|_| Vec::new()),
    };
    let one = |node: &Node| {
        let text = values::at_text(cx, node)?;
        let (low, high) = text.value.split_once('-').unwrap_or((&text.value, &text.value));
        match (low.trim().parse::<u16>(), high.trim().parse::<u16>()) {
            (Ok(low), Ok(high)) if (100..=599).contains(&low) && low <= high && high <= 599 => Some((low, high)),
            _ => {
                cx.report(
                    Finding::new(Code::BadNumber, text.span, format!("`{}` is no status code", text.value))
                        .label("from 100 to 599")
                        .help(match text.value.strip_suffix("xx") {
                            Some(first @ ("1" | "2" | "3" | "4" | "5")) => format!("write `{first}00-{first}99`"),
                            Some(_) | None => "write a code (`200`) or a range (`200-399`)".to_owned(),
                        }),
                );
                None
            }
        }
    };
    nodes.iter().map(one).collect()
}

fn dns(fields: &mut Fields<'_>) -> Option<ProbeKind> {
    let server = fields.read("server", values::socket);
    let name = fields.read("name", values::dns_name);
    let record = fields.word("type", &DnsRecord::ALL, DnsRecord::word);
    let expect = fields.text("expect");
    Some(ProbeKind::Dns { server: server?, name: name?, record: record?, expect })
}

fn grpc(fields: &mut Fields<'_>) -> Option<GrpcProbe> {
    let address = fields.read("address", values::address);
    let service = fields.text("service").unwrap_or_default();
    let tls = fields.flag("tls");
    let name = fields.text("name");
    let ca_file = fields.read("ca_file", values::path);
    let expires_after = fields.maybe_duration("expires_after");
    let address = address?;
    if !tls {
        of_tls_alone(fields, &["ca_file", "expires_after"], ("gRPC without TLS", "say `tls: true`"));
    }
    let own = match (&address, tls) {
        (_, true) => address.host(),
        (Address::Socket(socket), false) => socket.to_string(),
        (Address::Name { .. } | Address::ResolvedBy { .. }, false) => format!("{}:{}", address.host(), address.port()),
    };
    Some(GrpcProbe { tls, address, name: name.unwrap_or(own), service, ca_file, expires_after })
}

fn udp(fields: &mut Fields<'_>) -> Option<UdpProbe> {
    let address = fields.read("address", values::address);
    let send = fields.read("send", values::content).map(String::into_bytes);
    let send_hex = fields.read("send_hex", values::hex);
    let expect = fields.text("expect").map(String::into_bytes);
    let expect_hex = fields.read("expect_hex", values::hex);
    both(fields, "send", "send_hex");
    both(fields, "expect", "expect_hex");
    if fields.key_place("send").or(fields.key_place("send_hex")).is_none() {
        fields.cx.report(
            Finding::new(Code::MissingField, fields.at, "this udp probe sends nothing")
                .label("nobody answers what was not sent")
                .help("write `send: TEXT` or `send_hex: \"00 01\"`"),
        );
    }
    Some(UdpProbe { address: address?, send: Hidden(send.or(send_hex)?), expect: expect.or(expect_hex) })
}

/// Reports two fields that say the same in two ways.
fn both(fields: &Fields<'_>, one: &str, other: &str) {
    if let (Some(at), Some(other_at)) = (fields.key_place(one), fields.key_place(other)) {
        fields.cx.report(
            Finding::new(Code::Contradiction, at, format!("`{one}` and `{other}` are both there"))
                .label("as text")
                .other(other_at, "byte for byte")
                .help("remove one of them"),
        );
    }
}

fn disk(fields: &mut Fields<'_>) -> Option<DiskProbe> {
    let path = fields.read("path", values::path);
    let free_mib = fields.maybe_number("free_mib");
    let free_ppm = fields.read("free_percent", values::percent_ppm);
    let free_inodes = fields.maybe_number("free_inodes");
    if ["free_mib", "free_percent", "free_inodes"].iter().all(|it| fields.key_place(it).is_none()) {
        fields.cx.report(
            Finding::new(Code::MissingField, fields.at, "this disk probe does not say how much must be free")
                .label("how much?")
                .help("write `free_mib: 2048`, `free_percent: 5` or `free_inodes: 10000`, or several"),
        );
    }
    Some(DiskProbe { path: path?, free_mib, free_ppm, free_inodes })
}

fn command(fields: &mut Fields<'_>) -> Option<ProbeKind> {
    let argv = fields.read("run", values::argv);
    let mut reports = |name| fields.may_have(name) && fields.word(name, &["stdout"], |it| it).is_some();
    let (reports_lag, reports_role) = (reports("lag"), reports("role"));
    Some(ProbeKind::Command { argv: argv?, reports_lag, reports_role })
}

fn file(fields: &mut Fields<'_>) -> Option<ProbeKind> {
    let path = fields.read("path", values::path);
    let max_age = fields.maybe_duration("max_age");
    Some(ProbeKind::FileFreshness { path: path?, max_age: max_age? })
}

fn heartbeat(fields: &mut Fields<'_>) -> Option<ProbeKind> {
    let name = fields.read("name", values::name);
    let max_age = fields.maybe_duration("max_age");
    Some(ProbeKind::Heartbeat { name: name?, max_age: max_age? })
}

/// The server is the instance's own; whoever is no instance has none.
fn postgres(fields: &mut Fields<'_>, at: Span) -> Option<PostgresProbe> {
    let writes = fields.flag("writes");
    let server = fields.cx.postgres.borrow().clone();
    if server.is_none() {
        fields.cx.report(
            Finding::new(Code::PostgresMissing, at, "nothing says which PostgreSQL server this probe asks")
                .label("of which server?")
                .help("add `postgres: { address: \"IP:PORT\" }` to the component or standby that it watches"),
        );
    }
    Some(PostgresProbe { server: server?, writes, only_primary: false })
}

fn composite(fields: &mut Fields<'_>) -> Option<CompositeProbe> {
    let needed = fields.maybe_number("needed");
    let listed = fields.read("of", |cx, node| items(cx, node).map(|it| (it, node)));
    let (nodes, of) = listed?;
    let parts: Vec<Option<ProbeKind>> = nodes.iter().map(|it| part(fields.cx, it)).collect();
    if nodes.len() < 2 {
        fields.cx.report(
            Finding::new(Code::Contradiction, of.spot(), "a composite of fewer than two parts is none")
                .label("two or more, please")
                .help("add a part, or write this one as a probe of its own"),
        );
    }
    if let Some(needed) = needed.filter(|it| *it as usize > nodes.len()) {
        let at = fields.place("needed").unwrap_or(fields.at);
        fields.cx.report(
            Finding::new(Code::Contradiction, at, format!("{needed} of {} can't be good", nodes.len()))
                .label("more than there are")
                .help(format!("write `needed: {}` or less, or add parts", nodes.len().max(1))),
        );
    }
    Some(CompositeProbe { needed: needed?, of: parts.into_iter().collect::<Option<_>>()? })
}

fn part<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<ProbeKind> {
    let (fields, kind) = question(cx, node, &PROBE_PART, "part")?;
    fields.finish();
    kind
}

/// What every probe has. A timeout up to the fast interval, and that up to the interval, keep probes start to start.
fn timing(fields: &mut Fields<'_>) -> ProbeTiming {
    let at = |fields: &Fields<'_>, name: &str| fields.place(name);
    let before = fields.cx.findings.borrow().len();
    let interval = fields.duration("interval");
    let fast_interval = fields.duration_or("fast_interval", interval);
    let timeout = fields.duration_or("timeout", fast_interval.min(Duration::from_millis(500)));
    let fall = fields.number("fall");
    let rise = fields.number("rise");
    let sound = fields.cx.findings.borrow().len() == before;
    let places = (at(fields, "interval"), at(fields, "fast_interval"), at(fields, "timeout"));
    if sound {
        if fast_interval > interval {
            contradiction(fields, ("fast_interval", fast_interval, places.1), ("interval", interval, places.0));
        }
        if timeout > fast_interval {
            let other = if places.1.is_some() { ("fast_interval", places.1) } else { ("interval", places.0) };
            contradiction(fields, ("timeout", timeout, places.2), (other.0, fast_interval, other.1));
        }
    }
    ProbeTiming { interval, fast_interval, timeout, fall, rise }
}

fn contradiction(
    fields: &Fields<'_>,
    (name, value, at): (&str, Duration, Option<Span>),
    (other, most, other_at): (&str, Duration, Option<Span>),
) {
    let (value, most) = (super::scalar::show_duration(value), super::scalar::show_duration(most));
    let message = format!("`{name}` ({value}) is longer than `{other}` ({most})");
    let mut finding = Finding::new(Code::Timing, at.or(other_at).unwrap_or(fields.at), message)
        .help(format!("lower `{name}` to {most} or less, or raise `{other}`"));
    finding = match (at, other_at) {
        (Some(_), Some(other_at)) => finding.label("longer").other(other_at, "than this"),
        (Some(_), None) => finding.label(format!("`{other}` is {most} by default")),
        (None, _) => finding.label(format!("`{name}` is {value} here")),
    };
    fields.cx.report(finding);
}

/// The same question asked at another address, where that makes sense. Nobody who serves a route lags behind.
pub(super) fn retarget(kind: &ProbeKind, address: Address) -> Option<ProbeKind> {
    match kind {
        ProbeKind::Tcp { .. } => Some(ProbeKind::Tcp { address }),
        ProbeKind::Tls(tls) => Some(ProbeKind::Tls(TlsProbe { address, ..tls.clone() })),
        ProbeKind::Http(http) => Some(ProbeKind::Http(Box::new(HttpProbe {
            address,
            lag_header: None,
            role_header: None,
            ..(**http).clone()
        }))),
        ProbeKind::Grpc(grpc) => Some(ProbeKind::Grpc(Box::new(GrpcProbe { address, ..(**grpc).clone() }))),
        // Clients of a route write.
        ProbeKind::Postgres(postgres) => Some(ProbeKind::Postgres(Box::new(PostgresProbe {
            server: PostgresServer { address, ..postgres.server.clone() },
            writes: postgres.writes,
            only_primary: true,
        }))),
        // A proxy carries no datagrams, and whoever serves a route is a machine that may serve others, too.
        // What a composite asks may be asked of several.
        ProbeKind::Composite(_)
        | ProbeKind::Udp(_)
        | ProbeKind::Icmp { .. }
        | ProbeKind::Dns { .. }
        | ProbeKind::Command { .. }
        | ProbeKind::Process { .. }
        | ProbeKind::FileFreshness { .. }
        | ProbeKind::Disk(_)
        | ProbeKind::Heartbeat { .. } => None,
    }
}
