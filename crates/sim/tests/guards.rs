//! What holds recoveries back for the sake of the whole site, and the lever that stops everything.

mod fixture;

use std::fmt::Write;
use std::time::Duration;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::record::{Fence, RecoveryId};
use mainstay_engine::state::RecoveryStatus;
use mainstay_engine::waiting::Unacknowledged;
use mainstay_engine::{Body, WaitingOn, status};
use mainstay_plan::action::Outcome;
use mainstay_plan::{ComponentIx, Time};
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Broken, Crash, CrashKind, Server, World};

use fixture::{DATABASE, FILES, millis, plan, recoveries, serving, waiting};

/// Ten services that restart where they are; `critical` says which of them matter most.
fn ten(guards: &str, critical: &[usize]) -> String {
    let mut text = format!(
        "version: 2\nsite: {{ name: shop, region: r1, zone: z3, host: ops }}\nguards: {guards}\n\
         allowances: {{ lateness: 200ms, journal_sync: 20ms, route_apply: 20ms, agent_restart: 1s }}\ncomponents:\n"
    );
    for at in 0..10 {
        let criticality = if critical.contains(&at) { "critical" } else { "important" };
        let _ = write!(
            text,
            "  c{at}:\n    type: cache\n    location: {{ region: r1, zone: z{at}, host: h{at} }}\n    criticality: {criticality}\n    \
             guards: {{ cool_down: 1s }}\n    service: {{ start: [up], stop: [down], status: [is-up] }}\n    probes:\n      - tcp: {{ \
             address: \"10.0.1.{at}:6379\", interval: 500ms, fast_interval: 200ms, timeout: 200ms, fall: 3, rise: 2 }}\n    \
             recovery:\n      - restart_service: {{ timeout: 2s, verify_within: 2s }}\n"
        );
    }
    text
}

fn settled(text: &str) -> World {
    let mut world = World::new(plan(text));
    world.run_for(millis(3000));
    world
}

fn fails(world: &mut World, names: &[&str]) {
    for name in names {
        world.fault(Duration::ZERO, Fault::Server((*name).to_owned(), Server::Dead));
    }
}

fn waits(world: &World, component: u32) -> Option<(RecoveryId, WaitingOn)> {
    let state = world.engine().expect("the agent runs").state();
    status::waiting(state, ComponentIx(component)).map(|it| (it.0, it.1))
}

fn completed(world: &World) -> Vec<String> {
    let all = recoveries(world);
    let mut done: Vec<String> = (all.iter().filter(|it| it.status == RecoveryStatus::RecoveryCompleted))
        .map(|it| it.component_name.clone())
        .collect();
    done.sort();
    done
}

/// Machines on which nothing can be done.
fn broken(machines: &[&str], hangs: bool) -> Broken {
    Broken { machines: machines.iter().map(|it| (*it).to_owned()).collect(), hangs, ..Broken::default() }
}

fn reason() -> String {
    "the test says so".to_owned()
}

#[test]
fn the_storm_brake_lets_the_most_critical_begin_and_the_others_when_time_has_passed() {
    let mut world = settled(&ten("{ storm_brake: { at_most: 2, within: 1m } }", &[3, 7]));
    // So that all of them may begin at the same moment.
    let until = world.now + millis(5000);
    world.say(Duration::ZERO, Command::Pause { component: None, until, reason: reason(), owner: None });
    fails(&mut world, &["c1", "c3", "c5", "c7"]);
    world.run_for(millis(15_000));
    assert_eq!(completed(&world), ["c3", "c7"]);
    let Some((_, WaitingOn::StormBrake { at_most: 2, until, .. })) = waits(&world, 1) else {
        panic!("{:?}", waits(&world, 1))
    };
    assert!(until > world.now);
    world.run_for(until.since(world.now) + millis(8000));
    assert_eq!(completed(&world), ["c1", "c3", "c5", "c7"]);
    replays(world.stored(), &world.plan);
}

#[test]
fn who_overrules_the_storm_brake_is_let_through_and_counts() {
    let mut world = settled(&ten("{ storm_brake: { at_most: 1, within: 1m } }", &[]));
    fails(&mut world, &["c0", "c1", "c2"]);
    world.run_for(millis(8000));
    let (id, _) = waits(&world, 1).expect("it waits");
    let approve =
        Command::Approve { recovery: id, overrides: vec![Override::StormBrake], outcome: None, reason: reason() };
    world.say(Duration::ZERO, approve);
    world.run_for(millis(50_000));
    assert_eq!(completed(&world), ["c0", "c1"]);
    // The second beginning counts from when it began.
    world.run_for(millis(20_000));
    assert_eq!(completed(&world), ["c0", "c1", "c2"]);
    replays(world.stored(), &world.plan);
}

