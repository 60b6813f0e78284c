//! Components, standbys, witnesses: what is watched and recovered.

use super::actions::{CONTROL_OF, NEW_ADDRESS};
use super::{
    ACTION, Behind, Choice, Field, Kind, LOCATION, PROBE, RETRY, Rule, SERVICE, Shape, UNDO, Variant, field, variant,
    words,
};
use crate::action::Plane;
use crate::backup::TakenBy;
use crate::component::{ComponentKind, ConstraintKind, Criticality, Rejoin, Temperature};
use crate::hosts::OnAgentLoss;
use crate::policy::AfterFailure;
use crate::strategy::OnExpiry;

pub(crate) static COMPONENT: Shape = Shape {
    name: "component",
    doc: "a part of the workload that is bound to one location",
    fields: &[&COMPONENT_WHAT, &INSTANCE, &COMPONENT_OWN],
    rules: &[],
};

static COMPONENT_WHAT: [Field; 1] = [field("type", Kind::Word(words!(ComponentKind)), "what it is").needed("database")];

/// What a component's own instance and a standby have in common.
static INSTANCE: [Field; 10] = [
    field("location", Kind::Map(&LOCATION), "where it lives").needed("{ region: berlin, zone: hall-2, host: db-1 }"),
    field("probes", Kind::Many(&PROBE), "how it is watched; at least one")
        .needed("[{ tcp: { address: \"10.0.1.10:5432\" } }]"),
    field("down_when", Kind::Number(1, 1000), "how many of its probes must be down for it to be down").or("1"),
    field("postgres", Kind::Map(&POSTGRES), "the PostgreSQL server that it is"),
    field(
        "service",
        Kind::Map(&SERVICE),
        "how it is started and stopped; by `pg_ctl`, if it is not said and `postgres` has `data`",
    )
    .such_as("{ unit: postgresql.service }"),
    field("activate", Kind::Many(&ACTION), "what makes this instance the active one when it takes over")
        .derived("with `postgres`, it is promoted")
        .such_as("[{ command: { run: [/usr/local/bin/promote], idempotent: true } }]"),
    field(
        "demote",
        Kind::Many(&ACTION),
        "what makes this instance a standby when it hands over in a planned switchover",
    )
    .such_as("[{ command: { run: [/usr/local/bin/demote], idempotent: true } }]"),
    field(
        "repair",
        Kind::Many(&ACTION),
        "what makes this instance a standby of the owner again after it was displaced, by itself; without it, a person does and says so",
    )
    .such_as("[{ rejoin: {} }]"),
    field(
        "shares",
        Kind::Many(&SHARED),
        "what it lives on beside its location; what names the same thing fails together",
    )
    .such_as("[{ key: orders-kms }]"),
    field("capacity", Kind::Number(0, 1_000_000), "how much of a zone's capacity it takes while it is active").or("1"),
];

static COMPONENT_OWN: [Field; 12] = [
    field("constraint", Kind::Map(&CONSTRAINT), "why it can't be spread over locations")
        .such_as("{ reason: the licence is bound to one host, kind: technical }"),
    field(
        "criticality",
        Kind::Word(words!(Criticality)),
        "how much it matters: `check` holds what is critical to more",
    )
    .or("important"),
    field("objectives", Kind::Map(&OBJECTIVES), "what is promised for it")
        .such_as("{ rto: 30s, rpo: 5s, availability: 99.95 }"),
    field("depends_on", Kind::Refs("component"), "what must work before this can; it is recovered after these")
        .such_as("[orders-db]"),
    field("witnesses", Kind::Map(&WITNESS_RULE), "who must answer before anything is done")
        .derived("one of the witnesses outside its zone"),
    field("rejoin", Kind::Word(words!(Rejoin)), "how an instance that was displaced becomes a standby again")
        .or("by_hand"),
    field(
        "on_agent_loss",
        Kind::Word(words!(OnAgentLoss)),
        "what its host does when it can't renew its lease: stop or demote it, or keep it if every host that could take over agrees",
    )
    .or("demote"),
    field("switch", Kind::Map(&SWITCH), "how long the parts of a planned switchover may take").or("{}"),
    field("failback", Kind::One(&FAILBACK), "whether it goes back to its own instance by itself").or("never"),
    field("guards", Kind::Map(&GUARDS), "what may hold its recovery back").or("{}"),
    field("backups", Kind::Named(&BACKUP), "series of backups of it"),
    field("recovery", Kind::Many(&STRATEGY), "its ladder: strategies, tried in this order")
        .such_as("[{ restart_service: { timeout: 15s } }]"),
];

