//! `journal`, on journals that the engine wrote in virtual time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::compile;
use mainstay_sim::world::Fault;
use mainstay_sim::{Server, World};
use mainstay_store::journal::JOURNAL_FILE;
use mainstay_store::{Entry, Journal, Options};
use tempfile::TempDir;

use super::golden::golden;
use super::on;

const PLAN: &str = include_str!("../../../sim/tests/plans/database.yaml");

/// What a takeover leaves behind.
pub(super) fn takeover() -> Vec<Entry> {
    let plan = compile("plan.yaml", PLAN, Path::new("/")).plan.expect("the plan is sound");
    let mut world = World::new(plan);
    world.run_for(Duration::from_secs(3));
    world.fault(Duration::ZERO, Fault::Server("orders-db".to_owned(), Server::Dead));
    world.run_for(Duration::from_secs(20));
    let entry = |it: mainstay_engine::codec::Encoded| Entry {
        wall_ns: it.at_ns.cast_signed(),
        mono_ns: 0,
        kind: it.kind,
        version: it.version,
        payload: it.payload,
    };
    world.stored().into_iter().map(|(_, it)| entry(it)).collect()
}

pub(super) fn journal(entries: Vec<Entry>) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let (journal, _) = Journal::open(dir.path(), options, |_| {}).expect("opens");
    if !entries.is_empty() {
        journal.append(entries).expect("are taken");
    }
    journal.close(Duration::from_secs(60)).expect("closes");
    dir
}

/// Changes the file behind the journal's back.
fn tamper(dir: &TempDir, sql: &str) {
    let database = rusqlite::Connection::open(dir.path().join(JOURNAL_FILE)).expect("opens");
    let unguarded = "DROP TRIGGER records_never_change; DROP TRIGGER records_never_go;";
    database.execute_batch(&format!("{unguarded} {sql}")).expect("changes");
}

fn flip_a_bit(dir: &TempDir, seq: i64) {
    tamper(dir, "");
    let database = rusqlite::Connection::open(dir.path().join(JOURNAL_FILE)).expect("opens");
    let read = "SELECT payload FROM records WHERE seq = ?1";
    let mut payload: Vec<u8> = database.query_row(read, (seq,), |row| row.get(0)).expect("is there");
    payload[0] ^= 1;
    database.execute("UPDATE records SET payload = ?1 WHERE seq = ?2", (payload, seq)).expect("changes");
}

