//! One process takes over from another, under load, and either of them dies.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "../traffic/running.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod running;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use mainstay_plan::routing::TargetState::{Fenced, Serving, Standby};
use mainstay_plan::routing::{DnsEntry, DnsPolicyEntry, RouteEntry, RoutingTable, TrafficReply, TrafficRequest};
use mainstay_traffic::{Options, Successor, run};
use running::{Agent, Client, DEADLINE, Server, eventually, free_address, proxied, table, target, who, with_states};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const STATE: &str = "MAINSTAY_TEST_STATE";
const TAKES_OVER: &str = "MAINSTAY_TEST_TAKES_OVER";
const PROCESS: [&str; 3] = ["process", "--exact", "--nocapture"];

/// The traffic process of the other tests, which start this program again; by itself it does nothing.
#[test]
fn process() {
    let Ok(state) = std::env::var(STATE) else { return };
    let options = Options {
        state_dir: state.into(),
        site: "here".into(),
        socket: None,
        take_over: std::env::var_os(TAKES_OVER).is_some(),
        follows: false,
        successor: Some(Successor {
            program: "env".into(),
            args: [format!("{TAKES_OVER}=1"), std::env::current_exe().unwrap().to_str().unwrap().to_owned()]
                .into_iter()
                .chain(PROCESS.map(str::to_owned))
                .map(Into::into)
                .collect(),
        }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Err(error) = runtime.block_on(run(options)) {
        eprintln!("{error:?}");
    }
}

/// A state directory and whichever processes serve it.
struct Site {
    dir: TempDir,
    first: Child,
}

impl Site {
    fn start() -> Site {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(PROCESS).env(STATE, dir.path()).stdout(Stdio::null());
        let first = command.spawn().unwrap();
        let site = Site { dir, first };
        site.agent();
        site
    }

    fn agent(&self) -> Agent {
        Agent::connect(&self.dir.path().join("traffic.sock"))
    }

    /// The process that answers; `None`: none does now.
    fn serves(&self) -> Option<u32> {
        let mut stream = UnixStream::connect(self.dir.path().join("traffic.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        stream.write_all(b"{\"report\":{}}\n").ok()?;
        let mut reply = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(stream), &mut reply).ok()?;
        let TrafficReply::Report(report) = serde_json::from_str(&reply).ok()? else { panic!("no report: {reply}") };
        Some(report.pid)
    }

    /// Asks for a new process, and says which it is. It may not serve yet.
    fn begin_restart(&self) -> u32 {
        let reply = self.agent().ask(&TrafficRequest::Restart {});
        let TrafficReply::Restarting { pid } = reply else { panic!("not restarting: {reply:?}") };
        pid
    }

    fn restart(&self) -> u32 {
        let pid = self.begin_restart();
        eventually("the new process serves", || (self.serves() == Some(pid)).then_some(()));
        pid
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in children_of(self.dir.path()) {
            signal(pid, Signal::KILL);
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
}

/// Whether it runs, and is no corpse that nobody has fetched.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|it| !it.1.starts_with(['Z', 'X']))
}

/// The processes that have this state directory.
fn children_of(state: &Path) -> Vec<u32> {
    let wanted = format!("{STATE}={}", state.display());
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        is_alive(*pid) && environment.split(|it| *it == 0).any(|it| it == wanted.as_bytes())
    })
    .collect()
}

/// A table with a proxy, DNS and a beacon.
struct Fronts {
    table: RoutingTable,
    proxy: SocketAddr,
    dns: SocketAddr,
    beacon: SocketAddr,
    unix: PathBuf,
}

fn fronts(site: &Site, server: &Server) -> Fronts {
    let (proxy, mut route) = proxied(true, vec![target("a", server.address, Serving)]);
    let unix = site.dir.path().join("clients.sock");
    route.proxy.as_mut().unwrap().unix = Some(unix.clone());
    route.beacon = true;
    let policy = DnsPolicyEntry::Failover;
    route.dns =
        Some(DnsEntry { name: "orders.example.".into(), ttl_s: 5, policy, near: Vec::new(), records: Vec::new() });
    let (dns, beacon) = (free_address(), free_address());
    let table = RoutingTable { dns_listen: Some(dns), beacon_listen: Some(beacon), ..table(1, &[&route]) };
    Fronts { table, proxy, dns, beacon, unix }
}

fn asks_dns(at: SocketAddr) -> io::Result<()> {
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii("orders.example.").unwrap(), RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(at)?;
    socket.send(&question.to_vec().unwrap())?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    let answer = Message::from_vec(&answer[..length]).map_err(io::Error::other)?;
    if answer.answers.is_empty() { Err(io::Error::other("no address")) } else { Ok(()) }
}

fn asks_beacon(at: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /routes/orders/a HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(io::Error::other(answer)) }
}

fn asks_proxy(at: SocketAddr) -> io::Result<()> {
    let mut client = Client::try_connect(at)?;
    if client.line().as_deref() != Some("one") || !client.say("hello\n") || client.line().as_deref() != Some("hello") {
        return Err(ErrorKind::ConnectionReset.into());
    }
    Ok(())
}

fn asks_unix(at: &Path) -> io::Result<()> {
    let mut client = io::BufReader::new(UnixStream::connect(at)?);
    client.get_ref().set_read_timeout(Some(DEADLINE))?;
    let mut line = String::new();
    io::BufRead::read_line(&mut client, &mut line)?;
    if line == "one\n" { Ok(()) } else { Err(ErrorKind::ConnectionReset.into()) }
}

type Ask = Box<dyn Fn() -> io::Result<()> + Send>;

/// Clients that ask one after the other until it is dropped.
struct Load {
    ends: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(asking: Vec<(&'static str, Ask)>) -> Load {
        let (ends, asked, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::default());
        let threads = asking
            .into_iter()
            .map(|(what, ask)| {
                let (ends, asked) = (Arc::clone(&ends), Arc::clone(&asked));
                let failed = Arc::<Mutex<Vec<String>>>::clone(&failed);
                std::thread::spawn(move || {
                    while !ends.load(Ordering::Relaxed) {
                        if let Err(error) = ask() {
                            failed.lock().unwrap().push(format!("{what}: {error}"));
                        }
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Load { ends, asked, failed, threads }
    }

    fn more(&self, number: u64) {
        let until = self.asked.load(Ordering::Relaxed) + number;
        eventually("more is asked", || (self.asked.load(Ordering::Relaxed) >= until).then_some(()));
    }

    /// How many were asked, and what failed.
    fn end(self) -> (u64, Vec<String>) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        (self.asked.load(Ordering::Relaxed), Arc::try_unwrap(self.failed).unwrap().into_inner().unwrap())
    }
}

#[test]
fn no_client_fails_over_restarts() {
    let (site, one) = (Site::start(), Server::start("one"));
    let Fronts { table, proxy, dns, beacon, unix } = fronts(&site, &one);
    site.agent().apply(&table);
    let load = Load::start(vec![
        ("proxy", Box::new(move || asks_proxy(proxy))),
        ("proxy", Box::new(move || asks_proxy(proxy))),
        ("proxy", Box::new(move || asks_proxy(proxy))),
        ("proxy by UNIX socket", Box::new(move || asks_unix(&unix))),
        ("DNS", Box::new(move || asks_dns(dns))),
        ("DNS", Box::new(move || asks_dns(dns))),
        ("beacon", Box::new(move || asks_beacon(beacon))),
    ]);
    load.more(100);
    let mut last = site.first.id();
    for _ in 0..5 {
        let next = site.restart();
        assert_ne!(next, last);
        load.more(100);
        // What it has left are connections of this load, which end by themselves.
        eventually("the old process ends", || (!is_alive(last)).then_some(()));
        last = next;
    }
    let (asked, failed) = load.end();
    assert_eq!(failed, [] as [String; 0], "of {asked}");
    let report = site.agent().report();
    assert_eq!((report.table, report.trouble), (table, Vec::new()));
}

#[test]
fn whichever_dies_at_whatever_moment_the_other_serves() {
    let one = Server::start("one");
    // A hand-over takes some ten milliseconds, most of which is the start of a program.
    for moment in 0..40 {
        let site = Site::start();
        let Fronts { table, proxy, dns, beacon, unix } = fronts(&site, &one);
        site.agent().apply(&table);
        // Holds the old process until the end.
        let mut held = Client::connect(proxy);
        assert_eq!(held.line().as_deref(), Some("one"));
        let (old, new) = (site.first.id(), site.begin_restart());
        std::thread::sleep(Duration::from_millis(2 * (moment / 2)));
        let (dies, lives) = if moment % 2 == 0 { (old, new) } else { (new, old) };
        signal(dies, Signal::KILL);
        eventually("the other serves", || (site.serves() == Some(lives)).then_some(()));
        assert_eq!(who(proxy).as_deref(), Some("one"), "moment {moment}");
        asks_unix(&unix).unwrap();
        asks_dns(dns).unwrap();
        asks_beacon(beacon).unwrap();
        if lives == old {
            assert!(held.say("still here\n") && held.line().as_deref() == Some("still here"), "moment {moment}");
        }
        site.agent().apply(&RoutingTable { epoch: 2, ..table.clone() });
        let third = site.restart();
        assert_eq!(who(proxy).as_deref(), Some("one"), "moment {moment}");
        assert_eq!(site.serves(), Some(third));
    }
}

fn held_over_a_restart(drain_ms: u64, site: &Site, server: &Server) -> (RouteEntry, SocketAddr, Client) {
    let two = target("b", free_address(), Standby);
    let (listen, mut route) = proxied(true, vec![target("a", server.address, Serving), two]);
    route.proxy.as_mut().unwrap().drain_ms = drain_ms;
    site.agent().apply(&table(1, &[&route]));
    let mut held = Client::connect(listen);
    assert_eq!(held.line().as_deref(), Some("one"));
    site.restart();
    assert!(held.say("over\n"));
    assert_eq!(held.line().as_deref(), Some("over"));
    (route, listen, held)
}

#[test]
fn a_connection_of_the_old_process_has_the_drain_time() {
    let (mut site, one) = (Site::start(), Server::start("one"));
    let (_, listen, mut held) = held_over_a_restart(500, &site, &one);
    assert_eq!(held.line(), None);
    assert!(site.first.wait().unwrap().success());
    assert_eq!(who(listen).as_deref(), Some("one"));
}

#[test]
fn a_fence_is_acknowledged_when_the_old_process_has_cut_too() {
    let (site, one) = (Site::start(), Server::start("one"));
    let (route, listen, mut held) = held_over_a_restart(600_000, &site, &one);
    let refused = site.begin_restart();
    eventually("a third process gives up", || (!is_alive(refused)).then_some(()));
    site.agent().apply(&table(2, &[&with_states(&route, &[Fenced, Standby])]));
    held.stream.get_ref().set_nonblocking(true).unwrap();
    let ended = held.stream.get_mut().read(&mut [0; 8]);
    assert!(!matches!(&ended, Err(error) if error.kind() == ErrorKind::WouldBlock), "acknowledged and not cut");
    assert_eq!(who(listen), None);
}

#[test]
fn an_old_process_that_hangs_keeps_no_fence_from_being_acknowledged() {
    let (site, one) = (Site::start(), Server::start("one"));
    let (route, _, mut held) = held_over_a_restart(600_000, &site, &one);
    signal(site.first.id(), Signal::STOP);
    site.agent().apply(&table(2, &[&with_states(&route, &[Fenced, Standby])]));
    assert_eq!(held.line(), None);
    assert!(!is_alive(site.first.id()));
}

#[test]
fn an_address_that_goes_is_free_although_the_old_process_is_there() {
    let (site, one) = (Site::start(), Server::start("one"));
    let (route, listen, mut held) = held_over_a_restart(600_000, &site, &one);
    let mut moved = route.clone();
    moved.proxy.as_mut().unwrap().listen = free_address();
    site.agent().apply(&table(2, &[&moved]));
    TcpListener::bind(listen).unwrap();
    assert_eq!(who(moved.proxy.as_ref().unwrap().listen).as_deref(), Some("one"));
    assert!(held.say("still here\n"));
    assert_eq!(held.line().as_deref(), Some("still here"));
}

#[test]
fn whoever_is_told_to_end_takes_the_old_process_along() {
    let (mut site, one) = (Site::start(), Server::start("one"));
    let (_, _, mut held) = held_over_a_restart(600_000, &site, &one);
    assert_eq!(site.agent().ask(&TrafficRequest::Stop {}), TrafficReply::Stopping {});
    assert!(site.first.wait().unwrap().success());
    assert_eq!(held.line(), None);
    eventually("both have ended", || children_of(site.dir.path()).is_empty().then_some(()));
}
