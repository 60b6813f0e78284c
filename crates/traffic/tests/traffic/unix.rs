//! Clients and targets on UNIX sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fs, io, thread};

use mainstay_plan::route::ProxyProtocol;
use mainstay_plan::routing::TargetState::{Fenced, Serving, Standby};

use crate::running::{DEADLINE, Server, Traffic, eventually, proxied, table, target, who, with_states};

/// The first line of whoever answers; `None`: nobody does.
fn who_at(path: &Path) -> Option<String> {
    let stream = UnixStream::connect(path).ok()?;
    line(&mut BufReader::new(stream))
}

fn line(stream: &mut BufReader<UnixStream>) -> Option<String> {
    stream.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end().to_owned()),
    }
}

/// A server that says its name and then echoes.
fn serve(path: PathBuf, name: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = (&client).write_all(format!("{name}\n").as_bytes());
                io::copy(&mut &client, &mut &client)
            });
        }
    });
}

#[test]
fn clients_and_targets_meet_by_either_kind_of_address() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (ours, theirs) = (traffic.dir.path().join("orders.sock"), traffic.dir.path().join("server.sock"));
    serve(theirs.clone(), "two");
    let (listen, mut route) = proxied(true, vec![target("a", one.address, Serving), target("b", one.address, Standby)]);
    route.proxy.as_mut().unwrap().unix = Some(ours.clone());
    route.targets[1].unix = Some(theirs);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    assert_eq!((who(listen).as_deref(), who_at(&ours).as_deref()), (Some("one"), Some("one")));
    assert_eq!(fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o666);

    agent.apply(&table(2, &[&with_states(&route, &[Fenced, Serving])]));
    assert_eq!((who(listen).as_deref(), who_at(&ours).as_deref()), (Some("two"), Some("two")));
    let mut held = BufReader::new(UnixStream::connect(&ours).unwrap());
    assert_eq!(line(&mut held).as_deref(), Some("two"));
    held.get_mut().write_all(b"hello\n").unwrap();
    assert_eq!(line(&mut held).as_deref(), Some("hello"));
    let counters =
        eventually("the clients before it are gone", || agent.report().counters.into_iter().find(|it| it.open == 1));
    assert_eq!((counters.accepted, counters.bytes_in), (5, 6));

    agent.apply(&table(3, &[&with_states(&route, &[Fenced, Fenced])]));
    assert_eq!(line(&mut held), None);
    assert_eq!(who_at(&ours), None);
    agent.apply(&table(4, &[]));
    assert!(!ours.exists(), "the socket goes with the route");
}

#[test]
fn a_socket_that_a_dead_process_left_is_replaced_and_nothing_else() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let path = traffic.dir.path().join("orders.sock");
    let (_, mut route) = proxied(true, vec![target("a", one.address, Serving)]);
    route.proxy.as_mut().unwrap().unix = Some(path.clone());
    let mut agent = traffic.agent();
    fs::write(&path, "text").unwrap();
    assert!(agent.refused(&table(1, &[&route])).contains("no socket"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    assert!(agent.refused(&table(1, &[&route])).contains("in use"));
    drop(other);
    agent.apply(&table(1, &[&route]));
    assert_eq!(who_at(&path).as_deref(), Some("one"));
    let traffic = Traffic::start_in(traffic.kill());
    traffic.agent().apply(&table(1, &[&route]));
    assert_eq!(who_at(&path).as_deref(), Some("one"));
}

#[test]
fn a_target_that_asks_for_whom_is_told_that_a_client_has_no_address() {
    let traffic = Traffic::start();
    let (ours, theirs) = (traffic.dir.path().join("orders.sock"), traffic.dir.path().join("server.sock"));
    let listener = UnixListener::bind(&theirs).unwrap();
    let (_, mut route) = proxied(false, vec![target("a", crate::running::free_address(), Serving)]);
    let proxy = route.proxy.as_mut().unwrap();
    (proxy.unix, proxy.proxy_protocol_to) = (Some(ours.clone()), Some(ProxyProtocol::V1));
    // One source, as far as limits go.
    proxy.max_per_source = Some(1);
    route.targets[0].unix = Some(theirs);
    traffic.agent().apply(&table(1, &[&route]));
    let mut client = UnixStream::connect(&ours).unwrap();
    client.write_all(b"hello").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert_eq!(who_at(&ours), None);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "PROXY UNKNOWN\r\nhello");
}
