//! How many simulated recoveries a second run through the real engine with every checker on, on one core and on more, beside
//! a SimPy model of the same system in the same run.
//!
//! `cargo xtask bench sim`, which also installs SimPy; `-- --cycles N --runs N` plays more.
//!
//! The system is `bench_sim.yaml`: an exclusive database with a standby, and a shared application server. In each cycle the
//! database dies, its standby takes over (detected, decided, cut off, promoted, handed over, verified), the old one is repaired,
//! rejoins, and the database goes back to it as planned; then the application server dies and is restarted. All three end with
//! a recovery that is complete, and so count. Each part of a run is a world of its own, that begins with an empty journal; at its
//! end its facts are read back and the journal is replayed, as after each trial.
//!
//! The model in `bench_sim.py` has the same probes, counts, syncs and steps, and comes to the same times, which are printed so that
//! this can be seen; it keeps no journal, decides nothing that is not written into it, and checks nothing.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_engine::replay::replay_read;
use mainstay_engine::{Body, RecoveryId};
use mainstay_plan::{Plan, Time};
use mainstay_sim::Pace;
use mainstay_sim::checkers::{self, Checkers};
use mainstay_sim::world::{Fault, Server, World};

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CYCLE: Duration = Duration::from_secs(9);
/// When the first outage begins, and within a cycle the repair and the second outage.
const FIRST: Duration = Duration::from_millis(3100);
const REPAIRED: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_millis(6500);
/// Cycles that one world plays.
const PLAYED: u32 = 100;

fn main() {
    let plan = Arc::new(plan());
    let (cycles, runs) = (option("--cycles").unwrap_or(2000), option("--runs").unwrap_or(7));
    let worlds = cycles.div_ceil(PLAYED);
    let cores = std::thread::available_parallelism().map_or(1, |it| u32::try_from(it.get()).unwrap_or(u32::MAX));
    let (mut one, mut more, mut simpy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        one.push(engine(&plan, worlds, 1));
        if cores > 1 {
            more.push(engine(&plan, worlds, 2));
        }
        simpy.extend(model(worlds * PLAYED));
    }
    println!("{runs} runs of {} cycles, medians\n", worlds * PLAYED);
    println!("                       recoveries  mean s  recoveries a s of CPU  recoveries a s");
    show("Mainstay, all checkers", &one);
    show("the same, 2 threads", &more);
    show("SimPy, no checkers", &simpy);
    if simpy.is_empty() {
        println!("SimPy is not here: `cargo xtask bench sim` installs it");
    }
    let ratio = |those: &[Run], to: &[Run], of: fn(&Run) -> f64| median(those, of) / median(to, of);
    if !more.is_empty() {
        println!("\n2 threads do {:.2} times as much as one", ratio(&more, &one, Run::by_clock));
    }
    if !simpy.is_empty() {
        println!("one thread does {:.2} times as much as SimPy, by CPU", ratio(&one, &simpy, Run::by_cpu));
    }
}

/// What one run came to.
struct Run {
    /// Recoveries that were completed, planned moves back among them.
    recoveries: f64,
    /// From the failure until it was recovered, in virtual seconds.
    mean: f64,
    /// CPU seconds of all threads.
    cpu: f64,
    /// Seconds by the clock.
    clock: f64,
}

impl Run {
    fn by_cpu(&self) -> f64 {
        self.recoveries / self.cpu
    }

    fn by_clock(&self) -> f64 {
        self.recoveries / self.clock
    }
}

