//! The map of what fails together: regions, their zones, hosts in them, and what lives there; below it the parts that instances
//! share. What is lost is marked by colour and by a cross.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_plan::Plan;
use mainstay_plan::component::Temperature;
use mainstay_plan::location::{Location, SharedPart};

use super::WIDTH;
use super::draw::{Anchor, Drawing, width};

/// Beyond so many in one zone only their number is said.
const EACH: usize = 24;
/// Of those that share a part, so many are named.
const SHARING: usize = 5;
/// Zones beside each other, at most.
const ACROSS: usize = 4;
const CHIP: f64 = 22.0;
const GAP: f64 = 12.0;

/// Something that lives in a place.
struct Chip {
    name: String,
    class: &'static str,
    tip: String,
    is_lost: bool,
    host: Option<String>,
}

/// A zone, with what stands in its head.
struct Zone {
    title: String,
    note: String,
    chips: Vec<Chip>,
}

/// What is to be said of a place, by its path: how often it fails, or that it is lost.
pub(crate) type Notes = BTreeMap<String, String>;

/// Draws it. `lost` are the names on chips that are gone: `orders-db`, `witness gateway`; and `agent` whether the agent's machine is.
pub(crate) fn draw(plan: &Plan, notes: &Notes, lost: &BTreeSet<String>, agent: bool) -> String {
    let mut drawing = Drawing::new("What fails together");
    let mut regions: BTreeMap<String, BTreeMap<(bool, String), Zone>> = BTreeMap::new();
    for (location, chip) in residents(plan, lost, agent) {
        let key = (location.zone.is_none(), location.zone.clone().unwrap_or_default());
        let zones = regions.entry(location.region.clone()).or_default();
        let zone = zones.entry(key).or_insert_with(|| {
            let path = location.zone.as_ref().map(|it| format!("{}/{it}", location.region));
            Zone {
                title: location.zone.clone().map_or_else(|| "no zone stated".to_owned(), |it| format!("zone {it}")),
                note: path.and_then(|it| notes.get(&it).cloned()).unwrap_or_default(),
                chips: Vec::new(),
            }
        });
        zone.chips.push(Chip { host: location.host.clone(), ..chip });
    }
    let mut y = 4.0;
    for (region, zones) in &regions {
        y = one_region(&mut drawing, region, notes.get(region).map_or("", String::as_str), zones.values().collect(), y);
    }
    let mut shared: BTreeMap<&SharedPart, Vec<&str>> = BTreeMap::new();
    for it in &plan.instances {
        it.shares.iter().for_each(|part| shared.entry(part).or_default().push(&it.name));
    }
    for (part, names) in shared.into_iter().filter(|it| it.1.len() > 1).take(EACH) {
        y += 16.0;
        let more = names.len().saturating_sub(SHARING);
        let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
        let names = names.iter().take(SHARING).copied().collect::<Vec<_>>().join(", ");
        let text = format!("share {} {}: {names}{rest}", part.kind.word(), part.name);
        drawing.text("d", (2.0, y), Anchor::Start, &text, WIDTH - 4.0);
    }
    let mut signs =
        vec![("here", "component, where it is bound"), ("box", "hot or warm standby"), ("thin dash", "cold standby")];
    signs.extend([("zone", "witness, backup, agent")]);
    if !lost.is_empty() || agent {
        signs.push(("gone", "lost"));
    }
    drawing.legend(y + 12.0, &signs);
    drawing.finish()
}

fn residents(plan: &Plan, lost: &BTreeSet<String>, agent: bool) -> Vec<(Location, Chip)> {
    let mut all = Vec::new();
    for component in &plan.components {
        for (nth, ix) in component.instances.iter().enumerate() {
            let it = plan.instance(*ix);
            let class = match (nth, it.temperature) {
                (0, _) => "here",
                (_, Temperature::Cold) => "thin dash",
                (_, Temperature::Hot | Temperature::Warm) => "box",
            };
            let what = if nth == 0 {
                "component".to_owned()
            } else {
                format!("{} standby of {}", it.temperature.word(), component.name)
            };
            let tip = format!("{}: {what}, in {}", it.name, it.location);
            all.push((it.location.clone(), chip(&it.name, class, tip, lost.contains(&it.name))));
        }
        for backup in &component.backups {
            for (location, _) in backup.places() {
                let name = format!("backup {}", backup.name);
                let tip = format!("{name} of {}", component.name);
                let is_lost = lost.contains(&format!("{name} in {location}"));
                all.push((location.clone(), chip(&name, "zone", tip, is_lost)));
            }
        }
    }
    for it in &plan.witnesses {
        let name = format!("witness {}", it.name);
        all.push((it.location.clone(), chip(&name, "zone", name.clone(), lost.contains(&name))));
    }
    all.push((
        plan.site.location.clone(),
        chip("agent and proxy", "zone", "the agent with the traffic process".to_owned(), agent),
    ));
    for it in &plan.agents {
        let name = format!("agent {}", it.name);
        all.push((it.location.clone(), chip(&name, "zone", name.clone(), lost.contains(&name))));
    }
    all
}

fn chip(name: &str, class: &'static str, tip: String, is_lost: bool) -> Chip {
    Chip { name: name.to_owned(), class, tip, is_lost, host: None }
}

