//! An order that is repeated, reordered, delayed, torn or forged changes nothing that it should not.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_host::daemon::Entry;
use mainstay_plan::action::{Action, Outcome, Service, ServiceOp};
use mainstay_wire::message::{Act, FromAgent, FromHost, Sent, encode};
use tokio::net::TcpListener;

use crate::scripted::{Scripted, order, welcome};
use crate::site::{HostProcess, Site};

async fn site() -> (Site, TcpListener, HostProcess) {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    site.join("db-a", listener.local_addr().expect("an address").port());
    let host = site.start("db-a");
    (site, listener, host)
}

fn failed(outcome: &(Outcome, bool)) -> &str {
    if let (Outcome::Failed(why), false) = outcome { why } else { panic!("{outcome:?}") }
}

fn refusals(site: &Site) -> usize {
    site.journal("db-a").iter().filter(|it| matches!(it, Entry::OrderRefused { .. })).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_order_is_done_once() {
    let (site, listener, _host) = site().await;
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    let act = order("k", site.act(&[]));
    // Once more while it may still be under way, too: all of them are answered by its one end, or by what it was.
    agent.order(&act);
    agent.order(&act);
    assert_eq!(agent.ended().await.outcome, Outcome::Done);
    assert_eq!(agent.outcome(&act).await, (Outcome::Done, true));
    drop(agent);
    let mut again = Scripted::of_epoch(&site, &listener, 3).await;
    assert_eq!(again.outcome(&act).await, (Outcome::Done, true), "on another connection");
    assert_eq!(
        again.outcome(&Act { attempt: 2, ..act.clone() }).await,
        (Outcome::Done, true),
        "and as another attempt"
    );
    assert_eq!(site.done(), ["k"]);

    let other = Act { action: site.act(&["true"]), ..act };
    assert!(failed(&again.outcome(&other).await).contains("its key was used for another order"));
    assert_eq!((site.done().len(), refusals(&site)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_orders_change_nothing() {
    let (site, listener, _host) = site().await;
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    let second = Act { attempt: 2, ..order("k", site.act(&[])) };
    assert_eq!(agent.outcome(&second).await, (Outcome::Done, false));
    assert_eq!(agent.outcome(&Act { attempt: 1, ..second }).await, (Outcome::Done, true), "the first one comes late");

    // A cancellation that comes before, or after the end.
    agent.say(FromAgent::Cancel { key: "l".to_owned() });
    assert_eq!(agent.outcome(&order("l", site.act(&[]))).await, (Outcome::Done, false));
    agent.say(FromAgent::Cancel { key: "l".to_owned() });
    assert_eq!(agent.outcome(&order("l", site.act(&[]))).await, (Outcome::Done, true));
    assert_eq!(site.done(), ["k", "l"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_an_epoch_that_is_over_is_refused() {
    let (site, listener, mut host) = site().await;
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    assert_eq!(agent.outcome(&Act { epoch: 5, ..order("k", site.act(&[])) }).await.0, Outcome::Done);
    let late = agent.outcome(&Act { epoch: 4, ..order("l", site.act(&[])) }).await;
    assert_eq!(failed(&late), "epoch 4 is over: 5 was seen");
    assert_eq!((site.done().len(), refusals(&site)), (1, 1));

    // It is known after a kill, too, and an agent of that epoch is not obeyed at all.
    host.kill();
    let _host = site.start("db-a");
    let mut old = Scripted::silent(&site, &listener).await;
    assert_eq!(old.hello.epoch, 5);
    old.say(welcome(4));
    old.order(&Act { epoch: 6, ..order("m", site.act(&[])) });
    assert_eq!(old.hear(|it| if let FromHost::Ended(it) = it { Some(it) } else { None }).await, None);
    let mut new = Scripted::of_epoch(&site, &listener, 6).await;
    assert_eq!(new.outcome(&Act { epoch: 6, ..order("n", site.act(&[])) }).await.0, Outcome::Done);
    assert_eq!(site.done(), ["k", "n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_order_is_not_done_after_its_time() {
    let (site, listener, _host) = site().await;
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    let renewed = |it| if let FromHost::Renew(it) = it { Some(it.seq) } else { None };
    let seq = agent.hear(renewed).await.expect("it renews");
    // It was sent after that renewal, and is under way for longer than it has time.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = Act { sent: Sent { seq, after_ms: 0 }, deadline_ms: 200, ..order("k", site.act(&[])) };
    assert!(failed(&agent.outcome(&late).await).contains("its time was over"));
    let unknown = Act { sent: Sent { seq: 1_000_000, after_ms: 0 }, ..order("l", site.act(&[])) };
    assert!(failed(&agent.outcome(&unknown).await).contains("a renewal that is forgotten"));
    assert_eq!((site.done().len(), refusals(&site)), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_ends_with_its_time() {
    let (site, listener, _host) = site().await;
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    let renewed = |it| if let FromHost::Renew(it) = it { Some(it.seq) } else { None };
    let seq = agent.hear(renewed).await.expect("it renews");
    let long = Act { sent: Sent { seq, after_ms: 0 }, deadline_ms: 1000, ..order("k", site.act(&["sleep", "600"])) };
    let (outcome, _) = agent.outcome(&long).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    // So does one that is cancelled while it is being done.
    let long = order("l", site.act(&["sleep", "600"]));
    agent.order(&long);
    let begun = |it| if let FromHost::Progress { key, .. } = it { (key == "l").then_some(()) } else { None };
    agent.hear(begun).await.expect("it is begun");
    agent.say(FromAgent::Cancel { key: "l".to_owned() });
    assert!(matches!(agent.ended().await.outcome, Outcome::Unknown(_)));
}

/// An agent whose whole stream is these bytes.
async fn of_bytes(site: &Site, listener: &TcpListener, bytes: Vec<u8>) {
    let (socket, _) = listener.accept().await.expect("a connection");
    let (stream, _) = site.gate().accept(socket).await.expect("a host");
    let service = service_fn(move |_: Request<hyper::body::Incoming>| {
        let bytes = Bytes::from(bytes.clone());
        let frames = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(bytes))]);
        async move { Ok::<_, Infallible>(Response::new(BodyExt::boxed(StreamBody::new(frames)))) }
    });
    let served =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(Duration::from_secs(2), served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_or_garbled_order_is_not_done() {
    let (site, listener, _host) = site().await;
    let hello = encode(&welcome(3));
    let act = encode(&FromAgent::Act(Box::new(order("k", site.act(&[])))));
    of_bytes(&site, &listener, [&hello[..], &act[..act.len() - 1]].concat()).await;
    of_bytes(&site, &listener, [&hello[..], &act[..act.len() / 2]].concat()).await;
    of_bytes(&site, &listener, [&hello[..], &act[1..]].concat()).await;
    // Before it has said who it is, an agent orders nothing.
    of_bytes(&site, &listener, act).await;
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    assert_eq!(site.done(), Vec::<String>::new());
    assert_eq!(agent.outcome(&order("k", site.act(&[]))).await, (Outcome::Done, false), "it was never begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_order_is_refused() {
    let (site, listener, _host) = site().await;
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    let mut action = site.act(&[]);
    if let Action::Command { env, .. } = &mut action {
        env.insert("LD_PRELOAD".to_owned(), "/tmp/evil.so".to_owned());
    }
    let shell = |argv: &[&str]| {
        let mut action = site.act(&[]);
        if let Action::Command { argv: it, .. } = &mut action {
            *it = argv.iter().map(|it| (*it).to_owned()).collect();
        }
        action
    };
    let unit = Service::Systemd { unit: "sshd.service".to_owned() };
    for (key, action, why) in [
        ("a", action, "variable `LD_PRELOAD` is not in `may.variables`"),
        ("b", shell(&["/bin/sh", "-c", "id"]), "command `/bin/sh -c id` is not in `may.commands`"),
        ("c", Action::Service { op: ServiceOp::Kill, service: unit }, "unit `sshd.service` is not in `may.services`"),
        (
            "d",
            Action::TriggerFile { path: "/etc/passwd".into(), content: String::new() },
            "file `/etc/passwd` is not in `may.files`",
        ),
    ] {
        let outcome = agent.outcome(&order(key, action)).await;
        assert!(failed(&outcome).starts_with(why), "{outcome:?}");
    }
    assert_eq!(refusals(&site), 4, "each stands in the journal");
    let leased = Act { needs_lease: true, ..order("e", site.act(&[])) };
    assert!(failed(&agent.outcome(&leased).await).contains("it can hold no lease"));

    // One whose certificate another authority made is not even spoken to.
    let stranger = Site::new();
    let before = site.log("db-a").lines().count();
    drop(agent);
    let (socket, _) = listener.accept().await.expect("it dials again");
    assert!(stranger.gate().accept(socket).await.is_err());
    let mut again = Scripted::of_epoch(&site, &listener, 3).await;
    assert_eq!(again.outcome(&order("f", site.act(&[]))).await.0, Outcome::Done);
    assert_eq!(site.done(), ["f"]);
    let log = site.log("db-a");
    let said = log.lines().skip(before).find(|it| it.contains("was not signed by an authority that is trusted here"));
    assert!(said.is_some(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_orders_do_not_fill_the_journal() {
    let (site, listener, _host) = site().await;
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    let action = Action::TriggerFile { path: site.path().join("elsewhere"), content: String::new() };
    for nth in 0..200 {
        let outcome = agent.outcome(&order(&nth.to_string(), action.clone())).await;
        assert!(failed(&outcome).contains("is not in `may.files`"), "each is answered: {outcome:?}");
    }
    assert_eq!(refusals(&site), 64);
    let other = agent.outcome(&order("k", site.act(&[]))).await;
    assert_eq!(other, (Outcome::Done, false), "others are done");
}
