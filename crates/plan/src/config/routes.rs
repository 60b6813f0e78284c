//! Lowering routes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::fields::{At, Cx, Fields, choose, items};
use super::grammar::{DNS_FRONT, EXCLUSIVE, ON_SILENCE, POLL, PROXY, QUEUE, ROUTE, ROUTE_RULES, SHARED_ROUTE, TARGET};
use super::hosts::of_no_instance;
use super::probes::probes;
use super::raw::{RawFence, RawRoute, RawRouteRules, RawSharing, RawTarget};
use super::tree::{Entry, Node};
use super::values;
use crate::finding::{Code, Finding, Span};
use crate::route::{DnsFront, DnsPolicy, OnSilence, Poll, ProxyFront, ProxyProtocol, Queue};

/// One route: `NAME: {…}`.
pub(super) fn route<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawRoute {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("route `{}`", entry.key), &ROUTE);
    let sharing = sharing(&mut fields);
    let proxy = fields.take("proxy");
    let dns = fields.take("dns");
    let beacon = fields.place("beacon");
    let beacon = fields.flag("beacon").then_some(beacon).flatten();
    let on_silence = fields.read("on_silence", on_silence).unwrap_or(OnSilence::Keep);
    let polled = fields.take("polled").map(|it| poll(cx, it));
    let rules = fields.take("rules").map(|it| route_rules(cx, it));
    let listed = fields.take("targets");
    let targets: Vec<RawTarget> = listed
        .and_then(|it| items(cx, &it.node))
        .map(|it| it.iter().map(|target| self::target(cx, target)).collect())
        .unwrap_or_default();
    if let Some(listed) = listed
        && matches!(&listed.node.value, super::tree::Value::List(items) if items.is_empty())
    {
        cx.report(
            Finding::new(Code::Empty, listed.key_span, format!("{} has no target", fields.what))
                .label("at least one, please")
                .help("write for example `targets: [{ component: orders-db, address: \"10.0.1.10:5432\" }]`"),
        );
    }
    let verify = fields.take("verify").map(|it| probes(cx, &it.node));
    verify.iter().flatten().for_each(|it| of_no_instance(cx, it.from_host));
    let fronts = ["proxy", "dns", "beacon"].iter().any(|it| fields.has(it));
    if !fronts && !targets.iter().any(|it| it.agent_check.is_some()) && listed.is_some() {
        cx.report(
            Finding::new(Code::NoFront, entry.key_span, format!("{} has no way in for clients", fields.what))
                .label("no `proxy`, `dns`, `beacon` or `agent_check`")
                .help("add for example `proxy: { listen: \"10.0.9.1:6432\" }`"),
        );
    }
    fields.finish();
    RawRoute {
        name: At { value: entry.key.to_string(), span: entry.key_span },
        sharing,
        proxy_at: proxy.map_or(entry.key_span, |it| it.key_span),
        dns_at: dns.map_or(entry.key_span, |it| it.key_span),
        proxy: proxy.map(|it| self::proxy(cx, &it.node, it.key_span)),
        dns: dns.map(|it| self::dns(cx, &it.node, it.key_span)),
        beacon,
        targets,
        on_silence,
        verify,
        polled,
        rules: rules.unwrap_or_default(),
    }
}

