//! The demo's journal, written by real processes, comes about again in the simulator: the same facts, and from them the same
//! decisions, byte for byte, with the simulator's checkers on.

use std::path::Path;
use std::process::{Command, Stdio};

use mainstay_engine::codec::Encoded;
use mainstay_plan::Surroundings;
use mainstay_sim::playback::play;
use mainstay_store::journal::RecordLine;

use super::site::PROGRAM;

#[test]
fn the_journal_of_the_demo_comes_about_again_in_the_simulator() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("demo.jsonl");
    let report = told(&["--journal", &file.display().to_string()]);
    assert_eq!(report["failures"].as_array().map(Vec::len), Some(6), "{report}");

    let text = std::fs::read_to_string(&file).expect("the journal was kept");
    let journal: Vec<(u64, Encoded)> = text.lines().map(read).collect();
    let records = journal.len() as u64;
    let played = play(journal, |text, base| {
        mainstay_plan::compile_in("the journal's plan", text, Path::new(base), &Surroundings::REPLAY).plan
    });
    let played = played.unwrap_or_else(|error| panic!("{error}\n{text}"));
    eprintln!("{played:?}");
    assert_eq!((played.records, played.starts), (records, 2));
    assert!(played.decisions > 60 && played.orders > 5 && played.tables > 8, "{played:?}");
}

/// A real primary that is killed, hung, and killed with the agent: what became of its writes is counted.
#[test]
fn the_demo_with_postgresql_counts_what_is_lost() {
    let report = told(&["--postgres"]);
    let failures = report["failures"].as_array().expect("a list");
    assert_eq!(failures.len(), 3, "{report}");
    let lost = |it: &serde_json::Value| it["lost_orders"].as_u64().expect("a number");
    assert_eq!(failures.iter().map(lost).sum::<u64>(), lost(&report), "{report}");
    let is_of_time = |it: &&serde_json::Value| it["promise"].as_str().is_some_and(|it| it.starts_with("every outage"));
    let promises = report["promises"].as_array().expect("a list");
    assert_eq!(promises.len(), 5, "{report}");
    let broken: Vec<_> = promises.iter().filter(|it| !is_of_time(it) && it["kept"] != true).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// What the demo reports. A machine that is busy may break a promise of it: that is not what is asked here.
fn told(arguments: &[&str]) -> serde_json::Value {
    let mut demo = Command::new(PROGRAM);
    demo.args(["demo", "--json"]).args(arguments).env_remove("MAINSTAY_STATE");
    let told = demo.stdin(Stdio::null()).output().expect("it can be started");
    let story = String::from_utf8_lossy(&told.stderr);
    assert!(matches!(told.status.code(), Some(0 | 1)), "{:?}: {story}", told.status);
    serde_json::from_slice(&told.stdout).expect("a report")
}

fn read(line: &str) -> (u64, Encoded) {
    let record = RecordLine::parse(line.as_bytes()).expect("a line of a journal");
    let entry = record.entry;
    let at_ns = u64::try_from(entry.wall_ns).expect("after 1970");
    (record.seq, Encoded { at_ns, kind: entry.kind, version: entry.version, payload: entry.payload })
}
