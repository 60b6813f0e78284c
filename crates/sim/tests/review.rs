//! Corners that schedules seldom reach: two things in one turn, a restart at a bad moment, a plan that changes under way.

mod fixture;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::record::{Completion, ReportedTarget};
use mainstay_engine::state::{LOCAL_PROCESS, RecoveryStatus};
use mainstay_engine::{Body, Engine, Input, Record, WaitingOn, status};
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::{Answer, Concerns, Health, Observation};
use mainstay_plan::probe::Watches;
use mainstay_plan::routing::{RoutingTable, TargetState};
use mainstay_plan::strategy::Phase;
use mainstay_plan::{Plan, ProbeIx, Time};
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Crash, CrashKind, Server, World};

use fixture::{DATABASE, FILES, THE, millis, plan, recoveries, serving, waiting};

fn world(text: &str) -> World {
    let mut world = World::new(plan(text));
    world.run_for(millis(3000));
    world
}

fn server(world: &mut World, name: &str, state: Server) {
    world.fault(Duration::ZERO, Fault::Server(name.to_owned(), state));
}

fn done(world: &World) -> Vec<&str> {
    world.done.iter().map(|it| it.1.as_str()).collect()
}

/// The database with a second standby, `orders-db-c`, and a second rung that leads to it.
fn two_standbys() -> String {
    let second = "      - failover_to_standby: { standby: orders-db-b, verify_within: 5s }\n";
    let text = DATABASE.replace(second, &format!("{second}{}", second.replace("db-b", "db-c"))).replace(
        "10.0.2.10:5432\" }\n",
        "10.0.2.10:5432\" }\n      - { standby: orders-db-c, address: \"10.0.4.10:5432\" }\n",
    );
    let standby = text.split("standbys:\n").nth(1).expect("there").split("witnesses:\n").next().expect("there");
    let another =
        standby.replace("db-b", "db-c").replace("z2", "z4").replace("db-2", "db-4").replace("10.0.2", "10.0.4");
    let another = another.replace("promote, b", "promote, c");
    text.replace(standby, &format!("{standby}{another}"))
}

/// The table already cuts the old owner off when the second rung asks for it, so its cut ends in the turn in which it begins.
#[test]
fn the_step_after_a_cut_that_is_there_already_is_done_once() {
    let mut world = world(&two_standbys());
    world.fault(Duration::ZERO, Fault::Outcome(Outcome::Failed("no such user".to_owned())));
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(8000));
    assert_eq!(done(&world), ["promote b", "promote c"], "{:#?}", recoveries(&world));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-c"));
    replays(world.stored(), &world.plan);
}

#[test]
fn a_standby_that_can_not_be_asked_is_waited_for_once() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::CannotAsk("orders-db-b".to_owned(), true));
    world.run_for(millis(60_000));
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(60_000));
    let held = world.journal().iter().filter(|it| matches!(it.1.body, Body::Held { .. })).count();
    assert!(held <= 4, "{held} holds, and people were told {} things", world.told.len());
    assert!(matches!(waiting(&world), Some(WaitingOn::NoRungPossible { .. })), "{:?}", waiting(&world));
    replays(world.stored(), &world.plan);
}

#[test]
fn a_standby_that_was_not_seen_is_passed_over_after_one_patience() {
    let mut world = world(&two_standbys());
    world.fault(Duration::ZERO, Fault::CannotAsk("orders-db-b".to_owned(), true));
    world.fault(Duration::ZERO, Fault::AgentKilled(millis(10)));
    server(&mut world, "orders-db", Server::Dead);
    // The restart, the look at the old owner, and 2 * (500 + 3 * 200 + 200) ms of patience.
    world.run_for(millis(4200));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-c"), "{:?}", waiting(&world));
    replays(world.stored(), &world.plan);
}

