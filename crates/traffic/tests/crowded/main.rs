//! Bad and slow clients up to every limit of a process: others are served. The process is one of its own, because its limits
//! come from the files that it may open.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "../traffic/running.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod running;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstay_plan::routing::TargetState::Serving;
use mainstay_plan::routing::{QueueEntry, RouteEntry, RoutingTable};
use mainstay_traffic::{Options, run};
use running::{Agent, Client, DEADLINE, Server, eventually, free_address, proxied, table, target};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

const STATE: &str = "MAINSTAY_TEST_STATE";
/// So that proxies have 688 places: the rest is reserved, and a connection takes two.
const FILES: u64 = 2400;
const PLACES: usize = 688;
/// Nobody who behaves well waits for longer, on a machine that does much else.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// The traffic process of the test, which starts this program again; by itself it does nothing.
#[test]
fn process() {
    let Ok(state) = std::env::var(STATE) else { return };
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: Some(FILES) }).unwrap();
    let (socket, take_over, successor) = (None, false, None);
    let options =
        Options { state_dir: state.into(), site: "here".into(), socket, take_over, follows: false, successor };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(options)).unwrap();
}

struct Process(Child);

impl Process {
    fn start(dir: &Path) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["process", "--exact", "--nocapture"]).env(STATE, dir).stdout(Stdio::null());
        Process(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn route(name: &str, server: &Server) -> (SocketAddr, RouteEntry) {
    let (listen, mut route) = proxied(true, vec![target("a", server.address, Serving)]);
    route.name = name.into();
    (listen, route)
}

/// A client that says `first` and is served; `None`: it is not.
fn served(listen: SocketAddr, first: &str) -> Option<()> {
    let began = Instant::now();
    let mut client = Client::try_connect(listen).ok()?;
    client.say(first);
    let answers = client.line().as_deref() == Some("one") && client.say("hello\n");
    let served = answers && client.line().as_deref() == Some("hello");
    served.then(|| assert!(began.elapsed() < SERVED_WITHIN, "{:?}", began.elapsed()))
}

fn from(source: u8) -> String {
    format!("PROXY TCP4 192.0.2.{source} 192.0.2.99 4711 5432\r\n")
}

fn asks_beacon(at: SocketAddr) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"GET /routes/orders/a HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(began.elapsed() < SERVED_WITHIN, "{:?}", began.elapsed());
}

fn crowd(size: usize, at: SocketAddr, says: &str) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..size {
        // On a busy machine one may be closed before it knows that it is connected.
        let Ok(mut client) = TcpStream::connect(at) else { continue };
        // One that was closed at once may refuse it.
        let _ = client.write_all(says.as_bytes());
        crowd.push(client);
    }
    assert!(crowd.len() > size / 2, "{} of {size}", crowd.len());
    crowd
}

#[test]
fn whoever_behaves_well_is_served_whatever_the_others_do() {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let dir = TempDir::new().unwrap();
    let _process = Process::start(dir.path());
    let one = Server::start("one");
    let (good, mut orders) = route("orders", &one);
    let (flooded, mut pages) = route("pages", &one);
    let (headed, mut mail) = route("mail", &one);
    orders.beacon = true;
    let proxy = pages.proxy.as_mut().unwrap();
    (proxy.max_connections, proxy.idle_timeout_ms) = (100_000, Some(10_000));
    proxy.queue = Some(QueueEntry { length: 100_000, wait_ms: 600_000 });
    let proxy = mail.proxy.as_mut().unwrap();
    proxy.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
    (proxy.max_per_source, proxy.hello_timeout_ms) = (Some(20), 600_000);
    let beacon = free_address();
    let mut agent = Agent::connect(&dir.path().join("traffic.sock"));
    agent.apply(&RoutingTable { beacon_listen: Some(beacon), ..table(1, &[&orders, &pages, &mail]) });

    // That never end to say for whom they come: more than may be there. Of one source, more than it may have, which go on to
    // say a byte now and then. That never end their request for a beacon.
    let half = crowd(300, headed, "PROXY TCP4 192.0.2.1");
    let mut drip = crowd(60, headed, &from(1));
    let unfinished = crowd(700, beacon, "GET /routes/orders/a HTTP/1.1\r\nhost: he");
    eventually("one source has its share", || (agent.report().counters[2].refused == 40).then_some(()));
    drip.iter_mut().for_each(|it| drop(it.write_all(b"x")));
    served(headed, &from(2)).unwrap();
    asks_beacon(beacon);

    // That say nothing, and that take no answer, on a route that would take them all.
    let mut flood = crowd(PLACES, flooded, "");
    for client in &mut flood {
        client.set_nonblocking(true).unwrap();
    }
    for client in flood.iter_mut().step_by(20) {
        while client.write(&[b'x'; 1 << 16]).is_ok() {}
    }
    eventually("it has all that it gets", || (agent.report().counters[1].refused > 0).then_some(()));
    let inside = agent.report().counters[1].open;
    assert!((PLACES as u64 / 3..PLACES as u64).contains(&inside), "{inside} clients of one route");
    for _ in 0..50 {
        served(good, "").unwrap();
        served(headed, &from(3)).unwrap();
        asks_beacon(beacon);
        drip.iter_mut().for_each(|it| drop(it.write_all(b"x")));
    }
    // Nobody of the flood goes by himself.
    eventually("those who say nothing are closed", || served(flooded, ""));
    drop((half, drip, unfinished, flood));
}
