//! How many observations a second the engine folds and decides, on one core, and how long one failure among them takes.
//!
//! `cargo run --release -p mainstay-sim --example bench_engine`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::{Engine, Input};
use mainstay_plan::observation::{Answer, Observation};
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
}

/// One turn; every record is durable at once. Gives the probes that are due.
fn turn(driver: &mut Driver, now: Time, inputs: Vec<Input>, seq: &mut u64) -> Vec<ProbeIx> {
    let mut due = Vec::new();
    let mut inputs = inputs;
    loop {
        let turn = driver.turn(now, std::mem::take(&mut inputs));
        due.extend(turn.todo.into_iter().filter_map(|it| match it {
            Todo::Probe(probe) => Some(probe),
            Todo::Act(_) | Todo::Cancel(_) | Todo::Route(_) | Todo::Log(_) | Todo::Notify(_) => None,
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
        Input::Observation(Observation { probe: *probe, started: now, ended: now, answer, lag: None })
    };
    due.iter().map(answer).collect()
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
