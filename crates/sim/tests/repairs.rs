//! Repairs in virtual time: whoever was displaced becomes a healthy standby again, whenever the agent dies meanwhile.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use mainstay_engine::Body;
use mainstay_engine::command::Command;
use mainstay_plan::Plan;
use mainstay_plan::observation::SeenRole;
use mainstay_plan::routing::TargetState;
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Crash, CrashKind, Server, World};

const CUT: &str = include_str!("../../engine/tests/timelines/plans/repaired.yaml");
const STOPPED: &str = include_str!("plans/repaired-stopped.yaml");

fn plan(text: &str) -> Plan {
    let compiled = mainstay_plan::config::compile("plan.yaml", text, Path::new("/"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn serving(world: &World) -> Option<String> {
    let targets = &world.table.routes.first()?.targets;
    targets.iter().find(|it| it.state == TargetState::Serving).map(|it| it.instance.clone())
}

fn failed(text: &str, crash: Option<Crash>, how: Server) -> World {
    let mut world = World::new(plan(text));
    if let Some(crash) = crash {
        world.crash_at(crash);
    }
    world.run_for(millis(3000));
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), how));
    world
}

fn count(world: &World, like: fn(&Body) -> bool) -> usize {
    world.journal().iter().filter(|it| like(&it.1.body)).count()
}

fn is_repaired(world: &World) -> bool {
    let state = world.engine().expect("the agent runs").state();
    let ix = state.instance("orders-db").expect("it is in the plan");
    !state.instances[ix.index()].displaced
}

/// It is a standby, once; what was done twice was done under the same key, or in another repair.
fn ends_once(world: &World, when: &str) {
    assert!(is_repaired(world), "{when}: {:#?}", world.happened);
    assert_eq!(serving(world).as_deref(), Some("orders-db-b"), "{when}");
    assert_eq!(world.roles["orders-db"], SeenRole::Standby, "{when}");
    let (begun, ended) = (
        count(world, |it| matches!(it, Body::RepairStarted { .. })),
        count(world, |it| matches!(it, Body::RepairFailed { .. })),
    );
    let completed = count(world, |it| matches!(it, Body::RepairCompleted { .. }));
    assert_eq!((completed, begun), (1, ended + 1), "{when}");
    let keys: BTreeSet<&str> = world.done.iter().filter(|it| it.1 == "rewind a").map(|it| it.0.as_str()).collect();
    assert!(keys.len() <= begun, "{when}: {begun} repairs rewind under {keys:?}");
    let replayed = replays(world.stored(), &world.plan);
    assert!(replayed.decisions > 0);
}

fn killed_everywhere(text: &str) {
    let mut whole = failed(text, None, Server::Dead);
    whole.run_for(millis(6000));
    ends_once(&whole, "not killed");
    let records = whole.journal();
    let first = records.iter().find(|it| matches!(it.1.body, Body::Bound { .. })).expect("somebody took over").0;
    let last = records.iter().find(|it| matches!(it.1.body, Body::RepairCompleted { .. })).expect("repaired").0;
    let mut crashes = 0;
    for seq in first..=last {
        for kind in [CrashKind::AfterRecord, CrashKind::BeforeSync, CrashKind::BeforeOutcome] {
            let mut world = failed(text, Some(Crash { seq, kind, down_for: millis(700) }), Server::Dead);
            world.run_for(millis(60_000));
            crashes += world.crashes();
            ends_once(&world, &format!("{kind:?} at {seq}"));
        }
    }
    assert!(crashes > 20, "only {crashes} crashes struck");
}

#[test]
fn killed_at_every_record_of_a_repair_of_who_is_cut_off() {
    killed_everywhere(CUT);
}

#[test]
fn killed_at_every_record_of_a_repair_of_who_was_stopped() {
    killed_everywhere(STOPPED);
}

/// A machine that is gone answers no order: it is tried again until it is there.
#[test]
fn a_machine_that_comes_back_late_is_repaired_then() {
    let mut world = failed(CUT, None, Server::Hung);
    world.run_for(millis(90_000));
    assert!(!is_repaired(&world));
    let tries = count(&world, |it| matches!(it, Body::RepairStarted { .. }));
    assert!((2..8).contains(&tries), "{tries} tries in a minute and a half");
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Up));
    world.run_for(millis(30_000));
    ends_once(&world, "it came back");
}

/// Stopped by a fence and started by somebody since: it may take writes, and nothing is done to it until a person says so.
#[test]
fn who_may_take_writes_is_left_alone() {
    let mut world = failed(STOPPED, None, Server::Dead);
    world.breaks_command("rewind");
    world.run_for(millis(9000));
    let tries = |world: &World| count(world, |it| matches!(it, Body::RepairStarted { .. }));
    assert!(tries(&world) >= 1 && !is_repaired(&world));
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Up));
    world.fault(Duration::ZERO, Fault::Role("orders-db".to_owned(), SeenRole::Active));
    world.run_for(millis(2000));
    let before = tries(&world);
    world.run_for(millis(1_500_000));
    assert_eq!(tries(&world), before);
    let order =
        |two_writers| Command::Repair { instance: "orders-db".to_owned(), two_writers, reason: "seen to".to_owned() };
    assert!(world.engine().expect("it runs").check_command(&order(false), "ada").is_err());
    assert!(world.engine().expect("it runs").check_command(&order(true), "ada").is_ok());
}
