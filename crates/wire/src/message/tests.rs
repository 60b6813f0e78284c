//! What both sides say, byte for byte, and what is refused.

use std::time::Duration;

use mainstay_plan::action::{Service, ServiceOp};
use mainstay_plan::probe::{Address, CompositeProbe, Hidden, HttpProbe};
use serde_json::{Value, json};

use super::*;
use crate::may::MayService;

fn held() -> Held {
    Held { component: "orders-db".to_owned(), instance: "orders-db-b".to_owned() }
}

fn stance() -> Stance {
    let of = |instance: &str| Held { component: "queue".to_owned(), instance: instance.to_owned() };
    let peer = PeerAt { host: "db-c".to_owned(), address: ([10, 0, 0, 6], 7401).into() };
    Stance {
        epoch: 3,
        nth: 12,
        silent_ms: 2300,
        expires_ms: 6000,
        whole_ms: 8500,
        stays: vec![Stays { held: held(), peers: vec![peer] }],
        agrees: vec![MayStay { held: of("queue-a"), host: "db-a".to_owned() }],
        over: vec![of("queue-b")],
    }
}

pub(super) fn from_agent() -> Vec<(FromAgent, Value)> {
    let lease = LeaseTimes { renew_ms: 1000, expires_ms: 6000, demote_ms: 2000, drift_ms: 200 };
    let welcome = Welcome {
        protocol: 1,
        host: "db-a".to_owned(),
        agent: "agent".to_owned(),
        site: "shop-a".to_owned(),
        version: "0.1.0".to_owned(),
        epoch: 3,
        lease,
        paths: true,
    };
    let act = Act {
        key: "shop-a/17/1/2/0".to_owned(),
        recovery: 17,
        step: "stop orders-db".to_owned(),
        attempt: 1,
        epoch: 3,
        sent: Sent { seq: 9, after_ms: 250 },
        deadline_ms: 10_000,
        instance: "orders-db".to_owned(),
        component: "orders-db".to_owned(),
        address: None,
        needs_lease: true,
        action: Action::Service {
            op: ServiceOp::Kill,
            service: Service::Declared {
                start: vec!["start".to_owned()],
                stop: None,
                status: None,
                pid_file: Some("/run/db.pid".into()),
                stop_grace: Duration::from_millis(1500),
            },
        },
    };
    let process = ProbeKind::Process { pid_file: "/run/db.pid".into() };
    let ask = Ask { id: 7, probe: process, at: None, from: None, timeout_ms: 500 };
    let table = RoutingTable::empty("shop-a");
    vec![
        (
            FromAgent::Welcome(welcome),
            json!({ "welcome": { "protocol": 1, "host": "db-a", "agent": "agent", "site": "shop-a", "version": "0.1.0", "epoch": 3,
                "lease": { "renew_ms": 1000, "expires_ms": 6000, "demote_ms": 2000, "drift_ms": 200 }, "paths": true } }),
        ),
        (
            FromAgent::Ask(Box::new(ask)),
            json!({ "ask": { "id": 7, "probe": { "process": { "pid_file": "/run/db.pid" } }, "timeout_ms": 500 } }),
        ),
        (
            FromAgent::Act(Box::new(act)),
            json!({ "act": { "key": "shop-a/17/1/2/0", "recovery": 17, "step": "stop orders-db", "attempt": 1, "epoch": 3,
                "sent": { "seq": 9, "after_ms": 250 }, "deadline_ms": 10000, "instance": "orders-db", "component": "orders-db",
                "needs_lease": true,
                "action": { "service": { "op": "kill", "service": { "declared": { "start": ["start"], "stop": null, "status": null,
                    "pid_file": "/run/db.pid", "stop_grace": { "secs": 1, "nanos": 500_000_000 } } } } } } }),
        ),
        (FromAgent::Cancel { key: "k".to_owned() }, json!({ "cancel": { "key": "k" } })),
        (
            FromAgent::Granted(Granted { seq: 9, holds: vec![held()], ttl_ms: 6000, stance: 0 }),
            json!({ "granted": { "seq": 9, "holds": [{ "component": "orders-db", "instance": "orders-db-b" }], "ttl_ms": 6000 } }),
        ),
        (FromAgent::Revoke(held()), json!({ "revoke": { "component": "orders-db", "instance": "orders-db-b" } })),
        (
            FromAgent::Stance(Box::new(stance())),
            json!({ "stance": { "epoch": 3, "nth": 12, "silent_ms": 2300, "expires_ms": 6000, "whole_ms": 8500,
                "stays": [{ "held": { "component": "orders-db", "instance": "orders-db-b" },
                    "peers": [{ "host": "db-c", "address": "10.0.0.6:7401" }] }],
                "agrees": [{ "held": { "component": "queue", "instance": "queue-a" }, "host": "db-a" }],
                "over": [{ "component": "queue", "instance": "queue-b" }] } }),
        ),
        (
            FromAgent::Serve { table: Box::new(table.clone()) },
            json!({ "serve": { "table": serde_json::to_value(table).unwrap() } }),
        ),
        (FromAgent::Copy { records: vec!["{}".to_owned()] }, json!({ "copy": { "records": ["{}"] } })),
        (FromAgent::not_understood("x".to_owned()), json!({ "not_understood": { "what": "x" } })),
    ]
}

