//! Resolving names of what is prepared, of evacuations, drills and channels, and what contradicts itself among them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fields::{At, Cx};
use super::link::index;
use super::raw::{File, RawChannel, RawDrill, RawEscalation, RawEvacuation, RawRouteRules};
use super::references::{no_component, unknown};
use crate::drill::Drill;
use crate::evacuation::{Evacuation, ZoneCapacity};
use crate::finding::{Code, Finding, Span};
use crate::location::{FailureDomain, Location};
use crate::notification::{EscalationStep, NotificationChannel};
use crate::prepared::Prepared;
use crate::route::RouteRules;
use crate::{ComponentIx, Plan};

/// Everything that refers to components and to itself, once the components are there.
/// `known` holds the places of all instances that the file names, used or not.
pub(super) fn operation(cx: &Cx<'_>, plan: &mut Plan, file: &mut File, known: &Known) {
    let components: HashMap<String, ComponentIx> =
        plan.components.iter().enumerate().map(|(at, it)| (it.name.clone(), ComponentIx(index(at)))).collect();
    plan.guards = file.guards;
    plan.people = std::mem::take(&mut file.people);
    plan.agents = std::mem::take(&mut file.agents);
    plan.agents.sort_by(|a, b| a.name.cmp(&b.name));
    plan.coordination = file.coordination.take();
    plan.drills = drills(cx, plan, &components, std::mem::take(&mut file.drills));
    plan.evacuations = evacuations(cx, plan, &components, known, std::mem::take(&mut file.evacuations));
    let channels = std::mem::take(&mut file.notifications);
    plan.escalation = escalation(cx, &channels, std::mem::take(&mut file.escalation));
    plan.quiet = std::mem::take(&mut file.quiet);
    plan.notifications = channels.into_iter().filter_map(channel).collect();
}

fn channel(raw: RawChannel) -> Option<NotificationChannel> {
    Some(NotificationChannel {
        name: raw.name.value,
        action: raw.action?,
        location: raw.location,
        levels: raw.levels,
        repeat: raw.repeat,
    })
}

/// What actions need, by name.
pub(super) fn prepared(cx: &Cx<'_>, mut raw: Vec<(Prepared, Span)>) -> Vec<Prepared> {
    raw.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    for pair in raw.windows(2) {
        let [(first, at), (second, again)] = pair else { continue };
        if first.name == second.name {
            cx.report(
                Finding::new(
                    Code::NameTaken,
                    *again,
                    format!("`{}` is a {} and a {}", first.name, first.kind.word(), second.kind.word()),
                )
                .label("again here")
                .other(*at, "first here")
                .reason("`needs` speaks of both by name, so a name must mean one thing")
                .help("give one of them another name"),
            );
        }
    }
    raw.into_iter().map(|(it, _)| it).collect()
}

/// Names of credentials and cache entries, as places in the plan's list.
pub(super) fn needs(cx: &Cx<'_>, plan: &Plan, names: &[At<String>]) -> Vec<usize> {
    let mut found = Vec::new();
    for name in names {
        match plan.prepared.binary_search_by(|it| it.name.as_str().cmp(&name.value)) {
            Ok(at) if found.contains(&at) => {}
            Ok(at) => found.push(at),
            Err(_) => unknown(cx, name, "credential or cache entry", plan.prepared.iter().map(|it| it.name.as_str())),
        }
    }
    found
}

/// Says it if a role is asked for that too few people have.
pub(super) fn role_is_held(cx: &Cx<'_>, plan: &Plan, role: &str, at: Span, need: u32) {
    let has = |person: &&crate::policy::Person| person.roles.iter().any(|it| it == role);
    let held = plan.people.iter().filter(has).count();
    if held >= need as usize {
        return;
    }
    let message = match held {
        0 => format!("nobody has the role `{role}`"),
        held => format!(
            "{need} people with the role `{role}` must approve, and {held} {} it",
            if held == 1 { "has" } else { "have" }
        ),
    };
    let roles = plan.people.iter().flat_map(|it| &it.roles).map(String::as_str);
    let near = cx.nearest(role, roles).filter(|_| held == 0).map(|it| format!("did you mean `{it}`?"));
    cx.report(
        Finding::new(Code::NobodyMay, at, message)
            .label(near.unwrap_or_else(|| "can't be answered".to_owned()))
            .help(format!("add to `people`: `NAME: {{ roles: [{role}] }}`, by the user's name on the agent's machine")),
    );
}

