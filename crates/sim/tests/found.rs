//! What trials have found, each as small as it gets and told event by event: a seed draws something else as soon as the world
//! knows more, and these stay what they are.

use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::command::Command;
use mainstay_engine::replay::replay;
use mainstay_engine::state::RecoveryStatus;
use mainstay_engine::status;
use mainstay_sim::checkers::replays;
use mainstay_sim::trial::{Stage, named, stage};
use mainstay_sim::world::{Fault, Link, Trouble};
use mainstay_sim::{Pace, Server, World};

const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn staged(plan: &str) -> Arc<Stage> {
    stage(named(plan).expect("it is there")).expect("it is sound")
}

fn world(plan: &str) -> World {
    World::of(staged(plan).plan.clone(), Pace::Quick)
}

fn server(name: &str, how: Server) -> Fault {
    Fault::Server(name.to_owned(), how)
}

/// A neighbour that was down, and is not known to be any more, opens the question again what failed: at once, and not when
/// something else happens to the one who waits.
#[test]
fn a_neighbour_that_is_doubted_reopens_the_question_what_failed() {
    let mut world = world("load-balancer");
    let no_orders = Fault::Trouble(Trouble::Link("web-1".to_owned(), Link::NoOrders));
    world.fault(millis(5_700), no_orders);
    world.fault(millis(6_000), server("edge", Server::Hung));
    world.fault(millis(9_700), server("edge", Server::Dead));
    world.fault(millis(55_860), server("web-1", Server::Dead));
    world.fault(millis(69_880), server("edge", Server::Hung));
    world.fault(millis(75_890), Fault::Traffic(true));
    world.run_for(Duration::from_secs(76));
    world.heal();
    world.run_for(Duration::from_secs(60));
    assert!(replays(world.stored(), &world.plan).decisions > 20);
}

/// What failed before its zone was evacuated counts for the blast radius no more, and others may begin.
#[test]
fn what_failed_before_an_evacuation_is_explained_by_it() {
    let mut world = world("shop, three kept");
    world.fault(millis(6_200), server("orders-db", Server::Hung));
    world.fault(millis(8_000), server("search", Server::Hung));
    world.fault(millis(13_200), server("mail", Server::Dead));
    world.run_for(millis(15_750));
    let (place, reason) = ("z2".to_owned(), "the cooling fails".to_owned());
    world.say(Duration::ZERO, Command::Evacuate { place, until: None, graceful: None, reason });
    world.run_for(Duration::from_secs(30));
    let open = world.engine().expect("it runs").state().open_recoveries().count();
    assert_eq!(open, 0, "they have begun, and are over");
}

/// An agent that starts with another plan folds what came before under that one; a replay folds it under the plan of then. Both
/// have to come to the same: here a rule holds a route while the plan is changed.
#[test]
fn a_start_with_another_plan_replays() {
    let stage = staged("shop, three kept");
    let next = stage.next.clone().expect("it has another version");
    let mut world = World::of(stage.plan.clone(), Pace::Quick);
    for zone in ["z1", "z2"] {
        world.fault(millis(2_150), Fault::Zone(zone.to_owned(), Server::Dead));
    }
    world.run_for(millis(3_200));
    assert!(!world.engine().expect("it runs").state().routing.held.is_empty(), "a rule holds a route");
    assert!(world.restarts_under((*next).clone(), millis(500)));
    world.run_for(Duration::from_secs(2));
    world.heal();
    world.run_for(Duration::from_secs(30));
    let plans = [&stage.plan, &next];
    let of = |source: &str, _: &str| plans.into_iter().find(|it| *it.source == *source).map(|it| (**it).clone());
    let replayed = replay(world.stored(), of).unwrap_or_else(|error| panic!("{error}"));
    assert!(replayed.misfits.is_empty(), "{:?}", replayed.misfits);
}

/// The tail is torn behind each record of a takeover in turn: what was on the disk is gone on from, and replays.
#[test]
fn a_tail_may_be_torn_behind_every_record_of_a_takeover() {
    let mut whole = world("database, repeated");
    whole.fault(millis(2_150), server("orders-db", Server::Dead));
    whole.run_for(Duration::from_secs(5));
    let kinds: std::collections::BTreeSet<String> =
        whole.stored().into_iter().skip(7).map(|(_, it)| it.kind.to_string()).collect();
    assert!(kinds.contains("bound") && kinds.contains("recovery_completed"), "{kinds:?}");
    for kind in kinds {
        let kind: &'static str = kind.leak();
        let mut world = world("database, repeated");
        world.run_for(millis(2_100));
        world.tears_behind(kind, Duration::from_secs(1));
        world.fault(millis(50), server("orders-db", Server::Dead));
        world.run_for(Duration::from_secs(20));
        assert_eq!(world.crashes(), 1, "{kind}");
        let state = world.engine().expect("it runs").state();
        let all = status::recoveries(state);
        let done = all.iter().filter(|it| it.status == RecoveryStatus::RecoveryCompleted).count();
        assert_eq!((all.len(), done), (1, 1), "{kind}: {all:#?}");
        assert!(replays(world.stored(), &world.plan).decisions > 5, "{kind}");
    }
}

/// What is repaired in one batch of decisions says nothing about the order in the next one, which a second file that is written at
/// once makes of the same moment.
#[test]
fn two_batches_of_one_moment_are_two() {
    let mut world = world("shop, without a radius");
    world.fault(millis(2_100), server("orders-db", Server::Dead));
    world.fault(millis(7_190), Fault::JournalLost);
    world.fault(millis(7_360), server("orders-db-b", Server::Dead));
    world.fault(millis(9_840), server("web", Server::Hung));
    world.run_for(millis(11_450));
    world.heal();
    world.run_for(Duration::from_secs(20));
    let open = world.engine().expect("it runs").state().open_recoveries().count();
    assert_eq!(open, 0);
}

/// Whoever pauses a recovery that people are asked about stops no clock: the question expires when it was to expire, and not when
/// somebody looks.
#[test]
fn a_question_expires_while_its_recovery_is_paused() {
    let mut world = world("people");
    world.fault(millis(2_100), server("orders-db", Server::Dead));
    world.run_for(Duration::from_secs(5));
    let of = |world: &World| status::recoveries(world.engine().expect("it runs").state())[0].clone();
    let open = of(&world);
    let reason = "the disk is looked at first".to_owned();
    world.say(Duration::ZERO, Command::PauseRecovery { recovery: open.id, reason });
    world.fault(Duration::from_secs(1), Fault::AgentKilled(Duration::from_secs(1)));
    world.run_for(Duration::from_secs(25));
    let all = status::recoveries(world.engine().expect("it runs").state());
    let failed = all.iter().find(|it| it.id == open.id).expect("it is known");
    assert_eq!(failed.status, RecoveryStatus::RecoveryFailed);
    assert_eq!(failed.ended, Some(open.opened + Duration::from_secs(20)), "when the question expired");
    assert!(replays(world.stored(), &world.plan).decisions > 5);
}
