//! An outage as the agent tells it: the primary is down, its recovery waits for a witness.

use mainstay_api::{
    Agent, Clients, Component, ControlPlane, Elsewhere, Fence, HostName, Instance, Journal, Lost, NoticeCount, Pause,
    Phases, PlanInForce, Probe, ProbePast, ProbeResult, Probes, Probing, Recoverable, Recovery, Replication, Route,
    Series, SeriesBackup, SeriesJob, SeriesTest, Status, Step, Target, Traffic, Waiting,
};

const SECOND: u64 = 1_000_000_000;
pub(crate) const NOW: u64 = 1_767_323_045 * SECOND + 678_000_000;

pub(crate) fn probes() -> Probes {
    let result = |ago: u64, answer: &str, took_ns| ProbeResult {
        ended_ns: NOW - ago * SECOND,
        took_ns,
        answer: answer.to_owned(),
    };
    let well = ProbePast {
        name: "session-cache/tcp".to_owned(),
        health: "healthy".to_owned(),
        good: 34_500,
        failed: 0,
        could_not_ask: 2,
        late: 2,
        kept: 1024,
        kept_since_ns: Some(NOW - 1024 * SECOND),
        p50_ns: Some(85_000),
        p90_ns: Some(160_000),
        p99_ns: Some(1_250_000),
        max_ns: Some(31_000_000),
        results: Vec::new(),
    };
    let failing = ProbePast {
        name: "orders-db/http".to_owned(),
        health: "down".to_owned(),
        good: 3,
        failed: 9,
        results: vec![result(1, "timed out", 500_000_000), result(2, "good", 2_100_000)],
        ..well.clone()
    };
    let name = |host: &str, ago: Option<u64>, trouble: Option<&str>| HostName {
        host: host.to_owned(),
        addresses: ago.iter().map(|_| [10, 0, 1, 10].into()).collect(),
        found_ns: ago.map(|it| NOW - it * SECOND),
        trouble: trouble.map(ToOwned::to_owned),
    };
    let fails = "the system's resolver failed for orders.internal: temporary failure in name resolution";
    let names = vec![name("cache.internal", Some(2), None), name("orders.internal", Some(312), Some(fails))];
    Probes { now_ns: NOW, probes: vec![failing, well], names }
}

fn probing() -> Probing {
    Probing { asked: 34_512, late: 3, late_p50_ns: 576_000, late_p99_ns: 2_304_000, late_max_ns: 4_100_000 }
}

pub(crate) fn status() -> Status {
    Status {
        now_ns: NOW,
        site: "shop".to_owned(),
        mode: "act".to_owned(),
        agent: Agent {
            pid: 4711,
            version: "0.1.0".to_owned(),
            started_ns: NOW - 11_520 * SECOND,
            times_late: 0,
            probing: probing(),
        },
        plan: PlanInForce { file: "/etc/mainstay/shop.yaml".to_owned(), hash: "3f9a1c2e7b".repeat(7)[..64].to_owned() },
        journal: Journal { seq: 57, hash: "9c1185a5c5".repeat(7)[..64].to_owned(), waiting: None, lost: None },
        traffic: Some(Traffic {
            pid: Some(4712),
            epoch: 4,
            serves_epoch: Some(4),
            routes: vec![Route {
                name: "orders".to_owned(),
                exclusive: true,
                fronts: vec!["proxy 10.0.9.1:6432".to_owned()],
                targets: vec![target("orders-db", "serving"), target("orders-db-b", "standby")],
                open_connections: 12,
                clients: Some(Clients {
                    accepted: 48_211,
                    waiting: 3,
                    queued: 190,
                    overdue: 7,
                    refused: 2,
                    unserved: 11,
                    cut: 0,
                    failed: 4,
                    retried: 4,
                    bytes_in: 61_203_118,
                    bytes_out: 5_904_331_870,
                }),
                held: None,
            }],
            trouble: Vec::new(),
        }),
        halted: None,
        paused: None,
        evacuations: Vec::new(),
        drains: Vec::new(),
        incidents: Vec::new(),
        components: vec![database(), cache()],
        control_planes: vec![ControlPlane {
            service: "ec2".to_owned(),
            region: "us-east-1".to_owned(),
            plane: "regional_control".to_owned(),
            breaker: "open".to_owned(),
            since_ns: Some(NOW - 40 * SECOND),
            until_ns: Some(NOW + 20 * SECOND),
            why: Some("canary control/ec2/us-east-1 timed out".to_owned()),
            canary: Some("down".to_owned()),
        }],
        rules: Vec::new(),
        notices: NoticeCount { standing: 2, unseen: 1, failing: vec!["on-call".to_owned()] },
        trouble: vec!["the machine was suspended for 3s at 03:01".to_owned()],
    }
}