pub(super) fn from_host() -> Vec<(FromHost, Value)> {
    let may = May {
        services: vec![MayService::Unit("db.service".to_owned()), MayService::PidFile("/run/db.pid".into())],
        commands: vec![vec!["promote".to_owned()]],
        files: Vec::new(),
        variables: Vec::new(),
        backups: Vec::new(),
        network: false,
    };
    let hello = Hello {
        protocol: 1,
        version: "0.1.0".to_owned(),
        boot_id: "b".to_owned(),
        up_ms: 5,
        epoch: 3,
        may,
        guards: vec![held()],
        serves: true,
        listens: true,
        copy_head: Some(Head { seq: 4, hash: "ab".to_owned() }),
        beside: Some("10.9.0.5:7400".to_owned()),
    };
    let answered = Answered {
        id: 7,
        answer: Answer::Refused("gone".to_owned()),
        lag_ns: Some(5),
        role: None,
        expiring: None,
        upkeep: None,
        position: None,
        took_ns: 90,
    };
    vec![
        (
            FromHost::Hello(Box::new(hello)),
            json!({ "hello": { "protocol": 1, "version": "0.1.0", "boot_id": "b", "up_ms": 5, "epoch": 3,
                "may": { "services": [{ "unit": "db.service" }, { "pid_file": "/run/db.pid" }], "commands": [["promote"]], "files": [],
                    "variables": [], "network": false },
                "guards": [{ "component": "orders-db", "instance": "orders-db-b" }], "serves": true, "listens": true,
                "copy_head": { "seq": 4, "hash": "ab" }, "beside": "10.9.0.5:7400" } }),
        ),
        (
            FromHost::Renew(Renew {
                seq: 1,
                heard_ms: 2,
                wall_ns: 3,
                holds: Vec::new(),
                asks: vec![held()],
                stands: Some(Stands {
                    epoch: 3,
                    nth: 12,
                    promised: vec![Promised { held: held(), left_ms: 40 }],
                    stays: vec![held()],
                }),
            }),
            json!({ "renew": { "seq": 1, "heard_ms": 2, "wall_ns": 3, "holds": [],
                "asks": [{ "component": "orders-db", "instance": "orders-db-b" }],
                "stands": { "epoch": 3, "nth": 12,
                    "promised": [{ "held": { "component": "orders-db", "instance": "orders-db-b" }, "left_ms": 40 }],
                    "stays": [{ "component": "orders-db", "instance": "orders-db-b" }] } } }),
        ),
        (
            FromHost::Answers(vec![answered]),
            json!({ "answers": [{ "id": 7, "answer": { "refused": "gone" }, "lag_ns": 5, "took_ns": 90 }] }),
        ),
        (
            FromHost::Progress { key: "k".to_owned(), text: "begun".to_owned() },
            json!({ "progress": { "key": "k", "text": "begun" } }),
        ),
        (
            FromHost::Ended(Ended { key: "k".to_owned(), attempt: 2, outcome: Outcome::Done, done_before: true }),
            json!({ "ended": { "key": "k", "attempt": 2, "outcome": "done", "done_before": true } }),
        ),
        (FromHost::Released(held()), json!({ "released": { "component": "orders-db", "instance": "orders-db-b" } })),
        (FromHost::Traffic(TrafficNews::Applied { epoch: 8 }), json!({ "traffic": { "applied": { "epoch": 8 } } })),
        (FromHost::Copied(Head { seq: 4, hash: "ab".to_owned() }), json!({ "copied": { "seq": 4, "hash": "ab" } })),
        (FromHost::not_understood("x".to_owned()), json!({ "not_understood": { "what": "x" } })),
    ]
}

