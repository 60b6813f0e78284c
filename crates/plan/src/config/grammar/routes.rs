//! Routes: how clients reach a component.

use super::{Behind, Choice, Field, Kind, PROBE, Rule, Shape, Variant, field, variant, words};
use crate::route::{DnsPolicy, ProxyProtocol};

pub(crate) static ROUTE: Shape = Shape {
    name: "route",
    doc: "how clients reach a component: ordered targets behind a proxy, a DNS name, a beacon or HAProxy's agent-check",
    fields: &[&ROUTE_FIELDS],
    rules: &[Rule::OneOf(&["exclusive", "shared"])],
};

static ROUTE_FIELDS: [Field; 10] = [
    field("exclusive", Kind::Map(&EXCLUSIVE), "one target at a time serves; it changes hands behind a fence")
        .such_as("{ fence: traffic_cut }"),
    field("shared", Kind::Map(&SHARED_ROUTE), "every healthy target that is the component or is `hot` serves")
        .such_as("{}"),
    field("proxy", Kind::Map(&PROXY), "a TCP proxy of ours").such_as("{ listen: \"10.0.9.1:6432\" }"),
    field("dns", Kind::Map(&DNS_FRONT), "a name in our authoritative DNS")
        .such_as("{ name: orders.db.internal., ttl: 2s }"),
    field("beacon", Kind::Flag, "`GET /routes/ROUTE/INSTANCE` answers 200 while that instance serves, 503 otherwise")
        .or("false"),
    field("polled", Kind::Map(&POLL), "how whoever asks its beacon or agent-check asks; part of its worst case")
        .such_as("{ every: 10s, threshold: 3 }"),
    field("targets", Kind::List(&TARGET), "in order of preference; at least one")
        .needed("[{ component: orders-db, address: \"10.0.1.10:5432\" }]"),
    field("rules", Kind::Map(&ROUTE_RULES), "what every change of the route must respect").such_as("{ wait: 30s }"),
    field("on_silence", Kind::One(&ON_SILENCE), "what the traffic process does without a word from its agent")
        .or("keep"),
    field("verify", Kind::Many(&PROBE), "what sees that clients are served")
        .derived("the component's own probes, asked through the route"),
];

pub(crate) static EXCLUSIVE: Shape = Shape {
    name: "exclusive route",
    doc: "one target at a time serves",
    fields: &[&[
        field(
            "fence",
            Kind::Word(|| vec!["traffic_cut", "stop", "lease"]),
            "what makes sure that the old owner can't write any more",
        )
        .such_as("traffic_cut"),
        field(
            "otherwise",
            Kind::Word(|| vec!["traffic_cut"]),
            "the fence that counts where a `stop` can't be confirmed",
        ),
    ]],
    rules: &[],
};

pub(crate) static SHARED_ROUTE: Shape = Shape {
    name: "shared route",
    doc: "all healthy targets serve; with none left it fails open",
    fields: &[],
    rules: &[],
};

pub(crate) static PROXY: Shape =
    Shape { name: "proxy", doc: "a TCP proxy in front of a route", fields: &[&PROXY_FIELDS], rules: &[] };

static PROXY_FIELDS: [Field; 15] = [
    field("listen", Kind::Socket, "where clients connect").needed("\"10.0.9.1:6432\""),
    field("unix", Kind::Path, "a UNIX socket for clients of the same machine, beside `listen`")
        .such_as("/run/shop/orders.sock"),
    field("connect_timeout", Kind::Positive, "for the connection to a target").or("1s"),
    field(
        "retry_for",
        Kind::Positive,
        "how long a new client is held while no target can be reached, and they are tried again; without it each is tried once",
    )
    .such_as("1s"),
    field("idle_timeout", Kind::Positive, "without a byte in either direction; never, if it is not said").such_as("1h"),
    field("hello_timeout", Kind::Positive, "for a client to say its PROXY protocol header or its TLS server name")
        .or("3s"),
    field(
        "half_open_timeout",
        Kind::Positive,
        "after one side has ended, without a byte from the other; never, if it is not said",
    )
    .such_as("30s"),
    field("max_connections", Kind::Number(1, 1_000_000), "at the same time").or("10000"),
    field(
        "max_per_source",
        Kind::Number(1, 1_000_000),
        "of these and of the queue, from one IPv4 address or one IPv6 network of 64 bits",
    )
    .such_as("100"),
    field(
        "queue",
        Kind::Map(&QUEUE),
        "where clients wait while the route has all its connections; without it they are closed",
    )
    .such_as("{ length: 100, wait: 1s }"),
    field(
        "server_names",
        Kind::ServerNames,
        "TLS clients that ask for one of these come here; routes that share an address have different ones",
    )
    .such_as("[shop.example.com]"),
    field(
        "slow_start",
        Kind::Positive,
        "how long the share of new clients grows that a target of a shared route gets when it has come back",
    )
    .such_as("1m"),
    field("drain", Kind::Duration, "how long connections to a target that leaves in order may go on").or("30s"),
    field(
        "proxy_protocol_from",
        Kind::Networks,
        "clients from these networks are proxies, and begin with a PROXY protocol header (v1 or v2)",
    )
    .such_as("[10.0.0.0/8]"),
    field("proxy_protocol_to", Kind::Word(words!(ProxyProtocol)), "targets are told for whom a connection comes")
        .such_as("v2"),
];

