//! The agent dies, then the primary: an agent that starts after that has nobody to ask where the primary was, and has to know it all the
//! same.

use std::time::Duration;

use mainstay_api::Status;
use mainstay_engine::Body;

use super::postgres::{STOP, Servers, Writer};
use super::site::{Site, until};

fn bound(status: &Status) -> &str {
    &status.components.first().expect("the component").bound_to
}

/// A site whose agent and primary are dead, in this order, under a client that writes.
fn bereft(servers: &mut Servers) -> (Site, Writer) {
    servers.wait_for_one_standby();
    let mut site = Site::running(&["gateway"], |net, dir| servers.plan(net, dir, STOP));
    let writer = Writer::start(site.net.proxy);
    writer.until_more(50);
    site.kill_agent();
    servers.primary.kill();
    (site, writer)
}

#[test]
fn an_agent_that_starts_after_the_primary_died_knows_what_a_standby_would_lose() {
    let mut servers = Servers::without_slots();
    let (mut site, writer) = bereft(&mut servers);
    site.start_agent();
    site.until_status("a standby takes over", |it| bound(it) != "orders");
    writer.until_more(20);
    let history = writer.end();
    until("it is over", || site.recoveries().first().and_then(|it| it.ended_ns));
    let new = if bound(&site.status().expect("it answers")) == "orders-b" { &servers.second } else { &servers.third };
    assert!(history.missing_on(new).is_empty());
    let most = site.recoveries().first().and_then(|it| it.lost_at_most_ns).map(Duration::from_nanos);
    let plausible = most.is_some_and(|it| it > Duration::ZERO && it <= Duration::from_secs(10));
    assert!(plausible, "the time in which nobody looked counts: {most:?}");
    let known = |it: &Body| matches!(it, Body::AgentStarted { places, .. } if !places.is_empty());
    assert_eq!(site.journal().iter().filter(|it| known(&it.1.body)).count(), 1);
    site.stop_agent();
    site.check_journal();
}

#[test]
fn what_is_kept_of_places_and_is_torn_lets_nobody_take_over() {
    let mut servers = Servers::without_slots();
    let (mut site, writer) = bereft(&mut servers);
    let file = site.state().join("places.json");
    let text = std::fs::read(&file).expect("it was kept");
    std::fs::write(&file, &text[..text.len() / 2]).expect("it is written");
    site.start_agent();
    let waits = |it: &Status| {
        let waiting = it.components.first().and_then(|it| it.waiting.as_ref());
        waiting.is_some_and(|it| it.code == "no_rung_possible" && it.reason.contains("it is not known how far"))
    };
    site.until_status("a person is waited for", waits);
    assert_eq!(bound(&site.status().expect("it answers")), "orders");
    drop(writer.end());
    site.stop_agent();
    site.check_journal();
}
