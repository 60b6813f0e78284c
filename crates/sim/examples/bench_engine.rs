//! How many observations a second the engine folds and decides, on one core, how long one failure among them takes, and how
//! long the loss of a whole zone takes until the last route has moved.
//!
//! `cargo run --release -p mainstay-sim --example bench_engine`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_engine::{Engine, Input};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::{Answer, Concerns, Observation};
use mainstay_plan::probe::Watches;
use mainstay_plan::{Plan, ProbeIx, Time};

/// Turns of the loop, each with as many observations as probes were due.
const TURNS: u32 = 20;

fn main() {
    println!("components  observations/s  µs a failure, decided  MiB resident");
    for components in [1_000, 10_000] {
        let plan = Arc::new(plan(components));
        let mut now = Time::from_millis(1_000);
        let mut driver = Driver::new(Engine::new(plan.clone(), "/", "bench", [], now));
        let mut seq = 0;
        // Everything healthy first.
        let mut due = turn(&mut driver, now, Vec::new(), &mut seq);
        let mut observations = 0u64;
        let mut spent = Duration::ZERO;
        for _ in 0..TURNS {
            let inputs = answers(&due, now, None);
            observations += inputs.len() as u64;
            let begin = Instant::now();
            let mut next = turn(&mut driver, now, inputs, &mut seq);
            now = now + Duration::from_millis(1000);
            next.extend(turn(&mut driver, now, Vec::new(), &mut seq));
            spent += begin.elapsed();
            due = next;
        }
        // One instance refuses, three times in a row.
        let failing = plan.instances[0].probes[0];
        let mut decided = Duration::ZERO;
        for _ in 0..3 {
            let inputs = answers(&due, now, Some(failing));
            let begin = Instant::now();
            let mut next = turn(&mut driver, now, inputs, &mut seq);
            decided = begin.elapsed();
            now = now + Duration::from_millis(1000);
            next.extend(turn(&mut driver, now, Vec::new(), &mut seq));
            due = next;
        }
        let rate = observations as f64 / spent.as_secs_f64();
        println!("{components:>10}  {rate:>14.0}  {:>21.0}  {:>12.0}", decided.as_secs_f64() * 1e6, resident_mib());
        assert!(driver.engine().state().open_recoveries().count() == 1, "the failure was not recognised");
    }
    println!("\ncomponents  ms a lost zone, moved  µs each   moved  incidents  MiB resident");
    let most = std::env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(100_000);
    for components in [1_000, 10_000, 100_000].into_iter().filter(|it| *it <= most) {
        lose_a_zone(components);
    }
}

/// The loss of a zone in which all components live: until all are known to be lost, decided, cut off and handed over.
fn lose_a_zone(components: usize) {
    let plan = Arc::new(two_zones(components));
    let mut now = Time::from_millis(1_000);
    let mut driver = Driver::new(Engine::new(plan.clone(), "/", "bench", [], now));
    let mut seq = 0;
    let greeting = Input::TrafficServes { process: LOCAL_PROCESS.to_owned(), epoch: 0, targets: Vec::new() };
    let mut due = play(&mut driver, now, vec![greeting], &mut seq).0;
    let lost = |probe: &ProbeIx| match plan.probe(*probe).watches {
        Watches::Instance(instance) => plan.instance(instance).location.zone.as_deref() == Some("z1"),
        Watches::Witness(_) | Watches::Route(_) | Watches::Control(_) => false,
    };
    let mut decided = Duration::ZERO;
    for round in 0..5 {
        let inputs = answers_where(&due, now, |it| round > 1 && lost(it));
        let begin = Instant::now();
        let (mut next, _) = play(&mut driver, now, inputs, &mut seq);
        decided = decided.max(begin.elapsed());
        now = now + Duration::from_millis(1000);
        next.extend(play(&mut driver, now, Vec::new(), &mut seq).0);
        due = next;
    }
    let state = driver.engine().state();
    let moved = plan.components.iter().zip(&state.components).filter(|(it, is)| is.bound != it.original()).count();
    println!(
        "{components:>10}  {:>20.0}  {:>6.1}  {moved:>6}  {:>9}  {:>12.0}",
        decided.as_secs_f64() * 1e3,
        decided.as_secs_f64() * 1e6 / components as f64,
        state.incidents.len(),
        resident_mib()
    );
    assert_eq!(moved, components, "not everything has moved");
}

/// Turns until nothing follows: records are durable, tables applied, and actions done at once.
fn play(driver: &mut Driver, now: Time, inputs: Vec<Input>, seq: &mut u64) -> (Vec<ProbeIx>, u64) {
    let (mut due, mut inputs, mut tables) = (Vec::new(), inputs, 0);
    loop {
        let turn = driver.turn(now, std::mem::take(&mut inputs));
        for todo in turn.todo {
            match todo {
                Todo::Probe(probe, _) => due.push(probe),
                Todo::Act(order) => inputs.push(Input::Outcome { step: order.step, outcome: Outcome::Done }),
                Todo::Route(table) => {
                    tables += 1;
                    inputs.push(Input::RouteApplied { process: LOCAL_PROCESS.to_owned(), epoch: table.epoch });
                }
                Todo::Cancel(_)
                | Todo::Notify(_)
                | Todo::AskLease
                | Todo::Grant(_)
                | Todo::HearTraffic(_)
                | Todo::Log(_) => {}
            }
        }
        if !turn.append.is_empty() {
            *seq += turn.append.len() as u64;
            inputs.push(Input::Recorded(*seq));
        }
        if inputs.is_empty() {
            return (due, tables);
        }
    }
}

