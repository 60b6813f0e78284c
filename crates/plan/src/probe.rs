//! Probes: what is asked, how often, and how many answers make a verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::postgres::PostgresProbe;
use crate::{ControlIx, InstanceIx, RouteIx, WitnessIx};

/// One health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Unique in the plan and readable: `orders-db/http`, `witness/gateway`, `route/orders/verify`.
    pub name: String,
    /// What it says something about.
    pub watches: Watches,
    /// What is asked.
    pub kind: ProbeKind,
    /// Addresses of our own to ask from, in turn; empty: the system chooses.
    pub from: Vec<IpAddr>,
    /// Whether the host of its instance asks it, although the agent could.
    pub from_host: bool,
    /// How often, and how many answers make a verdict.
    pub timing: ProbeTiming,
}

/// What a probe says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watches {
    /// The health of an instance.
    Instance(InstanceIx),
    /// Whether our own path works.
    Witness(WitnessIx),
    /// Whether a control plane works: it is its canary.
    Control(ControlIx),
    /// What clients of a route get. Asked only to verify a recovery.
    Route(RouteIx),
}

impl Watches {
    /// The instance, where it is about one.
    pub const fn instance(self) -> Option<InstanceIx> {
        match self {
            Watches::Instance(ix) => Some(ix),
            Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
        }
    }
}

/// When a probe runs and what its answers add up to. Probes of one kind never overlap: the next starts when the time
/// has come *and* the one before has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeTiming {
    /// From start to start while all is well.
    pub interval: Duration,
    /// From start to start while in doubt (after a failure, or on the way back up).
    pub fast_interval: Duration,
    /// After this the answer is *timed out*. At most `fast_interval`, so that start to start holds.
    pub timeout: Duration,
    /// Failures in a row that make it down.
    pub fall: u32,
    /// Good answers in a row that make it healthy again.
    pub rise: u32,
}

/// What is asked. A closed list: the host matches it to call a provider, the simulator matches the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// A TCP connection is accepted. Says nothing about the application behind it: the kernel accepts for a process
    /// that is stopped.
    Tcp {
        /// Whom to ask.
        address: Address,
    },
    /// A TLS handshake succeeds, with a certificate that is trusted and carries the right name.
    Tls(TlsProbe),
    /// An HTTP request is answered as expected.
    Http(Box<HttpProbe>),
    /// A name server answers a question as expected.
    Dns {
        /// The name server.
        server: SocketAddr,
        /// The name asked for, fully qualified.
        name: String,
        /// The type asked for.
        record: DnsRecord,
        /// Text that one of the answers must equal, for example an address; `None`: any answer will do.
        expect: Option<String>,
    },
    /// A gRPC server says, by the health protocol of gRPC, that it serves.
    Grpc(Box<GrpcProbe>),
    /// A datagram is answered as expected.
    Udp(UdpProbe),
    /// A machine answers an echo request. Says nothing about what runs on it.
    Icmp {
        /// The machine.
        address: IpAddr,
    },
    /// A command exits with 0.
    Command {
        /// The program and its arguments; no shell.
        argv: Vec<String>,
        /// Whether the last line of its output says the lag behind the active instance, as a duration (`250ms`, `3s`).
        reports_lag: bool,
        /// Whether it says what the instance is. Where it says both, the line is `role=active lag=1.5s`.
        reports_role: bool,
    },
    /// A process runs.
    Process {
        /// The file that holds its process id.
        pid_file: PathBuf,
    },
    /// A file was changed recently enough.
    FileFreshness {
        /// Which file.
        path: PathBuf,
        /// The oldest that it may be.
        max_age: Duration,
    },
    /// A file system has room left.
    Disk(DiskProbe),
    /// A job has called the agent recently enough.
    Heartbeat {
        /// What it calls.
        name: String,
        /// How long it may be silent.
        max_age: Duration,
    },
    /// A PostgreSQL server does its work.
    Postgres(Box<PostgresProbe>),
    /// Enough of several questions are answered well.
    Composite(Box<CompositeProbe>),
}

