//! What a walkthrough says, where the examples don't: modes, guards, other actions, prepared parts, and secrets.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;
use std::time::Duration;

use mainstay_plan::location::Location;
use mainstay_plan::prepared::{Prepared, PreparedKind};
use mainstay_plan::walkthrough::{RungWalk, StepWalk};
use mainstay_plan::{ComponentIx, Plan, Walkthrough, compile};

const PLAN: &str = r#"
version: 1
site: { name: shop, region: r1, zone: z3, host: ops }
mode: recommend
on_journal_loss: hold
traffic: { dns: "10.0.9.1:53", beacon: "10.0.9.1:8600" }
components:
  db:
    type: database
    location: { region: r1, zone: z1, host: ops }
    objectives: { rpo: 5s }
    depends_on: [net]
    service: { unit: db.service }
    rejoin: when_healthy
    guards: { cool_down: 0s, approval: { expires: 30m } }
    probes: [ { http: { url: "http://10.0.1.1:80/", host: db.example, status: [200, "300-302"], body: "o k" } } ]
    activate:
      - service: { op: start }
    recovery:
      - failover_to_standby: { standby: db-b }
      - failover_to_standby: { standby: db-c }
  net:
    type: load_balancer
    location: { region: r1, zone: z1 }
    probes: [ { tcp: { address: "10.0.1.2:80" } } ]
standbys:
  db-b:
    location: { region: r1, zone: z2, host: ops }
    service: { start: [b, up], pid_file: /run/b.pid }
    probes: [ { command: { run: [ask, "two words"], lag: stdout } } ]
    activate:
      - trigger_file: { path: /run/promote, content: "go {idempotency_key}" }
      - webhook: { url: "https://api.example/p", headers: { Authorization: top-secret }, body: hidden-body, plane: regional_control }
      - command: { run: [promote, "b 1"], env: { TOKEN: hush-hush } }
  db-c:
    location: { region: r2 }
    probes: [ { file: { path: /run/stamp, max_age: 1m } } ]
    service: { start: [c, up], pid_file: /run/c.pid }
routes:
  db:
    exclusive: { fence: stop }
    dns: { name: db.internal., ttl: 2s }
    beacon: true
    on_silence: { cut: { after: 30s } }
    targets:
      - { component: db, address: "10.0.1.1:5432" }
      - { standby: db-b, address: "10.0.2.1:5432" }
      - { standby: db-c, address: "10.0.3.1:5432" }
"#;

fn plan() -> Plan {
    let compiled = compile("plan.yaml", PLAN, Path::new("/etc/mainstay"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

fn told(plan: &Plan) -> Walkthrough {
    Walkthrough::of(plan, |_| true)
}

fn rung<'a>(walk: &'a Walkthrough, bound: &str, number: usize) -> &'a RungWalk {
    let binding = walk.components[0].bindings.iter().find(|it| it.instance == bound).unwrap();
    &binding.rungs[number - 1]
}

fn step<'a>(rung: &'a RungWalk, name: &str) -> &'a StepWalk {
    rung.steps.iter().find(|it| it.name.contains(name)).unwrap_or_else(|| panic!("no {name} in {rung:#?}"))
}

#[test]
fn guards_stand_in_the_order_in_which_they_are_asked() {
    let walk = told(&plan());
    let codes: Vec<&str> = walk.components[0].guards.iter().map(|it| it.code).collect();
    assert_eq!(
        codes,
        ["halted", "journal_lost", "correlation", "traffic", "paused", "dependency", "approval", "no_rung_possible"]
    );
    let approval = &walk.components[0].guards[6];
    assert_eq!(approval.must, "a person approves it within 30m; after that it has failed");
    let codes: Vec<&str> = walk.components[1].guards.iter().map(|it| it.code).collect();
    assert_eq!(codes, ["halted", "journal_lost", "correlation", "paused", "cool_down", "approval", "no_rung_possible"]);
    let mut observing = plan();
    observing.mode = mainstay_plan::policy::Mode::Observe;
    assert!(told(&observing).components[1].guards.iter().any(|it| it.code == "observe_mode"));
}

#[test]
fn what_a_rung_asks_for_and_where_it_can_be_moved_is_told() {
    let text = PLAN.replacen(
        "- failover_to_standby: { standby: db-b",
        "- failover_to_standby: { only_if: { healthy: [db-c] }, standby: db-b",
        1,
    );
    assert_ne!(text, PLAN);
    let compiled = compile("plan.yaml", &text, Path::new("/etc/mainstay"));
    let walk = told(&compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings)));
    let asked = &rung(&walk, "db", 1).possible_when[0];
    assert!(asked.starts_with("db-c is healthy"), "{asked}");
    let original = &walk.components[0].bindings[0];
    let commands: Vec<&str> = original.moves.iter().map(|it| it.command.as_str()).collect();
    assert_eq!(commands, ["mainstay switch db --to db-b", "mainstay switch db --to db-c"]);
    let back = &walk.components[0].bindings[1].moves;
    let commands: Vec<&str> = back.iter().map(|it| it.command.as_str()).collect();
    assert_eq!(commands, ["mainstay failback db", "mainstay switch db --to db-c"]);
    assert!(back[0].steps.iter().any(|it| it.kind == "take_over"), "{back:#?}");
}

