//! Hosts on machines of their own, and everything that can be done to machines and to the paths between them.
//!
//! Each trial builds four network namespaces and a switch, with a real agent, two real hosts and clients that write to both of
//! their servers all the time; it draws a schedule of faults from its seed, plays it, mends everything, and asks: did two servers
//! ever acknowledge orders at the same time, was the failure recovered, could each wait be explained?
//!
//! `MAINSTAY_TELL=1` prints the journal and the last of each log after a trial.
//! `MAINSTAY_SEEDS=0..300 MAINSTAY_LABS=8 cargo test -p mainstay-cli --test lab` plays more, eight at a time. It needs root; without it
//! nothing is played, and that is said.

mod judge;
mod network;
mod schedule;
mod servers;
mod site;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use network::{Machine, Network, Trouble};
use schedule::{Dice, Schedule};
use site::{Fenced, RECOVERS_WITHIN, Site};

/// What is played where nobody asks for more.
const SEEDS: Range<u64> = 0..4;

#[test]
fn no_schedule_of_faults_gives_two_owners_or_none_for_long() {
    if !Network::is_possible() {
        eprintln!("NOT PLAYED: network namespaces need root");
        return;
    }
    if site::faketime().is_none() {
        eprintln!("NOT PLAYED: clocks are not moved without libfaketime (package faketime)");
    }
    let seeds = seeds_of("MAINSTAY_SEEDS", SEEDS);
    let labs = std::env::var("MAINSTAY_LABS").ok().and_then(|it| it.parse().ok()).unwrap_or(2);
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..labs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let told = trial(seed);
                    eprintln!("seed {seed}: {told}");
                }
            });
        }
    });
}

/// The judge can find it: without the lease, an owner that the agent alone can't reach goes on beside the new one.
#[test]
fn without_a_fence_two_owners_are_found() {
    if !Network::is_possible() {
        eprintln!("NOT PLAYED: network namespaces need root");
        return;
    }
    let mut site = Site::build_unfenced();
    for (from, to) in [(Machine::Agent, Machine::A), (Machine::A, Machine::Agent)] {
        site.network.trouble(from, to, Trouble::Cut);
    }
    site.until("the standby takes over", |site| site.moves() == 1);
    site.until("two are found", |site| judge::one_at_a_time(&site.acknowledged(), site.moves()).is_err());
}

#[test]
fn when_the_agents_machine_is_lost_another_goes_on_from_a_copy() {
    if !Network::is_possible() {
        eprintln!("NOT PLAYED: network namespaces need root");
        return;
    }
    let mut site = Site::build();
    site.says(&["pause", "orders", "--for", "1h", "--reason", "the last word before it was lost"]);
    let lost = Instant::now();
    site.take_over();
    site.until("the other agent serves", |site| site.status().is_some());
    let said = site.journal().iter().any(|it| it.to_string().contains("the last word before it was lost"));
    assert!(said, "what was acknowledged is missing: {}", site.tells());
    site.says(&["resume", "orders"]);
    site.until("all is well with it", |site| site.is_whole() && site.holds_lease(0));
    assert!(lost.elapsed() < Duration::from_secs(60), "{:?}", lost.elapsed());
    eprintln!("taken over within {:.1} s", lost.elapsed().as_secs_f64());
    site.kill_instance(0);
    site.until("it recovers what fails", |site| site.moves() == 1);
    site.until("all is well again", Site::is_whole);
    judge::one_at_a_time(&site.acknowledged(), 1).expect("one at a time");
}

