//! Authoritative DNS: one packet in, one packet out. Only this file and those below it know the DNS library.
//!
//! Each route's name is a zone of its own, so that any resolver that is sent here (a delegation, a forward zone) gets
//! complete answers: SOA and NS at the name, its addresses, `ns.` below it, the plan's own records, and nothing else. The
//! sockets are in [`crate::dns_sockets`].

#[cfg(test)]
mod fuzz;
mod subnet;
mod zones;

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use mainstay_plan::route::SECONDARY_REFRESH;
use mainstay_plan::routing::DnsEntry;

use self::subnet::Asker;
pub(crate) use self::zones::Zones;
use self::zones::{Found, Zone, address};
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
/// Names that one answer leads through, by CNAME. A circle ends here.
const CHAIN_MAX: usize = 8;

/// How a packet came and from whom, which bounds the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp(IpAddr),
    Tcp(IpAddr),
}

impl Transport {
    const fn client(self) -> IpAddr {
        match self {
            Transport::Udp(ip) | Transport::Tcp(ip) => ip,
        }
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
    let asker = Asker::new(request.edns.as_ref(), transport.client());
    let mut scope = 0;
    match (&asker, &request.edns) {
        (_, Some(edns)) if edns.version() != 0 => response.metadata.response_code = ResponseCode::BADVERS,
        (Err(subnet::Malformed), _) => response.metadata.response_code = ResponseCode::FormErr,
        (Ok(asker), _) => scope = resolve(live, query, asker, transport, &mut response),
    }
    if let Some(asked) = &request.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX_BYTES).set_dnssec_ok(asked.flags().dnssec_ok);
        if let Some(option) = asker.ok().and_then(|it| it.option(scope)) {
            edns.options_mut().insert(option);
        }
        response.set_edns(edns);
    }
    let limit = match (transport, &request.edns) {
        (Transport::Tcp(_), _) => u16::MAX,
        (Transport::Udp(_), None) => UDP_PLAIN_BYTES,
        (Transport::Udp(_), Some(edns)) => edns.max_payload().clamp(UDP_PLAIN_BYTES, UDP_MAX_BYTES),
    };
    encode(&response, limit)
}

/// What a client is told that gets no answer over UDP: to come back over TCP. `None` where no answer is due.
pub(crate) fn truncated(packet: &[u8]) -> Option<Vec<u8>> {
    let header = packet.get(..HEADER_BYTES)?;
    let is_question = header[2] & 0xf8 == 0;
    if !is_question {
        return None;
    }
    let request = Message::from_vec(packet).ok().filter(|it| it.queries.len() == 1)?;
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.truncation = true;
    response.add_query(request.queries.into_iter().next()?);
    encode(&response, UDP_PLAIN_BYTES)
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

/// Answers a question, and says for how many bits of the asker's address the answer holds.
fn resolve(live: &Live, query: &Query, asker: &Asker, transport: Transport, response: &mut Message) -> u8 {
    let served = live.served();
    let is_transfer = matches!(query.query_type, RecordType::AXFR | RecordType::IXFR);
    // A zone is copied as a whole, by those that are named.
    let may = |zone: &Zone| match transport {
        _ if !is_transfer => true,
        Transport::Tcp(client) => {
            let client = client.to_canonical();
            is_same(&query.name, &zone.apex) && served.table.secondaries.iter().any(|it| it.ip() == client)
        }
        Transport::Udp(_) => false,
    };
    let scope = Cell::new(0);
    let mut name = query.name.clone();
    for hop in 0..CHAIN_MAX {
        let lower = LowerName::new(&name);
        let zone = served.zones.enclosing(&lower).filter(|zone| query.query_class == DNSClass::IN && may(zone));
        let Some(zone) = zone else {
            // What a chain leads to elsewhere is asked for elsewhere.
            if hop == 0 {
                response.metadata.response_code = ResponseCode::Refused;
            }
            break;
        };
        let Some(route) = served.named(&zone.route) else {
            response.metadata.response_code = ResponseCode::ServFail;
            break;
        };
        if hop == 0 {
            count(&route.counts.dns_answers);
            response.metadata.authoritative = true;
        }
        let here =
            Here { live, served: &served, zone, route, asker, asked: query.query_type, name: &name, scope: &scope };
        if is_transfer {
            here.whole(response);
            break;
        }
        let Some(next) = here.answer(&lower, response) else { break };
        name = next;
    }
    scope.get()
}

/// One name that is looked up, the zone that it falls into and the route behind it.
struct Here<'a> {
    live: &'a Live,
    served: &'a Served,
    zone: &'a Zone,
    route: &'a ServedRoute,
    asker: &'a Asker,
    asked: RecordType,
    /// As the client wrote it, in its case, or as a record led to it.
    name: &'a Name,
    /// For how many bits of the asker's address the answer holds.
    scope: &'a Cell<u8>,
}

