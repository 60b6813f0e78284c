//! The agent dies at a record of a takeover, of the repair after it, or of the failback after that, with real PostgreSQL servers and a
//! client that writes; it is started again, and ends what it began: once, and without a lost write.
//!
//! A few records by default; `MAINSTAY_CRASHES=all` takes every one of them, `MAINSTAY_CRASHES=after-record:23,before-outcome:2` those.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_api::Status;
use mainstay_engine::Body;
use mainstay_engine::record::{Completion, Ended, StepRef};

use super::postgres::{STOP, Servers, Writer};
use super::site::{Site, until};

/// How many sites crash at a time: they wait for servers most of their time.
const AT_ONCE: usize = 2;

/// How many crashes there are by default, spread over all.
const FEW: usize = 6;

/// How long a whole story may take, however often the agent was away in it.
const PATIENCE: Duration = Duration::from_secs(150);

/// What is done to the servers in a story: they are promoted, made standbys, ended.
const ACTIONS: u64 = 5;

/// Three servers and an agent that dies once.
struct Story {
    servers: Servers,
    site: Site,
    writer: Option<Writer>,
}

impl Story {
    /// The primary has just been killed under a client that writes.
    fn begin(crash: Option<&str>) -> Story {
        let mut servers = Servers::without_slots();
        servers.wait_for_one_standby();
        let mut site = Site::new(|net, dir| servers.repairing(net, dir, STOP));
        site.start_servers(&["gateway"]);
        site.start_agent_with(crash);
        site.until_whole();
        let writer = Writer::start(site.net.proxy);
        writer.until_more(20);
        servers.primary.kill();
        Story { servers, site, writer: Some(writer) }
    }

    /// Until the component is back where it was, with everybody else a healthy standby of it. Whether the agent died meanwhile.
    fn end(&mut self, crash: &str) -> bool {
        let begun = Instant::now();
        let (mut struck, mut moved) = (false, false);
        loop {
            if self.site.agent_ended().is_some() {
                assert!(!struck, "{crash}: the agent died twice");
                struck = true;
                self.site.start_agent();
            }
            if let Some(status) = self.site.status() {
                moved |= bound(&status) != "orders";
                match (moved, bound(&status) == "orders", is_settled(&status)) {
                    // Asked again until it is taken: what is asked under way, or too early, is refused.
                    (true, false, true) => drop(self.site.says(&["failback", "orders", "--reason", "repaired"])),
                    (true, true, true) => return struck,
                    (false, ..) | (true, _, false) => {}
                }
            }
            let stands = || format!("{:#?}\n{}", self.site.status(), self.site.log("agent"));
            assert!(begun.elapsed() < PATIENCE, "{crash}: it did not end well in {PATIENCE:?}: {}", stands());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn check(&mut self, crash: &str) {
        let writer = self.writer.take().expect("it writes");
        writer.until_more(20);
        let history = writer.end();
        until("everything has ended", || self.site.recoveries().iter().all(|it| it.ended_ns.is_some()).then_some(()));
        let lost = history.missing_on(&self.servers.primary);
        assert!(lost.is_empty(), "{crash}: {lost:?}");
        self.site.stop_agent();
        self.site.check_journal();
        // Each promotion begins a timeline: one for the takeover, one for the way back.
        let timeline = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
        assert_eq!(self.servers.primary.sql(timeline), "00000003", "{crash}");
        self.nothing_is_done_twice(crash);
    }

    /// A step is begun again under its key only while nobody knows what became of it; each move was completed once.
    fn nothing_is_done_twice(&self, crash: &str) {
        let mut begun: BTreeMap<String, StepRef> = BTreeMap::new();
        let mut ended: BTreeMap<StepRef, Ended> = BTreeMap::new();
        let (mut takeovers, mut switches, mut repaired) = (0, 0, 0);
        for (seq, record) in self.site.journal() {
            if let Body::StepStarted { step, key, name, .. } = &record.body {
                let before = begun.insert(key.clone(), *step);
                let known = before.and_then(|it| ended.get(&it)).filter(|it| !matches!(it, Ended::Unknown(_)));
                let asks = name.starts_with("wait until") || name == "verify" || name.starts_with("cut");
                assert!(asks || known.is_none(), "{crash}: record {seq} does {key} again, which ended {known:?}");
            } else if let Body::StepEnded { step, ended: how } = &record.body {
                ended.insert(*step, how.clone());
            }
            let is = |like: bool| usize::from(like);
            takeovers += is(matches!(record.body, Body::RecoveryCompleted { how: Completion::ByRung { .. }, .. }));
            switches += is(matches!(record.body, Body::RecoveryCompleted { how: Completion::Switched { .. }, .. }));
            repaired += is(matches!(&record.body, Body::RepairCompleted { instance, .. } if instance == "orders"));
        }
        assert_eq!(
            (takeovers, switches, repaired),
            (1, 1, 1),
            "{crash}: takeovers, moves and repairs that were completed"
        );
    }
}

fn bound(status: &Status) -> String {
    status.components.first().expect("the component").bound_to.clone()
}

/// Nothing is open, and everybody is what he should be.
fn is_settled(status: &Status) -> bool {
    let component = status.components.first().expect("the component");
    let well = |it: &mainstay_api::Instance| {
        it.health == "healthy" && (it.state == "active" || it.state == "standby") && it.repair.is_none()
    };
    component.waiting.is_none() && component.health == "healthy" && component.instances.iter().all(well)
}

/// Where the agent dies in turn: as asked, or a few of all.
fn crashes(first: u64, last: u64) -> Vec<String> {
    let at_records = (first..=last).flat_map(|it| [format!("after-record:{it}"), format!("before-sync:{it}")]);
    let all: Vec<String> = at_records.chain((1..=ACTIONS).map(|it| format!("before-outcome:{it}"))).collect();
    match std::env::var("MAINSTAY_CRASHES").as_deref() {
        Ok("all") => all,
        Ok(some) => some.split(',').map(str::to_owned).collect(),
        // An odd step takes some of both kinds.
        Err(_) => all.iter().skip(2).step_by((all.len() / FEW) | 1).cloned().collect(),
    }
}

#[test]
fn killed_at_records_of_a_takeover_a_repair_and_a_failback() {
    let mut whole = Story::begin(None);
    assert!(!whole.end("not killed"));
    whole.check("not killed");
    let records = whole.site.journal();
    let first = records.iter().find(|it| matches!(it.1.body, Body::FailureDetected { .. })).expect("it failed").0 - 1;
    let last = records.iter().rfind(|it| matches!(it.1.body, Body::RecoveryCompleted { .. })).expect("it ended").0;
    drop(whole);

    let crashes = crashes(first, last);
    let (next, struck, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(crash) = crashes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let survives = || {
                        let mut story = Story::begin(Some(crash));
                        let struck = story.end(crash);
                        story.check(crash);
                        struck
                    };
                    match std::panic::catch_unwind(survives) {
                        Ok(hit) => drop(struck.fetch_add(usize::from(hit), Ordering::Relaxed)),
                        Err(_) => failed.lock().expect("nobody panics holding it").push(crash.clone()),
                    }
                }
            });
        }
    });
    let (struck, failed) = (struck.into_inner(), failed.into_inner().expect("nobody holds it"));
    eprintln!(
        "records {first} to {last}: {} crashes, {struck} of them struck, {} ended badly",
        crashes.len(),
        failed.len()
    );
    assert!(failed.is_empty(), "killed at {failed:?}, see above");
    assert!(struck * 10 >= crashes.len() * 8, "only {struck} of {} crashes struck", crashes.len());
}
