//! Who probes: the agent, HAProxy and the exporter, each as a process on processor 0.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mainstay_agent::{Agent, Options};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::exporter::Driver;
use crate::targets::Targets;

/// Kernel ticks a second, as `/proc` counts them.
const TICKS: f64 = 100.0;
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Http,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Tcp => "tcp",
            Kind::Http => "http",
        }
    }
}

/// A process that probes; it ends with this value.
pub(crate) struct Prober {
    name: &'static str,
    child: Child,
    socket: PathBuf,
    driver: Option<Driver>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.driver = None;
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

/// What `mainstay run` does.
pub(crate) fn agent(plan: &str, state: &str) -> ExitCode {
    let options = Options {
        plan_file: plan.into(),
        state_dir: Some(state.into()),
        program: "/bin/false".into(),
        version: "bench".into(),
    };
    let runtime = mainstay_agent::runtime().expect("a runtime starts");
    runtime.block_on(async { Agent::start(options).expect("the agent starts").run().await });
    ExitCode::SUCCESS
}

/// As many descriptors as the system allows, for us and whom we start.
pub(crate) fn raise_limits() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

impl Prober {
    pub(crate) const NAMES: [&'static str; 3] = ["mainstay", "HAProxy", "exporter"];

    pub(crate) fn start(name: &'static str, home: &Path, kind: Kind, targets: &Targets, interval: Duration) -> Prober {
        let socket = home.join("state/agent.sock");
        let (command, driven) = match name {
            "mainstay" => (mainstay(home, kind, targets, interval), None),
            "HAProxy" => (haproxy(home, kind, targets, interval), None),
            _ => {
                let at = free();
                (exporter(home, at), Some(at))
            }
        };
        let mut command = command;
        let log = fs::File::create(home.join("log")).expect("a temporary folder can be written");
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let driver = driven.map(|at| {
            wait(|| TcpStream::connect(at).is_ok(), name, home);
            let module = if kind == Kind::Tcp { "tcp_connect" } else { "http_2xx" };
            let target = |nth: usize| match kind {
                Kind::Tcp => targets.address(nth, kind).to_string(),
                Kind::Http => format!("http://{}/health", targets.address(nth, kind)),
            };
            Driver::start(at, module, (0..targets.count).map(target).collect(), interval)
        });
        Prober { name, child, socket, driver }
    }

    /// Waits until it probes.
    pub(crate) fn wait_until_ready(&self, targets: &Targets, interval: Duration) {
        let home = self.socket.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        match self.name {
            "mainstay" => wait(|| self.asked().is_some_and(|it| it > targets.count as f64), self.name, home),
            "HAProxy" => {
                wait(|| UnixStream::connect(home.join("served")).is_ok(), self.name, home);
                sleep(interval + Duration::from_secs(1));
            }
            _ => wait(|| self.asked().is_some_and(|it| it > 0.0), self.name, home),
        }
    }

    /// How late it asks in milliseconds by what it says itself: the median and the 99th percentile.
    pub(crate) fn late_ms(&self) -> Option<[f64; 2]> {
        let told = if self.name == "mainstay" { probing(&self.socket)? } else { return None };
        let ms = |name: &str| Some(told.get(name)?.as_f64()? / 1e6);
        Some([ms("late_p50_ns")?, ms("late_p99_ns")?])
    }

    /// How many probes it has made, if it says so.
    pub(crate) fn asked(&self) -> Option<f64> {
        match (&self.driver, self.name) {
            (Some(driver), _) => Some(driver.answered() as f64),
            (None, "mainstay") => probing(&self.socket)?.get("asked")?.as_f64(),
            (None, _) => None,
        }
    }

    /// What it said, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let log = self.socket.ancestors().nth(2).and_then(|it| fs::read_to_string(it.join("log")).ok());
        Some(format!("{} has ended, {status}: {}", self.name, log.unwrap_or_default()))
    }

    /// Seconds of processor time.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / TICKS
    }

    /// The most memory that it has had.
    pub(crate) fn memory_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        peak.and_then(|it| it.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

fn probing(socket: &Path) -> Option<serde_json::Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET /v1/probing HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
}

fn wait(is_ready: impl Fn() -> bool, name: &str, home: &Path) {
    let begin = Instant::now();
    while !is_ready() {
        let log = || fs::read_to_string(home.join("log")).unwrap_or_default();
        assert!(begin.elapsed() < STARTS_WITHIN, "{name} does not start: {}", log());
        sleep(Duration::from_millis(50));
    }
}

fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program]);
    command
}

/// On a loopback host of its own.
fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::new(127, 0, 77, 9), 0))
        .and_then(|it| it.local_addr())
        .expect("loopback has a free port")
}

fn write(home: &Path, name: &str, text: &str) -> PathBuf {
    let file = home.join(name);
    fs::write(&file, text).expect("a temporary folder can be written");
    file
}

fn mainstay(home: &Path, kind: Kind, targets: &Targets, interval: Duration) -> Command {
    let mut text = "version: 2\nsite: { name: bench, region: here }\nmode: observe\ncomponents:\n".to_owned();
    let s = interval.as_secs();
    let each = if targets.count > 10_000 { 10 } else { 1 };
    for nth in 0..targets.count {
        let at = targets.address(nth, kind);
        if nth % each == 0 {
            let _infallible =
                writeln!(text, "  c{nth}:\n    type: cache\n    location: {{ region: here }}\n    probes:");
        }
        let asked = match kind {
            Kind::Tcp => format!("tcp: {{ address: \"{at}\""),
            Kind::Http => format!("http: {{ url: \"http://{at}/health\""),
        };
        let _infallible = writeln!(text, "      - {asked}, interval: {s}s }}");
    }
    let exe = std::env::current_exe().expect("a program has a path");
    let mut command = pinned(&exe.display().to_string());
    command.arg("agent").arg(write(home, "plan.yaml", &text)).arg(home.join("state"));
    command
}

fn haproxy(home: &Path, kind: Kind, targets: &Targets, interval: Duration) -> Command {
    let mut text = "global\n  nbthread 1\n  maxconn 100\n  no strict-limits\ndefaults\n  timeout connect 500ms\n  timeout client 5s\n  timeout server \
                    5s\n  timeout check 500ms\n"
        .to_owned();
    text.push_str(match kind {
        Kind::Tcp => "  mode tcp\n",
        Kind::Http => "  mode http\n  option httpchk GET /health\n  http-check expect status 200-299\n",
    });
    // It does not start with nothing to serve.
    let _infallible = writeln!(text, "frontend served\n  bind unix@{}\n", home.join("served").display());
    for nth in 0..targets.count {
        // It compares the names of a backend's servers each with each.
        if nth % 1000 == 0 {
            let s = interval.as_secs();
            let _infallible = writeln!(text, "backend probed{nth}\n  default-server inter {s}s fall 3 rise 2");
        }
        let _infallible = writeln!(text, "  server s{nth} {} check", targets.address(nth, kind));
    }
    let mut command = pinned("haproxy");
    command.arg("-db").arg("-f").arg(write(home, "haproxy.cfg", &text));
    command
}

fn exporter(home: &Path, at: SocketAddr) -> Command {
    let text = "modules:\n  tcp_connect:\n    prober: tcp\n    timeout: 500ms\n  http_2xx:\n    prober: http\n    timeout: 500ms\n";
    let mut command = pinned("prometheus-blackbox-exporter");
    command.arg(format!("--config.file={}", write(home, "exporter.yaml", text).display()));
    command.arg(format!("--web.listen-address={at}")).arg("--log.level=error");
    command
}
