//! What resolvers get.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use mainstay_plan::route::{DnsData, DnsRecord, RateLimit};
use mainstay_plan::routing::DnsPolicyEntry::{self, Failover, Latency, Location, Multivalue, Weighted};
use mainstay_plan::routing::TargetState::{Down, Fenced, Serving, Standby};
use mainstay_plan::routing::{DnsEntry, NearEntry, RouteEntry, RoutingTable, TargetEntry};

use crate::running::{Agent, DEADLINE, Traffic, free_address, table, target, with_states};

pub(crate) struct Resolver {
    agent: Agent,
    pub(crate) dns: SocketAddr,
    epoch: u64,
    _traffic: Traffic,
}

impl Resolver {
    pub(crate) fn new() -> Resolver {
        let traffic = Traffic::start();
        Resolver { agent: traffic.agent(), dns: free_address(), epoch: 0, _traffic: traffic }
    }

    pub(crate) fn serve(&mut self, routes: &[&RouteEntry]) {
        self.serve_and_copy(routes, &[]);
    }

    /// The same, with name servers that may copy it.
    pub(crate) fn serve_and_copy(&mut self, routes: &[&RouteEntry], secondaries: &[SocketAddr]) {
        self.epoch += 1;
        let table = table(self.epoch, routes);
        self.agent.apply(&RoutingTable { dns_listen: Some(self.dns), secondaries: secondaries.to_vec(), ..table });
    }

    fn send(&self, packet: &[u8]) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.send_to(packet, self.dns).unwrap();
        let mut reply = [0; 4096];
        let length = socket.recv(&mut reply).unwrap();
        Message::from_vec(&reply[..length]).unwrap()
    }

    fn send_over_tcp(&self, packet: &[u8]) -> Message {
        let mut stream = TcpStream::connect(self.dns).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(packet).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).unwrap();
        Message::from_vec(&reply).unwrap()
    }

    fn ask(&self, name: &str, record_type: RecordType) -> Message {
        let query = question(name, record_type).to_vec().unwrap();
        let (over_udp, over_tcp) = (self.send(&query), self.send_over_tcp(&query));
        assert_eq!(over_udp.metadata, over_tcp.metadata);
        assert_eq!(over_udp.queries[0].name().to_string(), name);
        over_udp
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let reply = self.ask(name, RecordType::A);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.metadata.authoritative);
        reply.answers.iter().map(|it| it.data.ip_addr().unwrap()).collect()
    }
}