impl Here<'_> {
    /// Answers, or says by which other name it goes on.
    fn answer(&self, lower: &LowerName, response: &mut Message) -> Option<Name> {
        let (asked, before) = (self.asked, response.answers.len());
        // One set of records answers ANY, and that is enough (RFC 8482).
        let wants = |so_far: &[Record], record_type| match so_far.get(before) {
            _ if asked == record_type => true,
            one => asked == RecordType::ANY && one.is_none_or(|it| it.record_type() == record_type),
        };
        let records = match self.served.zones.find(self.zone, lower) {
            Found::Records(records) => records,
            Found::Nothing => &[],
            Found::Missing => {
                response.metadata.response_code = ResponseCode::NXDomain;
                &[]
            }
        };
        if is_same(self.name, &self.zone.apex) {
            for (record_type, v4) in [(RecordType::A, true), (RecordType::AAAA, false)] {
                if wants(&response.answers, record_type) {
                    for ip in self.addresses(v4) {
                        response.add_answer(self.record(address(ip)));
                    }
                }
            }
            if wants(&response.answers, RecordType::SOA) {
                response.add_answer(self.record(self.soa()));
            }
        }
        for data in records {
            let leads_on = !matches!(asked, RecordType::CNAME | RecordType::ANY);
            if let (RData::CNAME(to), true) = (data, leads_on) {
                response.add_answer(self.record(data.clone()));
                return Some(to.0.clone());
            }
            if wants(&response.answers, data.record_type()) {
                response.add_answer(self.record(data.clone()));
                self.beside(data, response);
            }
        }
        if response.answers.len() == before {
            self.nothing(response);
        }
        None
    }

    /// The addresses of what a record names in the same zone: who asks for the one needs the other.
    fn beside(&self, data: &RData, response: &mut Message) {
        let (RData::NS(hickory_proto::rr::rdata::NS(target))
        | RData::SRV(hickory_proto::rr::rdata::SRV { target, .. })) = data
        else {
            return;
        };
        if !self.zone.apex.zone_of(target) {
            return;
        }
        let add = |response: &mut Message, data| {
            response.add_additional(Record::from_rdata(target.clone(), self.zone.dns.ttl_s, data));
        };
        for data in self.zone.addresses_at(&LowerName::new(target)) {
            add(response, data.clone());
        }
        if is_same(target, &self.zone.apex) {
            for ip in [true, false].into_iter().flat_map(|v4| self.addresses(v4)) {
                add(response, address(ip));
            }
        }
    }

    /// All records, between two of the SOA (RFC 5936): what differs between two of them, a copy can't hold.
    fn whole(&self, response: &mut Message) {
        let (zone, ttl_s) = (self.zone, self.zone.dns.ttl_s);
        let at_apex = |data| Record::from_rdata(zone.apex.clone(), ttl_s, data);
        response.add_answer(at_apex(self.soa()));
        for (name, data) in zone.all() {
            response.add_answer(Record::from_rdata(name.into(), ttl_s, data.clone()));
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
        let mut near = None;
        if choice::asks_for_whom(&self.route.entry) {
            let (nearest, scope) = self.asker.nearest(&self.zone.dns.near);
            self.scope.set(self.scope.get().max(scope));
            near = nearest;
        }
        choice::addresses(&self.route.entry, v4, near, random())
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

    /// A record at the name that is looked up.
    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), self.zone.dns.ttl_s, data)
    }
}

/// What a copy of a zone answers at its name.
fn copied(live: &Live, served: &Served, route: &ServedRoute) -> Vec<IpAddr> {
    if live.is_cut(served, &route.entry) {
        return Vec::new();
    }
    [true, false].into_iter().flat_map(|v4| choice::addresses_to_copy(&route.entry, v4)).collect()
}

/// What each zone's copies hold.
pub(crate) fn contents(live: &Live, served: &Served) -> Vec<(DnsEntry, Vec<IpAddr>)> {
    let named = served.routes().iter().filter_map(|it| Some((it.entry.dns.clone()?, it)));
    named.map(|(dns, route)| (dns, copied(live, served, route))).collect()
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

/// Spreads answers over targets; it protects nothing, so a counter behind a mixing function (SplitMix64) is enough.
fn random() -> u64 {
    static SEED: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().build_hasher().finish()));
    let mut z = SEED.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