/// The agent sleeps over the old owner's return and second failure: how far the standby was at the first says nothing.
#[test]
fn how_far_a_standby_was_counts_for_the_failure_at_hand_only() {
    let mut world = world(DATABASE);
    let until = world.now + Duration::from_secs(3600);
    world.say(Duration::ZERO, Command::Pause { component: None, until, reason: "disks".to_owned(), owner: None });
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(3000));
    world.fault(Duration::ZERO, Fault::AgentStops(Duration::from_secs(600)));
    world.fault(millis(1000), Fault::Server("orders-db".to_owned(), Server::Up));
    world.fault(millis(500_000), Fault::Lag("orders-db-b".to_owned(), Some(Duration::from_secs(500))));
    world.fault(millis(599_000), Fault::Server("orders-db".to_owned(), Server::Dead));
    world.run_for(millis(605_000));
    world.say(Duration::ZERO, Command::Resume { component: None });
    world.run_for(millis(5000));
    assert!(matches!(waiting(&world), Some(WaitingOn::NoRungPossible { .. })), "{:?}", waiting(&world));
    assert_eq!(serving(&world).as_deref(), Some("orders-db"));
    replays(world.stored(), &world.plan);
}

/// S8 holds for a recovery that is under way as well: after a restart it may be us who can't see.
#[test]
fn a_recovery_under_way_goes_on_only_when_witnesses_answer_the_new_agent() {
    let seen_from = |crash: Option<Crash>| {
        let mut world = World::new(plan(FILES));
        if let Some(crash) = crash {
            world.crash_at(crash);
        }
        world.run_for(millis(3000));
        server(&mut world, "files", Server::Dead);
        world
    };
    let mut whole = seen_from(None);
    whole.run_for(millis(3000));
    let started = |it: &&(u64, mainstay_engine::Record)| matches!(it.1.body, Body::StepStarted { .. });
    let seq = whole.journal().iter().find(started).expect("a restart began").0;
    let mut world = seen_from(Some(Crash { seq, kind: CrashKind::AfterRecord, down_for: millis(5000) }));
    world.fault(millis(2000), Fault::OwnPath(true));
    world.fault(millis(2000), Fault::Server("files".to_owned(), Server::Up));
    world.run_for(millis(30_000));
    assert_eq!(world.crashes(), 1);
    assert!(matches!(waiting(&world), Some(WaitingOn::Witnesses { .. })), "{:?}", waiting(&world));
    assert_eq!(done(&world), [""; 0], "a service that works was restarted because we were cut off");
    world.fault(Duration::ZERO, Fault::OwnPath(false));
    world.run_for(millis(5000));
    assert_eq!(waiting(&world), None);
    assert_eq!(recoveries(&world)[0].status, RecoveryStatus::RecoveryCompleted);
    replays(world.stored(), &world.plan);
}

/// Stopped once is not stopped for ever: while the agent was down someone started the old owner again.
#[test]
fn an_old_owner_that_runs_again_is_no_fence() {
    let text = FILES.replace("      - restart_service: { timeout: 2s, verify_within: 2s }\n", "");
    let begin = |crash: Option<Crash>| {
        let mut world = World::new(plan(&text));
        if let Some(crash) = crash {
            world.crash_at(crash);
        }
        world.run_for(millis(3000));
        server(&mut world, "files", Server::Hung);
        world
    };
    let mut whole = begin(None);
    whole.run_for(millis(4000));
    let journal = whole.journal();
    let stop = |it: &&(u64, mainstay_engine::Record)| matches!(&it.1.body, Body::StepStarted { name, .. } if name.starts_with("stop"));
    let stopped = journal.iter().find(stop).expect("it was stopped").1.clone();
    let Body::StepStarted { step, .. } = stopped.body else { unreachable!() };
    let ended = journal.iter().find(|it| matches!(&it.1.body, Body::StepEnded { step: of, .. } if *of == step));
    let seq = ended.expect("the stop ended").0;
    let mut world = begin(Some(Crash { seq, kind: CrashKind::AfterRecord, down_for: millis(10_000) }));
    world.fault(millis(6000), Fault::Server("files".to_owned(), Server::Up));
    world.run_for(millis(30_000));
    assert_eq!(world.crashes(), 1);
    let owner_runs = world.servers["files"] == Server::Up;
    assert!(
        !(owner_runs && serving(&world).as_deref() == Some("files-b")),
        "files-b took over while files runs: {:?}",
        done(&world)
    );
    replays(world.stored(), &world.plan);
}