/// The rules of a route.
pub(super) fn route_rules(cx: &Cx<'_>, plan: &Plan, targets: usize, raw: &RawRouteRules) -> RouteRules {
    let mut gates = Vec::new();
    for name in &raw.gates {
        match plan.components.binary_search_by(|it| it.name.as_str().cmp(&name.value)) {
            Ok(at) => gates.push(ComponentIx(index(at))),
            Err(_) => no_component(cx, plan, name),
        }
    }
    if let Some(at_least) = &raw.at_least
        && at_least.value as usize > targets
    {
        cx.report(
            Finding::new(
                Code::Contradiction,
                at_least.span,
                format!("`at_least` is {}, the number of targets is {targets}", at_least.value),
            )
            .label("more than there are")
            .help(format!("write {targets} or less, or add targets")),
        );
    }
    RouteRules { at_least: raw.at_least.as_ref().map(|it| it.value), gates, wait: raw.wait }
}

fn resolve(
    cx: &Cx<'_>,
    plan: &Plan,
    components: &HashMap<String, ComponentIx>,
    names: &[At<String>],
) -> Vec<ComponentIx> {
    let mut found = Vec::new();
    for name in names {
        match components.get(&name.value) {
            Some(ix) if found.contains(ix) => {}
            Some(ix) => found.push(*ix),
            None => no_component(cx, plan, name),
        }
    }
    found
}

fn drills(cx: &Cx<'_>, plan: &Plan, components: &HashMap<String, ComponentIx>, mut raw: Vec<RawDrill>) -> Vec<Drill> {
    raw.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    let all = || (0..plan.components.len()).map(|at| ComponentIx(index(at))).collect();
    let drill = |raw: RawDrill| Drill {
        components: match &raw.components {
            Some(names) => resolve(cx, plan, components, names),
            None => all(),
        },
        name: raw.name.value,
        kind: raw.kind,
        every: raw.every,
    };
    raw.into_iter().map(drill).collect()
}

fn escalation(cx: &Cx<'_>, channels: &[RawChannel], raw: Vec<RawEscalation>) -> Vec<EscalationStep> {
    let places: BTreeMap<&str, usize> =
        channels.iter().enumerate().map(|(at, it)| (it.name.value.as_str(), at)).collect();
    let mut steps: Vec<EscalationStep> = Vec::new();
    for step in raw {
        let mut tell = Vec::new();
        for name in &step.tell {
            match places.get(name.value.as_str()) {
                Some(at) => tell.push(*at),
                None => unknown(cx, name, "notification", places.keys().copied()),
            }
        }
        if let Some(before) = steps.last()
            && step.after < before.after
        {
            cx.report(
                Finding::new(Code::Contradiction, step.at, "this step of the escalation comes before the one above it")
                    .label("earlier")
                    .reason("who reads the escalation under stress reads it from the top")
                    .help("put the steps in the order of their `after`"),
            );
        }
        steps.push(EscalationStep { after: step.after, tell });
    }
    steps
}

fn evacuations(
    cx: &Cx<'_>,
    plan: &Plan,
    components: &HashMap<String, ComponentIx>,
    known: &Known,
    mut raw: Vec<RawEvacuation>,
) -> Vec<Evacuation> {
    raw.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    let places: BTreeMap<String, usize> = raw.iter().enumerate().map(|(at, it)| (it.name.value.clone(), at)).collect();
    let mut found = Vec::new();
    for it in &raw {
        let (region, zone) = known.place(cx, it);
        let mut parts = Vec::new();
        for name in &it.parts {
            match places.get(&name.value) {
                Some(at) if part_fits(cx, it, &raw[*at], name) => parts.push(*at),
                Some(_) => {}
                None => {
                    let others = places.keys().map(String::as_str).filter(|other| *other != it.name.value);
                    unknown(cx, name, "other evacuation", others);
                }
            }
        }
        let first = resolve(cx, plan, components, &it.first);
        for (ix, name) in first.iter().zip(&it.first) {
            let home = &plan.instance(plan.component(*ix).original()).location;
            let lost = Location { region: region.clone(), zone: zone.clone(), host: None };
            let domain = if zone.is_some() { FailureDomain::Zone } else { FailureDomain::Region };
            if !lost.shares(home, domain) {
                cx.report(
                    Finding::new(
                        Code::Contradiction,
                        name.span,
                        format!("`{}` is not in what is evacuated", name.value),
                    )
                    .label(format!("it lives in {home}"))
                    .reason("an evacuation recovers what lives in the place that is lost")
                    .help("remove it here"),
                );
            }
        }
        let mut seen: BTreeMap<(&str, &str), Span> = BTreeMap::new();
        for capacity in &it.capacity {
            known.survivor(cx, capacity, &region, zone.as_deref());
            let key = (capacity.value.region.as_str(), capacity.value.zone.as_str());
            if let Some(first) = seen.insert(key, capacity.span) {
                cx.report(
                    Finding::new(
                        Code::Contradiction,
                        capacity.span,
                        format!("`{}` has two capacities", capacity.value.zone),
                    )
                    .label("again here")
                    .other(first, "first here")
                    .help("keep one of them"),
                );
            }
        }
        found.push(Evacuation {
            name: it.name.value.clone(),
            region,
            zone,
            variant: it.variant,
            at_once: it.at_once,
            first,
            capacity: it.capacity.iter().map(|it| it.value.clone()).collect(),
            parts,
        });
    }
    found
}

