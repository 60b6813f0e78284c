//! Who is no host of this site is turned away, and that is reported.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mainstay_host::Report;
use mainstay_wire::message::FromHost;
use mainstay_wire::trust::Terms;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::agent::{Agent, listener};
use crate::scripted::Scripted;
use crate::site::{PATIENCE, Site};

async fn turned_away(agent: &mut Agent) -> String {
    agent.next(|it| if let Report::HostRefused { why, .. } = it { Some(why) } else { None }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_another_authority() {
    let (site, stranger) = (Site::new(), Site::new());
    let listener = listener(None).await;
    stranger.join("db-a", listener.local_addr().expect("an address").port());
    let agent = Agent::listen(&site, listener, &["db-a"]).await;
    let _host = stranger.start("db-a");
    // Each end looks at the other's certificate; the one of the agent is seen first.
    agent.until(|_| stranger.log("db-a").contains("was not signed by an authority that is trusted here")).await;
    assert!(!agent.view("db-a").connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_in_the_plan() {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-x", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let _host = site.start("db-x");
    assert_eq!(turned_away(&mut agent).await, "it is not among `hosts` of the plan");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_another_agent_that_has_taken_over() {
    let site = Site::new();
    let first = listener(None).await;
    let at = first.local_addr().expect("an address");
    site.join("db-a", at.port());
    let _host = site.start("db-a");
    let mut new = Scripted::of_epoch(&site, &first, 9).await;
    let renews = |it| matches!(it, FromHost::Renew(_)).then_some(());
    new.hear(renews).await.expect("it obeys");
    drop(new);
    let mut old = Agent::listen(&site, first, &["db-a"]).await;
    let why = turned_away(&mut old).await;
    assert!(why.starts_with("it has seen epoch 9, and this agent decides under 0"), "{why}");
    assert!(!old.view("db-a").connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_while_it_is_connected() {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let _host = site.start("db-a");
    agent.connected("db-a").await;
    site.authority.revoke("db-a").expect("it is written");
    let why = turned_away(&mut agent).await;
    assert!(why.contains("was revoked at "), "{why}");
    agent.until(|it| !it.view("db-a").connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired() {
    let terms = Terms { certificate: Duration::from_secs(3), backdated: Duration::from_secs(1), ..Terms::default() };
    let site = Site::with(terms);
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let _host = site.start("db-a");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let why = turned_away(&mut agent).await;
    assert!(why.starts_with("the certificate of host db-a of site shop-a was valid until "), "{why}");
}

/// Connects from there and says nothing.
async fn says_nothing(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0)).expect("an address of this machine");
    timeout(PATIENCE, socket.connect(to)).await.expect("in time").expect("it listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_who_say_nothing_keep_no_host_out() {
    let site = Site::new();
    let listener = listener(None).await;
    let at = listener.local_addr().expect("an address");
    site.join("db-a", at.port());
    let agent = Agent::listen(&site, listener, &["db-a"]).await;
    let (all, room) = (600, 64);
    let mut strangers = Vec::new();
    for _ in 0..all {
        strangers.push(says_nothing(Ipv4Addr::new(127, 6, 6, 6), at).await);
    }
    // All but its share are sent away at once, whatever the others say.
    let (away, mut sent_away) = tokio::sync::mpsc::channel(all);
    for mut stranger in strangers {
        let away = away.clone();
        tokio::spawn(async move {
            let _ = stranger.read(&mut [0]).await;
            let _ = away.send(()).await;
        });
    }
    for _ in 0..all - room {
        timeout(PATIENCE, sent_away.recv()).await.expect("it is sent away");
    }
    let _host = site.start("db-a");
    agent.connected("db-a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_those_of_its_own_address() {
    let site = Site::new();
    let listener = listener(None).await;
    let at = listener.local_addr().expect("an address");
    site.join("db-a", at.port());
    let agent = Agent::listen(&site, listener, &["db-a"]).await;
    let mut strangers = Vec::new();
    for _ in 0..64 {
        strangers.push(says_nothing(Ipv4Addr::LOCALHOST, at).await);
    }
    let _host = site.start("db-a");
    agent.connected("db-a").await;
    let first = timeout(PATIENCE, strangers[0].read(&mut [0])).await.expect("it has gone");
    assert!(matches!(first, Ok(0) | Err(_)), "{first:?}");
}
