//! File descriptors belong to a whole process, so this test has one of its own: it uses them all up.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "../traffic/running.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod running;

use std::fs::File;

use mainstay_plan::routing::TargetState::Serving;
use running::{Client, Server, Traffic, eventually, proxied, table, target, who};
use rustix::process::{Resource, Rlimit, setrlimit};

#[test]
fn a_process_out_of_descriptors_says_so_and_goes_on_when_it_has_some() {
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: Some(256) }).unwrap();
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    assert_eq!(who(listen).as_deref(), Some("one"));

    // Descriptors of connections that have just ended come free at any time, so the hoard is filled up again and again.
    let (mut hoard, mut clients) = (Vec::new(), Vec::new());
    let trouble = eventually("the trouble is told", || {
        hoard.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        hoard.pop();
        clients.extend(Client::try_connect(listen).ok());
        agent.report().trouble.pop()
    });
    assert!(trouble.contains("can't be accepted"), "{trouble}");
    drop(hoard);
    for client in &mut clients {
        assert_eq!(client.line().as_deref(), Some("one"), "the client that waited is served");
    }
    eventually("the trouble is over", || agent.report().trouble.is_empty().then_some(()));
}