/// Without its journal an agent doesn't know who owns what; until the traffic process says so, nothing is done.
#[test]
fn an_agent_without_its_journal_does_nothing_before_it_heard_of_the_traffic() {
    let mut world = world(FILES);
    world.fault(Duration::ZERO, Fault::Outcome(Outcome::Failed("will not start".to_owned())));
    server(&mut world, "files", Server::Dead);
    while serving(&world).as_deref() != Some("files-b") {
        server(&mut world, "files", Server::Dead);
        world.run_for(millis(1));
    }
    world.run_for(millis(3000));
    server(&mut world, "files", Server::Dead);
    world.fault(Duration::ZERO, Fault::Traffic(false));
    world.run_for(millis(100));
    let before = world.done.len();
    world.lose_journal(millis(500));
    world.run_for(millis(20_000));
    assert!(matches!(waiting(&world), Some(WaitingOn::Traffic {})), "{:?}", waiting(&world));
    assert_eq!(world.engine().expect("runs").state().routing.epoch, 0, "a table was made before anybody was heard");
    assert_eq!(done(&world)[before..], [""; 0], "the displaced owner was started while files-b is the component");
    world.fault(Duration::ZERO, Fault::Traffic(true));
    world.run_for(millis(5000));
    assert_eq!(serving(&world).as_deref(), Some("files-b"));
}

#[test]
fn the_phases_of_a_recovery_that_ended_by_itself_add_up() {
    let mut world = world(&DATABASE.replace("cool_down: 10s", "cool_down: 10s, approval: { expires: 1h }"));
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(10_000));
    server(&mut world, "orders-db", Server::Up);
    world.run_for(millis(3000));
    let ended = &recoveries(&world)[0];
    assert_eq!(ended.completion, Some(Completion::ByItself));
    let total: Duration = ended.phases.values().sum();
    assert_eq!(total, ended.ended.expect("ended").since(ended.last_good.expect("was seen good")));
    let recorded = world.journal().into_iter().find_map(|it| {
        let Body::RecoveryCompleted { phases_ns, .. } = it.1.body else { return None };
        Some(phases_ns.iter().map(|it| it.1).sum::<u64>())
    });
    assert_eq!(recorded.map(Duration::from_nanos), Some(total));
    replays(world.stored(), &world.plan);
}

#[test]
fn the_way_out_of_one_components_pause_names_the_component() {
    let mut world = world(DATABASE);
    let until = world.now + Duration::from_secs(3600);
    let component = Some("orders-db".to_owned());
    world.say(Duration::ZERO, Command::Pause { component, until, reason: "disks".to_owned(), owner: None });
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(5000));
    let (id, waits, _) = status::waiting(world.engine().expect("runs").state(), THE).expect("it waits");
    assert_eq!(waits.way_out(id), "mainstay resume orders-db");
}

#[test]
fn nothing_is_done_without_a_journal_where_the_plan_says_hold() {
    let text = FILES.replace("state: ./state", "state: ./state\non_journal_loss: hold");
    let mut world = world(&text.replace("{ timeout: 2s, verify", "{ timeout: 2s, attempts: 2, verify"));
    world.fault(Duration::ZERO, Fault::Outcome(Outcome::Failed("will not start".to_owned())));
    server(&mut world, "files", Server::Dead);
    while world.done.is_empty() {
        world.run_for(millis(1));
    }
    server(&mut world, "files", Server::Dead);
    world.fault(Duration::ZERO, Fault::JournalLost);
    world.run_for(millis(20_000));
    assert_eq!(done(&world), ["restart files"]);
    assert_eq!(waiting(&world), Some(WaitingOn::JournalLost {}));
    let id = status::waiting(world.engine().expect("runs").state(), THE).expect("waits").0;
    let (overrides, reason) = (vec![Override::JournalLost], "now".to_owned());
    world.say(Duration::ZERO, Command::Approve { recovery: id, overrides, outcome: None, reason });
    world.run_for(millis(5000));
    assert_eq!(recoveries(&world)[0].status, RecoveryStatus::RecoveryCompleted);
}

