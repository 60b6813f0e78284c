//! What restore tests have shown goes into the proof: the bound of a restore, and what speaks against one.

use std::path::Path;
use std::time::Duration;

use mainstay_plan::backup::Measured;
use mainstay_plan::location::FailureDomain;
use mainstay_plan::proof::Condition;
use mainstay_plan::{ComponentIx, Plan, Proof};

const PLAN: &str = "\
version: 2
site: { name: ledger, region: r1, zone: z3, host: ops }
components:
  ledger-db:
    type: database
    location: { region: r1, zone: z1 }
    objectives: { rto: 2h }
    postgres: { address: \"10.0.1.10:5432\", data: /srv/ledger, follow: { user: replicator } }
    probes: [{ postgres: { interval: 1s, timeout: 500ms } }]
    backups:
      nightly:
        every: 1d
        takes: 30m
        keep: 14d
        location: { region: r2 }
        restore_test: 7d
        postgres: { to: /srv/backups/ledger }
    recovery:
      - restore_from_backup: { backup: nightly, to: latest, timeout: 1h }
routes:
  ledger:
    exclusive: { fence: traffic_cut }
    proxy: { listen: \"10.0.9.1:5432\" }
    targets: [{ component: ledger-db, address: \"10.0.1.10:5432\" }]
";

const DB: ComponentIx = ComponentIx(0);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn plan(measured: Option<Measured>) -> Plan {
    let compiled = mainstay_plan::compile("plan.yaml", PLAN, Path::new("/"));
    let plan = compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings));
    plan.measured(|_, _| measured)
}

fn good(longest: Duration, age: Duration) -> Option<Measured> {
    Some(Measured { good: Some((longest, age)), failed: false })
}

/// The worst case, and the words of the whole table on one line.
fn proved(measured: Option<Measured>) -> (Option<Duration>, String) {
    let plan = plan(measured);
    let proof = Proof::of(&plan);
    let bound = proof.bound(DB, FailureDomain::Instance, Condition::None, None).map(|it| it.total());
    (bound, proof.table(DB).split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn what_was_measured_replaces_what_the_plan_allows() {
    let (assumed, text) = proved(None);
    assert!(text.contains("restoring nightly within 1h, which is assumed: no restore test says it"), "{text}");
    let (measured, text) = proved(good(10 * MINUTE, DAY));
    assert!(text.contains("restoring nightly within 20m, 2 times the 10m that were measured"), "{text}");
    assert!(!text.contains("that is"), "{text}");
    let (assumed, measured) = (assumed.expect("proved"), measured.expect("proved"));
    assert_eq!(assumed - measured, 40 * MINUTE);
}

#[test]
fn an_old_test_is_said() {
    let (bound, text) = proved(good(10 * MINUTE, 15 * DAY));
    assert!(bound.is_some() && text.contains("10m that were measured, and that is 15d old"), "{text}");
    let (_, text) = proved(good(10 * MINUTE, 14 * DAY));
    assert!(!text.contains("measured, and that is"), "{text}");
}

#[test]
fn what_failed_or_takes_too_long_proves_nothing() {
    let failed = Measured { good: Some((10 * MINUTE, DAY)), failed: true };
    let (bound, text) = proved(Some(failed));
    assert!(bound.is_none() && text.contains("the last restore test of backup `nightly` failed"), "{text}");
    let (bound, text) = proved(good(31 * MINUTE, DAY));
    let why = "restoring backup `nightly` was measured to take 31m, and 2 times that is longer than the 1h";
    assert!(bound.is_none() && text.contains(why), "{text}");
    assert!(proved(good(30 * MINUTE, DAY)).0.is_some());
}
