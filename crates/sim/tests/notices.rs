//! What people are told survives everything: a kill between any two records, channels that fail or hang, another plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use mainstay_engine::Body;
use mainstay_plan::Plan;
use mainstay_plan::routing::TargetState;
use mainstay_sim::checkers::replays;
use mainstay_sim::world::{Carrier, Fault};
use mainstay_sim::{Crash, CrashKind, Server, World};

const DATABASE: &str = include_str!("plans/database.yaml");

const PEOPLE: &str = "
notifications:
  on-call: { send: { webhook: { url: \"https://alerts.example.com/hook\" } } }
  log-book: { send: { command: { run: [log-book] } } }
";

fn plan(text: &str) -> Plan {
    mainstay_plan::config::compile("plan.yaml", text, Path::new("/")).plan.expect("a valid plan")
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn serving(world: &World) -> Option<&str> {
    let targets = &world.table.routes.first()?.targets;
    targets.iter().find(|it| it.state == TargetState::Serving).map(|it| it.instance.as_str())
}

/// A takeover of a database, and the agent is killed on the way, if a crash is given.
fn takeover(crash: Option<Crash>, carriers: &[(&str, Carrier)]) -> World {
    let mut world = World::new(plan(&format!("{DATABASE}{PEOPLE}")));
    world.run_for(millis(3000));
    for (channel, carrier) in carriers {
        world.fault(Duration::ZERO, Fault::Channel((*channel).to_owned(), *carrier));
    }
    if let Some(crash) = crash {
        world.crash_at(crash);
    }
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Dead));
    world
}

/// The last record before anything fails, and the last of all.
fn records() -> (u64, u64) {
    let mut world = takeover(None, &[]);
    let before = world.journal().len() as u64;
    world.run_for(millis(8000));
    assert_eq!(serving(&world), Some("orders-db-b"));
    (before, world.journal().len() as u64)
}

/// What every recorded message and channel amounts to: it arrived, and whatever arrived twice had the same name and words.
fn nothing_is_lost(world: &World, what: &str) {
    let mut wanted: BTreeSet<(String, u64, u32)> = BTreeSet::new();
    for (_, record) in world.journal() {
        if let Body::NoticeSent { notice, nth, to, .. } = &record.body {
            wanted.extend(to.iter().map(|it| (it.clone(), notice.0, *nth)));
        }
    }
    let mut arrived = BTreeSet::new();
    let mut by_key: BTreeMap<(String, String), (u64, u32, String)> = BTreeMap::new();
    for it in &world.arrived {
        arrived.insert((it.channel.clone(), it.notice.0, it.nth));
        let message = (it.notice.0, it.nth, it.text.clone());
        let before = by_key.insert((it.channel.clone(), it.key.clone()), message.clone());
        assert!(before.is_none_or(|it| it == message), "{what}: two messages are called {}", it.key);
    }
    assert_eq!(by_key.len(), arrived.len(), "{what}: one message has two names");
    let missing: Vec<_> = wanted.difference(&arrived).collect();
    assert!(missing.is_empty(), "{what}: never arrived: {missing:?}");
    for channel in ["on-call", "log-book"] {
        let heard = |words: &str| world.arrived.iter().any(|it| it.channel == channel && it.text.contains(words));
        assert!(heard("detected"), "{what}: {channel} never heard of the failure");
        assert!(heard("`orders-db-b` serves") || heard("waits"), "{what}: {channel} never heard how it went on");
    }
    replays(world.stored(), &world.plan);
}

#[test]
fn a_kill_between_any_two_records_loses_no_notice() {
    let (before, last) = records();
    let mut killed = 0;
    for seq in before + 1..=last {
        for kind in [CrashKind::AfterRecord, CrashKind::BeforeSync] {
            let mut world = takeover(Some(Crash { seq, kind, down_for: millis(700) }), &[]);
            world.run_for(millis(60_000));
            killed += world.crashes();
            nothing_is_lost(&world, &format!("{kind:?} {seq}"));
        }
    }
    assert!(killed > 20, "{killed} kills struck");
}

#[test]
fn what_was_not_known_to_have_arrived_arrives_again_under_its_name() {
    let (before, last) = records();
    let mut twice = 0;
    for seq in before + 1..=last {
        let mut world = takeover(Some(Crash { seq, kind: CrashKind::BeforeSync, down_for: millis(700) }), &[]);
        world.run_for(millis(60_000));
        let mut seen = BTreeSet::new();
        twice += world.arrived.iter().filter(|it| !seen.insert((it.channel.clone(), it.key.clone()))).count();
    }
    assert!(twice > 0, "no kill came between the arrival of a message and its record");
}

#[test]
fn a_dead_channel_delays_nobody_and_gets_everything_in_the_end() {
    for carrier in [Carrier::Fails, Carrier::Hangs] {
        let mut world = takeover(None, &[("on-call", carrier)]);
        world.run_for(millis(8000));
        let heard = |world: &World, channel: &str| world.arrived.iter().filter(|it| it.channel == channel).count();
        assert_eq!((heard(&world, "on-call"), heard(&world, "log-book")), (0, 2), "{carrier:?}");
        assert_eq!(serving(&world), Some("orders-db-b"));
        world.run_for(Duration::from_secs(3600));
        let tries = world.journal().iter().filter(|it| matches!(it.1.body, Body::NoticeResent { .. })).count();
        assert!((5..30).contains(&tries), "{carrier:?}: {tries} tries in an hour");
        world.fault(Duration::ZERO, Fault::Channel("on-call".to_owned(), Carrier::Works));
        world.run_for(Duration::from_secs(700));
        nothing_is_lost(&world, &format!("{carrier:?}"));
    }
}

#[test]
fn a_plan_without_channels_records_nothing_more() {
    let mut world = World::new(plan(DATABASE));
    world.run_for(millis(3000));
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Dead));
    world.run_for(millis(8000));
    let told =
        world.journal().iter().filter(|it| matches!(it.1.body, Body::NoticeSent { .. } | Body::Told { .. })).count();
    assert_eq!((told, world.arrived.len()), (0, 0));
    assert!(world.told.iter().any(|it| it.text.contains("detected")), "the log has it");
}
