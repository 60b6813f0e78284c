//! Services and actions: what is done.

use super::{Choice, Field, Kind, Rule, Shape, field, variant, words};
use crate::action::{Plane, ServiceOp};
use crate::postgres::{FreshCopy, OldData};
use crate::strategy::OnExpiry;

pub(crate) static SERVICE: Shape = Shape {
    name: "service",
    doc: "how a service is controlled: by systemd, or by commands and a pid file",
    fields: &[&SERVICE_FIELDS],
    rules: &[
        Rule::OneOf(&["unit", "start"]),
        Rule::Alone("unit", &["stop", "status", "pid_file", "stop_grace"]),
        Rule::With("start", &[&["pid_file"], &["stop", "status"]]),
    ],
};

static SERVICE_FIELDS: [Field; 6] = [
    field("unit", Kind::Text, "a unit of systemd, on the agent's machine").such_as("postgresql.service"),
    field("start", Kind::Argv, "starts it and returns").such_as("[/usr/local/sbin/db, up]"),
    field("stop", Kind::Argv, "stops it; SIGTERM to the process of `pid_file`, if it is not said")
        .such_as("[/usr/local/sbin/db, down]"),
    field(
        "status",
        Kind::Argv,
        "exits with 0 while it runs, with 1 to 3 when it does not; anything else leaves it in doubt",
    )
    .such_as("[/usr/local/sbin/db, status]"),
    field("pid_file", Kind::Path, "the file that holds its process id, on the agent's machine").such_as("/run/db.pid"),
    field("stop_grace", Kind::Duration, "how long a stop in order may take before force; a fence uses force at once")
        .derived("10s"),
];

/// What is done to activate an instance.
pub(crate) static ACTION: Choice = Choice {
    name: "action",
    doc: "something that is done to the world",
    variants: &[
        variant("service", &SERVICE_ACTION),
        variant("command", &COMMAND),
        variant("trigger_file", &TRIGGER_FILE),
        variant("webhook", &WEBHOOK),
        variant("promote", &PROMOTE),
        variant("follow", &FOLLOW),
        variant("rejoin", &REJOIN),
        variant("manual", &MANUAL),
    ],
};

/// What every action has.
static TRIES: [Field; 6] = [
    TIMEOUT,
    ATTEMPTS,
    RETRY_AFTER,
    field("undo", Kind::One(&UNDO), "what takes it back, if the rung fails or is aborted before the hand-over")
        .such_as("{ command: { run: [/usr/local/bin/demote, db-2], idempotent: true } }"),
    WITH_PREVIOUS,
    NEEDS,
];

const TIMEOUT: Field = field("timeout", Kind::Positive, "for one attempt").or("10s");
const ATTEMPTS: Field = field("attempts", Kind::Number(1, 100), "how often it is tried").or("1");
const RETRY_AFTER: Field =
    field("retry", Kind::Map(&RETRY), "how long it waits between attempts; without it, it does not wait")
        .such_as("{ first: 1s, at_most: 10s }");
const NEEDS: Field =
    field("needs", Kind::Refs("credential or cache entry"), "what must be prepared for it").such_as("[promote-key]");

/// Which control plane an action needs.
pub(super) static CONTROL_OF: [Field; 2] = [
    field("service", Kind::Name, "whose plane that is; what is named alike is known to be down together")
        .such_as("ec2"),
    field("region", Kind::Text, "the region that this plane is run from")
        .derived("the instance's, or the site's for a plane that is not regional"),
];

const WITH_PREVIOUS: Field =
    field("with_previous", Kind::Flag, "whether it begins together with the one before it, and not after it")
        .or("false");

pub(crate) static RETRY: Shape = Shape {
    name: "retry",
    doc: "how long it waits after an attempt without success: twice as long each time, less up to half of it by chance",
    fields: &[&[
        field("first", Kind::Positive, "after the first attempt, at most").or("1s"),
        field("at_most", Kind::Positive, "after any attempt, at most").or("30s"),
    ]],
    rules: &[],
};

