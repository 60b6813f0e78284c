//! What HAProxy is told, and what a real one makes of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use mainstay_plan::routing::RouteEntry;
use mainstay_plan::routing::TargetState::{self, Down, Draining, Fenced, Serving, Standby};

use crate::running::{
    DEADLINE, Haproxy, Server, Traffic, eventually, free_address, proxied, table, target, with_states,
};

const STATES: [TargetState; 5] = [Serving, Standby, Draining, Down, Fenced];

pub(crate) fn line(address: SocketAddr, send: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(send.as_bytes()).unwrap();
    let mut line = String::new();
    stream.read_to_string(&mut line).unwrap();
    line
}

fn checked(exclusive: bool, first: SocketAddr) -> (SocketAddr, RouteEntry) {
    let (_, mut route) = proxied(exclusive, vec![target("a", first, Serving), target("b", free_address(), Standby)]);
    route.proxy = None;
    let check = free_address();
    route.targets[0].agent_check = Some(check);
    (check, route)
}

#[test]
fn every_line_says_everything() {
    let traffic = Traffic::start();
    let (check, route) = checked(true, free_address());
    let mut agent = traffic.agent();
    let lines = [
        "ready up 100%\n",
        "drain up 100% # standby\n",
        "drain up 100% # draining\n",
        "ready down 100% # down\n",
        "maint down 100% # fenced\n",
    ];
    for (epoch, (state, expected)) in (1..).zip(STATES.into_iter().zip(lines)) {
        agent.apply(&table(epoch, &[&with_states(&route, &[state])]));
        assert_eq!(line(check, ""), expected);
        assert_eq!(line(check, "agent-send\n"), expected, "unread input must not eat the answer");
    }
    let (check, route) = checked(false, free_address());
    agent.apply(&table(10, &[&with_states(&route, &[Down, Fenced])]));
    assert_eq!(line(check, ""), "ready up 100%\n", "a shared route with nothing left fails open");
    agent.apply(&table(11, &[&with_states(&route, &[Down, Serving])]));
    assert_eq!(line(check, ""), "ready down 100% # down\n");
}

/// What HAProxy is to do with one server that it asks, and whose agent-check it asks.
fn configuration(dir: &Path, server: SocketAddr, check: SocketAddr) -> String {
    format!(
        "global\n  stats socket {socket} mode 600 level admin\n\
         defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 10s\n  timeout server 10s\n\
         frontend f\n  bind {front}\n  default_backend b\n\
         backend b\n  server s {server} weight 100 check inter 100ms agent-check agent-addr {ip} agent-port {port} \
         agent-inter 50ms\n",
        socket = dir.join("haproxy.sock").display(),
        front = free_address(),
        ip = check.ip(),
        port = check.port(),
    )
}

/// What HAProxy thinks of the server: its status and its weight.
fn status(dir: &Path) -> Option<(String, String)> {
    let mut stream = UnixStream::connect(dir.join("haproxy.sock")).ok()?;
    stream.write_all(b"show stat\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let columns: Vec<_> = lines.next()?.trim_start_matches("# ").split(',').collect();
    let column = |name: &str| columns.iter().position(|it| *it == name);
    let server: Vec<_> = lines.find(|it| it.starts_with("b,s,"))?.split(',').collect();
    Some(((*server.get(column("status")?)?).to_owned(), (*server.get(column("weight")?)?).to_owned()))
}

#[test]
fn a_real_haproxy_goes_from_any_state_to_any_other() {
    let (traffic, server, dir) = (Traffic::start(), Server::start("one"), tempfile::tempdir().unwrap());
    let (check, route) = checked(true, server.address);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let Some(_haproxy) = Haproxy::start(dir.path(), &configuration(dir.path(), server.address, check)) else {
        eprintln!("skipped: haproxy is not installed");
        return;
    };
    let mut epoch = 1;
    let mut goes_to = |state: TargetState| {
        epoch += 1;
        agent.apply(&table(epoch, &[&with_states(&route, &[state])]));
        let expected = match state {
            Serving => "UP",
            Standby | Draining => "DRAIN (agent)",
            Down => "DOWN (agent)",
            Fenced => "MAINT",
        };
        let mut seen = None;
        eventually(&format!("{state:?} is {expected}"), || {
            seen = status(dir.path());
            let (status, weight) = seen.clone()?;
            let restored = state != Serving || weight == "100";
            (status == expected && restored).then_some(())
        });
    };
    for from in STATES {
        for to in STATES {
            goes_to(from);
            goes_to(to);
        }
    }
    goes_to(Serving);
}
