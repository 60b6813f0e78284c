//! TLS clients are led by the server name that they say, and TLS ends at the target.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use mainstay_plan::route::{ProxyProtocol, ServerName};
use mainstay_plan::routing::RouteEntry;
use mainstay_plan::routing::TargetState::{Fenced, Serving, Standby};
use rustls::pki_types::ServerName as AskedName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::running::{Traffic, eventually, free_address, proxied, table, target, with_states};

/// A fatal alert "unrecognized name".
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Routes at one address, told apart by these names.
fn routes<const N: usize>(routes: [(&str, &[&str], SocketAddr); N]) -> (SocketAddr, [RouteEntry; N]) {
    let listen = free_address();
    let route = |(name, names, to): (&str, &[&str], SocketAddr)| {
        let (_, mut route) = proxied(true, vec![target(&format!("{name}-a"), to, Serving)]);
        route.name = name.into();
        let proxy = route.proxy.as_mut().unwrap();
        proxy.listen = listen;
        proxy.server_names = names.iter().map(|it| ServerName::new(it).unwrap()).collect();
        route
    };
    (listen, routes.map(route))
}

/// A server that tells what the first client said until it ended.
fn hearer() -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind(free_address()).unwrap();
    let address = listener.local_addr().unwrap();
    let (said, heard) = sync_channel(16);
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut bytes = Vec::new();
            let _ = client.read_to_end(&mut bytes);
            let _ = said.send(bytes);
        }
    });
    (address, heard)
}

/// What a real TLS client says first.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = AskedName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same bytes in records of so few of them each.
fn in_records(hello: &[u8], each: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&hello[..3], &u16::try_from(piece.len()).unwrap().to_be_bytes(), piece].concat();
    hello[5..].chunks(each).flat_map(record).collect()
}

fn answer(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = client.read_to_end(&mut bytes);
    bytes
}

/// Says it, ends, and takes what comes back.
fn say(listen: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(listen).unwrap();
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    answer(&mut client)
}

#[test]
fn the_name_decides_and_every_byte_arrives_as_it_was_sent() {
    let (traffic, (shop, shop_heard), (below, below_heard)) = (Traffic::start(), hearer(), hearer());
    let (listen, [a, b]) =
        routes([("shop", &["shop.example.com"], shop), ("below", &["*.example.com", "example.org"], below)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&a, &b]));
    for name in ["shop.example.com", "SHOP.example.com", "shop.example.com."] {
        assert_eq!(say(listen, &hello(name)), b"");
        let heard = shop_heard.recv().unwrap();
        // Each hello has random bytes, so its shape has to do.
        assert_eq!((heard[0], heard.len()), (22, hello(name).len()), "{name}");
    }
    for name in ["www.example.com", "example.org"] {
        let said = [&hello(name)[..], b"what comes behind it"].concat();
        say(listen, &said);
        assert_eq!(below_heard.recv().unwrap(), said, "{name}");
    }
    for name in ["example.com", "a.b.example.com", "example.net"] {
        assert_eq!(say(listen, &hello(name)), UNRECOGNIZED_NAME, "{name}");
    }
    // Nobody is named, and no TLS at all.
    let nameless = say(listen, &hello("192.0.2.1"));
    assert_eq!(nameless, UNRECOGNIZED_NAME);
    say(listen, b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n");
    let counters = agent.report().counters;
    assert_eq!(counters.iter().map(|it| it.accepted).sum::<u64>(), 10);
    assert_eq!(counters.iter().map(|it| it.unserved).sum::<u64>(), 5);
    assert!(shop_heard.try_recv().is_err() && below_heard.try_recv().is_err());
}