#[test]
fn an_exclusive_takeover_is_refused_without_a_journal() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::JournalLost);
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(20_000));
    assert_eq!(done(&world), [""; 0]);
    assert!(matches!(waiting(&world), Some(WaitingOn::NoRungPossible { .. })), "{:?}", waiting(&world));
}

/// A standby that is the component is taken out of the plan by a changed name.
#[test]
fn a_plan_that_does_not_know_the_owner_does_not_move_the_route() {
    let mut world = world(DATABASE);
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(4000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
    server(&mut world, "orders-db", Server::Up);
    world.run_for(millis(2000));
    world.fault(Duration::ZERO, Fault::Reload(Box::new(plan(&DATABASE.replace("orders-db-b", "orders-db-x")))));
    world.run_for(millis(4000));
    assert_ne!(serving(&world).as_deref(), Some("orders-db"), "a displaced owner serves again without a fence");
}

#[test]
fn a_new_plan_keeps_binding_fence_cool_down_and_pause() {
    let mut world = world(DATABASE);
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(4000));
    let until = world.now + Duration::from_secs(3600);
    let component = Some("orders-db".to_owned());
    world.say(Duration::ZERO, Command::Pause { component, until, reason: "disks".to_owned(), owner: None });
    world.run_for(millis(100));
    let before = world.engine().expect("runs").state().clone();
    let text = DATABASE.replace("cool_down: 10s", "cool_down: 20s");
    world.fault(Duration::ZERO, Fault::Reload(Box::new(plan(&text))));
    world.run_for(millis(3000));
    let state = world.engine().expect("runs").state();
    assert_eq!(state.plan.instance(state.components[0].bound).name, "orders-db-b");
    assert!(state.instances[0].displaced);
    assert_eq!(state.components[0].last_ended, before.components[0].last_ended);
    assert!(state.components[0].last_ended.is_some());
    assert_eq!(state.components[0].paused, before.components[0].paused);
    assert!(world.table.epoch > before.routing.epoch, "the new plan's table is published");
    let targets = &world.table.routes[0].targets;
    assert_eq!(targets.iter().map(|it| it.state).collect::<Vec<_>>(), [TargetState::Fenced, TargetState::Serving]);
    replay_with_plans(&world);
}

fn replay_with_plans(world: &World) {
    let replayed = mainstay_engine::replay::replay(world.stored(), |source, _| Some(plan(source)));
    if let Err(error) = replayed {
        panic!("S10: {error}");
    }
}

/// The witness answers as soon as our path works again, and the instance a moment later: that moment is no failure.
#[test]
fn whoever_is_seen_again_first_nothing_is_done_when_our_path_is_whole_again() {
    for after in (0..1000).step_by(9) {
        let mut world = world(FILES);
        world.fault(Duration::ZERO, Fault::OwnPath(true));
        world.fault(millis(5000 + after), Fault::OwnPath(false));
        world.run_for(millis(10_000));
        assert_eq!(done(&world), [""; 0], "after {after} ms");
        assert_eq!(world.table.epoch, 1, "after {after} ms");
        assert_eq!(recoveries(&world)[0].completion, Some(Completion::ByItself));
    }
}

#[test]
fn what_can_not_be_asked_is_not_down() {
    let mut world = world(DATABASE);
    world.fault(Duration::ZERO, Fault::CannotAsk("orders-db".to_owned(), true));
    world.run_for(millis(60_000));
    assert_eq!(recoveries(&world), []);
    let state = world.engine().expect("runs").state();
    assert_eq!(state.instances[0].health, Health::Unknown, "nor is it healthy for ever");
}

#[test]
fn a_standby_that_never_said_how_far_it_is_does_not_take_over() {
    let mut world = World::new(plan(DATABASE));
    world.lag.remove("orders-db-b");
    world.run_for(millis(3000));
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(5000));
    let Some(WaitingOn::NoRungPossible { reasons, .. }) = waiting(&world) else { panic!("{:?}", waiting(&world)) };
    assert!(reasons[0].contains("it is not known how far"), "{reasons:?}");
}

