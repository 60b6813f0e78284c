//! The demo's plan and addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::Context;
use mainstay_plan::Plan;

/// The name under which DNS clients know the second component.
pub(crate) const DNS_NAME: &str = "files.demo.internal.";

/// Addresses, all of them on loopback and free a moment ago.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// `orders-a`, `orders-b`.
    pub(crate) orders: [SocketAddr; 2],
    /// `files-a`, `files-b`: one port, because a client of a name knows the port already.
    pub(crate) files: [SocketAddr; 2],
    /// The witness.
    pub(crate) gateway: SocketAddr,
    /// Our proxy.
    pub(crate) proxy: SocketAddr,
    /// Our DNS.
    pub(crate) dns: SocketAddr,
}

impl Addresses {
    /// Finds free ones.
    pub(crate) fn find() -> anyhow::Result<Addresses> {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let [a, b] = [11, 12].map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        let find = || -> io::Result<Addresses> {
            // All are held until the last is found, so that no port is given out twice.
            let tcp: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind((here, 0))).collect::<io::Result<_>>()?;
            let [one, two, gateway, proxy] = [0, 1, 2, 3].map(|at: usize| tcp[at].local_addr());
            let (files, _held) =
                both(|| TcpListener::bind((a, 0)), TcpListener::local_addr, |port| TcpListener::bind((b, port)))?;
            let (dns, _held_dns) =
                both(|| UdpSocket::bind((here, 0)), UdpSocket::local_addr, |port| TcpListener::bind((here, port)))?;
            Ok(Addresses {
                orders: [one?, two?],
                files: [files, SocketAddr::new(b, files.port())],
                gateway: gateway?,
                proxy: proxy?,
                dns,
            })
        };
        find().context("no free ports on the loopback addresses 127.0.0.1, 127.0.0.11 and 127.0.0.12")
    }
}