/// Draws a region, and says where the next may begin.
fn one_region(drawing: &mut Drawing, name: &str, note: &str, zones: Vec<&Zone>, top: f64) -> f64 {
    let across = zones.len().clamp(1, ACROSS);
    let wide = (WIDTH - GAP * (across as f64 + 1.0)) / across as f64;
    let mut y = top + 28.0;
    let mut boxes = Vec::new();
    for row in zones.chunks(across) {
        let high = row.iter().map(|it| height(it, wide)).fold(0.0, f64::max);
        for (at, zone) in row.iter().enumerate() {
            boxes.push((*zone, GAP + (wide + GAP) * at as f64, y, high));
        }
        y += high + GAP;
    }
    drawing.rect("region", (1.0, top), (WIDTH - 2.0, y - top), "");
    head(drawing, &format!("region {name}"), note, (GAP, top + 18.0), WIDTH - 2.0 * GAP);
    for (zone, x, y, high) in boxes {
        one_zone(drawing, zone, (x, y), (wide, high));
    }
    y + GAP
}

/// A title in bold, and what is said of it behind it.
fn head(drawing: &mut Drawing, title: &str, note: &str, (x, y): (f64, f64), room: f64) {
    drawing.text("b", (x, y), Anchor::Start, title, room);
    if !note.is_empty() {
        let used = width(title, "b") + 10.0;
        drawing.text("d", (x + used, y), Anchor::Start, note, room - used);
    }
}

/// What one host holds, `None` first.
fn by_host(zone: &Zone) -> BTreeMap<Option<&str>, Vec<&Chip>> {
    let mut hosts: BTreeMap<Option<&str>, Vec<&Chip>> = BTreeMap::new();
    zone.chips.iter().for_each(|it| hosts.entry(it.host.as_deref()).or_default().push(it));
    hosts
}

/// Chips from left to right, as many as fit a line: where each stands, and how many lines there are.
fn placed<'a>(chips: &[&'a Chip], wide: f64) -> (Vec<(&'a Chip, f64, usize, f64)>, usize) {
    let (mut x, mut line, mut all) = (0.0, 0, Vec::new());
    for it in chips {
        let w = (width(&it.name, "d") + 16.0).min(wide);
        if x > 0.0 && x + w > wide {
            (x, line) = (0.0, line + 1);
        }
        all.push((*it, x, line, w));
        x += w + 6.0;
    }
    (all, line + 1)
}

fn height(zone: &Zone, wide: f64) -> f64 {
    if zone.chips.len() > EACH {
        return 26.0 + 3.0 * 17.0 + 8.0;
    }
    let of = |(host, chips): (Option<&str>, Vec<&Chip>)| {
        let (title, inside) = if host.is_some() { (18.0, wide - 28.0) } else { (0.0, wide - 16.0) };
        title + placed(&chips, inside).1 as f64 * (CHIP + 4.0) + 8.0
    };
    28.0 + by_host(zone).into_iter().map(of).sum::<f64>()
}

fn one_zone(drawing: &mut Drawing, zone: &Zone, (x, y): (f64, f64), (wide, high): (f64, f64)) {
    drawing.rect("zone", (x, y), (wide, high), "");
    head(drawing, &zone.title, &zone.note, (x + 8.0, y + 18.0), wide - 16.0);
    if zone.chips.len() > EACH {
        counted(drawing, zone, (x + 8.0, y + 26.0), wide - 16.0);
        return;
    }
    let mut top = y + 26.0;
    for (host, chips) in by_host(zone) {
        let (title, left, inside) =
            if host.is_some() { (18.0, x + 14.0, wide - 28.0) } else { (0.0, x + 8.0, wide - 16.0) };
        let (all, lines) = placed(&chips, inside);
        if let Some(host) = host {
            let h = title + lines as f64 * (CHIP + 4.0) + 2.0;
            drawing.rect("box", (x + 8.0, top), (wide - 16.0, h), "");
            drawing.text("s", (x + 14.0, top + 13.0), Anchor::Start, &format!("host {host}"), inside);
        }
        for (it, at, line, w) in all {
            one_chip(drawing, it, (left + at, top + title + line as f64 * (CHIP + 4.0)), w);
        }
        top += title + lines as f64 * (CHIP + 4.0) + 8.0;
    }
}

fn one_chip(drawing: &mut Drawing, it: &Chip, (x, y): (f64, f64), w: f64) {
    let tip = if it.is_lost { format!("{}: lost", it.tip) } else { it.tip.clone() };
    drawing.rect(if it.is_lost { "gone" } else { it.class }, (x, y), (w, CHIP - 3.0), &tip);
    drawing.text("d", (x + 8.0, y + 13.5), Anchor::Start, &it.name, w - 10.0);
    if it.is_lost {
        drawing.line("cross", (x, y + CHIP - 3.0), (x + w, y));
    }
}

/// Numbers, where there are too many for a chip each.
fn counted(drawing: &mut Drawing, zone: &Zone, (x, y): (f64, f64), room: f64) {
    let count = |classes: &[&str]| {
        let of = || zone.chips.iter().filter(|it| classes.contains(&it.class));
        (of().count(), of().filter(|it| it.is_lost).count())
    };
    let kinds =
        [("components", count(&["here"])), ("standbys", count(&["box", "thin dash"])), ("others", count(&["zone"]))];
    for (at, (what, (all, lost))) in kinds.into_iter().filter(|it| it.1.0 > 0).enumerate() {
        let text = if lost == 0 { format!("{all} {what}") } else { format!("{lost} of {all} {what}") };
        let y = y + at as f64 * 17.0;
        drawing.rect(if lost > 0 { "gone" } else { "box" }, (x, y + 2.0), (10.0, 10.0), "");
        drawing.text("d", (x + 16.0, y + 11.0), Anchor::Start, &text, room - 16.0);
    }
}
