//! The name server beside Knot and NSD: answers a second, latency at a steady rate, processor time an answer, each with one
//! thread, in turn and in one run, on the same zone.
//!
//! `cargo xtask bench dns [-- ROUNDS SECONDS]`
//!
//! The load is `dnsperf`, on the processor that the servers do not have. Debian's packages knot, nsd and dnsperf must be there.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod peers;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use mainstay_plan::routing::{DnsEntry, DnsPolicyEntry, RouteEntry, TargetEntry, TargetState};
use tempfile::TempDir;

use peers::{Server, free, median, pinned, serve_if_asked};

const NAME: &str = "orders.bench.";
/// Of the run in which latency is looked at: far below what any of them answers.
const STEADY_A_SECOND: &str = "5000";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ended) = serve_if_asked(&args) {
        return ended;
    }
    let number = |at: usize, default: u64| args.get(at).and_then(|it| it.parse().ok()).unwrap_or(default);
    measure(number(0, 5), number(1, 4));
    ExitCode::SUCCESS
}

/// Whether the name has an address there.
fn answers(at: SocketAddr) -> bool {
    let Ok(socket) = UdpSocket::bind("127.0.0.1:0") else { return false };
    let question = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x06orders\x05bench\0\0\x01\0\x01";
    let mut answer = [0; 512];
    socket.set_read_timeout(Some(Duration::from_millis(200))).is_ok()
        && socket.send_to(question, at).is_ok()
        && socket.recv(&mut answer).is_ok_and(|it| it > 12 && answer[7] == 1)
}

fn peers(dir: &Path) -> Vec<Server> {
    let (own, knot, nsd) = (free(2), free(3), free(4));
    let zone = dir.join("zone");
    let text = "$ORIGIN orders.bench.\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\n@ A 10.0.0.1\nns A 127.0.77.2\n";
    fs::write(&zone, text).expect("a temporary folder can be written");
    let zone = zone.display();

    let home = dir.join("knot");
    fs::create_dir_all(&home).expect("a temporary folder can be written");
    let config = format!(
        "server:\n  rundir: {0}\n  listen: {1}@{2}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\ndatabase:\n  \
         storage: {0}\nzone:\n  - domain: {NAME}\n    file: {zone}\n    zonefile-sync: -1\n    journal-content: none\n",
        home.display(),
        knot.ip(),
        knot.port(),
    );
    let file = home.join("knot.conf");
    fs::write(&file, config).expect("a temporary folder can be written");
    let knot = Server::start("Knot", knot, pinned("0", "knotd").arg("-c").arg(&file), answers);

    let home = dir.join("nsd");
    fs::create_dir_all(&home).expect("a temporary folder can be written");
    let config = format!(
        "server:\n  server-count: 1\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  ip-address: {1}@{2}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: {0}\n  database: \
         \"\"\n  pidfile: {0}/pid\n  logfile: {0}/log\n  xfrdfile: {0}/xfrd\n  xfrdir: {0}\n  zonelistfile: {0}/list\n\
         remote-control:\n  control-enable: no\nzone:\n  name: {NAME}\n  zonefile: {zone}\n",
        home.display(),
        nsd.ip(),
        nsd.port(),
    );
    let file = home.join("nsd.conf");
    fs::write(&file, config).expect("a temporary folder can be written");
    let nsd = Server::start("NSD", nsd, pinned("0", "nsd").arg("-d").arg("-c").arg(&file), answers);
    vec![Server::mainstay(dir, own, Some(own), route()), knot, nsd]
}

fn route() -> RouteEntry {
    let target = TargetEntry {
        instance: "orders".into(),
        address: SocketAddr::from(([10, 0, 0, 1], 5432)),
        unix: None,
        weight: 1,
        agent_check: None,
        state: TargetState::Serving,
    };
    RouteEntry {
        name: "orders".into(),
        exclusive: true,
        cut_after_silence_ms: None,
        proxy: None,
        dns: Some(DnsEntry {
            name: NAME.into(),
            ttl_s: 5,
            policy: DnsPolicyEntry::Failover,
            near: Vec::new(),
            records: Vec::new(),
        }),
        beacon: false,
        targets: vec![target],
    }
}

/// What `dnsperf` says.
fn asked(questions: &Path, at: SocketAddr, seconds: u64, more: &[&str]) -> String {
    let mut command = pinned("1", "dnsperf");
    command.args(["-e", "-c", "16", "-T", "1", "-t", "2"]).arg("-s").arg(at.ip().to_string());
    command.arg("-p").arg(at.port().to_string()).arg("-d").arg(questions).arg("-l").arg(seconds.to_string());
    let out = command.args(more).output().expect("dnsperf runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn number(text: &str, label: &str) -> f64 {
    let line =
        text.lines().find_map(|it| it.trim().strip_prefix(label)).unwrap_or_else(|| panic!("dnsperf says {text}"));
    line.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0.0)
}

/// Answers a second, lost, and processor seconds an answer.
fn flood(questions: &Path, server: &Server, seconds: u64) -> [f64; 3] {
    let before = server.cpu();
    let text = asked(questions, server.at, seconds, &["-q", "200"]);
    let cpu = server.cpu() - before;
    let done = number(&text, "Queries completed:");
    [number(&text, "Queries per second:"), number(&text, "Queries lost:"), cpu / done.max(1.0)]
}

/// The latencies of half and of 99 of 100 questions at a steady rate, seconds.
fn steady(questions: &Path, server: &Server, seconds: u64) -> [f64; 2] {
    let text = asked(questions, server.at, seconds, &["-Q", STEADY_A_SECOND, "-v"]);
    let answers = text.lines().filter_map(|it| it.strip_prefix("> "));
    let mut times: Vec<f64> = answers.filter_map(|it| it.split_whitespace().last()?.parse().ok()).collect();
    assert!(!times.is_empty(), "dnsperf says {text}");
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

fn measure(rounds: u64, seconds: u64) {
    let dir = TempDir::new().expect("a temporary folder can be made");
    let questions = dir.path().join("questions");
    fs::write(&questions, format!("{NAME} A\n{NAME} AAAA\n{NAME} SOA\n{NAME} A\nnot.{NAME} A\n"))
        .expect("a temporary folder can be written");
    let peers = peers(dir.path());
    println!("{rounds} rounds of {seconds} s each, one thread each; medians; latency at {STEADY_A_SECOND} a second");
    println!("{:<10} {:>10} {:>8} {:>9} {:>9} {:>14}", "server", "a second", "lost", "p50 us", "p99 us", "CPU us each");
    let mut floods: Vec<Vec<[f64; 3]>> = vec![Vec::new(); peers.len()];
    let mut steadies: Vec<Vec<[f64; 2]>> = vec![Vec::new(); peers.len()];
    for _ in 0..rounds {
        for (at, peer) in peers.iter().enumerate() {
            floods[at].push(flood(&questions, peer, seconds));
            steadies[at].push(steady(&questions, peer, seconds));
        }
    }
    for ((peer, floods), steadies) in peers.iter().zip(&floods).zip(&steadies) {
        let of = |what: usize| median(floods.iter().map(|it| it[what]).collect());
        let late = |what: usize| median(steadies.iter().map(|it| it[what]).collect()) * 1e6;
        println!(
            "{:<10} {:>10.0} {:>8.0} {:>9.0} {:>9.0} {:>14.2}",
            peer.name,
            of(0),
            floods.iter().map(|it| it[1]).sum::<f64>(),
            late(0),
            late(1),
            of(2) * 1e6,
        );
    }
}