#[test]
fn the_blast_radius_counts_what_is_down_and_says_the_numbers() {
    let mut world = settled(&ten("{ blast_radius: { share: 20%, always: 1 } }", &[]));
    // Two that nothing brings back, and then a third.
    world.fault(Duration::ZERO, Fault::Breaks(Box::new(broken(&["c0", "c1"], true))));
    fails(&mut world, &["c0", "c1"]);
    world.run_for(millis(2000));
    fails(&mut world, &["c2"]);
    world.run_for(millis(2000));
    assert_eq!(completed(&world), [""; 0]);
    let (id, waiting) = waits(&world, 2).expect("it waits");
    assert_eq!(waiting, WaitingOn::BlastRadius { would_be: 3, of: 10, allowed: 2 });
    assert_eq!(waiting.to_string(), "after it 3 of 10 components (30 %) would be down or moved, allowed are 2");
    assert_eq!(waiting.way_out(id), format!("mainstay approve {id} --override blast-radius"));
    // One of them comes back by itself: two are allowed.
    world.fault(Duration::ZERO, Fault::Server("c1".to_owned(), Server::Up));
    world.run_for(millis(8000));
    assert_eq!(completed(&world), ["c1", "c2"]);
    replays(world.stored(), &world.plan);
}

#[test]
fn a_small_number_is_always_allowed() {
    let mut world = settled(&ten("{ blast_radius: { share: 1%, always: 2 } }", &[]));
    fails(&mut world, &["c0", "c1"]);
    world.run_for(millis(8000));
    assert_eq!(completed(&world), ["c0", "c1"]);
}

#[test]
fn what_was_moved_counts_until_it_is_whole_again() {
    let guarded = DATABASE.replace("components:", "guards: { blast_radius: { share: 10%, always: 1 } }\ncomponents:");
    let other = "  other:\n    type: cache\n    location: { region: r1, zone: z1, host: h2 }\n    service: { start: [up], \
                 stop: [down], status: [is-up] }\n    probes: [{ tcp: { address: \"10.0.1.9:6379\", interval: 500ms, \
                 fast_interval: 200ms, timeout: 200ms } }]\n    witnesses: { need: 0 }\n    recovery: [{ restart_service: {} }]\nstandbys:";
    let mut world = settled(&guarded.replace("standbys:", other));
    fails(&mut world, &["orders-db"]);
    world.run_for(millis(5000));
    fails(&mut world, &["other"]);
    world.run_for(millis(5000));
    assert!(matches!(waits(&world, 1), Some((_, WaitingOn::BlastRadius { would_be: 2, of: 2, allowed: 1 }))));
    world.say(
        Duration::ZERO,
        Command::Adopt {
            instance: "orders-db".to_owned(),
            role: None,
            anyway: false,
            two_writers: false,
            address: None,
            reason: reason(),
        },
    );
    world.run_for(millis(5000));
    assert_eq!(completed(&world), ["orders-db", "other"]);
    replays(world.stored(), &world.plan);
}

#[test]
fn a_halt_stops_what_is_under_way_and_survives_a_restart() {
    let repeatable = DATABASE.replace("idempotent: false", "idempotent: true");
    let mut world = settled(&repeatable);
    world.fault(Duration::ZERO, Fault::Outcome(Outcome::Failed("not yet".to_owned())));
    fails(&mut world, &["orders-db"]);
    let mut waited = 0;
    while world.done.is_empty() && waited < 5000 {
        world.run_for(millis(1));
        waited += 1;
    }
    world.say(Duration::ZERO, Command::Halt { reason: "it does what we do not understand".to_owned() });
    world.run_for(millis(100));
    let (done, epoch) = (world.done.len(), world.table.epoch);
    let state = world.engine().expect("the agent runs").state();
    let refused = mainstay_engine::Refusal::Halted {
        by: "operator".to_owned(),
        reason: "it does what we do not understand".to_owned(),
    };
    assert_eq!(
        world.engine().expect("it runs").check_command(&Command::Halt { reason: reason() }, "operator"),
        Err(refused)
    );
    assert!(state.site.halted.is_some());
    world.fault(Duration::ZERO, Fault::AgentKilled(millis(500)));
    world.run_for(millis(60_000));
    assert!(matches!(waiting(&world), Some(WaitingOn::Halted { .. })), "{:?}", waiting(&world));
    assert_eq!((world.done.len(), world.table.epoch), (done, epoch), "nothing was done meanwhile");
    world.say(Duration::ZERO, Command::Continue { reason: reason() });
    world.run_for(millis(10_000));
    assert_eq!(completed(&world), ["orders-db"]);
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    replays(world.stored(), &world.plan);
}

