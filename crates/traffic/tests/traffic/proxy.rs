//! What clients of the proxy see while tables change.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_plan::route::ProxyProtocol;
use mainstay_plan::routing::TargetState::{Down, Draining, Fenced, Serving, Standby};
use mainstay_plan::routing::{TrafficReply, TrafficRequest};
use tempfile::TempDir;

use crate::running::{
    Agent, Client, Haproxy, Server, Traffic, eventually, free_address, proxied, table, target, who, with_states,
};

#[test]
fn a_shared_route_changes_without_a_failed_request() {
    let (traffic, one, two) = (Traffic::start(), Server::start("one"), Server::start("two"));
    let (listen, route) = proxied(false, vec![target("a", one.address, Serving), target("b", two.address, Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));

    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Client::connect(listen);
                    let name = client.line().expect("a target answers");
                    assert!(name == "one" || name == "two", "{name}");
                    assert!(client.say("hello\n"));
                    assert_eq!(client.line().as_deref(), Some("hello"));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let patterns = [[Serving, Standby], [Draining, Serving], [Serving, Down], [Down, Serving], [Down, Down]];
    for epoch in 2..60_u64 {
        let states = patterns[usize::try_from(epoch).unwrap() % patterns.len()];
        agent.apply(&table(epoch, &[&with_states(&route, &states)]));
        let before = served.load(Ordering::Relaxed);
        eventually("clients are served under this table", || {
            (served.load(Ordering::Relaxed) > before + 4).then_some(())
        });
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(agent.report().counters[0].unserved, 0);
}

#[test]
fn connections_to_a_fenced_target_are_gone_before_the_acknowledgement() {
    let (traffic, one, two) = (Traffic::start(), Server::start("one"), Server::start("two"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving), target("b", two.address, Standby)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(listen)).collect();
    for client in &mut clients {
        assert_eq!(client.line().as_deref(), Some("one"));
    }
    agent.apply(&table(2, &[&with_states(&route, &[Fenced, Standby])]));
    let received = one.settle();
    for client in &mut clients {
        client.say("too late\n");
        assert_eq!(client.line(), None);
    }
    assert_eq!(who(listen), None, "an exclusive route without an owner serves nobody");
    agent.apply(&table(3, &[&with_states(&route, &[Fenced, Serving])]));
    assert_eq!(who(listen).as_deref(), Some("two"));
    assert_eq!(one.received(), received);
    let counters = &agent.report().counters[0];
    assert_eq!((counters.cut, counters.unserved), (20, 1));
}

#[test]
fn no_byte_reaches_a_target_after_its_fence_is_acknowledged() {
    let (traffic, one, two) = (Traffic::start(), Server::start("one"), Server::start("two"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving), target("b", two.address, Fenced)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // A connection may be reset before it is even complete here.
                    let Ok(mut client) = Client::try_connect(listen) else { continue };
                    // Sent blindly, before anyone has answered: what a client may do at the worst moment.
                    while client.say("insert\n") && client.line().is_some() && !stop.load(Ordering::Relaxed) {}
                }
            })
        })
        .collect();
    let mut epoch = 1;
    for _ in 0..150 {
        for (old, states, states_after) in
            [(&one, [Fenced, Fenced], [Fenced, Serving]), (&two, [Fenced, Fenced], [Serving, Fenced])]
        {
            let before = old.received();
            eventually("the owner is written to", || (old.received() > before).then_some(()));
            epoch += 1;
            agent.apply(&table(epoch, &[&with_states(&route, &states)]));
            // What the server's own kernel held may still be read; a reset has thrown away the rest.
            let settled = old.settle();
            epoch += 1;
            agent.apply(&table(epoch, &[&with_states(&route, &states_after)]));
            let new = if std::ptr::eq(old, &one) { &two } else { &one };
            let began = new.received();
            eventually("the new owner is written to", || (new.received() > began).then_some(()));
            assert_eq!(old.received(), settled, "a fenced target got bytes");
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_new_owner_ends_the_drain_of_the_old_one() {
    let (traffic, one, two) = (Traffic::start(), Server::start("one"), Server::start("two"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving), target("b", two.address, Standby)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let mut client = Client::connect(listen);
    assert_eq!(client.line().as_deref(), Some("one"));
    agent.apply(&table(2, &[&with_states(&route, &[Draining, Standby])]));
    assert!(client.say("still here\n"));
    assert_eq!(client.line().as_deref(), Some("still here"));
    agent.apply(&table(3, &[&with_states(&route, &[Standby, Serving])]));
    assert_eq!(client.line(), None);
}

#[test]
fn a_drain_ends_after_its_time() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, mut route) = proxied(false, vec![target("a", one.address, Serving)]);
    if let Some(proxy) = &mut route.proxy {
        proxy.drain_ms = 50;
    }
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let mut client = Client::connect(listen);
    assert_eq!(client.line().as_deref(), Some("one"));
    agent.apply(&table(2, &[&with_states(&route, &[Draining])]));
    assert_eq!(client.line(), None);
    assert_eq!(agent.report().counters[0].cut, 0);
}

#[test]
fn a_target_that_refuses_is_passed_over_and_a_route_without_any_fails_open() {
    let (traffic, two) = (Traffic::start(), Server::start("two"));
    let nobody = free_address();
    let (listen, route) = proxied(false, vec![target("a", nobody, Serving), target("b", two.address, Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    assert_eq!(who(listen).as_deref(), Some("two"));
    agent.apply(&table(2, &[&with_states(&route, &[Down, Down])]));
    assert_eq!(who(listen).as_deref(), Some("two"));
    agent.apply(&table(3, &[&with_states(&route, &[Down, Fenced])]));
    assert_eq!(who(listen), None);
}

#[test]
fn a_client_is_held_until_a_target_is_back() {
    let (traffic, address) = (Traffic::start(), free_address());
    let (listen, mut route) = proxied(true, vec![target("a", address, Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    assert_eq!(who(listen), None, "nobody is there, and nobody is held");
    route.proxy.as_mut().unwrap().retry_for_ms = Some(20_000);
    agent.apply(&table(2, &[&route]));
    let client = thread::spawn(move || who(listen));
    thread::sleep(Duration::from_millis(200));
    assert!(!client.is_finished(), "it is held");
    let _server = Server::start_at(address, "a");
    assert_eq!(client.join().unwrap().as_deref(), Some("a"));
    // One that is held is let go with the fence of its target.
    route.targets[0].address = free_address();
    agent.apply(&table(3, &[&route]));
    let client = thread::spawn(move || who(listen));
    thread::sleep(Duration::from_millis(200));
    assert!(!client.is_finished(), "it is held");
    agent.apply(&table(4, &[&with_states(&route, &[Fenced])]));
    let _server = Server::start_at(route.targets[0].address, "b");
    let fenced = Instant::now();
    assert_eq!(client.join().unwrap(), None);
    assert!(fenced.elapsed() < Duration::from_secs(5), "it is let go at the next try");
}

#[test]
fn a_client_that_has_gone_is_held_no_longer() {
    let (traffic, address) = (Traffic::start(), free_address());
    let (listen, mut route) = proxied(true, vec![target("a", address, Serving)]);
    route.proxy.as_mut().unwrap().retry_for_ms = Some(20_000);
    traffic.agent().apply(&table(1, &[&route]));
    let client = TcpStream::connect(listen).unwrap();
    thread::sleep(Duration::from_millis(300));
    drop(client);
    let server = TcpListener::bind(address).unwrap();
    server.set_nonblocking(true).unwrap();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody comes for it");
}

#[test]
fn each_direction_ends_on_its_own() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving)]);
    traffic.agent().apply(&table(1, &[&route]));
    let mut client = Client::connect(listen);
    assert_eq!(client.line().as_deref(), Some("one"));
    let text = "x".repeat(1 << 20);
    let writer = client.stream.get_ref().try_clone().unwrap();
    let sender = thread::spawn(move || {
        use std::io::Write;
        (&writer).write_all(text.as_bytes()).unwrap();
        (&writer).write_all(b"\n").unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(client.line().unwrap().len(), 1 << 20);
    sender.join().unwrap();
    assert_eq!(client.line(), None);
}

#[test]
fn a_quiet_connection_is_closed_and_a_full_route_takes_no_more() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, mut route) = proxied(true, vec![target("a", one.address, Serving)]);
    if let Some(proxy) = &mut route.proxy {
        proxy.max_connections = 2;
    }
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(listen)).collect();
    for client in &mut clients {
        assert_eq!(client.line().as_deref(), Some("one"));
    }
    assert_eq!(who(listen), None);
    let report = agent.report();
    assert_eq!((report.counters[0].open, report.counters[0].unserved), (2, 1));
    assert!(report.trouble[0].contains("all its 2 connections"), "{:?}", report.trouble);
    drop(clients);
    eventually("the places are free again", || (agent.report().counters[0].open == 0).then_some(()));

    if let Some(proxy) = &mut route.proxy {
        proxy.idle_timeout_ms = Some(20);
    }
    agent.apply(&table(2, &[&route]));
    let mut client = Client::connect(listen);
    assert_eq!(client.line().as_deref(), Some("one"));
    assert_eq!(client.line(), None);
    assert_eq!(agent.report().trouble, [] as [String; 0]);
}

#[test]
fn silence_cuts_a_route_until_the_next_word() {
    let (traffic, one, two) = (Traffic::start(), Server::start("one"), Server::start("two"));
    let (cut, mut orders) = proxied(true, vec![target("a", one.address, Serving)]);
    let (kept, mut pages) = proxied(false, vec![target("b", two.address, Serving)]);
    pages.name = "pages".into();
    orders.cut_after_silence_ms = Some(300);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&orders, &pages]));
    let mut client = Client::connect(cut);
    if client.line().is_some() {
        assert_eq!(client.line(), None, "the open connection is cut");
    }
    assert_eq!(who(cut), None);
    assert_eq!(who(kept).as_deref(), Some("two"), "the other route goes on");

    let report = agent.report();
    assert!(report.trouble.iter().any(|it| it.contains("`orders` was cut")), "{:?}", report.trouble);
    eventually("the route is served again", || {
        agent.report();
        who(cut)
    });

    // A process that comes back without its agent cuts after the same silence.
    let again = Traffic::start_in(traffic.kill());
    eventually("the route is cut", || who(cut).is_none().then_some(()));
    drop(again);
}