const APP: &str = "  app:\n    type: application_server\n    location: { region: r1, zone: z3, host: ops }\n    \
        depends_on: [orders-db]\n    probes:\n      - http: { url: \"http://10.0.5.10:80/\", interval: 500ms, fast_interval: \
        200ms, timeout: 200ms, fall: 3 }\n    service: { start: [start-it], pid_file: /run/it.pid }\n    recovery:\n      \
        - restart_service: { timeout: 2s, verify_within: 2s }\nstandbys:\n";

fn app_fails_after_its_database(after: Duration) -> World {
    let mut world = world(&DATABASE.replace("standbys:\n", APP));
    server(&mut world, "orders-db", Server::Dead);
    world.fault(after, Fault::Server("app".to_owned(), Server::Dead));
    world.run_for(millis(8000));
    world
}

#[test]
fn what_depends_on_a_failed_component_is_recovered_after_it() {
    let world = app_fails_after_its_database(millis(800));
    assert_eq!(done(&world), ["promote b", "restart app"]);
    replays(world.stored(), &world.plan);
}

#[test]
fn what_depends_on_a_component_that_waits_waits_for_it() {
    let mut world = world(&DATABASE.replace("standbys:\n", APP));
    world.fault(Duration::ZERO, Fault::Lag("orders-db-b".to_owned(), Some(millis(60_000))));
    world.run_for(millis(60_000));
    server(&mut world, "orders-db", Server::Dead);
    world.fault(millis(3000), Fault::Server("app".to_owned(), Server::Dead));
    world.run_for(millis(20_000));
    assert_eq!(done(&world), [""; 0]);
    let state = world.engine().expect("runs").state();
    let app = state.component("app").expect("in the plan");
    let waits = status::waiting(state, app).map(|it| it.1);
    assert_eq!(waits, Some(WaitingOn::Dependency { component: "orders-db".to_owned() }));
}

#[test]
fn what_fails_together_with_its_dependency_waits_for_it() {
    for after in (0..400).step_by(50) {
        assert_eq!(
            done(&app_fails_after_its_database(millis(after))),
            ["promote b", "restart app"],
            "after {after} ms"
        );
    }
}

#[test]
fn only_a_repeat_after_an_unknown_outcome_has_the_same_key() {
    let text = FILES.replace("{ timeout: 2s, verify", "{ timeout: 2s, attempts: 2, verify");
    for (outcome, same) in [(Outcome::Failed("no".to_owned()), false), (Outcome::Unknown("cut".to_owned()), true)] {
        let mut world = world(&text);
        world.fault(Duration::ZERO, Fault::Outcome(outcome));
        server(&mut world, "files", Server::Dead);
        while world.done.is_empty() {
            world.run_for(millis(1));
        }
        server(&mut world, "files", Server::Dead);
        world.run_for(millis(5000));
        assert_eq!(done(&world), ["restart files", "restart files"]);
        assert_eq!(world.done[0].0 == world.done[1].0, same);
    }
}

#[test]
fn each_step_counts_for_its_phase() {
    let text = FILES.replace("      - restart_service: { timeout: 2s, verify_within: 2s }\n", "");
    let mut world = world(&text);
    server(&mut world, "files", Server::Dead);
    world.run_for(millis(5000));
    let phases = &recoveries(&world)[0].phases;
    let bounds = [(Phase::Detect, 400, 1200), (Phase::Decide, 0, 50), (Phase::Fence, 20, 100), (Phase::Act, 20, 100)];
    for (phase, from, to) in bounds {
        assert!((millis(from)..millis(to)).contains(&phases[&phase]), "{phase:?}: {phases:?}");
    }
}

