//! Where questions leave from, and connections that are kept for the next.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, DnsRecord, HttpProbe, ProbeKind};
use mainstay_providers::{Asking, Providers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::fixtures::*;
use crate::nginx::Nginx;

/// Another address of this machine's loopback network.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// An address for documentation: no machine has it.
const NOT_OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn http(address: SocketAddr) -> HttpProbe {
    HttpProbe { keep_alive: true, ..HttpProbe::get(Address::Socket(address), "shop.example", "/") }
}

fn boxed(http: HttpProbe) -> ProbeKind {
    ProbeKind::Http(Box::new(http))
}

async fn ask_from(kind: &ProbeKind, from: IpAddr) -> Answer {
    Providers::new().ask(kind, Asking { at: None, from: Some(from), timeout: LONG }).await.answer
}

#[tokio::test]
async fn questions_leave_from_the_address_that_is_named() {
    let (listener, address) = listener().await;
    let asked = boxed(http(address));
    tokio::select! {
        answer = ask_from(&asked, OTHER) => panic!("nobody answers: {answer:?}"),
        accepted = listener.accept() => assert_eq!(accepted.expect("a connection").1.ip(), OTHER),
    }

    let server = UdpSocket::bind(ANY_PORT).await.expect("a free port");
    let dns = ProbeKind::Dns {
        server: server.local_addr().expect("its address"),
        name: "db.example.".to_owned(),
        record: DnsRecord::A,
        expect: None,
    };
    let mut question = [0; 512];
    tokio::select! {
        _ = ask_from(&dns, OTHER) => panic!("nobody answers"),
        got = server.recv_from(&mut question) => assert_eq!(got.expect("a question").1.ip(), OTHER),
    }
}

#[tokio::test]
async fn an_address_that_is_not_ours_says_nothing_about_the_target() {
    let (_listener, address) = listener().await;
    let kind = ProbeKind::Tcp { address: Address::Socket(address) };
    let answer = ask_from(&kind, NOT_OURS).await;
    assert!(matches!(&answer, Answer::CouldNotAsk(text) if text.contains("assign requested address")), "{answer:?}");
}

/// Serves any number of requests on each connection. Which connection each came over goes into the channel.
async fn patient_server(reply: &'static str) -> (SocketAddr, mpsc::Receiver<usize>) {
    let (listener, address) = listener().await;
    let (sender, requests) = mpsc::channel(64);
    tokio::spawn(async move {
        for nth in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { break };
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).await.is_ok_and(|len| len > 0) {
                    let _ = sender.send(nth).await;
                    let _ = stream.write_all(reply.as_bytes()).await;
                }
            });
        }
    });
    (address, requests)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well";

#[tokio::test]
async fn a_connection_is_kept_where_that_is_asked() {
    let (address, mut requests) = patient_server(OK).await;
    let providers = Providers::new();
    let kept = boxed(http(address));
    let anew = boxed(HttpProbe { keep_alive: false, ..http(address) });
    let found = boxed(HttpProbe { expect_body: Some("is well".to_owned()), ..http(address) });
    for kind in [&kept, &kept, &found, &anew, &anew] {
        assert_eq!(providers.probe(kind, LONG).await.answer, Answer::Good);
        // What carries the connection has to see the end of the answer before the next question.
        tokio::task::yield_now().await;
    }
    let mut over = Vec::new();
    while over.len() < 5 {
        over.push(requests.recv().await.expect("a request"));
    }
    assert_eq!(over, [0, 0, 0, 1, 2]);
}

#[tokio::test]
async fn so_are_those_of_tls_and_of_http2() {
    let nginx = Nginx::start().await;
    for (tls, http2) in [(true, false), (true, true), (false, true)] {
        let address = if tls { nginx.secured } else { nginx.known };
        let providers = Providers::new();
        for nth in 1..=3 {
            let kind = boxed(HttpProbe {
                tls,
                http2,
                ca_file: tls.then(|| nginx.ca_file()),
                expect_body: Some(format!("request {nth} of its connection")),
                ..HttpProbe { path: "/nth".to_owned(), ..http(address) }
            });
            assert_eq!(providers.probe(&kind, LONG).await.answer, Answer::Good, "{tls} {http2}");
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_says_nothing() {
    // It promises to keep the connection, and closes it.
    let (address, mut requests) = http_server(OK).await;
    let providers = Providers::new();
    let kind = boxed(http(address));
    for _ in 0..3 {
        assert_eq!(providers.probe(&kind, LONG).await.answer, Answer::Good);
        assert!(requests.recv().await.is_some_and(|it| it.starts_with("GET / ")));
    }
}

#[tokio::test]
async fn who_is_gone_is_refused_over_a_kept_connection_too() {
    let (listener, address) = listener().await;
    let providers = Providers::new();
    let kind = boxed(http(address));
    let serve = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        answer_http(stream, OK).await
    };
    let (answer, served) = tokio::join!(providers.probe(&kind, LONG), serve);
    assert!(answer.answer == Answer::Good && served.is_ok());
    drop(listener);
    // A child that another test starts at this moment may hold the listener a little longer: then it is a reset.
    assert!(matches!(providers.probe(&kind, LONG).await.answer, Answer::Refused(_)));
}
