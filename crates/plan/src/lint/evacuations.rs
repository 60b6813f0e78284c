//! Evacuations: whether there is room for what moves, whether the site's guards let it move, and zones without one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reading::{Reading, listed, zone};
use crate::assess::percent;
use crate::component::{Component, Criticality};
use crate::config::scalar::show_duration;
use crate::evacuation::Evacuation;
use crate::finding::{Code, Finding};
use crate::location::Location;
use crate::topology::{Domain, DomainIx, Topology};

const HELD_BACK: &str = "a guard against recoveries that nobody meant holds back those that were planned";

type Zone<'a> = (&'a str, &'a str);

/// The components that live in one zone.
#[derive(Default)]
struct Residents<'a> {
    all: Vec<&'a Component>,
    units: u64,
}

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    if reading.plan.evacuations.is_empty() {
        return;
    }
    let mut zones: BTreeMap<Zone<'_>, Residents<'_>> = BTreeMap::new();
    for (_, component) in reading.components() {
        let original = reading.original(component);
        let Some(zone) = zone(&original.location) else { continue };
        let residents = zones.entry(zone).or_default();
        residents.all.push(component);
        residents.units += u64::from(original.capacity);
    }
    let topology = Topology::of(reading.plan);
    let mut largest: Option<(&Evacuation, usize, usize)> = None;
    for evacuation in &reading.plan.evacuations {
        let lost: Vec<&Component> = zones
            .iter()
            .filter(|(zone, _)| loses(evacuation, **zone))
            .flat_map(|(_, it)| it.all.iter().copied())
            .collect();
        room(reading, evacuation, &lost, &zones, findings);
        findings.extend(never_told(reading, evacuation, &topology));
        let moving = lost.iter().filter(|it| goes_to(reading, evacuation, it).is_some()).count();
        if largest.is_none_or(|(_, most, _)| moving > most) {
            largest = Some((evacuation, moving, lost.len()));
        }
    }
    if let Some((evacuation, moving, lost)) = largest {
        findings.extend(storm_brake(reading, evacuation, moving));
        findings.extend(blast_radius(reading, evacuation, moving, lost));
    }
    without_one(reading, &zones, findings);
}

fn loses(evacuation: &Evacuation, zone: Zone<'_>) -> bool {
    evacuation.region == zone.0 && evacuation.zone.as_deref().is_none_or(|it| it == zone.1)
}

/// What an evacuation loses, for people.
fn name_of(evacuation: &Evacuation) -> String {
    Location { region: evacuation.region.clone(), zone: evacuation.zone.clone(), host: None }.to_string()
}

/// The zone that a component moves to, and what it takes there.
fn goes_to<'a>(reading: &Reading<'a>, evacuation: &Evacuation, component: &Component) -> Option<(Zone<'a>, u32)> {
    let standbys = reading.standbys(component).map(|it| reading.plan.instance(it));
    standbys.filter_map(|it| Some((zone(&it.location)?, it.capacity))).find(|(zone, _)| !loses(evacuation, *zone))
}

fn room(
    reading: &Reading<'_>,
    evacuation: &Evacuation,
    lost: &[&Component],
    zones: &BTreeMap<Zone<'_>, Residents<'_>>,
    findings: &mut Vec<Finding>,
) {
    let mut arrivals: BTreeMap<Zone<'_>, (u64, Vec<&str>)> = BTreeMap::new();
    for component in lost {
        let Some((zone, units)) = goes_to(reading, evacuation, component) else { continue };
        let arriving = arrivals.entry(zone).or_default();
        arriving.0 += u64::from(units);
        arriving.1.push(&component.name);
    }
    for (nth, capacity) in evacuation.capacity.iter().enumerate() {
        let there = (capacity.region.as_str(), capacity.zone.as_str());
        let Some((arriving, names)) = arrivals.get(&there) else { continue };
        let residents = zones.get(&there).map_or(0, |it| it.units);
        let needed = arriving + residents;
        if needed <= u64::from(capacity.units) {
            continue;
        }
        let path = ["evacuations", &evacuation.name, "capacity", &nth.to_string(), "units"];
        findings.push(
            Finding::new(
                Code::EvacuationShort,
                reading.outline.at(&path),
                format!(
                    "evacuating {} needs {needed} units in {}/{}, which has room for {}",
                    name_of(evacuation),
                    there.0,
                    there.1,
                    capacity.units
                ),
            )
            .label(format!("{} too few", needed - u64::from(capacity.units)))
            .reason(format!(
                "{residents} are active there already, {arriving} arrive with {}",
                listed(names.iter().copied())
            ))
            .help(format!("make room there and say `units: {needed}`, or give some of them a standby in another zone")),
        );
    }
}

