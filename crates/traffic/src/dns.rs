//! Authoritative DNS: one packet in, one packet out. The only file that knows the DNS library.
//!
//! Each route's name is a zone of its own, so that any resolver that is sent here (a delegation, a forward zone) gets
//! complete answers: SOA and NS at the name, its addresses, `ns.` below it, and nothing else. The sockets are in
//! [`crate::dns_sockets`].

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use mainstay_plan::route::SECONDARY_REFRESH;
use mainstay_plan::routing::{DnsEntry, RoutingTable};

use crate::choice;
use crate::live::{Live, Served, ServedRoute, count};

/// What fits through every path without fragments (DNS flag day 2020).
const UDP_MAX_BYTES: u16 = 1232;
/// What a client without EDNS takes (RFC 1035, 4.2.1).
const UDP_PLAIN_BYTES: u16 = 512;
/// How long "there is no such record" may be cached at most, seconds.
const NEGATIVE_TTL_MAX_S: u32 = 60;
/// How long a secondary goes on without us, seconds: longer than any outage of ours should be.
const EXPIRE_S: i32 = 7 * 86_400;
/// Length of a DNS header.
const HEADER_BYTES: usize = 12;

/// How a packet came, which bounds the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    /// From whom.
    Tcp(IpAddr),
}

/// The names that a table answers for.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    by_name: HashMap<LowerName, Zone>,
    /// Names above a zone that aren't zones: they exist without records (RFC 8020).
    above: HashSet<LowerName>,
    /// Where `ns.` below each zone points to.
    server: Option<IpAddr>,
}

#[derive(Debug)]
struct Zone {
    route: String,
    dns: DnsEntry,
    apex: Name,
    server: Name,
    contact: Name,
}

impl Zones {
    /// Reads the names of a table; the error names the route whose name isn't one.
    pub(crate) fn new(table: &RoutingTable) -> Result<Zones, String> {
        let server = table.dns_listen.map(|it| it.ip()).filter(|it| !it.is_unspecified());
        let mut zones = Zones { server, ..Zones::default() };
        for route in &table.routes {
            let Some(dns) = &route.dns else { continue };
            let wrong = |error: &dyn std::fmt::Display| {
                format!("route `{}` has the DNS name `{}`, which is none: {error}", route.name, dns.name)
            };
            let mut apex = Name::from_ascii(&dns.name).map_err(|error| wrong(&error))?;
            apex.set_fqdn(true);
            if apex.is_root() {
                return Err(wrong(&"it is the root"));
            }
            let zone = Zone {
                route: route.name.clone(),
                dns: dns.clone(),
                server: apex.prepend_label("ns").map_err(|error| wrong(&error))?,
                contact: apex.prepend_label("hostmaster").map_err(|error| wrong(&error))?,
                apex: apex.clone(),
            };
            let mut above = apex.base_name();
            while !above.is_root() {
                zones.above.insert(LowerName::new(&above));
                above = above.base_name();
            }
            if zones.by_name.insert(LowerName::new(&apex), zone).is_some() {
                return Err(wrong(&"another route has it too"));
            }
        }
        Ok(zones)
    }

    /// The zone that a name is in, from the nearest apex.
    fn enclosing(&self, name: &LowerName) -> Option<&Zone> {
        let mut name = name.clone();
        while !name.is_root() {
            if let Some(zone) = self.by_name.get(&name) {
                return Some(zone);
            }
            name = name.base_name();
        }
        None
    }
}

/// Answers one packet; `None` where no answer is due (it is an answer itself, or no DNS at all).
pub(crate) fn answer(live: &Live, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let header = packet.get(..HEADER_BYTES)?;
    if header[2] & 0x80 != 0 {
        return None;
    }
    let op_code = OpCode::from_u8((header[2] >> 3) & 0x0f);
    let refuse = |code| encode(&failure(packet, op_code, code), UDP_PLAIN_BYTES);
    if op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    let questions = u16::from_be_bytes([header[4], header[5]]);
    if questions != 1 {
        return refuse(ResponseCode::FormErr);
    }
    let Ok(request) = Message::from_vec(packet) else { return refuse(ResponseCode::FormErr) };
    let [query] = &request.queries[..] else { return refuse(ResponseCode::FormErr) };

    let mut response = Message::response(request.metadata.id, op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.checking_disabled = request.metadata.checking_disabled;
    response.add_query(query.clone());
    if let Some(asked) = &request.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX_BYTES).set_dnssec_ok(asked.flags().dnssec_ok);
        response.set_edns(edns);
    }
    if request.edns.as_ref().is_some_and(|it| it.version() != 0) {
        response.metadata.response_code = ResponseCode::BADVERS;
    } else {
        resolve(live, query, transport, &mut response);
    }
    let limit = match (transport, &request.edns) {
        (Transport::Tcp(_), _) => u16::MAX,
        (Transport::Udp, None) => UDP_PLAIN_BYTES,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(UDP_PLAIN_BYTES, UDP_MAX_BYTES),
    };
    encode(&response, limit)
}

