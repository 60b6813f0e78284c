//! Each lint of intent speaks about a weak plan, and is silent about the nearest one that is not weak.

use std::collections::BTreeSet;
use std::path::Path;

use mainstay_plan::{Code, Compiled, Severity, compile};

/// A weak plan of `tests/golden/wrong`, what is found there, and the change that mends it.
type Case = (&'static str, Code, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("weak-availability-room", Code::LittleRoom, &[("99.9999", "99.99")]),
    ("weak-availability-slow", Code::SlowForTarget, &[("99.99", "99.9")]),
    ("weak-region-rto", Code::RegionRto, &[("region_rto: 1m", "region_rto: 10m")]),
    ("weak-dependency-promise", Code::DependencyPromise, &[("rto: 1m, availability: 99.95", "rto: 5m, availability: 99.9")]),
    ("weak-dependency-criticality", Code::DependencyCriticality, &[("criticality: critical", "criticality: important")]),
    ("weak-slow-detection", Code::SlowDetection, &[("interval: 20s", "interval: 20s, fast_interval: 1s")]),
    ("weak-ttl", Code::LongTtl, &[("ttl: 3m", "ttl: 30s")]),
    ("weak-verify-tcp", Code::WeakVerify, &[("tcp: { address: \"10.0.9.1:6432\" }", "command: { run: [ask-db, \"10.0.9.1:6432\"] }")]),
    ("weak-verify-past", Code::WeakVerify, &[("verify:\n      - http: { url: \"http://10.0.1.1:8008/\" }", "verify:\n      - http: { url: \"http://10.0.9.1:6432/\" }")]),
    ("weak-backup-loss", Code::BackupLoss, &[("takes: 1h", "takes: 1h, archive_lag: 5s")]),
    ("weak-backup-kept", Code::BackupKept, &[("keep: 30h", "keep: 7d"), ("keep: 30m", "keep: 2h")]),
    ("weak-backup-overlap", Code::BackupOverlap, &[("takes: 90m", "takes: 1h")]),
    ("weak-backup-together", Code::BackupTogether, &[("zone: b, host: nas-1", "zone: c, host: nas-1")]),
    ("weak-restore-unnamed", Code::RestoreOfWhat, &[("restore_from_backup: { run", "restore_from_backup: { backup: nightly, run")]),
    ("weak-restore-unknown", Code::RestoreOfWhat, &[("rto: 5m, rpo: 5s", "rto: 5m")]),
    ("weak-restore-test", Code::NeverRestored, &[("keep: 14d", "keep: 14d, restore_test: 7d"), ("restore_test: 30d", "restore_test: 1d")]),
    ("weak-archive", Code::ArchiveUseless, &[("archive_lag: 10m", "archive_lag: 1m")]),
    ("weak-backup-hands", Code::NobodyTakes, &[("host: vault-1", "host: nas-1"), ("to: /srv/files/db", "to: /srv/files/db, taken_by: timer")]),
    ("weak-fall", Code::Flapping, &[("fall: 1", "fall: 2")]),
    ("weak-cool-down-short", Code::CoolDown, &[("cool_down: 5s", "cool_down: 1m")]),
    ("weak-cool-down-long", Code::CoolDown, &[("99.999", "99.99")]),
    ("weak-witness-host", Code::WeakWitness, &[("zone: a, host: ops }\n    probe", "zone: a, host: gw }\n    probe")]),
    ("weak-witness-instance", Code::WeakWitness, &[("10.0.2.1:22", "10.0.2.254:22")]),
    ("weak-witness-one-machine", Code::WeakWitness, &[("host: core }\n    probe: { dns: { server: \"10.0.9.254", "host: ns }\n    probe: { dns: { server: \"10.0.9.253")]),
    ("weak-witness-near", Code::WeakWitness, &[("zone: a }\n    probe", "zone: d }\n    probe")]),
    ("weak-nobody-told", Code::NobodyTold, &[("routes:\n", "notifications:\n  on-call:\n    send: { webhook: { url: \"https://alerts.example.com/hook\" } }\nroutes:\n")]),
    ("weak-nobody-asked", Code::NobodyTold, &[("mode: recommend", "mode: act")]),
    ("weak-nobody-approves", Code::NobodyTold, &[("routes:\n", "notifications:\n  on-call:\n    send: { webhook: { url: \"https://alerts.example.com/hook\" } }\nroutes:\n")]),
    ("weak-channel-zone", Code::NobodyTold, &[("location: { region: eu, zone: b, host: smtp", "location: { region: eu, zone: a, host: smtp")]),
    ("weak-escalation", Code::NobodyTold, &[("tell: [on-call] }\n  - { after: 30m, tell: [on-call]", "tell: [on-call] }\n  - { after: 30m, tell: [lead]"), ("notifications:\n", "notifications:\n  lead:\n    send: { command: { run: [call-lead] } }\n")]),
    ("weak-approval", Code::LateApproval, &[("expires: 15m", "expires: 2m")]),
    ("weak-drill-none", Code::NotDrilled, &[("notifications:\n", "drills:\n  takeover: { kind: component, components: [db], every: 90d }\nnotifications:\n")]),
    ("weak-drill-other", Code::NotDrilled, &[("components: [app]", "components: [app, db]")]),
    ("weak-drill-rare", Code::NotDrilled, &[("every: 1000d", "every: 365d")]),
    ("weak-shared-host", Code::SharedFate, &[("zone: b, host: db-1 }\n    probes:\n      - http: { url: \"http://10.0.2.1", "zone: b, host: db-2 }\n    probes:\n      - http: { url: \"http://10.0.2.1")]),
    ("weak-shared-key", Code::SharedFate, &[("{ power: feed-2 }, { key: orders-kms }", "{ power: feed-2 }, { key: orders-kms-2 }")]),
    ("weak-agent-host", Code::SharedFate, &[("zone: b, host: db-1 }\ncomponents", "zone: b, host: ops }\ncomponents")]),
    ("weak-agent-standby", Code::SharedFate, &[("zone: c, host: db-2 }\ncomponents", "zone: c, host: ops }\ncomponents")]),
    ("weak-credential", Code::SharedFate, &[("    location: { region: eu, zone: b }\n", "")]),
    ("weak-by-name", Code::ByName, &[("db.internal:8008", "10.0.1.1:8008"), ("api.internal", "10.0.3.1:8443")]),
    ("weak-evacuation-room", Code::EvacuationShort, &[("units: 6", "units: 8")]),
    ("weak-evacuation-missing", Code::EvacuationShort, &[("leave-b:", "leave-c:\n    of: { region: eu, zone: c }\n  leave-b:")]),
    ("weak-never-back", Code::NeverGoesBack, &[("http: { url: \"http://10.0.1.1:8008/\" }", "http: { url: \"http://10.0.1.1:8008/\", lag_header: x-lag }")]),
    ("weak-rung-again", Code::RungOrder, &[("      - restart_service: { timeout: 20s }\n", "")]),
    ("weak-rung-order", Code::RungOrder, &[("      - failover_to_standby: { standby: db-b }\n      - restart_service: { timeout: 10s }\n", "      - restart_service: { timeout: 10s }\n      - failover_to_standby: { standby: db-b }\n")]),
];

