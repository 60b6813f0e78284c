//! What a plan is compiled to, and the arithmetic of its proof, by hand.

use std::path::Path;
use std::time::Duration;

use mainstay_plan::action::{Action, Plane, ServiceOp};
use mainstay_plan::backup::{Backup, BackupCopy};
use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::probe::{Address, ProbeKind};
use mainstay_plan::proof::{Change, Condition, DataLoss, Proof};
use mainstay_plan::route::Poll;
use mainstay_plan::strategy::{Play, StepKind};
use mainstay_plan::{Code, Plan, compile};

const PLAN: &str = include_str!("golden/wrong/sound.yaml");

fn plan(text: &str) -> Plan {
    let compiled = compile("plan.yaml", text, Path::new("/etc/mainstay"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

fn step_names(play: &Play) -> Vec<&str> {
    play.steps.iter().map(|it| it.name.as_str()).collect()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_takeover_has_a_play_in_each_direction() {
    let plan = plan(
        &PLAN
            .replace("traffic_cut", "stop")
            .replace("  db-b:\n", "  db-b:\n    service: { start: [b, up], stop: [b, down], status: [b, is-up] }\n"),
    );
    let (db, standby) = (plan.instance_named("db").unwrap(), plan.instance_named("db-b").unwrap());
    let failover = &plan.components[0].ladder[1];
    let there = &failover.plays[&db];
    assert_eq!(there.to, standby);
    assert_eq!(step_names(there), ["cut traffic to db", "stop db", "hand over to db-b", "verify"]);
    let back = &failover.plays[&standby];
    assert_eq!(back.to, db);
    assert_eq!(step_names(back), ["cut traffic to db-b", "stop db-b", "hand over to db", "verify"]);
    let planes: Vec<Plane> = there.steps.iter().map(|it| it.plane).collect();
    assert_eq!(planes, [Plane::Local, Plane::Local, Plane::Local, Plane::Data]);
    assert!(there.steps.iter().all(|it| it.idempotent && it.attempts >= 1));
    assert!(!there.accepts_two_writers);
}

#[test]
fn a_restart_has_a_play_for_each_instance_that_has_a_service() {
    let plan = plan(PLAN);
    let db = plan.instance_named("db").unwrap();
    let restart = &plan.components[0].ladder[0];
    assert_eq!(restart.plays.keys().copied().collect::<Vec<_>>(), [db]);
    let Some((on, Action::Service { op, .. })) = restart.plays[&db].steps[0].kind.action() else {
        panic!("{restart:?}");
    };
    assert_eq!((on, *op), (db, ServiceOp::Restart));
}

#[test]
fn an_accepted_risk_keeps_the_cut_as_a_best_effort() {
    let text = PLAN
        .replace("{ fence: traffic_cut }", "{}")
        .replace("standby: db-b }", "standby: db-b, accept_risk: [two_writers] }");
    let compiled = compile("plan.yaml", &text, Path::new("/"));
    assert!(compiled.findings.iter().any(|it| it.code == Code::TwoWriters));
    let plan = compiled.plan.unwrap();
    let play = &plan.components[0].ladder[1].plays[&plan.components[0].original()];
    assert!(play.accepts_two_writers);
    assert_eq!(step_names(play), ["cut traffic to db", "hand over to db-b", "verify"]);
}

#[test]
fn a_route_is_verified_through_its_proxy_or_its_name() {
    // The monitor is on another port than the server: a connection is asked through the route, the rest of the instance.
    let beside = plan(PLAN);
    let verify = beside.probe(beside.routes[0].verify[0]);
    assert_eq!(verify.kind, ProbeKind::Tcp { address: Address::Socket("10.0.9.1:6432".parse().unwrap()) });
    let (db, standby) = (beside.instance_named("db").unwrap(), beside.instance_named("db-b").unwrap());
    let StepKind::Verify { probes } = &beside.components[0].ladder[1].plays[&db].steps[2].kind else { panic!() };
    assert_eq!(*probes, [beside.routes[0].verify[0], beside.instance(standby).probes[0]]);

    let same_port = PLAN.replace(":5432", ":8008");
    let through_proxy = plan(&same_port);
    let verify = through_proxy.probe(through_proxy.routes[0].verify[0]);
    assert_eq!(verify.name, "route/orders/verify");
    let ProbeKind::Http(http) = &verify.kind else { panic!("{verify:?}") };
    assert_eq!(http.address, Address::Socket("10.0.9.1:6432".parse().unwrap()));
    assert_eq!((verify.timing.fall, verify.timing.interval), (1, ms(500)));

    let text = same_port
        .replace("exclusive: { fence: traffic_cut }", "shared: {}")
        .replace("proxy: { listen: \"10.0.9.1:6432\" }", "dns: { name: Orders.Internal, ttl: 2s }")
        .replace("components:\n", "traffic: { dns: \"0.0.0.0:53\" }\ncomponents:\n");
    let by_name = plan(&text);
    let ProbeKind::Http(http) = &by_name.probe(by_name.routes[0].verify[0]).kind else { panic!() };
    let address = Address::ResolvedBy {
        server: "127.0.0.1:53".parse().unwrap(),
        name: "orders.internal.".to_owned(),
        port: 8008,
    };
    assert_eq!(http.address, address);
    assert_eq!(through_proxy.witnesses.len(), through_proxy.components[0].witnesses.of.len());
    assert_eq!(through_proxy.components[0].witnesses.need, 1);
}

#[test]
fn bounds_add_up_by_hand() {
    let plan = plan(PLAN);
    let proof = Proof::of(&plan);
    let db = plan.component_named("db").unwrap();
    // Instance: interval 1 s + 2 × 1 s + timeout 0.5 s + lateness 0.25 s; one sync; the witness answers meanwhile
    // (2 × 0.5 s < 2 s); restart 10 s and a sync; one verification, behind a question on its
    // way.
    let bound = proof.bound(db, FailureDomain::Instance, Condition::None, None).unwrap();
    assert_eq!((bound.detect, bound.decide, bound.earlier_rungs), (ms(3750), ms(100), ms(0)));
    assert_eq!((bound.fence, bound.act, bound.converge), (ms(0), ms(10_100), ms(1000)));
    // Zone: the restart fails first, at worst when it seems to work and then does not verify (10 s + sync, 10 s); cut and
    // hand over: sync + apply each.
    let bound = proof.bound(db, FailureDomain::Zone, Condition::None, None).unwrap();
    assert_eq!((bound.detect, bound.decide, bound.earlier_rungs), (ms(3750), ms(100), ms(20_100)));
    assert_eq!((bound.fence, bound.act, bound.converge), (ms(200), ms(200), ms(1000)));
    assert_eq!(bound.total(), ms(25_350));
    // The agent dies once: it is started (5 s), sees the failure again (2 × 1 s + 0.5 s + 0.25 s), decides again, and the
    // attempt that it fell into is made again: the longest is the restart's.
    let again = proof.bound(db, FailureDomain::Zone, Condition::AgentRestarts, None).unwrap();
    assert_eq!((again.detect, again.decide), (ms(3750 + 5000 + 2750), ms(200)));
    assert_eq!((again.earlier_rungs, again.fence, again.act), (ms(20_100 + 10_100), ms(200), ms(200)));
    // By route: there is one, and no other.
    let route = plan.route_named("orders");
    assert_eq!(proof.bound(db, FailureDomain::Zone, Condition::None, route), Some(bound));
    // The agent lives in the same region, and without its host nothing decides.
    assert_eq!(proof.bound(db, FailureDomain::Region, Condition::None, None), None);
    assert_eq!(proof.bound(db, FailureDomain::Instance, Condition::AgentsHostGone, None), None);
    let zone = proof.cell(db, FailureDomain::Zone, Condition::None).unwrap();
    assert_eq!(zone.verdict.as_ref().unwrap().data_loss, DataLoss::AtMost(ms(5000)));
}

#[test]
fn slow_witnesses_and_cached_names_cost_time() {
    let text = PLAN
        .replace(
            "{ tcp: { address: \"10.0.9.254:22\" } }",
            "{ tcp: { address: \"10.0.9.254:22\", interval: 5s, timeout: 3s } }",
        )
        .replace("exclusive: { fence: traffic_cut }", "shared: {}")
        .replace("proxy: { listen: \"10.0.9.1:6432\" }", "dns: { name: orders.internal, ttl: 2s }")
        .replace("components:\n", "traffic: { dns: \"0.0.0.0:53\" }\ncomponents:\n");
    let plan = plan(&text);
    let proof = Proof::of(&plan);
    let db = plan.component_named("db").unwrap();
    let bound = proof.bound(db, FailureDomain::Zone, Condition::None, None).unwrap();
    // 2 × 3 s for the witness, of which 2 s pass while the probe is in doubt.
    assert_eq!(bound.decide, ms(100 + 4000));
    assert_eq!(bound.converge, ms(1000 + 2000));
    // A restart changes no answer.
    assert_eq!(proof.bound(db, FailureDomain::Instance, Condition::None, None).unwrap().converge, ms(1000));
}

#[test]
fn what_does_not_survive_says_why() {
    let why = |text: &str, failure, condition| {
        let plan = plan(text);
        let proof = Proof::of(&plan);
        let db = plan.component_named("db").unwrap();
        let none = proof.cell(db, failure, condition).unwrap().verdict.as_ref().unwrap_err();
        assert!(!proof.changes(db, failure, condition).is_empty(), "{none:?}");
        none.because.iter().map(|it| it.said(&plan).to_string()).collect::<Vec<String>>()
    };
    let cases = [
        (PLAN.replace("zone: a, host: ops", "zone: b, host: ops"), "the agent (eu/b/ops) is lost with the zone"),
        (PLAN.replace("zone: c", "zone: b"), "standby `db-b` (eu/b/db-2) may be lost with the zone"),
        (PLAN.replace(", lag_header: x-lag", ""), "does not report its lag"),
        (
            PLAN.replace("location: { region: eu, zone: a }", "location: { region: eu }")
                .replace("  db:\n", "  db:\n    witnesses: { need: 1, of: [gateway] }\n"),
            "0 of them can",
        ),
    ];
    for (text, wanted) in cases {
        let none = why(&text, FailureDomain::Zone, Condition::None);
        assert!(none.iter().any(|it| it.contains(wanted)), "{none:?}");
    }
    let cold = PLAN.replace("  db-b:\n", "  db-b:\n    temperature: cold\n");
    let none = why(&cold, FailureDomain::Zone, Condition::RegionalControlGone);
    assert!(none.iter().any(|it| it.contains("is cold")), "{none:?}");
}

#[test]
fn a_proof_has_names_in_json() {
    let json = serde_json::to_value(Proof::of(&plan(PLAN))).unwrap();
    let cells = json.as_array().unwrap();
    assert_eq!(cells.len(), FailureDomain::ALL.len() * Condition::ALL.len());
    assert_eq!(cells[0]["recovery"]["bounds"][0]["route"], "orders");
    assert_eq!(cells[0]["recovery"]["bounds"][0]["total_ms"], 14_950);
    assert_eq!(cells[3]["condition"], "agents_host_gone");
    assert!(cells[3]["no_recovery"]["change"].is_string());
    let findings = compile("x.yaml", "version: 3\n", Path::new("/")).findings;
    let json = serde_json::to_value(&findings).unwrap();
    assert!(json.as_array().unwrap().iter().any(|it| it["code"] == "MS0111" && it["span"]["column"] == 10));
}

/// An application that depends on the database, in the same zone.
const WITH_APP: &str = "components:
  app:
    type: application_server
    location: { region: eu, zone: b }
    depends_on: [db]
    service: { start: [up], stop: [down], status: [is-up] }
    probes: [tcp: { address: \"10.0.1.20:80\", interval: 200ms, fast_interval: 200ms, timeout: 100ms, fall: 1 }]
    recovery: [failover_to_standby: { standby: app-b, accept_risk: [two_writers] }]
";

const APP_STANDBY: &str = "standbys:
  app-b: { location: { region: eu, zone: c }, probes: [tcp: { address: \"10.0.2.20:80\" }] }
";

fn with_app() -> String {
    PLAN.replace("components:\n", WITH_APP).replace("standbys:\n", APP_STANDBY)
}

#[test]
fn what_a_component_depends_on_is_recovered_first() {
    let sound = plan(&with_app());
    let proof = Proof::of(&sound);
    let (app, db) = (sound.component_named("app").unwrap(), sound.component_named("db").unwrap());
    let of = |component| proof.cell(component, FailureDomain::Zone, Condition::None).unwrap().verdict.as_ref().unwrap();
    let bound = of(app).worst();
    assert_eq!(bound.detect + bound.decide + bound.dependencies, of(db).completed);
    // A process of its own that dies takes the database with it in no way.
    let alone = proof.bound(app, FailureDomain::Instance, Condition::None, None).unwrap();
    assert_eq!(alone.dependencies, ms(0));
    // Where the database is not recovered, neither is what depends on it, and the change is the database's.
    let broken = plan(&with_app().replace(", lag_header: x-lag", ""));
    let proof = Proof::of(&broken);
    let cell = proof.cell(app, FailureDomain::Zone, Condition::None).unwrap();
    let none = cell.verdict.as_ref().unwrap_err();
    assert!(none.because.is_empty() && none.changes.is_empty(), "{none:?}");
    assert_eq!((none.dependencies[0].on, none.dependencies[0].root), (db, db));
    let changes = proof.changes(app, FailureDomain::Zone, Condition::None);
    assert_eq!(changes, [Change::ReportLag(broken.instance_named("db-b").unwrap())]);
    assert!(proof.text().contains("it needs `db`, which is not recovered"), "{}", proof.text());
}

#[test]
fn whoever_polls_is_waited_for_as_the_plan_says() {
    let mut plan = plan(PLAN);
    let db = plan.component_named("db").unwrap();
    let bound = |plan: &Plan| Proof::of(plan).bound(db, FailureDomain::Zone, Condition::None, None).unwrap().converge;
    let without = bound(&plan);
    plan.routes[0].beacon = true;
    assert_eq!(bound(&plan), without);
    plan.routes[0].polled = Some(Poll { every: ms(10_000), threshold: 3 });
    assert_eq!(bound(&plan), without + ms(30_000));
}

#[test]
fn a_backup_counts_at_the_first_place_that_is_left() {
    let place = |zone: &str| Location { region: "eu".to_owned(), zone: Some(zone.to_owned()), host: None };
    let text = PLAN.replace(
        "    recovery:\n",
        "    recovery:\n      - restore_from_backup: { run: [restore], plane: data, idempotent: true, timeout: 5s }\n",
    );
    let mut plan = plan(&text);
    let db = plan.component_named("db").unwrap();
    plan.components[db.index()].backups = vec![Backup {
        name: "nightly".to_owned(),
        every: ms(3_600_000),
        takes: ms(60_000),
        copy_lag: ms(1000),
        archive_lag: None,
        keep: ms(86_400_000),
        location: place("d"),
        copies: Vec::new(),
        restore_test: None,
        postgres: None,
        measured: None,
    }];
    let loss = |plan: &Plan, condition| {
        let proof = Proof::of(plan);
        let cell = proof.cell(db, FailureDomain::Instance, condition).unwrap();
        let recovery = cell.verdict.as_ref().unwrap();
        (recovery.rung, recovery.data_loss)
    };
    // Named nowhere, nobody knows how old it is, nor where.
    assert_eq!(loss(&plan, Condition::None), (0, DataLoss::Unknown));
    assert_eq!(loss(&plan, Condition::BackupsLocationGone).0, 1);
    plan.components[db.index()].ladder[0].backup = Some(0);
    assert_eq!(loss(&plan, Condition::None), (0, DataLoss::AtMost(ms(3_661_000))));
    assert_eq!(loss(&plan, Condition::BackupsLocationGone).0, 1);
    plan.components[db.index()].backups[0].copies =
        vec![BackupCopy { location: place("e"), lag: ms(500), bucket: None }];
    assert_eq!(loss(&plan, Condition::BackupsLocationGone), (0, DataLoss::AtMost(ms(3_661_500))));
}

#[test]
fn an_answer_that_a_host_gives_is_under_way_for_a_while() {
    let plan_of = |who: &str, pace: &str| {
        plan(&format!(
            r#"version: 2
site: {{ name: s, region: r1, zone: z3, host: ops }}
allowances: {{ lateness: 300ms }}
link: {{ listen: "10.0.3.5:7400" }}
hosts: {{ web-1: {{ region: r1, zone: z1 }} }}
components:
  web:
    type: cache
    location: {{ region: r1, zone: z1, host: web-1 }}
    service: {{ unit: web.service }}
    probes: [{{ tcp: {{ address: "10.0.1.1:80", {who}interval: 2s, fast_interval: {pace}, timeout: 500ms, fall: 3 }} }}]
    recovery: [{{ restart_service: {{ timeout: 1s, verify_within: 5s }} }}]
"#
        ))
    };
    let detects = |who, pace| {
        let plan = plan_of(who, pace);
        let proof = Proof::of(&plan);
        let web = plan.component_named("web").unwrap();
        proof.bound(web, FailureDomain::Instance, Condition::None, None).unwrap().detect
    };
    // 2 s + 2 × 1 s + 500 ms + 300 ms.
    assert_eq!(detects("", "1s"), ms(4800));
    assert_eq!(detects("ask_from: host, ", "1s"), ms(5100), "the last answer is under way");
    // The next question waits for the answer to the one before.
    assert_eq!(detects("", "500ms"), ms(3800));
    assert_eq!(detects("ask_from: host, ", "500ms"), ms(2000 + 2 * 800 + 800 + 300));
}

#[test]
fn of_standbys_that_may_take_over_the_slowest_counts() {
    let standby = "  db-c:
    location: { region: eu, zone: d, host: db-3 }
    probes:
      - http: { url: \"http://10.0.4.1:8008/\", lag_header: x-lag }
    activate:
      - command: { run: [promote], idempotent: true, timeout: 20s }
witnesses:";
    let text = (PLAN.replace("witnesses:", standby))
        .replace("      - restart_service: { timeout: 10s }\n", "")
        .replace("{ standby: db-b }", "{ standbys: [db-b, db-c] }")
        + "      - { standby: db-c, address: \"10.0.4.1:5432\" }\n";
    let bound = |text: &str, zone: &str| {
        let plan = plan(text);
        let db = plan.component_named("db").unwrap();
        let failure = FailureDomain::Zone;
        let to = Proof::of(&plan).cell(db, failure, Condition::None).unwrap().verdict.as_ref().unwrap().to;
        assert_eq!(plan.instance(to).location.zone.as_deref(), Some(zone));
        Proof::of(&plan).bound(db, failure, Condition::None, None).unwrap().act
    };
    // The one that stands second is activated, which takes 20 s and a sync at most.
    assert_eq!(bound(&text, "d"), ms(20_300));
    assert_eq!(bound(&text.replace("[db-b, db-c]", "[db-c, db-b]"), "d"), ms(20_300));
    // Tried in turn, the first is the answer.
    let in_turn = "{ standby: db-b }\n      - failover_to_standby: { standby: db-c }";
    assert_eq!(bound(&text.replace("{ standbys: [db-b, db-c] }", in_turn), "c"), ms(200));
}

#[test]
fn what_was_written_since_the_owner_said_its_place_is_no_standbys() {
    let postgres = |ip: &str| {
        format!(
            "postgres: {{ address: \"{ip}:5432\" }}\n    probes:\n      - postgres: {{ interval: 1s, timeout: 500ms }}\n"
        )
    };
    let with_rpo = |rpo: &str| {
        PLAN.replace("rpo: 5s", &format!("rpo: {rpo}"))
            .replace(
                "probes:\n      - http: { url: \"http://10.0.1.1:8008/\", interval: 1s, timeout: 500ms }\n",
                &postgres("10.0.1.1"),
            )
            .replace(
                "probes:\n      - http: { url: \"http://10.0.2.1:8008/\", lag_header: x-lag }\n",
                &postgres("10.0.2.1"),
            )
    };
    let is_proved = |rpo: &str| {
        let plan = plan(&with_rpo(rpo));
        assert!(plan.probes.iter().filter(|it| it.kind.reports_place()).count() >= 2);
        let db = plan.component_named("db").unwrap();
        Proof::of(&plan).cell(db, FailureDomain::Zone, Condition::None).unwrap().verdict.is_ok()
    };
    assert!(is_proved("1s"));
    assert!(!is_proved("999ms"));
}