fn question(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

fn named(exclusive: bool, policy: DnsPolicyEntry, targets: Vec<TargetEntry>) -> RouteEntry {
    RouteEntry {
        name: "orders".into(),
        exclusive,
        cut_after_silence_ms: None,
        proxy: None,
        dns: Some(DnsEntry {
            name: "orders.db.internal.".into(),
            ttl_s: 7,
            policy,
            near: Vec::new(),
            records: Vec::new(),
        }),
        beacon: false,
        targets,
    }
}

fn ip(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

fn at(n: u8, state: mainstay_plan::routing::TargetState) -> TargetEntry {
    target(&format!("i{n}"), SocketAddr::from((ip(n), 5432)), state)
}

/// The TTL and the minimum of the SOA that an answer without records must have.
fn negative(reply: &Message) -> (u32, u32) {
    assert!(reply.answers.is_empty());
    let RData::SOA(soa) = &reply.authorities[0].data else { panic!("no SOA in {reply:?}") };
    assert_eq!(reply.authorities[0].name.to_string(), "orders.db.internal.");
    (reply.authorities[0].ttl, soa.minimum)
}

#[test]
fn an_exclusive_name_answers_its_owner_and_nobody_in_between() {
    let mut resolver = Resolver::new();
    let route = named(true, Failover, vec![at(1, Serving), at(2, Standby)]);
    resolver.serve(&[&route]);
    assert_eq!(resolver.addresses("orders.db.internal."), [ip(1)]);
    let reply = resolver.ask("Orders.DB.internal.", RecordType::A);
    assert_eq!(reply.answers[0].ttl, 7);
    assert_eq!(reply.answers[0].name.to_string(), "Orders.DB.internal.", "the case of the question stays");
    assert!(!reply.metadata.recursion_available);

    resolver.serve(&[&with_states(&route, &[Fenced, Standby])]);
    let reply = resolver.ask("orders.db.internal.", RecordType::A);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_eq!(negative(&reply), (0, 0), "the gap must not be remembered");
    resolver.serve(&[&with_states(&route, &[Down, Standby])]);
    assert_eq!(resolver.addresses("orders.db.internal."), [] as [IpAddr; 0], "an exclusive name never fails open");
    resolver.serve(&[&with_states(&route, &[Fenced, Serving])]);
    assert_eq!(resolver.addresses("orders.db.internal."), [ip(2)]);
    assert!(resolver.agent.report().counters[0].dns_answers > 0);
}

#[test]
fn a_shared_name_follows_its_policy_and_fails_open() {
    let mut resolver = Resolver::new();
    let name = "orders.db.internal.";
    let route = named(false, Failover, vec![at(1, Down), at(2, Serving), at(3, Serving)]);
    resolver.serve(&[&route]);
    assert_eq!(resolver.addresses(name), [ip(2)]);
    resolver.serve(&[&with_states(&route, &[Down, Down, Fenced])]);
    assert_eq!(resolver.addresses(name), [ip(1)]);
    resolver.serve(&[&with_states(&route, &[Fenced, Fenced, Fenced])]);
    assert_eq!(resolver.addresses(name), [] as [IpAddr; 0]);

    let mut weighted = named(false, Weighted, vec![at(1, Serving), at(2, Serving), at(3, Fenced)]);
    weighted.targets[0].weight = 0;
    resolver.serve(&[&weighted]);
    assert_eq!(resolver.addresses(name), [ip(2)]);

    let mut many = named(false, Multivalue, (1..=20).map(|n| at(n, Serving)).collect());
    resolver.serve(&[&many]);
    let answers = resolver.addresses(name);
    assert_eq!(answers.len(), 8);
    many.targets.iter_mut().for_each(|it| it.state = Down);
    many.targets[4].state = Serving;
    resolver.serve(&[&many]);
    assert_eq!(resolver.addresses(name), [ip(5)]);
}

#[test]
fn the_apex_is_a_zone_with_nothing_around_it() {
    let mut resolver = Resolver::new();
    let mut deeper = named(true, Failover, vec![at(9, Serving)]);
    deeper.name = "deeper".into();
    if let Some(dns) = &mut deeper.dns {
        dns.name = "a.b.orders.db.internal.".into();
    }
    resolver.serve(&[&named(true, Failover, vec![at(1, Serving)]), &deeper]);
    let code = |name: &str, record_type| resolver.ask(name, record_type).metadata.response_code;

    let soa = resolver.ask("orders.db.internal.", RecordType::SOA);
    assert!(matches!(&soa.answers[0].data, RData::SOA(soa) if soa.serial == 1));
    let ns = resolver.ask("orders.db.internal.", RecordType::NS);
    assert!(matches!(&ns.answers[0].data, RData::NS(ns) if ns.0.to_string() == "ns.orders.db.internal."));
    assert_eq!(ns.additionals[0].data.ip_addr(), Some(resolver.dns.ip()));
    assert_eq!(resolver.addresses("ns.orders.db.internal."), [resolver.dns.ip()]);
    for record_type in [RecordType::AAAA, RecordType::TXT, RecordType::MX, RecordType::CNAME] {
        let reply = resolver.ask("orders.db.internal.", record_type);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert_eq!(negative(&reply), (7, 7));
    }
    let below = resolver.ask("nobody.orders.db.internal.", RecordType::A);
    assert_eq!(below.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(negative(&below), (7, 7));
    assert_eq!(resolver.addresses("a.b.orders.db.internal."), [ip(9)]);
    assert_eq!(code("b.orders.db.internal.", RecordType::A), ResponseCode::NoError, "a name with names below it");
    for name in ["db.internal.", "example.com.", "."] {
        assert_eq!(code(name, RecordType::A), ResponseCode::Refused, "{name}");
    }
    assert_eq!(code("orders.db.internal.", RecordType::AXFR), ResponseCode::Refused);
    resolver.serve(&[]);
    let gone = resolver.ask("orders.db.internal.", RecordType::A);
    assert_eq!(gone.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn strange_messages_get_the_answer_that_the_protocol_gives_them() {
    let mut resolver = Resolver::new();
    resolver.serve(&[&named(true, Failover, vec![at(1, Serving)])]);
    let code = |message: &Message| resolver.send(&message.to_vec().unwrap()).metadata.response_code;
    let mut two = question("orders.db.internal.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("orders.db.internal.").unwrap(), RecordType::A));
    assert_eq!(code(&two), ResponseCode::FormErr);
    let mut none = question("orders.db.internal.", RecordType::A);
    none.queries.clear();
    assert_eq!(code(&none), ResponseCode::FormErr);
    let mut chaos = question("orders.db.internal.", RecordType::A);
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(code(&chaos), ResponseCode::Refused);
    let mut notify = question("orders.db.internal.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&notify), ResponseCode::NotImp);
    let packet = question("orders.db.internal.", RecordType::A).to_vec().unwrap();
    assert_eq!(resolver.send(&packet[..packet.len() - 3]).metadata.response_code, ResponseCode::FormErr);

    let mut edns = question("orders.db.internal.", RecordType::A);
    edns.set_edns(Edns::new());
    let reply = resolver.send(&edns.to_vec().unwrap());
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_eq!(reply.edns.as_ref().unwrap().max_payload(), 1232);
    edns.edns.as_mut().unwrap().set_version(1);
    let reply = resolver.send(&edns.to_vec().unwrap());
    assert_eq!((reply.answers.len(), reply.edns.unwrap().rcode_high()), (0, 1), "BADVERS");

    // An answer is never answered; the next question is.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut response = question("orders.db.internal.", RecordType::A).into_response();
    response.metadata.id = 1;
    socket.send_to(&response.to_vec().unwrap(), resolver.dns).unwrap();
    socket.send_to(b"short", resolver.dns).unwrap();
    socket.send_to(&packet, resolver.dns).unwrap();
    let mut reply = [0; 512];
    let length = socket.recv(&mut reply).unwrap();
    assert_eq!(Message::from_vec(&reply[..length]).unwrap().metadata.id, 4711);
}

#[test]
fn a_name_that_is_none_is_refused_with_its_table() {
    let mut resolver = Resolver::new();
    resolver.serve(&[]);
    let mut route = named(true, Failover, vec![]);
    for wrong in ["no..name.", ".", ""] {
        if let Some(dns) = &mut route.dns {
            dns.name = wrong.into();
        }
        let table = RoutingTable { dns_listen: Some(resolver.dns), ..table(2, &[&route]) };
        assert!(resolver.agent.refused(&table).contains("`orders`"), "{wrong}");
    }
}

fn record(name: &str, data: DnsData) -> DnsRecord {
    DnsRecord { name: name.into(), data }
}

/// The exclusive route with records of every kind.
pub(crate) fn with_records() -> RouteEntry {
    let apex = "orders.db.internal.";
    let mut route = named(true, Failover, vec![at(1, Serving), at(2, Standby)]);
    let srv = DnsData::Srv { priority: 1, weight: 2, port: 5432, target: apex.into() };
    let mut records = vec![
        record(apex, DnsData::Txt("run by ops".into())),
        record(apex, DnsData::Ns("ns2.orders.db.internal.".into())),
        record("ns2.orders.db.internal.", DnsData::Address(ip(53))),
        record("admin.orders.db.internal.", DnsData::Address("2001:db8::7".parse().unwrap())),
        record("_pg._tcp.orders.db.internal.", srv),
        record("db.orders.db.internal.", DnsData::Cname("main.orders.db.internal.".into())),
        record("main.orders.db.internal.", DnsData::Cname(apex.into())),
        record("away.orders.db.internal.", DnsData::Cname("example.com.".into())),
        record("lost.orders.db.internal.", DnsData::Cname("nobody.orders.db.internal.".into())),
        record("circle.orders.db.internal.", DnsData::Cname("circle.orders.db.internal.".into())),
    ];
    records.extend((0..8).map(|n| record("long.orders.db.internal.", DnsData::Txt(format!("{n}").repeat(300)))));
    if let Some(dns) = &mut route.dns {
        dns.records = records;
    }
    route
}

#[test]
fn records_of_the_plan_stand_beside_the_route() {
    let mut resolver = Resolver::new();
    let route = with_records();
    resolver.serve(&[&route]);
    let ask = |name: &str, record_type| resolver.ask(name, record_type);
    let code = |reply: &Message| reply.metadata.response_code;

    let text = ask("orders.db.internal.", RecordType::TXT);
    assert!(text.answers[0].data.to_string().contains("run by ops"));
    let servers = ask("orders.db.internal.", RecordType::NS);
    assert_eq!(servers.answers.len(), 2);
    let glue: Vec<_> = servers.additionals.iter().filter_map(|it| it.data.ip_addr()).collect();
    assert_eq!(glue, [resolver.dns.ip(), ip(53)]);
    let srv = ask("_pg._tcp.orders.db.internal.", RecordType::SRV);
    assert!(matches!(&srv.answers[0].data, RData::SRV(it) if it.port == 5432));
    assert_eq!(srv.additionals[0].data.ip_addr(), Some(ip(1)));
    for (name, record_type) in [
        ("_tcp.orders.db.internal.", RecordType::A),
        ("admin.orders.db.internal.", RecordType::A),
        ("orders.db.internal.", RecordType::Unknown(65_280)),
    ] {
        let reply = ask(name, record_type);
        assert_eq!(code(&reply), ResponseCode::NoError, "{name}");
        assert_eq!(negative(&reply), (7, 7), "{name}");
    }
    assert_eq!(code(&ask("x.admin.orders.db.internal.", RecordType::A)), ResponseCode::NXDomain);

    let chain = ask("DB.orders.db.internal.", RecordType::A);
    let names: Vec<_> = chain.answers.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(names, ["DB.orders.db.internal.", "main.orders.db.internal.", "orders.db.internal."]);
    assert_eq!(chain.answers[2].data.ip_addr(), Some(ip(1)));
    assert_eq!(ask("db.orders.db.internal.", RecordType::CNAME).answers.len(), 1);
    let away = ask("away.orders.db.internal.", RecordType::A);
    assert_eq!((code(&away), away.answers.len(), away.authorities.len()), (ResponseCode::NoError, 1, 0));
    let lost = ask("lost.orders.db.internal.", RecordType::A);
    assert_eq!((code(&lost), lost.answers.len(), lost.authorities.len()), (ResponseCode::NXDomain, 1, 1));
    assert!(ask("circle.orders.db.internal.", RecordType::A).answers.len() < 10);

    // A cut route takes its own addresses with it, through a chain as well, and nothing else.
    resolver.serve(&[&with_states(&route, &[Fenced, Standby])]);
    let cut = resolver.ask("db.orders.db.internal.", RecordType::A);
    assert!(cut.answers.iter().all(|it| it.data.ip_addr().is_none()));
    assert_eq!(cut.authorities[0].ttl, 0);
    assert_eq!(resolver.ask("admin.orders.db.internal.", RecordType::AAAA).answers.len(), 1);
}

#[test]
fn what_does_not_fit_is_truncated_and_comes_whole_over_tcp() {
    let mut resolver = Resolver::new();
    resolver.serve(&[&with_records()]);
    let mut query = question("long.orders.db.internal.", RecordType::TXT);
    let plain = query.to_vec().unwrap();
    query.set_edns(Edns::new());
    for (packet, limit) in [(plain, 512), (query.to_vec().unwrap(), 1232)] {
        let reply = resolver.send(&packet);
        assert!(reply.metadata.truncation);
        assert!(reply.to_vec().unwrap().len() <= limit);
        assert_eq!(reply.edns.is_some(), limit == 1232);
        let whole = resolver.send_over_tcp(&packet);
        assert!(!whole.metadata.truncation);
        assert_eq!(whole.answers.len(), 8);
    }
}

#[test]
fn clients_get_the_targets_that_are_near_to_them() {
    let mut resolver = Resolver::new();
    for policy in [Location, Latency] {
        let mut route = named(false, policy, vec![at(1, Serving), at(2, Serving), at(3, Serving), at(4, Serving)]);
        let near = |clients: &str, targets: &[&str]| NearEntry {
            clients: vec![clients.parse().unwrap()],
            targets: targets.iter().map(|it| (*it).to_owned()).collect(),
        };
        if let Some(dns) = &mut route.dns {
            dns.near = vec![near("10.1.0.0/16", &["i3", "i2"]), near("127.0.0.0/8", &["i4"])];
        }
        resolver.serve(&[&route]);
        let ask = |resolver: &Resolver, network: &str| {
            let mut query = question("orders.db.internal.", RecordType::A);
            let mut edns = Edns::new();
            edns.options_mut().insert(EdnsOption::Subnet(network.parse().unwrap()));
            query.set_edns(edns);
            let reply = resolver.send(&query.to_vec().unwrap());
            let Some(EdnsOption::Subnet(subnet)) = reply.edns.as_ref().unwrap().option(EdnsCode::Subnet).cloned()
            else {
                panic!("no subnet in {reply:?}");
            };
            let mut ips: Vec<_> = reply.answers.iter().filter_map(|it| it.data.ip_addr()).collect();
            ips.sort();
            (ips, subnet.source_prefix(), subnet.scope_prefix())
        };
        let near = if policy == Location { vec![ip(2), ip(3)] } else { vec![ip(3)] };
        assert_eq!(ask(&resolver, "10.1.7.0/24"), (near, 24, 16));
        assert_eq!(ask(&resolver, "192.0.2.0/24"), (vec![ip(1)], 24, 1), "nobody is near: the first");
        assert_eq!(resolver.addresses("orders.db.internal."), [ip(4)], "without a network whoever asks counts");
        resolver.serve(&[&with_states(&route, &[Serving, Serving, Down, Down])]);
        assert_eq!(ask(&resolver, "10.1.7.0/24").0, [ip(2)]);
        resolver.serve(&[&with_states(&route, &[Serving, Down, Down, Down])]);
        assert_eq!(ask(&resolver, "10.1.7.0/24").0, [ip(1)], "far is better than nothing");
        route.exclusive = true;
        resolver.serve(&[&with_states(&route, &[Standby, Serving, Standby, Standby])]);
        assert_eq!(ask(&resolver, "10.1.7.0/24"), (vec![ip(2)], 24, 0), "an exclusive name has one answer for all");
    }
}

#[test]
fn over_its_limit_a_network_is_told_to_come_over_tcp() {
    let mut resolver = Resolver::new();
    let route = named(true, Failover, vec![at(1, Serving)]);
    let limit = RateLimit { answers: 1, slip: 1, exempt: Vec::new() };
    let limited = RoutingTable { dns_rate_limit: Some(limit), dns_listen: Some(resolver.dns), ..table(1, &[&route]) };
    resolver.agent.apply(&limited);
    let packet = question("orders.db.internal.", RecordType::A).to_vec().unwrap();
    let replies: Vec<_> = (0..20).map(|_| resolver.send(&packet)).collect();
    assert!(!replies[0].metadata.truncation);
    let truncated = replies.iter().find(|it| it.metadata.truncation).expect("20 questions in a second are over 1");
    assert_eq!((truncated.answers.len(), truncated.queries.len(), truncated.metadata.id), (0, 1, 4711));
    assert_eq!(resolver.send_over_tcp(&packet).answers.len(), 1);
}
