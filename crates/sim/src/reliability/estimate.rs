//! What a number of trials says, and how sure one may be.

use serde::Serialize;

use super::normal;

/// A value with an interval around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The best guess.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    /// Whether the interval holds a value.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    fn around(value: f64, half: f64) -> Estimate {
        Estimate { value, low: value - half, high: value + half }
    }
}

/// The mean of independent values, with an interval by the central limit theorem: fit for thirty values and more, and for
/// more of them where few are large. `None` for less than two.
pub fn mean(values: &[f64], confidence: f64) -> Option<Estimate> {
    if values.len() < 2 {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|it| (it - mean) * (it - mean)).sum();
    let error = libm::sqrt(squares / (count - 1.0) / count);
    Some(Estimate::around(mean, normal::two_sided(confidence) * error))
}

/// The ratio of two sums over independent cycles, with an interval: the regenerative method. A cycle begins whenever
/// everything is as it was in the beginning; within one anything may depend on anything.
///
/// Source: M. A. Crane, A. J. Lemoine, *An Introduction to the Regenerative Method for Simulation Analysis*, 1977.
pub fn ratio(cycles: &[(f64, f64)], confidence: f64) -> Option<Estimate> {
    if cycles.len() < 2 {
        return None;
    }
    let count = cycles.len() as f64;
    let (above, below) = cycles.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let ratio = above / below;
    let squares: f64 = cycles.iter().map(|(above, below)| above - ratio * below).map(|it| it * it).sum();
    let error = libm::sqrt(squares / (count - 1.0) / count) / (below / count);
    Some(Estimate::around(ratio, normal::two_sided(confidence) * error))
}

/// The share of trials in which something happened, with Wilson's interval, which is right near 0 and 1, too.
///
/// Source: E. B. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 22 (1927).
pub fn share(happened: usize, of: usize, confidence: f64) -> Option<Estimate> {
    if of == 0 {
        return None;
    }
    let (count, z) = (of as f64, normal::two_sided(confidence));
    let share = happened as f64 / count;
    let middle = (share + z * z / (2.0 * count)) / (1.0 + z * z / count);
    let half = z / (1.0 + z * z / count) * libm::sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count));
    Some(Estimate { value: share, low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
}

/// A percentile of independent values in ascending order, `p` from 0 to 1, with an interval from the values around it:
/// which of them the true one lies between is a matter of the binomial distribution alone, whatever was measured. The
/// ends are the extreme values where the data reach no further. `None` without values.
pub fn percentile(sorted: &[f64], p: f64, confidence: f64) -> Option<Estimate> {
    let last = sorted.len().checked_sub(1)?;
    let count = sorted.len() as f64;
    let half = normal::two_sided(confidence) * libm::sqrt(count * p * (1.0 - p));
    let at = |rank: f64| sorted[(rank.max(1.0) as usize - 1).min(last)];
    let value = at(libm::ceil(count * p));
    Some(Estimate { value, low: at(libm::floor(count * p - half)), high: at(libm::ceil(count * p + half) + 1.0) })
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::super::distribution::Distribution;
    use super::*;

    /// How often an interval of 90 % holds what is true, over many repetitions: neither much less nor always.
    fn coverage(truth: f64, estimated: impl Fn(&mut Chance) -> Estimate) -> f64 {
        let held = (0..1000).filter(|it| estimated(&mut Chance::new(17, *it)).holds(truth)).count();
        held as f64 / 1000.0
    }

    const EXPONENTIAL: Distribution = Distribution::Exponential { mean: 3.0 };

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_claim() {
        let draws = |chance: &mut Chance| (0..400).map(|_| EXPONENTIAL.draw(chance)).collect::<Vec<f64>>();
        let means = coverage(3.0, |chance| mean(&draws(chance), 0.9).expect("values"));
        assert!((0.86..0.94).contains(&means), "{means}");
        let p95 = coverage(EXPONENTIAL.quantile(0.95), |chance| {
            let mut all = draws(chance);
            all.sort_by(f64::total_cmp);
            percentile(&all, 0.95, 0.9).expect("values")
        });
        assert!((0.86..0.97).contains(&p95), "{p95}");
        let shares = coverage(0.05, |chance| {
            share((0..400).filter(|_| chance.happens(0.05)).count(), 400, 0.9).expect("trials")
        });
        assert!((0.86..0.95).contains(&shares), "{shares}");
        // Up for 3 on average, then down for 1.
        let ratios = coverage(0.25, |chance| {
            let cycle = |chance: &mut Chance| {
                let (up, down) = (EXPONENTIAL.draw(chance), Distribution::Exponential { mean: 1.0 }.draw(chance));
                (down, up + down)
            };
            ratio(&(0..400).map(|_| cycle(chance)).collect::<Vec<_>>(), 0.9).expect("cycles")
        });
        assert!((0.86..0.94).contains(&ratios), "{ratios}");
    }

    #[test]
    fn few_values_say_little() {
        assert!(mean(&[1.0], 0.9).is_none() && ratio(&[(1.0, 2.0)], 0.9).is_none());
        assert!(share(0, 0, 0.9).is_none() && percentile(&[], 0.5, 0.9).is_none());
        let one = percentile(&[7.0], 0.99, 0.9).expect("a value");
        assert!((one.low - 7.0).abs() + (one.value - 7.0).abs() + (one.high - 7.0).abs() < 1e-12);
        let none = share(0, 100, 0.99).expect("trials");
        assert!(none.value.abs() + none.low.abs() < 1e-12 && none.high > 0.03);
    }
}
