//! What the benches of this crate share: a traffic process of our own, peers beside it, and where their time goes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mainstay_plan::routing::{RouteEntry, RoutingTable, TrafficReply, TrafficRequest};
use mainstay_traffic::{Options, run};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const SITE: &str = "bench";
/// Kernel ticks a second, as `/proc` counts them.
const TICKS: f64 = 100.0;
/// Whatever takes longer to start does not start.
const STARTS_WITHIN: Duration = Duration::from_secs(10);
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// What `mainstay traffic` does, on one thread; `args` are those of the program.
pub(crate) fn serve_if_asked(args: &[String]) -> Option<ExitCode> {
    let [word, dir] = args else { return None };
    if word != "traffic" {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let options = Options {
        state_dir: dir.into(),
        site: SITE.into(),
        socket: None,
        take_over: false,
        follows: false,
        successor: None,
    };
    Some(runtime.block_on(run(options)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

/// A program that ends with the bench.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) at: SocketAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // In order first: what is killed leaves its own children behind.
        if let Some(pid) = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0)) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < ENDS_WITHIN {
            sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Started, and waited for until `answers`.
    pub(crate) fn start(
        name: &'static str,
        at: SocketAddr,
        command: &mut Command,
        answers: impl Fn(SocketAddr) -> bool,
    ) -> Server {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let server = Server { name, child, at };
        let begin = Instant::now();
        while !answers(at) {
            assert!(begin.elapsed() < STARTS_WITHIN, "{name} does not answer at {at}");
            sleep(Duration::from_millis(20));
        }
        server
    }

    /// A traffic process with its state below `dir`, that serves this one route.
    pub(crate) fn mainstay(dir: &Path, at: SocketAddr, dns_listen: Option<SocketAddr>, route: RouteEntry) -> Server {
        let state = dir.join("traffic");
        let exe = std::env::current_exe().expect("a program has a path");
        let mut command = pinned("0", &exe.display().to_string());
        let socket = state.join("traffic.sock");
        let server =
            Server::start("mainstay", at, command.arg("traffic").arg(&state), |_| UnixStream::connect(&socket).is_ok());
        let table = RoutingTable { epoch: 1, dns_listen, routes: vec![route], ..RoutingTable::empty(SITE) };
        let line = serde_json::to_string(&TrafficRequest::Apply { table: Box::new(table) }).expect("a table is JSON");
        let mut stream = UnixStream::connect(&socket).expect("the traffic process listens");
        writeln!(stream, "{line}").expect("the traffic process listens");
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).expect("the traffic process answers");
        let reply: TrafficReply = serde_json::from_str(&reply).expect("an answer is JSON");
        assert!(matches!(reply, TrafficReply::Applied { .. }), "the table is refused: {reply:?}");
        server
    }

    /// Seconds of processor time, of all its threads and of the processes that it started.
    pub(crate) fn cpu(&self) -> f64 {
        ticks_of(self.child.id()) / TICKS
    }
}

fn ticks_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below: f64 = children.split_whitespace().filter_map(|it| it.parse().ok()).map(ticks_of).sum();
    ticks(11) + ticks(12) + below
}

/// On a loopback host of its own: connections that go out never take the port.
pub(crate) fn free(host: u8) -> SocketAddr {
    TcpListener::bind((Ipv4Addr::new(127, 0, 77, host), 0))
        .and_then(|it| it.local_addr())
        .expect("loopback has a free port")
}

/// On one processor.
pub(crate) fn pinned(cpu: &str, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpu, program]);
    command
}

/// The middle one.
pub(crate) fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
