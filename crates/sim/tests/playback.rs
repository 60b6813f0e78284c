//! Journals played through the simulator's driver: what was recorded comes about again, record for record, and a record that was
//! changed does not. The journal of the demo, which real processes wrote, is played by `cli/tests/e2e/demo.rs`.

use std::path::Path;
use std::time::Duration;

use mainstay_engine::Body;
use mainstay_engine::codec::{Encoded, decode, encode};
use mainstay_engine::record::{Completion, RecoveryId};
use mainstay_plan::Plan;
use mainstay_sim::playback::{Played, Unplayable, play};
use mainstay_sim::world::Fault;
use mainstay_sim::{Server, World};

const PLANS: [(&str, &str); 2] =
    [(include_str!("plans/database.yaml"), "orders-db"), (include_str!("plans/files.yaml"), "files")];

fn compiled(text: &str) -> Plan {
    let compiled = mainstay_plan::config::compile("plan.yaml", text, Path::new("/"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

/// What became of the agent after a second, or two, or three.
const AGENT: [Option<Fault>; 3] =
    [None, Some(Fault::AgentKilled(Duration::from_millis(700))), Some(Fault::AgentStops(Duration::from_millis(1200)))];

/// The journal of an agent that saw `name` fail, and to which something happened itself so long after that.
fn journal(text: &str, name: &str, how: Server, agent: Option<(Duration, Fault)>) -> Vec<(u64, Encoded)> {
    let mut world = World::new(compiled(text));
    world.run_for(Duration::from_secs(5));
    world.fault(Duration::ZERO, Fault::Server(name.to_owned(), how));
    if let Some((after, fault)) = agent {
        world.fault(after, fault);
    }
    world.run_for(Duration::from_secs(40));
    world.stored()
}

fn played(journal: Vec<(u64, Encoded)>) -> Result<Played, Unplayable> {
    play(journal, |text, _| Some(compiled(text)))
}

fn completes(journal: &[(u64, Encoded)]) -> bool {
    let by_rung = |it: &Body| matches!(it, Body::RecoveryCompleted { how: Completion::ByRung { .. }, .. });
    journal.iter().any(|it| by_rung(&decode(&it.1).expect("it was written here").body))
}

#[test]
fn what_was_recorded_comes_about_again() {
    let mut late = 0;
    for (text, name) in PLANS {
        for how in [Server::Dead, Server::Hung] {
            for (fault, after) in AGENT.into_iter().flat_map(|it| [1, 2, 3].map(|after| (it.clone(), after))) {
                let what = format!("{name} {how:?} {fault:?} {after}");
                let journal = journal(text, name, how, fault.clone().map(|it| (Duration::from_secs(after), it)));
                assert!(completes(&journal), "{what}");
                late += journal.iter().filter(|it| it.1.kind == "own_lateness").count();
                let records = journal.len() as u64;
                let played = played(journal).unwrap_or_else(|it| panic!("{what}: {it}"));
                assert_eq!(played.records, records);
                assert_eq!(played.starts, 1 + u64::from(matches!(fault, Some(Fault::AgentKilled(_)))));
                assert!(played.decisions > 5 && played.orders > 0 && played.tables > 0, "{played:?}");
            }
        }
    }
    assert!(late > 0, "no agent noticed that it was late");
}

#[test]
fn a_decision_that_was_changed_is_noticed() {
    let (text, name) = PLANS[0];
    let journal = journal(text, name, Server::Dead, None);
    let decisions = journal.iter().filter(|it| !decode(&it.1).expect("it was written here").body.is_fact()).count();
    let mut noticed = 0;
    for nth in 0..journal.len() {
        let mut changed = journal.clone();
        let mut record = decode(&changed[nth].1).expect("it was written here");
        if record.body.is_fact() {
            continue;
        }
        record.body = Body::RecoveryFailed { recovery: RecoveryId(1), why: "somebody wrote this".to_owned() };
        changed[nth].1 = encode(&record);
        let seq = changed[nth].0;
        match played(changed) {
            Err(Unplayable::Differs { seq: at, .. }) if at == seq => noticed += 1,
            other => panic!("record {seq} was changed, and {other:?}"),
        }
    }
    assert_eq!(noticed, decisions);
}

#[test]
fn a_decision_that_is_missing_or_too_early_is_noticed() {
    let (text, name) = PLANS[0];
    let journal = journal(text, name, Server::Dead, None);
    let is_completed = |it: &(u64, Encoded)| it.1.kind == "recovery_completed";
    let last = journal.iter().position(is_completed).expect("it is completed");
    let mut early = journal.clone();
    early[last].1.at_ns -= 1;
    assert!(matches!(played(early), Err(Unplayable::Differs { .. })));
    let mut without = journal;
    without.remove(last);
    assert!(matches!(played(without), Err(Unplayable::Differs { .. })));
}
