//! One failure as a page.

use std::collections::BTreeSet;

use mainstay_plan::Plan;

use super::axis::Axis;
use super::draw::{Anchor, Drawing, inside, width};
use super::{Page, WIDTH, map};
use crate::reliability::{Shown, span};
use crate::scenario::{OfComponent, OfRoute, Part, Stage, Told};

const LEFT: f64 = 120.0;
const RIGHT: f64 = WIDTH - 20.0;
const BAR: f64 = 22.0;
/// Rows of a table, if nothing else is asked for.
const ROWS: usize = 24;

impl Told {
    /// As a page of its own.
    pub fn html(&self, plan: &Plan, shown: &Shown) -> String {
        let name = &plan.site.name;
        let ways = if self.ways == 1 { "one way".to_owned() } else { format!("{} ways", self.ways) };
        let about = format!("Played in {ways}; told is the one that took the longest: {}.", self.way);
        let model = format!("What this is: {}.", self.model);
        let mut page = Page::new(&format!("{name}: {}", self.scenario), &[&about, &model]);
        self.verdict(&mut page);
        self.cards(&mut page);
        page.heading("What is lost");
        let instances = self.instances.iter().map(|it| it.name.clone());
        let lost: BTreeSet<String> = instances
            .chain(self.witnesses.iter().map(|it| format!("witness {it}")))
            .chain(self.others.iter().cloned())
            .collect();
        let caption =
            "Regions, their zones, hosts where the plan names them, and what lives there; struck out is what is lost.";
        page.figure(&map::draw(plan, &map::Notes::new(), &lost, self.agent), caption);
        let told = self.shown(shown);
        if !self.components.is_empty() {
            page.heading("What becomes of it");
            self.table(&mut page, shown);
        }
        for it in &told {
            self.component(&mut page, it);
        }
        let left = self.components.len() - told.len();
        if left > 0 && *shown == Shown::Usual {
            page.paragraph(
                "about",
                &format!("{left} more components are in the table alone: `--component NAME` tells one."),
            );
        }
        self.moments(&mut page, &told, left > 0);
        if !self.not_played.is_empty() {
            page.heading("Not played");
            page.list(&self.not_played);
        }
        page.heading("Taken for granted");
        page.list(&self.taken);
        page.finish()
    }

    fn verdict(&self, page: &mut Page) {
        let lost: Vec<&OfComponent> = self.components.iter().filter(|it| it.lost).collect();
        let back = lost.iter().filter(|it| it.recovered_in == self.ways).count();
        let (class, text) = match (lost.len(), back) {
            (0, _) => (
                "verdict",
                "No component lost the instance that it is bound to: nothing has to be recovered.".to_owned(),
            ),
            (all, back) if all == back => {
                ("verdict good", format!("✓ {} lost, all of them recovered in every way.", counted(all)))
            }
            (all, back) => ("verdict bad", format!("✗ {} lost, {back} of them recovered in every way.", counted(all))),
        };
        page.paragraph(class, &text);
        let differ: Vec<&str> = lost.iter().filter(|it| !it.agrees).map(|it| it.name.as_str()).collect();
        if !differ.is_empty() {
            page.paragraph("bad", &format!("Came out otherwise than `mainstay check` says: {}.", differ.join(", ")));
        } else if !lost.is_empty() {
            page.paragraph("about", "Each of them came out as `mainstay check` proves it.");
        }
    }

