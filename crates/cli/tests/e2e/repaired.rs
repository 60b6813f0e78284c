//! What comes after a takeover, with real PostgreSQL servers: the old primary is made a standby again without a person, and the
//! component goes back to it as planned. A client writes all the time, and nothing that it was told is lost.

use mainstay_api::Status;
use mainstay_engine::Body;

use super::postgres::{STOP, Servers, Writer};
use super::site::{Site, until};

fn bound(status: &Status) -> String {
    status.components.first().expect("the component").bound_to.clone()
}

/// Whether an instance is a healthy standby.
fn is_standby(status: &Status, name: &str) -> bool {
    let all = &status.components.first().expect("the component").instances;
    all.iter().any(|it| it.name == name && it.state == "standby" && it.health == "healthy")
}

#[test]
fn a_killed_primary_is_repaired_and_gets_its_component_back_without_a_lost_write() {
    let mut servers = Servers::without_slots();
    servers.wait_for_one_standby();
    let mut site = Site::running(&["gateway"], |net, dir| servers.repairing(net, dir, STOP));
    let writer = Writer::start(site.net.proxy);
    writer.until_more(100);
    servers.primary.kill();
    site.until_status("a standby takes over", |it| bound(it) != "orders");
    writer.until_more(50);
    site.until_status("the old primary is a standby again", |it| is_standby(it, "orders"));
    assert_eq!(servers.primary.sql("SELECT pg_is_in_recovery()"), "t");
    writer.until_more(50);
    until("it may go back", || {
        let said = site.says(&["failback", "orders", "--reason", "repaired"]);
        (said.code == Some(0)).then_some(())
    });
    let back = |it: &Status| bound(it) == "orders" && it.components[0].waiting.is_none();
    site.until_status("the component goes back", back);
    writer.until_more(100);
    let history = writer.end();
    until("the move is over", || site.recoveries().first().and_then(|it| it.ended_ns));
    let lost = history.missing_on(&servers.primary);
    eprintln!("{} writes acknowledged, {} lost; longest outage {:?}", history.0.len(), lost.len(), history.outage().1);
    assert!(lost.is_empty(), "{lost:?}");
    site.stop_agent();
    site.check_journal();
    let count = |like: fn(&Body) -> bool| site.journal().iter().filter(|it| like(&it.1.body)).count();
    let started = count(|it| matches!(it, Body::RepairStarted { instance, .. } if instance == "orders"));
    let completed = count(|it| matches!(it, Body::RepairCompleted { instance, .. } if instance == "orders"));
    assert!(started >= 1 && completed == 1, "{started} repairs begun, {completed} completed");
}
