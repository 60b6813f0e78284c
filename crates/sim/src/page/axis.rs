//! Axes of durations, in seconds: even, or in powers where a picture spans from milliseconds to days.

use super::draw::{Anchor, Drawing, width};
use crate::reliability::span;

/// Maps seconds to a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    from: f64,
    to: f64,
    left: f64,
    right: f64,
    powers: bool,
}

/// Durations that people count in.
const ROUND: [f64; 38] = [
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    1_209_600.0,
    2_592_000.0,
    5_184_000.0,
    7_776_000.0,
    15_552_000.0,
    31_536_000.0,
    63_072_000.0,
    157_680_000.0,
    315_360_000.0,
];

/// The same for powers, farther apart.
const POWERS: [f64; 17] = [
    0.001,
    0.01,
    0.1,
    1.0,
    10.0,
    60.0,
    600.0,
    3600.0,
    36_000.0,
    86_400.0,
    604_800.0,
    2_592_000.0,
    31_536_000.0,
    315_360_000.0,
    3.1536e9,
    3.1536e10,
    3.1536e11,
];

impl Axis {
    /// From nothing to `most`, in even steps.
    pub(crate) fn even(most: f64, left: f64, right: f64) -> Axis {
        Axis { from: 0.0, to: most.max(0.001), left, right, powers: false }
    }

    /// Over all of these, in powers. What is below the first is drawn at it.
    pub(crate) fn powers(values: impl Iterator<Item = f64>, left: f64, right: f64) -> Axis {
        let (mut from, mut to) = (f64::INFINITY, 0.0_f64);
        for it in values.filter(|it| *it > 0.0 && it.is_finite()) {
            (from, to) = (from.min(it), to.max(it));
        }
        if from > to {
            (from, to) = (0.1, 10.0);
        }
        let below = POWERS.iter().rev().find(|it| **it <= from.max(0.001)).copied().unwrap_or(0.001);
        let above = ROUND.iter().find(|it| **it >= to * 1.02).copied().unwrap_or(to * 1.1);
        Axis { from: below, to: above.max(below * 10.0), left, right, powers: true }
    }

    /// Where a duration stands.
    pub(crate) fn at(&self, seconds: f64) -> f64 {
        let share = if self.powers {
            libm::log(seconds.max(self.from) / self.from) / libm::log(self.to / self.from)
        } else {
            (seconds - self.from) / (self.to - self.from)
        };
        self.left + share.clamp(0.0, 1.0) * (self.right - self.left)
    }

    /// Its ends.
    pub(crate) const fn ends(&self) -> (f64, f64) {
        (self.left, self.right)
    }

    /// The `nth` of `count` parts that look equally wide, in seconds.
    pub(crate) fn part(&self, nth: usize, count: usize) -> (f64, f64) {
        let at = |nth: usize| {
            let share = nth as f64 / count as f64;
            if self.powers {
                self.from * libm::pow(self.to / self.from, share)
            } else {
                self.from + (self.to - self.from) * share
            }
        };
        (at(nth), at(nth + 1))
    }

    fn ticks(&self) -> Vec<f64> {
        if self.powers {
            return POWERS.into_iter().filter(|it| (self.from * 0.999..=self.to * 1.001).contains(it)).collect();
        }
        let room = ((self.right - self.left) / 90.0).max(2.0);
        let step = ROUND.iter().find(|it| self.to / **it <= room).copied().unwrap_or(self.to);
        let count = (self.to / step + 0.001) as usize;
        (0..=count).map(|it| it as f64 * step).collect()
    }

    /// Lines from `top` to `bottom`, and what they stand for below.
    pub(crate) fn draw(&self, drawing: &mut Drawing, top: f64, bottom: f64, what: &str) {
        let mut free = f64::NEG_INFINITY;
        for it in self.ticks() {
            let (x, text) = (self.at(it), span(it));
            drawing.line("grid", (x, top), (x, bottom));
            let half = width(&text, "d") / 2.0;
            if x - half > free && x + half < super::WIDTH + 20.0 {
                let shifted = x.min(super::WIDTH - half);
                drawing.text("d", (shifted, bottom + 14.0), Anchor::Middle, &text, 200.0);
                free = x + half + 8.0;
            }
        }
        drawing.line("axis", (self.left, bottom), (self.right, bottom));
        drawing.text("s", (self.left, bottom + 28.0), Anchor::Start, what, self.right - self.left);
    }
}
