//! Databases that say where they are in their log, under everything that can go wrong: what a takeover loses is no more than was said
//! before, and of two standbys the surer one takes over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mainstay_engine::Body;
use mainstay_plan::Plan;
use mainstay_sim::dice::Dice;
use mainstay_sim::trial::{Stage, Trial};

const SEEDS: u64 = 400;

fn ledger() -> Plan {
    let compiled = mainstay_plan::compile("ledger.yaml", include_str!("plans/ledger.yaml"), Path::new("/"));
    compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.findings))
}

#[test]
fn no_takeover_loses_more_than_was_said() {
    let stage = Arc::new(Stage::of("ledger", ledger()));
    let mut takeovers: BTreeMap<String, u32> = BTreeMap::new();
    let mut lossy = 0;
    for seed in 0..SEEDS {
        let trial = Trial::on(seed, stage.clone(), &mut Dice::named(seed, "ledger"));
        let run = trial.run();
        if run.violation.is_some() {
            panic!("seed {seed}: {}", trial.told(true).1);
        }
        for (_, record) in run.world.journal() {
            if let Body::RungStarted { to, .. } = &record.body {
                *takeovers.entry(to.clone()).or_default() += 1;
            }
            lossy += usize::from(matches!(record.body, Body::PositionFrozen { loss_ns: Some(1..), .. }));
        }
    }
    eprintln!("{takeovers:?}, {lossy} times something would be lost");
    assert!(takeovers["ledger-db-b"] > 20 && takeovers["ledger-db-c"] > 20, "{takeovers:?}");
    assert!(lossy > 20, "{lossy}");
}
