//! Name servers that copy our zones.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mainstay_plan::routing::TargetState::{Down, Serving};
use mainstay_plan::routing::{DnsEntry, DnsPolicyEntry, RouteEntry, RoutingTable};

use crate::running::{DEADLINE, Traffic, eventually, free_address, table, target, with_states};

const NAME: &str = "orders.db.internal.";

fn route(policy: DnsPolicyEntry) -> RouteEntry {
    let at = |n: u8| SocketAddr::from(([192, 0, 2, n], 5432));
    RouteEntry {
        name: "orders".into(),
        exclusive: false,
        cut_after_silence_ms: None,
        proxy: None,
        dns: Some(DnsEntry { name: NAME.into(), ttl_s: 5, policy, near: Vec::new(), records: Vec::new() }),
        beacon: false,
        targets: vec![target("a", at(1), Serving), target("b", at(2), Serving)],
    }
}

fn with(dns: SocketAddr, secondaries: &[SocketAddr], epoch: u64, route: &RouteEntry) -> RoutingTable {
    RoutingTable { dns_listen: Some(dns), secondaries: secondaries.to_vec(), ..table(epoch, &[route]) }
}

/// What `dig` prints, asked from `from`; `None` where it isn't installed.
fn dig(server: SocketAddr, from: IpAddr, args: &[&str]) -> Option<String> {
    let mut command = Command::new("dig");
    command.args([&format!("@{}", server.ip()), "-p", &server.port().to_string(), "-b", &from.to_string()]);
    let output = command.args(["+time=2", "+tries=1"]).args(args).output().ok()?;
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_zone_is_copied_by_those_that_are_named_and_is_sound() {
    let (traffic, dns, secondary, stranger) = (Traffic::start(), free_address(), free_address(), free_address());
    let route = route(DnsPolicyEntry::Weighted);
    traffic.agent().apply(&with(dns, &[secondary], 7, &route));
    let Some(zone) = dig(dns, secondary.ip(), &["+onesoa", NAME, "AXFR"]) else {
        eprintln!("skipped: dig is not installed");
        return;
    };
    for record in ["SOA", "NS", "192.0.2.1", "192.0.2.2"] {
        assert!(zone.contains(record), "no {record} in {zone}");
    }
    let refused = dig(dns, stranger.ip(), &[NAME, "AXFR"]).unwrap();
    assert!(refused.contains("Transfer failed"), "{refused}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zone");
    std::fs::write(&file, zone).unwrap();
    let Ok(checked) = Command::new("named-checkzone").arg(NAME).arg(&file).output() else {
        eprintln!("skipped: named-checkzone is not installed");
        return;
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("loaded serial 7"));
}

#[test]
fn a_secondary_is_told_of_each_change_and_of_nothing_else() {
    let (traffic, dns) = (Traffic::start(), free_address());
    let socket = UdpSocket::bind(free_address()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let secondary = socket.local_addr().unwrap();
    let told = || {
        let mut packet = [0; 512];
        let (length, from) = socket.recv_from(&mut packet).unwrap();
        assert_eq!(packet[2] >> 3, 4, "a NOTIFY");
        assert!(packet[..length].windows(7).any(|it| it == b"\x06orders"));
        packet[2] |= 0x80;
        socket.send_to(&packet[..length], from).unwrap();
    };
    let route = route(DnsPolicyEntry::Failover);
    let mut agent = traffic.agent();
    agent.apply(&with(dns, &[secondary], 1, &route));
    told();
    // The first target is answered as before.
    agent.apply(&with(dns, &[secondary], 2, &with_states(&route, &[Serving, Down])));
    socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    assert!(socket.recv(&mut [0; 512]).is_err(), "nothing has changed");
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    agent.apply(&with(dns, &[secondary], 3, &with_states(&route, &[Down, Serving])));
    told();
}

/// A real name server that copies the zone.
struct Knot(Child);

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Knot {
    fn start(dir: &Path, at: SocketAddr, from: SocketAddr) -> Option<Knot> {
        let configuration = format!(
            "server:\n  rundir: {0}\n  listen: {1}@{2}\ndatabase:\n  storage: {0}\nremote:\n  - id: us\n    address: {3}@{4}\n    via: {1}\n\
             acl:\n  - id: us\n    address: {3}\n    action: notify\n\
             zone:\n  - domain: {NAME}\n    storage: {0}\n    master: us\n    acl: us\n    refresh-min-interval: 3600\n",
            dir.display(),
            at.ip(),
            at.port(),
            from.ip(),
            from.port(),
        );
        let file = dir.join("knot.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new("knotd");
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        Some(Knot(command.spawn().ok()?))
    }
}

#[test]
fn a_real_name_server_follows_a_takeover_and_goes_on_when_we_are_dead() {
    let (traffic, dns, at, dir) = (Traffic::start(), free_address(), free_address(), tempfile::tempdir().unwrap());
    let route = route(DnsPolicyEntry::Failover);
    let mut agent = traffic.agent();
    agent.apply(&with(dns, &[at], 1, &route));
    let Some(_knot) = Knot::start(dir.path(), at, dns) else {
        eprintln!("skipped: knotd is not installed");
        return;
    };
    let answers = |what: &str| {
        eventually(what, || dig(at, at.ip(), &["+short", NAME, "A"]).filter(|it| it.trim() == what));
    };
    answers("192.0.2.1");
    // It does not ask by itself within the hour: it is told.
    agent.apply(&with(dns, &[at], 2, &with_states(&route, &[Down, Serving])));
    answers("192.0.2.2");
    traffic.kill();
    answers("192.0.2.2");
}
