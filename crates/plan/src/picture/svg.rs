//! The picture as SVG, drawn by ourselves: no program and no font has to be there.
//!
//! Colours are from the palette of Okabe and Ito, which people with any colour vision can tell apart, and nothing is said
//! by colour alone: lines differ in their dashes and heads, boxes in their borders and words.

use super::layout::{self, HOST, LINE, Layout, MARGIN, POINT, Rect};
use super::lettering::{clipped, escaped, text_width};
use super::{Kind, Resident, Scene, component_lines, route_lines};
use crate::component::{Criticality, Temperature};
use crate::{ComponentIx, RouteIx};

const FONT: &str = "Helvetica, Arial, 'DejaVu Sans', sans-serif";
pub(super) const INK: &str = "#1a1a1a";
pub(super) const DIM: &str = "#555555";
const SERVING: &str = "#0072b2";
const DEPENDS: &str = "#a0400a";

/// An SVG file that is being written.
pub(super) struct Page(String);

impl Page {
    pub(super) fn new(width: i32, height: i32, title: &str, description: &str) -> Page {
        let mut page = Page(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
             {height}\" role=\"img\" aria-labelledby=\"title desc\" font-family=\"{}\" font-size=\"11\">\n",
            escaped(FONT)
        ));
        page.0.push_str(&format!("<title id=\"title\">{}</title>\n", escaped(title)));
        page.0.push_str(&format!("<desc id=\"desc\">{}</desc>\n", escaped(description)));
        page.rect(Rect { x: 0, y: 0, w: width, h: height }, 0, "fill=\"#ffffff\"");
        page
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    pub(super) fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
        self.0.push('\n');
    }

    pub(super) fn rect(&mut self, at: Rect, round: i32, look: &str) {
        let Rect { x, y, w, h } = at;
        self.0.push_str(&format!("<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{round}\" {look}/>\n"));
    }

    pub(super) fn text(&mut self, x: i32, y: i32, text: &str, look: &str) {
        let space = if look.is_empty() { "" } else { " " };
        self.0.push_str(&format!("<text x=\"{x}\" y=\"{y}\"{space}{look}>{}</text>\n", escaped(text)));
    }

    fn line(&mut self, points: &[(i32, i32)], look: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        self.0.push_str(&format!("<polyline points=\"{}\" fill=\"none\" {look}/>\n", points.join(" ")));
    }

    /// A group that says all of itself when pointed at.
    fn group(&mut self, tip: &str, inside: impl FnOnce(&mut Page)) {
        self.0.push_str(&format!("<g><title>{}</title>\n", escaped(tip)));
        inside(self);
        self.0.push_str("</g>\n");
    }

    /// A name and the lines below it, clipped to a box.
    fn words(&mut self, at: Rect, name: &str, lines: &[String]) {
        let (x, room) = (at.x + 10, at.w - 18);
        let mut y = at.y + 18;
        self.text(
            x,
            y,
            &clipped(name, room, 12, true),
            &format!("font-size=\"12\" font-weight=\"bold\" fill=\"{INK}\""),
        );
        for line in lines {
            y += LINE;
            self.text(x, y, &clipped(line, room, 11, false), &format!("fill=\"{INK}\""));
        }
    }
}

/// Every component, every instance, every route.
pub(super) fn draw(scene: &Scene<'_>) -> String {
    let layout = layout::of(scene);
    let notes = scene.fail_together();
    let extra = LINE * i32::try_from(notes.len()).unwrap_or(0);
    let below = 28 + extra + if extra > 0 { 12 } else { 0 } + legend_height(scene, layout.width);
    let height = layout.height + below + MARGIN;
    let mut page = Page::new(layout.width, height, &scene.title(), &scene.description());
    page.raw(HEADS);
    heading(&mut page, scene);
    background(&mut page, scene, &layout);
    lines(&mut page, scene, &layout);
    for (it, at) in scene.residents.iter().zip(&layout.residents) {
        resident(&mut page, it, *at);
    }
    cards(&mut page, scene, &layout);
    routes(&mut page, scene, &layout);
    let mut y = layout.height + 28;
    if !notes.is_empty() {
        for note in &notes {
            let text = clipped(&format!("fail together: {note}"), layout.width - 2 * MARGIN, 11, false);
            page.text(MARGIN, y, &text, &format!("fill=\"{INK}\""));
            y += LINE;
        }
        y += 12;
    }
    legend(&mut page, scene, layout.width, y);
    page.finish()
}

