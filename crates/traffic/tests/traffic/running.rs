//! A traffic process inside the test, an agent that talks to it, and servers for its routes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_plan::routing::{
    ProxyEntry, RouteEntry, RoutingTable, TargetEntry, TargetState, TrafficReply, TrafficReport, TrafficRequest,
};
use mainstay_traffic::{Options, TrafficError, run};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Longer than anything takes on a loaded machine; a test that reaches it has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Asks again until the answer is there, or the deadline.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A loopback address that nobody else uses: each call gets its own host in 127/8, so the port can't be taken meanwhile.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    let own = (((pid & 0xfff) << 12) | (n & 0xfff)) ^ 0x10_0000;
    let host = 0x7f00_0000 | own;
    let ip = IpAddr::V4(Ipv4Addr::from(host));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// A traffic process; dropping it is `kill -9`, apart from what the kernel does for a dead process anyway.
pub(crate) struct Traffic {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) options: Options,
    runtime: Option<Runtime>,
    task: Option<JoinHandle<Result<(), TrafficError>>>,
}

impl Traffic {
    pub(crate) fn start() -> Traffic {
        Traffic::start_in(Arc::new(TempDir::new().unwrap()))
    }

    pub(crate) fn start_in(dir: Arc<TempDir>) -> Traffic {
        Traffic::begin(dir, false)
    }

    /// Its agent is on another machine.
    pub(crate) fn follow_in(dir: Arc<TempDir>) -> Traffic {
        Traffic::begin(dir, true)
    }

    fn begin(dir: Arc<TempDir>, follows: bool) -> Traffic {
        let options = Options {
            state_dir: dir.path().to_owned(),
            site: "here".into(),
            socket: None,
            take_over: false,
            follows,
            successor: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let task = runtime.spawn(run(options.clone()));
        let traffic = Traffic { dir, options, runtime: Some(runtime), task: Some(task) };
        traffic.agent();
        traffic
    }

    /// Dies without a chance to do anything, and leaves its directory.
    pub(crate) fn kill(mut self) -> Arc<TempDir> {
        self.end();
        Arc::clone(&self.dir)
    }

    pub(crate) fn agent(&self) -> Agent {
        Agent::connect(&self.options.socket_path())
    }

    /// Waits for the end of `run`.
    pub(crate) fn join(mut self) -> Result<(), TrafficError> {
        let (runtime, task) = (self.runtime.as_ref().unwrap(), self.task.take().unwrap());
        runtime.block_on(async { tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap() })
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(DEADLINE);
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.end();
    }
}

/// What speaks to the control socket.
pub(crate) struct Agent {
    pub(crate) stream: BufReader<UnixStream>,
}

impl Agent {
    pub(crate) fn connect(path: &Path) -> Agent {
        let stream = eventually("the control socket answers", || UnixStream::connect(path).ok());
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Agent { stream: BufReader::new(stream) }
    }

    pub(crate) fn raw(&mut self, line: &[u8]) -> TrafficReply {
        self.stream.get_mut().write_all(line).unwrap();
        let mut reply = String::new();
        self.stream.read_line(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: `{reply}`"))
    }

    pub(crate) fn ask(&mut self, request: &TrafficRequest) -> TrafficReply {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        self.raw(&line)
    }

    pub(crate) fn try_apply(&mut self, table: &RoutingTable) -> TrafficReply {
        self.ask(&TrafficRequest::Apply { table: Box::new(table.clone()) })
    }

    pub(crate) fn apply(&mut self, table: &RoutingTable) {
        let expected = TrafficReply::Applied { epoch: table.epoch, checksum: table.checksum() };
        assert_eq!(self.try_apply(table), expected);
    }

    pub(crate) fn refused(&mut self, table: &RoutingTable) -> String {
        let reply = self.try_apply(table);
        let TrafficReply::Refused { reason, .. } = reply else { panic!("not refused: {reply:?}") };
        reason
    }

    /// Waits for one as the process does, and no longer.
    pub(crate) fn failures(&mut self) -> Vec<String> {
        let reply = self.ask(&TrafficRequest::Failures {});
        let TrafficReply::Failures { instances } = reply else { panic!("no failures: {reply:?}") };
        instances
    }

    pub(crate) fn report(&mut self) -> TrafficReport {
        let reply = self.ask(&TrafficRequest::Report {});
        let TrafficReply::Report(report) = reply else { panic!("no report: {reply:?}") };
        *report
    }
}

/// A server that says its name to each client and then echoes.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) received: Arc<AtomicU64>,
    /// Connections that it has accepted and not seen the end of.
    open: Arc<AtomicU64>,
}

impl Server {
    pub(crate) fn start(name: &'static str) -> Server {
        Server::start_at(free_address(), name)
    }

