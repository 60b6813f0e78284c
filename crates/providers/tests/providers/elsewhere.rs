//! Probes of an instance that is not where the plan says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, DnsRecord, HttpProbe, ProbeKind};
use mainstay_providers::{Asking, ProbeAnswer, Providers};
use tokio::net::TcpListener;

use crate::fixtures::*;

/// Another address of this machine's loopback network.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

async fn probe_there(kind: &ProbeKind) -> ProbeAnswer {
    Providers::new().ask(kind, Asking { at: Some(ELSEWHERE), from: None, timeout: LONG }).await
}

#[tokio::test]
async fn it_is_asked_there_and_keeps_its_port() {
    let listener = TcpListener::bind((ELSEWHERE, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let planned = ProbeKind::Tcp { address: Address::Socket(SocketAddr::from(([127, 0, 0, 1], port))) };
    assert_refused(&probe(&planned).await.answer, "connection refused");
    assert_eq!(probe_there(&planned).await.answer, Answer::Good);
    let named = ProbeKind::Tcp { address: Address::Name { host: "nowhere.invalid".to_owned(), port } };
    assert_eq!(probe_there(&named).await.answer, Answer::Good, "there is nothing to look up any more");
}

#[test]
fn names_stay_as_the_plan_has_them() {
    let http = HttpProbe {
        tls: true,
        ..HttpProbe::get(Address::Name { host: "orders.internal".to_owned(), port: 8443 }, "orders.internal", "/ready")
    };
    let there = Address::Socket(SocketAddr::new(ELSEWHERE, 8443));
    let moved = HttpProbe { address: there, ..http.clone() };
    let (http, moved) = (ProbeKind::Http(Box::new(http)), ProbeKind::Http(Box::new(moved)));
    assert_eq!(http.at(ELSEWHERE), moved, "the certificate must carry the same name");
    let dns = |server: IpAddr| ProbeKind::Dns {
        server: SocketAddr::new(server, 53),
        name: "orders.internal.".to_owned(),
        record: DnsRecord::A,
        expect: None,
    };
    assert_eq!(dns([10, 0, 1, 10].into()).at(ELSEWHERE), dns(ELSEWHERE));
}

#[tokio::test]
async fn a_command_is_told_the_address() {
    let argv = script("test \"$MAINSTAY_ADDRESS\" = 127.0.0.2", &[]);
    let command = ProbeKind::Command { argv, reports_lag: false, reports_role: false };
    assert_eq!(probe_there(&command).await.answer, Answer::Good);
    assert_refused(&probe(&command).await.answer, "exited with 1");
}