#[test]
fn what_may_be_done_only_once_is_awaited_through_a_halt() {
    let mut world = settled(DATABASE);
    fails(&mut world, &["orders-db"]);
    let started = |world: &World| {
        world
            .journal()
            .iter()
            .any(|(_, it)| matches!(&it.body, Body::StepStarted { name, .. } if name.starts_with("activate")))
    };
    while !started(&world) {
        world.run_for(millis(1));
    }
    world.say(Duration::ZERO, Command::Halt { reason: reason() });
    world.run_for(millis(20_000));
    assert_eq!(world.done.len(), 1);
    assert_eq!(serving(&world), None, "the hand-over waits");
    world.say(Duration::ZERO, Command::Continue { reason: reason() });
    world.run_for(millis(5000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    assert_eq!(world.done.len(), 1, "it was not done again");
    replays(world.stored(), &world.plan);
}

#[test]
fn after_a_failed_recovery_a_person_has_to_look_where_the_plan_says_so() {
    let text = ten("{}", &[]).replace("cool_down: 1s", "cool_down: 1s, after_failure: acknowledge");
    let mut world = settled(&text);
    world.fault(
        Duration::ZERO,
        Fault::Breaks(Box::new(mainstay_sim::Broken {
            machines: ["c4".to_owned()].into_iter().collect(),
            ..mainstay_sim::Broken::default()
        })),
    );
    fails(&mut world, &["c4"]);
    world.run_for(millis(60_000));
    let all = recoveries(&world);
    assert_eq!(all.len(), 2, "one failed, one waits: {all:#?}");
    let why = Unacknowledged::Failed { recovery: all[1].id };
    let asks = WaitingOn::Acknowledgement { component: "c4".to_owned(), why };
    assert_eq!(waits(&world, 4).map(|it| it.1), Some(asks.clone()));
    assert_eq!(asks.way_out(all[0].id), "mainstay acknowledge c4");
    world.fault(Duration::ZERO, Fault::Breaks(Box::default()));
    world.say(Duration::ZERO, Command::Acknowledge { what: "c4".to_owned(), reason: reason() });
    world.run_for(millis(10_000));
    assert_eq!(completed(&world), ["c4"]);
    replays(world.stored(), &world.plan);
}

#[test]
fn what_flaps_is_left_to_a_person_after_a_while() {
    let text = ten("{}", &[]).replace("cool_down: 1s", "cool_down: 1s, flapping: { at_most: 2, within: 10m }");
    let mut world = settled(&text);
    for _ in 0..4 {
        fails(&mut world, &["c4"]);
        world.run_for(millis(10_000));
    }
    assert_eq!(completed(&world), ["c4", "c4"]);
    let (_, waiting) = waits(&world, 4).expect("it waits");
    assert_eq!(
        waiting.to_string(),
        "it was recovered 2 times within 10m, and a person has to look before the next time"
    );
    world.say(Duration::ZERO, Command::Acknowledge { what: "c4".to_owned(), reason: reason() });
    world.run_for(millis(10_000));
    assert_eq!(completed(&world), ["c4", "c4", "c4"]);
    replays(world.stored(), &world.plan);
}

#[test]
fn one_signal_is_not_enough_where_the_plan_asks_for_two() {
    let text = ten("{}", &[])
        .replace("guards: { cool_down: 1s }", "guards: { cool_down: 1s, signals: 2 }")
        .replace("fall: 3, rise: 2 }\n", "fall: 3, rise: 2 }\n      - process: { pid_file: /run/c.pid, interval: 500ms, fast_interval: 200ms, timeout: 200ms, fall: 6 }\n");
    let mut world = settled(&text);
    fails(&mut world, &["c4"]);
    let signals = |world: &World| waits(world, 4).is_some_and(|it| it.1 == WaitingOn::Signals { need: 2 });
    while !signals(&world) && world.now < Time::from_millis(1_010_000) {
        world.run_for(millis(50));
    }
    assert!(signals(&world), "{:?}", waits(&world, 4));
    world.run_for(millis(10_000));
    assert_eq!(completed(&world), ["c4"]);
    let seen = world.journal().into_iter().find_map(|(_, it)| {
        let Body::SignalsSeen { probes, .. } = it.body else { return None };
        Some(probes.len())
    });
    assert_eq!(seen, Some(2));
    replays(world.stored(), &world.plan);
}

#[test]
fn each_fence_says_what_confirmed_it() {
    let mut world = settled(DATABASE);
    fails(&mut world, &["orders-db"]);
    world.run_for(millis(5000));
    let cut = &recoveries(&world)[0].fenced;
    assert_eq!(cut.len(), 1, "{cut:?}");
    assert!(matches!(cut[0].fence, Fence::TrafficCut { epoch: 2 }), "{:?}", cut[0]);
    assert_eq!(cut[0].by, "traffic process `local` at epoch 2");

    let mut world = settled(&FILES.replace("      - restart_service: { timeout: 2s, verify_within: 2s }\n", ""));
    fails(&mut world, &["files"]);
    world.run_for(millis(5000));
    let fences: Vec<Fence> = recoveries(&world)[0].fenced.iter().map(|it| it.fence).collect();
    assert!(matches!(fences[..], [Fence::TrafficCut { .. }, Fence::Stop {}]), "{fences:?}");
    replays(world.stored(), &world.plan);
}

/// A target that swallows everything costs its own time alone.
#[test]
fn an_action_that_hangs_delays_nobody_else() {
    let mut world = settled(&ten("{}", &[]));
    world.fault(
        Duration::ZERO,
        Fault::Breaks(Box::new(mainstay_sim::Broken {
            machines: ["c0".to_owned(), "c1".to_owned()].into_iter().collect(),
            hangs: true,
            ..mainstay_sim::Broken::default()
        })),
    );
    for name in ["c0", "c1"] {
        world.fault(Duration::ZERO, Fault::Server(name.to_owned(), Server::Hung));
    }
    fails(&mut world, &["c8"]);
    world.run_for(millis(2000));
    assert_eq!(completed(&world), ["c8"]);
    let all = recoveries(&world);
    let took = |name: &str| all.iter().find(|it| it.component_name == name).map(|it| (it.opened, it.ended));
    let (opened, ended) = took("c8").expect("it was recovered");
    assert!(ended.expect("it ended").since(opened) < millis(600), "{all:#?}");
}

/// What makes an old instance fit again uses up nothing of what restores service.
#[test]
fn a_rejoin_uses_up_neither_brake_nor_cool_down() {
    let text = DATABASE
        .replace("rejoin: by_hand", "rejoin: when_healthy")
        .replace("cool_down: 10s", "cool_down: 1s")
        .replace("components:", "guards: { storm_brake: { at_most: 2, within: 10m } }\ncomponents:");
    let mut world = settled(&text);
    fails(&mut world, &["orders-db"]);
    world.run_for(millis(5000));
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Up));
    world.run_for(millis(5000));
    assert!(world.journal().iter().any(|(_, it)| matches!(it.body, Body::Rejoined { .. })));
    fails(&mut world, &["orders-db-b"]);
    world.run_for(millis(5000));
    assert_eq!(completed(&world), ["orders-db", "orders-db"]);
    assert_eq!(serving(&world).as_deref(), Some("orders-db"));
    replays(world.stored(), &world.plan);
}

#[test]
fn a_crash_at_any_record_of_a_braked_storm_changes_nothing() {
    for seq in (14..60).step_by(3) {
        let mut world = settled(&ten("{ storm_brake: { at_most: 2, within: 20s } }", &[]));
        world.crash_at(Crash { seq, kind: CrashKind::AfterRecord, down_for: millis(300) });
        fails(&mut world, &["c1", "c3", "c5"]);
        world.run_for(millis(60_000));
        assert_eq!(completed(&world), ["c1", "c3", "c5"], "crash at {seq}");
        replays(world.stored(), &world.plan);
    }
}