#[test]
fn a_hello_in_many_pieces_is_heard() {
    let (traffic, (to, heard)) = (Traffic::start(), hearer());
    let (listen, [route]) = routes([("shop", &["shop.example.com"], to)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let hello = hello("shop.example.com");
    for said in [hello.clone(), in_records(&hello, 7), in_records(&hello, 1)] {
        let mut client = TcpStream::connect(listen).unwrap();
        client.set_nodelay(true).unwrap();
        for byte in &said {
            client.write_all(&[*byte]).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        answer(&mut client);
        assert_eq!(heard.recv().unwrap(), said);
    }
}

#[test]
fn whoever_names_nobody_comes_to_the_route_without_names() {
    let (traffic, (shop, shop_heard), (rest, rest_heard)) = (Traffic::start(), hearer(), hearer());
    let (listen, [a, b]) = routes([("shop", &["shop.example.com"], shop), ("rest", &[], rest)]);
    traffic.agent().apply(&table(1, &[&a, &b]));
    // A hello that never ends: its length is a lie, and nobody keeps megabytes for it.
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &vec![0; 20 << 10]].concat();
    for said in [hello("example.net"), b"HELO mail.example.com\r\n".to_vec(), hello("192.0.2.1"), endless] {
        say(listen, &said);
        assert_eq!(rest_heard.recv().unwrap(), said);
    }
    say(listen, &hello("shop.example.com"));
    assert_eq!(shop_heard.recv().unwrap().len(), hello("shop.example.com").len());
}

#[test]
fn whoever_does_not_say_a_name_in_time_is_closed() {
    let (traffic, (to, _heard)) = (Traffic::start(), hearer());
    let (listen, [mut route]) = routes([("shop", &["shop.example.com"], to)]);
    route.proxy.as_mut().unwrap().hello_timeout_ms = 50;
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let hello = hello("shop.example.com");
    for said in [&b""[..], &hello[..hello.len() / 2]] {
        let mut client = TcpStream::connect(listen).unwrap();
        client.write_all(said).unwrap();
        assert_eq!(answer(&mut client), b"");
    }
    let counters = &agent.report().counters[0];
    assert_eq!((counters.accepted, counters.unserved, counters.open), (2, 2, 0));
}

#[test]
fn a_header_before_the_name_is_heard_and_passed_on() {
    let (traffic, (to, heard)) = (Traffic::start(), hearer());
    let (listen, [mut route]) = routes([("shop", &["shop.example.com"], to)]);
    let proxy = route.proxy.as_mut().unwrap();
    (proxy.proxy_protocol_from, proxy.proxy_protocol_to) =
        (vec!["127.0.0.0/8".parse().unwrap()], Some(ProxyProtocol::V1));
    traffic.agent().apply(&table(1, &[&route]));
    let said = [&b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n"[..], &hello("shop.example.com")].concat();
    say(listen, &said);
    assert_eq!(heard.recv().unwrap(), said);
}

#[test]
fn a_fence_behind_a_shared_address_cuts_its_own_route_alone() {
    let (traffic, (shop, _shop), (mail, _mail)) = (Traffic::start(), hearer(), hearer());
    let (listen, [a, b]) = routes([("shop", &["shop.example.com"], shop), ("mail", &["mail.example.com"], mail)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&a, &b]));
    let [mut to_shop, mut to_mail] = ["shop.example.com", "mail.example.com"].map(|name| {
        let mut client = TcpStream::connect(listen).unwrap();
        client.write_all(&hello(name)).unwrap();
        client
    });
    eventually("both are served", || {
        let counters = agent.report().counters;
        counters.iter().all(|it| it.open == 1 && it.bytes_in > 0).then_some(())
    });
    agent.apply(&table(2, &[&with_states(&a, &[Fenced]), &b]));
    assert!(to_shop.read(&mut [0]).is_err(), "reset");
    to_mail.set_nonblocking(true).unwrap();
    assert_eq!(to_mail.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(agent.report().counters.iter().map(|it| it.open).sum::<u64>(), 1);
}

#[test]
fn a_table_that_leaves_open_whose_a_client_is_is_refused() {
    let traffic = Traffic::start();
    let mut agent = traffic.agent();
    let (_, [a, b]) = routes([("a", &[], free_address()), ("b", &[], free_address())]);
    assert!(agent.refused(&table(1, &[&a, &b])).contains("proxy address"));
    let (_, [a, b]) = routes([("a", &["x.test"], free_address()), ("b", &["y.test", "x.test"], free_address())]);
    assert!(agent.refused(&table(1, &[&a, &b])).contains("server name `x.test`"));
    let (_, [a, mut b]) = routes([("a", &["x.test"], free_address()), ("b", &[], free_address())]);
    b.proxy.as_mut().unwrap().hello_timeout_ms += 1;
    assert!(agent.refused(&table(1, &[&a, &b])).contains("do not agree"));
    let (_, [a, b]) = routes([("a", &["x.test"], free_address()), ("b", &[], free_address())]);
    agent.apply(&table(1, &[&a, &b]));
    agent.apply(&table(2, &[&with_states(&a, &[Standby])]));
}

/// `openssl s_server` with a certificate for one name, written beside it.
struct TlsServer(Child);

impl TlsServer {
    fn start(dir: &Path, name: &str, address: SocketAddr) -> Option<TlsServer> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-quiet", "-accept", &address.to_string()]);
        command.arg("-cert").arg(dir.join(format!("{name}.pem"))).arg("-key").arg(dir.join(format!("{name}.key")));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        Some(TlsServer(child))
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for `name` at the proxy, and trusts the certificate of that name alone.
fn curl(dir: &Path, name: &str, trusted: &str, listen: SocketAddr) -> Option<Output> {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]);
    command.arg("--cacert").arg(dir.join(format!("{trusted}.pem")));
    command.arg("--connect-to").arg(format!("{name}:443:{}:{}", listen.ip(), listen.port()));
    command.arg(format!("https://{name}/")).output().ok()
}

#[test]
fn a_real_client_reaches_the_real_server_that_it_names() {
    let (traffic, dir) = (Traffic::start(), tempfile::tempdir().unwrap());
    let servers = [("shop.example.com", free_address()), ("mail.example.org", free_address())];
    let started = servers.map(|(name, address)| TlsServer::start(dir.path(), name, address));
    if started.iter().any(Option::is_none) || Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: openssl or curl is not installed");
        return;
    }
    for (_, address) in servers {
        eventually("a server listens", || TcpStream::connect(address).ok());
    }
    let (listen, [a, b]) =
        routes([("shop", &["shop.example.com"], servers[0].1), ("mail", &["*.example.org"], servers[1].1)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&a, &b]));
    for (name, _) in servers {
        let output = curl(dir.path(), name, name, listen).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{name}: {output:?}");
    }
    let output = curl(dir.path(), "nobody.example.net", "shop.example.com", listen).unwrap();
    assert_eq!(output.status.code(), Some(35), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("unrecognized name"), "{output:?}");

    // With a route for the rest, that one's server answers, and its certificate is for somebody else.
    let (_, [mut rest]) = routes([("rest", &[], servers[0].1)]);
    rest.proxy.as_mut().unwrap().listen = listen;
    agent.apply(&table(2, &[&a, &b, &rest]));
    let output = curl(dir.path(), "nobody.example.net", "shop.example.com", listen).unwrap();
    assert_eq!(output.status.code(), Some(60), "{output:?}");
}