/// A port that is free in two places; both stay held for as long as the second value lives.
fn both<A, B>(
    first: impl Fn() -> io::Result<A>,
    address: impl Fn(&A) -> io::Result<SocketAddr>,
    second: impl Fn(u16) -> io::Result<B>,
) -> io::Result<(SocketAddr, (A, B))> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..64 {
        let held = first()?;
        let at = address(&held)?;
        match second(at.port()) {
            Ok(other) => return Ok((at, (held, other))),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The plan's text. `dir` is where pid files are, `program` this program.
pub(crate) fn plan_text(addresses: &Addresses, dir: &Path, program: &Path) -> String {
    let timing = "interval: 300ms, fast_interval: 200ms, timeout: 150ms, fall: 5, rise: 2";
    let health = |at: SocketAddr| {
        format!("      - http: {{ url: \"http://{at}/health\", lag_header: x-replication-lag, {timing} }}")
    };
    let activate = |at: SocketAddr| {
        format!("      - webhook: {{ url: \"http://{at}/activate\", plane: local, idempotent: true, timeout: 300ms }}")
    };
    let service = |name: &str, at: SocketAddr| {
        format!(
            "{{ start: [{program:?}, demo-app, --listen, \"{at}\", --name, {name}, --pid-file, {pid:?}], pid_file: {pid:?} }}",
            program = program.display().to_string(),
            pid = dir.join(format!("{name}.pid")).display().to_string(),
        )
    };
    let [orders_a, orders_b] = addresses.orders;
    let [files_a, files_b] = addresses.files;
    format!(
        r#"# The demo's plan: two components, each with a standby that copies it.
version: 2
site: {{ name: demo, region: here, zone: desk, host: this-machine }}
state: state
allowances: {{ lateness: 150ms, journal_sync: 25ms, route_apply: 25ms, agent_restart: 600ms, forced_stop: 200ms }}
traffic: {{ dns: "{dns}" }}

components:
  # Clients know one address, the proxy's: the old primary is fenced by cutting it off there.
  orders:
    type: database
    location: {{ region: here, zone: rack-a }}
    constraint: {{ reason: one writer at a time, kind: technical }}
    criticality: critical
    objectives: {{ rto: 10s, rpo: 1s, availability: 99.95 }}
    probes:
{orders_a_health}
    rejoin: when_healthy
    guards: {{ cool_down: 1s }}
    activate:
{orders_a_activate}
    recovery:
      - failover_to_standby: {{ standby: orders-b, verify_within: 5s }}
  # Clients find this one by its name, and may remember the old address: it is fenced by stopping the old primary.
  files:
    type: file_system
    location: {{ region: here, zone: rack-a }}
    constraint: {{ reason: one writer at a time, kind: technical }}
    objectives: {{ rto: 10s, rpo: 1s, availability: 99.95 }}
    service: {files_a_service}
    probes:
{files_a_health}
    rejoin: when_healthy
    guards: {{ cool_down: 1s }}
    activate:
{files_a_activate}
    recovery:
      - failover_to_standby: {{ standby: files-b, verify_within: 5s }}

standbys:
  orders-b:
    location: {{ region: here, zone: rack-b }}
    probes:
{orders_b_health}
    activate:
{orders_b_activate}
  files-b:
    location: {{ region: here, zone: rack-b }}
    service: {files_b_service}
    probes:
{files_b_health}
    activate:
{files_b_activate}

{witnesses}
routes:
  orders:
    exclusive: {{ fence: traffic_cut }}
    proxy: {{ listen: "{proxy}" }}
    targets:
      - {{ component: orders, address: "{orders_a}" }}
      - {{ standby: orders-b, address: "{orders_b}" }}
  files:
    exclusive: {{ fence: stop }}
    dns: {{ name: {DNS_NAME}, ttl: 1s }}
    targets:
      - {{ component: files, address: "{files_a}" }}
      - {{ standby: files-b, address: "{files_b}" }}
"#,
        dns = addresses.dns,
        proxy = addresses.proxy,
        witnesses = witnesses(addresses.gateway),
        orders_a_health = health(orders_a),
        orders_b_health = health(orders_b),
        files_a_health = health(files_a),
        files_b_health = health(files_b),
        orders_a_activate = activate(orders_a),
        orders_b_activate = activate(orders_b),
        files_a_activate = activate(files_a),
        files_b_activate = activate(files_b),
        files_a_service = service("files", files_a),
        files_b_service = service("files-b", files_b),
    )
}

fn witnesses(gateway: SocketAddr) -> String {
    format!(
        r#"# If the gateway does not answer either, it is our own path that is broken, and nothing is done.
witnesses:
  gateway:
    location: {{ region: here, zone: desk }}
    probe:
      http: {{ url: "http://{gateway}/health", interval: 400ms, timeout: 150ms }}
"#
    )
}

/// A PostgreSQL server of the demo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Database {
    pub(crate) address: SocketAddr,
}

/// The plan's text for a pair of PostgreSQL servers. `dir` is where the file with their password is.
pub(crate) fn plan_of_postgres(addresses: &Addresses, databases: &[Database; 2], dir: &Path) -> String {
    let [a, b] = databases.map(|it| it.address);
    let password = dir.join("password").display().to_string();
    let server = |at: SocketAddr| {
        format!(
            "    postgres: {{ address: \"{at}\", password_file: {password:?} }}\n    probes:\n      - postgres: {{ interval: 300ms, \
             fast_interval: 200ms, timeout: 200ms, fall: 5, rise: 2 }}\n    activate:\n      - promote: {{ timeout: 3s }}"
        )
    };
    format!(
        r#"# The demo's plan: a PostgreSQL primary, and a standby that streams from it.
version: 2
site: {{ name: demo, region: here, zone: desk, host: this-machine }}
state: state
allowances: {{ lateness: 150ms, journal_sync: 25ms, route_apply: 25ms, agent_restart: 600ms, forced_stop: 200ms }}

components:
  # Clients know one address, the proxy's: the old primary is fenced by cutting it off there.
  orders:
    type: database
    location: {{ region: here, zone: rack-a }}
    constraint: {{ reason: one writer at a time, kind: technical }}
    criticality: critical
    objectives: {{ rto: 15s, rpo: 4s, availability: 99.95 }}
{primary}
    rejoin: when_healthy
    guards: {{ cool_down: 1s }}
    recovery:
      - failover_to_standby: {{ standby: orders-b, verify_within: 5s }}

standbys:
  orders-b:
    location: {{ region: here, zone: rack-b }}
{standby}

{witnesses}
routes:
  orders:
    exclusive: {{ fence: traffic_cut }}
    proxy: {{ listen: "{proxy}" }}
    targets:
      - {{ component: orders, address: "{a}" }}
      - {{ standby: orders-b, address: "{b}" }}
"#,
        primary = server(a),
        standby = server(b),
        witnesses = witnesses(addresses.gateway),
        proxy = addresses.proxy,
    )
}

/// Compiles the plan that was written; a demo whose plan has errors is a defect.
pub(crate) fn compile(text: &str, dir: &Path) -> anyhow::Result<Plan> {
    let compiled = mainstay_plan::compile("demo.yaml", text, dir);
    let found = || mainstay_plan::render(&compiled.files, &compiled.findings, false);
    compiled.plan.as_ref().cloned().with_context(|| format!("the demo's own plan has errors:\n{}", found()))
}
