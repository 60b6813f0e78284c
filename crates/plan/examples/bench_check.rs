//! How long `mainstay check` takes, by its parts, and how much memory, on plans of 1,000 to 100,000 components.
//!
//! `cargo run --release -p mainstay-plan --example bench_check`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_types, reason = "a benchmark reads a clock and starts a process for each size")]
#![expect(clippy::disallowed_methods, reason = "a benchmark is told its size by its arguments")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use mainstay_plan::{Proof, compile};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// Components along one chain of dependencies.
const CHAIN: usize = 8;

fn main() -> ExitCode {
    if let Some(size) = std::env::args().nth(1).and_then(|it| it.parse().ok()) {
        measure(size);
        return ExitCode::SUCCESS;
    }
    println!("components  YAML MiB  parse+link ms  lint ms  proof ms  text ms  JSON ms  peak MiB: plan  proof  text");
    let own = std::env::current_exe().expect("a program has a path");
    for size in SIZES {
        let child = Command::new(&own).arg(size.to_string()).status().expect("a bench can start itself");
        if !child.success() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// One size, in a process of its own: its peak is this size's.
fn measure(components: usize) {
    let text = plan(components);
    // A file with an error is not linted.
    let broken = format!("{text}nonsense: true\n");
    let begin = Instant::now();
    assert!(compile("bench.yaml", &broken, Path::new("/")).plan.is_none(), "nonsense was accepted");
    let linked = begin.elapsed();
    drop(broken);
    let begin = Instant::now();
    let compiled = compile("bench.yaml", &text, Path::new("/"));
    let lint = begin.elapsed().saturating_sub(linked);
    let Some(plan) = compiled.plan else {
        println!("{components:>10}  the plan is refused: {}", compiled.findings[0].message);
        return;
    };
    let with_plan = peak_mib();
    let begin = Instant::now();
    let proof = Proof::of(&plan);
    let proof_time = begin.elapsed();
    let with_proof = peak_mib();
    let begin = Instant::now();
    let said = proof.text().len();
    assert!(said > components, "a proof says something");
    let text_time = begin.elapsed();
    let peak = peak_mib();
    let begin = Instant::now();
    let json = serde_json::to_writer(std::io::sink(), &proof);
    let json_time = begin.elapsed();
    assert!(json.is_ok(), "a proof is data");
    let ms = |it: std::time::Duration| it.as_secs_f64() * 1e3;
    println!(
        "{components:>10}  {:>8.1}  {:>13.0}  {:>7.0}  {:>8.0}  {:>7.0}  {:>7.0}  {with_plan:>14.0}  {with_proof:>5.0}  {peak:>4.0}",
        text.len() as f64 / 1_048_576.0,
        ms(linked),
        ms(lint),
        ms(proof_time),
        ms(text_time),
        ms(json_time),
    );
}

/// Databases with a standby behind a proxy, and chains of application servers that depend on them, over three zones.
fn plan(components: usize) -> String {
    let mut text = String::from(
        "version: 2\nsite: { name: bench, region: r, zone: ops }\nstate: s\nwitnesses:\n  gateway: { location: { region: r, \
         zone: ops }, probe: { tcp: { address: \"10.255.0.1:443\" } } }\ncomponents:\n",
    );
    let (mut standbys, mut routes) = (String::new(), String::new());
    for n in 0..components {
        let (zone, ip) = (n / CHAIN % 3, format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256));
        let _ = writeln!(
            text,
            "  c{n:06}:\n    type: {}\n    location: {{ region: r, zone: z{zone}, host: h{n} }}\n    objectives: {{ rto: 1m }}\n    \
             service: {{ start: [up], stop: [down], status: [is-up] }}\n    probes:\n      - tcp: {{ address: \"{ip}:80\" }}",
            if n % CHAIN == 0 { "database" } else { "application_server" },
        );
        if n % CHAIN > 0 {
            let _ = writeln!(text, "    depends_on: [c{:06}]", n - 1);
        }
        text.push_str("    recovery:\n      - restart_service: {}\n");
        if n % 2 == 0 {
            let _ = writeln!(text, "      - failover_to_standby: {{ standby: s{n:06} }}");
            let _ = writeln!(
                standbys,
                "  s{n:06}:\n    location: {{ region: r, zone: z{}, host: s{n} }}\n    probes:\n      - tcp: {{ address: \
                 \"{ip}:81\" }}",
                (zone + 1) % 3
            );
            let _ = writeln!(
                routes,
                "  r{n:06}:\n    exclusive: {{ fence: traffic_cut }}\n    proxy: {{ listen: \"127.{}.{}.{}:5000\" }}\n    \
                 targets:\n      - {{ component: c{n:06}, address: \"{ip}:80\" }}\n      - {{ standby: s{n:06}, address: \
                 \"{ip}:81\" }}",
                n / 65_536,
                n / 256 % 256,
                n % 256,
            );
        }
    }
    format!("{text}standbys:\n{standbys}routes:\n{routes}")
}

/// The most memory that this process ever had.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}