#[test]
fn what_a_guard_takes_counts_for_deciding() {
    let mut world = world(DATABASE);
    server(&mut world, "gateway", Server::Dead);
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(9000));
    let recovery = recoveries(&world)[0].id;
    let (overrides, reason) = (vec![Override::Witnesses], "it is down".to_owned());
    world.say(Duration::ZERO, Command::Approve { recovery, overrides, outcome: None, reason });
    world.run_for(millis(5000));
    let phases = &recoveries(&world)[0].phases;
    assert!(phases[&Phase::Decide] > millis(7000), "{phases:?}");
    assert!(phases[&Phase::Detect] < millis(2000), "{phases:?}");
}

/// Drives the engine by hand: every record is durable at once, and every probe is answered as told.
struct Desk {
    driver: Driver,
    plan: Arc<Plan>,
    now: Time,
    answers: BTreeMap<String, Answer>,
    asked: Vec<ProbeIx>,
    records: Vec<Body>,
    tables: Vec<RoutingTable>,
    acted: Vec<String>,
    cancelled: usize,
    /// Records that begin a step are not durable for now; whatever comes before them is.
    syncs_late: bool,
}

impl Desk {
    fn new(text: &str) -> Desk {
        let plan = Arc::new(plan(text));
        let now = Time::from_millis(1_000_000);
        let driver = Driver::new(Engine::new(plan.clone(), ".", "desk", [], now));
        let (answers, asked, records, tables, acted) = Default::default();
        let mut desk =
            Desk { driver, plan, now, answers, asked, records, tables, acted, cancelled: 0, syncs_late: false };
        desk.turn(vec![Input::TrafficServes { process: LOCAL_PROCESS.to_owned(), epoch: 0, targets: Vec::new() }]);
        desk
    }

    fn turn(&mut self, mut inputs: Vec<Input>) {
        loop {
            let turn = self.driver.turn(self.now, inputs);
            let last = turn.first_seq + turn.append.len() as u64 - 1;
            self.records.extend(turn.append.iter().map(|it| it.body.clone()));
            for todo in turn.todo {
                match todo {
                    Todo::Probe(probe, _) => self.asked.push(probe),
                    Todo::Route(table) => self.tables.push(table),
                    Todo::Act(order) => self.acted.push(order.instance),
                    Todo::Cancel(_) => self.cancelled += 1,
                    Todo::Log(_) | Todo::AskLease | Todo::Grant(_) | Todo::HearTraffic(_) | Todo::Notify(_) => {}
                }
            }
            if turn.append.is_empty() {
                return;
            }
            let late = self.syncs_late && turn.append.last().is_some_and(|it| it.body.kind() == "step_started");
            inputs = vec![Input::Recorded(if late { last - 1 } else { last })];
        }
    }

    fn says(&self, probe: ProbeIx) -> Answer {
        let name = match self.plan.probe(probe).watches {
            Watches::Instance(ix) => &self.plan.instance(ix).name,
            Watches::Witness(ix) => &self.plan.witness(ix).name,
            Watches::Control(ix) => &self.plan.control(ix).service,
            Watches::Route(ix) => &self.plan.route(ix).name,
        };
        self.answers.get(name).cloned().unwrap_or(Answer::Good)
    }

    fn answer(&self, probe: ProbeIx) -> Input {
        let (started, ended) = (self.now, self.now + millis(1));
        let lag = self.plan.probe(probe).kind.reports_lag().then_some(Duration::ZERO);
        Input::Observation(Observation {
            probe,
            started,
            ended,
            answer: self.says(probe),
            lag,
            role: None,
            concerns: Concerns::NONE,
            position: None,
        })
    }

    /// Goes on to the next wake-up, and answers what is asked.
    fn step(&mut self) {
        for probe in std::mem::take(&mut self.asked) {
            let answer = self.answer(probe);
            self.turn(vec![answer]);
        }
        self.now = self.driver.engine().next_wakeup().map_or(self.now, |it| it.0).max(self.now + millis(1));
        self.turn(Vec::new());
    }

    fn serve_newest(&mut self) {
        let Some(epoch) = self.tables.last().map(|it| it.epoch) else { return };
        self.turn(vec![Input::RouteApplied { process: LOCAL_PROCESS.to_owned(), epoch }]);
    }