fn median(runs: &[Run], of: fn(&Run) -> f64) -> f64 {
    let mut all: Vec<f64> = runs.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn show(who: &str, runs: &[Run]) {
    let Some(first) = runs.first() else { return };
    println!(
        "{who:<22} {:>10.0}  {:>6.3}  {:>21.0}  {:>14.0}",
        first.recoveries,
        first.mean,
        median(runs, Run::by_cpu),
        median(runs, Run::by_clock)
    );
}

/// What one world came to.
#[derive(Default)]
struct Played {
    recoveries: u64,
    took: Vec<Duration>,
    cpu: Duration,
}

/// So many worlds, one after the other on each thread.
fn engine(plan: &Arc<Plan>, worlds: u32, threads: u32) -> Run {
    let began = Instant::now();
    let play = |nth: u32| {
        let (cpu, mut all) = (cpu_of_this_thread(), Played::default());
        for _ in (nth..worlds).step_by(threads as usize) {
            let played = play(plan);
            all.recoveries += played.recoveries;
            all.took.extend(played.took);
        }
        Played { cpu: cpu_of_this_thread().saturating_sub(cpu), ..all }
    };
    let all: Vec<Played> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|nth| scope.spawn(move || play(nth))).collect();
        threads.into_iter().map(|it| it.join().expect("nothing is violated")).collect()
    });
    let took: Vec<f64> = all.iter().flat_map(|it| &it.took).map(Duration::as_secs_f64).collect();
    Run {
        recoveries: all.iter().map(|it| it.recoveries).sum::<u64>() as f64,
        mean: took.iter().sum::<f64>() / took.len() as f64,
        cpu: all.iter().map(|it| it.cpu.as_secs_f64()).sum(),
        clock: began.elapsed().as_secs_f64(),
    }
}

fn play(plan: &Arc<Plan>) -> Played {
    let mut world = World::of(plan.clone(), Pace::Quick);
    world.run_for(FIRST);
    let begin = world.now;
    let dies = |name: &str| Fault::Server(name.to_owned(), Server::Dead);
    for nth in 0..PLAYED {
        world.fault(CYCLE * nth, dies("orders-db"));
        world.fault(CYCLE * nth + REPAIRED, Fault::Server("orders-db".to_owned(), Server::Up));
        world.fault(CYCLE * nth + SECOND, dies("web"));
    }
    let until = begin + CYCLE * PLAYED;
    while world.step(until) {
        if let Some(engine) = world.engine() {
            Checkers::look(engine, world.clock());
        }
    }
    checkers::keeps_facts(world.written());
    let replayed = replay_read(world.written(), |_, _| Some(plan.clone())).expect("S10: it replays");
    assert!(replayed.misfits.is_empty(), "S10: records came where they can't come");
    let took = took(&world, begin);
    let recoveries = world.checkers.census.recoveries;
    assert_eq!(
        (took.len(), recoveries),
        (2 * PLAYED as usize, 3 * u64::from(PLAYED)),
        "not all that failed was recovered"
    );
    Played { recoveries, took, ..Played::default() }
}

/// From each failure until it was recovered.
fn took(world: &World, begin: Time) -> Vec<Duration> {
    let mut failed: BTreeMap<RecoveryId, Time> = BTreeMap::new();
    let mut took = Vec::new();
    for (seq, record) in world.written() {
        if let Body::FailureDetected { component, .. } = &record.body {
            let cycle = u32::try_from(record.at.since(begin).as_nanos() / CYCLE.as_nanos()).unwrap_or(u32::MAX);
            let offset = if component == "web" { SECOND } else { Duration::ZERO };
            failed.insert(RecoveryId(seq), begin + CYCLE * cycle + offset);
        } else if let Body::RecoveryCompleted { recovery, .. } = &record.body
            && let Some(failed) = failed.remove(recovery)
        {
            took.push(record.at.since(failed));
        }
    }
    took
}

/// The model, if SimPy is here.
fn model(cycles: u32) -> Option<Run> {
    let python = std::env::var("MAINSTAY_SIMPY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bench_sim.py");
    let began = Instant::now();
    let run = Command::new(python).args([script, &cycles.to_string(), &CYCLE.as_secs().to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    let [failures, moves, mean, cpu] = numbers[..] else { return None };
    assert_eq!(failures, f64::from(2 * cycles), "the model did not recover all that failed");
    Some(Run { recoveries: failures + moves, mean, cpu, clock: began.elapsed().as_secs_f64() })
}

/// How long this thread has run, as Linux counts it.
fn cpu_of_this_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0))
}

fn option(name: &str) -> Option<u32> {
    let args: Vec<String> = std::env::args().collect();
    args.iter().position(|it| it == name).and_then(|at| args.get(at + 1)?.parse().ok())
}

fn plan() -> Plan {
    let compiled = mainstay_plan::compile("bench_sim.yaml", include_str!("bench_sim.yaml"), Path::new("/"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}