pub(crate) static QUEUE: Shape = Shape {
    name: "queue",
    doc: "clients of a proxy that wait for a place, the first to come is the first to be served",
    fields: &[&[
        field("length", Kind::Number(1, 1_000_000), "how many may wait").needed("100"),
        field("wait", Kind::Positive, "how long each of them").or("1s"),
    ]],
    rules: &[],
};

pub(crate) static DNS_FRONT: Shape =
    Shape { name: "dns front", doc: "a name in our authoritative DNS", fields: &[&DNS_FRONT_FIELDS], rules: &[] };

static DNS_FRONT_FIELDS: [Field; 3] = [
    field("name", Kind::DnsName, "what clients ask for").needed("orders.db.internal."),
    field("ttl", Kind::Ttl, "how long an answer may be kept: whole seconds up to a day; 0 forbids it").or("5s"),
    field("policy", Kind::Word(words!(DnsPolicy)), "how answers are chosen from a shared route's targets")
        .or("failover"),
];

pub(crate) static POLL: Shape = Shape {
    name: "poll",
    doc: "how a health check of somebody else asks",
    fields: &[&[
        field("every", Kind::Positive, "from one question to the next").needed("10s"),
        field("threshold", Kind::Number(1, 100), "answers in a row that change its mind").or("3"),
    ]],
    rules: &[],
};

pub(crate) static TARGET: Shape = Shape {
    name: "target",
    doc: "one instance that serves the route",
    fields: &[&TARGET_FIELDS],
    rules: &[Rule::OneOf(&["component", "standby"])],
};

static TARGET_FIELDS: [Field; 6] = [
    field("component", Kind::Ref("component"), "the component's own instance").such_as("orders-db"),
    field("standby", Kind::Ref("standby"), "or a standby").such_as("orders-db-b"),
    field("address", Kind::Socket, "where it serves clients").needed("\"10.0.1.10:5432\""),
    field("unix", Kind::Path, "the UNIX socket where the proxy reaches it, instead of the address")
        .such_as("/run/postgresql/.s.PGSQL.5432"),
    field("weight", Kind::Number(0, 255), "its share of the answers under `weighted`").or("1"),
    field("agent_check", Kind::Socket, "where HAProxy's agent-check for it is answered").such_as("\"10.0.9.1:9001\""),
];

pub(crate) static ROUTE_RULES: Shape = Shape {
    name: "route rules",
    doc: "what every change of a route must respect, judged on the state that it leads to",
    fields: &[&ROUTE_RULE_FIELDS],
    rules: &[],
};

static ROUTE_RULE_FIELDS: [Field; 3] = [
    field("at_least", Kind::Number(1, 1000), "so many targets stay on (an assertion)").such_as("1"),
    field("gates", Kind::Refs("component"), "components that must be healthy before it may change")
        .such_as("[orders-db]"),
    field("wait", Kind::Duration, "from one change to the next").or("0s"),
];

pub(crate) static ON_SILENCE: Choice = Choice {
    name: "policy for silence",
    doc: "what the traffic process does with a route when it has heard nothing from its agent for too long",
    variants: &[Variant { word: "keep", behind: Behind::Nothing }, variant("cut", &CUT)],
};

static CUT: Shape = Shape {
    name: "cut",
    doc: "stop serving the route",
    fields: &[&[field("after", Kind::Positive, "so long without a word").needed("30s")]],
    rules: &[],
};
