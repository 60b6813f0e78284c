//! Lowering guards of the site, rules, evacuations, drills, further agents, and what is prepared.

use std::time::Duration;

use super::components::{location, location_at};
use super::fields::{At, Cx, Fields, items};
use super::grammar::{
    AGENT, BLAST_RADIUS, CACHE_ENTRY, COORDINATION, CREDENTIAL, DRILL, EVACUATED, EVACUATION, LEASE, PERSON,
    SITE_GUARDS, STORM_BRAKE, ZONE_CAPACITY,
};
use super::raw::{RawDrill, RawEvacuated, RawEvacuation};
use super::scalar::show_duration;
use super::tree::{Entry, Node};
use super::values;
use crate::agents::{Agent, AgentRole, Alone, Coordination, Lease, StoreKind};
use crate::drill::DrillKind;
use crate::evacuation::{Variant, ZoneCapacity};
use crate::finding::{Code, Finding, Span};
use crate::location::Location;
use crate::policy::{BlastRadius, Person, SiteGuards, StormBrake};
use crate::prepared::{Prepared, PreparedKind};

/// Credentials and cache entries; they live with the agent, unless they say otherwise.
pub(super) fn prepared<'a>(
    cx: &'a Cx<'a>,
    credentials: &'a [Entry],
    cache: &'a [Entry],
    home: &Location,
) -> Vec<(Prepared, Span)> {
    let place = |fields: &mut Fields<'a>| fields.take("location").map(|it| location_at(cx, it));
    let credential = |entry: &'a Entry| {
        let what = format!("credential `{}`", entry.key);
        let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, what, &CREDENTIAL);
        let file = fields.read("file", values::path).unwrap_or_default();
        let location = place(&mut fields).unwrap_or_else(|| home.clone());
        fields.finish();
        (Prepared { name: entry.key.to_string(), kind: PreparedKind::Credential, file, location }, entry.key_span)
    };
    let cached = |entry: &'a Entry| {
        let what = format!("cache entry `{}`", entry.key);
        let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, what, &CACHE_ENTRY);
        let file = fields.read("file", values::path).unwrap_or_default();
        let kind = PreparedKind::CacheEntry { max_age: fields.duration("max_age") };
        let location = place(&mut fields).unwrap_or_else(|| home.clone());
        fields.finish();
        (Prepared { name: entry.key.to_string(), kind, file, location }, entry.key_span)
    };
    credentials.iter().map(credential).chain(cache.iter().map(cached)).collect()
}

pub(super) fn site_guards<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> SiteGuards {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "these guards of the site", &SITE_GUARDS);
    let guards = SiteGuards {
        storm_brake: fields.take("storm_brake").map(|it| {
            let mut inner = Fields::open(cx, Some(&it.node), it.key_span, "this storm brake", &STORM_BRAKE);
            let brake = StormBrake { at_most: inner.number("at_most"), within: inner.duration("within") };
            inner.finish();
            brake
        }),
        blast_radius: fields.take("blast_radius").map(|it| {
            let mut inner = Fields::open(cx, Some(&it.node), it.key_span, "this blast radius", &BLAST_RADIUS);
            let share_ppm = inner.read("share", values::percent_ppm).unwrap_or(1_000_000);
            let radius = BlastRadius { share_ppm, always: inner.number("always") };
            inner.finish();
            radius
        }),
        minimum_healthy: fields.maybe_number("minimum_healthy"),
    };
    fields.finish();
    guards
}

/// One evacuation: `NAME: {…}`.
pub(super) fn evacuation<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawEvacuation {
    let what = format!("evacuation `{}`", entry.key);
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, what, &EVACUATION);
    let nowhere = RawEvacuated { at: entry.key_span, region: None, zone: None };
    let evacuation = RawEvacuation {
        name: At { value: entry.key.to_string(), span: entry.key_span },
        of: fields.take("of").map_or(nowhere, |it| {
            let mut inner = Fields::open(cx, Some(&it.node), it.key_span, "what is evacuated", &EVACUATED);
            let region = inner.read("region", values::at_text);
            let zone = inner.read("zone", values::at_text);
            inner.finish();
            RawEvacuated { at: it.key_span, region, zone }
        }),
        variant: fields.word("variant", &Variant::ALL, Variant::word).unwrap_or(Variant::Graceful),
        at_once: fields.number("at_once"),
        first: fields.read("first", values::names).unwrap_or_default(),
        capacity: fields
            .read("capacity", items)
            .map(|it| it.iter().map(|it| capacity(cx, it)).collect())
            .unwrap_or_default(),
        parts: fields.read("parts", values::names).unwrap_or_default(),
    };
    fields.finish();
    evacuation
}