fn sharing(fields: &mut Fields<'_>) -> RawSharing {
    let cx = fields.cx;
    let (exclusive, shared) = (fields.take("exclusive"), fields.take("shared"));
    let inner = |entry: &Entry, what: &str| -> RawSharing {
        let is_exclusive = entry.key == "exclusive";
        let shape = if is_exclusive { &EXCLUSIVE } else { &SHARED_ROUTE };
        let mut inner = Fields::open(cx, Some(&entry.node), entry.key_span, what, shape);
        let words = [RawFence::TrafficCut, RawFence::Stop, RawFence::Lease];
        let sharing = match is_exclusive.then(|| (inner.take("fence"), inner.take("otherwise"))) {
            None => RawSharing::Shared,
            Some((None, otherwise)) => {
                if let Some(it) = otherwise {
                    cx.report(otherwise_alone(it.key_span, "there is no `fence` before it"));
                }
                RawSharing::Exclusive(None)
            }
            Some((Some(fence), otherwise)) => match values::word(cx, &fence.node, &words, fence_word) {
                Some(word) => RawSharing::Exclusive(Some((or_else(cx, word, otherwise), fence.node.span))),
                None => RawSharing::Unknown,
            },
        };
        inner.finish();
        sharing
    };
    match (exclusive, shared) {
        (Some(exclusive), None) => inner(exclusive, "this exclusive route"),
        (None, Some(shared)) => inner(shared, "`shared`"),
        (Some(exclusive), Some(shared)) => {
            cx.report(
                Finding::new(Code::Contradiction, shared.key_span, format!("{} is exclusive and shared", fields.what))
                    .label("all targets may serve")
                    .other(exclusive.key_span, "one target at a time may serve")
                    .help("keep one of them"),
            );
            RawSharing::Unknown
        }
        (None, None) => {
            cx.report(
                Finding::new(Code::MissingField, fields.at, format!("{} is neither exclusive nor shared", fields.what))
                    .label("`exclusive` or `shared` is missing here")
                    .reason("whether two targets may serve at once decides whether a takeover needs a fence")
                    .help("write `exclusive: { fence: traffic_cut }` for something that has one writer, `shared: {}` otherwise"),
            );
            RawSharing::Unknown
        }
    }
}

/// A fence, and the one that counts where it can't be confirmed.
fn or_else<'a>(cx: &'a Cx<'a>, fence: RawFence, otherwise: Option<&'a Entry>) -> RawFence {
    let Some(otherwise) = otherwise else { return fence };
    match (fence, values::word(cx, &otherwise.node, &[RawFence::TrafficCut], fence_word)) {
        (RawFence::Stop | RawFence::StopOrCut, Some(_)) => RawFence::StopOrCut,
        (RawFence::TrafficCut, Some(_)) => {
            cx.report(otherwise_alone(otherwise.key_span, "the cut is the fence already"));
            fence
        }
        (RawFence::Lease, Some(_)) => {
            cx.report(otherwise_alone(otherwise.key_span, "a lease ends for sure"));
            fence
        }
        (RawFence::TrafficCut | RawFence::Stop | RawFence::StopOrCut | RawFence::Lease, None) => fence,
    }
}

fn otherwise_alone(at: Span, why: &str) -> Finding {
    Finding::new(Code::Contradiction, at, "`otherwise` has nothing to stand in for")
        .label(why.to_owned())
        .help("write `fence: stop` beside it, or remove it")
}

/// The word for a fence in YAML.
pub(super) fn fence_word(fence: RawFence) -> &'static str {
    match fence {
        RawFence::TrafficCut => "traffic_cut",
        RawFence::Stop | RawFence::StopOrCut => "stop",
        RawFence::Lease => "lease",
    }
}

fn proxy<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> ProxyFront {
    let mut fields = Fields::open(cx, Some(node), at, "this proxy", &PROXY);
    let front = ProxyFront {
        listen: fields.read("listen", listen).unwrap_or(NOWHERE),
        unix: fields.read("unix", unix).map(|it| it.value),
        connect_timeout: fields.duration("connect_timeout"),
        retry_for: fields.maybe_duration("retry_for"),
        idle_timeout: fields.maybe_duration("idle_timeout"),
        max_connections: fields.number("max_connections"),
        drain: fields.duration("drain"),
        proxy_protocol_from: fields.read("proxy_protocol_from", values::networks).unwrap_or_default(),
        proxy_protocol_to: fields.word("proxy_protocol_to", &ProxyProtocol::ALL, ProxyProtocol::word),
        server_names: fields.read("server_names", values::server_names).unwrap_or_default(),
        hello_timeout: fields.duration("hello_timeout"),
        half_open_timeout: fields.maybe_duration("half_open_timeout"),
        queue: fields.take("queue").map(|it| queue(cx, it)),
        max_per_source: fields.maybe_number("max_per_source"),
        slow_start: fields.maybe_duration("slow_start"),
    };
    fields.finish();
    front
}

fn queue<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Queue {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "this queue", &QUEUE);
    let queue = Queue { length: fields.number("length"), wait: fields.duration("wait") };
    fields.finish();
    queue
}

