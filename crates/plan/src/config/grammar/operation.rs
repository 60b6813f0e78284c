//! Operation: guards of the site, rules, evacuations, drills, who is told, hosts and further agents, what is prepared.

use super::{Field, Kind, LOCATION, MESSENGER, PLACE, PROBE, Rule, Shape, field, words};
use crate::agents::{AgentRole, Alone, StoreKind};
use crate::config::controls::plane_words;
use crate::drill::DrillKind;
use crate::evacuation::Variant;
use crate::notification::NoticeLevel;
use crate::observation::Scenario;

pub(crate) static VARIABLE: Shape = Shape {
    name: "variable",
    doc: "a value from the environment of whoever reads the plan, used as `${NAME}`",
    fields: &[&VARIABLE_FIELDS],
    rules: &[],
};

static VARIABLE_FIELDS: [Field; 3] = [
    field("env", Kind::Text, "the environment variable").needed("ORDERS_DB_HOST"),
    field("default", Kind::Content, "what holds when it is not set; without this it must be set").such_as("10.0.1.10"),
    field(
        "secret",
        Kind::Flag,
        "whether it may stand only where nothing shows it: `env`, `headers`, `body`, `content`",
    )
    .or("false"),
];

pub(crate) static CREDENTIAL: Shape = Shape {
    name: "credential",
    doc: "what proves to somebody else that an action may be done; it must be there when the action runs",
    fields: &[&CREDENTIAL_FIELDS],
    rules: &[],
};

static CREDENTIAL_FIELDS: [Field; 2] = [
    field("file", Kind::Path, "the file that holds it").needed("/etc/mainstay/promote.key"),
    field("location", Kind::Map(&LOCATION), "where it lives").derived("with the agent"),
];

pub(crate) static CACHE_ENTRY: Shape = Shape {
    name: "cache entry",
    doc: "configuration that was copied while its control plane worked",
    fields: &[&CACHE_FIELDS],
    rules: &[],
};

static CACHE_FIELDS: [Field; 3] = [
    field("file", Kind::Path, "the file that holds it").needed("/var/lib/mainstay/targets.json"),
    field("max_age", Kind::Positive, "the oldest that it should be; an older one is used in an emergency, and said")
        .needed("1h"),
    field("location", Kind::Map(&LOCATION), "where it lives").derived("with the agent"),
];

pub(crate) static CONTROL_PLANE: Shape = Shape {
    name: "control plane",
    doc: "what actions need beside hosts: rungs that need it are passed over while it is known to be down",
    fields: &[&CONTROL_FIELDS],
    rules: &[],
};

static CONTROL_FIELDS: [Field; 6] = [
    field("service", Kind::Name, "whose plane it is, as actions name it").derived("its own name"),
    field("region", Kind::Text, "the region that it is run from").derived("the site's"),
    field("plane", Kind::Word(plane_words), "which plane of that service").or("regional_control"),
    field("canary", Kind::One(&PROBE), "asked all the time: a small question that it answers only while it works")
        .such_as("{ command: { run: [/usr/local/bin/describe-one], interval: 30s, timeout: 10s } }"),
    field(
        "opens_after",
        Kind::Number(1, 1000),
        "rungs in a row that have to fail on it before it counts as down; none does while its canary answers",
    )
    .or("2"),
    field("retry_after", Kind::Positive, "how long it is left alone then, before one recovery tries it again").or("1m"),
];

pub(crate) static SITE_GUARDS: Shape = Shape {
    name: "site guards",
    doc: "what holds back recoveries of the whole site",
    fields: &[&SITE_GUARD_FIELDS],
    rules: &[],
};

static SITE_GUARD_FIELDS: [Field; 3] = [
    field("storm_brake", Kind::Map(&STORM_BRAKE), "how many recoveries may begin within a time")
        .such_as("{ at_most: 5, within: 10m }"),
    field("blast_radius", Kind::Map(&BLAST_RADIUS), "the share of the components that may be touched")
        .such_as("{ share: 30, always: 2 }"),
    field("minimum_healthy", Kind::Number(1, 1000), "so many targets of each shared route stay on").such_as("1"),
];

pub(crate) static STORM_BRAKE: Shape = Shape {
    name: "storm brake",
    doc: "at most so many recoveries begin within a time",
    fields: &[&[
        field("at_most", Kind::Number(1, 100_000), "how many").needed("5"),
        field("within", Kind::Positive, "in which time").needed("10m"),
    ]],
    rules: &[],
};

pub(crate) static BLAST_RADIUS: Shape = Shape {
    name: "blast radius",
    doc: "at most this share of the components is moved or down after an action",
    fields: &[&[
        field("share", Kind::Percent, "of all components, in percent").needed("30"),
        field(
            "always",
            Kind::Number(1, 100_000),
            "so many are always allowed: a share of a small number means nothing",
        )
        .or("1"),
    ]],
    rules: &[],
};