impl ProbeKind {
    /// The word for it in YAML and on the screen.
    pub const fn word(&self) -> &'static str {
        match self {
            ProbeKind::Tcp { .. } => "tcp",
            ProbeKind::Tls(_) => "tls",
            ProbeKind::Http(_) => "http",
            ProbeKind::Dns { .. } => "dns",
            ProbeKind::Grpc(_) => "grpc",
            ProbeKind::Udp(_) => "udp",
            ProbeKind::Icmp { .. } => "icmp",
            ProbeKind::Command { .. } => "command",
            ProbeKind::Process { .. } => "process",
            ProbeKind::FileFreshness { .. } => "file",
            ProbeKind::Disk(_) => "disk",
            ProbeKind::Heartbeat { .. } => "heartbeat",
            ProbeKind::Postgres(_) => "postgres",
            ProbeKind::Composite(_) => "composite",
        }
    }

    /// The same question at another address: the port stays, and so does the name that TLS and HTTP go by. A command, a
    /// process, a file, a disk and a heartbeat have no address to replace.
    pub fn at(&self, ip: IpAddr) -> ProbeKind {
        let moved = |address: &Address| Address::Socket(SocketAddr::new(ip, address.port()));
        match self {
            ProbeKind::Tcp { address } => ProbeKind::Tcp { address: moved(address) },
            ProbeKind::Tls(tls) => ProbeKind::Tls(TlsProbe { address: moved(&tls.address), ..tls.clone() }),
            ProbeKind::Http(http) => {
                ProbeKind::Http(Box::new(HttpProbe { address: moved(&http.address), ..(**http).clone() }))
            }
            ProbeKind::Dns { server, name, record, expect } => ProbeKind::Dns {
                server: SocketAddr::new(ip, server.port()),
                name: name.clone(),
                record: *record,
                expect: expect.clone(),
            },
            ProbeKind::Grpc(grpc) => {
                ProbeKind::Grpc(Box::new(GrpcProbe { address: moved(&grpc.address), ..(**grpc).clone() }))
            }
            ProbeKind::Postgres(postgres) => {
                ProbeKind::Postgres(Box::new(PostgresProbe { server: postgres.server.at(ip), ..(**postgres).clone() }))
            }
            ProbeKind::Udp(udp) => ProbeKind::Udp(UdpProbe { address: moved(&udp.address), ..udp.clone() }),
            ProbeKind::Icmp { .. } => ProbeKind::Icmp { address: ip },
            ProbeKind::Command { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. } => self.clone(),
            ProbeKind::Composite(composite) => ProbeKind::Composite(Box::new(CompositeProbe {
                needed: composite.needed,
                of: composite.of.iter().map(|it| it.at(ip)).collect(),
            })),
        }
    }

    /// Whom it asks.
    pub const fn whom(&self) -> Whom<'_> {
        match self {
            ProbeKind::Tcp { address } => Whom::Server(address),
            ProbeKind::Tls(tls) => Whom::Server(&tls.address),
            ProbeKind::Http(http) => Whom::Server(&http.address),
            ProbeKind::Dns { server, .. } => Whom::NameServer(*server),
            ProbeKind::Grpc(grpc) => Whom::Server(&grpc.address),
            ProbeKind::Postgres(postgres) => Whom::Server(&postgres.server.address),
            ProbeKind::Udp(udp) => Whom::Server(&udp.address),
            ProbeKind::Icmp { address } => Whom::Machine(*address),
            ProbeKind::Command { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. } => Whom::Nobody,
            ProbeKind::Composite(composite) => Whom::Several(composite),
        }
    }

    /// The host that it asks, as the plan has it, where it goes over a network.
    pub fn host(&self) -> Option<String> {
        match self.whom() {
            Whom::Server(address) => Some(address.host()),
            Whom::NameServer(server) => Some(server.ip().to_string()),
            Whom::Machine(address) => Some(address.to_string()),
            Whom::Several(_) | Whom::Nobody => None,
        }
    }

    /// Whether it asks something of the machine on which it is asked: a composite, if any part of it does.
    pub fn is_of_one_machine(&self) -> bool {
        match self {
            ProbeKind::Command { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_) => true,
            ProbeKind::Composite(composite) => composite.of.iter().any(ProbeKind::is_of_one_machine),
            ProbeKind::Tcp { .. }
            | ProbeKind::Tls(_)
            | ProbeKind::Http(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Postgres(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Heartbeat { .. } => false,
        }
    }

    /// Whether it waits for a job to call, alone or with other questions.
    pub fn waits_for_calls(&self) -> bool {
        match self {
            ProbeKind::Heartbeat { .. } => true,
            ProbeKind::Composite(composite) => composite.of.iter().any(ProbeKind::waits_for_calls),
            ProbeKind::Tcp { .. }
            | ProbeKind::Tls(_)
            | ProbeKind::Http(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Postgres(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Command { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_) => false,
        }
    }

    /// Whether a kernel answers, also for a server that hangs.
    pub fn is_answered_by_a_kernel(&self) -> bool {
        match self {
            ProbeKind::Tcp { .. } | ProbeKind::Icmp { .. } => true,
            ProbeKind::Composite(composite) => composite.enough(ProbeKind::is_answered_by_a_kernel),
            ProbeKind::Tls(_)
            | ProbeKind::Http(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Postgres(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Command { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. } => false,
        }
    }

    /// Whether its answers tell how far the instance lags behind. The age of a file does, and so does a place in a log.
    pub const fn reports_lag(&self) -> bool {
        match self {
            ProbeKind::Http(http) => http.lag_header.is_some(),
            ProbeKind::Command { reports_lag, .. } => *reports_lag,
            ProbeKind::FileFreshness { .. } | ProbeKind::Postgres(_) => true,
            ProbeKind::Tcp { .. }
            | ProbeKind::Tls(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. }
            | ProbeKind::Composite(_) => false,
        }
    }

    /// Whether its good answers say whether the instance is active or a standby.
    pub const fn reports_role(&self) -> bool {
        match self {
            ProbeKind::Http(http) => http.role_header.is_some(),
            ProbeKind::Command { reports_role, .. } => *reports_role,
            ProbeKind::Postgres(_) => true,
            ProbeKind::Tcp { .. }
            | ProbeKind::Tls(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. }
            | ProbeKind::Composite(_) => false,
        }
    }

    /// Whether its answers say where the instance is in its history, in place of a lag.
    pub const fn reports_place(&self) -> bool {
        matches!(self, ProbeKind::Postgres(_))
    }

    /// Whether it can still say the lag of an instance that is stopped: it asks somebody else.
    pub const fn reports_lag_when_stopped(&self) -> bool {
        match self {
            ProbeKind::Command { reports_lag, .. } => *reports_lag,
            ProbeKind::FileFreshness { .. } => true,
            ProbeKind::Http(_)
            | ProbeKind::Tcp { .. }
            | ProbeKind::Tls(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Postgres(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. }
            | ProbeKind::Composite(_) => false,
        }
    }

    /// How long a failure may stay unseen, however often it is asked: what waits for news gets none, and that takes time.
    pub fn fails_after(&self) -> Duration {
        // So many parts must fail that too few are left.
        self.news(|of, needed| of - needed)
    }

    /// How long it may take until it is good again, however often it is asked.
    pub fn good_after(&self) -> Duration {
        self.news(|_of, needed| needed - 1)
    }

    /// How long news may take; `last` says which of the parts of a composite, by that time, is the last to be waited for.
    fn news(&self, last: fn(usize, usize) -> usize) -> Duration {
        match self {
            ProbeKind::FileFreshness { max_age, .. } | ProbeKind::Heartbeat { max_age, .. } => *max_age,
            ProbeKind::Composite(composite) => {
                let mut parts: Vec<Duration> = composite.of.iter().map(|it| it.news(last)).collect();
                parts.sort_unstable();
                let needed = (composite.needed as usize).clamp(1, parts.len().max(1));
                parts.get(last(parts.len(), needed)).copied().unwrap_or_default()
            }
            ProbeKind::Tcp { .. }
            | ProbeKind::Tls(_)
            | ProbeKind::Http(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Postgres(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Command { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::Disk(_) => Duration::ZERO,
        }
    }

    /// Whether the time that an answer takes says something about what is asked: looking at a process, a file, a disk or a clock takes no
    /// part of it along.
    pub fn reports_latency(&self) -> bool {
        match self {
            ProbeKind::Tcp { .. }
            | ProbeKind::Tls(_)
            | ProbeKind::Http(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Postgres(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Command { .. } => true,
            ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. } => false,
            ProbeKind::Composite(composite) => composite.of.iter().any(ProbeKind::reports_latency),
        }
    }

    /// Whether its good answers say that a certificate expires soon.
    pub fn reports_expiry(&self) -> bool {
        match self {
            ProbeKind::Tls(tls) => tls.expires_after.is_some(),
            ProbeKind::Http(http) => http.expires_after.is_some(),
            ProbeKind::Grpc(grpc) => grpc.expires_after.is_some(),
            ProbeKind::Composite(composite) => composite.of.iter().any(ProbeKind::reports_expiry),
            ProbeKind::Tcp { .. }
            | ProbeKind::Dns { .. }
            | ProbeKind::Postgres(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Command { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. } => false,
        }
    }

    /// Whether its good answers say what is to be done beside the work and is not.
    pub fn reports_upkeep(&self) -> bool {
        match self {
            ProbeKind::Postgres(_) => true,
            ProbeKind::Composite(composite) => composite.of.iter().any(ProbeKind::reports_upkeep),
            ProbeKind::Tls(_)
            | ProbeKind::Http(_)
            | ProbeKind::Grpc(_)
            | ProbeKind::Tcp { .. }
            | ProbeKind::Dns { .. }
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. }
            | ProbeKind::Command { .. }
            | ProbeKind::Process { .. }
            | ProbeKind::FileFreshness { .. }
            | ProbeKind::Disk(_)
            | ProbeKind::Heartbeat { .. } => false,
        }
    }
}

/// Whom a question goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom<'a> {
    /// A server at an address.
    Server(&'a Address),
    /// A name server.
    NameServer(SocketAddr),
    /// A machine, whatever runs on it.
    Machine(IpAddr),
    /// Whoever its parts ask.
    Several(&'a CompositeProbe),
    /// Nobody over the network, as far as the plan knows: a command, a process, a file, a disk and a heartbeat are looked at here.
    Nobody,
}

/// A TLS handshake and the certificate that counts as good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsProbe {
    /// Whom to connect to.
    pub address: Address,
    /// The name asked for, which the certificate must carry.
    pub name: String,
    /// File with PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// For how long the certificate must still be valid, lest people are told; it is good until it has expired.
    pub expires_after: Option<Duration>,
}

/// An HTTP request and the answer that counts as good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// Whether it is HTTPS.
    pub tls: bool,
    /// Whom to connect to.
    pub address: Address,
    /// The value of the `Host` header and, with TLS, the name that the certificate must carry.
    pub host: String,
    /// The method of the request.
    pub method: HttpMethod,
    /// Path and query, starting with `/`.
    pub path: String,
    /// Headers of the request, beside those that any has.
    pub headers: BTreeMap<String, Hidden>,
    /// The body of the request.
    pub send: Option<Hidden>,
    /// Who asks, where that is asked for.
    pub auth: Option<HttpAuth>,
    /// Whether HTTP/2 is spoken, and nothing else: over TLS the server must choose it, without TLS it must know beforehand.
    pub http2: bool,
    /// How many redirects are followed. What redirects further is wrong; with 0 a redirect is an answer like any other.
    pub redirects: u32,
    /// Status codes that are good, as inclusive ranges; empty: 200 to 299.
    pub expect_status: Vec<(u16, u16)>,
    /// Headers that the answer must have, by name, with the text that one of that name must contain.
    pub expect_headers: BTreeMap<String, String>,
    /// Text that the first 64 KiB of the body must contain.
    pub expect_body: Option<String>,
    /// Header of the answer that carries the lag behind the active instance: a duration (`250ms`) or plain seconds.
    pub lag_header: Option<String>,
    /// Header of the answer that says whether it is active or a standby.
    pub role_header: Option<String>,
    /// File with PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// For how long the certificate must still be valid, lest people are told; it is good until it has expired.
    pub expires_after: Option<Duration>,
    /// Whether the connection is kept for the next question.
    pub keep_alive: bool,
}

impl HttpProbe {
    /// Status codes that are good where the plan does not say.
    pub const GOOD: (u16, u16) = (200, 299);

    /// A plain `GET` of a path, good with a status of 200 to 299.
    pub fn get(address: Address, host: &str, path: &str) -> HttpProbe {
        HttpProbe {
            tls: false,
            address,
            host: host.to_owned(),
            method: HttpMethod::Get,
            path: path.to_owned(),
            headers: BTreeMap::new(),
            send: None,
            auth: None,
            http2: false,
            redirects: 0,
            expect_status: Vec::new(),
            expect_headers: BTreeMap::new(),
            expect_body: None,
            lag_header: None,
            role_header: None,
            ca_file: None,
            expires_after: None,
            keep_alive: false,
        }
    }
}

/// A question of gRPC's health protocol, `grpc.health.v1.Health/Check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcProbe {
    /// Whether it goes over TLS.
    pub tls: bool,
    /// Whom to connect to.
    pub address: Address,
    /// The server's name: `:authority`, which may have a port, and with TLS the name that the certificate must carry.
    pub name: String,
    /// The service asked for; empty: the server as a whole.
    pub service: String,
    /// File with PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// For how long the certificate must still be valid, lest people are told; it is good until it has expired.
    pub expires_after: Option<Duration>,
}

/// A datagram and the answer that counts as good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpProbe {
    /// Whom to ask.
    pub address: Address,
    /// What is sent.
    pub send: Hidden<Vec<u8>>,
    /// Bytes that the first datagram of the answer must contain; `None`: any answer will do.
    pub expect: Option<Vec<u8>>,
}

/// A file system on the agent's machine and the room that must be left on it for those who are not root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskProbe {
    /// A file or directory on it.
    pub path: PathBuf,
    /// How many MiB must be free.
    pub free_mib: Option<u32>,
    /// How much of it must be free, in parts per million.
    pub free_ppm: Option<u32>,
    /// How many more files it must have room for.
    pub free_inodes: Option<u32>,
}

/// Several questions that are asked together, and how many must be answered well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompositeProbe {
    /// How many; one or more, and not more than there are.
    pub needed: u32,
    /// The questions, two or more; none is a composite itself.
    pub of: Vec<ProbeKind>,
}

impl CompositeProbe {
    /// Whether so many parts are so.
    pub fn enough(&self, is_so: impl Fn(&ProbeKind) -> bool) -> bool {
        self.of.iter().filter(|it| is_so(it)).count() >= self.needed as usize
    }
}

/// What may be a secret: it is sent to whoever is asked, or to the host that asks, and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden<T = String>(pub T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Who asks: what stands in the header `Authorization`. The plan names a file; what is in it is never kept in a plan, a journal
/// or a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpAuth {
    /// A file that holds `user:password`.
    Basic {
        /// Which file.
        file: PathBuf,
    },
    /// A file that holds a token.
    Bearer {
        /// Which file.
        file: PathBuf,
    },
}

impl HttpAuth {
    /// The file that holds the secret.
    pub fn file(&self) -> &Path {
        match self {
            HttpAuth::Basic { file } | HttpAuth::Bearer { file } => file,
        }
    }
}

/// Methods of HTTP that a probe can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpMethod {
    /// Asks for an answer with its body.
    Get,
    /// Asks for the head of the answer alone.
    Head,
    /// Sends something.
    Post,
    /// Sends something that is to be there from then on.
    Put,
    /// Asks what can be done; Patroni and others answer it without work.
    Options,
}

impl HttpMethod {
    /// All of them.
    pub const ALL: [HttpMethod; 5] =
        [HttpMethod::Get, HttpMethod::Head, HttpMethod::Post, HttpMethod::Put, HttpMethod::Options];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Options => "OPTIONS",
        }
    }
}

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// An address and a port: nothing to look up at the moment of failure.
    Socket(SocketAddr),
    /// A name for the system's resolver, which must work at the moment of failure.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A name asked of one given name server, as a client of a DNS route does; used to verify routes.
    ResolvedBy {
        /// The name server.
        server: SocketAddr,
        /// The name, fully qualified.
        name: String,
        /// The port.
        port: u16,
    },
}

