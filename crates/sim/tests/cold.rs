//! A cold standby is stopped: it is down by its own probes until its activation starts it, and takes over all the same.

#[expect(dead_code, reason = "the plans here are others")]
mod fixture;

use std::time::Duration;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::record::RecoveryId;
use mainstay_engine::state::RecoveryStatus;
use mainstay_engine::status::{Recoverable, recoverable_now};
use mainstay_engine::{WaitingOn, status};
use mainstay_plan::InstanceIx;
use mainstay_plan::action::Plane;
use mainstay_plan::component::StandbyState;
use mainstay_plan::strategy::Strategy;
use mainstay_sim::checkers::replays;
use mainstay_sim::world::Fault;
use mainstay_sim::{Broken, Server, World};

use fixture::{millis, plan, recoveries, serving, waiting};

/// A database and its cold standby, which `probe` watches; `objectives` are the database's.
fn text(objectives: &str, probe: &str) -> String {
    format!(
        r#"
version: 2
site: {{ name: s, region: r1, zone: z9, host: ops }}
components:
  db:
    type: database
    location: {{ region: r1, zone: z1, host: h1 }}
    objectives: {objectives}
    probes: [{{ tcp: {{ address: "10.0.0.1:5432" }} }}]
    recovery:
      - failover_to_standby: {{ standby: db-cold, verify_within: 5s }}
standbys:
  db-cold:
    temperature: cold
    location: {{ region: r1, zone: z2, host: h2 }}
    probes: [{probe}]
    activate:
      - command: {{ run: [start-instance], plane: regional_control, idempotent: true, timeout: 3s }}
routes:
  db:
    exclusive: {{ fence: traffic_cut }}
    proxy: {{ listen: "10.0.9.1:5432" }}
    targets: [{{ component: db, address: "10.0.0.1:5432" }}, {{ standby: db-cold, address: "10.0.0.2:5432" }}]
"#
    )
}

const HTTP: &str = r#"{ http: { url: "http://10.0.0.2:8008/health", lag_header: lag } }"#;
const COMMAND: &str = "{ command: { run: [lag-of-the-archive], lag: stdout } }";

fn world(objectives: &str, probe: &str) -> World {
    let mut world = World::new(plan(&text(objectives, probe)));
    world.run_for(millis(6000));
    assert_eq!(world.servers["db-cold"], Server::Dead);
    world
}

fn first(world: &World) -> Recoverable {
    recoverable_now(world.engine().expect("the agent runs"), world.now).remove(0)
}

fn fails(world: &mut World) {
    world.fault(Duration::ZERO, Fault::Server("db".to_owned(), Server::Dead));
    world.run_for(millis(15_000));
}

#[test]
fn it_takes_over_although_it_is_down() {
    let mut world = world("{ rto: 1m }", HTTP);
    let state = world.engine().expect("the agent runs").state();
    assert_eq!(state.standby_state(InstanceIx(1)), StandbyState::Standby, "stopped is not failed");
    let by = Recoverable::By { rung: 0, strategy: Strategy::FailoverToStandby, to: "db-cold".to_owned() };
    assert_eq!(first(&world), by);
    fails(&mut world);
    assert_eq!(serving(&world).as_deref(), Some("db-cold"));
    let all = recoveries(&world);
    assert_eq!(all.len(), 1, "what it was before it was started opens no recovery: {all:#?}");
    assert_eq!(all[0].status, RecoveryStatus::RecoveryCompleted);
    assert!(replays(world.stored(), &world.plan).decisions > 0);
}

#[test]
fn without_its_control_plane_the_start_hangs_and_the_rung_fails() {
    let mut world = world("{ rto: 1m }", HTTP);
    let broken = Broken { planes: [Plane::RegionalControl].into(), hangs: true, ..Broken::default() };
    world.fault(Duration::ZERO, Fault::Breaks(Box::new(broken)));
    fails(&mut world);
    let failed = recoveries(&world).into_iter().find(|it| it.status == RecoveryStatus::RecoveryFailed);
    assert!(failed.is_some_and(|it| it.tried.iter().any(|it| it.contains("activate db-cold"))));
    assert_eq!(world.servers["db-cold"], Server::Dead);
}

#[test]
fn with_an_rpo_it_needs_a_lag_that_can_be_asked_while_it_is_stopped() {
    let mut silent = world("{ rpo: 5s }", HTTP);
    assert!(matches!(first(&silent), Recoverable::No { why } if why.contains("not known how far `db-cold` lags")));
    fails(&mut silent);
    assert!(
        matches!(waiting(&silent), Some(WaitingOn::NoRungPossible { overrules, .. }) if overrules == [Override::Rpo])
    );
    let open: RecoveryId = recoveries(&silent)[0].id;
    let accept = Command::Approve {
        recovery: open,
        overrides: vec![Override::Rpo],
        outcome: None,
        reason: "lose it".to_owned(),
    };
    silent.say(Duration::ZERO, accept);
    silent.run_for(millis(10_000));
    assert_eq!(serving(&silent).as_deref(), Some("db-cold"));

    let mut known = world("{ rpo: 5s }", COMMAND);
    fails(&mut known);
    assert_eq!(serving(&known).as_deref(), Some("db-cold"));
    assert!(status::waiting(known.engine().expect("the agent runs").state(), fixture::THE).is_none());
}
