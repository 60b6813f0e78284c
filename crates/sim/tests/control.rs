//! Control planes that are gone: what is passed over, what is tried all the same, and what comes back.

use std::path::Path;
use std::time::Duration;

use mainstay_engine::breaker::{Hold, Position};
use mainstay_engine::state::{Control, Recovery, RecoveryStatus};
use mainstay_engine::{Body, Command, WaitingOn, status};
use mainstay_plan::observation::Health;
use mainstay_plan::strategy::Strategy;
use mainstay_plan::{ComponentIx, action::Plane};
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Broken, Server, World};

const CONTROL: &str = include_str!("plans/control.yaml");
const PLANE: &str = "ec2 in r1";

fn world(text: &str) -> World {
    let compiled = mainstay_plan::config::compile("plan.yaml", text, Path::new("/"));
    let mut world = World::new(compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings)));
    world.run_for(millis(3000));
    world
}

fn without_canary() -> String {
    let canary = CONTROL.lines().find(|it| it.contains("canary:")).expect("it is there");
    CONTROL.replace(&format!("{canary}\n"), "")
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn control(world: &World) -> Control {
    world.engine().expect("the agent runs").state().controls[0].clone()
}

fn of(world: &World, component: &str) -> Recovery {
    let all = status::recoveries(world.engine().expect("the agent runs").state());
    all.into_iter().find(|it| it.component_name == component).expect("it has a recovery").clone()
}

fn waits(world: &World, ix: u32) -> Option<WaitingOn> {
    status::waiting(world.engine().expect("the agent runs").state(), ComponentIx(ix)).map(|it| it.1)
}

fn dies(world: &mut World, name: &str) {
    world.fault(Duration::ZERO, Fault::Server(name.to_owned(), Server::Dead));
}

fn say(hold: Hold) -> Command {
    Command::Breaker { service: "ec2".to_owned(), region: None, hold, reason: "the test".to_owned() }
}

fn checked(world: &World) {
    assert!(replays(world.stored(), &world.plan).decisions > 0);
}

#[test]
fn a_canary_that_goes_down_has_the_rung_passed_over_at_once() {
    let mut world = world(CONTROL);
    assert_eq!((control(&world).position, control(&world).canary), (Position::Closed, Health::Healthy));
    dies(&mut world, PLANE);
    world.run_for(millis(4000));
    assert_eq!(control(&world).position, Position::Open);
    dies(&mut world, "a");
    world.run_for(millis(3000));
    let done = of(&world, "a");
    assert_eq!(done.status, RecoveryStatus::RecoveryCompleted, "{done:#?}");
    assert!(done.tried[0].contains("regional control of ec2 in r1 is known to be down: canary"), "{:?}", done.tried);
    assert_eq!(world.done.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), ["restart a"]);
    checked(&world);
}

#[test]
fn what_has_nothing_else_waits_for_the_canary_and_then_goes_on() {
    let mut world = world(CONTROL);
    dies(&mut world, PLANE);
    world.run_for(millis(4000));
    dies(&mut world, "b");
    world.run_for(millis(3000));
    let Some(WaitingOn::ControlPlane { service, until: Some(_), .. }) = waits(&world, 1) else {
        panic!("{:?}", waits(&world, 1))
    };
    assert_eq!(service, "ec2");
    assert!(world.done.is_empty());
    world.fault(Duration::ZERO, Fault::Server(PLANE.to_owned(), Server::Up));
    world.run_for(millis(5000));
    assert_eq!(of(&world, "b").status, RecoveryStatus::RecoveryCompleted);
    assert_eq!(control(&world).position, Position::Closed);
    checked(&world);
}

#[test]
fn after_a_while_one_recovery_tries_and_the_others_wait_for_it() {
    let mut world = world(CONTROL);
    dies(&mut world, PLANE);
    world.run_for(millis(4000));
    dies(&mut world, "b");
    dies(&mut world, "c");
    // Only the canary is wrong now: what is tried works, although the canary says otherwise.
    world.run_for(millis(26_000));
    assert!(world.done.is_empty());
    world.run_for(millis(3000));
    assert_eq!(world.done.len(), 1, "{:?}", world.done);
    let half = world
        .journal()
        .into_iter()
        .filter(|(_, it)| matches!(it.body, Body::BreakerChanged { to: Position::HalfOpen, .. }));
    assert_eq!(half.count(), 1);
    checked(&world);
}

