//! What a plan is worth in a disaster: strategies by their kind and place, targets that contradict each other, and a
//! checklist that says yes only where the plan shows it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;
use std::time::Duration;

use mainstay_plan::assess::{Answer, DrStrategy, Judged, TABLE, Verdict, needed_for};
use mainstay_plan::backup::{Backup, BackupCopy};
use mainstay_plan::component::{Objectives, Temperature};
use mainstay_plan::drill::{Drill, DrillKind};
use mainstay_plan::location::{Location, SharedKind, SharedPart};
use mainstay_plan::notification::EscalationStep;
use mainstay_plan::policy::Mode;
use mainstay_plan::route::Poll;
use mainstay_plan::{Assessment, ComponentIx, Plan, compile};

const MIN: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A database and an application, the agent in a third region. `STANDBY` is where the database's standby lives.
const PLAN: &str = r#"version: 1
site: { name: shop, region: south, zone: s, host: ops }
traffic: { beacon: "10.0.9.1:8600" }
components:
  db:
    type: database
    location: { region: east, zone: a, host: db-1 }
    objectives: { rto: 5m, rpo: 5m, availability: 99.9 }
    service: { start: [db-ctl, up], stop: [db-ctl, down], status: [db-ctl, is-up] }
    probes:
      - http: { url: "http://10.0.1.1:8008/", interval: 1s, timeout: 500ms }
    recovery:
      - restart_service: { timeout: 10s }
      - failover_to_standby: { standby: db-b }
  app:
    type: application_server
    location: { region: east, zone: a, host: app-1 }
    objectives: { rto: 5m, availability: 99.95 }
    depends_on: [db]
    probes:
      - http: { url: "http://10.0.1.2:8080/", interval: 1s, timeout: 500ms }
    recovery:
      - failover_to_standby: { standby: app-b }
standbys:
  db-b:
    location: STANDBY
    probes:
      - http: { url: "http://10.0.2.1:8008/", lag_header: x-lag }
  app-b:
    location: { region: west, zone: c, host: app-2 }
    temperature: hot
    probes:
      - http: { url: "http://10.0.2.2:8080/" }
witnesses:
  gateway:
    location: { region: south, zone: s }
    probe: { tcp: { address: "10.0.9.254:22" } }
routes:
  orders:
    exclusive: { fence: traffic_cut }
    proxy: { listen: "10.0.9.1:6432" }
    targets:
      - { component: db, address: "10.0.1.1:5432" }
      - { standby: db-b, address: "10.0.2.1:5432" }
  shop:
    shared: {}
    beacon: true
    targets:
      - { component: app, address: "10.0.1.2:8080" }
      - { standby: app-b, address: "10.0.2.2:8080" }
notifications:
  on-call:
    webhook: { url: "https://alerts.example.com/hook" }
"#;

const WEST: &str = "{ region: west, zone: c, host: db-2 }";

