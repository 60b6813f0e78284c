//! Planned moves in virtual time: nothing is lost, whatever happens in between, and every invariant holds.

use std::path::Path;
use std::time::Duration;

use mainstay_engine::state::RecoveryStatus;
use mainstay_engine::{Body, Command, status};
use mainstay_plan::routing::TargetState;
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Crash, CrashKind, Server, World};

const DATABASE: &str = include_str!("plans/database.yaml");

fn world() -> World {
    let text = DATABASE.replace("idempotent: false", "idempotent: true");
    let compiled = mainstay_plan::config::compile("plan.yaml", &text, Path::new("/"));
    let mut world = World::new(compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings)));
    world.run_for(Duration::from_secs(3));
    world
}

fn switch() -> Command {
    let (component, to) = ("orders-db".to_owned(), "orders-db-b".to_owned());
    Command::Switch { component, to, graceful: true, reason: "the test".to_owned() }
}

fn serving(world: &World) -> Vec<String> {
    let targets = world.table.routes.iter().flat_map(|it| &it.targets);
    targets.filter(|it| it.state == TargetState::Serving).map(|it| it.instance.clone()).collect()
}

#[test]
fn it_is_moved_and_replays() {
    let mut world = world();
    world.say(Duration::ZERO, switch());
    world.run_for(Duration::from_secs(4));
    let done = status::recoveries(world.engine().expect("it runs").state())[0].clone();
    assert_eq!(done.status, RecoveryStatus::RecoveryCompleted, "{done:#?}");
    assert_eq!(serving(&world), ["orders-db-b"]);
    assert!(replays(world.stored(), &world.plan).decisions > 0);
}

/// Wherever the agent dies, one of the two serves in the end, both are alive, and nothing waits for anybody.
#[test]
fn the_agent_may_die_at_every_record() {
    let mut whole = world();
    let before = whole.journal().len() as u64;
    whole.say(Duration::ZERO, switch());
    whole.run_for(Duration::from_secs(4));
    let after = whole.journal().len() as u64;
    assert!(after > before + 8, "{before} {after}");
    for seq in before + 1..=after {
        for kind in [CrashKind::AfterRecord, CrashKind::BeforeSync, CrashKind::BeforeOutcome] {
            let mut world = world();
            world.crash_at(Crash { seq, kind, down_for: Duration::from_secs(1) });
            world.say(Duration::ZERO, switch());
            world.run_for(Duration::from_secs(15));
            let open = world.engine().expect("it runs").state().open_recoveries().count();
            assert_eq!((serving(&world).len(), open), (1, 0), "{kind:?} at {seq}: {:?}", serving(&world));
            replays(world.stored(), &world.plan);
        }
    }
}

#[test]
fn a_standby_that_does_not_catch_up_leaves_everything_as_it_was() {
    let mut world = world();
    world.fault(Duration::ZERO, Fault::Lag("orders-db-b".to_owned(), Some(Duration::from_secs(1))));
    world.run_for(Duration::from_secs(2));
    world.say(Duration::ZERO, switch());
    world.run_for(Duration::from_secs(20));
    assert_eq!(serving(&world), ["orders-db"]);
    assert!(world.done.is_empty(), "{:?}", world.done);
    let failed = |it: &Body| matches!(it, Body::RecoveryFailed { why, .. } if why.contains("nothing was changed"));
    assert!(world.journal().iter().any(|(_, it)| failed(&it.body)));
}

#[test]
fn an_owner_that_dies_meanwhile_is_recovered_from() {
    let mut world = world();
    world.fault(Duration::ZERO, Fault::Lag("orders-db-b".to_owned(), Some(Duration::from_secs(1))));
    world.run_for(Duration::from_secs(2));
    world.say(Duration::ZERO, switch());
    world.fault(Duration::from_millis(500), Fault::Server("orders-db".to_owned(), Server::Dead));
    world.run_for(Duration::from_secs(8));
    assert_eq!(serving(&world), ["orders-db-b"]);
    replays(world.stored(), &world.plan);
}

const SHOP: &str = include_str!("plans/shop.yaml");

