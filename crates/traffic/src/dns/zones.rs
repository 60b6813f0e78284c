//! The names that a table answers for, and what stands at them beside the routes' own addresses.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SRV, TXT};
use hickory_proto::rr::{LowerName, Name, RData};
use mainstay_plan::route::DnsData;
use mainstay_plan::routing::{DnsEntry, RoutingTable};

/// Bytes of one string of a TXT record (RFC 1035, 3.3).
const STRING_BYTES: usize = 255;

/// The names that a table answers for.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    by_name: HashMap<LowerName, Zone>,
    /// Names above a zone that aren't zones: they exist without records (RFC 8020).
    above: HashSet<LowerName>,
}

/// A route's name and what is below it.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) route: String,
    pub(super) dns: DnsEntry,
    pub(super) apex: Name,
    pub(super) server: Name,
    pub(super) contact: Name,
    /// By name: the plan's own records, the name servers, and the address of ours.
    records: HashMap<LowerName, Vec<RData>>,
    /// Names between a record and the apex that hold nothing.
    between: HashSet<LowerName>,
}

/// What stands at a name of a zone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// These records, and at the apex the route's addresses and the SOA.
    Records(&'a [RData]),
    /// The name exists and holds nothing.
    Nothing,
    /// There is no such name.
    Missing,
}

impl Zones {
    /// Reads the names of a table; the error names the route of which one isn't one.
    pub(crate) fn new(table: &RoutingTable) -> Result<Zones, String> {
        let server = table.dns_listen.map(|it| it.ip()).filter(|it| !it.is_unspecified());
        let mut zones = Zones::default();
        for route in &table.routes {
            let Some(dns) = &route.dns else { continue };
            let wrong = |reason: String| format!("route `{}` has {reason}", route.name);
            let zone = Zone::new(&route.name, dns, server).map_err(wrong)?;
            let apex = LowerName::new(&zone.apex);
            let mut above = apex.base_name();
            while !above.is_root() {
                zones.above.insert(above.clone());
                above = above.base_name();
            }
            if zones.by_name.insert(apex, zone).is_some() {
                return Err(wrong(format!("the DNS name `{}`, which another route has, too", dns.name)));
            }
        }
        Ok(zones)
    }

    /// The zone that a name is in, from the nearest apex.
    pub(super) fn enclosing(&self, name: &LowerName) -> Option<&Zone> {
        let mut name = name.clone();
        while !name.is_root() {
            if let Some(zone) = self.by_name.get(&name) {
                return Some(zone);
            }
            name = name.base_name();
        }
        None
    }

    /// What stands at a name of `zone`.
    pub(super) fn find<'a>(&self, zone: &'a Zone, name: &LowerName) -> Found<'a> {
        match zone.records.get(name) {
            Some(records) => Found::Records(records),
            None if zone.between.contains(name) || self.above.contains(name) => Found::Nothing,
            None => Found::Missing,
        }
    }
}

impl Zone {
    fn new(route: &str, dns: &DnsEntry, server: Option<IpAddr>) -> Result<Zone, String> {
        let apex = parse(&dns.name)?;
        if apex.is_root() {
            return Err("the root as its DNS name".to_owned());
        }
        let below = |label: &str| apex.prepend_label(label).map_err(|error| is_none(&dns.name, &error));
        let mut zone = Zone {
            route: route.to_owned(),
            dns: dns.clone(),
            server: below("ns")?,
            contact: below("hostmaster")?,
            apex,
            records: HashMap::new(),
            between: HashSet::new(),
        };
        // The apex is there whatever the plan says of it.
        zone.records.insert(LowerName::new(&zone.apex), Vec::new());
        for record in &dns.records {
            let name = parse(&record.name)?;
            if !zone.apex.zone_of(&name) {
                return Err(format!("a record of `{}`, which is not below `{}`", record.name, dns.name));
            }
            zone.add(&name, data(&record.data)?);
        }
        zone.add_server(server);
        Ok(zone)
    }

    /// Our own name server, with the address that it is asked at, unless the plan says where it is. One without an address
    /// is named only where no other is.
    fn add_server(&mut self, server: Option<IpAddr>) {
        let name = LowerName::new(&self.server);
        if let (false, Some(ip)) = (self.records.contains_key(&name), server) {
            self.add(&self.server.clone(), address(ip));
        }
        let is_found = self.records.contains_key(&name);
        let apex = self.records.entry(LowerName::new(&self.apex)).or_default();
        if is_found || !apex.iter().any(|it| matches!(it, RData::NS(_))) {
            apex.insert(0, RData::NS(NS(self.server.clone())));
        }
    }

    fn add(&mut self, name: &Name, data: RData) {
        let name = LowerName::new(name);
        let apex = LowerName::new(&self.apex);
        let mut above = name.clone();
        while above != apex {
            above = above.base_name();
            self.between.insert(above.clone());
        }
        self.records.entry(name).or_default().push(data);
    }

    /// Everything but the SOA and the route's addresses: each name with what it says, in an order that stays.
    pub(super) fn all(&self) -> Vec<(&LowerName, &RData)> {
        let mut all: Vec<_> =
            self.records.iter().flat_map(|(name, data)| data.iter().map(move |it| (name, it))).collect();
        all.sort_by_key(|it| it.0);
        all
    }

    /// The addresses that stand at a name, but for the route's own.
    pub(super) fn addresses_at<'a>(&'a self, name: &LowerName) -> impl Iterator<Item = &'a RData> + use<'a> {
        let records = self.records.get(name).into_iter().flatten();
        records.filter(|it| matches!(it, RData::A(_) | RData::AAAA(_)))
    }
}

fn parse(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(text).map_err(|error| is_none(text, &error))?;
    name.set_fqdn(true);
    Ok(name)
}

fn is_none(name: &str, error: &dyn std::fmt::Display) -> String {
    format!("the DNS name `{name}`, which is none: {error}")
}

fn data(data: &DnsData) -> Result<RData, String> {
    Ok(match data {
        DnsData::Address(ip) => address(*ip),
        DnsData::Cname(name) => RData::CNAME(CNAME(parse(name)?)),
        DnsData::Ns(name) => RData::NS(NS(parse(name)?)),
        DnsData::Txt(text) => RData::TXT(TXT::from_bytes(match text.as_bytes() {
            [] => vec![&[]],
            bytes => bytes.chunks(STRING_BYTES).collect(),
        })),
        DnsData::Srv { priority, weight, port, target } => {
            RData::SRV(SRV::new(*priority, *weight, *port, parse(target)?))
        }
    })
}

/// An address record.
pub(super) fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}
