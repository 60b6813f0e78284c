//! The routing table: what the traffic process serves. Written by the engine, carried by the host, and understood by the
//! traffic process without a word about why.
//!
//! These types are a format: they stand on disk and travel between processes of different versions. Change them only
//! together with [`FORMAT`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::listening::TlsFiles;
use crate::route::{DnsRecord, HELLO_TIMEOUT, ProxyProtocol, RateLimit, ServerName};

/// The version of the format. A traffic process refuses a newer one than it knows.
pub const FORMAT: u32 = 1;

/// Everything that a traffic process serves, as one unit that is swapped at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingTable {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// Grows with every change; a traffic process refuses a lower one.
    pub epoch: u64,
    /// The site that it belongs to: a process never serves another site's table.
    pub site: String,
    /// Where DNS is answered, UDP and TCP.
    pub dns_listen: Option<SocketAddr>,
    /// Name servers that may copy the zones, and are told when one changes. Not written while there is none: a traffic
    /// process that does not know it refuses a table that needs it, and no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondaries: Vec<SocketAddr>,
    /// How many DNS answers one client network gets over UDP. Not written where there is no limit, for the same reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_rate_limit: Option<RateLimit>,
    /// Where beacons are answered.
    pub beacon_listen: Option<SocketAddr>,
    /// What beacons show over TLS. Not written where they are answered without it, for the same reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beacon_tls: Option<TlsFiles>,
    /// By name.
    pub routes: Vec<RouteEntry>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    /// Its name.
    pub name: String,
    /// One target at a time, or all.
    pub exclusive: bool,
    /// Cut the route after this many milliseconds without a word from the agent; `None`: keep it for ever.
    pub cut_after_silence_ms: Option<u64>,
    /// TCP proxy.
    pub proxy: Option<ProxyEntry>,
    /// Name in DNS.
    pub dns: Option<DnsEntry>,
    /// Whether the beacon listener answers for it.
    pub beacon: bool,
    /// In order of preference.
    pub targets: Vec<TargetEntry>,
}

/// A route's proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyEntry {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// For the connection to a target.
    pub connect_timeout_ms: u64,
    /// Without a byte in either direction; `None`: never.
    pub idle_timeout_ms: Option<u64>,
    /// At the same time.
    pub max_connections: u32,
    /// How long connections to a target in state `draining`, `standby` or `down` may go on.
    pub drain_ms: u64,
    /// Networks whose clients begin with a PROXY protocol header. Not written while empty: a traffic process that does not
    /// know it refuses a table that needs it, and no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy_protocol_from: Vec<IpNet>,
    /// The PROXY protocol header that targets get. Not written if there is none, for the same reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol_to: Option<ProxyProtocol>,
    /// TLS server names whose clients come here; empty: every client that no other route of the address is there for. This
    /// and what follows is not written where it says nothing, for the same reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<ServerName>,
    /// For a client to say what it must say before it is served.
    #[serde(default = "hello_timeout_ms", skip_serializing_if = "is_hello_timeout_ms")]
    pub hello_timeout_ms: u64,
    /// After one side has ended, without a byte from the other; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_open_timeout_ms: Option<u64>,
    /// Where clients wait for a place; `None`: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueEntry>,
    /// At the same time from one source; `None`: as many as there is room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_source: Option<u32>,
    /// A UNIX socket for clients of the same machine, beside `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<PathBuf>,
    /// How long the share of new clients grows that a target of a shared route gets when it has come back; `None`: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start_ms: Option<u64>,
    /// How long a new client is held while no target can be reached, and they are tried again; `None`: each is tried once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_for_ms: Option<u64>,
}

impl ProxyEntry {
    /// A proxy as it is where a plan says nothing but where it listens.
    pub const fn new(listen: SocketAddr) -> ProxyEntry {
        ProxyEntry {
            listen,
            connect_timeout_ms: 1000,
            idle_timeout_ms: None,
            max_connections: 10_000,
            drain_ms: 30_000,
            proxy_protocol_from: Vec::new(),
            proxy_protocol_to: None,
            server_names: Vec::new(),
            hello_timeout_ms: hello_timeout_ms(),
            half_open_timeout_ms: None,
            queue: None,
            max_per_source: None,
            unix: None,
            slow_start_ms: None,
            retry_for_ms: None,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is a few seconds")]
const fn hello_timeout_ms() -> u64 {
    HELLO_TIMEOUT.as_millis() as u64
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_hello_timeout_ms(ms: &u64) -> bool {
    *ms == hello_timeout_ms()
}

/// Clients that wait for a place in a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueEntry {
    /// How many.
    pub length: u32,
    /// How long each of them.
    pub wait_ms: u64,
}

/// A route's name in DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsEntry {
    /// Fully qualified, lower case, with the final dot.
    pub name: String,
    /// Seconds.
    pub ttl_s: u32,
    /// How answers are chosen among the targets of a shared route.
    pub policy: DnsPolicyEntry,
    /// Which targets are near to which clients, for the policies that ask for whom they answer. Not written while empty: a
    /// traffic process that does not know it refuses a table that needs it, and no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<NearEntry>,
    /// What stands in the zone beside the route's own records. Not written while empty, for the same reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
}

/// Which targets are near to some clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearEntry {
    /// The clients' networks. Where several entries match, the longest prefix counts.
    pub clients: Vec<IpNet>,
    /// The instances' names, nearest first.
    pub targets: Vec<String>,
}

/// See [`crate::route::DnsPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsPolicyEntry {
    /// The first target that serves.
    Failover,
    /// One target that serves, by weight.
    Weighted,
    /// Up to eight targets that serve.
    Multivalue,
    /// Up to eight of the targets near to the client that serve; where none does, the first that serves.
    Location,
    /// The first of the targets near to the client that serves; where none does, the first that serves.
    Latency,
}