pub(crate) static PERSON: Shape = Shape {
    name: "person",
    doc: "somebody who may speak to the agent",
    fields: &[&[field(
        "roles",
        Kind::Refs("role"),
        "what they may do, in your words: approvals and manual steps ask for them",
    )
    .needed("[dba]")]],
    rules: &[],
};

pub(crate) static RULE: Shape = Shape {
    name: "rule",
    doc: "a decision rule of your own: observations that mean a scenario",
    fields: &[&RULE_FIELDS],
    rules: &[],
};

static RULE_FIELDS: [Field; 3] = [
    field("when", Kind::Expression, "a condition over observations")
        .needed("fraction(down, zone berlin/hall-2) >= 50% for 3s"),
    field("then", Kind::Word(words!(Scenario)), "what it means").needed("availability_zone_failure"),
    field("of", Kind::Map(&RULE_SCOPE), "of what").needed("{ region: berlin, zone: hall-2 }"),
];

pub(crate) static RULE_SCOPE: Shape = Shape {
    name: "rule scope",
    doc: "to whom it happened: a component, an instance, a zone or a region",
    fields: &[&[
        field("component", Kind::Ref("component"), "one component").such_as("orders-db"),
        field("instance", Kind::Ref("instance"), "one instance: a component's own, or a standby")
            .such_as("orders-db-b"),
        field("region", Kind::Text, "a region").such_as("berlin"),
        field("zone", Kind::Text, "a zone of that region").such_as("hall-2"),
    ]],
    rules: &[Rule::OneOf(&["component", "instance", "region"]), Rule::With("zone", &[&["region"]])],
};

pub(crate) static EVACUATION: Shape = Shape {
    name: "evacuation",
    doc: "a plan for the loss of one zone or one region: what is recovered together, in which order, into how much room",
    fields: &[&EVACUATION_FIELDS],
    rules: &[],
};

static EVACUATION_FIELDS: [Field; 6] = [
    field("of", Kind::Map(&EVACUATED), "what is lost").needed("{ region: berlin, zone: hall-2 }"),
    field(
        "variant",
        Kind::Word(words!(Variant)),
        "how `mainstay evacuate` does it: whether the old side hands over, or is given up",
    )
    .or("graceful"),
    field("at_once", Kind::Number(1, 100_000), "how many recoveries run at the same time").or("10"),
    field(
        "first",
        Kind::Refs("component"),
        "components that go before all others; then dependencies, then criticality",
    )
    .such_as("[orders-db]"),
    field("capacity", Kind::List(&ZONE_CAPACITY), "how much the surviving zones can carry")
        .such_as("[{ region: berlin, zone: hall-1, units: 12 }]"),
    field("parts", Kind::Refs("evacuation"), "evacuations that are part of this one: those of a region's zones")
        .such_as("[hall-2]"),
];

pub(crate) static EVACUATED: Shape = Shape {
    name: "evacuated",
    doc: "a zone, or a region as a whole",
    fields: &[&[
        field("region", Kind::Text, "the region").needed("berlin"),
        field("zone", Kind::Text, "the zone; the whole region, if it is not said").such_as("hall-2"),
    ]],
    rules: &[],
};

pub(crate) static ZONE_CAPACITY: Shape = Shape {
    name: "zone capacity",
    doc: "what a surviving zone can carry, in the unit of the instances' `capacity`",
    fields: &[&[
        field("region", Kind::Text, "the region").needed("berlin"),
        field("zone", Kind::Text, "the zone").needed("hall-1"),
        field("units", Kind::Number(0, 100_000_000), "at most so much in all").needed("12"),
    ]],
    rules: &[],
};

pub(crate) static DRILL: Shape =
    Shape { name: "drill", doc: "a rehearsal that comes again", fields: &[&DRILL_FIELDS], rules: &[] };

static DRILL_FIELDS: [Field; 3] = [
    field("kind", Kind::Word(words!(DrillKind)), "how real it is").needed("component"),
    field("components", Kind::Refs("component"), "what is rehearsed").derived("all components"),
    field("every", Kind::Positive, "from one to the next").needed("90d"),
];

pub(crate) static NOTIFICATION: Shape = Shape {
    name: "notification",
    doc: "a channel over which somebody is told",
    fields: &[&NOTIFICATION_FIELDS],
    rules: &[],
};

static NOTIFICATION_FIELDS: [Field; 4] = [
    field("send", Kind::One(&MESSENGER), "what carries it")
        .needed("{ webhook: { url: \"https://alerts.example.com/hook\" } }"),
    field("location", Kind::Map(&LOCATION), "where what carries it lives").such_as("{ region: potsdam }"),
    field(
        "levels",
        Kind::Words(words!(NoticeLevel)),
        "what it is told by itself; `[]`: nothing, unless an escalation tells it",
    )
    .or("[info, warning, error]"),
    field("repeat", Kind::Positive, "after how long what still stands is said again, until somebody acknowledges it")
        .such_as("30m"),
];

pub(crate) static QUIET: Shape = Shape {
    name: "quiet time",
    doc: "a part of each day in which only what is loud is told; what was held back is told when it ends",
    fields: &[&QUIET_FIELDS],
    rules: &[],
};