fn failure(packet: &[u8], op_code: OpCode, code: ResponseCode) -> Message {
    let mut response = Message::error_msg(u16::from_be_bytes([packet[0], packet[1]]), op_code, code);
    response.metadata.recursion_desired = packet[2] & 1 != 0;
    response
}

fn encode(message: &Message, max_bytes: u16) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::from(UDP_PLAIN_BYTES));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(max_bytes);
    message.emit(&mut encoder).ok()?;
    Some(bytes)
}

fn resolve(live: &Live, query: &Query, transport: Transport, response: &mut Message) {
    let served = live.served();
    let name = LowerName::new(&query.name);
    let is_transfer = matches!(query.query_type, RecordType::AXFR | RecordType::IXFR);
    // A zone is copied as a whole, by those that are named.
    let may = |zone: &Zone| match transport {
        _ if !is_transfer => true,
        Transport::Tcp(client) => {
            let client = client.to_canonical();
            is_same(&query.name, &zone.apex) && served.table.secondaries.iter().any(|it| it.ip() == client)
        }
        Transport::Udp => false,
    };
    let zone = served.zones.enclosing(&name).filter(|zone| query.query_class == DNSClass::IN && may(zone));
    let Some(zone) = zone else {
        response.metadata.response_code = ResponseCode::Refused;
        return;
    };
    let Some(route) = served.named(&zone.route) else {
        response.metadata.response_code = ResponseCode::ServFail;
        return;
    };
    count(&route.counts.dns_answers);
    response.metadata.authoritative = true;
    let served_here = Here { live, served: &served, zone, route, query };
    if is_transfer {
        served_here.whole(response);
    } else if is_same(&query.name, &zone.apex) {
        served_here.apex(response);
    } else if is_same(&query.name, &zone.server) {
        served_here.name_server(response);
    } else {
        if !served.zones.above.contains(&name) {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        served_here.nothing(response);
    }
}

/// One question, the zone that it falls into and the route behind it.
struct Here<'a> {
    live: &'a Live,
    served: &'a Served,
    zone: &'a Zone,
    route: &'a ServedRoute,
    query: &'a Query,
}