/// One target of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetEntry {
    /// The instance's name.
    pub instance: String,
    /// Where it serves clients.
    pub address: SocketAddr,
    /// The UNIX socket where a proxy reaches it, instead of the address. Not written if there is none: a traffic process that
    /// does not know it refuses a table that needs it, and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<PathBuf>,
    /// Share of the answers under the weighted policy.
    pub weight: u8,
    /// Where HAProxy's agent-check is answered for it.
    pub agent_check: Option<SocketAddr>,
    /// What it may do.
    pub state: TargetState,
}

/// What a target may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// New connections go there.
    Serving,
    /// Ready, but nothing goes there; existing connections drain.
    Standby,
    /// Leaves in order: nothing new, existing connections drain.
    Draining,
    /// Not healthy: nothing new, existing connections drain. A shared route that has nothing else fails open to it.
    Down,
    /// Fenced: nothing goes there, existing connections are cut at once, and it is never failed open to.
    Fenced,
}

/// Why a routing table can't be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Written by a newer version.
    #[error("routing table has format {found}, this version knows up to {FORMAT}")]
    Format {
        /// What the table says.
        found: u32,
    },
    /// Two targets would own an exclusive route.
    #[error("exclusive route `{route}` has {serving} serving targets")]
    TwoOwners {
        /// Which route.
        route: String,
        /// How many.
        serving: usize,
    },
    /// Two routes of one name, two proxies on one address, or one DNS name twice.
    #[error("{what} `{name}` stands twice in the routing table")]
    Twice {
        /// What.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Routes of one proxy address ask different things of a client before it is known whose it is.
    #[error(
        "the routes at proxy address `{address}` do not agree on PROXY protocol headers or on the time to say a name"
    )]
    Disagree {
        /// Where.
        address: SocketAddr,
    },
    /// A DNS name without a listener, or a beacon without one.
    #[error("route `{route}` needs a {what} listener, the routing table has none")]
    NoListener {
        /// Which route.
        route: String,
        /// `dns` or `beacon`.
        what: &'static str,
    },
}

impl RoutingTable {
    /// A table without routes at epoch 0: what is served before anything was said.
    pub fn empty(site: &str) -> RoutingTable {
        RoutingTable {
            format: FORMAT,
            epoch: 0,
            site: site.to_owned(),
            dns_listen: None,
            secondaries: Vec::new(),
            dns_rate_limit: None,
            beacon_listen: None,
            beacon_tls: None,
            routes: Vec::new(),
        }
    }