pub(crate) static POSTGRES: Shape = Shape {
    name: "postgres",
    doc: "a PostgreSQL server: how it is reached, where its files are, how others follow it",
    fields: &[&POSTGRES_FIELDS],
    rules: &[
        Rule::Alone("password_file", &["passfile"]),
        Rule::With("bin", &[&["data"]]),
        Rule::With("config_file", &[&["data"]]),
        Rule::With("run_as", &[&["data"]]),
        Rule::With("stop_grace", &[&["data"]]),
    ],
};

static POSTGRES_FIELDS: [Field; 13] = [
    field("address", Kind::HostPort, "where it listens").needed("\"10.0.1.10:5432\""),
    field("user", Kind::Text, "the role that Mainstay logs in as").or("mainstay"),
    field("database", Kind::Text, "the database that it logs in to").or("postgres"),
    field("password_file", Kind::Path, "a file that holds the password, and nothing else")
        .such_as("/etc/mainstay/orders.password"),
    field("passfile", Kind::Path, "a file with lines of `host:port:database:user:password`, as libpq reads them")
        .such_as("/etc/mainstay/pgpass"),
    field("tls", Kind::Map(&POSTGRES_TLS), "TLS is demanded; without it, none is spoken").such_as("{ name: db-1 }"),
    field("data", Kind::Path, "its data directory, on its own machine").such_as("/var/lib/postgresql/15/main"),
    field("bin", Kind::Path, "where `pg_ctl` is, on its own machine").derived(
        "as Debian's or PostgreSQL's own packages have it, by the version in `data`; else the path of whoever runs it",
    ),
    field("config_file", Kind::Path, "its `postgresql.conf`, where that is not in `data`, as Debian has it")
        .such_as("/etc/postgresql/15/main/postgresql.conf"),
    field("run_as", Kind::Text, "the user that its programs run as, by `runuser`; `pg_ctl` refuses root")
        .such_as("postgres"),
    field("stop_grace", Kind::Duration, "how long a fast shutdown may take before force; a fence uses force at once")
        .derived("10s"),
    field("follow", Kind::Map(&POSTGRES_FOLLOW), "how other servers follow it").such_as("{ user: replicator }"),
    field(
        "synchronous",
        Kind::Text,
        "what `synchronous_standby_names` is to be while it is the primary, which `promote` sees to; as its own configuration has it, if it is not said",
    )
    .such_as("ANY 1 (orders_a, orders_b, orders_c)"),
];

pub(crate) static POSTGRES_TLS: Shape = Shape {
    name: "postgres tls",
    doc: "who is trusted to be a PostgreSQL server",
    fields: &[&[
        field("ca_file", Kind::Path, "PEM certificates to trust instead of the system's")
            .such_as("/etc/mainstay/ca.pem"),
        field("name", Kind::Text, "the name that the certificate must carry; the address's, if it is not said")
            .such_as("db-1.internal"),
    ]],
    rules: &[],
};

pub(crate) static POSTGRES_FOLLOW: Shape = Shape {
    name: "postgres follow",
    doc: "how other PostgreSQL servers follow one",
    fields: &[&[
        field("user", Kind::Text, "the role that they log in as, which has `REPLICATION`").needed("replicator"),
        field(
            "passfile",
            Kind::Path,
            "a passfile on the machine of whoever follows; if it is not said, the one in its `primary_conninfo`, or its `~/.pgpass`",
        )
        .such_as("/var/lib/postgresql/replicator.pgpass"),
    ]],
    rules: &[],
};

