//! Recoveries in virtual time through the real engine, with every invariant checked after every step.

mod fixture;

use std::time::Duration;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::record::{Completion, RecoveryId};
use mainstay_engine::state::{Recovery, RecoveryStatus};
use mainstay_engine::{Body, WaitingOn, status};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::Health;
use mainstay_plan::routing::TargetState;
use mainstay_plan::strategy::{Phase, Strategy};
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Crash, CrashKind, Server, World};

use fixture::{DATABASE, FILES, millis, plan, recoveries, serving, waiting};

/// A world in which all is well and seen to be.
fn world(text: &str) -> World {
    let mut world = World::new(plan(text));
    world.run_for(millis(3000));
    assert_eq!(health(&world), Health::Healthy);
    assert_eq!(serving(&world), Some(world.plan.instances[0].name.clone()));
    world
}

fn health(world: &World) -> Health {
    let state = world.engine().expect("the agent runs").state();
    state.instances[state.components[0].bound.index()].health
}

fn only(world: &World) -> Recovery {
    let all = recoveries(world);
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

fn open(world: &World) -> RecoveryId {
    world.engine().expect("the agent runs").state().components[0].recovery.as_ref().expect("a recovery is open").id
}

fn approve(recovery: RecoveryId, overrides: &[Override], outcome: Option<bool>) -> Command {
    Command::Approve { recovery, overrides: overrides.to_vec(), outcome, reason: "the test says so".to_owned() }
}

fn check_replay(world: &World) {
    let replayed = replays(world.stored(), &world.plan);
    assert!(replayed.decisions > 0);
}

fn fails(world: &mut World, how: Server) {
    let name = serving(world).expect("someone serves");
    world.fault(Duration::ZERO, Fault::Server(name, how));
}

#[test]
fn a_killed_primary_is_replaced_by_its_standby_through_the_proxy() {
    let mut world = world(DATABASE);
    fails(&mut world, Server::Dead);
    world.run_for(millis(4000));
    let done = only(&world);
    assert_eq!(done.status, RecoveryStatus::RecoveryCompleted);
    let how = Completion::ByRung { strategy: Strategy::FailoverToStandby, instance: "orders-db-b".to_owned() };
    assert_eq!(done.completion, Some(how));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    assert_eq!(world.done.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), ["promote b"]);
    let total: Duration = done.phases.values().sum();
    assert_eq!(total, done.ended.expect("ended").since(done.last_good.expect("was seen good")));
    assert!(done.phases[&Phase::Detect] >= millis(400), "{:?}", done.phases);
    check_replay(&world);
}

#[test]
fn a_hung_primary_behind_dns_is_stopped_before_its_standby_takes_over() {
    let mut world = world(&FILES.replace("      - restart_service: { timeout: 2s, verify_within: 2s }\n", ""));
    fails(&mut world, Server::Hung);
    world.run_for(millis(4000));
    assert_eq!(only(&world).status, RecoveryStatus::RecoveryCompleted);
    assert_eq!(world.done.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), ["kill files", "promote b"]);
    assert_eq!(serving(&world).as_deref(), Some("files-b"));
    check_replay(&world);
}

#[test]
fn the_first_rung_that_works_ends_the_recovery() {
    let mut world = world(FILES);
    fails(&mut world, Server::Hung);
    world.run_for(millis(4000));
    let done = only(&world);
    let how = Completion::ByRung { strategy: Strategy::RestartService, instance: "files".to_owned() };
    assert_eq!(done.completion, Some(how));
    assert_eq!(serving(&world).as_deref(), Some("files"));
}

