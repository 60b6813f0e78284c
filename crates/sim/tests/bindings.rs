//! Instances that come back at another address: clients and probes go where they really are, whenever the agent dies, and
//! whatever still answers where they were.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use mainstay_engine::Body;
use mainstay_engine::command::Command;
use mainstay_engine::state::{Recovery, RecoveryStatus};
use mainstay_engine::status;
use mainstay_plan::observation::Health;
use mainstay_plan::routing::TargetState;
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Crash, CrashKind, Server, World};

const RESTORED: &str = include_str!("plans/restored.yaml");

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn well() -> World {
    let compiled = mainstay_plan::config::compile("plan.yaml", RESTORED, Path::new("/"));
    let mut world = World::new(compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings)));
    world.run_for(millis(3000));
    world
}

fn recoveries(world: &World) -> Vec<&Recovery> {
    status::recoveries(world.engine().expect("the agent runs").state())
}

/// All is well, and then `name` fails so.
fn failing(name: &str, how: Server) -> World {
    let mut world = well();
    world.fault(Duration::ZERO, Fault::Server(name.to_owned(), how));
    world
}

/// Where the clients of a route are led.
fn led(world: &World, route: &str) -> (String, IpAddr) {
    let route = world.table.routes.iter().find(|it| it.name == route).expect("it is served");
    let serving = route.targets.iter().find(|it| it.state == TargetState::Serving).expect("someone serves");
    (serving.instance.clone(), serving.address.ip())
}

/// Clients of the route are led to an instance that is really there and lives, and the agent sees it so.
fn serves_where_it_is(world: &World, route: &str) {
    let (name, address) = led(world, route);
    assert_eq!(world.homes.get(&name), Some(&address), "{name} is somewhere else");
    assert_eq!(world.servers[&name], Server::Up);
    let state = world.engine().expect("the agent runs").state();
    let ix = state.instance(&name).expect("it is in the plan");
    assert_eq!(state.address(ix), Some(address), "the agent knows");
    assert_eq!(state.instances[ix.index()].health, Health::Healthy, "it is asked there");
}

#[test]
fn a_restored_database_serves_where_it_was_restored() {
    for how in [Server::Dead, Server::Hung] {
        let mut world = failing("orders-db", how);
        world.run_for(millis(8000));
        assert_eq!(recoveries(&world)[0].status, RecoveryStatus::RecoveryCompleted);
        serves_where_it_is(&world, "orders");
        // The old one wakes up, and nobody is led there or believes it.
        world.fault(Duration::ZERO, Fault::OldSelf("orders-db".to_owned(), Server::Up));
        world.run_for(millis(20_000));
        world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Hung));
        world.run_for(millis(8000));
        assert_eq!(recoveries(&world).len(), 2, "that it is down is seen although an old self answers");
        serves_where_it_is(&world, "orders");
        replays(world.stored(), &world.plan);
    }
}

#[test]
fn a_standby_that_is_built_when_it_is_needed_serves_where_it_was_built() {
    let mut world = failing("cache", Server::Hung);
    world.run_for(millis(8000));
    assert_eq!(led(&world, "cache").0, "cache-b");
    serves_where_it_is(&world, "cache");
}

/// However the agent dies, and at whichever record: in the end clients are led to where the instance is.
#[test]
fn an_agent_that_dies_at_any_record_leads_clients_to_where_the_instance_is() {
    for (name, route) in [("orders-db", "orders"), ("cache", "cache")] {
        let mut calm = failing(name, Server::Dead);
        let first = calm.journal().len() as u64 + 1;
        calm.run_for(millis(8000));
        let last = calm.journal().len() as u64;
        let moves = calm.journal().into_iter().filter(|it| matches!(it.1.body, Body::AddressChanged { .. })).count();
        assert_eq!(moves, 1, "that it is elsewhere is recorded once");
        for kind in [CrashKind::AfterRecord, CrashKind::BeforeSync, CrashKind::BeforeOutcome] {
            for seq in first..=last {
                let mut world = failing(name, Server::Dead);
                world.crash_at(Crash { seq, kind, down_for: millis(500) });
                world.run_for(millis(30_000));
                let died = world.crashes();
                assert!(died == 1 || kind == CrashKind::BeforeOutcome, "record {seq} never came");
                serves_where_it_is(&world, route);
                replays(world.stored(), &world.plan);
            }
        }
    }
}

#[test]
fn an_instance_that_a_person_moved_is_asked_and_served_where_they_say() {
    let mut world = well();
    let there = IpAddr::from([10, 0, 1, 99]);
    world.homes.insert("orders-db".to_owned(), there);
    world.old_selves.insert("orders-db".to_owned(), Server::Up);
    let (instance, reason) = ("orders-db".to_owned(), "moved by hand".to_owned());
    world.say(
        Duration::ZERO,
        Command::Adopt { instance, role: None, anyway: false, two_writers: false, address: Some(there), reason },
    );
    world.run_for(millis(3000));
    assert_eq!(recoveries(&world).len(), 0, "nothing failed");
    serves_where_it_is(&world, "orders");
    // A journal that was lost is no reason to lead clients back.
    world.lose_journal(millis(500));
    world.run_for(millis(5000));
    serves_where_it_is(&world, "orders");
}