pub(crate) static STANDBY: Shape = Shape {
    name: "standby",
    doc: "a pre-provisioned instance that can take over from the component whose `failover_to_standby` names it",
    fields: &[&STANDBY_OWN, &INSTANCE],
    rules: &[],
};

static STANDBY_OWN: [Field; 1] = [field(
    "temperature",
    Kind::Word(words!(Temperature)),
    "`hot` serves already, `warm` runs, `cold` is stopped: starting it needs a control plane",
)
.or("warm")];

/// What instances share.
pub(crate) static SHARED: Choice = Choice {
    name: "shared part",
    doc: "something that instances live on beside their location",
    variants: &[shared("key"), shared("network"), shared("dns"), shared("power"), shared("storage")],
};

const fn shared(word: &'static str) -> Variant {
    Variant { word, behind: Behind::Value(Kind::Name) }
}

pub(crate) static CONSTRAINT: Shape = Shape {
    name: "constraint",
    doc: "why a component can't be spread over locations",
    fields: &[&CONSTRAINT_FIELDS],
    rules: &[],
};

static CONSTRAINT_FIELDS: [Field; 2] = [
    field("reason", Kind::Text, "in your words").needed("the licence is bound to one host"),
    field("kind", Kind::Word(words!(ConstraintKind)), "what sort of reason").needed("technical"),
];

pub(crate) static OBJECTIVES: Shape =
    Shape { name: "objectives", doc: "what is promised for a component", fields: &[&OBJECTIVE_FIELDS], rules: &[] };

static OBJECTIVE_FIELDS: [Field; 4] = [
    field("rto", Kind::Positive, "recovery time objective: from the last good answer to the next").such_as("30s"),
    field(
        "rpo",
        Kind::Duration,
        "recovery point objective: how much acknowledged work may be lost; a standby that may lose more does not take over. \
         Leave it out for what keeps no state",
    )
    .such_as("5s"),
    field("availability", Kind::Percent, "target (SLO) in percent").such_as("99.95"),
    field("region_rto", Kind::Positive, "recovery time objective for the loss of the region, where it is another").such_as("15m"),
];

pub(crate) static WITNESS_RULE: Shape = Shape {
    name: "witness rule",
    doc: "how many of which witnesses must have answered since the first failure, before anything is done",
    fields: &[&WITNESS_RULE_FIELDS],
    rules: &[],
};

static WITNESS_RULE_FIELDS: [Field; 2] = [
    field("need", Kind::Number(0, 1000), "how many must have answered").derived("1, or 0 where there is none to ask"),
    field("of", Kind::Refs("witness"), "whom to ask").derived("all witnesses outside its zone").such_as("[gateway]"),
];

pub(crate) static SWITCH: Shape = Shape {
    name: "switch",
    doc: "a planned switchover: `mainstay switch`, `mainstay failback`",
    fields: &[&SWITCH_FIELDS],
    rules: &[],
};

static SWITCH_FIELDS: [Field; 2] = [
    field(
        "catch_up",
        Kind::Positive,
        "how long the new owner may take to be in step once traffic is cut; then it is undone",
    )
    .or("10s"),
    field("verify_within", Kind::Positive, "how long the last step waits for a good answer from the client's side")
        .or("10s"),
];

/// When a component goes back.
pub(crate) static FAILBACK: Choice = Choice {
    name: "failback",
    doc: "whether a component goes back to the instance that it began with",
    variants: &[Variant { word: "never", behind: Behind::Nothing }, variant("when_whole", &WHEN_WHOLE)],
};

static WHEN_WHOLE: Shape = Shape {
    name: "when_whole",
    doc: "as a planned switchover without data loss, once it is healthy, a standby, and in step",
    fields: &[&[field("stable_for", Kind::Positive, "for how long it has been so").or("10m")]],
    rules: &[],
};

