//! What clients get when everything else is gone: the agent, the process before this one, the room on the disk.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use hyper::Method;
use mainstay_plan::routing::TargetState::{Fenced, Serving, Standby};
use mainstay_plan::routing::{DnsEntry, DnsPolicyEntry, RouteEntry, RoutingTable};
use tempfile::TempDir;

use crate::agent_check::line;
use crate::beacon::get;
use crate::running::{DEADLINE, Server, Traffic, free_address, proxied, table, target, who, with_states};

const NAME: &str = "orders.db.internal.";

/// One route that clients reach in every way there is.
struct Fronts {
    proxy: SocketAddr,
    dns: SocketAddr,
    beacon: SocketAddr,
    check: SocketAddr,
    route: RouteEntry,
    _servers: [Server; 2],
}

impl Fronts {
    fn new() -> Fronts {
        let servers = [Server::start("one"), Server::start("two")];
        let targets = vec![target("a", servers[0].address, Serving), target("b", servers[1].address, Standby)];
        let (proxy, mut route) = proxied(true, targets);
        let check = free_address();
        route.targets[0].agent_check = Some(check);
        route.beacon = true;
        let policy = DnsPolicyEntry::Failover;
        route.dns = Some(DnsEntry { name: NAME.into(), ttl_s: 5, policy, near: Vec::new(), records: Vec::new() });
        Fronts { proxy, dns: free_address(), beacon: free_address(), check, route, _servers: servers }
    }

    fn table(&self, epoch: u64, is_moved: bool) -> RoutingTable {
        let states = if is_moved { [Fenced, Serving] } else { [Serving, Standby] };
        let route = with_states(&self.route, &states);
        RoutingTable { dns_listen: Some(self.dns), beacon_listen: Some(self.beacon), ..table(epoch, &[&route]) }
    }

    /// Asked in every way, by whoever knows nothing of agents.
    #[track_caller]
    fn serve(&self, epoch: u64, is_moved: bool) {
        let (name, a, b) = if is_moved { ("two", 503, 200) } else { ("one", 200, 503) };
        assert_eq!(who(self.proxy).as_deref(), Some(name));
        assert_eq!(get(self.beacon, Method::GET, "/routes/orders/a").0, a);
        assert_eq!(get(self.beacon, Method::GET, "/routes/orders/b").0, b);
        let (status, health) = get(self.beacon, Method::GET, "/healthz");
        assert!(status == 200 && health.starts_with(&format!("epoch {epoch}\n")), "{status} {health}");
        assert_eq!(line(self.check, ""), if is_moved { "maint down 100% # fenced\n" } else { "ready up 100%\n" });
        // Clients of a route with a proxy are sent there.
        assert_eq!(self.resolve(), [self.proxy.ip()]);
    }

    fn resolve(&self) -> Vec<std::net::IpAddr> {
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(NAME).unwrap(), RecordType::A));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.send_to(&question.to_vec().unwrap(), self.dns).unwrap();
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply).unwrap();
        Message::from_vec(&reply[..length]).unwrap().answers.iter().filter_map(|it| it.data.ip_addr()).collect()
    }
}

#[test]
fn after_a_reboot_every_front_answers_from_the_disk_with_nobody_there_to_tell_it() {
    let fronts = Fronts::new();
    let traffic = Traffic::start();
    traffic.agent().apply(&fronts.table(7, false));
    traffic.agent().apply(&fronts.table(8, true));
    let dir = traffic.kill();
    // What a machine leaves behind that lost its power a day ago, half-way through the next table.
    fs::write(dir.path().join("traffic.lock"), "1\n").unwrap();
    fs::write(dir.path().join("routing-table.json.new"), "{\"checksum\":\"").unwrap();
    let day = Duration::from_secs(86_400);
    let file = File::options().append(true).open(dir.path().join("routing-table.json")).unwrap();
    file.set_modified(SystemTime::now() - day).unwrap();

    let traffic = Traffic::start_in(dir);
    fronts.serve(8, true);
    let report = traffic.agent().report();
    assert_eq!((report.table.epoch, report.trouble), (8, Vec::new()));
    assert!(u128::from(report.age_ms) >= day.as_millis(), "it is a day old: {} ms", report.age_ms);
    traffic.agent().apply(&fronts.table(9, false));
    fronts.serve(9, false);
    assert!(u128::from(traffic.agent().report().age_ms) < day.as_millis());
}

/// Runs a test that is ignored otherwise in a mount namespace of its own.
fn in_namespace(inner: &str) {
    let flags = ["-m", "--propagation", "private"];
    let may = Command::new("unshare").args(flags).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    if !may.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: no permission to mount a tmpfs in a mount namespace (unshare -m)");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(flags).arg(std::env::current_exe().unwrap());
    command.args([&format!("stability::{inner}"), "--exact", "--ignored", "--nocapture"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn on_a_full_disk_it_starts_serves_and_takes_the_next_table() {
    in_namespace("inner_on_a_full_disk");
}

/// Takes all the room that is left.
fn fill(dir: &Path) {
    let mut file = File::options().append(true).create(true).open(dir.join("someone-elses-file")).unwrap();
    while file.write_all(&[1; 512]).is_ok() {}
}

#[test]
#[ignore = "mounts a disk: run by on_a_full_disk_it_starts_serves_and_takes_the_next_table"]
fn inner_on_a_full_disk() {
    let fronts = Fronts::new();
    let dir = Arc::new(TempDir::new().unwrap());
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(dir.path()).status();
    assert!(mounted.unwrap().success());
    let traffic = Traffic::start_in(Arc::clone(&dir));
    traffic.agent().apply(&fronts.table(1, false));
    fill(dir.path());
    traffic.kill();

    let traffic = Traffic::start_in(Arc::clone(&dir));
    fronts.serve(1, false);
    let mut agent = traffic.agent();
    agent.apply(&fronts.table(2, true));
    fronts.serve(2, true);

    // What was set aside is used up.
    fill(dir.path());
    assert!(agent.refused(&fronts.table(3, false)).contains("can't be written"));
    fronts.serve(2, true);
    let report = agent.report();
    assert_eq!(report.table.epoch, 2);
    assert!(report.trouble.iter().any(|it| it.contains("can't be written")), "{:?}", report.trouble);
    traffic.kill();
    let traffic = Traffic::start_in(Arc::clone(&dir));
    fronts.serve(2, true);

    fs::remove_file(dir.path().join("someone-elses-file")).unwrap();
    let mut agent = traffic.agent();
    agent.apply(&fronts.table(3, false));
    fronts.serve(3, false);
    assert_eq!(agent.report().trouble, [] as [String; 0]);
    traffic.kill();
    assert!(Command::new("umount").arg("--lazy").arg(dir.path()).status().unwrap().success());
}