    fn cards(&self, page: &mut Page) {
        let lost = || self.components.iter().filter(|it| it.lost);
        let slowest = lost().filter_map(|it| it.slowest_s).reduce(f64::max);
        let quickest = lost().filter_map(|it| it.quickest_s).reduce(f64::max);
        let proved = lost().filter_map(|it| it.proved.as_ref()).map(|it| it.completed_s).reduce(f64::max);
        let missed = lost().filter(|it| it.rto_kept == Some(false)).count();
        let data = lost().filter_map(|it| it.data_lost_s).reduce(f64::max);
        let away = self.routes.iter().flat_map(|it| &it.away).map(|it| it.to_s.map(|to| to - it.from_s));
        let away: Vec<Option<f64>> = away.collect();
        let longest = away.iter().copied().collect::<Option<Vec<f64>>>().map(|it| it.into_iter().fold(0.0, f64::max));
        let of = |it: Option<f64>| it.map_or("–".to_owned(), span);
        page.figures(&[
            ("recovered after, at most".to_owned(), of(slowest), format!("{} in the quickest way", of(quickest))),
            ("proved within".to_owned(), of(proved), "the slowest of what is proved".to_owned()),
            (
                "clients not served".to_owned(),
                if away.is_empty() { "0s".to_owned() } else { longest.map_or("to the end".to_owned(), span) },
                match away.iter().filter(|it| it.is_none()).count() {
                    0 => "the longest; all of them are back".to_owned(),
                    left => format!("{left} of {} not back", routes(self.routes.len())),
                },
            ),
            (
                "work lost, at most".to_owned(),
                of(data),
                if missed == 0 {
                    "every rto is kept".to_owned()
                } else {
                    let word = if missed == 1 { "misses its rto" } else { "miss their rto" };
                    format!("{missed} of {} {word}", lost().count())
                },
            ),
        ]);
    }

    fn table(&self, page: &mut Page, shown: &Shown) {
        let row = |it: &OfComponent| {
            let time = |it: Option<f64>| it.map_or("–".to_owned(), span);
            let outcome = match it.recovered_in {
                _ if !it.lost => "not lost".to_owned(),
                0 => "not recovered".to_owned(),
                n if n == self.ways => "recovered".to_owned(),
                n => format!("in {n} of {}", self.ways),
            };
            let by = match (&it.by, &it.to) {
                (Some(by), Some(to)) => format!("{by} to {to}"),
                (Some(by), None) => by.clone(),
                (None, _) => "–".to_owned(),
            };
            let rto = match (it.rto_s, it.rto_kept) {
                (Some(rto), Some(true)) => format!("{} kept", span(rto)),
                (Some(rto), _) => format!("{} missed", span(rto)),
                (None, _) => "–".to_owned(),
            };
            let proved = it.proved.as_ref().map(|it| it.completed_s);
            let lost = match it.data_lost_s {
                Some(0.0) => "nothing".to_owned(),
                Some(some) => format!("≤ {}", span(some)),
                None if it.rpo_s.is_none() => "no state".to_owned(),
                None => "–".to_owned(),
            };
            [it.name.clone(), outcome, by, time(it.quickest_s), time(it.slowest_s), time(proved), rto, lost]
        };
        let mut mine: Vec<&OfComponent> = self.components.iter().collect();
        let left = mine.len().saturating_sub(ROWS);
        if *shown != Shown::All && left > 0 {
            // What went badly, then what took the longest.
            let badness = |it: &OfComponent| {
                (it.recovered_in < self.ways, it.rto_kept == Some(false), it.slowest_s.unwrap_or_default())
            };
            mine.sort_by(|a, b| {
                let (a, b) = (badness(a), badness(b));
                (b.0, b.1).cmp(&(a.0, a.1)).then(b.2.total_cmp(&a.2))
            });
            mine.truncate(ROWS);
        }
        let rows: Vec<[String; 8]> = mine.into_iter().map(row).collect();
        if !rows.is_empty() {
            page.table(
                ["component", "=outcome", "by", " quickest", " slowest", " proved", " rto", " work lost"],
                &rows,
            );
        }
        if rows.len() < self.components.len() {
            let text =
                format!("Of {} components those that went the worst; `--all` shows every one.", self.components.len());
            page.paragraph("about", &text);
        }
        let rows: Vec<[String; 3]> = (self.affected.iter().take(if *shown == Shown::All { usize::MAX } else { ROWS }))
            .map(|it| {
                [
                    it.name.clone(),
                    it.because_of.join(", "),
                    it.until_s.map_or("to the end".to_owned(), |it| format!("after {}", span(it))),
                ]
            })
            .collect();
        if !rows.is_empty() {
            page.subheading("Not lost, and out all the same");
            page.table(["=component", "needs", " has it again"], &rows);
        }
    }

