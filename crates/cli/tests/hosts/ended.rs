//! A host that is killed before and after each thing that it does: asked again, it answers what really happened, or that it
//! does not know.

use std::time::Duration;

use mainstay_host::daemon::Entry;
use mainstay_plan::action::Outcome;

use crate::agent::{Agent, listener};
use crate::site::Site;

const LONG: Duration = Duration::from_secs(120);

/// What an agent hears of an order whose host dies at that moment and is started again, and how often it was done.
async fn killed_at(moment: &str) -> (Outcome, usize, Vec<Entry>) {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let mut host = site.start_to_die("db-a", moment);
    agent.connected("db-a").await;
    let ticket = agent.order("k", "db-a-app", site.act(&[]), LONG);
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
    let ticket = agent.order("k", "db-a-app", site.act(&["sleep", "5"]), LONG);
    agent.until(|_| site.done().len() == 1).await;
    host.kill();
    let _host = site.start("db-a");
    let outcome = agent.outcome(ticket).await;
    assert_eq!(outcome.word(), "unknown", "{outcome:?}");
    assert_eq!(site.done().len(), 1);
}