fn capacity<'a>(cx: &'a Cx<'a>, node: &'a Node) -> At<ZoneCapacity> {
    let mut fields = Fields::open(cx, Some(node), node.spot(), "this capacity", &ZONE_CAPACITY);
    let value = ZoneCapacity {
        region: fields.text("region").unwrap_or_default(),
        zone: fields.text("zone").unwrap_or_default(),
        units: fields.number("units"),
    };
    let span = fields.place("zone").unwrap_or(node.spot());
    fields.finish();
    At { value, span }
}

/// One drill: `NAME: {…}`.
pub(super) fn drill<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawDrill {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("drill `{}`", entry.key), &DRILL);
    let drill = RawDrill {
        name: At { value: entry.key.to_string(), span: entry.key_span },
        kind: fields.word("kind", &DrillKind::ALL, DrillKind::word).unwrap_or(DrillKind::Tabletop),
        components: fields.read("components", values::names),
        every: fields.duration("every"),
    };
    fields.finish();
    drill
}

/// One person: `NAME: {…}`.
pub(super) fn person<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Person {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("person `{}`", entry.key), &PERSON);
    let roles = fields.read("roles", values::names).unwrap_or_default();
    fields.finish();
    Person { name: entry.key.to_string(), roles: roles.into_iter().map(|it| it.value).collect() }
}

/// One further agent: `NAME: {…}`.
pub(super) fn agent<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Agent {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("agent `{}`", entry.key), &AGENT);
    let role = fields.word("role", &AgentRole::ALL, AgentRole::word).unwrap_or(AgentRole::Hands);
    let location = location(&mut fields);
    fields.finish();
    Agent { name: entry.key.to_string(), location, role }
}

pub(super) fn coordination<'a>(cx: &'a Cx<'a>, entry: &'a Entry, lateness: Duration) -> Option<Coordination> {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "the coordination", &COORDINATION);
    let store = fields.word("store", &StoreKind::ALL, StoreKind::word);
    let location = fields.take("location").map(|it| location_at(cx, it));
    let leased = fields.take("lease");
    let lease = lease(cx, leased, entry.key_span, lateness);
    let alone = fields.word("alone", &Alone::ALL, Alone::word).unwrap_or(Alone::Hold);
    fields.finish();
    Some(Coordination { store: store?, location: location?, lease, alone })
}

/// An agent that was stopped must be awake, and find that its lease is over, before anybody else gets it.
fn lease<'a>(cx: &'a Cx<'a>, entry: Option<&'a Entry>, at: Span, lateness: Duration) -> Lease {
    let at = entry.map_or(at, |it| it.key_span);
    let mut fields = Fields::open(cx, entry.map(|it| &it.node), at, "this lease", &LEASE);
    let lease =
        Lease { renew: fields.duration("renew"), expires: fields.duration("expires"), drift: fields.duration("drift") };
    let span = fields.place("expires").unwrap_or(at);
    fields.finish();
    let (renew, expires, drift) = (lease.renew, lease.expires, lease.drift);
    let takes = renew + lateness + drift;
    let sum = || {
        let parts = [("renew", renew), ("the allowance lateness", lateness), ("drift", drift)];
        parts.map(|(name, it)| format!("{name} {}", show_duration(it))).join(" + ")
    };
    if takes >= expires {
        let message = format!("a lease of {} is over before it is renewed", show_duration(expires));
        cx.report(
            Finding::new(Code::LeaseTooShort, span, message)
                .label(format!("{} are {}", sum(), show_duration(takes)))
                .help(format!("write more than {}: `expires: {}`", show_duration(takes), show_duration(takes * 2))),
        );
    } else if takes + renew >= expires {
        let message = format!("a lease of {} is lost with one answer", show_duration(expires));
        cx.report(
            Finding::new(Code::LeaseOneTry, span, message)
                .label("too short for a second try")
                .help(format!("let two tries fit: `expires: {}`", show_duration((takes + renew) * 3 / 2))),
        );
    }
    lease
}
