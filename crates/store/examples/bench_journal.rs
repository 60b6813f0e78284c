//! How fast records become durable, beside what the same disk does for a bare file in the same run.
//!
//! `cargo run --release -p mainstay-store --example bench_journal [DIR]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::fs::File;
use std::io::Write;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use mainstay_store::{Entry, Event, Journal, Options};

/// Batches that are waited for one by one, as a recovery does.
const BATCHES: u32 = 200;
/// Records that are queued without waiting, as a storm does.
const STORM: usize = 50_000;

fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::tempdir_in(base).expect("a directory that can be written");

    let mut file = File::create(dir.path().join("peer")).expect("a file");
    let begin = Instant::now();
    for _ in 0..BATCHES {
        file.write_all(&[0; 512]).expect("written");
        file.sync_data().expect("synced");
    }
    let bare = rate(BATCHES, begin.elapsed());

    let (tell, events) = sync_channel(1024);
    let (journal, _) = Journal::open(dir.path(), Options::default(), move |event| {
        if let Event::Durable { seq } = event {
            let _ = tell.send(seq);
        }
    })
    .expect("a journal");
    let wait_for = |seq: u64| while events.recv().expect("the journal tells") < seq {};
    let begin = Instant::now();
    for n in 0..BATCHES {
        wait_for(*journal.append(vec![entry(u64::from(n)); 4]).expect("taken").end());
    }
    let durable = rate(BATCHES, begin.elapsed());

    let begin = Instant::now();
    let mut last = 0;
    for n in 0..STORM / 50 {
        last = *journal.append(vec![entry(n as u64); 50]).expect("taken").end();
    }
    wait_for(last);
    let storm = begin.elapsed();
    println!("bare file, write and fdatasync:        {bare:>9.0} a second");
    println!("journal, batches of 4, one by one:     {durable:>9.0} a second ({:.2} of the bare file)", durable / bare);
    println!("journal, {STORM} records in a storm:    {:>9.0} records a second", STORM as f64 / storm.as_secs_f64());
}

fn rate(count: u32, spent: Duration) -> f64 {
    f64::from(count) / spent.as_secs_f64()
}

fn entry(n: u64) -> Entry {
    Entry {
        wall_ns: 0,
        mono_ns: 0,
        kind: "health_changed".to_owned(),
        version: 1,
        payload: format!("{{\"instance\":\"orders-db\",\"number\":{n},\"evidence\":[]}}").into_bytes(),
    }
}