    fn component(&self, page: &mut Page, it: &OfComponent) {
        page.subheading(&it.name);
        let routes: Vec<&OfRoute> =
            self.routes.iter().filter(|route| route.component.as_ref() == Some(&it.name)).collect();
        if it.seconds.is_some() || it.proved.is_some() || !routes.is_empty() {
            let caption = format!(
                "{} from the failure on: the recovery that is told, the worst case of the proof{}, and when clients were not served.",
                it.name,
                if it.rto_s.is_some() { " with the objective" } else { "" }
            );
            page.figure(&self.gantt(it, &routes), &caption);
        }
        let mut said = Vec::new();
        for held in it.held.iter().filter(|it| it.guard != "step") {
            let long = held.to_s.map_or("to the end".to_owned(), |to| format!("for {}", span(to - held.from_s)));
            said.push(format!("held by {} {long}: {}", held.guard.replace('_', " "), held.why));
        }
        if it.lost && it.proved.is_none() {
            said.extend(it.unproved.iter().map(|it| format!("not proved: {it}")));
        }
        said.extend(it.why_not.iter().map(|it| format!("not recovered: {it}")));
        said.extend(it.way_out.iter().map(|it| format!("it waits {it}")));
        said.extend(it.changes.iter().map(|it| format!("to change: {it}")));
        if it.lost {
            said.push(format!("data: {}", it.data));
        }
        page.list(&said);
    }

    fn gantt(&self, it: &OfComponent, routes: &[&OfRoute]) -> String {
        let mut drawing = Drawing::new(&format!("Recovery of {}", it.name));
        let proved = it.proved.as_ref().map(|it| it.total_s.max(it.completed_s));
        let ends = routes.iter().flat_map(|it| &it.away).filter_map(|it| it.to_s);
        let most = [it.slowest_s, proved, it.seconds].into_iter().flatten().chain(ends).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { self.watched_s };
        // An objective that is far away is said and not drawn.
        let rto = it.rto_s.filter(|rto| *rto <= most * 6.0);
        let axis = Axis::even(most.max(rto.unwrap_or_default()) * 1.04, LEFT, RIGHT);
        let rows = 2 + routes.len();
        let (top, step) = (20.0, BAR + 12.0);
        let bottom = top + step * rows as f64;
        axis.draw(&mut drawing, top - 6.0, bottom, "after the failure");
        row(&mut drawing, &axis, "played", &it.parts, top);
        if it.seconds.is_none() {
            drawing.text("d", (LEFT + 4.0, top + 15.0), Anchor::Start, "not recovered", RIGHT - LEFT);
        }
        if let (Some(quickest), Some(slowest)) = (it.quickest_s, it.slowest_s) {
            let y = top + BAR + 4.0;
            drawing.line("tick", (axis.at(quickest), y), (axis.at(slowest), y));
            drawing.line("tick", (axis.at(quickest), y - 3.0), (axis.at(quickest), y + 3.0));
            drawing.line("tick", (axis.at(slowest), y - 3.0), (axis.at(slowest), y + 3.0));
        }
        let bound = it.proved.as_ref().map(|it| it.parts.as_slice()).unwrap_or_default();
        row(&mut drawing, &axis, "proved", bound, top + step);
        if it.proved.is_none() {
            drawing.text("d", (LEFT + 4.0, top + step + 15.0), Anchor::Start, "nothing is proved", RIGHT - LEFT);
        }
        for (nth, route) in routes.iter().enumerate() {
            let y = top + step * (2 + nth) as f64;
            drawing.text("d", (0.0, y + 15.0), Anchor::Start, &format!("by {}", route.name), LEFT - 10.0);
            let mut free = 0.0;
            for away in &route.away {
                let to = away.to_s.unwrap_or(f64::MAX);
                drawing.rect(
                    "here",
                    (axis.at(free), y + 4.0),
                    (axis.at(away.from_s) - axis.at(free), BAR - 8.0),
                    "served",
                );
                let (x, w) = (axis.at(away.from_s), axis.at(to) - axis.at(away.from_s));
                drawing.rect("away", (x, y + 2.0), (w, BAR - 4.0), "not served");
                if w > 70.0 {
                    drawing.text("d", (x + 6.0, y + 15.0), Anchor::Start, "not served", w - 8.0);
                }
                free = to;
            }
            drawing.rect("here", (axis.at(free), y + 4.0), (RIGHT - axis.at(free), BAR - 8.0), "served");
        }
        if let Some(rto) = rto {
            let x = axis.at(rto);
            drawing.line("mark", (x, top - 8.0), (x, bottom));
            let text = format!("rto {}", span(rto));
            let left = x + width(&text, "m") + 6.0 > WIDTH;
            let (anchor, x) = if left { (Anchor::End, x - 5.0) } else { (Anchor::Start, x + 5.0) };
            drawing.text("m", (x, top - 10.0), anchor, &text, 160.0);
        }
        let parts: Vec<&Part> = it.parts.iter().chain(bound).collect();
        let mut signs: Vec<(&str, &str)> = Vec::new();
        for it in PARTS {
            if parts.iter().any(|part| part.part == it && part.seconds > 0.0005) {
                signs.push((class(it), it));
            }
        }
        if it.quickest_s.is_some() {
            signs.push(("tick", "quickest to slowest way"));
        }
        drawing.legend(bottom + 40.0, &signs);
        drawing.finish()
    }