#[test]
fn a_rung_that_does_not_verify_is_followed_by_the_next() {
    let mut world = world(FILES);
    fails(&mut world, Server::Dead);
    // The restart brings it up for a moment only.
    world.fault(millis(1100), Fault::Server("files".to_owned(), Server::Dead));
    world.run_for(millis(800));
    while world.done.is_empty() {
        world.run_for(millis(1));
    }
    world.fault(Duration::ZERO, Fault::Server("files".to_owned(), Server::Dead));
    world.run_for(millis(9000));
    let done = only(&world);
    assert_eq!(done.status, RecoveryStatus::RecoveryCompleted, "{done:#?}");
    assert_eq!(serving(&world).as_deref(), Some("files-b"));
    assert_eq!(done.tried.len(), 1);
    check_replay(&world);
}

#[test]
fn a_blip_shorter_than_fall_probes_does_nothing() {
    let mut world = world(DATABASE);
    fails(&mut world, Server::Dead);
    world.fault(millis(350), Fault::Server("orders-db".to_owned(), Server::Up));
    world.run_for(millis(5000));
    assert_eq!(recoveries(&world), []);
    assert_eq!(world.table.epoch, 1);
}

#[test]
fn when_our_own_path_is_broken_nothing_is_done() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::OwnPath(true));
    world.run_for(millis(20_000));
    assert!(matches!(waiting(&world), Some(WaitingOn::Witnesses { need: 1, .. })), "{:?}", waiting(&world));
    assert_eq!(world.table.epoch, 1);
    world.fault(Duration::ZERO, Fault::OwnPath(false));
    world.run_for(millis(3000));
    assert_eq!(only(&world).completion, Some(Completion::ByItself));
    assert_eq!(world.table.epoch, 1);
    assert!(world.done.is_empty());
    check_replay(&world);
}

#[test]
fn an_operator_may_overrule_the_witnesses() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::Server("gateway".to_owned(), Server::Dead));
    fails(&mut world, Server::Dead);
    world.run_for(millis(5000));
    let id = open(&world);
    world.say(Duration::ZERO, approve(id, &[Override::Witnesses], None));
    world.run_for(millis(3000));
    assert_eq!(only(&world).status, RecoveryStatus::RecoveryCompleted);
    check_replay(&world);
}

#[test]
fn an_agent_that_was_stopped_does_not_take_its_own_lateness_for_a_failure() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::AgentStops(millis(10_000)));
    world.run_for(millis(15_000));
    assert_eq!(recoveries(&world), []);
    assert!(world.journal().iter().any(|it| matches!(it.1.body, Body::OwnLateness { .. })));
    assert_eq!(world.table.epoch, 1);
}

#[test]
fn a_failure_during_the_agents_own_stop_is_seen_anew_before_it_is_acted_on() {
    let mut world = world(DATABASE);
    fails(&mut world, Server::Dead);
    world.fault(millis(700), Fault::AgentStops(millis(5000)));
    world.run_for(millis(15_000));
    assert_eq!(only(&world).status, RecoveryStatus::RecoveryCompleted);
    check_replay(&world);
}

#[test]
fn two_recoveries_in_a_row_are_kept_apart_by_the_cool_down() {
    let mut world = world(&DATABASE.replace("rejoin: by_hand", "rejoin: when_healthy"));
    fails(&mut world, Server::Dead);
    world.run_for(millis(3000));
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Up));
    world.run_for(millis(2000));
    fails(&mut world, Server::Dead);
    world.run_for(millis(2000));
    assert!(matches!(waiting(&world), Some(WaitingOn::CoolDown { .. })), "{:?}", waiting(&world));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    world.run_for(millis(10_000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db"));
    assert_eq!(world.done.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), ["promote b", "promote a"]);
    check_replay(&world);
}