    pub(crate) fn start_at(address: SocketAddr, name: &'static str) -> Server {
        let listener = TcpListener::bind(address).unwrap();
        let (received, open) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (counter, opened) = (Arc::clone(&received), Arc::clone(&open));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                opened.fetch_add(1, Ordering::SeqCst);
                let (counter, opened) = (Arc::clone(&counter), Arc::clone(&opened));
                std::thread::spawn(move || {
                    echo(client, name, &counter);
                    opened.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Server { address, received, open }
    }

    /// Waits until it has read all that had arrived on connections that have ended. All must have, and no more may come.
    pub(crate) fn settle(&self) -> u64 {
        // Whoever came before this client is accepted before it.
        assert!(Client::connect(self.address).line().is_some());
        eventually("every connection to the server has ended", || {
            (self.open.load(Ordering::SeqCst) == 0).then_some(())
        });
        self.received()
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }
}

fn echo(mut client: TcpStream, name: &str, received: &AtomicU64) {
    let _ = client.write_all(format!("{name}\n").as_bytes());
    let mut buffer = [0; 4096];
    while let Ok(length) = client.read(&mut buffer) {
        if length == 0 {
            let _ = client.shutdown(Shutdown::Write);
            return;
        }
        received.fetch_add(length as u64, Ordering::SeqCst);
        if client.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// A client of a route.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// The next line, or `None` when the connection has ended, in whatever way.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) => {
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "neither an answer nor an end");
                None
            }
        }
    }

    pub(crate) fn say(&mut self, text: &str) -> bool {
        self.stream.get_mut().write_all(text.as_bytes()).is_ok()
    }
}

/// Who answers at `address`; `None`: nobody.
pub(crate) fn who(address: SocketAddr) -> Option<String> {
    match Client::try_connect(address) {
        Ok(mut client) => client.line(),
        // The reset of a client that nobody serves may arrive before the connection is complete here.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("nobody listens at {address}: {error}"),
    }
}

pub(crate) fn target(instance: &str, address: SocketAddr, state: TargetState) -> TargetEntry {
    TargetEntry { instance: instance.into(), address, unix: None, weight: 1, agent_check: None, state }
}

/// A route with a proxy at a free address, which is returned with it.
pub(crate) fn proxied(exclusive: bool, targets: Vec<TargetEntry>) -> (SocketAddr, RouteEntry) {
    let listen = free_address();
    let proxy =
        ProxyEntry { connect_timeout_ms: 5_000, max_connections: 100, drain_ms: 600_000, ..ProxyEntry::new(listen) };
    let route = RouteEntry {
        name: "orders".into(),
        exclusive,
        cut_after_silence_ms: None,
        proxy: Some(proxy),
        dns: None,
        beacon: false,
        targets,
    };
    (listen, route)
}

pub(crate) fn table(epoch: u64, routes: &[&RouteEntry]) -> RoutingTable {
    let routes = routes.iter().map(|it| (*it).clone()).collect();
    RoutingTable { epoch, routes, ..RoutingTable::empty("here") }
}

/// The route with some targets in other states.
pub(crate) fn with_states(route: &RouteEntry, states: &[TargetState]) -> RouteEntry {
    let mut route = route.clone();
    for (target, state) in route.targets.iter_mut().zip(states) {
        target.state = *state;
    }
    route
}

/// A real HAProxy.
pub(crate) struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Haproxy {
    /// `None` where it isn't installed.
    pub(crate) fn start(dir: &Path, configuration: &str) -> Option<Haproxy> {
        let path = dir.join("haproxy.cfg");
        std::fs::write(&path, configuration).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        Some(Haproxy(command.spawn().ok()?))
    }
}