/// Whether an evacuation can be a part of another: a zone of its region.
fn part_fits(cx: &Cx<'_>, whole: &RawEvacuation, part: &RawEvacuation, name: &At<String>) -> bool {
    let region = |it: &RawEvacuation| it.of.region.as_ref().map(|it| it.value.clone());
    let fits = whole.of.zone.is_none() && part.of.zone.is_some() && region(whole) == region(part);
    if !fits {
        let itself = whole.name.value == part.name.value;
        let text = format!("`{}` is no part of `{}`", name.value, whole.name.value);
        cx.report(
            Finding::new(Code::Contradiction, name.span, text)
                .label(if itself { "an evacuation is no part of itself" } else { "not a zone of its region" })
                .other(part.of.at, "this is what the part evacuates")
                .reason("the parts are carried out together, as the evacuation of one region")
                .help("parts of an evacuation of a region are evacuations of its zones"),
        );
    }
    fits
}

/// Regions and zones that something of the plan lives in.
pub(super) struct Known {
    zones: BTreeSet<(String, Option<String>)>,
}

impl Known {
    pub(super) fn of(file: &File) -> Known {
        let instances = file.components.iter().map(|it| &it.instance).chain(&file.standbys);
        let locations = instances.map(|it| &it.location);
        Known { zones: locations.map(|it| (it.region.clone(), it.zone.clone())).collect() }
    }

    /// Region and zone of an evacuation; a place in which nothing lives is a slip.
    fn place(&self, cx: &Cx<'_>, it: &RawEvacuation) -> (String, Option<String>) {
        let (region, zone) = (it.of.region.as_ref(), it.of.zone.as_ref());
        if let Some(region) = region {
            if !self.zones.iter().any(|(known, _)| *known == region.value) {
                let regions: BTreeSet<&str> = self.zones.iter().map(|(known, _)| known.as_str()).collect();
                unknown(cx, region, "region", regions.iter().copied());
            } else if let Some(zone) = zone
                && !self.zones.iter().any(|(r, z)| *r == region.value && z.as_ref() == Some(&zone.value))
            {
                let here = self.zones.iter().filter(|(known, _)| *known == region.value);
                unknown(cx, zone, "zone", here.filter_map(|(_, zone)| zone.as_deref()));
            }
        }
        (region.map(|it| it.value.clone()).unwrap_or_default(), zone.map(|it| it.value.clone()))
    }

    fn survivor(&self, cx: &Cx<'_>, capacity: &At<ZoneCapacity>, region: &str, zone: Option<&str>) {
        let it = &capacity.value;
        if it.region == region && zone.is_none_or(|zone| zone == it.zone) {
            cx.report(
                Finding::new(Code::Contradiction, capacity.span, format!("`{}` is lost in this evacuation", it.zone))
                    .label("nothing can be active here")
                    .reason("the capacity is that of the zones which take over")
                    .help("name the zones that are left"),
            );
        } else if !self.zones.contains(&(it.region.clone(), Some(it.zone.clone()))) {
            let name = At { value: it.zone.clone(), span: capacity.span };
            let here = self.zones.iter().filter(|(known, _)| *known == it.region);
            unknown(cx, &name, "zone", here.filter_map(|(_, zone)| zone.as_deref()));
        }
    }
}