pub(crate) static GUARDS: Shape = Shape {
    name: "guards",
    doc: "what may hold back the recovery of one component",
    fields: &[&GUARD_FIELDS],
    rules: &[],
};

static GUARD_FIELDS: [Field; 6] = [
    field("cool_down", Kind::Duration, "from the end of one recovery to the beginning of the next").or("10m"),
    field("approval", Kind::Map(&APPROVAL), "a person must approve").such_as("{ expires: 15m }"),
    field(
        "after_failure",
        Kind::Word(words!(AfterFailure)),
        "what comes before the next recovery after one that failed: time alone, or `mainstay acknowledge` too",
    )
    .or("cool_down"),
    field("flapping", Kind::Map(&FLAPPING), "so many recoveries are done before a person has looked")
        .such_as("{ at_most: 3, within: 6h }"),
    field("observers", Kind::Map(&OBSERVERS), "how many agents must see it down").such_as("{ need: 2 }"),
    field("signals", Kind::Number(1, 16), "so many probes of different kinds must say that it is down").or("1"),
];

pub(crate) static FLAPPING: Shape = Shape {
    name: "flapping",
    doc: "after so many recoveries within a time the next one waits for `mainstay acknowledge`",
    fields: &[&[
        field("at_most", Kind::Number(1, 1000), "how many are done without it").needed("3"),
        field("within", Kind::Positive, "in which time").needed("6h"),
    ]],
    rules: &[],
};

pub(crate) static OBSERVERS: Shape = Shape {
    name: "observers",
    doc: "several agents must see it down, and none of them healthy",
    fields: &[&[field("need", Kind::Number(2, 100), "how many agents, the one that decides among them").needed("2")]],
    rules: &[],
};

pub(crate) static APPROVAL: Shape = Shape {
    name: "approval",
    doc: "a person must approve with `mainstay approve`",
    fields: &[&[
        field("expires", Kind::Positive, "how long the question stands").needed("15m"),
        field("quorum", Kind::Number(1, 100), "how many different people must approve").or("1"),
        field(
            "role",
            Kind::Ref("role"),
            "who may: a role of `people`; anyone who may speak to the agent, if it is not said",
        )
        .such_as("dba"),
        field(
            "on_expiry",
            Kind::Word(words!(OnExpiry)),
            "whether the recovery fails or goes on if too few approved in time",
        )
        .or("fail"),
    ]],
    rules: &[],
};

pub(crate) static BACKUP: Shape =
    Shape { name: "backup", doc: "a series of backups of one component", fields: &[&BACKUP_FIELDS], rules: &[] };

static BACKUP_FIELDS: [Field; 9] = [
    field("every", Kind::Positive, "from the start of one backup to the start of the next").needed("1d"),
    field("takes", Kind::Duration, "the longest that one takes").needed("20m"),
    field("copy_lag", Kind::Duration, "from its end to its being complete where it is kept").or("0s"),
    field(
        "archive_lag",
        Kind::Duration,
        "how far a continuous archive of changes is behind: with it, any point in time can be restored",
    )
    .such_as("1m"),
    field("keep", Kind::Positive, "how long one is kept").needed("14d"),
    field("location", Kind::Map(&LOCATION), "where they are kept").needed("{ region: potsdam }"),
    field("copies", Kind::List(&BACKUP_COPY), "further copies").such_as("[{ location: { region: bonn }, lag: 1h }]"),
    field("restore_test", Kind::Positive, "how often one is restored to see that it can be").such_as("30d"),
    field(
        "postgres",
        Kind::Map(&POSTGRES_BACKUP),
        "Mainstay takes and restores it; the component has `postgres` with `follow`",
    )
    .such_as("{ to: /srv/backups/orders }"),
];

