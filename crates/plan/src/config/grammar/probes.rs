//! Probes: what is asked, and how often.

use super::{Behind, Choice, Field, Kind, Rule, Shape, Variant, field, variant, words};
use crate::probe::{DnsRecord, HttpMethod};

/// The kinds of probe.
pub(crate) static PROBE: Choice = Choice {
    name: "probe",
    doc: "one health check",
    variants: &[
        variant("tcp", &TCP),
        variant("tls", &TLS),
        variant("http", &HTTP),
        variant("dns", &DNS),
        variant("grpc", &GRPC),
        variant("udp", &UDP),
        variant("icmp", &ICMP),
        variant("command", &COMMAND_PROBE),
        variant("process", &PROCESS),
        variant("file", &FILE),
        variant("disk", &DISK),
        variant("heartbeat", &HEARTBEAT),
        variant("postgres", &POSTGRES_PROBE),
        variant("composite", &COMPOSITE),
    ],
};

/// The kinds of question that a composite probe is made of.
pub(crate) static PROBE_PART: Choice = Choice {
    name: "part of a composite probe",
    doc: "what is asked together with others, without a timing of its own",
    variants: &[
        variant("tcp", &TCP_PART),
        variant("tls", &TLS_PART),
        variant("http", &HTTP_PART),
        variant("dns", &DNS_PART),
        variant("grpc", &GRPC_PART),
        variant("udp", &UDP_PART),
        variant("icmp", &ICMP_PART),
        variant("command", &COMMAND_PART),
        variant("process", &PROCESS_PART),
        variant("file", &FILE_PART),
        variant("disk", &DISK_PART),
        variant("heartbeat", &HEARTBEAT_PART),
        variant("postgres", &POSTGRES_PART),
    ],
};

/// The same question as a probe of that kind asks.
macro_rules! part {
    ($name:ident, $text:literal, $probe:ident, $fields:ident) => {
        static $name: Shape = Shape { name: $text, doc: $probe.doc, fields: &[&$fields], rules: $probe.rules };
    };
}

part!(TCP_PART, "tcp part", TCP, TCP_FIELDS);
part!(TLS_PART, "tls part", TLS, TLS_FIELDS);
part!(HTTP_PART, "http part", HTTP, HTTP_FIELDS);
part!(DNS_PART, "dns part", DNS, DNS_FIELDS);
part!(GRPC_PART, "grpc part", GRPC, GRPC_FIELDS);
part!(UDP_PART, "udp part", UDP, UDP_FIELDS);
part!(ICMP_PART, "icmp part", ICMP, ICMP_FIELDS);
part!(COMMAND_PART, "command part", COMMAND_PROBE, COMMAND_FIELDS);
part!(PROCESS_PART, "process part", PROCESS, PROCESS_FIELDS);
part!(FILE_PART, "file part", FILE, FILE_FIELDS);
part!(DISK_PART, "disk part", DISK, DISK_FIELDS);
part!(POSTGRES_PART, "postgres part", POSTGRES_PROBE, POSTGRES_PROBE_FIELDS);
part!(HEARTBEAT_PART, "heartbeat part", HEARTBEAT, HEARTBEAT_FIELDS);

/// What every probe has.
static TIMING: [Field; 5] = [
    field("interval", Kind::Positive, "from start to start while all is well").or("1s"),
    field("fast_interval", Kind::Positive, "from start to start while in doubt; at most `interval`")
        .derived("as `interval`"),
    field("timeout", Kind::Positive, "after this the answer is *timed out*; at most `fast_interval`")
        .derived("500ms, or `fast_interval` if that is shorter"),
    field("fall", Kind::Number(1, 1000), "failures in a row that make it down").or("3"),
    field("rise", Kind::Number(1, 1000), "good answers in a row that make it healthy again").or("2"),
];

/// What every probe has that goes over a network.
static NETWORK: [Field; 2] = [
    field(
        "from",
        Kind::Addresses,
        "addresses of the asking machine to ask from, in turn; otherwise the system chooses",
    )
    .such_as("[\"10.0.3.5\", \"10.0.4.5\"]"),
    field("ask_from", Kind::Word(|| vec!["host"]), "who asks; without it, the agent does").such_as("host"),
];

static TCP: Shape = Shape {
    name: "tcp probe",
    doc: "good when a connection is accepted, which says nothing about the application behind it",
    fields: &[&TCP_FIELDS, &NETWORK, &TIMING],
    rules: &[],
};

static TCP_FIELDS: [Field; 1] = [field("address", Kind::HostPort, "whom to ask").needed("\"10.0.1.10:5432\"")];

static TLS: Shape = Shape {
    name: "tls probe",
    doc: "good when a TLS handshake succeeds, with a trusted certificate of the right name",
    fields: &[&TLS_FIELDS, &NETWORK, &TIMING],
    rules: &[],
};

