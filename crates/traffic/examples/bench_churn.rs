//! Ten routing tables a second under full load: which requests fail that no change had to cut, and what it does to the memory.
//!
//! `cargo xtask bench churn [-- SECONDS]`
//!
//! Ten minutes (`-- 600`) are six thousand changes, as many as four hours have with one every two and a half seconds. Of five
//! tables the first drains a target of the shared route, the second hands the exclusive route over, the third fences its owner,
//! the fourth lets the other one take over, and the fifth brings a route that the next one takes away; each moves a name.
//! The traffic process has one processor, load and origins share the other. It fails if a request or a question failed that
//! need not have: what is under way to the old owner of the exclusive route has to be cut, and between a fence and the next
//! owner nobody can be served there.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod peers;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use mainstay_plan::routing::TargetState::{Draining, Fenced, Serving, Standby};
use mainstay_plan::routing::{
    DnsEntry, DnsPolicyEntry, ProxyEntry, RouteEntry, RoutingTable, TargetEntry, TargetState, TrafficReply,
    TrafficRequest,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use peers::{Server, free, median, pinned, serve_if_asked};

const EVERY: Duration = Duration::from_millis(100);
const ORIGINS: u8 = 4;
/// Half of them ask each of the two routes.
const CLIENTS: usize = 40;
/// Over one connection; every second client closes after the first.
const REQUESTS: usize = 50;
const GIVES_UP_AFTER: Duration = Duration::from_secs(5);
const AFTER_A_FAILURE: Duration = Duration::from_millis(10);
const NAME: &str = "named.bench.";
const REQUEST_BYTES: usize = 64;
const ANSWER_BYTES: usize = 256;
/// Of lines about memory.
const LINES: u32 = 10;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ended) = serve_if_asked(&args) {
        return ended;
    }
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["origin", at] => origin(at.parse().expect("an address")),
        ["inside", seconds] => measure(Duration::from_secs(seconds.parse().expect("seconds"))),
        _ => {
            let own = std::env::current_exe().expect("a program has a path");
            let seconds = words.first().unwrap_or(&"60");
            let status = pinned("1", &own.display().to_string()).args(["inside", seconds]).status();
            if status.expect("it starts").success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts").block_on(work)
}

/// Answers each request with the last byte of its own address, for ever.
fn origin(at: SocketAddr) -> ExitCode {
    let IpAddr::V4(ip) = at.ip() else { return ExitCode::FAILURE };
    block_on(async move {
        let listener = TcpListener::bind(at).await.expect("the address is free");
        loop {
            let Ok((mut client, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let (mut request, answer) = ([0; REQUEST_BYTES], [ip.octets()[3]; ANSWER_BYTES]);
                while client.read_exact(&mut request).await.is_ok() && client.write_all(&answer).await.is_ok() {}
            });
        }
    })
}

/// What the load has met.
#[derive(Default)]
struct Met {
    ends: AtomicBool,
    requests: AtomicU64,
    questions: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

struct Failure {
    route: &'static str,
    /// When the request before began on the same connection: after its answer the connection may be cut before this process
    /// is given the time to read it.
    began: Instant,
    ended: Instant,
    reason: String,
}

impl Met {
    fn fail(&self, route: &'static str, began: Instant, reason: String) {
        let failure = Failure { route, began, ended: Instant::now(), reason };
        self.failures.lock().expect("nobody panics").push(failure);
    }

    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }
}

async fn client(met: Arc<Met>, route: &'static str, at: SocketAddr, requests: usize) {
    while met.goes_on() {
        let (mut before, mut began) = (Instant::now(), Instant::now());
        let over_one_connection = async {
            let mut stream = tokio::net::TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            for _ in 0..requests {
                (before, began) = (began, Instant::now());
                stream.write_all(&[1; REQUEST_BYTES]).await?;
                let mut answer = [0; ANSWER_BYTES];
                timeout(GIVES_UP_AFTER, stream.read_exact(&mut answer)).await??;
                met.requests.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, std::io::Error>(())
        };
        if let Err(error) = over_one_connection.await {
            met.fail(route, before, error.to_string());
            sleep(AFTER_A_FAILURE).await;
        }
    }
}

/// The address of the name.
fn resolve(socket: &UdpSocket) -> Result<IpAddr, String> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(NAME).expect("a name"), RecordType::A));
    let question = question.to_vec().map_err(|error| error.to_string())?;
    socket.send(&question).map_err(|error| error.to_string())?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).map_err(|error| error.to_string())?;
    let answer = Message::from_vec(&buffer[..length]).map_err(|error| error.to_string())?;
    let found =
        answer.answers.iter().find_map(|it| if let RData::A(it) = &it.data { Some(IpAddr::V4(it.0)) } else { None });
    found.ok_or_else(|| "an answer without an address".to_owned())
}

