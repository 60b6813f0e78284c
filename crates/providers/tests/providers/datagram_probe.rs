//! Probes by datagrams: UDP, and ICMP where it is permitted here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, Hidden, ProbeKind, UdpProbe};
use mainstay_providers::{PrepareError, Providers};
use tokio::net::UdpSocket;

use crate::fixtures::*;

fn udp(address: SocketAddr, send: &[u8], expect: Option<&[u8]>) -> ProbeKind {
    ProbeKind::Udp(UdpProbe {
        address: Address::Socket(address),
        send: Hidden(send.to_vec()),
        expect: expect.map(<[u8]>::to_vec),
    })
}

/// Sends back what it gets, backwards; what is empty stays without an answer.
async fn backwards() -> SocketAddr {
    let socket = UdpSocket::bind(ANY_PORT).await.expect("a free port");
    let address = socket.local_addr().expect("its address");
    tokio::spawn(async move {
        let mut packet = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
            packet[..length].reverse();
            if length > 0 && socket.send_to(&packet[..length], peer).await.is_err() {
                break;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_datagram_is_answered_as_expected_or_not() {
    let address = backwards().await;
    let ask = async |send: &[u8], expect: Option<&[u8]>| probe(&udp(address, send, expect)).await.answer;
    assert_eq!(ask(b"ping", None).await, Answer::Good);
    assert_eq!(ask(b"xping", Some(b"gnip")).await, Answer::Good);
    assert_eq!(ask(&[0, 0xff, 1], Some(&[0xff, 0])).await, Answer::Good);
    assert_wrong(&ask(b"ping", Some(b"ping")).await, "4 bytes, without what is expected");
}

#[tokio::test]
async fn silence_times_out_and_a_port_without_anybody_refuses() {
    assert_eq!(probe_in_vain(&udp(backwards().await, b"", None)).await, Answer::TimedOut);
    let nobody = UdpSocket::bind(ANY_PORT).await.expect("a free port");
    let address = nobody.local_addr().expect("its address");
    drop(nobody);
    assert_refused(&probe(&udp(address, b"ping", None)).await.answer, "connection refused");
    assert!(!format!("{:?}", udp(address, b"s3cret", None)).contains(&format!("{:?}", b's')), "what is sent is hidden");
}

#[tokio::test]
async fn a_machine_answers_echo_requests_or_we_are_told_why_not() {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 7, 7, 7))] {
        let kind = ProbeKind::Icmp { address };
        let providers = Providers::new();
        let answer = providers.probe(&kind, LONG).await.answer;
        match providers.prepare_probe(&kind).await {
            Ok(()) => assert_eq!(answer, Answer::Good),
            Err(PrepareError::Icmp(why)) => {
                assert!(why.contains("ping_group_range"), "{why}");
                assert_could_not_ask(&answer, "ping_group_range");
            }
            Err(other) => panic!("{other}"),
        }
    }
}
