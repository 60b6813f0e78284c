//! From a failure to the first good answer that a client gets: Mainstay's proxy with the whole chain behind it (probe, engine,
//! journal, fence, route) beside HAProxy with a `backup` server and beside keepalived, at equal intervals.
//!
//! `cargo xtask bench failover [-- ROUNDS [MS,MS,…]]`
//!
//! Each machine is a network namespace: two origins, one that stands before them, and one with clients. Everything lives in
//! namespaces of this bench alone and is gone with it. It needs root, and Debian's packages haproxy, keepalived, iproute2 and
//! curl.
//!
//! The same for all: `fall 3`, a probe's time limit of half the interval, and in doubt a question every half interval where
//! there is such a thing (Mainstay and HAProxy). A client comes every five milliseconds and waits for nobody.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod clients;
#[expect(dead_code, reason = "two benches share it")]
mod machines;
mod peers;

use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use clients::{Client, Origin, now_ns};
use machines::{Machine, Machines};
use peers::{Pace, Peer};

/// Whatever takes longer is not ready, or does not fail over.
const PATIENCE: Duration = Duration::from_secs(40);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What happens to the first origin.
#[derive(Clone, Copy)]
enum Failure {
    Killed,
    Stopped,
    Cut,
}

const FAILURES: [(Failure, &str); 3] =
    [(Failure::Killed, "SIGKILL"), (Failure::Stopped, "SIGSTOP"), (Failure::Cut, "network cut")];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["origin", name] => clients::serve(name),
        ["client", at] => clients::ask(at.parse().expect("an address")),
        ["inside", ref own @ ..] => {
            measure(own);
            ExitCode::SUCCESS
        }
        _ => in_namespaces(&words),
    }
}

/// Runs this program again where nothing that it makes is seen outside, or outlives it.
fn in_namespaces(args: &[&str]) -> ExitCode {
    let own = std::env::current_exe().expect("a program has a path");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]).arg(own).arg("inside");
    match command.args(args).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("it did not come to its end; network, mount and process namespaces need root");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("unshare can't be started: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &[&str]) {
    let rounds = args.first().map_or(5, |it| it.parse().expect("a number of rounds"));
    let intervals = args.get(1).unwrap_or(&"1000,100").split(',').map(|it| it.parse().expect("milliseconds"));
    let machines = Machines::make();
    println!("{rounds} rounds; milliseconds from the failure to the first good answer of the other origin");
    println!("{:<9} {:<12} {:<19} {:>8} {:>8} {:>8}", "interval", "failure", "", "median", "least", "most");
    for interval in intervals.map(Duration::from_millis) {
        for (failure, name) in FAILURES {
            let mut all = [(); Peer::ALL.len()].map(|()| Vec::new());
            for round in 0..rounds {
                for (peer, taken) in Peer::ALL.into_iter().zip(&mut all) {
                    // The failures of all rounds together fall evenly between two probes.
                    let phase = interval.mul_f64((f64::from(round) + 0.5) / f64::from(rounds));
                    taken.push(trial(&machines, peer, Pace::of(interval), failure, phase));
                }
            }
            for (peer, mut taken) in Peer::ALL.into_iter().zip(all) {
                taken.sort_by(f64::total_cmp);
                let (least, most) = (taken[0], taken[taken.len() - 1]);
                let median = taken[taken.len() / 2];
                let interval = format!("{} ms", interval.as_millis());
                println!("{interval:<9} {name:<12} {:<19} {median:>8.0} {least:>8.0} {most:>8.0}", peer.name());
            }
        }
    }
}

/// How many milliseconds clients went without a good answer.
fn trial(machines: &Machines, peer: Peer, pace: Pace, failure: Failure, phase: Duration) -> f64 {
    let origins = [Origin::start(Machine::First), Origin::start(Machine::Second)];
    let running = peer.start(machines, pace);
    let mut client = Client::start(peer.address());
    let ready = Instant::now();
    while !(running.is_ready() && client.is_served_by(Machine::First)) {
        assert!(ready.elapsed() < PATIENCE, "{} is not ready: {}", peer.name(), running.log());
        sleep(LOOK_AGAIN);
    }
    // Until the first probes are behind everybody.
    sleep(pace.interval * 4 + Duration::from_secs(1) + phase);

    let failed = now_ns();
    match failure {
        Failure::Killed => origins[0].signal(Signal::KILL),
        Failure::Stopped => origins[0].signal(Signal::STOP),
        Failure::Cut => machines.cut(Machine::First),
    }
    let waited = Instant::now();
    let answered = loop {
        if let Some(at) = client.first_answer_of(Machine::Second, failed) {
            break at;
        }
        assert!(waited.elapsed() < PATIENCE, "{} does not fail over: {}", peer.name(), running.log());
        sleep(LOOK_AGAIN);
    };
    drop((client, running, origins));
    machines.heal(Machine::First);
    (answered - failed) as f64 / 1e6
}