#[test]
fn the_cool_down_can_be_overruled() {
    let mut world = world(&DATABASE.replace("rejoin: by_hand", "rejoin: when_healthy").replace("10s", "10m"));
    fails(&mut world, Server::Dead);
    world.run_for(millis(3000));
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Up));
    world.run_for(millis(2000));
    fails(&mut world, Server::Dead);
    world.run_for(millis(2000));
    world.say(Duration::ZERO, Command::Recover { component: "orders-db".to_owned(), reason: "now".to_owned() });
    world.run_for(millis(2000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db"));
}

#[test]
fn a_displaced_primary_does_not_take_over_again_before_it_is_adopted() {
    let mut world = world(&DATABASE.replace("10s", "1s"));
    fails(&mut world, Server::Dead);
    world.run_for(millis(4000));
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Up));
    world.run_for(millis(2000));
    fails(&mut world, Server::Dead);
    world.run_for(millis(4000));
    assert!(matches!(waiting(&world), Some(WaitingOn::NoRungPossible { .. })), "{:?}", waiting(&world));
    world.say(
        Duration::ZERO,
        Command::Adopt {
            instance: "orders-db".to_owned(),
            role: None,
            anyway: false,
            two_writers: false,
            address: None,
            reason: "rebuilt".to_owned(),
        },
    );
    world.run_for(millis(3000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db"));
    check_replay(&world);
}

#[test]
fn a_standby_at_an_unknown_position_takes_over_only_when_the_loss_is_accepted() {
    let mut world = World::new(plan(DATABASE));
    world.fault(Duration::ZERO, Fault::Lag("orders-db-b".to_owned(), None));
    world.run_for(millis(60_000));
    fails(&mut world, Server::Dead);
    world.run_for(millis(4000));
    assert!(matches!(waiting(&world), Some(WaitingOn::NoRungPossible { .. })), "{:?}", waiting(&world));
    let id = open(&world);
    world.say(Duration::ZERO, approve(id, &[Override::Rpo], None));
    world.run_for(millis(2000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    check_replay(&world);
}

#[test]
fn a_standby_behind_the_rpo_does_not_take_over() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::Lag("orders-db-b".to_owned(), Some(millis(60_000))));
    world.run_for(millis(60_000));
    fails(&mut world, Server::Dead);
    world.run_for(millis(10_000));
    assert!(matches!(waiting(&world), Some(WaitingOn::NoRungPossible { .. })), "{:?}", waiting(&world));
    assert_eq!(serving(&world).as_deref(), Some("orders-db"));
    // Back by itself: nothing was done, and nothing is left behind.
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Up));
    world.run_for(millis(3000));
    assert_eq!(only(&world).completion, Some(Completion::ByItself));
}

#[test]
fn observe_mode_records_and_does_nothing() {
    let mut world = world(&format!("mode: observe\n{DATABASE}"));
    fails(&mut world, Server::Dead);
    world.run_for(millis(10_000));
    assert_eq!(waiting(&world), Some(WaitingOn::ObserveMode {}));
    assert!(world.done.is_empty());
    assert_eq!(world.table.epoch, 1);
}

