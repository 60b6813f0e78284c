//! Routes: how clients reach a component.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{ComponentIx, InstanceIx, ProbeIx};

/// Ordered targets behind a proxy, a DNS name, a beacon or an HAProxy agent-check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Whether one target at a time may serve, or all of them.
    pub sharing: Sharing,
    /// TCP proxy, run by us.
    pub proxy: Option<ProxyFront>,
    /// A name in our authoritative DNS.
    pub dns: Option<DnsFront>,
    /// An HTTP answer for other people's health checks: `/routes/NAME/INSTANCE` on the beacon listener.
    pub beacon: bool,
    /// HAProxy agent-check answers, one listener per target.
    pub agent_check: Vec<(InstanceIx, SocketAddr)>,
    /// In order of preference.
    pub targets: Vec<RouteTarget>,
    /// What a traffic process does when it hears nothing from its agent.
    pub on_silence: OnSilence,
    /// The probes that see what a client of this route gets.
    pub verify: Vec<ProbeIx>,
    /// How whoever asks its beacon or its agent-check asks, where the plan says so.
    pub polled: Option<Poll>,
    /// What changes of it must respect.
    pub rules: RouteRules,
}

/// How a health check of somebody else asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// From one question to the next.
    pub every: Duration,
    /// Answers in a row that change its mind.
    pub threshold: u32,
}

/// What every change of a route must respect, judged on the state that the change leads to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RouteRules {
    /// At least so many targets stay on (an assertion).
    pub at_least: Option<u32>,
    /// Components that must be healthy before the route may change (gates).
    pub gates: Vec<ComponentIx>,
    /// From one change to the next.
    pub wait: Duration,
}

/// Whether one target at a time may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One target owns the route; it changes hands only behind a fence.
    Exclusive,
    /// Every healthy target may serve. When all are down, the route fails open rather than empty.
    Shared,
}

/// How often a secondary asks whether a zone has changed, whatever it was told: the longest that it may be behind.
pub const SECONDARY_REFRESH: Duration = Duration::from_secs(2);

/// A TCP proxy in front of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFront {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// For the connection to a target.
    pub connect_timeout: Duration,
    /// How long a new client is held while no target can be reached, and they are tried again; `None`: each is tried once.
    pub retry_for: Option<Duration>,
    /// Without a byte in either direction; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// At the same time.
    pub max_connections: u32,
    /// How long connections to a target that leaves in order may go on.
    pub drain: Duration,
    /// Clients from these networks are proxies, and begin with a PROXY protocol header that says for whom they come.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Targets are told for whom a connection comes, in this version of the PROXY protocol; `None`: they are told nothing.
    pub proxy_protocol_to: Option<ProxyProtocol>,
    /// TLS server names whose clients come here; empty: every client that no other route of the address is there for.
    pub server_names: Vec<ServerName>,
    /// For a client to say what it must say before it is served: its PROXY protocol header, its TLS server name.
    pub hello_timeout: Duration,
    /// After one side has ended, without a byte from the other; `None`: never.
    pub half_open_timeout: Option<Duration>,
    /// Where clients wait while the route has all its connections; `None`: they are refused.
    pub queue: Option<Queue>,
    /// At the same time from one source, the queue included; `None`: as many as there is room for.
    pub max_per_source: Option<u32>,
    /// A UNIX socket for clients of the same machine, beside `listen`.
    pub unix: Option<PathBuf>,
    /// How long the share of new clients grows that a target of a shared route gets when it has come back; `None`: at once.
    pub slow_start: Option<Duration>,
}

/// Clients that wait for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many.
    pub length: u32,
    /// How long each of them.
    pub wait: Duration,
}

/// How long a client may take to say its PROXY protocol header or its TLS server name, where the plan does not say.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// A server name as TLS clients say it (RFC 6066): `db.example.com`, or `*.example.com` for every name one label longer
/// than `example.com`. In lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