#[test]
fn a_takeover_reads_as_a_story() {
    let dir = journal(takeover());
    let said = on(dir.path(), &["journal", "show", "--from", "1"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    golden("journal.txt", &said.out);
}

#[test]
fn records_are_chosen_by_place_and_kind() {
    let entries = takeover();
    let all = entries.len();
    let dir = journal(entries);
    let lines = |args: &[&str]| {
        let said = on(dir.path(), &[&["journal", "show"], args].concat());
        said.out.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["--last", "2"]).len(), 2);
    assert_eq!(lines(&["--from", "3"]).len(), all - 2);
    assert_eq!(lines(&["--from", "3", "--last", "1"]), lines(&["--last", "1"]));
    assert!(lines(&["--kind", "bound"]).iter().all(|it| it.contains("  bound  ")));
    let json: serde_json::Value = serde_json::from_str(&lines(&["--last", "1", "--json"])[0]).expect("is JSON");
    assert_eq!(json["seq"], all);
    assert!(lines(&["--from", "99999"]).is_empty());
}

#[test]
fn a_kind_of_another_program_is_shown_as_it_stands() {
    let strange = |kind: &str, version, payload: &[u8]| Entry {
        wall_ns: 1_767_323_045_678_000_000,
        mono_ns: 0,
        kind: kind.to_owned(),
        version,
        payload: payload.to_vec(),
    };
    let dir = journal(vec![strange("weather_changed", 1, br#"{"to":"rain"}"#), strange("bound", 99, b"\x1b[2J\xff")]);
    let said = on(dir.path(), &["journal", "show"]);
    assert_eq!(
        said.out,
        "    1  2026-01-02T03:04:05.678Z  weather_changed     {\"to\":\"rain\"}\n    \
             2  2026-01-02T03:04:05.678Z  bound               \u{fffd}[2J\u{fffd}\n"
    );
}

#[test]
fn an_export_can_be_checked_by_others() {
    let dir = journal(takeover());
    let said = on(dir.path(), &["journal", "export"]);
    let mut before = mainstay_store::journal::genesis();
    for line in said.out.lines() {
        let record = mainstay_store::journal::RecordLine::parse(line.as_bytes()).expect("is a record");
        assert_eq!(record.prev_hash, before);
        assert_eq!(mainstay_store::journal::record_hash(before, record.seq, &record.entry), record.hash);
        before = record.hash;
    }
    assert!(on(dir.path(), &["journal", "verify"]).out.contains(&before.to_string()));
}

#[test]
fn a_flipped_bit_is_found() {
    let dir = journal(takeover());
    let said = on(dir.path(), &["journal", "verify"]);
    assert_eq!(said.code, Some(0));
    assert!(said.out.starts_with("unchanged: "), "{said:#?}");
    flip_a_bit(&dir, 7);
    let said = on(dir.path(), &["journal", "verify"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.starts_with("error: the journal is not what was written: record "), "{}", said.err);
    assert!(said.err.contains("help: keep the file as it is"), "{}", said.err);
    let json = on(dir.path(), &["journal", "verify", "--json"]);
    assert_eq!((json.code, &json.json()["unchanged"]), (Some(1), &serde_json::Value::Bool(false)));
    let shown = on(dir.path(), &["journal", "show"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.err.contains("the journal is broken"), "{}", shown.err);
}

#[test]
fn a_cut_tail_is_found_with_an_anchor() {
    let dir = journal(takeover());
    let head = on(dir.path(), &["journal", "verify", "--json"]).json()["head"].as_str().expect("a head").to_owned();
    let verify = |anchor: &str| on(dir.path(), &["journal", "verify", "--anchor", anchor]);
    assert_eq!(verify(&head).code, Some(0));
    tamper(&dir, "DELETE FROM records WHERE seq = (SELECT max(seq) FROM records)");
    assert_eq!(on(dir.path(), &["journal", "verify"]).code, Some(0));
    let said = verify(&head);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("tail was cut"), "{}", said.err);
    let other = format!("1:{}", "0".repeat(64));
    assert!(verify(&other).err.contains("another one than was noted"), "{:#?}", verify(&other));
}

#[test]
fn every_decision_is_made_again() {
    let entries = takeover();
    let decisions = entries.iter().filter(|it| it.kind == "failure_detected").count();
    assert_eq!(decisions, 1, "there is something to decide");
    let dir = journal(entries);
    let said = on(dir.path(), &["journal", "replay"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    golden("replay.txt", &said.out);
    assert_eq!(on(dir.path(), &["journal", "replay", "--json"]).json()["same"], true);
}

#[test]
fn another_decision_is_a_difference() {
    let mut entries = takeover();
    let changed = entries.iter_mut().find(|it| it.kind == "failure_detected").expect("it failed");
    changed.payload = String::from_utf8_lossy(&changed.payload).replace("instance_failure", "region_failure").into();
    let dir = journal(entries);
    assert_eq!(on(dir.path(), &["journal", "verify"]).code, Some(0), "the chain holds: it was written like that");
    let said = on(dir.path(), &["journal", "replay"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    for part in ["differs", "region_failure", "instance_failure", "help: "] {
        assert!(said.err.contains(part), "{part} is not in {}", said.err);
    }
    let json = on(dir.path(), &["journal", "replay", "--json"]);
    assert_eq!((json.code, &json.json()["same"]), (Some(1), &serde_json::Value::Bool(false)));
}

#[test]
fn no_journal_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    for command in ["show", "verify", "export", "replay"] {
        let said = on(dir.path(), &["journal", command]);
        assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{command}");
        assert!(said.err.contains("there is no journal at") && said.err.contains("--state DIR"), "{}", said.err);
    }
    fs::write(dir.path().join(JOURNAL_FILE), "these are my notes, and no database of yours").expect("writes");
    let said = on(dir.path(), &["journal", "show"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("is not a Mainstay journal"), "{}", said.err);
    let empty = journal(Vec::new());
    assert!(on(empty.path(), &["journal", "verify"]).out.starts_with("unchanged: 0 records"));
}