fn resolver(dns: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    socket.set_read_timeout(Some(GIVES_UP_AFTER)).expect("a socket takes a time limit");
    socket.connect(dns).expect("loopback is there");
    socket
}

fn named(n: u64) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, if n.is_multiple_of(2) { 1 } else { 2 })
}

struct Addresses {
    shared: SocketAddr,
    exclusive: SocketAddr,
    passing: SocketAddr,
    dns: SocketAddr,
    origins: Vec<SocketAddr>,
}

fn target(nth: usize, address: SocketAddr, state: TargetState) -> TargetEntry {
    TargetEntry { instance: format!("o{nth}"), address, unix: None, weight: 1, agent_check: None, state }
}

fn route(name: &str, exclusive: bool, proxy: Option<SocketAddr>, targets: Vec<TargetEntry>) -> RouteEntry {
    RouteEntry {
        name: name.into(),
        exclusive,
        cut_after_silence_ms: None,
        proxy: proxy.map(ProxyEntry::new),
        dns: None,
        beacon: false,
        targets,
    }
}

impl Addresses {
    /// The table after `n` changes.
    fn table(&self, n: u64) -> RoutingTable {
        let part = n % 5;
        let nth = usize::try_from(n / 5).unwrap_or(0) % self.origins.len();
        let of = |it: usize| target(it, self.origins[it], if it == nth && part == 0 { Draining } else { Serving });
        let shared = route("shared", false, Some(self.shared), (0..self.origins.len()).map(of).collect());
        let states = match part {
            1 => [Standby, Serving],
            2 => [Standby, Fenced],
            _ => [Serving, Standby],
        };
        let owners = states.iter().enumerate().map(|(nth, state)| target(nth, self.origins[nth], *state)).collect();
        let exclusive = route("exclusive", true, Some(self.exclusive), owners);
        let mut name = route("named", true, None, vec![target(0, (named(n), 1).into(), Serving)]);
        let policy = DnsPolicyEntry::Failover;
        name.dns = Some(DnsEntry { name: NAME.into(), ttl_s: 1, policy, near: Vec::new(), records: Vec::new() });
        let mut routes = vec![shared, exclusive, name];
        if part == 4 {
            routes.push(route("passing", false, Some(self.passing), vec![target(0, self.origins[0], Serving)]));
        }
        RoutingTable { epoch: n + 2, dns_listen: Some(self.dns), routes, ..RoutingTable::empty(peers::SITE) }
    }
}

/// The traffic process as an agent sees it.
struct Link(BufReader<UnixStream>);

impl Link {
    fn ask(&mut self, request: &TrafficRequest) -> TrafficReply {
        let line = serde_json::to_string(request).expect("a request is JSON");
        writeln!(self.0.get_mut(), "{line}").expect("the traffic process listens");
        let mut reply = String::new();
        self.0.read_line(&mut reply).expect("the traffic process answers");
        serde_json::from_str(&reply).expect("an answer is JSON")
    }

    fn apply(&mut self, table: RoutingTable) {
        let reply = self.ask(&TrafficRequest::Apply { table: Box::new(table) });
        assert!(matches!(reply, TrafficReply::Applied { .. }), "a table is refused: {reply:?}");
    }

    fn pid(&mut self) -> u32 {
        let reply = self.ask(&TrafficRequest::Report {});
        let TrafficReply::Report(report) = reply else { panic!("no report: {reply:?}") };
        report.pid
    }
}

/// KiB of memory that a process has.
fn rss(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0)
}

fn listens(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_ok()
}

fn start_origins(addresses: &[SocketAddr]) -> Vec<Server> {
    let own = std::env::current_exe().expect("a program has a path").display().to_string();
    let start =
        |at: &SocketAddr| Server::start("origin", *at, pinned("1", &own).args(["origin", &at.to_string()]), listens);
    addresses.iter().map(start).collect()
}

