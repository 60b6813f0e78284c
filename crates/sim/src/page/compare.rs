//! Strategies side by side as a page.

use super::axis::Axis;
use super::draw::{Anchor, Drawing, inside, width};
use super::{Page, WIDTH};
use crate::reliability::compare::OfStrategy;
use crate::reliability::estimate::Estimate;
use crate::reliability::report::Percentiles;
use crate::reliability::report_text::{about_histories, share};
use crate::reliability::{Comparison, span};

const LEFT: f64 = 150.0;
const RIGHT: f64 = WIDTH - 200.0;
const ROW: f64 = 34.0;

impl Comparison {
    /// As a page of its own.
    pub fn html(&self, name: &str) -> String {
        let about = about_histories(self.trials, self.years, self.seed);
        let model = format!("What this is: {}.", self.model);
        let mut page = Page::new(&format!("{name}: strategies side by side"), &[&about, &model]);
        page.heading("Side by side");
        let rows: Vec<[String; 8]> = self.strategies.iter().map(|it| self.cells(it)).collect();
        page.table(
            ["strategy", " rto, half", " rto, 95 %", " rpo, half", " rpo, 95 %", " up", " slo kept", " cost"],
            &rows,
        );
        page.paragraph("about", &self.about());
        let of = |what: fn(&OfStrategy) -> Option<Percentiles>| -> Vec<(&str, Percentiles)> {
            self.strategies.iter().filter_map(|it| Some((it.name, what(it)?))).collect()
        };
        page.heading("Time to recover");
        let caption = "All recoveries when a host, a zone or a region is lost, repairs included. Dot: half; line: to 95 %; short line: 99 %. \
                       The axis is logarithmic.";
        page.figure(&ranges("Time to recover", "time to recover", &of(|it| it.rto)), caption);
        page.heading("Work lost");
        let caption = "What those recoveries lose. What loses nothing has no dot.";
        page.figure(&ranges("Work lost", "work lost", &of(|it| it.rpo)), caption);
        page.heading("Downtime");
        let caption = format!(
            "A year, on average, of everything that clients need, with the interval at {:.0} %.",
            self.confidence * 100.0
        );
        page.figure(&self.downtime(), &caption);
        page.heading("Cost");
        page.figure(&self.costs(), &format!("Counted in: {}.", self.unit_of_cost));
        page.assumptions(&self.assumptions, &[]);
        page.finish()
    }

    fn cells(&self, it: &OfStrategy) -> [String; 8] {
        let time = |it: &Option<Percentiles>, of: fn(&Percentiles) -> f64| {
            it.as_ref().map_or("–".to_owned(), |it| span(of(it)))
        };
        [
            it.name.to_owned(),
            time(&it.rto, |it| it.p50.value),
            time(&it.rto, |it| it.p95.value),
            time(&it.rpo, |it| it.p50.value),
            time(&it.rpo, |it| it.p95.value),
            it.downtime.as_ref().map_or("–".to_owned(), |it| format!("{:.4} %", it.availability.value * 100.0)),
            it.slo_met.map_or("–".to_owned(), |it| share(it.value)),
            format!("{:.2}", it.cost.total),
        ]
    }

    fn downtime(&self) -> String {
        let mut drawing = Drawing::new("Downtime a year");
        let rows: Vec<(&str, Estimate)> = (self.strategies.iter())
            .filter_map(|it| Some((it.name, it.downtime.as_ref()?.minutes_a_year)))
            .map(|(name, it)| (name, Estimate { value: it.value * 60.0, low: it.low * 60.0, high: it.high * 60.0 }))
            .collect();
        let axis = Axis::powers(
            rows.iter().flat_map(|it| [it.1.value, it.1.low.max(it.1.value / 10.0), it.1.high]),
            LEFT,
            RIGHT,
        );
        let bottom = 14.0 + ROW * rows.len() as f64;
        axis.draw(&mut drawing, 8.0, bottom, "down a year");
        for (at, (name, it)) in rows.iter().enumerate() {
            let y = 14.0 + ROW * at as f64 + ROW / 2.0;
            drawing.text("b", (0.0, y + 4.0), Anchor::Start, name, LEFT - 10.0);
            let (from, to) = (axis.at(it.low), axis.at(it.high));
            drawing.rect(
                "band",
                (from, y - 5.0),
                ((to - from).max(1.0), 10.0),
                &format!("{} to {}", span(it.low), span(it.high)),
            );
            drawing.dot("bar", (axis.at(it.value), y), 5.0, &span(it.value));
            drawing.text("d", (RIGHT + 10.0, y + 4.0), Anchor::Start, &span(it.value), 140.0);
        }
        drawing.finish()
    }

