//! A fixed set of trials, as every change has to pass it; `cargo xtask sim` plays others. And that the same seed is the same
//! trial, event by event, however it was built.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_engine::codec::{decode, encode};
use mainstay_sim::hosted::Hosted;
use mainstay_sim::several::Several;
use mainstay_sim::trial::{Coverage, EXCUSED, Trial, tell};

/// So many seeds; `MAINSTAY_SEEDS=FROM..TO` plays others.
const SEEDS: std::ops::Range<u64> = 0..400;

/// So many seeds are hashed.
const HASHED: u64 = 60;

/// What those come to: SHA-256 over every answer, record and order, and what came of them. It changes with the engine, the plans and
/// the world; that it is the same in debug and in release is what it is for.
const SAME: &str = include_str!("golden/trials.txt");

#[test]
fn nothing_is_violated_in_the_fixed_set() {
    let asked = std::env::var("MAINSTAY_SEEDS").ok();
    let range = asked.as_deref().and_then(|it| it.split_once(".."));
    let range = range.map_or(SEEDS, |(from, to)| from.parse().expect("a number")..to.parse().expect("a number"));
    let mut coverage = Coverage::default();
    for seed in range {
        let trial = Trial::of(seed);
        let run = trial.run();
        assert_eq!(run.violation, None, "cargo xtask sim --seed {seed}\n{}", tell(&trial, &run));
        coverage.add(run.coverage);
        if let Some(several) = Several::of(seed) {
            let ended = several.run();
            assert_eq!(ended.violation, None, "cargo xtask sim --seed {seed}\n{}", several.tell(&ended));
            coverage.add(ended.coverage);
        }
        if let Some(hosted) = Hosted::of(seed) {
            let ended = hosted.run();
            assert_eq!(ended.violation, None, "cargo xtask sim --seed {seed}\n{}", hosted.tell());
            coverage.add(ended.coverage);
        }
    }
    assert_eq!(coverage.wrongly_excused(), Vec::<String>::new(), "it is said that these can't be reached");
}

#[test]
fn what_is_excused_is_there_to_be_reached() {
    let all: Vec<String> = Coverage::default().all().into_keys().collect();
    for (what, why) in EXCUSED {
        assert!(all.iter().any(|it| it.starts_with(what)), "{what}: {why}");
    }
}

/// Seeds that found something, each mended since: a verification that was over before another plan came (24954), a rung that
/// failed in a second file which the next agent does not read (14148), an approval in advance under another plan (70926), a question
/// that expired while its recovery was paused (75071). What was found before is told event by event in `found.rs`.
const FOUND: [u64; 4] = [14148, 24954, 70926, 75071];

#[test]
fn what_was_mended_stays_mended() {
    for seed in FOUND {
        let trial = Trial::of(seed);
        let run = trial.run();
        assert_eq!(run.violation, None, "cargo xtask sim --seed {seed}\n{}", tell(&trial, &run));
    }
}

/// A line a seed, whichever of so many threads played it.
fn hashes(threads: u64) -> String {
    let next = AtomicU64::new(0);
    let lines = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= HASHED {
                        return;
                    }
                    let line = format!("{seed} {}\n", Trial::of(seed).digest());
                    lines.lock().expect("nobody panics with it").insert(seed, line);
                }
            });
        }
    });
    lines.into_inner().expect("nobody panics with it").into_values().collect()
}

/// Whatever the engine is told, records and orders: the test runs in both profiles, and the file stands for the other.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    let hashes = hashes(1);
    assert_eq!(hashes, self::hashes(1), "from run to run");
    assert_eq!(hashes, self::hashes(2), "one at a time, and two at a time");
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trials.txt");
        std::fs::write(path, &hashes).expect("writable");
    } else {
        assert_eq!(hashes, SAME, "MAINSTAY_UPDATE_GOLDEN=1 cargo test -p mainstay-sim --test trials writes them anew");
    }
}

/// The journal's payloads are sorted by name, as they are where a generic JSON value is written; and what is read is what was
/// written.
#[test]
fn what_is_written_is_sorted_by_name_and_read_as_it_was() {
    for seed in 0..HASHED {
        for (_, record) in Trial::of(seed).run().world.written() {
            let value = serde_json::to_value(&record.body).expect("it is JSON");
            let content = value.as_object().and_then(|it| it.values().next()).expect("a kind and its content");
            let stored = encode(record);
            assert_eq!(String::from_utf8_lossy(&stored.payload), content.to_string(), "{}", record.body.kind());
            assert_eq!(decode(&stored).as_ref(), Ok(record), "{}", record.body.kind());
        }
    }
}
