//! More clients than there is room for, and clients that only take up room.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_plan::route::ServerName;
use mainstay_plan::routing::QueueEntry;
use mainstay_plan::routing::TargetState::Serving;

use crate::running::{Client, DEADLINE, Server, Traffic, eventually, free_address, proxied, table, target, who};

#[test]
fn clients_wait_for_a_place_in_the_order_in_which_they_came() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, mut route) = proxied(true, vec![target("a", one.address, Serving)]);
    let proxy = route.proxy.as_mut().unwrap();
    proxy.max_connections = 1;
    proxy.queue = Some(QueueEntry { length: 2, wait_ms: 600_000 });
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let mut inside = Client::connect(listen);
    assert_eq!(inside.line().as_deref(), Some("one"));
    let mut waiting = Vec::new();
    for n in 1..3_u64 {
        waiting.push(Client::connect(listen));
        eventually("it waits", || (agent.report().counters[0].waiting == n).then_some(()));
    }
    assert_eq!(who(listen), None, "the queue is full");
    let report = agent.report();
    let counters = &report.counters[0];
    assert_eq!((counters.open, counters.queued, counters.refused, counters.unserved), (1, 2, 1, 1));
    assert!(report.trouble[0].contains("all its 1 connections"), "{:?}", report.trouble);
    for client in &mut waiting {
        drop(inside);
        assert_eq!(client.line().as_deref(), Some("one"));
        inside = Client { stream: std::io::BufReader::new(client.stream.get_ref().try_clone().unwrap()) };
        client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }
    eventually("all are gone", || (agent.report().counters[0].open == 0).then_some(()));
    assert_eq!(who(listen).as_deref(), Some("one"));
    let report = agent.report();
    assert_eq!((report.counters[0].waiting, report.counters[0].queued, &report.trouble[..]), (0, 2, &[][..]));
}

#[test]
fn whoever_waits_for_too_long_is_closed_and_counted() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, mut route) = proxied(true, vec![target("a", one.address, Serving)]);
    let proxy = route.proxy.as_mut().unwrap();
    proxy.max_connections = 1;
    proxy.queue = Some(QueueEntry { length: 2, wait_ms: 20 });
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let mut inside = Client::connect(listen);
    assert_eq!(inside.line().as_deref(), Some("one"));
    assert_eq!(who(listen), None);
    let counters = &agent.report().counters[0];
    assert_eq!((counters.overdue, counters.unserved, counters.refused, counters.waiting), (1, 1, 0, 0));
}

#[test]
fn one_source_has_its_share_alone() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, mut route) = proxied(true, vec![target("a", one.address, Serving)]);
    let proxy = route.proxy.as_mut().unwrap();
    proxy.max_per_source = Some(2);
    proxy.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let from = |ip: &str| {
        let mut client = Client::connect(listen);
        let family = if ip.contains(':') { "TCP6" } else { "TCP4" };
        let to = if ip.contains(':') { "2001:db8::9" } else { "192.0.2.9" };
        client.say(&format!("PROXY {family} {ip} {to} 4711 5432\r\n"));
        client
    };
    let mut there: Vec<_> = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"].map(from).into();
    for client in &mut there {
        assert_eq!(client.line().as_deref(), Some("one"));
    }
    assert_eq!(from("192.0.2.1").line(), None);
    assert_eq!(from("2001:db8::ffff:3").line(), None, "its network has all that it may have");
    assert_eq!(from("2001:db8:0:1::1").line().as_deref(), Some("one"));
    let report = agent.report();
    assert_eq!((report.counters[0].refused, report.trouble), (2, Vec::new()));
    there.remove(0);
    eventually("a place is free again", || from("192.0.2.1").line());
}

#[test]
fn a_side_that_has_ended_does_not_keep_the_other_for_ever() {
    let traffic = Traffic::start();
    let server = TcpListener::bind(free_address()).unwrap();
    let (listen, mut route) = proxied(true, vec![target("a", server.local_addr().unwrap(), Serving)]);
    route.proxy.as_mut().unwrap().half_open_timeout_ms = Some(50);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let mut client = TcpStream::connect(listen).unwrap();
    let (mut accepted, _) = server.accept().unwrap();
    client.write_all(b"hello").unwrap();
    accepted.read_exact(&mut [0; 5]).unwrap();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(agent.report().counters[0].open, 1, "both sides are open");
    client.shutdown(std::net::Shutdown::Write).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_ne!(client.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let counters = &agent.report().counters[0];
    assert_eq!((counters.bytes_in, counters.bytes_out, counters.unserved), (5, 0, 0));
}

/// How long clients take that are served one after another; the median.
fn latency(listen: SocketAddr) -> Duration {
    let mut times: Vec<Duration> = (0..101)
        .map(|_| {
            let began = Instant::now();
            let mut client = Client::connect(listen);
            assert!(client.say("hello\n"));
            assert_eq!(client.line().as_deref(), Some("one"));
            assert_eq!(client.line().as_deref(), Some("hello"));
            began.elapsed()
        })
        .collect();
    times.sort();
    times[50]
}

#[test]
fn hundreds_of_clients_that_only_take_up_room_keep_nobody_from_being_served() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (good, mut orders) = proxied(true, vec![target("a", one.address, Serving)]);
    let (bad, mut pages) = proxied(true, vec![target("b", one.address, Serving)]);
    pages.name = "pages".into();
    let named = free_address();
    let mut names = pages.clone();
    names.name = "names".into();
    let proxy = names.proxy.as_mut().unwrap();
    (proxy.listen, proxy.server_names) = (named, vec![ServerName::new("x.test").unwrap()]);
    let proxy = pages.proxy.as_mut().unwrap();
    (proxy.max_connections, proxy.queue) = (1000, Some(QueueEntry { length: 100, wait_ms: 600_000 }));
    orders.proxy.as_mut().unwrap().max_per_source = Some(100);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&orders, &pages, &names]));
    let before = latency(good);

    // Silent ones, ones that never end their hello, ones that take no answer; and their own route's good clients.
    let mut idle: Vec<TcpStream> = Vec::new();
    for n in 0..300_usize {
        idle.push(TcpStream::connect(bad).unwrap());
        let mut half = TcpStream::connect(named).unwrap();
        half.write_all(&[22, 3, 1, 2][..n % 5]).unwrap();
        idle.push(half);
    }
    let greedy: Vec<TcpStream> = (0..90)
        .map(|_| {
            let mut client = TcpStream::connect(good).unwrap();
            client.set_nonblocking(true).unwrap();
            while client.write(&[b'x'; 1 << 16]).is_ok() {}
            client
        })
        .collect();
    eventually("they are there", || {
        let counters = agent.report().counters;
        (counters[0].open == 90 && counters[1].open == 300).then_some(())
    });
    let after = latency(good);
    assert!(after < before * 10 + Duration::from_millis(5), "{before:?} became {after:?}");
    let same_route = latency(bad);
    assert!(same_route < before * 10 + Duration::from_millis(5), "{before:?} became {same_route:?}");
    drop((idle, greedy));
}