static TLS_FIELDS: [Field; 4] = [
    field("address", Kind::HostPort, "whom to ask").needed("\"10.0.1.10:5432\""),
    field(
        "name",
        Kind::Text,
        "the name that is asked for and that the certificate must carry; the address's, if it is not said",
    )
    .such_as("orders.internal"),
    CA_FILE,
    EXPIRES_AFTER,
];

const CA_FILE: Field =
    field("ca_file", Kind::Path, "PEM certificates to trust instead of the system's").such_as("/etc/mainstay/ca.pem");

const EXPIRES_AFTER: Field = field(
    "expires_after",
    Kind::Positive,
    "people are told when the certificate is valid for less time than that; a failure it is when it has expired",
)
.such_as("14d");

static HTTP: Shape = Shape {
    name: "http probe",
    doc: "good when status and body are as expected",
    fields: &[&HTTP_FIELDS, &HTTP_REPORTS, &NETWORK, &TIMING],
    rules: &[],
};

static HTTP_FIELDS: [Field; 14] = [
    field("url", Kind::Url, "what to ask").needed("\"http://10.0.1.10:8080/health\""),
    field("method", Kind::Word(words!(HttpMethod)), "the method of the request").or("GET"),
    field("headers", Kind::Texts, "headers of the request").such_as("{ accept: application/json }"),
    field("send", Kind::Content, "the body of the request").such_as("ping"),
    field("auth", Kind::One(&AUTH), "who asks, from a file"),
    field("http2", Kind::Flag, "whether HTTP/2 is spoken, without asking for it where there is no TLS").or("false"),
    field("redirects", Kind::Number(0, 10), "how many redirects are followed; what redirects further is wrong").or("0"),
    field("status", Kind::Statuses, "status codes that are good").or("200-299"),
    field("expect_headers", Kind::Texts, "headers that the answer must have, and text that is in them")
        .such_as("{ content-type: json }"),
    field("body", Kind::Text, "text that the first 64 KiB of the body must contain").such_as("ready"),
    field("host", Kind::Text, "the `Host` header and the name in the certificate; the URL's, if it is not said")
        .such_as("orders.internal"),
    CA_FILE,
    EXPIRES_AFTER,
    field(
        "keep_alive",
        Kind::Flag,
        "whether the connection is kept for the next question; a new one each time also shows that new clients are let in",
    )
    .or("false"),
];

static HTTP_REPORTS: [Field; 2] = [
    field("lag_header", Kind::Text, "header of the answer that carries the replication lag")
        .such_as("x-replication-lag"),
    field("role_header", Kind::Text, "header of the answer that says whether it is active or a standby")
        .such_as("x-role"),
];

/// Who asks.
pub(crate) static AUTH: Choice = Choice {
    name: "authorization",
    doc: "what stands in the header `Authorization`; it is read again when the server refuses it",
    variants: &[
        Variant { word: "basic", behind: Behind::Value(Kind::Path) },
        Variant { word: "bearer", behind: Behind::Value(Kind::Path) },
    ],
};

static DNS: Shape = Shape {
    name: "dns probe",
    doc: "good when the name server answers, with `expect` if that is given",
    fields: &[&DNS_FIELDS, &NETWORK, &TIMING],
    rules: &[],
};

static DNS_FIELDS: [Field; 4] = [
    field("server", Kind::Socket, "the name server").needed("\"10.0.3.53:53\""),
    field("name", Kind::DnsName, "what it is asked for").needed("orders.internal."),
    field("type", Kind::Word(words!(DnsRecord)), "the record type asked for").or("A"),
    field("expect", Kind::Text, "text that one of the answers must equal").such_as("10.0.1.10"),
];

static GRPC: Shape = Shape {
    name: "grpc probe",
    doc: "good when the server says by `grpc.health.v1.Health/Check` that it serves",
    fields: &[&GRPC_FIELDS, &NETWORK, &TIMING],
    rules: &[],
};

static GRPC_FIELDS: [Field; 6] = [
    field("address", Kind::HostPort, "whom to ask").needed("\"10.0.1.10:9090\""),
    field("service", Kind::Text, "the service that is asked for; the server as a whole, if it is not said")
        .such_as("orders.v1.Orders"),
    field("tls", Kind::Flag, "whether it goes over TLS").or("false"),
    field(
        "name",
        Kind::Text,
        "the name of the server, which its certificate must carry, too; the address's, if it is not said",
    )
    .such_as("orders.internal"),
    CA_FILE,
    EXPIRES_AFTER,
];

static UDP: Shape = Shape {
    name: "udp probe",
    doc: "good when a datagram is answered, with `expect` if that is given",
    fields: &[&UDP_FIELDS, &NETWORK, &TIMING],
    rules: &[Rule::OneOf(&["send", "send_hex"]), Rule::Alone("expect", &["expect_hex"])],
};

