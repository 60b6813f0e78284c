//! What a health check sees.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use mainstay_plan::TlsFiles;
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::routing::TargetState::{Down, Draining, Fenced, Serving, Standby};

use crate::running::{Traffic, eventually, free_address, proxied, table, target, with_states};

pub(crate) fn get(address: SocketAddr, method: Method, path: &str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request =
            Request::builder().method(method).uri(path).header("host", "x").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        (status, String::from_utf8(body.to_vec()).unwrap())
    })
}

#[test]
fn a_beacon_is_200_for_the_instance_that_serves_and_503_with_the_reason_for_others() {
    let traffic = Traffic::start();
    let (_, mut route) =
        proxied(true, vec![target("a", free_address(), Serving), target("b", free_address(), Standby)]);
    route.beacon = true;
    let (_, mut silent) = proxied(true, vec![target("c", free_address(), Serving)]);
    silent.name = "silent".into();
    let beacon = free_address();
    let with_beacon = |epoch, states: [_; 2]| RoutingTable {
        beacon_listen: Some(beacon),
        ..table(epoch, &[&with_states(&route, &states), &silent])
    };
    let mut agent = traffic.agent();
    agent.apply(&with_beacon(1, [Serving, Standby]));
    assert_eq!(get(beacon, Method::GET, "/routes/orders/a"), (200, "serving\n".into()));
    assert_eq!(get(beacon, Method::HEAD, "/routes/orders/a"), (200, String::new()));
    assert_eq!(get(beacon, Method::GET, "/routes/orders/b"), (503, "standby\n".into()));
    for (epoch, state, word) in [(2, Draining, "draining"), (3, Down, "down"), (4, Fenced, "fenced")] {
        agent.apply(&with_beacon(epoch, [state, Standby]));
        assert_eq!(get(beacon, Method::GET, "/routes/orders/a"), (503, format!("{word}\n")));
    }
    agent.apply(&with_beacon(5, [Fenced, Serving]));
    assert_eq!(get(beacon, Method::GET, "/routes/orders/b").0, 200);
    for path in ["/routes/orders/x", "/routes/x/a", "/routes/orders", "/", "/routes/silent/c"] {
        assert_eq!(get(beacon, Method::GET, path).0, 404, "{path}");
    }
    assert_eq!(get(beacon, Method::POST, "/routes/orders/b").0, 405);
    let (status, body) = get(beacon, Method::GET, "/healthz");
    assert_eq!(status, 200);
    assert!(body.starts_with("epoch 5\nage_ms "), "{body}");
}

/// A certificate for an address and its key, in files that are there whole or not at all. What trusts it stands beside them.
fn certificate(dir: &Path, name: &str, beacon: SocketAddr) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed([beacon.ip().to_string()]).unwrap();
    std::fs::write(dir.join(format!("{name}-ca.pem")), made.cert.pem()).unwrap();
    let files = TlsFiles { cert_file: dir.join("cert.pem"), key_file: dir.join("key.pem") };
    for (path, text) in [(&files.cert_file, made.cert.pem()), (&files.key_file, made.signing_key.serialize_pem())] {
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }
    files
}

/// The status that curl sees where it trusts this certificate alone, or what it says.
fn curl(address: SocketAddr, path: &str, trusted: &Path) -> Result<String, String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "8", "--write-out", " %{http_code}", "--cacert"]);
    let output = command.arg(trusted).arg(format!("https://{address}{path}")).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: curl is not installed");
    }
    found
}

/// A route whose beacon is answered over TLS.
fn over_tls(epoch: u64, beacon: SocketAddr, files: &TlsFiles) -> RoutingTable {
    let (_, mut route) = proxied(true, vec![target("a", free_address(), Serving)]);
    route.beacon = true;
    RoutingTable { beacon_listen: Some(beacon), beacon_tls: Some(files.clone()), ..table(epoch, &[&route]) }
}