    fn refuse(&mut self, name: &str) {
        self.answers.insert(name.to_owned(), Answer::Refused("connection refused".to_owned()));
    }
}

/// An answer from before we slept, which we read only afterwards, completes no series.
#[test]
fn an_answer_that_was_read_late_is_not_the_last_of_a_failure() {
    let mut desk = Desk::new(DATABASE);
    desk.serve_newest();
    for _ in 0..20 {
        desk.step();
    }
    desk.refuse("orders-db");
    let probe = desk.plan.instances[0].probes[0];
    while desk.driver.engine().soft().watch(probe).failures < 2 || !desk.asked.contains(&probe) {
        desk.step();
    }
    let third = desk.answer(probe);
    desk.asked.clear();
    desk.now = desk.now + Duration::from_secs(3600);
    desk.turn(vec![third]);
    let down = desk.records.iter().find(|it| matches!(it, Body::HealthChanged { to, .. } if to.word() == "down"));
    assert_eq!(down, None, "an hour later, what was seen before is taken for what is");
}

/// What a traffic process says it serves is no acknowledgement: connections that its table cuts may still be open.
#[test]
fn a_report_confirms_no_fence() {
    let mut desk = Desk::new(DATABASE);
    desk.serve_newest();
    for _ in 0..20 {
        desk.step();
    }
    desk.refuse("orders-db");
    let cut = |desk: &Desk| desk.tables.last().is_some_and(|it| it.routes[0].targets[0].state == TargetState::Fenced);
    while !cut(&desk) {
        desk.step();
    }
    let table = desk.tables.last().expect("one").clone();
    let targets = table.routes[0].targets.iter();
    let targets = targets
        .map(|it| ReportedTarget {
            route: "orders".to_owned(),
            instance: it.instance.clone(),
            state: it.state,
            address: None,
        })
        .collect();
    let sent = desk.tables.len();
    desk.turn(vec![Input::TrafficServes { process: LOCAL_PROCESS.to_owned(), epoch: table.epoch, targets }]);
    assert_eq!(desk.acted, [""; 0], "the standby was promoted on the strength of a report");
    assert_eq!(desk.tables.len(), sent + 1, "it is asked to acknowledge");
    desk.serve_newest();
    assert_eq!(desk.acted, ["orders-db-b"]);
}

/// The database's agent up to where its cut is served and the promotion begins.
fn promoting(syncs_late: bool) -> Desk {
    let mut desk = Desk::new(DATABASE);
    desk.serve_newest();
    for _ in 0..20 {
        desk.step();
    }
    desk.refuse("orders-db");
    while desk.tables.last().is_some_and(|it| it.routes[0].targets[0].state != TargetState::Fenced) {
        desk.step();
    }
    desk.syncs_late = syncs_late;
    desk.serve_newest();
    assert!(desk.records.iter().any(|it| matches!(it, Body::StepStarted { name, .. } if name.contains("promote"))));
    desk
}

#[test]
fn an_action_waits_for_its_own_record() {
    assert_eq!(promoting(true).acted, [""; 0]);
    assert_eq!(promoting(false).acted, ["orders-db-b"]);
}

#[test]
fn what_timed_out_is_cancelled() {
    let mut desk = promoting(false);
    assert_eq!(desk.cancelled, 0);
    desk.turn(Vec::new());
    for _ in 0..200 {
        desk.step();
    }
    assert_eq!(desk.cancelled, 1);
    assert_eq!(desk.acted, ["orders-db-b"], "it may be done only once");
}

#[test]
fn a_process_that_serves_something_else_under_our_epoch_is_believed() {
    let mut desk = Desk::new(DATABASE);
    desk.serve_newest();
    let targets = [("orders-db", TargetState::Fenced), ("orders-db-b", TargetState::Serving)].map(|(name, state)| {
        ReportedTarget { route: "orders".to_owned(), instance: name.to_owned(), state, address: None }
    });
    let epoch = desk.tables.last().expect("one").epoch;
    desk.turn(vec![Input::TrafficServes { process: LOCAL_PROCESS.to_owned(), epoch, targets: targets.to_vec() }]);
    let state = desk.driver.engine().state();
    assert_eq!(state.plan.instance(state.components[0].bound).name, "orders-db-b");
    assert!(state.instances[0].displaced);
}