/// The lines of another release are the same: what stands here changes only together with [`PROTOCOL`], or by a field that has
/// a default.
#[test]
fn messages_look_as_they_always_did() {
    fn look<M: Message + PartialEq + std::fmt::Debug>(all: Vec<(M, Value)>) {
        let words: Vec<&str> =
            all.iter().filter_map(|it| it.1.as_object()?.keys().next()).map(String::as_str).collect();
        assert_eq!(words, M::WORDS, "every message stands here");
        for (message, json) in all {
            assert_eq!(serde_json::to_value(&message).unwrap(), json);
            let line = encode(&message);
            assert_eq!(line.iter().filter(|it| **it == b'\n').count(), 1);
            assert_eq!(decode(&line[..line.len() - 1]), Ok(Understood::Message(message)));
        }
    }
    look(from_agent());
    look(from_host());
}

#[test]
fn what_is_sent_as_a_secret_arrives() {
    let address = Address::Name { host: "db".to_owned(), port: 80 };
    let mut http = HttpProbe::get(address, "db", "/");
    http.headers.insert("x-token".to_owned(), Hidden("s".to_owned()));
    let probe = ProbeKind::Composite(Box::new(CompositeProbe { needed: 1, of: vec![ProbeKind::Http(Box::new(http))] }));
    let ask = FromAgent::Ask(Box::new(Ask { id: 1, probe, at: None, from: None, timeout_ms: 1 }));
    let line = encode(&ask);
    assert_eq!(decode(line.trim_ascii_end()), Ok(Understood::Message(ask)));
}

#[test]
fn a_field_of_a_newer_release_is_passed_over() {
    let line = br#"{"cancel":{"key":"k","why":"new"}}"#;
    assert_eq!(decode(line), Ok(Understood::Message(FromAgent::Cancel { key: "k".to_owned() })));
}

#[test]
fn a_renewal_of_an_older_release_is_understood() {
    let line = br#"{"renew":{"seq":1,"heard_ms":2,"wall_ns":3,"holds":[]}}"#;
    let renew = Renew { seq: 1, heard_ms: 2, wall_ns: 3, holds: Vec::new(), asks: Vec::new(), stands: None };
    assert_eq!(decode(line), Ok(Understood::Message(FromHost::Renew(renew))));
}

#[test]
fn what_is_not_understood_is_named() {
    for (line, what) in [
        (r#"{"fly":{"to":"moon"}}"#, "`fly` is not known"),
        (r#"{"cancel":{"kez":"k"}}"#, "cancel: missing field `key`"),
        (r#"{"act":7}"#, "act: "),
    ] {
        let Ok(Understood::Not(said)) = decode::<FromAgent>(line.as_bytes()) else { panic!("{line}") };
        assert!(said.starts_with(what), "{said}");
    }
    for line in
        ["", "hello", "[]", "7", "{}", r#"{"cancel":{"key":"k"},"act":7}"#, r#"{"cancel":{"key":"k"}"#, "\0\u{1}"]
    {
        assert!(decode::<FromAgent>(line.as_bytes()).is_err(), "{line}");
    }
}

fn cut(lines: &mut Lines) -> Result<Option<Vec<u8>>, Garbled> {
    lines.cut().map(|it| it.map(|it| it.to_vec()))
}

#[test]
fn lines_are_cut_wherever_they_were_torn() {
    let text = b"{\"a\":1}\n{}\n\n{\"b";
    for at in 0..text.len() {
        let mut lines = Lines::of::<FromAgent>();
        let mut got = Vec::new();
        for part in [&text[..at], &text[at..]] {
            lines.take_in(part);
            while let Some(line) = cut(&mut lines).unwrap() {
                got.push(line);
            }
        }
        assert_eq!(got, [b"{\"a\":1}".to_vec(), b"{}".to_vec(), Vec::new()], "torn at {at}");
        assert!(lines.is_within_one());
    }
}

#[test]
fn a_line_without_an_end_is_not_kept_for_ever() {
    let mut lines = Lines::of::<FromAgent>();
    lines.take_in(&b"{\"act\":{"[..]);
    lines.take_in(&vec![b' '; LONGEST][..]);
    assert_eq!(cut(&mut lines), Err(Garbled::TooLong { limit: LONGEST }));

    let mut lines = Lines::of::<FromAgent>();
    lines.take_in(&b"{\"serve\":{"[..]);
    lines.take_in(&vec![b' '; LONGEST][..]);
    assert_eq!(cut(&mut lines), Ok(None), "a table may be longer");
    lines.take_in(&vec![b' '; LONGEST_LARGE][..]);
    assert_eq!(cut(&mut lines), Err(Garbled::TooLong { limit: LONGEST_LARGE }));
}