#[test]
fn what_an_agent_elsewhere_said_counts_from_when_it_said_it() {
    let one = Server::start("one");
    let (cut, mut orders) = proxied(true, vec![target("a", one.address, Serving)]);
    orders.cut_after_silence_ms = Some(60_000);
    let traffic = Traffic::follow_in(Arc::new(TempDir::new().unwrap()));
    let mut agent = traffic.agent();
    // A table may have been under way for long, and so it is no word.
    agent.apply(&table(1, &[&orders]));
    assert_eq!(who(cut), None, "the agent was never heard");
    let look = |agent: &mut Agent, heard_ms| {
        assert!(matches!(agent.ask(&TrafficRequest::Look { heard_ms }), TrafficReply::Report(_)));
    };
    look(&mut agent, 59_000);
    eventually("it is served", || who(cut));
    agent.apply(&table(2, &[&orders]));
    agent.report();
    eventually("a second later it is cut: neither the table nor the question was a word", || {
        who(cut).is_none().then_some(())
    });
    look(&mut agent, 0);
    assert_eq!(who(cut).as_deref(), Some("one"));

    // A process that is started again knows nothing of what the one before has heard.
    let again = Traffic::follow_in(traffic.kill());
    assert_eq!(who(cut), None);
    look(&mut again.agent(), 100_000);
    assert_eq!(who(cut), None);
    look(&mut again.agent(), 0);
    assert_eq!(who(cut).as_deref(), Some("one"));
}

