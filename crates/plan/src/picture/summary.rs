//! Plans with too many components to draw each: zones with counts and the first of the names, of bounded size.

use std::collections::BTreeMap;

use super::dot::{HEAD, id, quoted};
use super::layout::{LINE, MARGIN, Rect};
use super::lettering::clipped;
use super::svg::{DIM, INK, Page, heading};
use super::{EACH, Kind, PLACES, Place, Scene, count};

/// Zones that are drawn.
const ZONES: usize = 24;
/// Names in each of them, in columns of [`IN_COLUMN`].
const NAMES: usize = 40;
const IN_COLUMN: usize = 20;
const ACROSS: usize = 3;
const WIDTH: i32 = 400;

/// What lives in one zone.
struct Zone<'a> {
    place: &'a Place,
    counts: String,
    /// Components first, then standbys.
    names: Vec<String>,
    more: usize,
}

impl Zone<'_> {
    fn height(&self) -> i32 {
        44 + LINE * int(self.names.len().min(IN_COLUMN)) + if self.more > 0 { 24 } else { 6 }
    }
}

const NOUNS: [&str; 6] = ["component", "standby", "backup", "agent", "store", "witness"];

const fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Original => "component",
        Kind::Standby(_) => "standby",
        Kind::Backup => "backup",
        Kind::Agent | Kind::OtherAgent => "agent",
        Kind::Store => "store",
        Kind::Witness => "witness",
    }
}

fn zones<'a>(scene: &'a Scene<'a>) -> Vec<Zone<'a>> {
    let mut by_place: BTreeMap<Place, Vec<&super::Resident<'_>>> = BTreeMap::new();
    for it in &scene.residents {
        by_place.entry(Place::of(it.location)).or_default().push(it);
    }
    let zone = |place: &'a Place| {
        let residents = by_place.get(place).map(Vec::as_slice).unwrap_or_default();
        let counts = NOUNS.iter().filter_map(|noun| {
            let number = residents.iter().filter(|it| self::noun(it.kind) == *noun).count();
            (number > 0).then(|| count(number, noun))
        });
        let counts = counts.collect::<Vec<_>>().join(", ");
        let own = |kind| residents.iter().filter(move |it| noun(it.kind) == kind);
        let standbys = own("standby").map(|it| format!("{} (standby)", it.name));
        let names: Vec<String> = own("component").map(|it| it.name.to_owned()).chain(standbys).collect();
        let more = names.len().saturating_sub(NAMES);
        Zone { place, counts, names: names.into_iter().take(NAMES).collect(), more }
    };
    scene.places.iter().take(ZONES).map(zone).collect()
}

fn why(scene: &Scene<'_>) -> String {
    format!(
        "{} in {}: too many to draw each (at most {EACH} in {PLACES} zones); this shows how many live where",
        count(scene.plan.components.len(), "component"),
        count(scene.places.len(), "zone"),
    )
}

fn left_out(scene: &Scene<'_>) -> Option<String> {
    let more = scene.places.len().saturating_sub(ZONES);
    (more > 0).then(|| format!("{} more are not shown", count(more, "zone")))
}

fn rest(zone: &Zone<'_>) -> Option<String> {
    (zone.more > 0).then(|| format!("and {} more", zone.more))
}

pub(super) fn svg(scene: &Scene<'_>) -> String {
    let zones = zones(scene);
    let across = zones.len().clamp(2, ACROSS);
    let width = 2 * MARGIN + int(across) * (WIDTH + 16) - 16;
    let tall = |zones: &[Zone<'_>]| zones.iter().map(Zone::height).max().unwrap_or(0);
    let height = 92 + zones.chunks(across).map(|it| tall(it) + 16).sum::<i32>() + MARGIN - 16;
    let described: Vec<String> =
        zones.iter().map(|it| format!("{} {}: {}.", it.place.region, it.place.title(), it.counts)).collect();
    let mut page = Page::new(width, height, &scene.title(), &format!("{}. {}", why(scene), described.join(" ")));
    heading(&mut page, scene);
    let dim = format!("fill=\"{DIM}\"");
    page.text(MARGIN, 66, &clipped(&why(scene), width - 2 * MARGIN, 11, false), &dim);
    if let Some(text) = left_out(scene) {
        page.text(MARGIN, 80, &text, &dim);
    }
    let mut y = 92;
    for row in zones.chunks(across) {
        for (zone, nth) in row.iter().zip(0i32..) {
            draw(&mut page, zone, Rect { x: MARGIN + nth * (WIDTH + 16), y, w: WIDTH, h: tall(row) });
        }
        y += tall(row) + 16;
    }
    page.finish()
}

fn draw(page: &mut Page, zone: &Zone<'_>, at: Rect) {
    let Rect { x, y, .. } = at;
    page.rect(at, 4, "fill=\"#f4f4f1\" stroke=\"#333333\" stroke-width=\"1.2\"");
    let name = format!("region {}, {}", zone.place.region, zone.place.title());
    let bold = format!("font-size=\"12\" font-weight=\"bold\" fill=\"{INK}\"");
    page.text(x + 10, y + 18, &clipped(&name, WIDTH - 20, 12, true), &bold);
    page.text(x + 10, y + 34, &clipped(&zone.counts, WIDTH - 20, 11, false), &format!("fill=\"{INK}\""));
    for (nth, name) in zone.names.iter().enumerate() {
        let (column, line) = (int(nth / IN_COLUMN), int(nth % IN_COLUMN));
        let left = x + 10 + column * WIDTH / 2;
        page.text(left, y + 54 + line * LINE, &clipped(name, WIDTH / 2 - 16, 11, false), &format!("fill=\"{DIM}\""));
    }
    if let Some(text) = rest(zone) {
        page.text(x + 10, at.bottom() - 8, &text, &format!("font-style=\"italic\" fill=\"{INK}\""));
    }
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(0)
}

pub(super) fn dot(scene: &Scene<'_>) -> String {
    let title: Vec<String> = [scene.title(), scene.subtitle(), why(scene)].into_iter().chain(left_out(scene)).collect();
    let mut out = format!("digraph plan {{\n{HEAD}  label={};\n", quoted(&title));
    for zone in zones(scene) {
        let mut lines = vec![format!("{}, {}", zone.place.region, zone.place.title()), zone.counts.clone()];
        lines.extend(zone.names.iter().cloned());
        lines.extend(rest(&zone));
        let key = format!("zone {} {}", zone.place.region, zone.place.title());
        out.push_str(&format!("  {} [label={}];\n", id(&key), quoted(&lines)));
    }
    out.push_str("}\n");
    out
}
