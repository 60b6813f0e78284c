//! The table of planes: it is sound, its rows of our own actions say what the code does, and the book shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mainstay_plan::action::{Action, Plane, ServiceOp};
use mainstay_plan::planes::{OURS, find, markdown, rows};
use mainstay_plan::strategy::{Play, Step, StepKind, Strategy};
use mainstay_plan::{compile, render};

/// A takeover that does everything a plan can ask for, with no `plane` stated anywhere.
const PLAN: &str = r#"
version: 1
site: { name: shop, region: r1, zone: z1, host: here }
components:
  db:
    type: database
    location: { region: r1, zone: z1, host: here }
    constraint: { reason: licence, kind: technical }
    criticality: critical
    objectives: { rto: 2h }
    service: { unit: db.service }
    probes:
      - tcp: { address: "127.0.0.1:5432" }
    witnesses: { need: 0 }
    recovery:
      - restart_service: {}
      - failover_to_standby: { standby: db-b }
      - restore_from_backup: { run: [restore] }
      - replace_instance: { run: [replace] }
      - scale_out: { run: [scale] }
standbys:
  db-b:
    location: { region: r1, zone: z1, host: here }
    service: { unit: db-b.service }
    postgres: { address: "127.0.0.1:5433" }
    probes:
      - tcp: { address: "127.0.0.1:5433" }
    activate:
      - service: { op: start }
      - service: { op: stop }
      - service: { op: restart }
      - service: { op: kill }
      - command: { run: [promote] }
      - trigger_file: { path: /run/promote }
      - webhook: { url: "http://127.0.0.1/promoted" }
      - promote: {}
routes:
  orders:
    exclusive: { fence: stop }
    proxy: { listen: "127.0.0.1:6432" }
    targets:
      - { component: db, address: "127.0.0.1:5432" }
      - { standby: db-b, address: "127.0.0.1:5433" }
  reports:
    exclusive: { fence: lease }
    proxy: { listen: "127.0.0.1:6433" }
    targets:
      - { component: db, address: "127.0.0.1:5434" }
      - { standby: db-b, address: "127.0.0.1:5435" }
link: { listen: "127.0.0.1:7400" }
hosts:
  here: { region: r1, zone: z1 }
"#;

/// The operation of our rows that a step is.
fn operation(strategy: Strategy, step: &Step) -> &'static str {
    match (&step.kind, strategy) {
        (StepKind::CutTraffic { .. }, _) => "cut traffic",
        (StepKind::Stop { .. }, _) => "stop the old owner",
        (StepKind::EndLease { .. }, _) => "end a lease",
        (StepKind::TakeOver { .. }, _) => "hand over",
        (StepKind::Manual { .. }, _) => "manual",
        (StepKind::CatchUp { .. }, _) => "verify",
        (StepKind::Verify { .. }, _) => "verify",
        (StepKind::Act { action, .. }, Strategy::RestartService | Strategy::FailoverToStandby) => match action.as_ref()
        {
            Action::Service { op: ServiceOp::Start, .. } => "service start",
            Action::Service { op: ServiceOp::Stop, .. } => "service stop",
            Action::Service { op: ServiceOp::Restart, .. } => "service restart",
            Action::Service { op: ServiceOp::Kill, .. } => "service kill",
            Action::Command { .. } => "command",
            Action::TriggerFile { .. } => "trigger_file",
            Action::Webhook { .. } => "webhook",
            Action::Postgres(action) => action.op.word(),
            Action::EndLease { .. } => panic!("a step of its own"),
        },
        (StepKind::Act { .. }, Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut) => {
            strategy.word()
        }
    }
}

#[test]
fn our_rows_say_what_the_code_does() {
    let compiled = compile("plan.yaml", PLAN, Path::new("/etc/mainstay"));
    let plan = compiled.plan.unwrap_or_else(|| panic!("{}", render(&compiled.files, &compiled.findings, false)));
    let mut done: BTreeMap<&str, Plane> = BTreeMap::new();
    for rung in &plan.components[0].ladder {
        for step in rung.plays.values().flat_map(|play: &Play| &play.steps) {
            let operation = operation(rung.strategy, step);
            assert_eq!(*done.entry(operation).or_insert(step.plane), step.plane, "{}", step.name);
        }
    }
    let stated: BTreeMap<&str, Plane> =
        OURS.iter().flat_map(|row| row.operations.iter().map(|it| (*it, row.plane))).collect();
    // Probing has no step of its own; it is what a verification does.
    done.insert("probe", done["verify"]);
    assert_eq!(stated, done, "left: the table of planes; right: the steps of a plan");
}