/// What takes an action back.
pub(crate) static UNDO: Choice = Choice {
    name: "undo",
    doc: "what takes a step back; it is done once, the last step first, and a person is asked if it does not work",
    variants: &[
        variant("service", &SERVICE_UNDO),
        variant("command", &COMMAND_UNDO),
        variant("trigger_file", &TRIGGER_UNDO),
        variant("webhook", &WEBHOOK_UNDO),
    ],
};

static UNDO_FIELDS: [Field; 2] = [
    field("timeout", Kind::Positive, "after this nobody knows whether it was done").or("10s"),
    field("needs", Kind::Refs("credential or cache entry"), "what must be prepared for it").such_as("[promote-key]"),
];

static SERVICE_UNDO: Shape = Shape {
    name: "service undo",
    doc: "done when the instance's own service is seen in that state",
    fields: &[&[field("op", Kind::Word(words!(ServiceOp)), "what to do").needed("stop")], &UNDO_FIELDS],
    rules: &[],
};

static COMMAND_UNDO: Shape = Shape {
    name: "command undo",
    doc: "done when the command exits with 0",
    fields: &[&COMMAND_FIELDS, &UNDO_FIELDS],
    rules: &[],
};

static TRIGGER_UNDO: Shape = Shape {
    name: "trigger file undo",
    doc: "done when the file is written and on the disk",
    fields: &[&TRIGGER_FIELDS, &UNDO_FIELDS],
    rules: &[],
};

static WEBHOOK_UNDO: Shape = Shape {
    name: "webhook undo",
    doc: "done when the answer is 200 to 299",
    fields: &[&WEBHOOK_FIELDS, &UNDO_FIELDS],
    rules: &[],
};

static MANUAL: Shape = Shape {
    name: "manual step",
    doc: "done when a person says so with `mainstay approve rN`; they are told what to do",
    fields: &[&MANUAL_FIELDS],
    rules: &[],
};

static MANUAL_FIELDS: [Field; 5] = [
    field("ask", Kind::Text, "what they are asked to do").needed("move the licence to db-2 in the vendor's portal"),
    field("role", Kind::Ref("role"), "who may say that it is done: a role of `people`; anyone, if it is not said")
        .such_as("dba"),
    field("expires", Kind::Positive, "how long they have").needed("15m"),
    field("on_expiry", Kind::Word(words!(OnExpiry)), "what becomes of the step if nobody says anything in time")
        .or("fail"),
    WITH_PREVIOUS,
];

static PROMOTE: Shape = Shape {
    name: "promote",
    doc: "done when the instance's PostgreSQL server is seen to be a primary that takes writes; one that is a primary already is left alone",
    fields: &[&POSTGRES_TRIES],
    rules: &[],
};

static FOLLOW: Shape = Shape {
    name: "follow",
    doc: "done when the instance's PostgreSQL server, a standby, is seen to stream from the new owner, whose `postgres` has `follow`",
    fields: &[&POSTGRES_TRIES],
    rules: &[],
};

static REJOIN: Shape = Shape {
    name: "rejoin",
    doc: "done when the instance's PostgreSQL server, a primary or not, is a standby that streams from the new owner; on its own machine, so its `postgres` has `data`",
    fields: &[&REJOIN_FIELDS, &POSTGRES_TRIES],
    rules: &[],
};

static REJOIN_FIELDS: [Field; 2] = [
    field(
        "clone",
        Kind::Word(words!(FreshCopy)),
        "when its data is replaced by a fresh copy of the new owner's, which takes as long as that is large: when it can't be rewound, or always",
    )
    .or("never"),
    field("old_data", Kind::Word(words!(OldData)), "what becomes of the data that a fresh copy replaces: it lies beside, or is removed once the server streams")
        .or("keep"),
];

