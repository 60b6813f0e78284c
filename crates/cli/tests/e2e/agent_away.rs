//! What clients notice when the agent, the traffic process or the journal is gone: nothing, or no more than they must.

use std::fs;

use mainstay_engine::Body;
use rustix::process::Signal;

use super::clients::{Load, get};
use super::plans;
use super::site::{ALL, ORDERS, PATIENCE, Site, serves_newest, until};

#[test]
fn clients_do_not_notice_that_the_agent_is_killed() {
    let mut site = Site::running(&ALL, plans::both);
    let load = Load::start(&site.net, true);
    load.more(50);
    site.kill_agent();
    load.more(100);
    site.start_agent();
    site.until_whole();
    load.more(50);
    load.ends_without_failure();
    assert!(site.recoveries().is_empty(), "{:#?}", site.recoveries());
    site.stop_agent();
    site.check_journal();
}

#[test]
fn clients_do_not_notice_that_the_agent_is_suspended_and_it_blames_nobody_for_it() {
    let mut site = Site::running(&ALL, plans::both);
    let load = Load::start(&site.net, true);
    load.more(50);
    site.signal_agent(Signal::STOP);
    // Two requests every 20 ms: three seconds.
    load.more(300);
    site.signal_agent(Signal::CONT);
    until("its own lateness is recorded", || site.recorded(|it| matches!(it, Body::OwnLateness { .. })).then_some(()));
    site.until_whole();
    load.more(200);
    load.ends_without_failure();
    site.until_whole();
    assert!(!site.recorded(|it| matches!(it, Body::FailureDetected { .. })), "{:#?}", site.journal());
    site.stop_agent();
    site.check_journal();
}

#[test]
fn a_killed_traffic_process_is_back_by_itself_and_serves_the_same() {
    let site = Site::running(&ORDERS, plans::orders);
    let before = site.until_whole().traffic.expect("there are routes");
    let pid = site.signal_traffic(Signal::KILL);
    let after = site.until_status("another traffic process serves", |it| {
        serves_newest(it) && it.traffic.as_ref().is_some_and(|it| it.pid.is_some_and(|it| it != pid))
    });
    assert_eq!(after.traffic.map(|it| it.epoch), Some(before.epoch));
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders"));
    assert!(site.recoveries().is_empty());
}

#[test]
fn a_traffic_process_that_hangs_is_replaced() {
    let site = Site::running(&ORDERS, plans::orders);
    let before = site.until_whole().traffic.expect("there are routes");
    let pid = site.signal_traffic(Signal::STOP);
    let after = site.until_status(&format!("another traffic process serves within {PATIENCE:?}"), |it| {
        serves_newest(it) && it.traffic.as_ref().is_some_and(|it| it.pid.is_some_and(|it| it != pid))
    });
    assert_eq!(after.traffic.map(|it| it.epoch), Some(before.epoch));
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders"));
    assert!(!fs::exists(format!("/proc/{pid}")).expect("it can be looked at"), "the one that hung is still there");
}

#[test]
fn agent_and_traffic_both_gone_come_back_as_they_were() {
    let mut site = Site::running(&ORDERS, plans::orders);
    site.kill_server("orders");
    let before = site.until_owned_by("orders", "orders-b").traffic.expect("there are routes");
    site.kill_agent();
    site.signal_traffic(Signal::KILL);
    until("nobody serves", || get(site.net.proxy, "/").is_err().then_some(()));
    site.start_agent();
    let after = site.until_owned_by("orders", "orders-b").traffic.expect("there are routes");
    assert_eq!(after.epoch, before.epoch);
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
    assert_eq!(site.recoveries().len(), 1);
    site.stop_agent();
    site.check_journal();
}

#[test]
fn an_agent_without_its_journal_takes_over_what_traffic_serves() {
    let mut site = Site::running(&ORDERS, plans::orders);
    site.kill_server("orders");
    let before = site.until_owned_by("orders", "orders-b").traffic.expect("there are routes");
    site.stop_agent();
    let away = site.path().join("away");
    fs::create_dir(&away).expect("a directory");
    for entry in fs::read_dir(site.state()).expect("it is there").flatten() {
        if entry.file_name().to_string_lossy().starts_with("journal.db") {
            fs::rename(entry.path(), away.join(entry.file_name())).expect("it is moved");
        }
    }
    // The old primary answers again; it must get no clients back by that.
    site.start_server("orders", None);
    let load = Load::start(&site.net, false);
    site.start_agent();
    let after = site.until_status("all is observed", |it| {
        serves_newest(it) && it.components[0].instances.iter().all(|it| it.health == "healthy")
    });
    load.more(50);
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
    load.ends_without_failure();
    assert_eq!(after.components[0].bound_to, "orders-b");
    assert!(after.traffic.is_some_and(|it| it.epoch >= before.epoch));
    assert!(site.recorded(|it| matches!(it, Body::TrafficAhead { .. })));
    site.stop_agent();
    site.check_journal();
}