fn load(met: &Arc<Met>, addresses: &Addresses) -> Vec<thread::JoinHandle<()>> {
    let (shared, exclusive) = (addresses.shared, addresses.exclusive);
    let (requests, questions) = (Arc::clone(met), Arc::clone(met));
    let socket = resolver(addresses.dns);
    let clients = thread::spawn(move || {
        block_on(async {
            let one = |nth: usize| {
                let (route, at) = if nth.is_multiple_of(2) { ("shared", shared) } else { ("exclusive", exclusive) };
                let each = if nth % 4 < 2 { REQUESTS } else { 1 };
                tokio::spawn(client(Arc::clone(&requests), route, at, each))
            };
            let all: Vec<_> = (0..CLIENTS).map(one).collect();
            for it in all {
                it.await.expect("a client does not panic");
            }
        });
    });
    let asker = thread::spawn(move || {
        while questions.goes_on() {
            let began = Instant::now();
            if let Err(reason) = resolve(&socket) {
                questions.fail("named", began, reason);
            }
            questions.questions.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
    });
    vec![clients, asker]
}

fn measure(duration: Duration) -> ExitCode {
    let dir = TempDir::new().expect("a temporary folder can be made");
    let origins: Vec<SocketAddr> = (0..ORIGINS).map(|it| free(10 + it)).collect();
    let addresses = Addresses { shared: free(2), exclusive: free(3), passing: free(4), dns: free(5), origins };
    let _origins = start_origins(&addresses.origins);
    let first = addresses.table(0).routes.swap_remove(0);
    let traffic = Server::mainstay(dir.path(), addresses.shared, None, first);
    let socket = dir.path().join("traffic/traffic.sock");
    let mut link = Link(BufReader::new(UnixStream::connect(socket).expect("the traffic process listens")));
    let pid = link.pid();
    link.apply(addresses.table(0));

    let met = Arc::new(Met::default());
    let load = load(&met, &addresses);
    println!(
        "ten tables a second for {} s, {CLIENTS} clients, before {} at {}",
        duration.as_secs(),
        traffic.name,
        traffic.at
    );
    println!(
        "{:>6} {:>9} {:>10} {:>10} {:>13} {:>9}",
        "s", "changes", "requests", "questions", "cut or failed", "RSS MiB"
    );
    let changes = change(&mut link, &addresses, &met, duration, pid);
    met.ends.store(true, Ordering::Relaxed);
    for it in load {
        it.join().expect("the load does not panic");
    }
    report(&met, changes, traffic.cpu() / duration.as_secs_f64())
}

/// What the changes were like.
#[derive(Default)]
struct Changes {
    took_ms: Vec<f64>,
    /// While the exclusive route changed hands, or had no owner.
    windows: Vec<(Instant, Instant)>,
    /// Answers to the first question after a change that did not show it.
    stale: usize,
    rss: Vec<f64>,
}

fn change(link: &mut Link, addresses: &Addresses, met: &Met, duration: Duration, pid: u32) -> Changes {
    let mut changes = Changes::default();
    let own = resolver(addresses.dns);
    let began = Instant::now();
    let mut fenced_at = None;
    let mut next_line = duration / LINES;
    for n in 1_u64.. {
        let due = began + EVERY * u32::try_from(n).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        link.apply(addresses.table(n));
        changes.took_ms.push(sent.elapsed().as_secs_f64() * 1e3);
        match (n % 5, fenced_at.take()) {
            (1, _) => changes.windows.push((sent, Instant::now())),
            (2, _) => fenced_at = Some(sent),
            (_, Some(since)) => changes.windows.push((since, Instant::now())),
            (_, None) => {}
        }
        changes.stale += usize::from(resolve(&own) != Ok(IpAddr::V4(named(n))));
        changes.rss.push(rss(pid) / 1024.0);
        let elapsed = began.elapsed();
        if elapsed >= next_line {
            next_line += duration / LINES;
            let (requests, questions) = (met.requests.load(Ordering::Relaxed), met.questions.load(Ordering::Relaxed));
            let failed = met.failures.lock().expect("nobody panics").len();
            let rss = changes.rss.last().unwrap_or(&0.0);
            println!("{:>6.0} {n:>9} {requests:>10} {questions:>10} {failed:>13} {rss:>9.2}", elapsed.as_secs_f64());
        }
        // Never between a fence and what comes after it.
        if elapsed >= duration && fenced_at.is_none() {
            break;
        }
    }
    changes
}

fn report(met: &Met, changes: Changes, cpu: f64) -> ExitCode {
    let failures = met.failures.lock().expect("nobody panics");
    let had_to = |it: &&Failure| {
        it.route == "exclusive" && changes.windows.iter().any(|(from, to)| it.began <= *to && it.ended >= *from)
    };
    let (cut, failed): (Vec<&Failure>, Vec<&Failure>) = failures.iter().partition(had_to);
    let requests = met.requests.load(Ordering::Relaxed);
    println!(
        "{} requests and {} questions in {} changes: {} cut or without an owner, {} failed, {} changes not in the next \
         answer",
        requests,
        met.questions.load(Ordering::Relaxed),
        changes.took_ms.len(),
        cut.len(),
        failed.len(),
        changes.stale,
    );
    for failure in failed.iter().take(5) {
        let lasted = failure.ended - failure.began;
        println!("  {}: {} after {} ms", failure.route, failure.reason, lasted.as_millis());
    }
    let slowest = changes.took_ms.iter().copied().fold(0.0, f64::max);
    let fifth = changes.rss.len() / 5;
    let (early, late) = (median(changes.rss[fifth..2 * fifth].to_vec()), median(changes.rss[4 * fifth..].to_vec()));
    println!("a change took {:.1} ms (median), {slowest:.1} ms at most", median(changes.took_ms));
    println!(
        "the traffic process had {early:.2} MiB in the second fifth of the time, {late:.2} MiB in the last; {cpu:.2} of a processor"
    );
    if failed.is_empty() && changes.stale == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