/// Indices belong to a plan: an answer to a question of the plan before says nothing about this plan's probe of that number.
#[test]
fn an_answer_to_the_plan_before_is_not_taken() {
    let mut desk = Desk::new(DATABASE);
    desk.serve_newest();
    desk.refuse("orders-db");
    let probe = desk.plan.instances[0].probes[0];
    while !desk.asked.contains(&probe) {
        desk.step();
    }
    let stale = desk.answer(probe);
    desk.now = desk.now + millis(10);
    let plan = Arc::new(plan(&DATABASE.replace("fall: 3", "fall: 1")));
    desk.turn(vec![Input::NewPlan { plan, base_dir: ".".to_owned() }]);
    desk.turn(vec![stale]);
    assert_eq!(desk.driver.engine().soft().watch(probe).failures, 0);
}

#[test]
fn a_plan_without_the_owner_is_refused_by_name() {
    let mut world = world(DATABASE);
    server(&mut world, "orders-db", Server::Dead);
    world.run_for(millis(4000));
    let renamed = plan(&DATABASE.replace("orders-db-b", "orders-db-x"));
    let refusal = world.engine().expect("runs").check_plan(&renamed).expect_err("the owner is gone");
    assert!(refusal.to_string().contains("keep `orders-db-b` in the plan"), "{refusal}");
    // A start under such a plan folds the same records, and knows it too.
    let records = world.journal();
    let folded = records.iter().map(|(seq, record)| (*seq, record));
    let started = Engine::new(Arc::new(renamed.clone()), ".", "test", folded, world.now);
    assert!(started.check_plan(&renamed).is_err());
    assert!(world.engine().expect("runs").check_plan(&world.plan).is_ok());
}

/// Killed between fence and activation, with the standby dead when the agent is back: it is not activated.
#[test]
fn a_standby_that_died_while_the_agent_was_away_is_not_activated() {
    let text = DATABASE.replace("idempotent: false", "idempotent: true");
    let mut whole = world(&text);
    server(&mut whole, "orders-db", Server::Dead);
    whole.run_for(millis(4000));
    let cut = |it: &(u64, Record)| matches!(&it.1.body, Body::RouteApplied { epoch: 2, .. });
    let fenced = whole.journal().iter().find(|it| cut(it)).expect("the cut was acknowledged").0;

    let mut world = World::new(plan(&text));
    world.crash_at(Crash { seq: fenced, kind: CrashKind::AfterRecord, down_for: millis(700) });
    world.run_for(millis(3000));
    server(&mut world, "orders-db", Server::Dead);
    while world.crashes() == 0 {
        world.run_for(millis(1));
    }
    server(&mut world, "orders-db-b", Server::Dead);
    world.run_for(millis(10_000));
    assert_eq!(world.done, [], "a dead standby was activated");
}

/// A standby that was promoted, or may have been, and did not take over has a history of its own.
#[test]
fn a_half_activated_standby_is_no_standby_any_more() {
    let mut world = world(&DATABASE.replace("cool_down: 10s", "cool_down: 1s"));
    server(&mut world, "orders-db", Server::Dead);
    while world.done.is_empty() {
        world.run_for(millis(1));
    }
    let open = world.engine().expect("runs").state().open_recoveries().next().expect("a recovery is open").id;
    world.say(Duration::ZERO, Command::Abort { recovery: open, reason: "stop".to_owned() });
    world.run_for(millis(10_000));
    assert_eq!(world.done.len(), 1, "it took over without being adopted: {:?}", world.done);
    world.say(
        Duration::ZERO,
        Command::Adopt {
            instance: "orders-db-b".to_owned(),
            role: None,
            anyway: false,
            two_writers: false,
            address: None,
            reason: "rebuilt".to_owned(),
        },
    );
    world.run_for(millis(10_000));
    assert_eq!(serving(&world).as_deref(), Some("orders-db-b"));
}
