//! Makes a failing trial as small as it gets: whatever can be left out without the violation going away is left out.

use super::{Trial, Violation};

/// How many smaller trials are tried.
const TRIES: usize = 400;

/// A smaller trial that violates the same invariant, and how it does.
pub fn shrink(trial: &Trial, violation: &Violation) -> (Trial, Violation) {
    let mut best = (trial.clone(), violation.clone());
    let mut tries = 0;
    let mut fails = |smaller: &Trial, best: &mut (Trial, Violation)| {
        tries += 1;
        if tries > TRIES {
            return false;
        }
        let found = smaller.run().violation.filter(|it| it.code == violation.code);
        let is_same = found.is_some();
        if let Some(found) = found {
            *best = (smaller.clone(), found);
        }
        is_same
    };
    if best.0.promise.is_some() && violation.code != "L1" {
        fails(&Trial { promise: None, ..best.0.clone() }, &mut best);
    }
    // Whole kinds first, then halves, quarters, and single events.
    for kind in trial.kinds.clone() {
        let mut smaller = best.0.clone();
        smaller.script.retain(|it| it.kind != kind);
        smaller.kinds.remove(&kind);
        if smaller.script.len() < best.0.script.len() {
            fails(&smaller, &mut best);
        }
    }
    let mut chunk = best.0.script.len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        while from < best.0.script.len() {
            let mut smaller = best.0.clone();
            let to = (from + chunk).min(smaller.script.len());
            // The time of what is left out still passes, unless that does not matter either.
            let passed = smaller.script.drain(from..to).map(|it| it.after).sum();
            let mut hasty = smaller.clone();
            if let Some(next) = smaller.script.get_mut(from) {
                next.after += passed;
            }
            if !fails(&hasty, &mut best) && !fails(&smaller, &mut best) {
                from += chunk;
            }
            hasty.script.clear();
        }
        chunk /= 2;
    }
    for nth in 0..best.0.script.len() {
        for _ in 0..4 {
            let mut smaller = best.0.clone();
            smaller.script[nth].after /= 2;
            if !fails(&smaller, &mut best) {
                break;
            }
        }
    }
    let left = best.0.script.iter().map(|it| it.kind).collect();
    best.0.kinds = left;
    best
}