#[test]
fn without_its_agent_the_owner_stays_while_the_other_agrees_and_no_longer() {
    if !Network::is_possible() {
        eprintln!("NOT PLAYED: network namespaces need root");
        return;
    }
    let mut site = Site::build_fenced(Fenced::ByLeaseOrWord);
    site.hold_back(Machine::Agent, true);
    site.network.signal(Machine::Agent, Signal::KILL);
    // Three leases, and what ends them.
    for _ in 0..100 {
        site.pass(Duration::from_millis(100));
        assert!(site.acts(0) && site.holds_lease(0), "{}", site.stands());
    }
    let before = site.acknowledged().len();
    site.pass(Duration::from_secs(1));
    assert!(site.acknowledged().len() > before, "clients are served");
    // The other one does not hear it any more.
    for (from, to) in [(Machine::A, Machine::B), (Machine::B, Machine::A)] {
        site.network.trouble(from, to, Trouble::Cut);
    }
    let cut = Instant::now();
    while site.acts(0) {
        assert!(cut.elapsed() < Duration::from_secs(10), "it stays alone: {}", site.stands());
        site.pass(Duration::from_millis(20));
    }
    eprintln!("ended {:.1} s after the last word", cut.elapsed().as_secs_f64());
    site.network.heal();
    site.hold_back(Machine::Agent, false);
    site.until("all is well again", Site::is_whole);
    judge::one_at_a_time(&site.acknowledged(), site.moves()).expect("one at a time");
}

/// The agent reaches the other one alone, which therefore does not agree, and takes over.
#[test]
fn who_hears_the_agent_takes_over_from_whoever_does_not() {
    if !Network::is_possible() {
        eprintln!("NOT PLAYED: network namespaces need root");
        return;
    }
    let mut site = Site::build_fenced(Fenced::ByLeaseOrWord);
    for (from, to) in [(Machine::Agent, Machine::A), (Machine::A, Machine::Agent)] {
        site.network.trouble(from, to, Trouble::Cut);
    }
    site.until("the other one takes over", |site| site.moves() == 1);
    site.pass(Duration::from_secs(2));
    judge::one_at_a_time(&site.acknowledged(), 1).expect("one at a time");
    site.network.heal();
    site.until("all is well again", Site::is_whole);
    judge::one_at_a_time(&site.acknowledged(), 1).expect("one at a time");
}

fn trial(seed: u64) -> String {
    // A third of them may stay what they are without their agent.
    let alone = seed % 3 == 1;
    let mut site = Site::build_fenced(if alone { Fenced::ByLeaseOrWord } else { Fenced::ByLease });
    let mut dice = Dice::new(seed);
    let schedule = if alone { Schedule::drawn_alone(&mut dice) } else { Schedule::drawn(&mut dice) };
    eprintln!("seed {seed}: {:?}", schedule.faults);
    let mut unexplained = Vec::new();
    schedule.play(&mut site, &mut |site| unexplained.extend(site.unexplained()));
    let healed = Instant::now();
    let failed = |what: &str, site: &Site| -> ! { panic!("seed {seed}: {what}\n{schedule:#?}\n{}", site.stands()) };
    let before = site.acknowledged().len();
    while site.acknowledged().len() == before {
        if healed.elapsed() > RECOVERS_WITHIN {
            failed("nobody acknowledges orders although nothing is wrong any more", &site);
        }
        site.pass(Duration::from_millis(100));
    }
    let recovered = healed.elapsed();
    while !site.is_whole() {
        if healed.elapsed() > RECOVERS_WITHIN * 2 {
            failed("it did not become whole again", &site);
        }
        site.pass(Duration::from_millis(300));
        unexplained.extend(site.unexplained());
    }
    if let Some(wait) = unexplained.first() {
        failed(&format!("a wait is not explained: {wait}"), &site);
    }
    if std::env::var_os("MAINSTAY_TELL").is_some() {
        eprintln!("{}", site.tells());
    }
    match judge::one_at_a_time(&site.acknowledged(), site.moves()) {
        Ok(changes) => {
            format!("{changes} changes of owner, served again {:.1} s after the last fault", recovered.as_secs_f64())
        }
        Err(what) => failed(&what, &site),
    }
}

fn seeds_of(variable: &str, default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var(variable) else { return default };
    let (from, to) = text.split_once("..").expect("FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}
