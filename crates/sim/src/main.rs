//! Explores trials: `cargo xtask sim` runs this. It decides nothing about them; it hands out seeds, adds up, and tells.

#![expect(clippy::print_stdout, reason = "a command line tool answers on standard output")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mainstay_sim::hosted::Hosted;
use mainstay_sim::several::Several;
use mainstay_sim::trial::{Coverage, EXCUSED, Trial, Violation, shrink, tell};

/// So many violations are told at most; the rest is counted.
const TOLD: usize = 5;

struct Asked {
    from: u64,
    seeds: u64,
    jobs: u64,
    /// One seed, to be told in full.
    seed: Option<u64>,
    shrinks: bool,
    /// Whether everything has to be reached.
    covers: bool,
    counts: bool,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { from: 0, seeds: 1000, jobs: 1, seed: None, shrinks: true, covers: true, counts: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("{arg} needs a number, not `{text}`"))
        };
        match arg.as_str() {
            "--seeds" => asked.seeds = number()?,
            "--from" => asked.from = number()?,
            "--jobs" => asked.jobs = number()?.max(1),
            "--seed" => asked.seed = Some(number()?),
            "--whole" => asked.shrinks = false,
            "--no-coverage" => asked.covers = false,
            "--counts" => asked.counts = true,
            other => {
                return Err(format!(
                    "there is no option {other}; there are --seeds, --from, --jobs, --seed, --whole, --no-coverage and --counts"
                ));
            }
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    match asked() {
        Ok(asked) => match asked.seed {
            Some(seed) => one(seed, asked.shrinks),
            None => many(&asked),
        },
        Err(why) => {
            println!("error: {why}");
            ExitCode::from(2)
        }
    }
}

/// Replays one seed, and tells it as small as it gets.
fn one(seed: u64, shrinks: bool) -> ExitCode {
    let (held, story) = Trial::of(seed).told(shrinks);
    print!("{story}");
    let (held_among, story) = Several::of(seed).map_or((true, String::new()), |it| it.told(shrinks));
    if !story.is_empty() {
        print!("\n{story}");
    }
    let hosted = Hosted::of(seed).map(|it| (it.run().violation, it));
    if let Some((violation, hosted)) = &hosted {
        print!("\n{}", violation.as_ref().map_or_else(|| hosted.tell(), |it| hosted.shrink(it).tell()));
        println!("{}", violation.as_ref().map_or("every invariant held", |it| it.text.as_str()));
    }
    if held && held_among && hosted.is_none_or(|it| it.0.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(asked: &Asked) -> ExitCode {
    println!("seeds {}..{} on {} threads", asked.from, asked.from + asked.seeds, asked.jobs);
    let began = Instant::now();
    let next = AtomicU64::new(asked.from);
    let all = Mutex::new((Coverage::default(), Vec::<(u64, Violation)>::new()));
    std::thread::scope(|scope| {
        for _ in 0..asked.jobs {
            scope.spawn(|| {
                let mut mine = Coverage::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= asked.from + asked.seeds {
                        break;
                    }
                    let run = Trial::of(seed).run();
                    mine.add(run.coverage);
                    let among = Several::of(seed).map(|it| it.run());
                    let with_hosts = Hosted::of(seed).map(|it| it.run());
                    let violations = [
                        run.violation,
                        among.and_then(|it| {
                            mine.add(it.coverage);
                            it.violation
                        }),
                        with_hosts.and_then(|it| {
                            mine.add(it.coverage);
                            it.violation
                        }),
                    ];
                    for violation in violations.into_iter().flatten() {
                        println!("seed {seed} violates {}", violation.text.lines().next().unwrap_or_default());
                        all.lock().expect("nobody panics with it").1.push((seed, violation));
                    }
                }
                all.lock().expect("nobody panics with it").0.add(mine);
            });
        }
    });
    let (coverage, mut violations) = all.into_inner().expect("nobody panics with it");
    let took = began.elapsed().as_secs_f64();
    violations.sort_by_key(|it| it.0);
    for (seed, violation) in violations.iter().take(TOLD) {
        println!();
        let trial = Trial::of(*seed);
        if trial.run().violation.as_ref() == Some(violation) {
            let (smaller, _) = shrink(&trial, violation);
            print!("{}", tell(&smaller, &smaller.run()));
        } else if let Some(several) = Several::of(*seed) {
            let smaller = several.shrink(violation);
            print!("{}", smaller.tell(&smaller.run()));
        }
        if let Some(hosted) = Hosted::of(*seed).filter(|it| it.run().violation.as_ref() == Some(violation)) {
            print!("{}", hosted.shrink(violation).tell());
        }
        println!("replay it: cargo xtask sim --seed {seed}");
    }
    println!();
    print!("{}", coverage.summary());
    let (kept, guarded) = coverage.promises;
    println!("promises of the proof watched: {kept} kept, {guarded} held back by a guard");
    println!(
        "{} trials, {} recoveries, {} records, {} hours of virtual time in {took:.1} s: {:.0} recoveries a second",
        coverage.trials,
        coverage.recoveries,
        coverage.records,
        coverage.seconds / 3600,
        f64::from(u32::try_from(coverage.recoveries).unwrap_or(u32::MAX)) / took
    );
    if asked.counts {
        for (what, times) in coverage.all() {
            println!("{times:>10} {what}");
        }
    }
    let lacking = coverage.lacking();
    if asked.covers {
        for what in &lacking {
            println!("never reached: {what}");
        }
        for (what, why) in EXCUSED {
            println!("can't be reached: {what}: {why}");
        }
    }
    let refuted = coverage.wrongly_excused();
    for what in &refuted {
        println!("reached, and it is said that it can't be: {what}");
    }
    println!("{} violations", violations.len());
    let failed = !violations.is_empty() || !refuted.is_empty() || (asked.covers && !lacking.is_empty());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