#[test]
fn every_action_says_what_it_needs_and_changes() {
    let walk = told(&plan());
    let rung = rung(&walk, "db", 1);
    assert_eq!((rung.number, rung.strategy, rung.to.as_deref()), (1, "failover_to_standby", Some("db-b")));
    let whats = |it: &StepWalk| it.needs.iter().map(|it| it.what.clone()).collect::<Vec<_>>();
    let cut = step(rung, "cut traffic");
    assert_eq!(
        cut.changes,
        ["route db points at nothing; db.internal. answers with no address; health checks of it fail"]
    );
    assert_eq!(cut.undo.by, "mainstay");
    let stop = step(rung, "stop db");
    assert_eq!(stop.changes, ["db is killed: SIGKILL to db.service, then a stop; seen stopped"]);
    assert_eq!(whats(stop), ["db in r1/z1/ops", "unit db.service of the agent's machine"]);
    assert_eq!((stop.undo.by, stop.irreversible), ("person", true));
    assert_eq!(step(rung, "write").changes, ["the file /run/promote holds what the plan says, 20 bytes"]);
    let webhook = step(rung, "POST");
    assert_eq!(webhook.changes, ["https://api.example/p has received POST with 11 bytes of body, for db-b"]);
    assert_eq!(webhook.plane, "regional_control");
    let command = step(rung, "run promote");
    assert_eq!(whats(command)[0], "promote \"b 1\", run where the agent is");
    assert!(command.repeat.contains("--outcome done|not-done") && !command.idempotent);
    let over = step(rung, "hand over");
    assert_eq!(
        over.changes,
        [
            "binding: db is db-b",
            "db is displaced until its own probes find it healthy",
            "route db points at db-b (10.0.2.1:5432)"
        ]
    );
}

#[test]
fn a_failed_rung_says_what_stays() {
    let walk = told(&plan());
    let first = rung(&walk, "db", 1);
    assert_eq!(
        first.if_it_fails,
        [
            "before the hand-over: what was cut goes back to db; db, once stopped, stays stopped; db-b, once an activation \
             step was done or may have been, is displaced until its own probes find it healthy; rung 2 \
             (failover_to_standby) is next",
            "from the hand-over on: the component stays bound to db-b, and nothing goes back; rung 2 (failover_to_standby) \
             is next, as it goes when bound to db-b"
        ]
    );
    assert!(rung(&walk, "db-b", 2).if_it_fails[1].ends_with("no rung is left: the recovery has failed"));
    assert!(first.possible_when.iter().any(|it| it.contains("lag at most 5s")), "{:#?}", first.possible_when);
}

#[test]
fn probes_say_what_they_ask() {
    let walk = told(&plan());
    let asks: Vec<String> =
        walk.components[0].bindings.iter().flat_map(|it| &it.down.of).map(|it| it.asks.clone()).collect();
    assert_eq!(
        asks,
        [
            "GET http://10.0.1.1:80/, for host db.example, status 200, 300-302, body with \"o k\"",
            "command ask \"two words\"",
            "/run/stamp was changed within 1m"
        ]
    );
    assert!(walk.components[1].bindings[0].rungs.is_empty());
}

#[test]
fn what_is_prepared_is_named() {
    let mut plan = plan();
    let location = Location { region: "r1".to_owned(), zone: None, host: None };
    let max_age = Duration::from_secs(86_400);
    plan.prepared = vec![
        Prepared {
            name: "key".to_owned(),
            kind: PreparedKind::Credential,
            file: "/k".into(),
            location: location.clone(),
        },
        Prepared { name: "zones".to_owned(), kind: PreparedKind::CacheEntry { max_age }, file: "/z".into(), location },
    ];
    let original = plan.component(ComponentIx(0)).original();
    let play = plan.components[0].ladder[0].plays.get_mut(&original).unwrap();
    play.steps[2].needs = vec![1, 0];
    let walk = told(&plan);
    let needs = &rung(&walk, "db", 1).steps[2].needs;
    let prepared: Vec<(&str, &str)> = needs[1..].iter().map(|it| (it.kind, it.what.as_str())).collect();
    assert_eq!(
        prepared,
        [
            ("cache_entry", "zones, in /z in r1, at most 1d old; an older one is used, and said"),
            ("credential", "key, in /k in r1")
        ]
    );
}

#[test]
fn secrets_are_left_out() {
    let text = serde_json::to_string(&told(&plan())).unwrap();
    assert!(text.contains("TOKEN") && text.contains("Authorization"));
    for secret in ["top-secret", "hush-hush", "hidden-body"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn a_rung_without_a_way_is_passed_over() {
    let mut plan = plan();
    let original = plan.component(ComponentIx(0)).original();
    plan.components[0].ladder[1].plays.remove(&original);
    let walk = told(&plan);
    let passed = rung(&walk, "db", 2);
    assert!(passed.to.is_none() && passed.steps.is_empty());
}
