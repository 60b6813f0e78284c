//! A host that is killed before and after each thing that it does: asked again, it answers what really happened, which it looks
//! for where that can be seen, or that it does not know.

use std::fs;
use std::time::{Duration, Instant};

use mainstay_host::daemon::Entry;
use mainstay_plan::action::{Action, Outcome, ServiceOp};
use mainstay_wire::message::{FromAgent, FromHost, Granted, Held};

use crate::agent::{Agent, listener};
use crate::scripted::{Scripted, order};
use crate::site::{HostProcess, PATIENCE, Site};

const LONG: Duration = Duration::from_secs(120);

/// What an agent hears of an order whose host dies at that moment and is started again, and how often it was done.
async fn killed_at(moment: &str) -> (Outcome, usize, Vec<Entry>) {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let mut host = site.start_to_die("db-a", moment);
    agent.connected("db-a").await;
    let ticket = agent.order(&site.key(), "db-a-app", site.act(&[]), LONG);
    host.ended();
    let _host = site.start("db-a");
    let outcome = agent.outcome(ticket).await;
    (outcome, site.done().len(), site.journal("db-a"))
}

fn begun(journal: &[Entry]) -> usize {
    journal.iter().filter(|it| matches!(it, Entry::OrderBegun { .. })).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_it_knew_of_the_order_it_does_it_when_it_is_asked_again() {
    let (outcome, done, journal) = killed_at("before-begun").await;
    assert_eq!((outcome, done, begun(&journal)), (Outcome::Done, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_it_was_about_to_act_it_does_not_know() {
    let (outcome, done, journal) = killed_at("after-begun").await;
    assert_eq!(outcome.word(), "unknown", "{outcome:?}");
    assert_eq!((done, begun(&journal)), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_it_had_acted_and_not_recorded_it_it_does_not_know() {
    let (outcome, done, journal) = killed_at("before-ended").await;
    assert_eq!(outcome.word(), "unknown", "{outcome:?}");
    assert_eq!((done, begun(&journal)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_when_it_had_recorded_the_end_it_says_how_it_ended() {
    let (outcome, done, journal) = killed_at("after-ended").await;
    assert_eq!((outcome, done, begun(&journal)), (Outcome::Done, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_acted_it_does_not_know() {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let mut host = site.start("db-a");
    agent.connected("db-a").await;
    let ticket = agent.order(&site.key(), "db-a-app", site.act(&["sleep", "5"]), LONG);
    agent.until(|_| site.done().len() == 1).await;
    host.kill();
    let _host = site.start("db-a");
    let outcome = agent.outcome(ticket).await;
    assert_eq!(outcome.word(), "unknown", "{outcome:?}");
    assert_eq!(site.done().len(), 1);
}

const ALL: [ServiceOp; 3] = [ServiceOp::Start, ServiceOp::Stop, ServiceOp::Kill];

/// A site with an agent, and a host that dies at that moment. The service runs if it is to be ended.
async fn operating(op: ServiceOp, starts_in: &str, deaf: bool, moment: &str) -> (Site, Agent, HostProcess, Action) {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let service = site.service(starts_in, Duration::from_secs(2), deaf);
    if op != ServiceOp::Start {
        let mut host = site.start("db-a");
        agent.connected("db-a").await;
        let start = Action::Service { op: ServiceOp::Start, service: service.clone() };
        let ticket = agent.order("started", "db-a-app", start, LONG);
        assert_eq!(agent.outcome(ticket).await, Outcome::Done);
        host.kill();
        agent.until(|it| !it.view("db-a").connected).await;
    }
    let host = site.start_to_die("db-a", moment);
    agent.connected("db-a").await;
    (site, agent, host, Action::Service { op, service })
}

/// Whether the service is as `op` leaves it.
fn is_so(site: &Site, op: ServiceOp) -> bool {
    site.serving().is_some() == (op == ServiceOp::Start)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_service_is_looked_at() {
    for op in ALL {
        for (moment, done) in
            [("before-begun", true), ("after-begun", false), ("before-ended", true), ("after-ended", true)]
        {
            let (site, mut agent, mut host, action) = operating(op, "0", false, moment).await;
            let ticket = agent.order(&site.key(), "db-a-app", action.clone(), LONG);
            host.ended();
            let _host = site.start("db-a");
            let outcome = agent.outcome(ticket).await;
            let word = if done { "done" } else { "failed" };
            assert_eq!((outcome.word(), is_so(&site, op)), (word, done), "{op:?} {moment}: {outcome:?}");
            if !done {
                let ticket = agent.order_again(&site.key(), 2, "db-a-app", action, LONG);
                assert_eq!(agent.outcome(ticket).await, Outcome::Done, "{op:?} {moment}");
                assert!(is_so(&site, op), "{op:?} {moment}");
            }
            let ends: Vec<Entry> = site.journal("db-a").into_iter().filter(|it| is_end_of(it, &site.key())).collect();
            let last = ends.last().expect("its end is journaled");
            assert!(matches!(last, Entry::OrderEnded { outcome: Outcome::Done, .. }), "{op:?} {moment}: {ends:?}");
        }
    }
}

fn is_end_of(entry: &Entry, of: &str) -> bool {
    if let Entry::OrderEnded { key, .. } = entry { key == of } else { false }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_after_the_host_was_killed_is_waited_for() {
    let (site, mut agent, mut host, action) = operating(ServiceOp::Start, "2", false, "never").await;
    let ticket = agent.order(&site.key(), "db-a-app", action, LONG);
    agent.until(|_| site.done().len() == 1).await;
    host.kill();
    assert!(!is_so(&site, ServiceOp::Start), "it takes two seconds");
    let _host = site.start("db-a");
    assert_eq!(agent.outcome(ticket).await, Outcome::Done);
    assert!(is_so(&site, ServiceOp::Start));
    assert_eq!(site.done().len(), 1, "it was started once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_was_told_to_stop_and_does_not_is_not_stopped() {
    let (site, mut agent, mut host, action) = operating(ServiceOp::Stop, "0", true, "never").await;
    let ticket = agent.order(&site.key(), "db-a-app", action, LONG);
    agent.until(|it| it.view("db-a").doing.values().any(|it| it == "it was begun")).await;
    host.kill();
    let since = Instant::now();
    let _host = site.start("db-a");
    let outcome = agent.outcome(ticket).await;
    assert!(matches!(&outcome, Outcome::Failed(why) if why.starts_with("it runs")), "{outcome:?}");
    assert!(since.elapsed() >= Duration::from_secs(2) && since.elapsed() < PATIENCE, "it had two seconds to stop");
    assert!(!is_so(&site, ServiceOp::Stop));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_file_is_looked_at() {
    // A file that is not there may have been taken away by whoever waited for it.
    for (moment, before, word, holds) in [
        ("before-begun", None, "done", Some("now {key}")),
        ("after-begun", None, "unknown", None),
        ("after-begun", Some("now j"), "failed", Some("now j")),
        ("before-ended", None, "done", Some("now {key}")),
        ("after-ended", Some("now j"), "done", Some("now {key}")),
    ] {
        let (site, mut agent, mut host, _) = operating(ServiceOp::Start, "0", false, moment).await;
        if let Some(before) = before {
            fs::write(site.trigger(), before).expect("it is written");
        }
        let action = Action::TriggerFile { path: site.trigger(), content: "now {idempotency_key}".to_owned() };
        let ticket = agent.order(&site.key(), "db-a-app", action, LONG);
        host.ended();
        let _host = site.start("db-a");
        let outcome = agent.outcome(ticket).await;
        assert_eq!(outcome.word(), word, "{moment}: {outcome:?}");
        let holds = holds.map(|it| it.replace("{key}", &site.key()));
        assert_eq!(fs::read_to_string(site.trigger()).ok(), holds, "{moment}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_taken_back_is_over_whenever_the_host_is_killed() {
    for moment in ["before-revoked", "after-revoked", "before-released"] {
        let site = Site::new();
        let listener = listener(None).await;
        site.join("db-a", listener.local_addr().expect("an address").port());
        site.let_it_guard("db-a");
        let mut host = site.start_to_die("db-a", moment);
        let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
        let held = Held { component: "db-a-app".to_owned(), instance: "db-a-app".to_owned() };
        let asks = |it| if let FromHost::Renew(it) = it { it.asks.first().map(|_| it.seq) } else { None };
        let seq = agent.hear(asks).await.expect("it asks for its lease");
        // It does not run out by itself.
        agent.say(FromAgent::Granted(Granted { seq, holds: vec![held.clone()], ttl_ms: 120_000, stance: 0 }));
        let mut start =
            order(&site.key(), Action::Service { op: ServiceOp::Start, service: site.service("0", LONG, false) });
        (start.instance, start.component, start.needs_lease) = (held.instance.clone(), held.component.clone(), true);
        assert_eq!(agent.outcome(&start).await, (Outcome::Done, false), "{moment}");
        agent.say(FromAgent::Revoke(held.clone()));
        host.ended();
        let _host = site.start("db-a");
        let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
        if moment == "before-revoked" {
            assert!(site.serving().is_some(), "it knows nothing of it");
        }
        // As an agent does, until it is released.
        agent.say(FromAgent::Revoke(held.clone()));
        let released = |it| if let FromHost::Released(it) = it { Some(it) } else { None };
        assert_eq!(agent.hear(released).await, Some(held), "{moment}");
        assert!(site.serving().is_none(), "{moment}");
    }
}

/// The lease was there when the order was begun, and runs out while that is being done.
#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_its_lease_is_given_up_and_ended_again() {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    site.let_it_guard("db-a");
    let _host = site.start("db-a");
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    let held = Held { component: "db-a-app".to_owned(), instance: "db-a-app".to_owned() };
    let asks = |it| if let FromHost::Renew(it) = it { it.asks.first().map(|_| it.seq) } else { None };
    let seq = agent.hear(asks).await.expect("it asks for its lease");
    agent.say(FromAgent::Granted(Granted { seq, holds: vec![held.clone()], ttl_ms: 1500, stance: 0 }));
    let begun = Instant::now();
    let mut start =
        order(&site.key(), Action::Service { op: ServiceOp::Start, service: site.service("4", LONG, false) });
    (start.instance, start.component, start.needs_lease) = (held.instance.clone(), held.component.clone(), true);
    let (outcome, _) = agent.outcome(&start).await;
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains("its lease was over")), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "it was given up");
    let released = |it| if let FromHost::Released(it) = it { Some(it) } else { None };
    assert_eq!(agent.hear(released).await, Some(held), "it is ended, and that is said");
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(begun.elapsed())).await;
    assert!(site.serving().is_none(), "nothing was started afterwards");
}
