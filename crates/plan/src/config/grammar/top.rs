//! The plan as a whole, and where it runs.

use super::{
    AGENT, CACHE_ENTRY, CONTROL_PLANE, COORDINATION, DRILL, ESCALATION_STEP, EVACUATION, HOST, LINK, PERSON, QUIET,
    SITE_GUARDS, VARIABLE,
};
use super::{
    COMPONENT, CREDENTIAL, Field, Kind, NOTIFICATION, Presence, ROUTE, RULE, Rule, STANDBY, Shape, WITNESS, field,
    words,
};
use crate::policy::{Mode, OnJournalLoss};

pub(crate) static PLAN: Shape = Shape {
    name: "plan",
    doc: "the plan of one site: what is registered, how it is watched, and how it is recovered",
    fields: &[&PLAN_OWN, &SECTIONS],
    rules: &[],
};

static PLAN_OWN: [Field; 11] = [
    field("version", Kind::Version, "of this grammar").needed("2"),
    field("site", Kind::Map(&SITE), "whom this agent decides for, and where the agent itself runs")
        .needed("{ name: shop, region: berlin, zone: hall-1, host: ops-1 }"),
    field("state", Kind::Path, "the state directory; `mainstay run --state DIR` overrules it").or("./state"),
    field("mode", Kind::Word(words!(Mode)), "how far Mainstay goes by itself: watch, ask, or recover").or("act"),
    field("on_journal_loss", Kind::Word(words!(OnJournalLoss)), "what is still done when the journal can't be written")
        .or("refuse_exclusive"),
    field("allowances", Kind::Map(&ALLOWANCES), "what the agent itself may take; part of every worst case").or("{}"),
    field("probing", Kind::Map(&PROBING), "how many probes may be under way").or("{}"),
    field("traffic", Kind::Map(&TRAFFIC), "where the traffic process answers DNS and beacons"),
    field("heartbeats", Kind::Map(&HEARTBEATS), "where jobs on other machines call the agent"),
    field("link", Kind::Map(&LINK), "where the agent listens for its hosts, and how long their leases last"),
    field("include", Kind::Files, "further files; each may hold the sections below").such_as("[routes.yaml]"),
];

/// What an included file may hold, too.
static SECTIONS: [Field; 19] = [
    field("variables", Kind::Named(&VARIABLE), "what is taken from the environment, by name, and used as `${NAME}`"),
    field("components", Kind::Named(&COMPONENT), "what is bound to one location").needed("{ orders-db: { … } }"),
    field("standbys", Kind::Named(&STANDBY), "what can take over"),
    field("witnesses", Kind::Named(&WITNESS), "what tells whether our own network works"),
    field("routes", Kind::Named(&ROUTE), "how clients reach a component"),
    field("credentials", Kind::Named(&CREDENTIAL), "what actions need to be let in"),
    field("cache", Kind::Named(&CACHE_ENTRY), "configuration copied from control planes while they work"),
    field("control_planes", Kind::Named(&CONTROL_PLANE), "what actions need beside hosts, and how it is known to work"),
    field("guards", Kind::Map(&SITE_GUARDS), "what holds back recoveries of the whole site"),
    field("rules", Kind::Named(&RULE), "decision rules of your own"),
    field("evacuations", Kind::Named(&EVACUATION), "what is recovered together when a zone or a region is lost"),
    field("drills", Kind::Named(&DRILL), "rehearsals, and how often they are due"),
    field("notifications", Kind::Named(&NOTIFICATION), "who is told, and how"),
    field("escalation", Kind::List(&ESCALATION_STEP), "who is told next when nobody answers"),
    field("quiet", Kind::List(&QUIET), "when people are left in peace, unless it is loud"),
    field("people", Kind::Named(&PERSON), "who may approve what, by the name of the user on the agent's machine"),
    field("hosts", Kind::Named(&HOST), "machines beside the agent's own where `mainstay host` runs, by name")
        .such_as("{ db-1: { region: berlin, zone: hall-1 } }"),
    field("agents", Kind::Named(&AGENT), "agents beside the one that decides"),
    field("coordination", Kind::Map(&COORDINATION), "where leases live when several agents may decide"),
];

/// An included file.
pub(crate) static PART: Shape = Shape {
    name: "part",
    doc: "a part of a plan, in a file of its own",
    fields: &[&PART_OWN, &PART_SECTIONS],
    rules: &[],
};

static PART_OWN: [Field; 1] =
    [field("version", Kind::Version, "of this grammar; the including file's, if it is not said")];

/// The sections, none of which must be in every file.
static PART_SECTIONS: [Field; 19] = {
    let mut sections = SECTIONS;
    sections[1].presence = Presence::Optional;
    sections
};

pub(crate) static SITE: Shape = Shape {
    name: "site",
    doc: "whom this agent decides for, and where the agent itself runs; that should be outside what it recovers",
    fields: &[&SITE_OWN, &PLACE],
    rules: &[],
};