impl Address {
    /// The port.
    pub const fn port(&self) -> u16 {
        match self {
            Address::Socket(address) => address.port(),
            Address::Name { port, .. } | Address::ResolvedBy { port, .. } => *port,
        }
    }

    /// The address, or the name, without the port.
    pub fn host(&self) -> String {
        match self {
            Address::Socket(address) => address.ip().to_string(),
            Address::Name { host: name, .. } | Address::ResolvedBy { name, .. } => name.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(socket) => socket.fmt(f),
            Address::Name { host, port } | Address::ResolvedBy { name: host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

/// Types of DNS record that a probe can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsRecord {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Canonical name.
    Cname,
    /// Text.
    Txt,
    /// Start of authority.
    Soa,
}

impl DnsRecord {
    /// All of them.
    pub const ALL: [DnsRecord; 5] = [DnsRecord::A, DnsRecord::Aaaa, DnsRecord::Cname, DnsRecord::Txt, DnsRecord::Soa];

    /// The word for it in YAML and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            DnsRecord::A => "A",
            DnsRecord::Aaaa => "AAAA",
            DnsRecord::Cname => "CNAME",
            DnsRecord::Txt => "TXT",
            DnsRecord::Soa => "SOA",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_a_composite_take_as_long_as_those_that_it_needs() {
        let job =
            |hours: u64| ProbeKind::Heartbeat { name: "job".to_owned(), max_age: Duration::from_secs(hours * 3600) };
        let ping = ProbeKind::Icmp { address: IpAddr::from([127, 0, 0, 1]) };
        let of = |needed| {
            let kind =
                ProbeKind::Composite(Box::new(CompositeProbe { needed, of: vec![job(5), ping.clone(), job(2)] }));
            (kind.fails_after().as_secs() / 3600, kind.good_after().as_secs() / 3600)
        };
        // One of three is bad when all are, and good with the ping alone.
        assert_eq!([of(1), of(2), of(3)], [(5, 0), (2, 2), (0, 5)]);
    }
}
