//! Probes that ask a name server, and addresses that one resolves.

use std::net::SocketAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, rdata};
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, DnsRecord, ProbeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::fixtures::*;

const NAME: &str = "db.shop.example.";

/// How the server under test behaves beside answering.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plain,
    /// Over UDP it says only that the answer does not fit.
    Truncating,
    /// A packet with another id goes before each answer.
    Spoofed,
    Silent,
}

/// A name server on UDP and TCP that gives the answers that `answers` makes.
async fn name_server(manner: Manner, code: ResponseCode, answers: Vec<RData>) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind(ANY_PORT).await.expect("a free port");
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("its address")).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().expect("its address");
    let reply_to = move |bytes: &[u8]| {
        let mut message = Message::from_vec(bytes).expect("a readable question").into_response();
        message.metadata.response_code = code;
        let name: Name = message.queries[0].name.clone();
        message.add_answers(answers.iter().map(|data| Record::from_rdata(name.clone(), 5, data.clone())));
        message
    };
    let over_tcp = reply_to.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut question = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
            stream.read_exact(&mut question).await.expect("a question");
            let reply = over_tcp(&question).to_vec().expect("a message");
            stream.write_u16(u16::try_from(reply.len()).expect("short")).await.expect("a length is sent");
            stream.write_all(&reply).await.expect("an answer is sent");
        }
    });
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
            let mut reply = reply_to(&buffer[..len]);
            match manner {
                Manner::Silent => continue,
                Manner::Plain => {}
                Manner::Truncating => {
                    reply = reply.truncate();
                    reply.metadata.truncation = true;
                }
                Manner::Spoofed => {
                    let mut spoof = reply.clone();
                    spoof.metadata.id = reply.metadata.id.wrapping_add(1);
                    spoof.answers.clear();
                    udp.send_to(&spoof.to_vec().expect("a message"), from).await.expect("sent");
                }
            }
            udp.send_to(&reply.to_vec().expect("a message"), from).await.expect("sent");
        }
    });
    address
}

async fn answering(answers: Vec<RData>) -> SocketAddr {
    name_server(Manner::Plain, ResponseCode::NoError, answers).await
}

fn dns(server: SocketAddr, record: DnsRecord, expect: Option<&str>) -> ProbeKind {
    ProbeKind::Dns { server, name: NAME.to_owned(), record, expect: expect.map(str::to_owned) }
}

fn a(last: u8) -> RData {
    RData::A(rdata::A::new(127, 0, 0, last))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

#[tokio::test]
async fn each_type_is_compared_with_what_is_expected() {
    let soa = rdata::SOA::new(name("ns.shop.example."), name("root.shop.example."), 7, 1, 2, 3, 4);
    let cases = [
        (DnsRecord::A, vec![a(1), a(2)], "127.0.0.2"),
        (DnsRecord::Aaaa, vec![RData::AAAA(rdata::AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))], "2001:db8::1"),
        (DnsRecord::Cname, vec![RData::CNAME(rdata::CNAME(name("b.shop.example.")))], "B.shop.example"),
        (DnsRecord::Txt, vec![RData::TXT(rdata::TXT::new(vec!["epoch=".to_owned(), "7".to_owned()]))], "epoch=7"),
        (DnsRecord::Soa, vec![RData::SOA(soa)], "ns.shop.example. root.shop.example. 7 1 2 3 4"),
    ];
    for (record, answers, expected) in cases {
        let server = answering(answers).await;
        assert_eq!(probe(&dns(server, record, Some(expected))).await.answer, Answer::Good, "{record:?}");
        assert_eq!(probe(&dns(server, record, None)).await.answer, Answer::Good, "{record:?}");
        assert_wrong(&probe(&dns(server, record, Some("192.0.2.9"))).await.answer, "not 192.0.2.9");
    }
}

#[tokio::test]
async fn no_such_record_and_no_such_name_are_wrong_answers() {
    assert_wrong(&probe(&dns(answering(Vec::new()).await, DnsRecord::A, None)).await.answer, "no A record");
    for (code, part) in [(ResponseCode::NXDomain, "on-Existent"), (ResponseCode::ServFail, "Server Failure")] {
        let server = name_server(Manner::Plain, code, Vec::new()).await;
        assert_wrong(&probe(&dns(server, DnsRecord::A, None)).await.answer, part);
    }
}

#[tokio::test]
async fn a_name_server_that_is_gone_or_unwilling_refuses() {
    let gone = UdpSocket::bind(ANY_PORT).await.expect("a free port").local_addr().expect("its address");
    assert_refused(&probe(&dns(gone, DnsRecord::A, None)).await.answer, "connection refused");
    let unwilling = name_server(Manner::Plain, ResponseCode::Refused, Vec::new()).await;
    assert_refused(&probe(&dns(unwilling, DnsRecord::A, None)).await.answer, "refused the question");
}

#[tokio::test]
async fn a_silent_name_server_times_out() {
    let server = name_server(Manner::Silent, ResponseCode::NoError, vec![a(1)]).await;
    assert_eq!(probe_in_vain(&dns(server, DnsRecord::A, None)).await, Answer::TimedOut);
    let resolved = ProbeKind::Tcp { address: Address::ResolvedBy { server, name: NAME.to_owned(), port: 1 } };
    assert_eq!(probe_in_vain(&resolved).await, Answer::TimedOut);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let server = name_server(Manner::Truncating, ResponseCode::NoError, vec![a(3)]).await;
    assert_eq!(probe(&dns(server, DnsRecord::A, Some("127.0.0.3"))).await.answer, Answer::Good);
}

#[tokio::test]
async fn an_answer_with_another_id_is_passed_over() {
    let server = name_server(Manner::Spoofed, ResponseCode::NoError, vec![a(3)]).await;
    assert_eq!(probe(&dns(server, DnsRecord::A, Some("127.0.0.3"))).await.answer, Answer::Good);
}

#[tokio::test]
async fn a_route_is_followed_through_its_own_name_server() {
    let (_listener, target) = listener().await;
    let through =
        |server| ProbeKind::Tcp { address: Address::ResolvedBy { server, name: NAME.to_owned(), port: target.port() } };
    assert_eq!(probe(&through(answering(vec![a(1)]).await)).await.answer, Answer::Good);
    assert_wrong(&probe(&through(answering(Vec::new()).await)).await.answer, "has no address");
}

#[tokio::test]
async fn what_is_no_name_cannot_be_asked() {
    let server = answering(Vec::new()).await;
    let kind = ProbeKind::Dns { server, name: "a..b".to_owned(), record: DnsRecord::A, expect: None };
    assert_could_not_ask(&probe(&kind).await.answer, "no DNS name");
}