fn target(instance: &str, state: &str) -> Target {
    Target { instance: instance.to_owned(), address: "10.0.1.10:5432".to_owned(), state: state.to_owned() }
}

fn database() -> Component {
    let probe = |name: &str, health: &str, last: &str, failures| Probe {
        name: name.to_owned(),
        health: health.to_owned(),
        last: Some(last.to_owned()),
        last_ns: Some(NOW - SECOND / 2),
        latency_ns: (failures == 0).then_some(2_400_000),
        failures,
    };
    let instance = |name: &str, state: &str, zone: &str, probe: Probe| Instance {
        name: name.to_owned(),
        state: state.to_owned(),
        health: probe.health.clone(),
        location: format!("us-east-1/{zone}"),
        probes: vec![probe],
        replication: (state == "standby").then(|| Replication {
            place: Some("0/4024C60 on timeline 1".to_owned()),
            lag_ns: Some(250_000_000),
            asked_ns: Some(NOW - SECOND / 2),
            lacks_bytes: Some(1304),
        }),
        impaired: Vec::new(),
        elsewhere: None,
        repair: None,
    };
    Component {
        name: "orders-db".to_owned(),
        kind: "database".to_owned(),
        criticality: "critical".to_owned(),
        health: "down".to_owned(),
        since_ns: Some(NOW - 12 * SECOND),
        bound_to: "orders-db".to_owned(),
        instances: vec![
            instance(
                "orders-db",
                "failed",
                "us-east-1a",
                probe("orders-db/http", "down", "refused: nobody\x1b[2J listens", 9),
            ),
            Instance {
                elsewhere: Some(Elsewhere {
                    address: [10, 0, 2, 99].into(),
                    instead_of: vec!["10.0.2.10".to_owned()],
                    since_ns: NOW - 3600 * SECOND,
                    why: "ada says so: rebuilt on another machine".to_owned(),
                }),
                ..instance("orders-db-b", "standby", "us-east-1b", probe("orders-db-b/http", "healthy", "good", 0))
            },
        ],
        waiting: Some(waiting()),
        approved_in_advance: Vec::new(),
        paused: None,
        backups: vec![series()],
        recoverable: Recoverable::By { strategy: "failover_to_standby".to_owned(), to: "orders-db-b".to_owned() },
        rto_ns: Some(30 * SECOND),
        rpo_ns: Some(5 * SECOND),
    }
}

fn series() -> Series {
    let job = |job: &str, says: &str, waits: &str, until_ns: u64, failed: u32| SeriesJob {
        job: job.to_owned(),
        id: None,
        says: says.to_owned(),
        waits: Some(waits.to_owned()),
        until_ns: Some(until_ns),
        failed,
        overdue: false,
    };
    let why = "it is not whole: checksum mismatch for file \"base/5/2619\"";
    Series {
        name: "nightly".to_owned(),
        kept_by: "host vault-1".to_owned(),
        newest: Some(SeriesBackup {
            name: "20261129T020000Z".to_owned(),
            began_ns: NOW - 40_000 * SECOND,
            took_ns: 754 * SECOND,
            bytes: 48_300_000_000,
            from: "10.0.2.10:5432".to_owned(),
            role: "standby".to_owned(),
        }),
        tested: Some(SeriesTest {
            backup: "20261122T020000Z".to_owned(),
            at_ns: NOW - 620_000 * SECOND,
            took_ns: 1221 * SECOND,
            longest_ns: 1340 * SECOND,
            counts_ns: 2680 * SECOND,
        }),
        jobs: vec![
            job("backup", "it is not due", "not_due", NOW + 46_400 * SECOND, 0),
            job(
                "restore_test",
                &format!("the last try failed, the next one waits: {why}"),
                "again",
                NOW + 90 * SECOND,
                2,
            ),
        ],
        trouble: vec![format!("the last restore test failed: {why}")],
    }
}