pub(crate) static POSTGRES_BACKUP: Shape = Shape {
    name: "postgres backup",
    doc: "a series of backups of a PostgreSQL server that Mainstay takes and restores, on the machine of its `location`",
    fields: &[&[
        field("to", Kind::Path, "the folder for base backups and the archive of the log, which must be there")
            .needed("/srv/backups/orders"),
        field("check", Kind::Text, "a statement that gives true where a restored server holds what it should")
            .such_as("select count(*) > 0 from orders"),
        field("database", Kind::Text, "the database in which it is asked")
            .derived("that of the component's `postgres`"),
        field("scratch", Kind::Path, "a folder on that machine where one is restored for a look")
            .derived("`restored` in `to`"),
        field("bin", Kind::Path, "where PostgreSQL's programs are on that machine")
            .derived("that of the component's `postgres`"),
        field("run_as", Kind::Text, "the user that they run as, to whom `to` belongs")
            .derived("that of the component's `postgres`"),
        field("taken_by", Kind::Word(words!(TakenBy)), "who begins backups and restore tests when they are due")
            .or("agent"),
    ]],
    rules: &[],
};

pub(crate) static BACKUP_COPY: Shape = Shape {
    name: "backup copy",
    doc: "a further copy of a series of backups",
    fields: &[&BACKUP_COPY_FIELDS],
    rules: &[],
};

static BACKUP_COPY_FIELDS: [Field; 3] = [
    field("location", Kind::Map(&LOCATION), "where it is kept").needed("{ region: bonn }"),
    field("lag", Kind::Duration, "how long after the first place it is complete here").or("0s"),
    field(
        "bucket",
        Kind::Path,
        "the file that says which bucket of an object store Mainstay copies it to; for a series with `postgres`",
    )
    .such_as("/etc/mainstay/orders.bucket.yaml"),
];

/// The rungs of a ladder.
pub(crate) static STRATEGY: Choice = Choice {
    name: "strategy",
    doc: "a way to recover a component",
    variants: &[
        variant("restart_service", &RESTART),
        variant("failover_to_standby", &FAILOVER),
        variant("restore_from_backup", &RESTORE),
        variant("replace_instance", &REPLACE),
        variant("scale_out", &SCALE_OUT),
    ],
};

static VERIFY_SOON: [Field; 1] =
    [field("verify_within", Kind::Positive, "how long the last step waits for a good answer from the client's side")
        .or("10s")];
static VERIFY_LATER: [Field; 1] =
    [field("verify_within", Kind::Positive, "how long the last step waits for a good answer from the client's side")
        .or("1m")];

static ONLY_IF: [Field; 1] =
    [field("only_if", Kind::Map(&PRECONDITIONS), "what must hold when it is its turn; otherwise it is passed over")
        .such_as("{ healthy: [storage] }")];

pub(crate) static PRECONDITIONS: Shape = Shape {
    name: "preconditions",
    doc: "what must hold before a rung is tried, as far as health is known then; not known is not held",
    fields: &[&[
        field("healthy", Kind::Refs("component or standby"), "these are healthy").such_as("[storage]"),
        field("down", Kind::Refs("component or standby"), "these are down").such_as("[orders-db-b]"),
    ]],
    rules: &[],
};

static RESTART: Shape = Shape {
    name: "restart_service",
    doc: "restarts the service of the instance that failed",
    fields: &[&RESTART_FIELDS, &ONLY_IF, &VERIFY_SOON],
    rules: &[],
};

static RESTART_FIELDS: [Field; 5] = [
    field("timeout", Kind::Positive, "for one attempt").or("30s"),
    field("attempts", Kind::Number(1, 100), "how often it is tried").or("1"),
    field("retry", Kind::Map(&RETRY), "how long it waits between attempts; without it, it does not wait")
        .such_as("{ first: 1s, at_most: 10s }"),
    field(
        "at_most",
        Kind::Number(1, 100),
        "so often one instance is restarted `within` a time; then it is in a crash loop, and the rung is passed over",
    )
    .or("3"),
    field("within", Kind::Positive, "in which time they are counted").or("1h"),
];

