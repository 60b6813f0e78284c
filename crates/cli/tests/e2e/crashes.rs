//! The agent dies at each record of a recovery in turn, in each of three ways, and ends what it began all the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mainstay_engine::Body;
use mainstay_engine::record::Ended;
use rustix::process::Signal;

use super::plans;
use super::site::{FILES, Net, ORDERS, Site, until};

/// How many sites crash at a time: they wait for probes most of their time.
const AT_ONCE: usize = 5;

/// What crashes, and how it fails.
#[derive(Clone, Copy)]
struct Case {
    component: &'static str,
    standby: &'static str,
    servers: &'static [&'static str],
    plan: fn(&Net, &Path) -> String,
    how: Signal,
    actions: u64,
}

impl Case {
    /// A site whose component has just failed.
    fn failed(self, crash: Option<&str>) -> Site {
        let mut site = Site::new(self.plan);
        site.start_servers(self.servers);
        site.start_agent_with(crash);
        site.until_whole();
        site.signal_server(self.component, self.how);
        site
    }

    fn completed(self, site: &Site) -> bool {
        site.recoveries().first().is_some_and(|it| it.status == "recovery_completed")
    }

    /// Dies at `crash`, is started again, and must end well. Whether the crash struck.
    fn survives(self, crash: &str) -> bool {
        let mut site = self.failed(Some(crash));
        let struck = until("the agent dies or the recovery ends", || {
            if site.agent_ended().is_some() {
                return Some(true);
            }
            self.completed(&site).then_some(false)
        });
        site.kill_agent();
        site.start_agent();
        site.until_owned_by(self.component, self.standby);
        self.check(&mut site);
        struck
    }

    fn check(self, site: &mut Site) {
        let newest = site.recoveries();
        let newest = newest.first().expect("there is one");
        assert_eq!(newest.status, "recovery_completed", "{newest:#?}");
        if self.component == "orders" {
            assert_eq!(site.serves_through_proxy().as_deref(), Some(self.standby));
        } else {
            let at = super::clients::resolve(site.net.dns).expect("it answers");
            assert_eq!(at, site.net.servers[self.standby].ip());
        }
        site.stop_agent();
        site.check_journal();
        activated_once(site, self.standby);
    }
}

/// The standby took over once; it was asked with one key again only after nobody knew what became of the first time.
fn activated_once(site: &Site, standby: &str) {
    let log = site.whole_log(standby);
    let asked: Vec<&str> = log.lines().filter(|it| it.contains("asked to become active")).collect();
    let changed = asked.iter().filter(|it| it.contains("changed=true")).count();
    assert_eq!(changed, 1, "{asked:#?}");
    let mut begun: BTreeMap<String, u32> = BTreeMap::new();
    let mut known = true;
    for (seq, record) in site.journal() {
        known |= matches!(record.body, Body::StepEnded { ended: Ended::Done | Ended::Failed(_), .. });
        if let Body::StepStarted { name, key, .. } = record.body
            && name.starts_with("activate")
        {
            let before = begun.entry(key.clone()).or_default();
            assert!(*before == 0 || !known, "record {seq} does {key} again although its outcome is known");
            *before += 1;
            known = false;
        }
    }
    assert!(asked.iter().all(|it| begun.keys().any(|key| it.contains(key.as_str()))), "{begun:?}: {asked:#?}");
}

fn killed_everywhere(case: Case) {
    let mut whole = case.failed(None);
    whole.until_owned_by(case.component, case.standby);
    case.check(&mut whole);
    let records = whole.journal();
    let at = |like: fn(&Body) -> bool| records.iter().find(|it| like(&it.1.body)).expect("it was recorded").0;
    let first = at(|it| matches!(it, Body::FailureDetected { .. })) - 1;
    let last = at(|it| matches!(it, Body::RecoveryCompleted { .. }));
    drop(whole);

    let at_records = (first..=last).flat_map(|it| [format!("after-record:{it}"), format!("before-sync:{it}")]);
    let at_outcomes = (1..=case.actions).map(|it| format!("before-outcome:{it}"));
    let crashes: Vec<String> = at_records.chain(at_outcomes).collect();
    let (next, struck) = (AtomicUsize::new(0), Mutex::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(crash) = crashes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let survived = std::panic::catch_unwind(|| case.survives(crash));
                    let hit = survived.unwrap_or_else(|_| panic!("killed at {crash}, see above"));
                    *struck.lock().expect("nobody panics holding it") += usize::from(hit);
                }
            });
        }
    });
    let struck = *struck.lock().expect("nobody panics holding it");
    // Runs differ by a record or two in when the standby was seen.
    assert!(struck + 4 >= crashes.len(), "only {struck} of {} crashes struck", crashes.len());
}

#[test]
fn killed_at_every_record_of_a_takeover_through_the_proxy() {
    killed_everywhere(Case {
        component: "orders",
        standby: "orders-b",
        servers: &ORDERS,
        plan: plans::orders,
        how: Signal::KILL,
        actions: 1,
    });
}

#[test]
fn killed_at_every_record_of_a_takeover_with_a_stop() {
    killed_everywhere(Case {
        component: "files",
        standby: "files-b",
        servers: &FILES,
        plan: plans::files,
        how: Signal::STOP,
        actions: 2,
    });
}
