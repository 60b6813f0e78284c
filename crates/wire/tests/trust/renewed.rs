//! Certificates that are followed by others.

use std::time::Duration;

use mainstay_wire::stream::dial;
use mainstay_wire::trust::{Event, Refusal};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::site::{DAY, Site, meet};

#[tokio::test]
async fn a_certificate_is_renewed_while_its_host_is_connected() {
    let site = Site::new("shop-a");
    let mut open = site.open().await;
    let host = site.join(&open, &site.token("db-a")).await.expect("it joins");
    let first = host.me();
    assert!(!host.is_due());
    let (stream, _) =
        host.connect(TcpStream::connect(&open.address).await.expect("it connects")).await.expect("it is believed");
    let dialled = tokio::spawn(dial(stream));
    let arrived = timeout(Duration::from_secs(10), open.arrived.recv()).await.expect("in time").expect("it arrives");
    assert_eq!(arrived.peer, first);
    let (said, _heard) = dialled.await.expect("no panic").expect("the stream begins");

    site.clock.forward(21 * DAY);
    assert!(host.is_due());
    assert!(site.authority.renew_agent(open.reception.gate()).expect("it is signed"), "the agent's is due, too");
    host.renew(&open.address).await.expect("it is renewed");
    assert!(!host.is_due());
    assert_ne!(host.me().serial, first.serial);
    assert_eq!(host.me().name, "db-a");
    assert!(matches!(open.events().last(), Some(Event::Renewed { host, .. }) if host == "db-a"));

    // Dates end no connection: a clock that is set wrong cuts nobody off who is there.
    site.clock.forward(10 * DAY);
    open.reception.gate().check(&arrived.peer).expect("it may stay");
    assert!(!said.is_over());
    let met = meet(open.reception.gate(), &host).await;
    assert_eq!(met.agent.expect("it is let in").expect("it shows one").serial, host.me().serial);
    assert!(met.spoke);
}

#[tokio::test]
async fn an_open_connection_ends_when_its_host_is_revoked() {
    let site = Site::new("shop-a");
    let host = site.host("db-a", &site.clock);
    let gate = site.gate();
    let peer = meet(&gate, &host).await.agent.expect("it is let in").expect("it shows one");
    let over = {
        let (gate, peer) = (gate.clone(), peer.clone());
        tokio::spawn(async move { gate.until_refused(&peer).await })
    };
    gate.check(&peer).expect("it may stay");
    site.authority.revoke("db-a").expect("it is written");
    let over = timeout(Duration::from_secs(10), over).await.expect("in time").expect("no panic");
    assert!(matches!(over, Refusal::Revoked { .. }), "{over}");
}

#[tokio::test]
async fn a_host_that_was_revoked_may_join_again_and_its_old_certificate_may_not() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let first = site.join(&open, &site.token("db-a")).await.expect("it joins");
    site.authority.revoke("db-a").expect("it is written");
    let refused = first.renew(&open.address).await.expect_err("it was revoked");
    assert!(refused.to_string().contains("its certificate was revoked"), "{refused}");
    let old = std::fs::read(site.file_of("db-a")).expect("it is there");
    let second = site.join(&open, &site.token("db-a")).await.expect("it joins again");
    assert!(meet(&site.gate(), &second).await.spoke);
    std::fs::write(site.file_of("db-a"), old).expect("it is put back");
    assert!(matches!(meet(&site.gate(), &first).await.agent, Err(Refusal::Revoked { .. })));
}

#[tokio::test]
async fn an_agent_that_slept_longer_than_its_certificate_makes_itself_a_new_one() {
    let site = Site::new("shop-a");
    site.clock.forward(40 * DAY);
    let gate = site.gate();
    assert!(site.authority.renew_agent(&gate).expect("it is signed"));
    assert!(!site.authority.renew_agent(&gate).expect("it is read"), "one is enough");
    let host = site.host("db-a", &site.clock);
    assert!(meet(&gate, &host).await.spoke);
}

#[tokio::test]
async fn an_agent_whose_clock_was_wrong_for_a_while_is_believed_when_it_is_right() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let host = site.host("db-a", &site.clock.copy());
    site.clock.forward(40 * DAY);
    assert!(site.authority.renew_agent(open.reception.gate()).expect("it is signed"));
    let refused = host.renew(&open.address).await.expect_err("it begins in forty days");
    assert!(refused.to_string().contains("set the one that is wrong"), "{refused}");
    site.clock.back(40 * DAY);
    host.renew(&open.address).await.expect("the next connection finds another one");
}

#[tokio::test]
async fn a_host_gets_no_more_certificates_than_it_could_need() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let host = site.host("db-a", &site.clock);
    for _ in 1..64 {
        host.renew(&open.address).await.expect("it is renewed");
    }
    let refused = host.renew(&open.address).await.expect_err("it has 64");
    assert!(refused.to_string().contains("has 64 certificates that have not ended"), "{refused}");
}

#[tokio::test]
async fn what_another_process_put_into_the_file_is_shown_from_the_next_connection_on() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let host = site.join(&open, &site.token("db-a")).await.expect("it joins");
    let (gate, first) = (site.gate(), host.me().serial);
    // The same host joins once more, by a command.
    let again = site.join(&open, &site.token("db-a")).await.expect("it joins again");
    let shown = meet(&gate, &host).await.agent.expect("it is let in").expect("it shows one");
    assert_eq!(shown.serial, again.me().serial);
    assert_ne!(shown.serial, first);
    // What can't be used changes nothing.
    std::fs::write(site.file_of("db-a"), "half of").expect("it is damaged");
    let shown = meet(&gate, &host).await.agent.expect("it is let in").expect("it shows one");
    assert_eq!(shown.serial, again.me().serial);
}