impl Here<'_> {
    fn apex(&self, response: &mut Message) {
        let (zone, asked) = (self.zone, self.query.query_type);
        // Any subset of the records answers ANY (RFC 8482): the addresses do.
        let is_any = asked == RecordType::ANY;
        for (record_type, v4) in [(RecordType::A, true), (RecordType::AAAA, false)] {
            if asked == record_type || is_any {
                for ip in self.addresses(v4) {
                    response.add_answer(self.record(zone.dns.ttl_s, address(ip)));
                }
            }
        }
        if asked == RecordType::SOA {
            response.add_answer(self.record(zone.dns.ttl_s, self.soa()));
        }
        if asked == RecordType::NS {
            response.add_answer(self.record(zone.dns.ttl_s, RData::NS(NS(zone.server.clone()))));
            if let Some(ip) = self.served.zones.server {
                let glue = Record::from_rdata(zone.server.clone(), zone.dns.ttl_s, address(ip));
                response.add_additional(glue);
            }
        }
        if response.answers.is_empty() {
            self.nothing(response);
        }
    }

    fn name_server(&self, response: &mut Message) {
        let asked = self.query.query_type;
        let of_type = |ip: &IpAddr| {
            let own = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
            asked == own || asked == RecordType::ANY
        };
        match self.served.zones.server.filter(of_type) {
            Some(ip) => {
                response.add_answer(self.record(self.zone.dns.ttl_s, address(ip)));
            }
            None => self.nothing(response),
        }
    }

    /// All records, between two of the SOA (RFC 5936): what differs between two of them, a copy can't hold.
    fn whole(&self, response: &mut Message) {
        let (zone, ttl_s) = (self.zone, self.zone.dns.ttl_s);
        let at_apex = |data| Record::from_rdata(zone.apex.clone(), ttl_s, data);
        response.add_answer(at_apex(self.soa()));
        response.add_answer(at_apex(RData::NS(NS(zone.server.clone()))));
        if let Some(ip) = self.served.zones.server {
            response.add_answer(Record::from_rdata(zone.server.clone(), ttl_s, address(ip)));
        }
        for ip in copied(self.live, self.served, self.route) {
            response.add_answer(at_apex(address(ip)));
        }
        response.add_answer(at_apex(self.soa()));
    }

    /// The SOA that says how long "nothing" may be believed (RFC 2308).
    fn nothing(&self, response: &mut Message) {
        let soa = Record::from_rdata(self.zone.apex.clone(), self.negative_ttl_s(), self.soa());
        response.add_authority(soa);
    }

    fn addresses(&self, v4: bool) -> Vec<IpAddr> {
        if self.live.is_cut(self.served, &self.route.entry) {
            return Vec::new();
        }
        choice::addresses(&self.route.entry, v4, random())
    }

    /// 0 while the route has no address at all: a takeover is then under way, and nobody may remember its gap.
    fn negative_ttl_s(&self) -> u32 {
        let cut = self.live.is_cut(self.served, &self.route.entry);
        let empty = cut || !choice::has_addresses(&self.route.entry);
        if empty { 0 } else { self.zone.dns.ttl_s.min(NEGATIVE_TTL_MAX_S) }
    }

    fn soa(&self) -> RData {
        let zone = self.zone;
        // The serial is the epoch in serial number arithmetic (RFC 1982): it may wrap.
        let serial = u32::try_from(self.served.table.epoch & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let refresh = i32::try_from(SECONDARY_REFRESH.as_secs()).unwrap_or(i32::MAX);
        let (refresh_s, retry_s, expire_s) = (refresh, refresh / 2, EXPIRE_S);
        let (server, contact) = (zone.server.clone(), zone.contact.clone());
        RData::SOA(SOA::new(server, contact, serial, refresh_s, retry_s, expire_s, self.negative_ttl_s()))
    }

    /// A record at the name as the client wrote it, in its case.
    fn record(&self, ttl_s: u32, data: RData) -> Record {
        Record::from_rdata(self.query.name.clone(), ttl_s, data)
    }
}

/// What a copy of a zone answers at its name.
fn copied(live: &Live, served: &Served, route: &ServedRoute) -> Vec<IpAddr> {
    if live.is_cut(served, &route.entry) {
        return Vec::new();
    }
    [true, false].into_iter().flat_map(|v4| choice::addresses_to_copy(&route.entry, v4)).collect()
}

/// What each zone's copies hold, by its name.
pub(crate) fn contents(live: &Live, served: &Served) -> Vec<(String, Vec<IpAddr>)> {
    let named = served.routes().iter().filter_map(|it| Some((it.entry.dns.as_ref()?.name.clone(), it)));
    named.map(|(name, route)| (name, copied(live, served, route))).collect()
}

/// Tells a secondary that the zone has changed (RFC 1996); `None` for a name that is none.
pub(crate) fn notification(zone: &str, id: u16) -> Option<Vec<u8>> {
    let mut apex = Name::from_ascii(zone).ok()?;
    apex.set_fqdn(true);
    let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(apex, RecordType::SOA));
    message.to_vec().ok()
}

/// Whether this is the answer to the notification with this number.
pub(crate) fn is_notified(packet: &[u8], id: u16) -> bool {
    packet.len() >= HEADER_BYTES && packet[..2] == id.to_be_bytes() && packet[2] & 0xf8 == 0x80 | (4 << 3)
}

fn is_same(one: &Name, other: &Name) -> bool {
    one.num_labels() == other.num_labels() && one.zone_of(other)
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// Spreads answers over targets; it protects nothing, so a counter behind a mixing function (SplitMix64) is enough.
fn random() -> u64 {
    static SEED: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().build_hasher().finish()));
    let mut z = SEED.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