#[test]
fn a_beacon_over_tls_takes_a_renewed_certificate_and_leaves_a_broken_one() {
    if !has_curl() {
        return;
    }
    let (traffic, dir, beacon) = (Traffic::start(), tempfile::tempdir().unwrap(), free_address());
    let ca = |name: &str| dir.path().join(format!("{name}-ca.pem"));
    let files = certificate(dir.path(), "first", beacon);
    let mut agent = traffic.agent();
    agent.apply(&over_tls(1, beacon, &files));
    assert_eq!(curl(beacon, "/routes/orders/a", &ca("first")), Ok("serving\n 200".into()));
    assert_eq!(curl(beacon, "/routes/orders/b", &ca("first")), Ok("no such beacon\n 404".into()));

    certificate(dir.path(), "second", beacon);
    eventually("the renewed certificate is taken", || curl(beacon, "/healthz", &ca("second")).ok());
    let untrusted = curl(beacon, "/healthz", &ca("first")).unwrap_err();
    assert!(untrusted.contains("certificate"), "{untrusted}");

    std::fs::write(&files.cert_file, "half a certifi").unwrap();
    let trouble = eventually("the broken one is said", || agent.report().trouble.into_iter().next());
    assert!(trouble.contains("no certificate in it; the one before is still used"), "{trouble}");
    assert_eq!(curl(beacon, "/routes/orders/a", &ca("second")), Ok("serving\n 200".into()));
    certificate(dir.path(), "third", beacon);
    eventually("a good one is taken", || curl(beacon, "/healthz", &ca("third")).ok());
    eventually("its trouble is over", || agent.report().trouble.is_empty().then_some(()));

    let plain = RoutingTable { beacon_tls: None, ..over_tls(2, beacon, &files) };
    agent.apply(&plain);
    assert_eq!(get(beacon, Method::GET, "/routes/orders/a"), (200, "serving\n".into()));
}

#[test]
fn a_certificate_that_is_not_there_leaves_the_beacon_alone_unanswered() {
    if !has_curl() {
        return;
    }
    let (traffic, dir, beacon, to) = (Traffic::start(), tempfile::tempdir().unwrap(), free_address(), free_address());
    let files = TlsFiles { cert_file: dir.path().join("cert.pem"), key_file: dir.path().join("key.pem") };
    let server = std::net::TcpListener::bind(to).unwrap();
    let (listen, orders) = proxied(true, vec![target("a", to, Serving)]);
    let mut agent = traffic.agent();
    let without = RoutingTable { routes: vec![orders], ..over_tls(1, beacon, &files) };
    agent.apply(&without);
    let trouble = eventually("it is said", || agent.report().trouble.into_iter().next());
    assert!(trouble.contains("cert.pem: ") && trouble.ends_with("nobody is answered"), "{trouble}");
    let mut client = TcpStream::connect(beacon).unwrap();
    let _ = client.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert_eq!(answer, b"", "nothing is told without the TLS that was asked for");
    let _through = TcpStream::connect(listen).unwrap();
    server.accept().expect("the proxy serves");

    certificate(dir.path(), "late", beacon);
    eventually("it is answered", || curl(beacon, "/healthz", &dir.path().join("late-ca.pem")).ok());
}

#[test]
fn clients_that_never_end_their_handshake_keep_nobody_out() {
    if !has_curl() {
        return;
    }
    let (traffic, dir, beacon) = (Traffic::start(), tempfile::tempdir().unwrap(), free_address());
    let files = certificate(dir.path(), "only", beacon);
    traffic.agent().apply(&over_tls(1, beacon, &files));
    // More than there are places for, and each has begun to speak TLS.
    let idle: Vec<_> = (0..600)
        .map(|_| {
            let mut client = TcpStream::connect(beacon).unwrap();
            client.write_all(&[22, 3, 1, 2, 0, 1, 0]).unwrap();
            client
        })
        .collect();
    let answered = curl(beacon, "/routes/orders/a", &dir.path().join("only-ca.pem"));
    assert_eq!(answered, Ok("serving\n 200".into()));
    drop(idle);
}