#[test]
fn rungs_that_fail_in_a_row_open_it_and_spare_the_next_its_timeouts() {
    let mut world = world(&without_canary());
    let gone = Broken { planes: [Plane::RegionalControl].into(), hangs: true, ..Broken::default() };
    world.fault(Duration::ZERO, Fault::Breaks(Box::new(gone)));
    dies(&mut world, "b");
    dies(&mut world, "c");
    world.run_for(millis(14_000));
    assert_eq!(control(&world).position, Position::Open);
    dies(&mut world, "a");
    world.run_for(millis(3000));
    let done = of(&world, "a");
    let Some(mainstay_engine::record::Completion::ByRung { strategy, .. }) = done.completion else {
        panic!("{done:#?}")
    };
    assert_eq!(strategy, Strategy::RestartService);
    let took = done.ended.expect("ended").since(done.opened);
    assert!(took < millis(2000), "{took:?}");
    checked(&world);
}

#[test]
fn failures_alone_never_keep_a_component_from_its_last_rung() {
    let mut world = world(&without_canary());
    let gone = Broken { planes: [Plane::RegionalControl].into(), hangs: true, ..Broken::default() };
    world.fault(Duration::ZERO, Fault::Breaks(Box::new(gone)));
    dies(&mut world, "a");
    dies(&mut world, "b");
    world.run_for(millis(14_000));
    assert_eq!(control(&world).position, Position::Open);
    world.fault(Duration::ZERO, Fault::Breaks(Box::default()));
    dies(&mut world, "c");
    world.run_for(millis(3000));
    assert_eq!(of(&world, "c").status, RecoveryStatus::RecoveryCompleted, "{:#?}", of(&world, "c"));
    assert_eq!(control(&world).position, Position::Closed, "what worked closes it");
    checked(&world);
}

#[test]
fn a_canary_that_answers_knows_better_than_failures() {
    let mut world = world(CONTROL);
    let gone = Broken {
        rungs: [(ComponentIx(0), 0), (ComponentIx(1), 0), (ComponentIx(2), 0)].into(),
        hangs: true,
        ..Broken::default()
    };
    world.fault(Duration::ZERO, Fault::Breaks(Box::new(gone)));
    for name in ["a", "b", "c"] {
        dies(&mut world, name);
    }
    world.run_for(millis(20_000));
    assert_eq!(control(&world).position, Position::Closed);
    checked(&world);
}

#[test]
fn an_operator_holds_it_open_and_closed_and_lets_it_go() {
    let mut world = world(CONTROL);
    world.say(Duration::ZERO, say(Hold::Open));
    world.run_for(millis(100));
    assert_eq!(control(&world).position, Position::HeldOpen);
    dies(&mut world, "b");
    world.run_for(millis(100_000));
    assert!(matches!(waits(&world, 1), Some(WaitingOn::ControlPlane { until: None, .. })), "{:?}", waits(&world, 1));
    world.say(Duration::ZERO, say(Hold::Closed));
    world.run_for(millis(3000));
    assert_eq!(of(&world, "b").status, RecoveryStatus::RecoveryCompleted);
    dies(&mut world, PLANE);
    world.run_for(millis(5000));
    assert_eq!(control(&world).position, Position::HeldClosed);
    world.say(Duration::ZERO, say(Hold::Auto));
    world.run_for(millis(1000));
    assert_eq!(control(&world).position, Position::Open, "its canary is down");
    checked(&world);
}

#[test]
fn it_outlives_the_agent_and_the_canary_is_seen_anew() {
    let mut world = world(CONTROL);
    dies(&mut world, PLANE);
    world.run_for(millis(4000));
    world.fault(Duration::ZERO, Fault::AgentKilled(millis(1000)));
    world.run_for(millis(1100));
    assert_eq!(control(&world).position, Position::Open);
    world.fault(Duration::ZERO, Fault::Server(PLANE.to_owned(), Server::Up));
    world.run_for(millis(5000));
    assert_eq!(control(&world).position, Position::Closed);
    checked(&world);
}