static SITE_OWN: [Field; 1] =
    [field("name", Kind::Name, "stands in the routing table and in idempotency keys; a running agent keeps it")
        .needed("shop")];

/// Region, zone and host.
pub(crate) static LOCATION: Shape =
    Shape { name: "location", doc: "where something is, and so what it is lost with", fields: &[&PLACE], rules: &[] };

pub(crate) static PLACE: [Field; 3] = [
    field("region", Kind::Text, "for example a cloud's region, or the town of a data centre").needed("berlin"),
    field("zone", Kind::Text, "what loses power and network together; not named, it counts as shared with every zone")
        .such_as("hall-2"),
    field("host", Kind::Text, "the machine; not named, it is shared with nothing").such_as("db-1"),
];

pub(crate) static ALLOWANCES: Shape = Shape {
    name: "allowances",
    doc: "what the agent itself may take; raise them to what your machine really takes, for they are part of every bound",
    fields: &[&ALLOWANCE_FIELDS],
    rules: &[],
};

static ALLOWANCE_FIELDS: [Field; 6] = [
    field("lateness", Kind::Positive, "how late the agent may notice something before it takes itself for broken")
        .or("250ms"),
    field("journal_sync", Kind::Positive, "one sync of the journal to the disk").or("100ms"),
    field("route_apply", Kind::Positive, "for the traffic process to write, swap and acknowledge a table").or("100ms"),
    field("agent_restart", Kind::Positive, "for whoever supervises the agent to start it again").or("5s"),
    field("forced_stop", Kind::Positive, "for a killed process to be seen gone: the time limit of a `stop` fence")
        .or("5s"),
    field(
        "correlation",
        Kind::Duration,
        "how long a failure may wait until its neighbours and what it depends on say whether they failed with it; `0s` asks nobody",
    )
    .or("2s"),
];

pub(crate) static PROBING: Shape = Shape {
    name: "probing",
    doc: "how many probes may be under way at the same time; one beyond waits for its turn, and what waits too long is *could not ask*",
    fields: &[&PROBING_FIELDS],
    rules: &[],
};

static PROBING_FIELDS: [Field; 2] = [
    field("at_once", Kind::Number(1, 100_000), "of all").or("8192"),
    field("at_once_per_target", Kind::Number(1, 100_000), "of those that ask one host").or("64"),
];

pub(crate) static TRAFFIC: Shape = Shape {
    name: "traffic",
    doc: "where the traffic process answers; a route with `dns` needs the first, one with `beacon` the second",
    fields: &[&TRAFFIC_FIELDS],
    rules: &[Rule::With("beacon_tls", &[&["beacon"]])],
};

static TRAFFIC_FIELDS: [Field; 4] = [
    field("dns", Kind::Socket, "for DNS over UDP and TCP").such_as("\"10.0.9.1:53\""),
    field("secondaries", Kind::Sockets, "name servers that copy the routes' zones and are told when one changes")
        .such_as("[\"10.0.9.2:53\"]"),
    field("beacon", Kind::Socket, "for beacons over HTTP").such_as("\"10.0.9.1:8600\""),
    field("beacon_tls", Kind::Map(&TLS_FILES), "beacons are answered over HTTPS, with this certificate"),
];

pub(crate) static HEARTBEATS: Shape = Shape {
    name: "heartbeats",
    doc: "where jobs on other machines call, for a `heartbeat` probe: `GET`, `HEAD` or `POST` of `/heartbeats/NAME` with `Authorization: Bearer TOKEN`, or of `/heartbeats/NAME/TOKEN`",
    fields: &[&HEARTBEATS_FIELDS],
    rules: &[],
};

static HEARTBEATS_FIELDS: [Field; 3] = [
    field("listen", Kind::Socket, "an address of the agent's machine").needed("\"10.0.9.1:8700\""),
    field(
        "token_file",
        Kind::Path,
        "tokens, one a line, any of which lets a call in; it is read again when it changes",
    )
    .needed("/etc/mainstay/heartbeat-tokens"),
    field("tls", Kind::Map(&TLS_FILES), "calls come over HTTPS, and meet this certificate"),
];

/// What is shown over TLS.
pub(crate) static TLS_FILES: Shape = Shape {
    name: "certificate",
    doc: "PEM files on the agent's machine; they are read again when they change, and what can't be used leaves the last good certificate in place",
    fields: &[&TLS_FILE_FIELDS],
    rules: &[],
};

static TLS_FILE_FIELDS: [Field; 2] = [
    field("cert_file", Kind::Path, "the certificate first, then those that lead from it to one that clients trust")
        .needed("/etc/mainstay/cert.pem"),
    field("key_file", Kind::Path, "its private key, which no password locks; may be the same file")
        .needed("/etc/mainstay/key.pem"),
];