    fn costs(&self) -> String {
        let mut drawing = Drawing::new("Cost");
        let most = self.strategies.iter().map(|it| it.cost.total).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        for (at, it) in self.strategies.iter().enumerate() {
            let y = 8.0 + ROW * at as f64;
            drawing.text("b", (0.0, y + 16.0), Anchor::Start, it.name, LEFT - 10.0);
            let mut x = LEFT;
            let parts = [
                ("act", "at home", it.cost.home),
                ("decide", "elsewhere", it.cost.elsewhere),
                ("fence", "downtime", it.cost.downtime.unwrap_or(0.0)),
            ];
            for (class, what, cost) in parts {
                let w = cost / most * (RIGHT - LEFT);
                drawing.rect(class, (x, y + 2.0), (w, 20.0), &format!("{what} {cost:.2}"));
                let text = format!("{cost:.2}");
                if w > width(&text, "on") + 8.0 {
                    drawing.text(inside(class), (x + 4.0, y + 16.0), Anchor::Start, &text, w);
                }
                x += w;
            }
            drawing.text("d", (x + 8.0, y + 16.0), Anchor::Start, &format!("{:.2}", it.cost.total), 140.0);
        }
        let priced = self.strategies.iter().any(|it| it.cost.downtime.is_some());
        let mut signs = vec![("act", "what runs at home"), ("decide", "what runs and is kept elsewhere")];
        if priced {
            signs.push(("fence", "downtime at its price"));
        }
        drawing.legend(14.0 + ROW * self.strategies.len() as f64, &signs);
        drawing.finish()
    }
}

/// Half, 95 and 99 of 100 of each.
fn ranges(title: &str, what: &str, rows: &[(&str, Percentiles)]) -> String {
    let mut drawing = Drawing::new(title);
    let all = rows.iter().flat_map(|(_, it)| [it.p50.value, it.p95.value, it.p99.value]);
    let axis = Axis::powers(all, LEFT, RIGHT);
    let bottom = 14.0 + ROW * rows.len() as f64;
    axis.draw(&mut drawing, 8.0, bottom, what);
    for (at, (name, it)) in rows.iter().enumerate() {
        let y = 14.0 + ROW * at as f64 + ROW / 2.0;
        drawing.text("b", (0.0, y + 4.0), Anchor::Start, name, LEFT - 10.0);
        if it.p99.value <= 0.0 {
            drawing.text("d", (LEFT + 4.0, y + 4.0), Anchor::Start, "nothing in 99 %", 300.0);
            continue;
        }
        let from = if it.p50.value > 0.0 { axis.at(it.p50.value) } else { LEFT };
        drawing.line("tick", (from, y), (axis.at(it.p95.value), y));
        drawing.line("axis", (axis.at(it.p95.value), y), (axis.at(it.p99.value), y));
        drawing.line("axis", (axis.at(it.p99.value), y - 5.0), (axis.at(it.p99.value), y + 5.0));
        if it.p50.value > 0.0 {
            drawing.dot("bar", (from, y), 5.0, &format!("half {}", span(it.p50.value)));
        }
        let text = format!("{} · {} · {}", span(it.p50.value), span(it.p95.value), span(it.p99.value));
        drawing.text("d", (RIGHT + 12.0, y + 4.0), Anchor::Start, &text, 188.0);
    }
    drawing.finish()
}