fn shop() -> World {
    let compiled = mainstay_plan::config::compile("plan.yaml", SHOP, Path::new("/"));
    let mut world = World::new(compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings)));
    world.run_for(Duration::from_secs(5));
    world
}

fn web(graceful: bool) -> Command {
    let (component, to) = ("web".to_owned(), "web-b".to_owned());
    Command::Switch { component, to, graceful, reason: "the test".to_owned() }
}

/// What `web` waits for, by the word that people see.
fn web_waits(world: &World) -> Option<(mainstay_engine::RecoveryId, String)> {
    let state = world.engine().expect("it runs").state();
    let (recovery, waiting, _) = status::waiting(state, state.component("web")?)?;
    Some((recovery, waiting.to_string()))
}

fn web_is(world: &World) -> String {
    let state = world.engine().expect("it runs").state();
    let component = state.component("web").expect("the plan has it");
    state.plan.instance(state.components[component.index()].bound).name.clone()
}

/// A planned move takes a target off its shared route, so that it asks what everybody asks who does that.
#[test]
fn a_move_waits_while_a_gate_of_its_route_is_closed() {
    for graceful in [true, false] {
        let mut world = shop();
        for name in ["orders-db", "orders-db-b"] {
            world.fault(Duration::ZERO, Fault::Server(name.to_owned(), Server::Dead));
        }
        world.run_for(Duration::from_secs(2));
        world.say(Duration::ZERO, web(graceful));
        world.run_for(Duration::from_secs(2));
        let (recovery, waiting) = web_waits(&world).expect("it waits");
        assert_eq!(waiting, "route shop may not be moved: `orders-db`, a gate of it, is down");
        assert_eq!(web_is(&world), "web");
        let overrides = vec![mainstay_engine::command::Override::RouteRules];
        let reason = "it has to go".to_owned();
        world.say(Duration::ZERO, Command::Approve { recovery, overrides, outcome: None, reason });
        world.run_for(Duration::from_secs(2));
        assert_eq!((web_waits(&world), web_is(&world).as_str()), (None, "web-b"));
    }
}

#[test]
fn a_move_begins_when_the_wait_of_its_route_is_over() {
    let mut world = shop();
    world.fault(Duration::ZERO, Fault::Server("web-b".to_owned(), Server::Dead));
    world.run_for(Duration::from_secs(2));
    world.fault(Duration::ZERO, Fault::Server("web-b".to_owned(), Server::Up));
    while serving(&world) != ["orders-db", "web", "web-b"] {
        world.run_for(Duration::from_millis(50));
    }
    world.say(Duration::ZERO, web(true));
    world.run_for(Duration::from_secs(1));
    let (_, waiting) = web_waits(&world).expect("it waits");
    assert_eq!(waiting, "route shop may not be moved: it changed less than its wait ago");
    world.run_for(Duration::from_secs(3));
    assert_eq!((web_waits(&world), web_is(&world).as_str()), (None, "web-b"));
    assert!(replays(world.stored(), &world.plan).decisions > 0);
}

/// What dies while its move waits is recovered as any failure.
#[test]
fn a_move_that_waits_does_not_hold_back_a_recovery() {
    let mut world = shop();
    for name in ["orders-db", "orders-db-b"] {
        world.fault(Duration::ZERO, Fault::Server(name.to_owned(), Server::Dead));
    }
    world.run_for(Duration::from_secs(2));
    world.say(Duration::ZERO, web(true));
    world.run_for(Duration::from_secs(1));
    world.fault(Duration::ZERO, Fault::Server("web".to_owned(), Server::Dead));
    world.run_for(Duration::from_secs(2));
    let moved = status::recoveries(world.engine().expect("it runs").state())
        .into_iter()
        .find(|it| it.planned().is_some())
        .expect("it was begun")
        .clone();
    assert_eq!(moved.status, RecoveryStatus::RecoveryFailed);
    assert!(moved.steps.is_empty(), "{:#?}", moved.steps);
    assert!(web_waits(&world).is_some(), "its failure waits for what it depends on");
}
