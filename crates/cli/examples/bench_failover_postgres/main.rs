//! From the failure of a PostgreSQL primary to the first write that a client has acknowledged again, and how many acknowledged writes are
//! gone: Mainstay beside Patroni with etcd and HAProxy, each with a primary and one or two standbys.
//!
//! `cargo xtask bench failover_postgres [-- ROUNDS [CASE,CASE,… [Mainstay|Patroni]]]`
//!
//! Each machine is a network namespace: three that may have a server, one that stands before them, and one with a client. Everything lives in
//! namespaces of this bench alone and is gone with it. It needs root, and Debian's packages postgresql-15, etcd-server, haproxy and
//! iproute2; Patroni is installed beside the other tools of the benches.
//!
//! At equal tolerance: neither fails over when the network, the server or whoever decides is away for two seconds. That is six questions in a row for
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
use rigs::{Rig, Shape};
use rustix::process::Signal;
use writer::{Told, Writer};

/// Whatever takes longer is not ready, or does not fail over.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long all has to be well before something fails.
const WELL: Duration = Duration::from_secs(5);

/// How long a client goes on after it was served again: an old primary that still takes writes would show.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// Whoever has not failed over by then does not.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(45);

/// How long what is taken back lasts.
const LAGS: Duration = Duration::from_secs(2);

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// So many clients write at once, each on a connection of its own.
const WRITERS: usize = 2;

/// What happens to the primary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// All processes of the server get SIGKILL.
    Killed,
    /// All processes of the server get SIGSTOP.
    Stopped,
    /// Its machine's cable is pulled.
    Cut,
    /// It hears everything, and nothing that it says arrives.
    Silenced,
    /// Its disk is full.
    Full,
    /// What keeps it on its machine is killed, and it goes on.
    KeeperKilled,
    /// Everything on its machine gets SIGKILL, and the cable is pulled.
    Dead,
    /// The same, when the second machine's cable has been out for two seconds; that is put in again.
    DeadWhileOneLags,
    /// Its machine's cable is pulled for two seconds: nobody is to fail over.
    Blip,
    /// All processes of the server are stopped for two seconds, as by a disk that stalls in a checkpoint: nobody is to fail over.
    Stall,
    /// Whoever decides is stopped for two seconds: nobody is to fail over.
    Paused,
}

const USUAL: Shape = Shape { standbys: 1, synchronous: false, has_small_disk: false };

const CASES: [(&str, Failure, Shape); 14] = [
    ("killed", Failure::Killed, USUAL),
    ("stopped", Failure::Stopped, USUAL),
    ("cut", Failure::Cut, USUAL),
    ("one-way", Failure::Silenced, USUAL),
    ("full", Failure::Full, Shape { has_small_disk: true, ..USUAL }),
    ("keeper", Failure::KeeperKilled, USUAL),
    ("dead", Failure::Dead, USUAL),
    ("lagging", Failure::DeadWhileOneLags, USUAL),
    ("two", Failure::DeadWhileOneLags, Shape { standbys: 2, ..USUAL }),
    ("sync", Failure::Killed, Shape { standbys: 2, synchronous: true, ..USUAL }),
    ("sync-dead", Failure::DeadWhileOneLags, Shape { standbys: 2, synchronous: true, ..USUAL }),
    ("blip", Failure::Blip, USUAL),
    ("stall", Failure::Stall, USUAL),
    ("paused", Failure::Paused, USUAL),
];