fn codes(compiled: &Compiled) -> BTreeSet<Code> {
    compiled.findings.iter().map(|it| it.code).collect()
}

#[test]
fn a_weak_plan_is_found_and_the_nearest_sound_one_is_not() {
    for (name, code, mend) in CASES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/wrong/{name}.yaml"));
        let weak = std::fs::read_to_string(path).unwrap();
        let found = compile("weak.yaml", &weak, Path::new("/"));
        assert!(codes(&found).contains(code), "{name}: {:#?}", found.findings);
        let mended = mend.iter().fold(weak.clone(), |text, (from, to)| text.replace(from, to));
        assert_ne!(weak, mended, "{name}");
        let found = compile("mended.yaml", &mended, Path::new("/"));
        assert!(found.findings.iter().all(|it| it.severity != Severity::Error), "{name}: {:#?}", found.findings);
        assert!(!codes(&found).contains(code), "{name}: {:#?}", found.findings);
    }
}

#[test]
fn every_lint_of_intent_has_a_weak_plan() {
    let shown: BTreeSet<Code> = CASES.iter().map(|(_, code, _)| *code).collect();
    for code in Code::ALL.iter().filter(|it| (510..=535).contains(&it.text()[2..].parse::<u32>().unwrap())) {
        assert!(shown.contains(code), "{} is shown nowhere", code.text());
    }
}

#[test]
fn each_finding_says_where_why_and_what_to_change() {
    for (name, code, _) in CASES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/wrong/{name}.yaml"));
        let found = compile("weak.yaml", &std::fs::read_to_string(path).unwrap(), Path::new("/"));
        for finding in found.findings.iter().filter(|it| it.code == *code) {
            assert!(!finding.label.is_empty() && !finding.reason.is_empty(), "{name}: {finding:#?}");
            assert!(finding.help.as_ref().is_some_and(|it| !it.is_empty()), "{name}: {finding:#?}");
        }
    }
}
