//! How something is spread: for each row the shape of all values over one axis, with the percentiles that are reported of them
//! and what was promised.

use super::WIDTH;
use super::axis::Axis;
use super::draw::{Anchor, Drawing};
use crate::reliability::estimate::Estimate;
use crate::reliability::report::Percentiles;
use crate::reliability::span;

/// One row.
pub(crate) struct Spread<'a> {
    /// What it is.
    pub(crate) name: String,
    /// What stands below the name.
    pub(crate) below: String,
    /// All values, in seconds.
    pub(crate) values: &'a [f64],
    /// What is said of them.
    pub(crate) percentiles: Percentiles,
    /// The objective, in seconds.
    pub(crate) objective: Option<f64>,
    /// The worst case of the proof, in seconds.
    pub(crate) bound: Option<f64>,
}

/// How many bars a row has.
const PARTS: usize = 90;
const LEFT: f64 = 190.0;
const RIGHT: f64 = WIDTH - 130.0;
const ROW: f64 = 66.0;
/// Height of the tallest bar.
const TALL: f64 = 34.0;

/// Rows over one axis in powers. `nothing`: what a value of zero is called; zeros have no place on such an axis.
pub(crate) fn draw(title: &str, what: &str, rows: &[Spread<'_>], nothing: &str) -> String {
    let mut drawing = Drawing::new(title);
    let said = rows.iter().flat_map(|it| [it.objective, it.bound]).flatten();
    let values = rows.iter().flat_map(|it| it.values.iter().copied());
    let axis = Axis::powers(values.chain(said), LEFT, RIGHT);
    let top = 22.0;
    let bottom = top + ROW * rows.len() as f64;
    axis.draw(&mut drawing, top - 6.0, bottom, what);
    for (at, row) in rows.iter().enumerate() {
        one(&mut drawing, &axis, row, top + ROW * at as f64, nothing);
    }
    let mut signs =
        vec![("bar", "how many, the tallest bar of each row as high as the row"), ("tick", "half, 95 %, 99 %")];
    signs.push(("band", "interval of the 95 %"));
    if rows.iter().any(|it| it.objective.is_some()) {
        signs.push(("mark", "objective"));
    }
    if rows.iter().any(|it| it.bound.is_some()) {
        signs.push(("bound", "worst case of the proof"));
    }
    drawing.legend(bottom + 42.0, &signs);
    drawing.finish()
}

fn one(drawing: &mut Drawing, axis: &Axis, row: &Spread<'_>, top: f64, nothing: &str) {
    let base = top + 14.0 + TALL;
    let (left, right) = axis.ends();
    drawing.text("b", (0.0, base - 16.0), Anchor::Start, &row.name, LEFT - 14.0);
    drawing.text("d", (0.0, base - 1.0), Anchor::Start, &row.below, LEFT - 14.0);
    let mut counts = vec![0_u32; PARTS];
    let zeros = row.values.iter().filter(|it| **it <= 0.0).count();
    for it in row.values.iter().filter(|it| **it > 0.0) {
        let share = (axis.at(*it) - left) / (right - left);
        counts[((share * PARTS as f64) as usize).min(PARTS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let all = row.values.len().max(1) as f64;
    for (nth, count) in counts.iter().enumerate().filter(|it| *it.1 > 0) {
        let ((from, to), high) = (axis.part(nth, PARTS), (f64::from(*count) / f64::from(most) * TALL).max(0.8));
        let x = axis.at(from);
        let tip = format!("{} to {}: {:.2} %", span(from), span(to), f64::from(*count) / all * 100.0);
        drawing.rect("bar", (x, base - high), ((axis.at(to) - x - 0.6).max(0.6), high), &tip);
    }
    if let Some(bound) = row.bound {
        drawing.line("bound", (axis.at(bound), top + 4.0), (axis.at(bound), base + 4.0));
    }
    if let Some(objective) = row.objective {
        let x = axis.at(objective);
        drawing.line("mark", (x, top + 4.0), (x, base + 4.0));
    }
    let Percentiles { p50, p95, p99, .. } = &row.percentiles;
    let band = (axis.at(p95.low), axis.at(p95.high));
    drawing.rect("band", (band.0, base + 2.0), ((band.1 - band.0).max(1.0), 5.0), &interval(p95));
    for it in [p50, p95, p99].into_iter().filter(|it| it.value > 0.0) {
        drawing.line("tick", (axis.at(it.value), base + 1.0), (axis.at(it.value), base + 8.0));
    }
    let x = right + 10.0;
    drawing.text("d", (x, base - 24.0), Anchor::Start, &format!("half {}", span(p50.value)), WIDTH - x);
    drawing.text("d", (x, base - 10.0), Anchor::Start, &format!("95 % {}", span(p95.value)), WIDTH - x);
    drawing.text("d", (x, base + 4.0), Anchor::Start, &format!("99 % {}", span(p99.value)), WIDTH - x);
    if zeros > 0 {
        let text = format!("{nothing} in {:.1} %", zeros as f64 / all * 100.0);
        drawing.text("s", (left + 4.0, top + 8.0), Anchor::Start, &text, 300.0);
    }
}

fn interval(it: &Estimate) -> String {
    format!("95 %: {} ({} to {})", span(it.value), span(it.low), span(it.high))
}
