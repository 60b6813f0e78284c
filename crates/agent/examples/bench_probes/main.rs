//! The agent's probes beside HAProxy's health checks and the Prometheus blackbox exporter: processor time a thousand probes,
//! how late they come, and memory, in turn and in one run, at the same rate.
//!
//! `cargo xtask bench probes [-- ROUNDS SECONDS TARGETS INTERVAL_S]`
//!
//! Each has processor 0; the targets, and the loop that drives the exporter, have processor 1. Debian's packages haproxy and
//! prometheus-blackbox-exporter must be there.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

mod exporter;
mod probers;
mod targets;

use std::fs;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use probers::{Kind, Prober};
use targets::Targets;

/// Until the probers have found their pace.
const SETTLES: Duration = Duration::from_secs(2);

/// What was measured of one prober in one round.
struct Measured {
    a_second: f64,
    cpu_ms_each_thousand: f64,
    late_ms: Option<[f64; 2]>,
    memory_mb: f64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["agent", plan, state] => return probers::agent(plan, state),
        ["pinned", rest @ ..] => {
            let number = |at: usize, default: usize| rest.get(at).and_then(|it| it.parse().ok()).unwrap_or(default);
            let interval = Duration::from_secs(number(3, 1) as u64);
            measure(number(0, 5), Duration::from_secs(number(1, 3) as u64), number(2, 10_000), interval);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let exe = std::env::current_exe().expect("a program has a path");
    let status = Command::new("taskset").args(["-c", "1"]).arg(exe).arg("pinned").args(&args).status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("taskset does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize, lasts: Duration, count: usize, interval: Duration) {
    probers::raise_limits();
    let dir = TempDir::new().expect("a temporary folder can be made");
    let targets = Targets::serve(count);
    println!(
        "{rounds} rounds of {} s each, {count} targets each {} s, one processor each; medians",
        lasts.as_secs(),
        interval.as_secs()
    );
    println!(
        "{:<6} {:<10} {:>9} {:>17} {:>12} {:>12} {:>10}",
        "probe", "prober", "a second", "CPU ms each 1000", "late p50 ms", "late p99 ms", "memory MB"
    );
    for kind in [Kind::Tcp, Kind::Http] {
        let mut all: Vec<Vec<Measured>> = Vec::new();
        for _ in 0..rounds {
            for (at, name) in Prober::NAMES.into_iter().enumerate() {
                let measured = one(&dir, name, kind, &targets, lasts, interval);
                if all.len() == at {
                    all.push(Vec::new());
                }
                all[at].push(measured);
            }
        }
        for (name, all) in Prober::NAMES.into_iter().zip(&all) {
            let of = |what: &dyn Fn(&Measured) -> f64| median(all.iter().map(what).collect());
            let late = |at: usize| match all.iter().all(|it| it.late_ms.is_some()) {
                true => format!("{:.1}", of(&|it| it.late_ms.map_or(0.0, |it| it[at]))),
                false => "-".to_owned(),
            };
            println!(
                "{:<6} {name:<10} {:>9.0} {:>17.1} {:>12} {:>12} {:>10.1}",
                kind.word(),
                of(&|it| it.a_second),
                of(&|it| it.cpu_ms_each_thousand),
                late(0),
                late(1),
                of(&|it| it.memory_mb),
            );
        }
    }
}

fn one(
    dir: &TempDir,
    name: &'static str,
    kind: Kind,
    targets: &Targets,
    lasts: Duration,
    interval: Duration,
) -> Measured {
    let home = TempDir::new_in(dir.path()).expect("a temporary folder can be made");
    let mut prober = Prober::start(name, home.path(), kind, targets, interval);
    prober.wait_until_ready(targets, interval);
    sleep(SETTLES + interval);
    targets.forget(interval);
    let (cpu, asked, opens, begin) = (prober.cpu(), prober.asked(), opened(), Instant::now());
    sleep(lasts.max(interval));
    let took = begin.elapsed().as_secs_f64();
    if let Some(why) = prober.ended() {
        panic!("{why}");
    }
    let cpu = prober.cpu() - cpu;
    let late_us = targets.seen();
    let probes = match (prober.asked(), asked) {
        (Some(after), Some(before)) => after - before,
        _ => opened() - opens,
    };
    let ms = |at: usize| f64::from(late_us[late_us.len() * at / 100]) / 1e3;
    Measured {
        a_second: probes / took,
        cpu_ms_each_thousand: cpu * 1e6 / probes.max(1.0),
        // A target hears nothing of whoever only connects and then resets the connection.
        late_ms: if kind == Kind::Tcp { prober.late_ms() } else { (!late_us.is_empty()).then(|| [ms(50), ms(99)]) },
        memory_mb: prober.memory_mb(),
    }
}

/// How many connections were opened on this machine since it started: what a prober that does not count has asked, where nobody
/// else does much.
fn opened() -> f64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut lines = text.lines().filter_map(|it| it.strip_prefix("Tcp: ")).map(|it| it.split(' '));
    let (names, values) = (lines.next(), lines.next());
    let found = names.into_iter().flatten().zip(values.into_iter().flatten()).find(|it| it.0 == "ActiveOpens");
    found.and_then(|it| it.1.parse().ok()).expect("the kernel counts connections")
}

/// The middle one.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