impl ServerName {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// What a name has to look like, for people.
    pub fn new(text: &str) -> Result<ServerName, String> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let host = text.strip_prefix("*.").unwrap_or(text);
        let is_label = |it: &str| {
            (1..=63).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
        };
        if host.len() > 253 || !host.split('.').all(is_label) {
            return Err("labels are 1 to 63 letters, digits, `-` or `_`, with dots between them; the first may be `*`"
                .to_owned());
        }
        if host.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err("TLS clients that are given an address send no name".to_owned());
        }
        Ok(ServerName(text.to_ascii_lowercase()))
    }

    /// As it stands in the plan.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a client that says `name`, in lower case and without a final dot, means this.
    pub fn means(&self, name: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(rest) => name.strip_suffix(rest).is_some_and(|it| !it.is_empty() && !it.contains('.')),
            None => self.0 == name,
        }
    }
}

impl TryFrom<String> for ServerName {
    type Error = String;

    fn try_from(text: String) -> Result<ServerName, String> {
        ServerName::new(&text)
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> String {
        name.0
    }
}

/// A version of the PROXY protocol (haproxy.org, `proxy-protocol.txt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyProtocol {
    /// Both.
    pub const ALL: [ProxyProtocol; 2] = [ProxyProtocol::V1, ProxyProtocol::V2];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            ProxyProtocol::V1 => "v1",
            ProxyProtocol::V2 => "v2",
        }
    }
}

/// A name in our authoritative DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsFront {
    /// Fully qualified, lower case, with the final dot.
    pub name: String,
    /// Whole seconds; 0 forbids caching.
    pub ttl: Duration,
    /// How answers are chosen from a shared route's targets.
    pub policy: DnsPolicy,
}

/// A record of the owner's in a route's zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsRecord {
    /// Fully qualified, lower case, with the final dot: the route's name, or below it.
    pub name: String,
    /// What it says.
    pub data: DnsData,
}

/// What a DNS record says. Names are fully qualified, lower case, with the final dot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DnsData {
    /// A or AAAA, by the family.
    Address(IpAddr),
    /// Another name for this one.
    Cname(String),
    /// Text.
    Txt(String),
    /// Where a service is (RFC 2782).
    Srv {
        /// Lower ones are tried first.
        priority: u16,
        /// Share among those of one priority.
        weight: u16,
        /// The service's port.
        port: u16,
        /// The machine's name.
        target: String,
    },
    /// A further name server of the zone.
    Ns(String),
}

/// What one client network (an IPv4 /24, an IPv6 /56) gets from our DNS over UDP. TCP is not limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Answers a second.
    pub answers: u32,
    /// Of the questions over the limit, one in so many is answered "truncated", so that a real client comes back over TCP;
    /// the others are dropped. 0: all of them are.
    pub slip: u32,
    /// Clients without a limit.
    pub exempt: Vec<IpNet>,
}

/// How answers are chosen from a shared route's targets. An exclusive route always answers its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The first healthy target.
    Failover,
    /// One healthy target, by weight.
    Weighted,
    /// Up to eight healthy targets.
    Multivalue,
}

impl DnsPolicy {
    /// All of them.
    pub const ALL: [DnsPolicy; 3] = [DnsPolicy::Failover, DnsPolicy::Weighted, DnsPolicy::Multivalue];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            DnsPolicy::Failover => "failover",
            DnsPolicy::Weighted => "weighted",
            DnsPolicy::Multivalue => "multivalue",
        }
    }
}

/// One target of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// The instance that serves there.
    pub instance: InstanceIx,
    /// Where it serves clients.
    pub address: SocketAddr,
    /// The UNIX socket where the proxy reaches it, instead of the address.
    pub unix: Option<PathBuf>,
    /// Share of the answers under [`DnsPolicy::Weighted`], 0 to 255.
    pub weight: u8,
}

/// What a traffic process does with a route when it has heard nothing from its agent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSilence {
    /// Serve the last table for ever.
    Keep,
    /// Stop serving the route.
    Cut {
        /// After this long.
        after: Duration,
    },
}