/// Whose loss can't be told from that of something smaller, or is never looked for.
fn never_told(reading: &Reading<'_>, evacuation: &Evacuation, topology: &Topology) -> Option<Finding> {
    let name = name_of(evacuation);
    let domain = topology.named(&evacuation.region, evacuation.zone.as_deref()).map(|it| topology.domain(it));
    let only_zone = |it: &Domain| {
        let told = |it: &DomainIx| topology.is_whole_region(*it) && topology.domain(*it).is_told_apart;
        it.parts.iter().any(told)
    };
    let site = &reading.plan.site.location;
    let has_agent = site.region == evacuation.region && (evacuation.zone.is_none() || evacuation.zone == site.zone);
    let (why, help) = if reading.plan.allowances.correlation.is_zero() {
        ("`correlation: 0s` takes every failure for one of its own".to_owned(), "leave `correlation` out".to_owned())
    } else if has_agent {
        (format!("the agent lives in {name} and is lost with it"), format!("run the agent outside {name}"))
    } else if domain.is_none_or(|it| !it.is_told_apart && !only_zone(it)) {
        let two = if evacuation.zone.is_some() { "two hosts" } else { "two zones" };
        (
            format!("there are not {two} in it, so its loss looks like that of one"),
            "drop the evacuation: each recovery begins by itself".to_owned(),
        )
    } else {
        return None;
    };
    Some(
        Finding::new(
            Code::NeverTold,
            reading.outline.at(&["evacuations", &evacuation.name]),
            format!("nobody can tell that {name} is lost, so it is never evacuated"),
        )
        .label("never begun")
        .reason(why)
        .help(help),
    )
}

fn storm_brake(reading: &Reading<'_>, evacuation: &Evacuation, moving: usize) -> Option<Finding> {
    let brake = reading.plan.guards.storm_brake?;
    let at_most = brake.at_most as usize;
    if moving <= at_most {
        return None;
    }
    let turns = u32::try_from(moving.div_ceil(at_most) - 1).unwrap_or(u32::MAX);
    let wait: Duration = brake.within.saturating_mul(turns);
    Some(
        Finding::new(
            Code::EvacuationShort,
            reading.outline.at(&["guards", "storm_brake", "at_most"]),
            format!(
                "evacuating {} begins {moving} recoveries, the storm brake lets {at_most} begin within {}",
                name_of(evacuation),
                show_duration(brake.within)
            ),
        )
        .label(format!("the last of them begins {} late", show_duration(wait)))
        .other(reading.outline.at(&["evacuations", &evacuation.name]), format!("{moving} components move"))
        .reason(HELD_BACK)
        .help(format!("let all of them begin: `at_most: {moving}`")),
    )
}

/// What lives in a lost zone is down, so all of it counts.
fn blast_radius(reading: &Reading<'_>, evacuation: &Evacuation, moving: usize, lost: usize) -> Option<Finding> {
    let radius = reading.plan.guards.blast_radius?;
    let all = reading.plan.components.len() as u64;
    let share = u64::from(radius.share_ppm) * all / 1_000_000;
    let allowed = share.max(u64::from(radius.always));
    if moving == 0 || lost as u64 <= allowed {
        return None;
    }
    let needed = (lost as u64 * 100).div_ceil(all);
    Some(
        Finding::new(
            Code::EvacuationShort,
            reading.outline.at(&["guards", "blast_radius", "share"]),
            format!(
                "the blast radius allows {allowed} of {all} components to be touched, {lost} are lost with {}",
                name_of(evacuation)
            ),
        )
        .label(format!("{} of them", percent(radius.share_ppm)))
        .other(reading.outline.at(&["evacuations", &evacuation.name]), format!("{moving} of them move"))
        .reason(HELD_BACK)
        .help(format!("let all of it move: `share: {needed}`, or `always: {lost}`")),
    )
}

/// Zones whose critical components could move, while only others have an evacuation.
fn without_one(reading: &Reading<'_>, zones: &BTreeMap<Zone<'_>, Residents<'_>>, findings: &mut Vec<Finding>) {
    let planned: BTreeSet<(&str, Option<&str>)> =
        reading.plan.evacuations.iter().map(|it| (it.region.as_str(), it.zone.as_deref())).collect();
    if !planned.iter().any(|(_, zone)| zone.is_some()) {
        return;
    }
    for (zone, residents) in zones {
        if planned.contains(&(zone.0, Some(zone.1))) || planned.contains(&(zone.0, None)) {
            continue;
        }
        let critical: Vec<&Component> =
            residents.all.iter().copied().filter(|it| it.criticality == Criticality::Critical).collect();
        let leaves = |it: &&Component| {
            let ours = |ix| super::reading::zone(&reading.plan.instance(ix).location);
            reading.standbys(it).any(|ix| ours(ix).is_some_and(|there| there != *zone))
        };
        let Some(first) = critical.iter().copied().find(leaves) else { continue };
        findings.push(
            Finding::new(
                Code::EvacuationShort,
                reading.at(first, &["location"]),
                format!(
                    "{}/{} has no evacuation, and critical components live there: {}",
                    zone.0,
                    zone.1,
                    listed(critical.iter().map(|it| it.name.as_str()))
                ),
            )
            .label("other zones have one")
            .other(reading.outline.at(&["evacuations"]), "these are planned for")
            .reason("without one its components are recovered one by one, in no order, and nobody has counted the room")
            .help(format!(
                "add `leave-{}: {{ of: {{ region: {}, zone: {} }} }}` to `evacuations`",
                zone.1, zone.0, zone.1
            )),
        );
    }
}