const HEADS: &str = "<defs>\n<marker id=\"full\" viewBox=\"0 0 10 10\" refX=\"10\" refY=\"5\" markerWidth=\"9\" \
                     markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L10 5L0 10z\" \
                     fill=\"#0072b2\"/></marker>\n<marker id=\"thin\" viewBox=\"0 0 10 10\" refX=\"10\" refY=\"5\" \
                     markerWidth=\"8\" markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 \
                     0L10 5L0 10\" fill=\"none\" stroke=\"#555555\" stroke-width=\"1.6\"/></marker>\n<marker \
                     id=\"hollow\" viewBox=\"0 0 10 10\" refX=\"10\" refY=\"5\" markerWidth=\"10\" markerHeight=\"10\" \
                     markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M1 1L9.5 5L1 9z\" fill=\"#ffffff\" \
                     stroke=\"#a0400a\" stroke-width=\"1.3\"/></marker>\n</defs>";

fn serving(yes: bool) -> String {
    if yes {
        format!("stroke=\"{SERVING}\" stroke-width=\"2\" marker-end=\"url(#full)\"")
    } else {
        format!("stroke=\"{DIM}\" stroke-width=\"1.3\" stroke-dasharray=\"6 4\" marker-end=\"url(#thin)\"")
    }
}

fn depends() -> String {
    format!(
        "stroke=\"{DEPENDS}\" stroke-width=\"1.8\" stroke-dasharray=\"1.5 3.5\" stroke-linecap=\"round\" marker-end=\"url(#hollow)\""
    )
}

pub(super) fn heading(page: &mut Page, scene: &Scene<'_>) {
    page.text(MARGIN, 30, &scene.title(), &format!("font-size=\"18\" font-weight=\"bold\" fill=\"{INK}\""));
    page.text(MARGIN, 49, &scene.subtitle(), &format!("fill=\"{DIM}\""));
}

fn background(page: &mut Page, scene: &Scene<'_>, layout: &Layout) {
    for (name, at) in &layout.regions {
        page.rect(*at, 6, "fill=\"#ffffff\" stroke=\"#333333\" stroke-width=\"1.4\"");
        let text = clipped(&format!("region {name}"), at.w - 16, 12, true);
        page.text(at.x + 10, at.y + 17, &text, &format!("font-size=\"12\" font-weight=\"bold\" fill=\"{INK}\""));
    }
    for (name, at) in &layout.zones {
        page.rect(*at, 4, "fill=\"#f4f4f1\" stroke=\"#b0b0a8\"");
        let text = clipped(name, at.w - 16, 12, false);
        page.text(at.x + 10, at.y + 17, &text, &format!("font-size=\"12\" fill=\"{INK}\""));
    }
    let right = layout.regions.iter().map(|(_, at)| at.right()).max().unwrap_or(layout.width);
    for y in layout.rules.iter().take(scene.plan.components.len()) {
        page.line(&[(layout.columns.0, *y), (right - 8, *y)], "stroke=\"#d4d4cc\"");
    }
    for (name, at) in &layout.hosts {
        page.rect(*at, 4, "fill=\"#ffffff\" stroke=\"#8a8a82\"");
        let text = clipped(&format!("host {name}"), at.w - 12, 10, false);
        page.text(at.x + 6, at.y + HOST - 4, &text, &format!("font-size=\"10\" fill=\"{DIM}\""));
    }
    let (cards, routes, _) = layout.columns;
    let label = format!("font-size=\"12\" fill=\"{DIM}\"");
    page.text(cards, layout.zones.first().map_or(80, |(_, at)| at.y) + 17, "components", &label);
    if !scene.plan.routes.is_empty() {
        page.text(routes, layout.zones.first().map_or(80, |(_, at)| at.y) + 17, "routes", &label);
    }
    page.text(cards, layout.overseers + 26, "Mainstay and what it asks", &label);
}