impl Failure {
    /// Who may serve afterwards.
    fn successors(self) -> &'static [Machine] {
        match self {
            Failure::Blip | Failure::Stall | Failure::Paused => &[Machine::First],
            Failure::KeeperKilled => &[Machine::First, Machine::Second, Machine::Third],
            Failure::Killed
            | Failure::Stopped
            | Failure::Cut
            | Failure::Silenced
            | Failure::Full
            | Failure::Dead
            | Failure::DeadWhileOneLags => &[Machine::Second, Machine::Third],
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["writer", at, number, step] => {
            let parse = |it: &str| it.parse().expect("a number");
            writer::write(at.parse().expect("an address"), parse(number), parse(step))
        }
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
    for (name, failure, shape) in CASES {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        let mut all = [(); Rig::ALL.len()].map(|()| Vec::new());
        for round in 0..rounds {
            for (rig, taken) in
                Rig::ALL.into_iter().zip(&mut all).filter(|it| wanted_rig.is_none_or(|w| it.0.name() == w))
            {
                let phase = Duration::from_secs(1).mul_f64((f64::from(round) + 0.5) / f64::from(rounds));
                taken.push(trial(&machines, rig, failure, shape, phase));
            }
        }
        for (rig, mut taken) in Rig::ALL.into_iter().zip(all).filter(|it| !it.1.is_empty()) {
            taken.sort_by(|a, b| a.outage.total_cmp(&b.outage));
            let seconds = |it: &Met| match it.outage.is_finite() {
                true => format!("{:.2}", it.outage),
                false => "never".to_owned(),
            };
            let (least, median, most) = (&taken[0], &taken[taken.len() / 2], &taken[taken.len() - 1]);
            let lost = taken.iter().map(|it| it.lost).max().unwrap_or(0);
            let two = taken.iter().filter(|it| it.two_writers).count();
            println!(
                "{name:<9} {:<9} {:>7} {:>7} {:>7} {lost:>10} {two:>9} of {rounds}",
                rig.name(),
                seconds(median),
                seconds(least),
                seconds(most)
            );
        }
    }
}

/// What clients met.
struct Met {
    /// Seconds; infinite if no write was acknowledged any more.
    outage: f64,
    lost: usize,
    /// Whether one server acknowledged a write after another had.
    two_writers: bool,
}

fn trial(machines: &Machines, rig: Rig, failure: Failure, shape: Shape, phase: Duration) -> Met {
    let standing = rig.start(machines, shape);
    let writers: Vec<Writer> = (0..WRITERS).map(|it| Writer::start(rig.address(), it, WRITERS)).collect();
    let wait_until = |what: &str, is_so: &mut dyn FnMut() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "{}: waited too long {what}: {}", rig.name(), standing.log());
            sleep(LOOK_AGAIN);
        }
    };
    let all_served = || writers.iter().all(|it| it.is_served_by(Machine::First));
    wait_until("to be ready", &mut || standing.is_ready() && all_served());
    sleep(WELL + phase);

    if failure == Failure::DeadWhileOneLags {
        machines.cut(Machine::Second);
        sleep(LAGS);
    }
    let failed = writer::now_ns();
    match failure {
        Failure::Killed => standing.first().kill(),
        Failure::Stopped => standing.first().stop(),
        Failure::Cut => machines.cut(Machine::First),
        Failure::Silenced => machines.silence(Machine::First),
        Failure::Full => standing.first().fill_disk(),
        Failure::KeeperKilled => standing.kill_first_keeper(),
        Failure::Dead | Failure::DeadWhileOneLags => {
            machines.cut(Machine::First);
            standing.kill_first_machine();
            machines.heal(Machine::Second);
        }
        Failure::Blip => {
            machines.cut(Machine::First);
            sleep(LAGS);
            machines.heal(Machine::First);
        }
        Failure::Stall => {
            standing.first().stop();
            sleep(LAGS);
            standing.first().go_on();
        }
        Failure::Paused => {
            standing.signal_decider(Signal::STOP);
            sleep(LAGS);
            standing.signal_decider(Signal::CONT);
        }
    }
    if failure == Failure::KeeperKilled {
        // Whoever takes that for a failure of the server does it within this.
        sleep(GIVEN_UP_AFTER);
    }
    let begun = Instant::now();
    let served = || writers.iter().all(|it| it.is_served_after(failed, failure.successors()));
    while !served() && begun.elapsed() < GIVEN_UP_AFTER {
        sleep(LOOK_AGAIN);
    }
    if failure == Failure::Cut {
        machines.heal(Machine::First);
    }
    if failure == Failure::Silenced {
        machines.unsilence(Machine::First);
    }
    sleep(AFTERWARDS);
    let ended = writer::now_ns();
    let told: Vec<Vec<Told>> = writers.iter().map(Writer::told).collect();
    let last = told.iter().flatten().max_by_key(|it| it.at_ns).expect("somebody was served");
    let there = standing.written(last.by);
    drop((writers, standing));
    machines.heal(Machine::First);
    Met {
        outage: told.iter().map(|it| longest_gap(it, failed, ended)).fold(0.0, f64::max),
        lost: told.iter().flatten().filter(|it| there.binary_search(&it.number).is_err()).count(),
        two_writers: overlap(&told),
    }
}

/// Between two acknowledged writes of one client, the second one after the failure; infinite if there was none any more at the end.
fn longest_gap(told: &[Told], failed: i64, ended: i64) -> f64 {
    let gap = |from: i64, to: i64| (to - from) as f64 / 1e9;
    let after = told.windows(2).filter(|it| it[1].at_ns > failed);
    let longest = after.map(|it| gap(it[0].at_ns, it[1].at_ns)).fold(0.0, f64::max);
    let last = told.last().map_or(failed, |it| it.at_ns);
    if gap(last, ended) > AFTERWARDS.as_secs_f64() { f64::INFINITY } else { longest }
}

/// Whether a server acknowledged a write after another one that followed it had.
fn overlap(told: &[Vec<Told>]) -> bool {
    let mut all: Vec<&Told> = told.iter().flatten().collect();
    all.sort_by_key(|it| it.at_ns);
    let mut order: Vec<Machine> = all.iter().map(|it| it.by).collect();
    order.dedup();
    // Each serves once, in turn.
    (1..order.len()).any(|nth| order[..nth].contains(&order[nth]))
}