static QUIET_FIELDS: [Field; 4] = [
    field("from", Kind::TimeOfDay, "when it begins, as the clock on the wall shows it").needed("\"22:00\""),
    field("until", Kind::TimeOfDay, "when it ends; not after `from`: on the next day").needed("\"07:00\""),
    field("offset", Kind::UtcOffset, "how far that clock is ahead of UTC; it knows no summer time").or("\"+00:00\""),
    field("holds", Kind::Words(words!(NoticeLevel)), "what is held back").or("[info, warning]"),
];

pub(crate) static ESCALATION_STEP: Shape = Shape {
    name: "escalation step",
    doc: "who is told when nobody has answered for a while",
    fields: &[&[
        field("after", Kind::Duration, "from the first notice").needed("10m"),
        field("tell", Kind::Refs("notification"), "which channels; at least one").needed("[on-call]"),
    ]],
    rules: &[],
};

pub(crate) static AGENT: Shape =
    Shape { name: "agent", doc: "an agent beside the one that decides", fields: &[&AGENT_OWN, &PLACE], rules: &[] };

static AGENT_OWN: [Field; 1] = [field("role", Kind::Word(words!(AgentRole)), "what it is for").or("hands")];

pub(crate) static HOST: Shape = Shape {
    name: "host",
    doc: "a machine where `mainstay host` runs; its name is what `location.host` of the instances there says",
    fields: &[&HOST_FIELDS],
    rules: &[],
};

static HOST_FIELDS: [Field; 5] = [
    field("region", Kind::Text, "where it is").needed("berlin"),
    field("zone", Kind::Text, "what it loses power and network together with").such_as("hall-1"),
    field("serves", Kind::Flag, "whether a traffic process there serves the routes, too").or("false"),
    field("keeps_journal", Kind::Flag, "whether it keeps a copy of the journal").or("false"),
    field(
        "peer_address",
        Kind::Socket,
        "where other hosts ask it whether they may stay what they are without the agent",
    )
    .such_as("\"10.0.1.10:7401\""),
];

pub(crate) static LINK: Shape =
    Shape { name: "link", doc: "how hosts reach the agent", fields: &[&LINK_FIELDS], rules: &[] };

static LINK_FIELDS: [Field; 3] = [
    field("listen", Kind::Socket, "where the agent listens for its hosts").needed("\"10.0.3.5:7400\""),
    field("also", Kind::Sockets, "where it listens, too: hosts renew their leases over each of these paths")
        .such_as("[\"10.9.3.5:7400\"]"),
    field("lease", Kind::Map(&HOST_LEASE), "how long what a host holds lasts without a word of the agent").or("{}"),
];

pub(crate) static HOST_LEASE: Shape = Shape {
    name: "lease of a host",
    doc: "how long what a host holds lasts without a word of the agent; twice `renew`, the allowance `lateness` and `drift` together are less than `expires`; where a component says `on_agent_loss: hold`, so are four times `renew`, twice `lateness` and `drift`",
    fields: &[&HOST_LEASE_FIELDS],
    rules: &[],
};

static HOST_LEASE_FIELDS: [Field; 4] = [
    field("renew", Kind::Positive, "how often a host asks for it again").or("1s"),
    field("expires", Kind::Positive, "how long it lasts from when it was asked for").or("8s"),
    field("demote", Kind::Positive, "how long a host may take to stop or demote what it guards once it is over")
        .derived("as the allowance `forced_stop`"),
    field("drift", Kind::Duration, "how much the clocks of agent and host may drift apart meanwhile").or("200ms"),
];

pub(crate) static COORDINATION: Shape = Shape {
    name: "coordination",
    doc: "where leases and epochs live when several agents may decide",
    fields: &[&COORDINATION_OWN],
    rules: &[],
};

static COORDINATION_OWN: [Field; 4] = [
    field("store", Kind::Word(words!(StoreKind)), "what keeps them").needed("etcd"),
    field("location", Kind::Map(&LOCATION), "where it lives: for a replicated store what takes all of it down")
        .needed("{ region: berlin }"),
    field("lease", Kind::Map(&LEASE), "how long an agent may decide without asking again").or("{}"),
    field("alone", Kind::Word(words!(Alone)), "what an agent may still do when the store can't be reached").or("hold"),
];

pub(crate) static LEASE: Shape = Shape {
    name: "lease",
    doc: "how long an agent may decide without asking again; `renew`, the allowance `lateness` and `drift` together are less than `expires`",
    fields: &[&LEASE_FIELDS],
    rules: &[],
};

static LEASE_FIELDS: [Field; 3] = [
    field("renew", Kind::Positive, "how often the agent that decides asks for it again").or("2s"),
    field("expires", Kind::Positive, "how long it lasts from when it was asked for").or("10s"),
    field("drift", Kind::Duration, "how much the clocks of the agent and of the store may drift apart meanwhile")
        .or("500ms"),
];