fn lines(page: &mut Page, scene: &Scene<'_>, layout: &Layout) {
    for wanted in [false, true] {
        for (arrow, line) in scene.arrows.iter().zip(&layout.arrows).filter(|(it, _)| it.serving == wanted) {
            let (route, to) = (&scene.plan.route(arrow.route).name, &scene.plan.instance(arrow.to).name);
            let tip = if wanted { format!("{route} leads to {to}") } else { format!("{route} can lead to {to}") };
            page.group(&tip, |page| page.line(line, &serving(wanted)));
        }
    }
    for line in &layout.dependencies {
        page.line(line, &depends());
    }
}

fn look(kind: Kind) -> (i32, &'static str) {
    match kind {
        Kind::Original => (3, "fill=\"#e3eff7\" stroke=\"#1a1a1a\" stroke-width=\"1.8\""),
        Kind::Standby(Temperature::Hot) => {
            (3, "fill=\"#ffffff\" stroke=\"#1a1a1a\" stroke-width=\"1.3\" stroke-dasharray=\"9 3\"")
        }
        Kind::Standby(Temperature::Warm) => {
            (3, "fill=\"#ffffff\" stroke=\"#1a1a1a\" stroke-width=\"1.3\" stroke-dasharray=\"5 3\"")
        }
        Kind::Standby(Temperature::Cold) => {
            (3, "fill=\"#ffffff\" stroke=\"#1a1a1a\" stroke-width=\"1.3\" stroke-dasharray=\"1.5 3\"")
        }
        Kind::Agent => (10, "fill=\"#fdf3d6\" stroke=\"#1a1a1a\" stroke-width=\"1.8\""),
        Kind::OtherAgent => (10, "fill=\"#fdf3d6\" stroke=\"#1a1a1a\" stroke-width=\"1\""),
        Kind::Witness => (16, "fill=\"#ffffff\" stroke=\"#555555\" stroke-width=\"1\""),
        Kind::Backup => (0, "fill=\"#eeeeea\" stroke=\"#555555\" stroke-width=\"1\""),
        Kind::Store => (0, "fill=\"#fdf3d6\" stroke=\"#555555\" stroke-width=\"1\""),
    }
}

fn resident(page: &mut Page, it: &Resident<'_>, at: Rect) {
    let tip = format!("{}: {}; in {}", it.name, it.lines.join(", "), it.location);
    page.group(&tip, |page| {
        let (round, look) = look(it.kind);
        page.rect(at, round, look);
        match it.kind {
            Kind::Backup => page.line(&[(at.x, at.y + 4), (at.right(), at.y + 4)], "stroke=\"#555555\""),
            Kind::Original | Kind::Standby(_) | Kind::Agent | Kind::OtherAgent | Kind::Witness | Kind::Store => {}
        }
        page.words(at, it.name, &it.lines);
        // The last lines name what it shares with others.
        let first = it.lines.len() - it.shares.len();
        for nth in 0..it.shares.len() {
            let y = at.y + 10 + LINE * i32::try_from(1 + first + nth).unwrap_or(0);
            page.rect(Rect { x: at.x + 3, y, w: 5, h: 8 }, 0, "fill=\"#1a1a1a\"");
        }
    });
}

fn cards(page: &mut Page, scene: &Scene<'_>, layout: &Layout) {
    let components = scene.plan.components.iter().zip((0u32..).map(ComponentIx));
    for ((component, ix), at) in components.zip(&layout.cards) {
        let lines = component_lines(scene.plan, ix);
        let mut tip = format!("{}: {}", component.name, lines.join(", "));
        if let Some(it) = &component.constraint {
            tip.push_str(&format!("; can't be spread, {}: {}", it.kind.word(), it.reason));
        }
        let bar = match component.criticality {
            Criticality::Critical => 5,
            Criticality::Important => 2,
            Criticality::Standard => 0,
        };
        page.group(&tip, |page| {
            page.rect(*at, 0, "fill=\"#ffffff\" stroke=\"#8a8a82\"");
            page.rect(Rect { w: bar, ..*at }, 0, "fill=\"#1a1a1a\"");
            page.words(*at, &component.name, &lines);
        });
    }
}