static FAILOVER: Shape = Shape {
    name: "failover_to_standby",
    doc: "fences the old owner, activates the standby, hands the routes over and verifies",
    fields: &[&FAILOVER_FIELDS, &ONLY_IF, &VERIFY_SOON],
    rules: &[Rule::OneOf(&["standby", "standbys"])],
};

static FAILOVER_FIELDS: [Field; 4] = [
    field("standby", Kind::Ref("standby"), "which one takes over").such_as("orders-db-b"),
    field(
        "standbys",
        Kind::Refs("standby"),
        "of which the one takes over that loses least; the first, where that is the same",
    )
    .such_as("[orders-db-b, orders-db-c]"),
    field(
        "fence",
        Kind::Word(|| vec!["stop", "lease"]),
        "how the old owner is fenced, where no exclusive route says it",
    )
    .such_as("stop"),
    field("accept_risk", Kind::Words(|| vec!["two_writers"]), "risks that are accepted by name in place of a fence")
        .such_as("[two_writers]"),
];

static RESTORE: Shape = Shape {
    name: "restore_from_backup",
    doc: "restores a backup of a PostgreSQL server that Mainstay takes, or runs your command, which restores one; then verifies the same instance",
    fields: &[&RESTORE_FIELDS, &RUN_FIELDS, &NEW_ADDRESS, &CONTROL_OF, &ONLY_IF, &VERIFY_LATER],
    rules: &[Rule::OneOf(&["to", "run"])],
};

static RESTORE_FIELDS: [Field; 3] = [
    field("backup", Kind::Ref("backup"), "which of the component's `backups` it restores").such_as("nightly"),
    field(
        "to",
        Kind::Word(|| vec!["latest"]),
        "up to where Mainstay restores it, a series with `postgres`; what stands here about a command has no effect then",
    )
    .such_as("latest"),
    field("run", Kind::Argv, "the program and its arguments; no shell").such_as("[/usr/local/bin/restore, --latest]"),
];

static REPLACE: Shape = Shape {
    name: "replace_instance",
    doc: "runs your command, which makes a new instance, then verifies it: at the same address, unless `address` says more",
    fields: &[&RUN, &RUN_FIELDS, &NEW_ADDRESS, &CONTROL_OF, &ONLY_IF, &VERIFY_LATER],
    rules: &[],
};

static SCALE_OUT: Shape = Shape {
    name: "scale_out",
    doc: "runs your command, which adds capacity, then verifies the same instance",
    fields: &[&RUN, &RUN_FIELDS, &CONTROL_OF, &ONLY_IF, &VERIFY_LATER],
    rules: &[],
};

static RUN: [Field; 1] =
    [field("run", Kind::Argv, "the program and its arguments; no shell").needed("[/usr/local/bin/restore, --latest]")];

static RUN_FIELDS: [Field; 5] = [
    field("timeout", Kind::Positive, "for the command").or("30m"),
    field("plane", Kind::Word(words!(Plane)), "what the command needs to work").or("regional_control"),
    field("idempotent", Kind::Flag, "whether running it twice does no more than once").or("false"),
    field("needs", Kind::Refs("credential or cache entry"), "what must be prepared for it").such_as("[restore-key]"),
    field("undo", Kind::One(&UNDO), "what takes it back, if it is done and does not help")
        .such_as("{ command: { run: [/usr/local/bin/remove-new], idempotent: true } }"),
];

pub(crate) static WITNESS: Shape = Shape {
    name: "witness",
    doc: "something that always answers, outside what may fail: it tells whether our own network works",
    fields: &[&WITNESS_FIELDS],
    rules: &[],
};

static WITNESS_FIELDS: [Field; 2] = [
    field("location", Kind::Map(&LOCATION), "where it lives").needed("{ region: berlin, zone: office }"),
    field("probe", Kind::One(&PROBE), "how it is asked").needed("{ tcp: { address: \"10.0.3.1:443\" } }"),
];
