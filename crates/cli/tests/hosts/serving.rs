//! Routes that a host serves for its agent: its traffic process acknowledges what it serves, and counts the agent's silence, not
//! the host's.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::routing::{
    ProxyEntry, RouteEntry, RoutingTable, TargetEntry, TargetState, TrafficReply, TrafficReport, TrafficRequest,
};
use mainstay_wire::message::{FromAgent, FromHost, Granted, TrafficNews};
use tokio::net::TcpListener;

use crate::scripted::{LEASE, Scripted};
use crate::site::Site;

fn ask(state: &Path, request: &TrafficRequest) -> Option<TrafficReply> {
    let mut stream = UnixStream::connect(state.join("traffic.sock")).ok()?;
    let line = serde_json::to_string(request).ok()? + "\n";
    stream.write_all(line.as_bytes()).ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    serde_json::from_str(&answer).ok()
}

/// Without speaking for the agent.
fn looked_at(state: &Path) -> Option<Box<TrafficReport>> {
    let reply = ask(state, &TrafficRequest::Look { heard_ms: u64::MAX })?;
    if let TrafficReply::Report(report) = reply { Some(report) } else { None }
}

/// The traffic process outlives its host.
struct Traffic<'a>(&'a Path);

impl Drop for Traffic<'_> {
    fn drop(&mut self) {
        let _ = ask(self.0, &TrafficRequest::Stop {});
    }
}

fn table(epoch: u64, proxy: u16, target: SocketAddr) -> RoutingTable {
    let address = ([127, 0, 0, 1], proxy).into();
    let target = TargetEntry {
        instance: "db-a".to_owned(),
        address: target,
        unix: None,
        weight: 1,
        agent_check: None,
        state: TargetState::Serving,
    };
    let route = RouteEntry {
        name: "db".to_owned(),
        exclusive: true,
        proxy: Some(ProxyEntry::new(address)),
        dns: None,
        beacon: false,
        cut_after_silence_ms: Some(1500),
        targets: vec![target],
    };
    RoutingTable { epoch, routes: vec![route], ..RoutingTable::empty("shop-a") }
}

/// The next thing of which `of` makes something; renewals are answered meanwhile.
async fn hear<T>(agent: &mut Scripted, of: impl Fn(FromHost) -> Option<T>) -> T {
    loop {
        let message = agent.hear(Some).await.expect("the connection goes on");
        if let FromHost::Renew(it) = &message {
            agent.say(FromAgent::Granted(Granted {
                seq: it.seq,
                holds: Vec::new(),
                ttl_ms: LEASE.expires_ms,
                stance: 0,
            }));
        }
        if let Some(it) = of(message) {
            return it;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_serves_acknowledges_and_cuts_when_its_agent_is_silent() {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    site.join("db-a", port);
    let text = format!("version: 1\nagents: [\"127.0.0.1:{port}\"]\nstate: db-a\nserves: true\n");
    std::fs::write(site.path().join("db-a.yaml"), text).expect("it is written");
    let state = site.state_of("db-a");
    let _traffic = Traffic(&state);
    let _host = site.start("db-a");
    let mut agent = Scripted::of_epoch(&site, &listener, 3).await;
    assert!(agent.hello.serves);
    let news = |it| if let FromHost::Traffic(it) = it { Some(it) } else { None };
    let first = hear(&mut agent, news).await;
    assert!(matches!(&first, TrafficNews::Serves(it) if it.table.epoch == 0), "{first:?}");

    // It accepts, so that no client is turned away.
    let serves = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    agent.say(FromAgent::Serve { table: Box::new(table(7, free, serves.local_addr().expect("an address"))) });
    let applied = |it| if let FromHost::Traffic(TrafficNews::Applied { epoch }) = it { Some(epoch) } else { None };
    assert_eq!(hear(&mut agent, applied).await, 7);
    let renewed = |it| if let FromHost::Renew(it) = it { Some(it.seq) } else { None };
    let met = tokio::net::TcpStream::connect(("127.0.0.1", free)).await;
    assert!(met.is_ok(), "the proxy does not listen: {met:?}, {:?}", looked_at(&state));

    // As long as the agent answers, the route is served...
    for _ in 0..20 {
        hear(&mut agent, renewed).await;
    }
    let report = looked_at(&state).expect("it answers");
    assert_eq!((report.table.epoch, report.trouble), (7, Vec::new()));
    // ...and when it does not any more, the route is cut, though the host process looks at it all the time. The connection
    // goes on, and so do its words: they answer nothing that was sent lately.
    let old = agent.hear(renewed).await.expect("it renews");
    let cut = async {
        loop {
            agent.say(FromAgent::Granted(Granted { seq: old, holds: Vec::new(), ttl_ms: LEASE.expires_ms, stance: 0 }));
            tokio::time::sleep(Duration::from_millis(100)).await;
            if looked_at(&state).is_some_and(|it| !it.trouble.is_empty()) {
                return;
            }
        }
    };
    tokio::time::timeout(crate::site::PATIENCE, cut).await.expect("it is cut");
}