/// What is done by SQL is done alone, and nothing takes it back.
static POSTGRES_TRIES: [Field; 4] = [TIMEOUT, ATTEMPTS, RETRY_AFTER, NEEDS];

static SERVICE_ACTION: Shape = Shape {
    name: "service action",
    doc: "done when the instance's own service is seen in that state",
    fields: &[&[field("op", Kind::Word(words!(ServiceOp)), "what to do").needed("start")], &TRIES],
    rules: &[],
};

static COMMAND: Shape = Shape {
    name: "command action",
    doc: "done when the command exits with 0",
    fields: &[&COMMAND_FIELDS, &NEW_ADDRESS, &CONTROL_OF, &TRIES],
    rules: &[],
};

static COMMAND_FIELDS: [Field; 4] = [
    field("run", Kind::Argv, "the program and its arguments; no shell").needed("[/usr/local/bin/promote, db-2]"),
    field("env", Kind::Texts, "added to the agent's environment").such_as("{ PGPASSWORD: \"${monitor}\" }"),
    field("plane", Kind::Word(words!(Plane)), "what the command needs to work").or("local"),
    field("idempotent", Kind::Flag, "whether running it twice does no more than once").or("false"),
];

/// What a command says that brings its instance to another address.
pub(super) static NEW_ADDRESS: [Field; 1] = [field(
    "address",
    Kind::Word(|| vec!["stdout"]),
    "the last line of its output is the IP address where the instance is from then on; the ports stay",
)
.such_as("stdout")];

static TRIGGER_FILE: Shape = Shape {
    name: "trigger file",
    doc: "done when the file is written and on the disk",
    fields: &[&TRIGGER_FIELDS, &TRIES],
    rules: &[],
};

static TRIGGER_FIELDS: [Field; 2] = [
    field("path", Kind::Path, "which file").needed("/var/lib/db/promote"),
    field("content", Kind::Content, "what it holds; `{idempotency_key}` is replaced").or("\"\""),
];

static WEBHOOK: Shape = Shape {
    name: "webhook",
    doc: "done when the answer is 200 to 299",
    fields: &[&WEBHOOK_FIELDS, &ADDRESS_HEADER, &CONTROL_OF, &TRIES],
    rules: &[],
};

static ADDRESS_HEADER: [Field; 1] = [field(
    "address_header",
    Kind::Text,
    "header of the answer that carries the IP address where the instance is from then on; the ports stay",
)
.such_as("x-new-address")];

static WEBHOOK_FIELDS: [Field; 6] = [
    field("url", Kind::Url, "whom to call").needed("\"http://10.0.2.10:8008/promote\""),
    field("method", Kind::Text, "the HTTP method").or("POST"),
    field("headers", Kind::Texts, "beside `Idempotency-Key`").such_as("{ authorization: \"Bearer ${token}\" }"),
    field("body", Kind::Content, "the body").or("\"\""),
    field("plane", Kind::Word(words!(Plane)), "what the callee needs to work").or("data"),
    field("idempotent", Kind::Flag, "whether the callee honours `Idempotency-Key`").or("false"),
];

/// How somebody is told.
pub(crate) static MESSENGER: Choice = Choice {
    name: "messenger",
    doc: "what carries a notice: the text is in `MAINSTAY_MESSAGE`, or is the body",
    variants: &[variant("command", &COMMAND_MESSENGER), variant("webhook", &WEBHOOK_MESSENGER)],
};

static COMMAND_MESSENGER: Shape = Shape {
    name: "command messenger",
    doc: "runs a command with the text in `MAINSTAY_MESSAGE`",
    fields: &[&COMMAND_FIELDS],
    rules: &[],
};

static WEBHOOK_MESSENGER: Shape = Shape {
    name: "webhook messenger",
    doc: "sends the text as `{\"text\": \"…\"}`, unless it has a `body` of its own",
    fields: &[&WEBHOOK_FIELDS],
    rules: &[],
};