fn plan_with(standby: &str) -> Plan {
    let compiled = compile("plan.yaml", &PLAN.replace("STANDBY", standby), Path::new("/etc/mainstay"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

fn plan() -> Plan {
    plan_with(WEST)
}

fn db(plan: &mut Plan) -> &mut mainstay_plan::component::Component {
    let at = plan.component_named("db").unwrap();
    &mut plan.components[at.index()]
}

/// The database, for the loss of its zone and of its region.
fn judged(plan: &Plan) -> (Judged, Judged) {
    let found = Assessment::of(plan).strategies.components.into_iter().find(|it| it.component == "db").unwrap();
    (found.zone, found.region)
}

fn place(region: &str, zone: &str) -> Location {
    Location { region: region.to_owned(), zone: Some(zone.to_owned()), host: None }
}

fn backup(every: Duration, archive_lag: Option<Duration>) -> Backup {
    Backup {
        name: "nightly".to_owned(),
        every,
        takes: 10 * MIN,
        copy_lag: 5 * MIN,
        archive_lag,
        keep: 14 * DAY,
        location: place("east", "a"),
        copies: vec![BackupCopy { location: place("west", "c"), lag: 5 * MIN, bucket: None }],
        restore_test: None,
        postgres: None,
        measured: None,
    }
}

#[test]
fn a_standby_is_what_it_is_for_the_failure_that_it_survives() {
    let (zone, region) = judged(&plan());
    assert_eq!((zone.has, region.has), (DrStrategy::WarmStandby, DrStrategy::WarmStandby));
    assert_eq!((zone.verdict, region.verdict), (Verdict::Enough, Verdict::Enough));

    let (zone, region) = judged(&plan_with("{ region: east, zone: b, host: db-2 }"));
    assert_eq!((zone.has, region.has), (DrStrategy::WarmStandby, DrStrategy::None));
    assert_eq!(region.verdict, Verdict::TooLittle);
    assert!(region.because.contains(&"nothing of it is outside the region".to_owned()), "{region:#?}");
    assert!(region.change.is_some(), "{region:#?}");

    // A standby whose zone is not stated may be in the same one.
    let (zone, _) = judged(&plan_with("{ region: east }"));
    assert_eq!(zone.has, DrStrategy::None);
}

#[test]
fn what_has_to_be_started_is_a_pilot_light() {
    // Warm by its word, but its takeover starts the service.
    let started = PLAN.replace("STANDBY", WEST).replace(
        "lag_header: x-lag }\n",
        "lag_header: x-lag }\n    service: { start: [b, up], stop: [b, down], status: [b, is-up] }\n    activate:\n      - service: { op: start, timeout: 5s }\n",
    );
    let compiled = compile("plan.yaml", &started, Path::new("/etc/mainstay"));
    let mut plan = compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings));
    let (zone, _) = judged(&plan);
    assert_eq!(zone.has, DrStrategy::PilotLight);
    assert!(zone.because.contains(&"db-b has to be started first".to_owned()), "{zone:#?}");

    // Cold by its word. Its lag could not be asked, so an rpo would keep it from taking over.
    let standby = plan.instance_named("db-b").unwrap();
    plan.instances[standby.index()].temperature = Temperature::Cold;
    assert_eq!(judged(&plan).1.has, DrStrategy::None);
    for component in &mut plan.components {
        component.objectives.rpo = None;
    }
    assert_eq!(judged(&plan).1.has, DrStrategy::PilotLight);
}

#[test]
fn hot_targets_of_a_shared_route_in_two_regions_are_active_active() {
    let of_app = |plan: &Plan| {
        let all = Assessment::of(plan).strategies.components;
        all.into_iter().find(|it| it.component == "app").unwrap().region
    };
    let mut plan = plan();
    let found = of_app(&plan);
    assert_eq!((found.has, found.verdict), (DrStrategy::MultiSiteActiveActive, Verdict::MoreThanNeeded));
    assert!(
        found
            .because
            .iter()
            .any(|it| it.contains("warm_standby is usually enough") && it.contains("$$$ in place of $$$$")),
        "{found:#?}"
    );

    // Hot, but on no shared route beside the first one: clients don't use it until it takes over.
    let standby = plan.instance_named("db-b").unwrap();
    plan.instances[standby.index()].temperature = Temperature::Hot;
    assert_eq!(judged(&plan).1.has, DrStrategy::WarmStandby);
}

#[test]
fn the_proof_has_the_last_word() {
    // Enough by the table, too slow by the proof.
    let mut slow = plan();
    db(&mut slow).objectives.rto = Some(MIN);
    slow.allowances.lateness = 2 * MIN;
    let (zone, _) = judged(&slow);
    assert_eq!((zone.has, zone.needs), (DrStrategy::WarmStandby, Some(DrStrategy::WarmStandby)));
    assert_eq!(zone.verdict, Verdict::TooLittle);
    assert!(zone.because.iter().any(|it| it == "its worst case is over its rto of 1m"), "{zone:#?}");

    // Exactly in time is in time; a millisecond more is not.
    let mut exact = plan();
    let worst = judged(&exact).0.worst.unwrap();
    for (rto, verdict) in [(worst, Verdict::Enough), (worst - Duration::from_millis(1), Verdict::TooLittle)] {
        db(&mut exact).objectives.rto = Some(rto);
        assert_eq!(judged(&exact).0.verdict, verdict, "{rto:?}");
    }

    // Too little by the table, fast enough by the proof.
    let mut fast = plan();
    db(&mut fast).objectives.rto = Some(Duration::from_secs(50));
    let (zone, _) = judged(&fast);
    assert_eq!((zone.needs, zone.verdict), (Some(DrStrategy::MultiSiteActiveActive), Verdict::Enough));
    assert!(zone.because.iter().any(|it| it.contains("the proof shows that this meets them")), "{zone:#?}");

    // There, and kept from taking over.
    let mut unknown = plan();
    let standby = unknown.instance_named("db-b").unwrap();
    unknown.instances[standby.index()].reports_lag = false;
    let (zone, _) = judged(&unknown);
    assert_eq!((zone.has, zone.verdict), (DrStrategy::None, Verdict::TooLittle));
    assert!(zone.because[0].contains("standby db-b") && zone.because[0].ends_with("does not survive"), "{zone:#?}");
    assert!(zone.because.iter().any(|it| it.contains("does not report its lag")), "{zone:#?}");

    // No objective says what would be enough.
    let mut silent = plan();
    db(&mut silent).objectives = Objectives::default();
    let (zone, _) = judged(&silent);
    assert_eq!((zone.needs, zone.verdict), (None, Verdict::NotStated));
}

#[test]
fn a_backup_without_a_way_to_restore_it_is_named_and_counts_for_nothing() {
    let mut plan = plan_with("{ region: east, zone: b, host: db-2 }");
    db(&mut plan).backups = vec![backup(DAY, None)];
    let (_, region) = judged(&plan);
    assert_eq!(region.has, DrStrategy::None);
    let named = "backup nightly in west/c, which no `restore_from_backup` restores, would be backup_and_restore, and does not survive";
    assert_eq!(region.because[0], named);
}

#[test]
fn the_table_gives_the_cheapest_strategy_that_is_good_for_both_objectives() {
    let needs = |rto: Option<Duration>, rpo: Option<Duration>| {
        needed_for(&Objectives { rto, region_rto: None, rpo, availability_ppm: None })
    };
    assert_eq!(needs(None, None), None);
    for (rto, rpo, strategy) in [
        (Some(DAY), Some(DAY), DrStrategy::BackupAndRestore),
        (Some(4 * HOUR), None, DrStrategy::BackupAndRestore),
        (Some(4 * HOUR - MIN), None, DrStrategy::PilotLight),
        (Some(HOUR), Some(HOUR), DrStrategy::PilotLight),
        (Some(HOUR - MIN), Some(DAY), DrStrategy::WarmStandby),
        (Some(DAY), Some(MIN), DrStrategy::WarmStandby),
        (Some(DAY), Some(Duration::ZERO), DrStrategy::MultiSiteActiveActive),
        (Some(Duration::from_secs(59)), None, DrStrategy::MultiSiteActiveActive),
    ] {
        assert_eq!(needs(rto, rpo), Some(strategy), "{rto:?} {rpo:?}");
    }
    assert!(TABLE.windows(2).all(|it| it[0].strategy < it[1].strategy && it[0].rto_from > it[1].rto_from));
}

#[test]
fn the_workload_has_no_more_than_its_weakest_part() {
    let found = Assessment::of(&plan_with("{ region: east, zone: b, host: db-2 }"));
    assert_eq!(found.clients_need, ["app", "db"]);
    assert_eq!(found.strategies.zone.has, DrStrategy::WarmStandby);
    let region = &found.strategies.region;
    assert_eq!((region.has, region.verdict, region.worst), (DrStrategy::None, Verdict::TooLittle, None));
    // The application itself would survive, but for what it depends on.
    let lost = ["app".to_owned(), "db".to_owned()];
    assert_eq!((region.components.as_slice(), region.needs), (&lost[..], Some(DrStrategy::WarmStandby)));
}

#[test]
fn clients_need_what_has_routes_and_what_that_depends_on() {
    let mut plan = plan();
    let needs = |plan: &Plan| Assessment::of(plan).clients_need;
    db(&mut plan).routes.clear();
    assert_eq!(needs(&plan), ["app", "db"]);
    plan.components[0].depends_on.clear();
    assert_eq!(needs(&plan), ["app"]);
    // A plan without routes does not say what its clients use.
    plan.components[0].routes.clear();
    assert_eq!(needs(&plan), ["app", "db"]);
}

#[test]
fn targets_add_up_and_contradict() {
    let found = Assessment::of(&plan()).availability;
    // 99.95 % and 99.9 % in a row: 1 - 0.9995 × 0.999 = 0.0014995; of 31 536 000 s that is 47 288.232 s.
    let sum = found.workload.unwrap();
    assert!((sum.unavailability - 0.001_499_5).abs() < 1e-15, "{sum:?}");
    assert_eq!(sum.down_a_year, Duration::from_millis(47_288_232));
    assert!(found.without_target.is_empty());

    let [app, db] = found.targets.as_slice() else { panic!("{found:#?}") };
    assert_eq!((app.component.as_str(), db.component.as_str()), ("app", "db"));
    // The budgets are 500 and 1000 in a million.
    assert!((app.share_of_budget.unwrap() - 1.0 / 3.0).abs() < 1e-12);
    assert!((db.share_of_budget.unwrap() - 2.0 / 3.0).abs() < 1e-12);
    let below = app.dependencies.as_ref().unwrap();
    assert!(below.contradiction && below.left_a_year.is_zero(), "{below:?}");
    assert!(db.dependencies.is_none());
    // 99.9 % with one of two: each may be down the square root of a thousandth of the time.
    let copies = db.copies.unwrap();
    assert_eq!((copies.needed, copies.of), (1, 2));
    assert!((copies.unavailability_each - 0.001_f64.sqrt()).abs() < 1e-12);
    let failures = db.failures.unwrap();
    let year = db.allowed.year;
    let fit = u32::try_from(failures.fit_a_year).unwrap();
    assert!(failures.worst * fit <= year && year < failures.worst * (fit + 1), "{failures:?}");
}

#[test]
fn what_dependencies_leave_is_the_component_s_own() {
    let mut plan = plan();
    let left = |plan: &Plan| {
        let app = Assessment::of(plan).availability.targets.into_iter().find(|it| it.component == "app").unwrap();
        let below = app.dependencies.unwrap();
        (below.contradiction, below.left_a_year)
    };
    // The same target leaves nothing, and is no contradiction.
    db(&mut plan).objectives.availability_ppm = Some(999_500);
    assert_eq!(left(&plan), (false, Duration::ZERO));
    // (0.0005 - 0.0001) / 0.9999 of a year is 12 615.661566156… s.
    db(&mut plan).objectives.availability_ppm = Some(999_900);
    let (contradiction, own) = left(&plan);
    assert!(
        !contradiction && own.abs_diff(Duration::from_nanos(12_615_661_566_157)) < Duration::from_micros(1),
        "{own:?}"
    );
    // Without a target there is nothing to hold it against, and the sum is an upper limit.
    db(&mut plan).objectives.availability_ppm = None;
    let found = Assessment::of(&plan);
    assert_eq!(found.availability.without_target, ["db"]);
    assert!(found.text().contains("at most 99.95 %"), "{}", found.text());
    assert!(found.text().contains("whether its own can be met is not known"), "{}", found.text());
}

#[test]
fn a_route_that_asks_for_two_targets_asks_more_of_each() {
    let mut plan = plan();
    let shop = plan.route_named("shop").unwrap();
    plan.routes[shop.index()].rules.at_least = Some(2);
    let copies = Assessment::of(&plan).availability.targets[0].copies.unwrap();
    assert_eq!((copies.needed, copies.of), (2, 2));
    // Both must be up: 1 - √0.9995.
    assert!((copies.unavailability_each - (1.0 - 0.9995_f64.sqrt())).abs() < 1e-12, "{copies:?}");
    // What its instances can't give is not computed.
    plan.routes[shop.index()].rules.at_least = Some(3);
    assert_eq!(Assessment::of(&plan).availability.targets[0].copies, None);
}

#[test]
fn instances_that_share_something_are_one() {
    let mut plan = plan();
    for it in &mut plan.instances {
        it.shares = vec![SharedPart { kind: SharedKind::Storage, name: "array-1".to_owned() }];
    }
    assert!(Assessment::of(&plan).availability.targets.iter().all(|it| it.copies.is_none()));
}

fn answer(plan: &Plan, asks: &str) -> (Answer, String) {
    let lines = Assessment::of(plan).readiness.lines;
    let line = lines.into_iter().find(|it| it.asks == asks).unwrap();
    assert_eq!(line.change.is_some(), line.answer == Answer::No, "{line:#?}");
    assert!(!line.evidence.is_empty(), "{line:#?}");
    (line.answer, line.evidence.join("; "))
}

/// Each line that a plan can answer with yes, by what makes it so.
#[test]
fn a_plan_that_shows_it_is_ready() {
    let mut plan = plan();
    db(&mut plan).backups = vec![backup(DAY, Some(MIN))];
    plan.drills = vec![Drill {
        name: "quarterly".to_owned(),
        kind: DrillKind::FullScale,
        components: vec![ComponentIx(0), ComponentIx(1)],
        every: 90 * DAY,
    }];
    plan.escalation = vec![EscalationStep { after: 5 * MIN, tell: vec![0] }];
    for route in &mut plan.routes {
        route.polled = Some(Poll { every: Duration::from_secs(10), threshold: 3 });
    }
    for (asks, evidence) in [
        ("Multi-AZ deployment for all tiers", "db-b in west/c"),
        ("Cross-region replication configured", "db to db-b"),
        ("Automated backups enabled", "nightly every 1d"),
        ("Backup retention meets RPO requirements", "loses up to 1m, rpo 5m, kept 14d"),
        ("Multi-AZ RDS or Aurora configured", "db-b"),
        ("Read replicas in DR region", "db-b in west/c"),
        ("Point-in-time recovery enabled", "up to 1m behind"),
        ("Stateless application design", "answers on shop"),
        ("Load balancer health checks", "2 of 2 targets probed"),
        ("Route53 health checks configured", "every 10s"),
        ("Failover routing policies", "db, then db-b"),
        ("Communication plan established", "after 5m on-call"),
        ("Regular DR drills scheduled", "quarterly (full_scale) every 90d"),
    ] {
        let (answer, found) = answer(&plan, asks);
        assert_eq!(answer, Answer::Yes, "{asks}: {found}");
        assert!(found.contains(evidence), "{asks}: {found}");
    }
    // A plan says what is meant to be done, never that it was done or written, or what it does not speak of.
    for asks in [
        "Cross-region replication tested",
        "Auto Scaling configured",
        "Blue/green deployment capability",
        "Cross-region VPC peering",
        "VPN/Direct Connect redundancy",
        "DR runbook documented",
        "Failover automation tested",
    ] {
        assert_eq!(answer(&plan, asks).0, Answer::NotKnown, "{asks}");
    }
    let found = Assessment::of(&plan).readiness;
    assert_eq!((found.yes, found.no, found.not_known), (13, 0, 7));
}

/// Takes away what one line asks for.
type Spoil = fn(&mut Plan);

/// Each of these takes away from the plan above what one line asks for.
#[test]
fn what_is_missing_is_no_and_what_is_unclear_is_not_known() {
    let cases: [(&str, Answer, &str, Spoil); 11] = [
        ("Backup retention meets RPO requirements", Answer::No, "loses up to 1d15m, its rpo is 5m", |it| {
            db(it).backups = vec![backup(DAY, None)];
        }),
        ("Backup retention meets RPO requirements", Answer::No, "is kept 1d and may be gone", |it| {
            db(it).backups = vec![Backup { keep: DAY, ..backup(DAY, Some(MIN)) }];
        }),
        ("Point-in-time recovery enabled", Answer::No, "no backup with an archive", |it| {
            db(it).backups = vec![backup(HOUR, None)];
        }),
        ("Cross-region replication configured", Answer::NotKnown, "does not report its lag", |it| {
            it.instances.iter_mut().for_each(|it| it.reports_lag = false);
        }),
        ("Multi-AZ RDS or Aurora configured", Answer::No, "its takeover is not proved", |it| {
            it.instances.iter_mut().for_each(|it| it.reports_lag = false);
        }),
        ("Read replicas in DR region", Answer::No, "no running standby", |it| {
            it.instances.iter_mut().for_each(|it| it.temperature = Temperature::Cold);
        }),
        ("Route53 health checks configured", Answer::NotKnown, "who polls it", |_| {}),
        ("Route53 health checks configured", Answer::No, "no route has a beacon", |it| {
            it.routes.iter_mut().for_each(|it| it.beacon = false);
        }),
        ("VPN/Direct Connect redundancy", Answer::No, "all of db depends on network core", |it| {
            let part = SharedPart { kind: SharedKind::Network, name: "core".to_owned() };
            it.instances.iter_mut().for_each(|it| it.shares = vec![part.clone()]);
        }),
        ("Failover automation tested", Answer::No, "nothing is recovered automatically", |it| {
            it.mode = Mode::Observe;
        }),
        ("Communication plan established", Answer::No, "nobody is told", |it| it.notifications.clear()),
    ];
    for (asks, expected, evidence, spoil) in cases {
        let mut plan = plan();
        spoil(&mut plan);
        let (answer, found) = answer(&plan, asks);
        assert_eq!(answer, expected, "{asks}: {found}");
        assert!(found.contains(evidence), "{asks}: {found}");
    }
}

#[test]
fn a_table_top_or_a_simulation_tests_no_failover() {
    for (kind, tested) in [
        (DrillKind::Tabletop, Answer::No),
        (DrillKind::Simulation, Answer::No),
        (DrillKind::Component, Answer::NotKnown),
        (DrillKind::FullScale, Answer::NotKnown),
    ] {
        let mut plan = plan();
        let components = vec![ComponentIx(0), ComponentIx(1)];
        plan.drills = vec![Drill { name: "d".to_owned(), kind, components, every: 30 * DAY }];
        assert_eq!(answer(&plan, "Regular DR drills scheduled").0, Answer::Yes, "{kind:?}");
        assert_eq!(answer(&plan, "Failover automation tested").0, tested, "{kind:?}");
        assert_eq!(answer(&plan, "Cross-region replication tested").0, tested, "{kind:?}");
    }
}

#[test]
fn the_checklist_has_all_its_lines_in_every_form() {
    let plan = plan();
    let found = Assessment::of(&plan);
    assert_eq!(found.readiness.lines.len(), 20);
    let markdown = found.markdown();
    for (mark, count) in
        [("- [x] ", found.readiness.yes), ("- [ ] ", found.readiness.no), ("- [?] ", found.readiness.not_known)]
    {
        assert_eq!(markdown.lines().filter(|it| it.starts_with(mark)).count(), count, "{mark}");
    }
    for line in &found.readiness.lines {
        assert!(found.text().contains(line.asks) && markdown.contains(line.asks), "{}", line.asks);
    }
}

#[test]
fn the_page_says_what_yes_means() {
    let page = include_str!("../../../docs/assess.md");
    for line in Assessment::of(&plan()).readiness.lines {
        let row = format!("| {} | {} |\n", line.asks, line.read_as);
        assert!(page.contains(&row), "docs/assess.md has no row `{}`", row.trim());
    }
}

/// Names may be 63 characters long and shared parts are named by their owner.
#[test]
fn lines_of_the_text_stay_within_a_hundred_columns() {
    let mut plan = plan();
    db(&mut plan).backups = vec![backup(DAY, Some(MIN))];
    db(&mut plan).name = "d".repeat(63);
    let part = SharedPart { kind: SharedKind::Network, name: "a|b <c> \u{1b}[2J".to_owned() };
    plan.instances.iter_mut().for_each(|it| it.shares = vec![part.clone()]);
    let found = Assessment::of(&plan);
    let text = found.text();
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let markdown = found.markdown();
    assert!(!text.contains('\u{1b}') && !markdown.contains('\u{1b}') && !markdown.contains("<c>"), "{markdown}");
}