#[test]
fn a_listener_that_two_tables_share_is_never_closed() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving)]);
    let mut renamed = route.clone();
    renamed.name = "renamed".into();
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let connect = |address: SocketAddr| Client::connect(address).line();
    for epoch in 2..50 {
        agent.apply(&table(epoch, &[if epoch % 2 == 0 { &renamed } else { &route }]));
        assert_eq!(connect(listen).as_deref(), Some("one"));
    }
    agent.apply(&table(50, &[]));
    assert!(std::net::TcpStream::connect(listen).is_err(), "a listener that no table has is closed");
}

#[test]
fn a_target_that_clients_can_not_reach_is_told_to_the_agent_at_once() {
    let (traffic, gone, there) = (Traffic::start(), free_address(), Server::start("there"));
    let (listen, route) = proxied(false, vec![target("a", gone, Serving), target("b", there.address, Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let asks = thread::spawn({
        let mut agent = traffic.agent();
        // As long as nothing fails there is nothing to tell.
        move || eventually("a failure is told", || Some(agent.failures()).filter(|it| !it.is_empty()))
    });
    // Which of two targets comes first is drawn for each client.
    while agent.report().counters[0].failed == 0 {
        assert_eq!(Client::connect(listen).line().as_deref(), Some("there"));
    }
    assert_eq!(asks.join().unwrap(), ["a"]);
    assert_eq!(agent.failures(), [""; 0], "what was told is not told again");
}

#[test]
fn a_target_that_breaks_a_connection_off_is_told_and_one_that_closes_it_is_not() {
    let traffic = Traffic::start();
    let server = TcpListener::bind(free_address()).unwrap();
    let (listen, route) = proxied(true, vec![target("a", server.local_addr().unwrap(), Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let mut client = Client::connect(listen);
    drop(server.accept().unwrap());
    assert_eq!(client.line(), None);
    assert_eq!(agent.failures(), [""; 0]);

    let mut client = Client::connect(listen);
    let (accepted, _) = server.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&accepted, Some(Duration::ZERO)).unwrap();
    drop(accepted);
    assert_eq!(client.line(), None);
    assert_eq!(agent.failures(), ["a"]);
    assert_eq!(agent.report().counters[0].failed, 1);
}

/// A server that answers with all that it got within one read.
fn parrot() -> SocketAddr {
    let listener = TcpListener::bind(free_address()).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut bytes = vec![0; 4096];
            let length = client.read(&mut bytes).unwrap_or(0);
            let _ = client.write_all(&bytes[..length]);
        }
    });
    address
}

fn said(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = client.read_to_end(&mut bytes);
    bytes
}

#[test]
fn targets_are_told_for_whom_a_connection_comes() {
    let (traffic, to) = (Traffic::start(), parrot());
    let (listen, mut route) = proxied(true, vec![target("a", to, Serving)]);
    let mut agent = traffic.agent();
    for (epoch, version) in [(1, ProxyProtocol::V1), (2, ProxyProtocol::V2)] {
        route.proxy.as_mut().unwrap().proxy_protocol_to = Some(version);
        agent.apply(&table(epoch, &[&route]));
        let mut client = TcpStream::connect(listen).unwrap();
        let (own, port) = (client.local_addr().unwrap(), listen.port());
        let said = said(&mut client);
        match version {
            ProxyProtocol::V1 => {
                let line = format!("PROXY TCP4 {} {} {} {port}\r\n", own.ip(), listen.ip(), own.port());
                assert_eq!(String::from_utf8(said).unwrap(), line);
            }
            ProxyProtocol::V2 => {
                assert_eq!(&said[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
                assert_eq!(said[24..28], [own.port().to_be_bytes(), port.to_be_bytes()].concat());
            }
        }
    }
}

#[test]
fn a_proxy_before_us_says_for_whom_it_comes_and_is_believed() {
    let (traffic, to) = (Traffic::start(), parrot());
    let (listen, mut route) = proxied(true, vec![target("a", to, Serving)]);
    let proxy = route.proxy.as_mut().unwrap();
    proxy.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
    proxy.proxy_protocol_to = Some(ProxyProtocol::V1);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let line = "PROXY TCP4 192.0.2.7 192.0.2.8 4711 5432\r\n";

    let mut client = TcpStream::connect(listen).unwrap();
    // In two pieces, and with the first bytes for the target behind it.
    client.write_all(&line.as_bytes()[..20]).unwrap();
    thread::sleep(Duration::from_millis(50));
    client.write_all(&[&line.as_bytes()[20..], b"hello"].concat()).unwrap();
    assert_eq!(String::from_utf8(said(&mut client)).unwrap(), format!("{line}hello"));

    let mut client = TcpStream::connect(listen).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(said(&mut client), b"", "whoever does not say it is not served");
    assert_eq!(agent.report().counters[0].unserved, 1);

    route.proxy.as_mut().unwrap().proxy_protocol_from = vec!["192.0.2.0/24".parse().unwrap()];
    agent.apply(&table(2, &[&route]));
    let mut client = TcpStream::connect(listen).unwrap();
    client.write_all(line.as_bytes()).unwrap();
    let own = client.local_addr().unwrap().port();
    let text = String::from_utf8(said(&mut client)).unwrap();
    assert!(
        text.starts_with(&format!("PROXY TCP4 127.0.0.1 {} {own} ", listen.ip())),
        "not believed from elsewhere: {text}"
    );
}

#[test]
fn a_real_haproxy_before_and_behind_us_says_and_hears_for_whom_a_connection_comes() {
    let (traffic, dir) = (Traffic::start(), tempfile::tempdir().unwrap());
    let (before, behind) = (free_address(), free_address());
    let (listen, mut route) = proxied(true, vec![target("a", behind, Serving)]);
    let proxy = route.proxy.as_mut().unwrap();
    (proxy.proxy_protocol_from, proxy.proxy_protocol_to) =
        (vec!["127.0.0.0/8".parse().unwrap()], Some(ProxyProtocol::V2));
    traffic.agent().apply(&table(1, &[&route]));
    let configuration = format!(
        "defaults\n  timeout connect 1s\n  timeout client 10s\n  timeout server 10s\n\
         listen before\n  mode tcp\n  bind {before}\n  server us {listen} send-proxy-v2\n\
         frontend behind\n  mode http\n  bind {behind} accept-proxy\n\
         http-request return status 200 content-type text/plain lf-string \"%[src]:%[src_port] to %[dst]:%[dst_port]\"\n",
    );
    let Some(_haproxy) = Haproxy::start(dir.path(), &configuration) else {
        eprintln!("skipped: haproxy is not installed");
        return;
    };
    eventually("HAProxy listens", || TcpStream::connect(behind).ok());
    let mut client = eventually("HAProxy listens", || TcpStream::connect(before).ok());
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let expected = format!("{} to {before}", client.local_addr().unwrap());
    let text = String::from_utf8(said(&mut client)).unwrap();
    assert_eq!(text.rsplit("\r\n").next(), Some(expected.as_str()));
}

#[test]
fn a_target_that_comes_back_gets_its_clients_little_by_little() {
    let (traffic, one, two) = (Traffic::start(), Server::start("one"), Server::start("two"));
    let (listen, mut route) =
        proxied(false, vec![target("a", one.address, Serving), target("b", two.address, Serving)]);
    route.proxy.as_mut().unwrap().slow_start_ms = Some(3_600_000);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    assert_eq!(who(listen).as_deref(), Some("one"));
    agent.apply(&table(2, &[&with_states(&route, &[Down, Serving])]));
    assert_eq!(who(listen).as_deref(), Some("two"));
    agent.apply(&table(3, &[&route]));
    assert_eq!(who(listen).as_deref(), Some("two"), "one has just come back");
    agent.apply(&table(4, &[&with_states(&route, &[Serving, Down])]));
    assert_eq!(who(listen).as_deref(), Some("one"), "nobody else serves");
    route.proxy.as_mut().unwrap().slow_start_ms = Some(1);
    agent.apply(&table(5, &[&route]));
    eventually("it has all of them", || (who(listen).as_deref() == Some("one")).then_some(()));
}

/// Bytes in which each is known by its place.
fn much() -> Vec<u8> {
    (0..8_u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

#[test]
fn a_stream_arrives_whole_in_both_directions() {
    let (traffic, server) = (Traffic::start(), TcpListener::bind(free_address()).unwrap());
    let (listen, route) = proxied(true, vec![target("a", server.local_addr().unwrap(), Serving)]);
    traffic.agent().apply(&table(1, &[&route]));
    let mut client = TcpStream::connect(listen).unwrap();
    let (mut accepted, _) = server.accept().unwrap();
    let much = Arc::new(much());
    for _ in 0..2 {
        // A little in between, so that a stream begins more than once.
        client.write_all(b"next?").unwrap();
        accepted.read_exact(&mut [0; 5]).unwrap();
        let ways = [(&client, &accepted), (&accepted, &client)].map(|(from, to)| {
            let (mut from, mut to, said) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&much));
            thread::spawn(move || from.write_all(&said).unwrap());
            let length = much.len();
            thread::spawn(move || {
                let mut heard = vec![0; length];
                to.read_exact(&mut heard).unwrap();
                heard
            })
        });
        for way in ways {
            assert!(way.join().unwrap() == *much, "other bytes than were sent");
        }
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(accepted.read(&mut [0]).unwrap(), 0);
    accepted.write_all(b"bye").unwrap();
    drop(accepted);
    let mut last = Vec::new();
    client.read_to_end(&mut last).unwrap();
    assert_eq!(last, b"bye");
    let counters = &traffic.agent().report().counters[0];
    let length = 2 * much.len() as u64;
    assert_eq!((counters.bytes_in, counters.bytes_out), (length + 10, length + 3));
}