    /// SHA-256 of the table's JSON, in lower-case hexadecimal.
    pub fn checksum(&self) -> String {
        let json = serde_json::to_vec(self).expect("a routing table has no map with keys that are not text");
        Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Checks what must hold for every table, whoever wrote it.
    pub fn validate(&self) -> Result<(), TableError> {
        if self.format > FORMAT {
            return Err(TableError::Format { found: self.format });
        }
        let twice = |what: &'static str, name: &dyn Display| TableError::Twice { what, name: name.to_string() };
        let (mut routes, mut names) = (BTreeSet::new(), BTreeSet::new());
        for route in &self.routes {
            if !routes.insert(route.name.as_str()) {
                return Err(twice("route", &route.name));
            }
            if let Some(dns) = &route.dns {
                if !names.insert(dns.name.as_str()) {
                    return Err(twice("DNS name", &dns.name));
                }
                if self.dns_listen.is_none() {
                    return Err(TableError::NoListener { route: route.name.clone(), what: "dns" });
                }
            }
            if route.beacon && self.beacon_listen.is_none() {
                return Err(TableError::NoListener { route: route.name.clone(), what: "beacon" });
            }
            let serving = route.targets.iter().filter(|it| it.state == TargetState::Serving).count();
            if route.exclusive && serving > 1 {
                return Err(TableError::TwoOwners { route: route.name.clone(), serving });
            }
        }
        self.validate_addresses()
    }

    /// Whose a client is must be clear from its address and the name that it says.
    fn validate_addresses(&self) -> Result<(), TableError> {
        let twice = |what: &'static str, name: &dyn Display| TableError::Twice { what, name: name.to_string() };
        let mut first: BTreeMap<SocketAddr, &ProxyEntry> = BTreeMap::new();
        let (mut rest, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut sockets: BTreeMap<&Path, SocketAddr> = BTreeMap::new();
        for proxy in self.routes.iter().filter_map(|it| it.proxy.as_ref()) {
            let listen = proxy.listen;
            if let Some(unix) = &proxy.unix
                && sockets.insert(unix, listen).is_some_and(|it| it != listen)
            {
                return Err(twice("proxy socket", &unix.display()));
            }
            let other = *first.entry(listen).or_insert(proxy);
            if (&other.proxy_protocol_from, other.hello_timeout_ms)
                != (&proxy.proxy_protocol_from, proxy.hello_timeout_ms)
            {
                return Err(TableError::Disagree { address: listen });
            }
            if proxy.server_names.is_empty() && !rest.insert(listen) {
                return Err(twice("proxy address", &listen));
            }
            if let Some(name) = proxy.server_names.iter().find(|it| !names.insert((listen, it.as_str()))) {
                return Err(twice("server name", &name.as_str()));
            }
        }
        Ok(())
    }
}

/// How long a traffic process waits for a failure that it could speak of, in milliseconds.
pub const FAILURES_WITHIN_MS: u64 = 1000;

/// What an agent (through its host) says to a traffic process: one JSON object a line, over a UNIX socket. `Apply`
/// and `Report` count as a word from the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrafficRequest {
    /// Serve this table. Answered by `Applied` once it is on disk *and* served, or by `Refused`.
    Apply {
        /// The table.
        table: Box<RoutingTable>,
    },
    /// Say what is served. Answered by `Report`.
    Report {},
    /// The same, for a process that follows an agent on another machine: it was heard so long ago, and this is no word of it.
    /// Answered by `Report`.
    Look {
        /// Milliseconds since the agent was last known to speak.
        heard_ms: u64,
    },
    /// Say which targets clients could not reach since this was last asked. Answered by `Failures` as soon as there is one,
    /// or after [`FAILURES_WITHIN_MS`] with none. For one asker: what was said to it is not said again.
    Failures {},
    /// Start a process of the same program that takes over. Answered by `Restarting`; whether it has taken over shows in the
    /// `pid` of the next `Report`.
    Restart {},
    /// Hand everything over to the process that asks. Answered by sockets, in a conversation of the two processes that
    /// nobody else takes part in; by a refusal where its format is another.
    HandOver {
        /// Of that conversation.
        format: u32,
    },
    /// End in order. Answered by `Stopping`.
    Stop {},
}

/// What a traffic process answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrafficReply {
    /// The table of this epoch is on disk and served, and connections to fenced targets are cut.
    Applied {
        /// Its epoch.
        epoch: u64,
        /// Its checksum.
        checksum: String,
    },
    /// The table is not served; the one before still is.
    Refused {
        /// The epoch that is served.
        epoch: u64,
        /// Why.
        reason: String,
    },
    /// What is served.
    Report(Box<TrafficReport>),
    /// Targets that clients could not reach through a proxy: refused, no answer in time, or a reset.
    Failures {
        /// The instances' names.
        instances: Vec<String>,
    },
    /// A process was started that takes over.
    Restarting {
        /// Its process id.
        pid: u32,
    },
    /// It ends now.
    Stopping {},
}

/// What a traffic process serves and has served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The table that is served.
    pub table: RoutingTable,
    /// Milliseconds since the table was accepted.
    pub age_ms: u64,
    /// By route name: what was counted since the process began.
    pub counters: Vec<RouteCounters>,
    /// What it can't do at the moment (a port that is taken, a disk that is full), for people.
    pub trouble: Vec<String>,
}

/// What was counted for one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCounters {
    /// The route's name.
    pub route: String,
    /// Connections accepted by the proxy.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections that reached no target: there was none, none answered, or there was no place.
    pub unserved: u64,
    /// Connections cut because their target was fenced.
    pub cut: u64,
    /// Targets that refused a connection, did not answer it in time, or reset it.
    #[serde(default)]
    pub failed: u64,
    /// Connections that are waiting for a place.
    #[serde(default)]
    pub waiting: u64,
    /// Connections that had to wait for a place.
    #[serde(default)]
    pub queued: u64,
    /// Connections that were closed because there was no place, not even to wait, or their source had all of its own.
    #[serde(default)]
    pub refused: u64,
    /// Connections that were closed because they had waited for too long.
    #[serde(default)]
    pub overdue: u64,
    /// Attempts at a further target after one had failed.
    #[serde(default)]
    pub retried: u64,
    /// Bytes from clients to targets.
    #[serde(default)]
    pub bytes_in: u64,
    /// Bytes from targets to clients.
    #[serde(default)]
    pub bytes_out: u64,
    /// DNS questions answered.
    pub dns_answers: u64,
}