#[test]
fn a_service_before_the_colon_is_heeded() {
    let of = |operation: &str| find(operation).iter().map(|(row, _)| row.service).collect::<Vec<_>>();
    assert_eq!(of("ec2:DescribeInstances"), ["EC2"]);
    assert_eq!(of("EC2:start-instances"), ["EC2"]);
    assert!(of("rds:DescribeDBInstances").is_empty(), "no row of RDS covers it");
    assert!(of("rds:StartInstances").is_empty());
    // The name of a service that nobody here knows.
    assert_eq!(of("amazonec2:StartInstances"), ["EC2"]);
}

#[test]
fn rows_are_sound() {
    let mut ended = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut last = "";
    for row in rows() {
        let at = format!("{} {:?}", row.service, row.operations);
        assert!(row.service == last || ended.insert(row.service), "{at}: rows of one service stand together");
        last = row.service;
        assert!(!row.operations.is_empty(), "{at}");
        for operation in row.operations {
            assert!(seen.insert((row.service, *operation)), "{at}: {operation} stands twice");
            assert!(find(operation).iter().any(|(found, name)| *found == row && name == operation), "{operation}");
        }
        let (homes, plane) = (row.homes.len(), row.plane);
        assert_eq!(plane == Plane::GlobalControl, homes == 1, "{at}: a global control plane has one home");
        assert!(homes == 0 || matches!(plane, Plane::GlobalControl | Plane::RecoveryControl), "{at}");
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(row.source);
        assert!(row.source.starts_with("https://") || ours.is_file(), "{at}: {} is not there", row.source);
        // It stands in a table of Markdown.
        assert!(!at.contains('|') && !row.note.contains(['|', '\n']) && !row.note.ends_with('.'), "{at}: {}", row.note);
    }
}

#[test]
fn operations_are_found_as_people_write_them() {
    let services = |name: &str| find(name).iter().map(|(row, name)| (row.service, *name)).collect::<Vec<_>>();
    for name in ["StartInstances", "startinstances", "start-instances", "ec2:StartInstances"] {
        assert_eq!(services(name), [("EC2", "StartInstances")], "{name}");
    }
    assert_eq!(services("DescribeInstances"), [("EC2", "Describe*")]);
    assert_eq!(services("DescribeTable"), [("DynamoDB", "DescribeTable")], "a name counts before what covers it");
    assert_eq!(services("ExecuteStatement").len(), 2, "two services have it");
    assert_eq!(services("StartInstance"), []);
    assert_eq!(services(""), []);
    let of = |name: &str| rows().filter(|it| it.is_of(name)).map(|it| it.service).collect::<BTreeSet<_>>();
    assert_eq!(of("route53").len(), 4);
    assert_eq!(of("auto-scaling"), BTreeSet::from(["EC2 Auto Scaling"]));
    assert!(of("arc").iter().all(|it| it.starts_with("ARC ")), "OpenSearch is no ARC: {:?}", of("arc"));
    assert_eq!(of("elb"), BTreeSet::from(["Elastic Load Balancing (ELB)"]));
    assert!(of("").is_empty());
}

const BEGIN: &str =
    "<!-- The table is generated: MAINSTAY_UPDATE_GOLDEN=1 cargo test -p mainstay-plan --test planes -->\n\n";
const END: &str = "\n<!-- End of what is generated. -->\n";

#[test]
fn the_book_shows_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/planes.md");
    let page = fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("docs/planes.md says where the table begins");
    let (_, after) = rest.split_once(END).expect("docs/planes.md says where the table ends");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", markdown());
    #[expect(clippy::disallowed_methods, reason = "a person asks the test to write what it should compare")]
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        fs::write(&file, wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/planes.md differs; MAINSTAY_UPDATE_GOLDEN=1 writes it anew:\n{wanted}");
    }
}