#[test]
fn recommend_mode_waits_for_a_person() {
    let mut world = world(&format!("mode: recommend\n{DATABASE}"));
    fails(&mut world, Server::Dead);
    world.run_for(millis(10_000));
    assert_eq!(waiting(&world), Some(WaitingOn::Approval { expires: None, need: 1, given: Vec::new(), role: None }));
    let id = open(&world);
    world.say(Duration::ZERO, approve(id, &[], None));
    world.run_for(millis(2000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
}

#[test]
fn an_approval_that_nobody_gives_expires() {
    let text = DATABASE.replace("cool_down: 10s", "cool_down: 1h, approval: { expires: 20s }");
    let mut world = world(&text);
    fails(&mut world, Server::Dead);
    world.run_for(millis(10_000));
    assert!(matches!(waiting(&world), Some(WaitingOn::Approval { expires: Some(_), .. })));
    world.run_for(millis(20_000));
    let all = recoveries(&world);
    assert_eq!(all[1].status, RecoveryStatus::RecoveryFailed);
    assert!(matches!(waiting(&world), Some(WaitingOn::CoolDown { .. })));
    check_replay(&world);
}

#[test]
fn a_pause_holds_until_it_is_ended() {
    let mut world = world(DATABASE);
    let until = world.now + Duration::from_secs(3600);
    let pause = Command::Pause { component: None, until, reason: "disks".to_owned(), owner: None };
    world.say(Duration::ZERO, pause);
    world.run_for(millis(100));
    fails(&mut world, Server::Dead);
    world.run_for(millis(10_000));
    assert!(matches!(waiting(&world), Some(WaitingOn::Paused { .. })));
    world.say(Duration::ZERO, Command::Resume { component: None });
    world.run_for(millis(2000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
}

#[test]
fn a_pause_ends_by_itself() {
    let mut world = world(DATABASE);
    let until = world.now + Duration::from_secs(20);
    let pause =
        Command::Pause { component: Some("orders-db".to_owned()), until, reason: "disks".to_owned(), owner: None };
    world.say(Duration::ZERO, pause);
    world.run_for(millis(100));
    fails(&mut world, Server::Dead);
    world.run_for(millis(10_000));
    assert!(matches!(waiting(&world), Some(WaitingOn::Paused { .. })));
    world.run_for(millis(12_000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    check_replay(&world);
}

#[test]
fn an_aborted_recovery_gives_the_route_back() {
    let mut world = world(DATABASE);
    fails(&mut world, Server::Dead);
    while world.table.routes[0].targets[0].state != TargetState::Fenced {
        world.run_for(millis(1));
    }
    let id = open(&world);
    world.say(Duration::ZERO, Command::Abort { recovery: id, reason: "I know better".to_owned() });
    world.run_for(millis(500));
    let all = recoveries(&world);
    assert_eq!(all.last().map(|it| it.status), Some(RecoveryStatus::RecoveryFailed));
    assert_eq!(serving(&world).as_deref(), Some("orders-db"));
    check_replay(&world);
}

#[test]
fn an_unknown_outcome_that_may_not_be_repeated_waits_for_a_person() {
    for done in [true, false] {
        let mut world = world(DATABASE);
        world.fault(Duration::ZERO, Fault::Outcome(Outcome::Unknown("the wire was cut".to_owned())));
        fails(&mut world, Server::Dead);
        world.run_for(millis(5000));
        assert!(matches!(waiting(&world), Some(WaitingOn::OutcomeUnknown { .. })), "{:?}", waiting(&world));
        assert_eq!(world.done.len(), 1);
        let id = open(&world);
        if !done {
            // The model of "may be done only once" learns that it was not done.
            world.checkers.was_not_done(id);
        }
        world.say(Duration::ZERO, approve(id, &[], Some(done)));
        world.run_for(millis(3000));
        assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
        assert_eq!(world.done.len(), if done { 1 } else { 2 });
        check_replay(&world);
    }
}

#[test]
fn a_step_that_failed_ends_the_rung_and_the_recovery_says_why() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::Outcome(Outcome::Failed("no such user".to_owned())));
    fails(&mut world, Server::Dead);
    world.run_for(millis(2500));
    let all = recoveries(&world);
    let failed = all.last().expect("one");
    assert_eq!(failed.status, RecoveryStatus::RecoveryFailed);
    assert!(failed.tried.iter().any(|it| it.contains("no such user")), "{:?}", failed.tried);
    assert_eq!(serving(&world).as_deref(), Some("orders-db"), "nobody took over, so the route is its owner's again");
    check_replay(&world);
}

#[test]
fn an_agent_without_its_journal_takes_over_what_traffic_serves() {
    let mut world = world(DATABASE);
    fails(&mut world, Server::Dead);
    world.run_for(millis(4000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    let epoch = world.table.epoch;
    world.lose_journal(millis(500));
    world.run_for(millis(5000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    assert!(world.table.epoch >= epoch);
    let state = world.engine().expect("runs").state();
    assert_eq!(state.plan.instance(state.components[0].bound).name, "orders-db-b");
    assert!(world.journal().iter().any(|it| matches!(it.1.body, Body::TrafficAhead { .. })));
    check_replay(&world);
}

#[test]
fn a_takeover_waits_for_the_traffic_process_and_goes_on_when_it_is_back() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::Traffic(false));
    fails(&mut world, Server::Dead);
    world.fault(millis(1400), Fault::Traffic(true));
    world.run_for(millis(20_000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    check_replay(&world);
}

#[test]
fn everything_that_could_fail_can_be_asked_about_beforehand() {
    let mut world = world(DATABASE);
    let answers = status::recoverable_now(world.engine().expect("runs"), world.now);
    let by = status::Recoverable::By { rung: 0, strategy: Strategy::FailoverToStandby, to: "orders-db-b".to_owned() };
    assert_eq!(answers, [by]);
    // A standby that lags too far behind would not take over, and the answer says so beforehand.
    world.fault(Duration::ZERO, Fault::Lag("orders-db-b".to_owned(), Some(millis(60_000))));
    world.run_for(millis(60_000));
    let answers = status::recoverable_now(world.engine().expect("runs"), world.now);
    let no = |it: &status::Recoverable| matches!(it, status::Recoverable::No { why } if why.contains("RPO"));
    assert!(answers.iter().all(no), "{answers:?}");
}

/// Kills the agent at every record of a recovery in turn, in each of the three ways, and lets it start again.
fn killed_everywhere(text: &str, how: Server, new_owner: &str) {
    let begin = |world: &mut World| {
        world.run_for(millis(3000));
        fails(world, how);
    };
    let mut whole = World::new(plan(text));
    begin(&mut whole);
    whole.run_for(millis(6000));
    let records = whole.journal();
    let first = records.iter().find(|it| matches!(it.1.body, Body::FailureDetected { .. })).expect("detected").0 - 1;
    let last = records.last().expect("some").0;
    let mut crashes = 0;
    for seq in first..=last {
        for kind in [CrashKind::AfterRecord, CrashKind::BeforeSync, CrashKind::BeforeOutcome] {
            let mut world = World::new(plan(text));
            world.crash_at(Crash { seq, kind, down_for: millis(700) });
            begin(&mut world);
            world.run_for(millis(20_000));
            crashes += world.crashes();
            if let Some(WaitingOn::OutcomeUnknown { .. }) = waiting(&world) {
                // Allowed only where it really can't be known: a step that may be done once was begun.
                let id = open(&world);
                let was_done = !world.done.is_empty();
                world.say(Duration::ZERO, approve(id, &[], Some(was_done)));
                world.run_for(millis(5000));
            }
            let all = recoveries(&world);
            let ended = all.last().expect("one");
            assert_eq!(ended.status, RecoveryStatus::RecoveryCompleted, "{kind:?} at {seq}: {all:#?}");
            assert_eq!(serving(&world).as_deref(), Some(new_owner), "{kind:?} at {seq}: {all:#?}");
            check_replay(&world);
            observed_before_acting(&world);
        }
    }
    assert!(crashes > 20, "only {crashes} crashes struck");
}

/// After each start of the agent, an instance's health stands in the journal before a step that can't be taken back.
fn observed_before_acting(world: &World) {
    let mut seen = true;
    for (seq, record) in world.journal() {
        seen &= !matches!(record.body, Body::AgentStarted { .. });
        seen |= matches!(record.body, Body::HealthChanged { .. });
        if let Body::StepStarted { name, .. } = &record.body
            && !name.starts_with("cut")
        {
            assert!(seen, "record {seq} begins `{name}` before anything was observed");
        }
    }
}

#[test]
fn killed_at_every_record_of_a_takeover_through_the_proxy() {
    killed_everywhere(DATABASE, Server::Dead, "orders-db-b");
}

#[test]
fn killed_at_every_record_of_a_takeover_with_a_stop() {
    let text = FILES.replace("      - restart_service: { timeout: 2s, verify_within: 2s }\n", "");
    killed_everywhere(&text, Server::Hung, "files-b");
}