    fn moments(&self, page: &mut Page, told: &[&OfComponent], is_part: bool) {
        page.heading("What happened");
        let of_others =
            |name: &Option<String>| name.as_ref().is_some_and(|name| !told.iter().any(|it| it.name == *name));
        let quiet = |stage: Stage| is_part && matches!(stage, Stage::Converge | Stage::Told);
        let mine = self.timeline.iter().filter(|it| !of_others(&it.component));
        let mine = mine.filter(|it| !(it.component.is_none() && quiet(it.stage)));
        let rows: Vec<[String; 3]> =
            mine.map(|it| [crate::scenario::clock(it.at_s), it.stage.word().to_owned(), it.text.clone()]).collect();
        page.table([" after", "=stage", "what"], &rows);
    }
}

/// In the order in which they come.
const PARTS: [&str; 8] = ["detect", "decide", "dependencies", "turn", "earlier rungs", "fence", "act", "converge"];

/// The class of a part.
pub(super) fn class(part: &str) -> &'static str {
    match part {
        "detect" => "detect",
        "decide" => "decide",
        "held" => "held",
        "dependencies" => "dependencies",
        "turn" => "turn",
        "earlier rungs" => "earlier",
        "fence" => "fence",
        "act" => "act",
        "converge" => "converge",
        _ => "repair",
    }
}

/// Parts one behind the other, with their times where they fit.
fn row(drawing: &mut Drawing, axis: &Axis, name: &str, parts: &[Part], y: f64) {
    drawing.text("d", (0.0, y + 15.0), Anchor::Start, name, LEFT - 10.0);
    let mut from = 0.0;
    for it in parts {
        let (x, to) = (axis.at(from), from + it.seconds);
        let w = axis.at(to) - x;
        drawing.rect(class(it.part), (x, y), (w, BAR), &format!("{} {}", it.part, span(it.seconds)));
        let text = span(it.seconds);
        if w > width(&text, "on") + 8.0 {
            drawing.text(inside(class(it.part)), (x + 4.0, y + 15.0), Anchor::Start, &text, w - 6.0);
        }
        from = to;
    }
}

fn counted(all: usize) -> String {
    if all == 1 { "One component".to_owned() } else { format!("{all} components") }
}

fn routes(all: usize) -> String {
    if all == 1 { "one route".to_owned() } else { format!("{all} routes") }
}