/// One turn; every record is durable at once. Gives the probes that are due.
fn turn(driver: &mut Driver, now: Time, inputs: Vec<Input>, seq: &mut u64) -> Vec<ProbeIx> {
    let mut due = Vec::new();
    let mut inputs = inputs;
    loop {
        let turn = driver.turn(now, std::mem::take(&mut inputs));
        due.extend(turn.todo.into_iter().filter_map(|it| match it {
            Todo::Probe(probe, _) => Some(probe),
            Todo::Act(_)
            | Todo::Cancel(_)
            | Todo::Route(_)
            | Todo::Log(_)
            | Todo::AskLease
            | Todo::Grant(_)
            | Todo::HearTraffic(_)
            | Todo::Notify(_) => None,
        }));
        if turn.append.is_empty() {
            return due;
        }
        *seq += turn.append.len() as u64;
        inputs.push(Input::Recorded(*seq));
    }
}

fn answers(due: &[ProbeIx], now: Time, refuses: Option<ProbeIx>) -> Vec<Input> {
    let answer = |probe: &ProbeIx| {
        let answer = if Some(*probe) == refuses { Answer::Refused("refused".to_owned()) } else { Answer::Good };
        Input::Observation(Observation {
            probe: *probe,
            started: now,
            ended: now,
            answer,
            lag: None,
            role: None,
            concerns: Concerns::NONE,
            position: None,
        })
    };
    due.iter().map(answer).collect()
}

fn answers_where(due: &[ProbeIx], now: Time, fails: impl Fn(&ProbeIx) -> bool) -> Vec<Input> {
    let answer = |probe: &ProbeIx| {
        let answer = if fails(probe) { Answer::Refused("refused".to_owned()) } else { Answer::Good };
        Input::Observation(Observation {
            probe: *probe,
            started: now,
            ended: now,
            answer,
            lag: None,
            role: None,
            concerns: Concerns::NONE,
            position: None,
        })
    };
    due.iter().map(answer).collect()
}

fn two_zones(components: usize) -> Plan {
    let mut text = String::from(
        "version: 2\nsite: { name: bench, region: r, zone: z }\nstate: s\nevacuations:\n  all: { of: { region: r, zone: z1 }, \
         at_once: 100000, capacity: [{ region: r, zone: z2, units: 1000000 }] }\ncomponents:\n",
    );
    let (mut standbys, mut routes) = (String::from("standbys:\n"), String::from("routes:\n"));
    for n in 0..components {
        let (a, b, c) = (n / 62_500, n / 250 % 250, n % 250 + 1);
        let _ = write!(
            text,
            "  c{n:06}:\n    type: application_server\n    location: {{ region: r, zone: z1, host: h{n} }}\n    probes:\n      \
             - http: {{ url: \"http://10.{a}.{b}.{c}/\" }}\n    recovery:\n      - failover_to_standby: {{ standby: s{n:06} }}\n"
        );
        let _ = write!(
            standbys,
            "  s{n:06}:\n    location: {{ region: r, zone: z2 }}\n    probes:\n      - http: {{ url: \"http://10.{}.{b}.{c}/\" }}\n",
            a + 10
        );
        let _ = write!(
            routes,
            "  r{n:06}:\n    exclusive: {{ fence: traffic_cut }}\n    proxy: {{ listen: \"10.{}.{b}.{c}:80\" }}\n    targets:\n      \
             - {{ component: c{n:06}, address: \"10.{a}.{b}.{c}:80\" }}\n      - {{ standby: s{n:06}, address: \"10.{}.{b}.{c}:80\" }}\n",
            a + 20,
            a + 10
        );
    }
    text.push_str(&standbys);
    text.push_str(&routes);
    let compiled = mainstay_plan::compile("bench.yaml", &text, Path::new("/"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings.first()))
}

fn plan(components: usize) -> Plan {
    let mut text = String::from("version: 2\nsite: { name: bench, region: r, zone: z }\nstate: s\ncomponents:\n");
    for n in 0..components {
        let (a, b) = (n / 250, n % 250 + 1);
        let _ = write!(
            text,
            "  c{n:05}:\n    type: application_server\n    location: {{ region: r, zone: z1 }}\n    \
             service: {{ unit: c{n:05}.service }}\n    probes:\n      - http: {{ url: \"http://10.0.{a}.{b}/\" }}\n    \
             recovery:\n      - restart_service: {{}}\n"
        );
    }
    mainstay_plan::compile("bench.yaml", &text, Path::new("/")).plan.expect("a valid plan")
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}