/// Stands in for an address that could not be read.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// An address to listen on. Port 0 would be another one after every start.
pub(super) fn listen(cx: &Cx<'_>, node: &Node) -> Option<SocketAddr> {
    let socket = values::socket(cx, node)?;
    if socket.port() == 0 {
        cx.report(
            Finding::new(Code::BadAddress, node.span, "port 0 can't be listened on")
                .label("choose a port")
                .reason("it would be another port after every start, and clients would not find it")
                .help(format!("write the port that clients know: `{}`", SocketAddr::new(socket.ip(), 6432))),
        );
        return None;
    }
    Some(socket)
}

/// The path of a UNIX socket. The kernel takes 107 bytes (unix(7)).
fn unix(cx: &Cx<'_>, node: &Node) -> Option<At<PathBuf>> {
    const MOST: usize = 107;
    let path = values::path(cx, node)?;
    let length = path.as_os_str().len();
    if length > MOST {
        cx.report(
            Finding::new(Code::BadAddress, node.span, "the path is too long for a UNIX socket")
                .label(format!("{length} bytes"))
                .reason(format!("the kernel takes {MOST} (unix(7))"))
                .help("write a shorter one, for example in `/run`"),
        );
        return None;
    }
    Some(At { value: path, span: node.span })
}

fn dns<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> DnsFront {
    let mut fields = Fields::open(cx, Some(node), at, "this DNS name", &DNS_FRONT);
    let name = fields.read("name", values::dns_name).unwrap_or_default();
    let ttl = fields.duration("ttl");
    if ttl.subsec_nanos() != 0 || ttl > Duration::from_secs(86_400) {
        let at = fields.place("ttl").unwrap_or(at);
        cx.report(
            Finding::new(Code::BadNumber, at, "a TTL is whole seconds, up to a day")
                .label("whole seconds, please")
                .reason("DNS carries it as a number of seconds")
                .help("write for example `ttl: 2s`"),
        );
    }
    let policy = fields.word("policy", &DnsPolicy::ALL, DnsPolicy::word).unwrap_or(DnsPolicy::Failover);
    fields.finish();
    DnsFront { name, ttl, policy }
}

/// `keep`, or `cut: { after: 30s }`.
fn on_silence<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<OnSilence> {
    let chosen = choose(cx, node, &ON_SILENCE)?;
    let mut fields = Fields::behind(cx, &chosen, format!("`{}`", chosen.word));
    let policy = match chosen.word {
        "cut" => fields.maybe_duration("after").map(|after| OnSilence::Cut { after }),
        _ => Some(OnSilence::Keep),
    };
    fields.finish();
    policy
}

fn target<'a>(cx: &'a Cx<'a>, node: &'a Node) -> RawTarget {
    let mut fields = Fields::open(cx, Some(node), node.spot(), "this target", &TARGET);
    let component = fields.read("component", values::at_text);
    let standby = fields.read("standby", values::at_text);
    let instance = match (component, standby) {
        (Some(component), None) => Some((component, false)),
        (None, Some(standby)) => Some((standby, true)),
        (Some(component), Some(standby)) => {
            cx.report(
                Finding::new(Code::Contradiction, standby.span, "a target is one instance")
                    .label("a second instance")
                    .other(component.span, "the first")
                    .help("write one target for each of them"),
            );
            None
        }
        (None, None) => {
            if !fields.has("component") && !fields.has("standby") {
                fields.miss_one_of(&["component", "standby"]);
            }
            None
        }
    };
    let address = fields.read("address", listen).unwrap_or(NOWHERE);
    let unix = fields.read("unix", unix);
    let weight = fields.number("weight");
    let agent_check = fields.read("agent_check", |cx, node| Some(At { value: listen(cx, node)?, span: node.span }));
    fields.finish();
    RawTarget { instance, address, unix, weight: u8::try_from(weight).unwrap_or(u8::MAX), agent_check }
}

fn poll<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Poll {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "`polled`", &POLL);
    let poll = Poll { every: fields.duration("every"), threshold: fields.number("threshold") };
    fields.finish();
    poll
}

fn route_rules<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawRouteRules {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "these rules of a route", &ROUTE_RULES);
    let rules = RawRouteRules {
        at_least: fields
            .maybe_number("at_least")
            .map(|it| At { value: it, span: fields.place("at_least").unwrap_or(entry.key_span) }),
        gates: fields.read("gates", values::names).unwrap_or_default(),
        wait: fields.duration("wait"),
    };
    fields.finish();
    rules
}