fn routes(page: &mut Page, scene: &Scene<'_>, layout: &Layout) {
    for ((route, ix), at) in scene.plan.routes.iter().zip((0u32..).map(RouteIx)).zip(&layout.routes) {
        let lines = route_lines(scene.plan, ix);
        page.group(&format!("route {}: {}", route.name, lines.join(", ")), |page| {
            let (x, y, r, b) = (at.x, at.y, at.right(), at.bottom());
            let tip = (at.y + b) / 2;
            page.raw(&format!(
                "<polygon points=\"{x},{y} {},{y} {r},{tip} {},{b} {x},{b}\" fill=\"#ffffff\" stroke=\"{SERVING}\" \
                 stroke-width=\"1.4\"/>",
                r - POINT,
                r - POINT
            ));
            page.words(Rect { w: at.w - 8, ..*at }, &route.name, &lines);
        });
    }
}

/// What the legend explains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Arrow(bool),
    Dependency,
    Box(Kind),
    Share,
}

/// The signs that the picture has, and what they mean.
fn signs(scene: &Scene<'_>) -> Vec<(Sign, &'static str)> {
    let plan = scene.plan;
    let has = |kind| scene.residents.iter().any(|it| it.kind == kind);
    let standby = |temperature, text| (has(Kind::Standby(temperature)), Sign::Box(Kind::Standby(temperature)), text);
    let all = [
        (scene.arrows.iter().any(|it| it.serving), Sign::Arrow(true), "clients are led here"),
        (scene.arrows.iter().any(|it| !it.serving), Sign::Arrow(false), "and here after a takeover"),
        (plan.components.iter().any(|it| !it.depends_on.is_empty()), Sign::Dependency, "depends on"),
        (true, Sign::Box(Kind::Original), "the component at first"),
        standby(Temperature::Hot, "hot standby"),
        standby(Temperature::Warm, "warm standby"),
        standby(Temperature::Cold, "cold standby"),
        (has(Kind::Backup), Sign::Box(Kind::Backup), "backup"),
        (true, Sign::Box(Kind::Agent), "agent"),
        (has(Kind::Witness), Sign::Box(Kind::Witness), "witness"),
        (plan.instances.iter().any(|it| !it.shares.is_empty()), Sign::Share, "part that others may live on too"),
    ];
    all.into_iter().filter(|(is_there, ..)| *is_there).map(|(_, sign, text)| (sign, text)).collect()
}

fn spots(signs: &[(Sign, &str)], width: i32) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (MARGIN, 0);
    let place = |(_, text): &(Sign, &str)| {
        let w = 46 + text_width(text, 11, false) + 14;
        if x + w > width - MARGIN {
            (x, y) = (MARGIN, y + 22);
        }
        let at = (x, y);
        x += w;
        at
    };
    signs.iter().map(place).collect()
}

fn legend_height(scene: &Scene<'_>, width: i32) -> i32 {
    spots(&signs(scene), width).last().map_or(0, |(_, y)| y + 22)
}

fn legend(page: &mut Page, scene: &Scene<'_>, width: i32, top: i32) {
    let signs = signs(scene);
    for ((sign, text), (x, y)) in signs.iter().zip(spots(&signs, width)) {
        let y = top + y;
        let line = [(x, y), (x + 38, y)];
        match sign {
            Sign::Arrow(yes) => page.line(&line, &serving(*yes)),
            Sign::Dependency => page.line(&line, &depends()),
            Sign::Box(kind) => {
                let (round, look) = look(*kind);
                page.rect(Rect { x, y: y - 7, w: 38, h: 14 }, round.min(7), look);
            }
            Sign::Share => page.rect(Rect { x: x + 30, y: y - 4, w: 5, h: 8 }, 0, "fill=\"#1a1a1a\""),
        }
        page.text(x + 46, y + 4, text, &format!("fill=\"{DIM}\""));
    }
}
