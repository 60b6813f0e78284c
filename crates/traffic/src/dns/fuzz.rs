//! Packets that nobody would send: each is answered by a sound message that is not longer than it may be, or by silence.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bolero::check;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};
use mainstay_plan::route::{DnsData, DnsRecord};
use mainstay_plan::routing::{DnsEntry, DnsPolicyEntry, NearEntry, RouteEntry, RoutingTable, TargetEntry, TargetState};

use super::{Transport, UDP_MAX_BYTES, answer, truncated};
use crate::live::{Live, Served};

/// What one target may take of an ordinary test run: whichever is over first.
const TRIES: usize = 20_000;
const TIME: Duration = Duration::from_secs(5);

const NAMES: [&str; 6] =
    ["r.example.", "ns.r.example.", "db.r.example.", "x.r.example.", "_tcp.r.example.", "elsewhere."];

fn live() -> Arc<Live> {
    let target = |n: u8| TargetEntry {
        instance: format!("i{n}"),
        address: ([10, 0, 0, n], 1).into(),
        unix: None,
        weight: 1,
        agent_check: None,
        state: TargetState::Serving,
    };
    let record = |name: &str, data| DnsRecord { name: name.into(), data };
    let mut records: Vec<_> = (0..40).map(|n| record("r.example.", DnsData::Txt(format!("{n}").repeat(100)))).collect();
    records.push(record("db.r.example.", DnsData::Cname("r.example.".into())));
    let srv = DnsData::Srv { priority: 0, weight: 0, port: 1, target: "r.example.".into() };
    records.push(record("_a._tcp.r.example.", srv));
    let near = vec![NearEntry { clients: vec!["10.0.0.0/8".parse().unwrap()], targets: vec!["i2".into()] }];
    let dns = DnsEntry { name: "r.example.".into(), ttl_s: 5, policy: DnsPolicyEntry::Latency, near, records };
    let route = RouteEntry {
        name: "r".into(),
        exclusive: false,
        cut_after_silence_ms: None,
        proxy: None,
        dns: Some(dns),
        beacon: false,
        targets: vec![target(1), target(2)],
    };
    let table = RoutingTable {
        dns_listen: Some(([127, 0, 0, 1], 53).into()),
        secondaries: vec![([127, 0, 0, 9], 53).into()],
        routes: vec![route],
        ..RoutingTable::empty("here")
    };
    Live::new(Served::new(table, None).unwrap())
}

fn is_answered_well(live: &Live, packet: &[u8]) {
    let client = |last| IpAddr::from([127, 0, 0, last]);
    for (transport, limit) in [
        (Transport::Udp(client(1)), usize::from(UDP_MAX_BYTES)),
        (Transport::Tcp(client(1)), usize::from(u16::MAX)),
        (Transport::Tcp(client(9)), usize::from(u16::MAX)),
    ] {
        let Some(reply) = answer(live, packet, transport) else {
            let is_question = packet.len() >= 12 && packet[2] & 0x80 == 0;
            assert!(!is_question, "no answer to {packet:?}");
            continue;
        };
        assert!(reply.len() <= limit, "{} bytes", reply.len());
        let message = Message::from_vec(&reply).unwrap_or_else(|error| panic!("{error}: {reply:?} to {packet:?}"));
        assert_eq!(reply[..2], packet[..2], "the number is the question's");
        assert_ne!(reply[2] & 0x80, 0, "an answer");
        assert!(message.edns.is_none_or(|it| it.version() == 0));
    }
    if let Some(reply) = truncated(packet) {
        assert!(reply.len() <= packet.len(), "never longer than the question");
        assert!(Message::from_vec(&reply).is_ok_and(|it| it.metadata.truncation && it.answers.is_empty()));
    }
}

#[test]
fn any_bytes_are_answered_well() {
    let live = live();
    check!().with_iterations(TRIES).with_test_time(TIME).for_each(|packet: &[u8]| is_answered_well(&live, packet));
}

#[test]
fn real_questions_with_any_change_are_answered_well() {
    let live = live();
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(u8, u16, Option<(u16, u32, u8)>, Vec<(u16, u8)>, u16)>().for_each(
        |(name, record_type, edns, changes, cut)| {
            let mut message = Message::query();
            let name = Name::from_ascii(NAMES[usize::from(*name) % NAMES.len()]).unwrap();
            message.add_query(Query::query(name, RecordType::from(record_type % 300)));
            if let Some((payload, client, length)) = edns {
                let mut edns = Edns::new();
                edns.set_max_payload(*payload);
                let network = format!("{}/{}", IpAddr::from(client.to_be_bytes()), length % 33);
                edns.options_mut().insert(EdnsOption::Subnet(network.parse().unwrap()));
                message.set_edns(edns);
            }
            let mut packet = message.to_vec().unwrap();
            is_answered_well(&live, &packet);
            for (at, byte) in changes.iter().take(8) {
                let at = usize::from(*at) % packet.len();
                packet[at] = *byte;
            }
            is_answered_well(&live, &packet);
            packet.truncate(usize::from(*cut) % (packet.len() + 1));
            is_answered_well(&live, &packet);
        },
    );
}
