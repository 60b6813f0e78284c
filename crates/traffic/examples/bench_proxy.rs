//! The proxy beside HAProxy and nginx: requests a second, latency, CPU a request, connections a second and bulk bytes, each
//! with one thread, in turn and in one run.
//!
//! `cargo xtask bench proxy [-- ROUNDS SECONDS]`
//!
//! The origin is an nginx of its own, the load is `wrk`; both run on the processor that the proxy does not. Debian's packages
//! haproxy, nginx-light, libnginx-mod-stream and wrk must be there.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod peers;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;

use mainstay_plan::routing::{ProxyEntry, RouteEntry, TargetEntry, TargetState};
use tempfile::TempDir;

use peers::{Server, free, median, pinned, serve_if_asked};

/// Clients at a time.
const CLIENTS: u32 = 50;
/// Of the file that stands for bulk.
const BULK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ended) = serve_if_asked(&args) {
        return ended;
    }
    let number = |at: usize, default: u64| args.get(at).and_then(|it| it.parse().ok()).unwrap_or(default);
    measure(number(0, 5), number(1, 4));
    ExitCode::SUCCESS
}

fn nginx(dir: &Path, name: &'static str, at: SocketAddr, cpu: &str, body: &str) -> Server {
    let home = dir.join(name);
    fs::create_dir_all(&home).expect("a temporary folder can be written");
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off; master_process off; worker_processes 1; \
         pid {0}/pid; error_log {0}/error.log;\nevents {{ worker_connections 4096; }}\n{body}",
        home.display()
    );
    let file = home.join("nginx.conf");
    fs::write(&file, config).expect("a temporary folder can be written");
    Server::start(name, at, pinned(cpu, "nginx").arg("-c").arg(&file).arg("-p").arg(&home), listens)
}

fn origin(dir: &Path) -> Server {
    let at = free(1);
    fs::write(dir.join("bulk"), vec![7; BULK_BYTES]).expect("a temporary folder can be written");
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp: String = paths.iter().map(|it| format!("{it}_temp_path {}/{it}; ", dir.display())).collect();
    let body = format!(
        "http {{ access_log off; sendfile on; keepalive_requests 100000000; {temp}\n server {{ listen {at} backlog=4096; \
         root {}; location = / {{ return 200 \"{}\"; }} }} }}",
        dir.display(),
        "x".repeat(256),
    );
    nginx(dir, "origin", at, "1", &body)
}

fn peers(dir: &Path, origin: SocketAddr) -> Vec<Server> {
    let (own, haproxy, stream) = (free(2), free(3), free(4));
    let own = Server::mainstay(dir, own, None, route(own, origin));
    let file = dir.join("haproxy.cfg");
    let config = format!(
        "global\n nbthread 1\n maxconn 8192\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server \
         60s\nlisten l\n bind {haproxy}\n server o {origin}\n"
    );
    fs::write(&file, config).expect("a temporary folder can be written");
    let haproxy = Server::start("HAProxy", haproxy, pinned("0", "haproxy").arg("-db").arg("-f").arg(&file), listens);
    let body = format!("stream {{ server {{ listen {stream} backlog=4096; proxy_pass {origin}; }} }}");
    vec![own, haproxy, nginx(dir, "nginx-stream", stream, "0", &body)]
}

fn listens(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_ok()
}

fn route(listen: SocketAddr, origin: SocketAddr) -> RouteEntry {
    let proxy = ProxyEntry { idle_timeout_ms: Some(60_000), max_connections: 8192, ..ProxyEntry::new(listen) };
    let target = TargetEntry {
        instance: "origin".into(),
        address: origin,
        unix: None,
        weight: 1,
        agent_check: None,
        state: TargetState::Serving,
    };
    RouteEntry {
        name: "bench".into(),
        exclusive: true,
        cut_after_silence_ms: None,
        proxy: Some(proxy),
        dns: None,
        beacon: false,
        targets: vec![target],
    }
}

/// What one run of the load gave.
#[derive(Clone, Default)]
struct Load {
    requests: f64,
    a_second: f64,
    bytes_a_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    errors: f64,
    cpu: f64,
}

const REPORT: &str = "done = function(s, l, r) io.write(string.format(\"\\nBENCH %d %d %d %d %d %d %d\\n\", s.requests, \
                      s.duration, s.bytes, l:percentile(50), l:percentile(99), l:percentile(99.9), s.errors.connect + \
                      s.errors.read + s.errors.write + s.errors.timeout + s.errors.status)) end";

fn load(dir: &Path, server: &Server, path: &str, clients: u32, seconds: u64, close: bool) -> Load {
    let script = dir.join("report.lua");
    fs::write(&script, REPORT).expect("a temporary folder can be written");
    let before = server.cpu();
    let mut command = pinned("1", "wrk");
    command.args(["-t1", "--timeout", "10s"]).arg(format!("-c{clients}")).arg(format!("-d{seconds}s"));
    if close {
        command.args(["-H", "Connection: close"]);
    }
    let out = command.arg("-s").arg(&script).arg(format!("http://{}{path}", server.at)).output().expect("wrk runs");
    let cpu = server.cpu() - before;
    let text = String::from_utf8_lossy(&out.stdout);
    let line = text.lines().find_map(|it| it.strip_prefix("BENCH ")).unwrap_or_else(|| panic!("wrk says {text}"));
    let numbers: Vec<f64> = line.split(' ').filter_map(|it| it.parse().ok()).collect();
    let [requests, micros, bytes, p50_us, p99_us, p999_us, errors] = numbers[..] else { panic!("wrk says {line}") };
    let took = micros / 1e6;
    Load { requests, a_second: requests / took, bytes_a_second: bytes / took, p50_us, p99_us, p999_us, errors, cpu }
}

fn measure(rounds: u64, seconds: u64) {
    let dir = TempDir::new().expect("a temporary folder can be made");
    let origin = origin(dir.path());
    let peers = peers(dir.path(), origin.at);
    let kinds: [(&str, &str, u32, bool); 3] =
        [("requests", "/", CLIENTS, false), ("connections", "/", CLIENTS, true), ("bulk", "/bulk", 4, false)];
    println!("{rounds} rounds of {seconds} s each, {CLIENTS} clients (bulk: 4), one thread each; medians");
    println!(
        "{:<12} {:<13} {:>10} {:>9} {:>9} {:>9} {:>9} {:>11} {:>7}",
        "load", "proxy", "a second", "MB/s", "p50 us", "p99 us", "p99.9 us", "CPU us each", "errors"
    );
    for (kind, path, clients, close) in kinds {
        let mut all: Vec<Vec<Load>> = vec![Vec::new(); peers.len()];
        for _ in 0..rounds {
            for (peer, runs) in peers.iter().zip(&mut all) {
                runs.push(load(dir.path(), peer, path, clients, seconds, close));
            }
        }
        for (peer, runs) in peers.iter().zip(&all) {
            let of = |what: fn(&Load) -> f64| median(runs.iter().map(what).collect());
            println!(
                "{kind:<12} {:<13} {:>10.0} {:>9.1} {:>9.0} {:>9.0} {:>9.0} {:>11.1} {:>7.0}",
                peer.name,
                of(|it| it.a_second),
                of(|it| it.bytes_a_second / 1e6),
                of(|it| it.p50_us),
                of(|it| it.p99_us),
                of(|it| it.p999_us),
                of(|it| it.cpu * 1e6 / it.requests.max(1.0)),
                runs.iter().map(|it| it.errors).sum::<f64>(),
            );
        }
    }
}