fn waiting() -> Waiting {
    Waiting {
        recovery: "r52".to_owned(),
        code: "witnesses".to_owned(),
        reason: "fewer than 1 of the witnesses dns-b, gateway answered since it failed: our own path may be broken"
            .to_owned(),
        since_ns: NOW - 9 * SECOND,
        until_ns: None,
        ends_when: "1 of dns-b, gateway answer a new question".to_owned(),
        way_out: "mainstay approve r52 --override witnesses".to_owned(),
    }
}

fn cache() -> Component {
    Component {
        name: "session-cache".to_owned(),
        kind: "cache".to_owned(),
        criticality: "important".to_owned(),
        health: "healthy".to_owned(),
        since_ns: Some(NOW - 400_000 * SECOND),
        bound_to: "session-cache-a".to_owned(),
        instances: Vec::new(),
        waiting: None,
        approved_in_advance: Vec::new(),
        paused: Some(Pause {
            until_ns: NOW + 1800 * SECOND,
            by: "uid 1000".to_owned(),
            reason: "kernel update".to_owned(),
            since_ns: NOW - 600 * SECOND,
            owner: Some("platform team".to_owned()),
        }),
        backups: Vec::new(),
        recoverable: Recoverable::No { why: "`session-cache-b` is not healthy (unknown for 3h)".to_owned() },
        rto_ns: None,
        rpo_ns: None,
    }
}

pub(crate) fn recovery() -> Recovery {
    let start = NOW - 6 * SECOND;
    let step =
        |name: &str, plane: Option<&str>, attempt, from_ms: u64, took_ms: Option<u64>, outcome: &str, why: &str| Step {
            name: name.to_owned(),
            plane: plane.map(ToOwned::to_owned),
            attempt,
            started_ns: start + from_ms * 1_000_000,
            ended_ns: took_ms.map(|it| start + (from_ms + it) * 1_000_000),
            outcome: (!outcome.is_empty()).then(|| outcome.to_owned()),
            why: (!why.is_empty()).then(|| why.to_owned()),
            address: None,
        };
    Recovery {
        id: "r52".to_owned(),
        component: "orders-db".to_owned(),
        failed: "orders-db".to_owned(),
        scenario: "instance_failure".to_owned(),
        planned: None,
        stopped_ns: None,
        rule: None,
        evidence: vec!["us-east-1/us-east-1a lives: `shop-app/http` answered".to_owned()],
        incident: None,
        status: "recovery_completed".to_owned(),
        detected_ns: start + 2_600_000_000,
        last_good_ns: Some(start),
        ended_ns: Some(start + 4_250_000_000),
        completed: Some("by failover_to_standby".to_owned()),
        strategy: Some("failover_to_standby".to_owned()),
        instance: Some("orders-db-b".to_owned()),
        time_to_recover_ns: Some(4_250_000_000),
        phases: Phases {
            detect_ns: 2_600_000_000,
            decide_ns: 12_000_000,
            fence_ns: 8_000_000,
            act_ns: 1_400_000_000,
            converge_ns: 230_000_000,
        },
        rto_ns: Some(30_000_000_000),
        spent_ns: 4_250_000_000,
        plan: String::new(),
        approved_by: Vec::new(),
        paused: None,
        tried: vec!["rung 1 (restart_service): the host does not answer".to_owned()],
        fences: vec![Fence {
            instance: "orders-db".to_owned(),
            kind: "traffic_cut".to_owned(),
            by: "traffic process `local` at epoch 12".to_owned(),
            confirmed_ns: start + 2_620_000_000,
        }],
        steps: vec![
            step("cut traffic to orders-db", Some("local"), 1, 2612, Some(8), "done", ""),
            step(
                "activate orders-db-b: run promote",
                Some("local"),
                1,
                2620,
                Some(1000),
                "failed",
                "exit status 1: not ready",
            ),
            Step {
                address: Some([10, 0, 2, 98].into()),
                ..step("activate orders-db-b: run promote", Some("local"), 2, 3620, Some(400), "done", "")
            },
            step("point orders at orders-db-b", Some("local"), 1, 4020, None, "", ""),
        ],
        lost_at_most_ns: Some(1_300_000_000),
        lost: Some(Lost {
            bytes: 41_240,
            transactions: 3,
            first_ns: Some(start + SECOND),
            last_ns: Some(start + 2 * SECOND),
            kept_at: Some("/var/lib/postgresql/15/orders.lost/1-0-3000148".to_owned()),
        }),
        waiting: None,
    }
}