static UDP_FIELDS: [Field; 5] = [
    field("address", Kind::HostPort, "whom to ask").needed("\"10.0.1.10:5060\""),
    field("send", Kind::Content, "what is sent, as text").such_as("ping"),
    field("send_hex", Kind::Content, "what is sent, byte for byte").such_as("\"00 01 ff\""),
    field("expect", Kind::Text, "text that the first datagram of the answer must contain").such_as("pong"),
    field("expect_hex", Kind::Text, "bytes that it must contain").such_as("\"80 01\""),
];

static ICMP: Shape = Shape {
    name: "icmp probe",
    doc: "good when the machine answers an echo request, which says nothing about what runs on it",
    fields: &[&ICMP_FIELDS, &NETWORK, &TIMING],
    rules: &[],
};

static ICMP_FIELDS: [Field; 1] = [field("address", Kind::Ip, "the machine").needed("10.0.1.10")];

static COMMAND_PROBE: Shape = Shape {
    name: "command probe",
    doc: "good when the command exits with 0",
    fields: &[&COMMAND_FIELDS, &COMMAND_REPORTS, &TIMING],
    rules: &[],
};

static COMMAND_FIELDS: [Field; 1] =
    [field("run", Kind::Argv, "the program and its arguments; no shell").needed("[/usr/local/bin/check, --fast]")];

static COMMAND_REPORTS: [Field; 2] = [
    field("lag", Kind::Word(|| vec!["stdout"]), "the last line of its output is the replication lag").such_as("stdout"),
    field(
        "role",
        Kind::Word(|| vec!["stdout"]),
        "the last line of its output says whether it is active or a standby; with `lag`, it is `role=active lag=1.5s`",
    )
    .such_as("stdout"),
];

static PROCESS: Shape = Shape {
    name: "process probe",
    doc: "good when the process runs, on the agent's machine",
    fields: &[&PROCESS_FIELDS, &TIMING],
    rules: &[],
};

static PROCESS_FIELDS: [Field; 1] =
    [field("pid_file", Kind::Path, "the file that holds its process id").needed("/run/server.pid")];

static FILE: Shape = Shape {
    name: "file probe",
    doc: "good when the file, on the agent's machine, was changed recently enough; its age is the replication lag",
    fields: &[&FILE_FIELDS, &TIMING],
    rules: &[],
};

static FILE_FIELDS: [Field; 2] = [
    field("path", Kind::Path, "which file").needed("/var/lib/copy/stamp"),
    field("max_age", Kind::Positive, "the oldest that it may be").needed("15m"),
];

static DISK: Shape = Shape {
    name: "disk probe",
    doc: "good when the file system, on the agent's machine, has room left",
    fields: &[&DISK_FIELDS, &TIMING],
    rules: &[Rule::With("path", &[&["free_mib"], &["free_percent"], &["free_inodes"]])],
};

static DISK_FIELDS: [Field; 4] = [
    field("path", Kind::Path, "a file or directory on it").needed("/var/lib/orders"),
    field("free_mib", Kind::Number(1, u32::MAX), "how many MiB must be free").such_as("2048"),
    field("free_percent", Kind::Percent, "how much of it must be free").such_as("5"),
    field("free_inodes", Kind::Number(1, u32::MAX), "how many more files it must have room for").such_as("10000"),
];

static HEARTBEAT: Shape = Shape {
    name: "heartbeat probe",
    doc: "good while a job calls the agent often enough: with `mainstay heartbeat NAME`, `POST /v1/heartbeats/NAME` on its socket, or at `heartbeats` from another machine",
    fields: &[&HEARTBEAT_FIELDS, &TIMING],
    rules: &[],
};

static HEARTBEAT_FIELDS: [Field; 2] = [
    field("name", Kind::Name, "what the job calls it").needed("nightly-copy"),
    field("max_age", Kind::Positive, "how long it may be silent").needed("25h"),
];

static POSTGRES_PROBE: Shape = Shape {
    name: "postgres probe",
    doc: "good when the instance's PostgreSQL server, which its `postgres` describes, answers and does its work; it says whether it is a primary or a standby",
    fields: &[&POSTGRES_PROBE_FIELDS, &NETWORK, &TIMING],
    rules: &[],
};

static POSTGRES_PROBE_FIELDS: [Field; 1] = [field(
    "writes",
    Kind::Flag,
    "whether a primary has to write a record to its own log and disk; it waits for no standby and changes no table",
)
.or("true")];

static COMPOSITE: Shape = Shape {
    name: "composite probe",
    doc: "good when so many of its parts are good, which are asked together",
    fields: &[&COMPOSITE_FIELDS, &NETWORK, &TIMING],
    rules: &[],
};

static COMPOSITE_FIELDS: [Field; 2] = [
    field("needed", Kind::Number(1, 64), "how many of the parts must be good").needed("2"),
    field("of", Kind::Many(&PROBE_PART), "the parts; at least two")
        .needed("[{ tcp: { address: \"10.0.1.10:5432\" } }]"),
];
