//! From the failure of a PostgreSQL primary to the first write that a client has acknowledged again, and how many acknowledged writes are
//! gone: Mainstay beside Patroni with etcd and HAProxy, each with a primary and an asynchronous standby.
//!
//! `cargo xtask bench failover_postgres [-- ROUNDS [FAILURE,FAILURE,… [Mainstay|Patroni]]]`
//!
//! Each machine is a network namespace: two with a server, one that stands before them, and one with a client. Everything lives in
//! namespaces of this bench alone and is gone with it. It needs root, and Debian's packages postgresql-15, etcd-server, haproxy and
//! iproute2; Patroni is installed beside the other tools of the benches.
//!
//! At equal tolerance: neither fails over on a blip of two seconds, of the server or of the network. That is six questions in a row for
//! Mainstay, one each half second, and for Patroni the least that it lets itself be told: a `ttl` of 20 s with a loop each second.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

#[path = "../bench_failover/machines.rs"]
#[expect(dead_code, reason = "two benches share it")]
mod machines;
mod rigs;
mod servers;
mod writer;

use std::net::TcpListener;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use machines::{Machine, Machines};
use rigs::Rig;
use writer::{Told, Writer};

/// Whatever takes longer is not ready, or does not fail over.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long all has to be well before something fails.
const WELL: Duration = Duration::from_secs(5);

/// How long a client goes on after it was served again: an old primary that still takes writes would show.
const AFTERWARDS: Duration = Duration::from_secs(3);

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What happens to the primary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// All processes of the server get SIGKILL.
    Killed,
    /// All processes of the server get SIGSTOP.
    Stopped,
    /// Its machine's cable is pulled.
    Cut,
    /// Everything on its machine gets SIGKILL, and the cable is pulled.
    Dead,
    /// Its machine's cable is pulled for two seconds: nobody is to fail over.
    Blip,
}

impl Failure {
    const ALL: [(Failure, &str); 5] = [
        (Failure::Killed, "killed"),
        (Failure::Stopped, "stopped"),
        (Failure::Cut, "cut"),
        (Failure::Dead, "dead"),
        (Failure::Blip, "blip"),
    ];
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["writer", at] => writer::write(at.parse().expect("an address")),
        ["witness", at] => {
            let listener = TcpListener::bind(at).expect("the address is ours");
            loop {
                let _asked = listener.accept();
            }
        }
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
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    // The shell is the first process there, and buries whoever has lost its parent: else a server that was killed would seem to run.
    command.args(["sh", "-c", "\"$0\" \"$@\"; exit $?"]).arg(own).arg("inside");
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
    let rounds: u32 = args.first().map_or(5, |it| it.parse().expect("a number of rounds"));
    let wanted_rig = args.get(2).copied();
    let wanted: Vec<&str> = args.get(1).map_or_else(Vec::new, |it| it.split(',').collect());
    let machines = Machines::make();
    println!(
        "{rounds} rounds; seconds from the failure to the next acknowledged write, and acknowledged writes that are gone"
    );
    println!(
        "{:<9} {:<9} {:>7} {:>7} {:>7} {:>10} {:>12}",
        "failure", "", "median", "least", "most", "lost most", "two writers"
    );
    for (failure, name) in Failure::ALL {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        let mut all = [(); Rig::ALL.len()].map(|()| Vec::new());
        for round in 0..rounds {
            for (rig, taken) in
                Rig::ALL.into_iter().zip(&mut all).filter(|it| wanted_rig.is_none_or(|w| it.0.name() == w))
            {
                let phase = Duration::from_secs(1).mul_f64((f64::from(round) + 0.5) / f64::from(rounds));
                taken.push(trial(&machines, rig, failure, phase));
            }
        }
        for (rig, mut taken) in Rig::ALL.into_iter().zip(all).filter(|it| !it.1.is_empty()) {
            taken.sort_by(|a, b| a.outage.total_cmp(&b.outage));
            let (least, median, most) = (&taken[0], &taken[taken.len() / 2], &taken[taken.len() - 1]);
            let lost = taken.iter().map(|it| it.lost).max().unwrap_or(0);
            let two = taken.iter().filter(|it| it.two_writers).count();
            println!(
                "{name:<9} {:<9} {:>7.2} {:>7.2} {:>7.2} {lost:>10} {two:>9} of {rounds}",
                rig.name(),
                median.outage,
                least.outage,
                most.outage
            );
        }
    }
}

/// What a client met.
struct Met {
    /// Seconds.
    outage: f64,
    lost: usize,
    /// Whether the old primary acknowledged a write after the new one had.
    two_writers: bool,
}

fn trial(machines: &Machines, rig: Rig, failure: Failure, phase: Duration) -> Met {
    let standing = rig.start(machines);
    let writer = Writer::start(rig.address());
    let wait_until = |what: &str, is_so: &mut dyn FnMut() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "{}: waited too long {what}: {}", rig.name(), standing.log());
            sleep(LOOK_AGAIN);
        }
    };
    wait_until("to be ready", &mut || standing.is_ready() && writer.is_served_by(Machine::First));
    sleep(WELL + phase);

    let failed = writer::now_ns();
    match failure {
        Failure::Killed => standing.first().kill(),
        Failure::Stopped => standing.first().stop(),
        Failure::Cut => machines.cut(Machine::First),
        Failure::Dead => {
            machines.cut(Machine::First);
            standing.kill_first_machine();
        }
        Failure::Blip => {
            machines.cut(Machine::First);
            sleep(Duration::from_secs(2));
            machines.heal(Machine::First);
        }
    }
    let serves = if failure == Failure::Blip { Machine::First } else { Machine::Second };
    wait_until("for the next write", &mut || writer.next_after(failed, serves).is_some());
    if failure == Failure::Cut {
        machines.heal(Machine::First);
    }
    sleep(AFTERWARDS);
    let told = writer.told();
    let there = standing.written(serves);
    drop((writer, standing));
    machines.heal(Machine::First);
    met(&told, &there, failed, serves)
}

fn met(told: &[Told], there: &[i64], failed: i64, serves: Machine) -> Met {
    let last_before = told.iter().filter(|it| it.at_ns <= failed).map(|it| it.at_ns).max().unwrap_or(failed);
    let first_after = told.iter().filter(|it| it.asked_ns > failed && it.by == serves).map(|it| it.at_ns).min();
    let first_after = first_after.expect("it was waited for");
    let by_the_old = |it: &&Told| it.by != serves && it.at_ns > first_after;
    Met {
        outage: (first_after - last_before) as f64 / 1e9,
        lost: told.iter().filter(|it| there.binary_search(&it.number).is_err()).count(),
        two_writers: told.iter().any(|it| by_the_old(&it)),
    }
}
