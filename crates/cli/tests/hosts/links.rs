//! What an agent sees of its hosts: connected, silent, not there, and what becomes of questions and orders meanwhile.

use std::time::Duration;

use mainstay_host::links::Registered;
use mainstay_plan::action::Outcome;
use mainstay_plan::observation::Answer;
use rustix::process::Signal;

use crate::agent::{Agent, listener};
use crate::site::Site;

const LONG: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_host_is_asked_and_done_there() {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    assert_eq!(
        agent.answer(0).await,
        Answer::CouldNotAsk("host db-a has not connected since this agent started, 0 s ago".to_owned())
    );
    let _host = site.start("db-a");
    agent.connected("db-a").await;
    assert!(matches!(agent.answer(0).await, Answer::Refused(_)), "there is no such process");
    std::fs::write(site.path().join("db-a.pid"), std::process::id().to_string()).expect("it is written");
    assert_eq!(agent.answer(0).await, Answer::Good);
    let ticket = agent.order("k", "db-a-app", site.act(&[]), LONG);
    assert_eq!(agent.outcome(ticket).await, Outcome::Done);
    assert_eq!(site.done(), ["k"]);
    agent.until(|it| it.view("db-a").clock_ahead_ms.is_some()).await;
    let view = agent.view("db-a");
    assert!(view.rtt.is_some_and(|it| it < Duration::from_secs(1)), "{view:?}");
    assert!(view.clock_ahead_ms.is_some_and(|it| it.abs() < 1000), "it is the same machine: {view:?}");
    assert_eq!(view.lacks, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_a_container_is_one_like_others() {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let Some(_host) = site.start_in_container("db-a") else {
        println!("skipped: no permission to make a process namespace (unshare --user --pid)");
        return;
    };
    agent.connected("db-a").await;
    let ticket = agent.order("k", "db-a-app", site.act(&[]), LONG);
    assert_eq!(agent.outcome(ticket).await, Outcome::Done);
    assert_eq!(site.done(), ["k"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stands_still_is_silent_and_nothing_else() {
    let site = Site::new();
    let listener = listener(None).await;
    site.join("db-a", listener.local_addr().expect("an address").port());
    let mut agent = Agent::listen(&site, listener, &["db-a"]).await;
    let host = site.start("db-a");
    agent.connected("db-a").await;
    host.send(Signal::STOP);
    let answer = agent.answer(0).await;
    let Answer::CouldNotAsk(why) = &answer else { panic!("{answer:?}") };
    assert!(why.starts_with("host db-a "), "{why}");
    agent.until(|it| !it.view("db-a").connected).await;
    assert!(agent.links.trouble()[0].starts_with("host db-a is silent for "), "{:?}", agent.links.trouble());
    let ticket = agent.order("k", "db-a-app", site.act(&[]), Duration::from_millis(100));
    let outcome = agent.outcome(ticket).await;
    assert!(matches!(&outcome, Outcome::Failed(why) if why.ends_with("nothing was done")), "{outcome:?}");

    // What is ordered while it is away for a moment is done when it is back.
    let ticket = agent.order("l", "db-a-app", site.act(&[]), LONG);
    host.send(Signal::CONT);
    agent.connected("db-a").await;
    assert_eq!(agent.outcome(ticket).await, Outcome::Done);
    assert!(matches!(agent.answer(0).await, Answer::Refused(_)));
    assert_eq!(site.done(), ["l"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_come_back_to_an_agent_that_was_started_again() {
    const HOSTS: [&str; 3] = ["db-a", "db-b", "db-c"];
    let site = Site::new();
    let first = listener(None).await;
    let at = first.local_addr().expect("an address");
    for host in HOSTS {
        site.join(host, at.port());
    }
    let _hosts: Vec<_> = HOSTS.iter().map(|it| site.start(it)).collect();
    let mut agent = Agent::listen(&site, first, &HOSTS).await;
    for host in HOSTS {
        agent.connected(host).await;
    }
    // One order is under way when the agent ends. The next one asks for it again.
    let action = site.act(&["sleep", "2"]);
    agent.order("k", "db-b-app", action.clone(), LONG);
    agent.until(|it| it.view("db-b").doing.contains_key("k")).await;
    agent.end().await;
    let mut agent = Agent::listen(&site, listener(Some(at)).await, &HOSTS).await;
    let ticket = agent.order("k", "db-b-app", action, LONG);
    for host in HOSTS {
        agent.connected(host).await;
    }
    assert_eq!(agent.outcome(ticket).await, Outcome::Done);
    assert_eq!(site.done(), ["k"], "it was done once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_will_refuse_is_known_beforehand() {
    let site = Site::new();
    let listener = listener(None).await;
    let port = listener.local_addr().expect("an address").port();
    site.join("db-a", port);
    let text = format!("version: 1\nagents: [\"127.0.0.1:{port}\"]\nstate: db-a\n");
    std::fs::write(site.path().join("db-a.yaml"), text).expect("it is written");
    let agent = Agent::listen(&site, listener, &["db-a"]).await;
    let plan = crate::agent::compiled(
        &crate::agent::text(&site, &["db-a"])
            .replace("probes: [", "probes: [{ command: { run: [/bin/true], interval: 1s, timeout: 500ms } }, "),
    );
    agent.links.register(Registered::of(&plan));
    let _host = site.start("db-a");
    agent.connected("db-a").await;
    assert_eq!(
        agent.view("db-a").lacks,
        ["probe db-a-app/command: host db-a refuses: command `/bin/true` is not in `may.commands` of the host's file"]
    );
}
