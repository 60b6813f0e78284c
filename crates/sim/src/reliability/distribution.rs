//! How long something takes, or works: durations as distributions.
//!
//! A duration is drawn by turning the distribution round: one even number between 0 and 1 becomes the duration that is
//! longer than that share of all. So each draw costs one number of chance, and a longer one of two distributions stays
//! longer draw by draw. Logarithms and powers come from `libm`, which gives the same bits on every machine; the
//! platform's own need not.

use serde::Serialize;

use super::chance::Chance;
use super::normal;

/// The distribution of a duration, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Always the same.
    Fixed(f64),
    /// Without memory: what has lasted long is as likely to end as what began just now.
    Exponential {
        /// The mean.
        mean: f64,
    },
    /// Its logarithm is normal: most are near the median, a few take many times as long. Usual for repairs by people.
    Lognormal {
        /// Half are shorter.
        median: f64,
        /// The standard deviation of the natural logarithm.
        sigma: f64,
    },
    /// Ageing: with a shape above 1 what is old fails sooner, below 1 what is new does.
    Weibull {
        /// 1 is exponential.
        shape: f64,
        /// 63.2 % are shorter.
        scale: f64,
    },
    /// Every duration from one to the other is as likely.
    Uniform {
        /// The shortest.
        from: f64,
        /// The longest.
        to: f64,
    },
    /// One of these, each as likely: what was measured. In ascending order, never empty.
    Empirical(Vec<f64>),
}

impl Distribution {
    /// Lognormal from the two numbers that people know.
    pub fn lognormal(median: f64, p95: f64) -> Distribution {
        Distribution::Lognormal { median, sigma: libm::log(p95 / median) / normal::quantile(0.95) }
    }

    /// Empirical, from at least one measured duration in any order.
    pub fn empirical(mut measured: Vec<f64>) -> Distribution {
        measured.sort_by(f64::total_cmp);
        Distribution::Empirical(measured)
    }

    /// The duration that a share `p` of all is shorter than, 0 < p < 1.
    pub fn quantile(&self, p: f64) -> f64 {
        match self {
            Distribution::Fixed(it) => *it,
            Distribution::Exponential { mean } => -mean * libm::log1p(-p),
            Distribution::Lognormal { median, sigma } => median * libm::exp(sigma * normal::quantile(p)),
            Distribution::Weibull { shape, scale } => scale * libm::pow(-libm::log1p(-p), 1.0 / shape),
            Distribution::Uniform { from, to } => from + (to - from) * p,
            Distribution::Empirical(all) => {
                // The product may round up to the length.
                let at = (p * all.len() as f64) as usize;
                all[at.min(all.len() - 1)]
            }
        }
    }

    /// A duration, in seconds.
    pub fn draw(&self, chance: &mut Chance) -> f64 {
        match self {
            Distribution::Fixed(it) => *it,
            Distribution::Exponential { .. }
            | Distribution::Lognormal { .. }
            | Distribution::Weibull { .. }
            | Distribution::Uniform { .. }
            | Distribution::Empirical(_) => self.quantile(chance.unit()),
        }
    }

    /// Its mean, in seconds.
    pub fn mean(&self) -> f64 {
        match self {
            Distribution::Fixed(it) => *it,
            Distribution::Exponential { mean } => *mean,
            Distribution::Lognormal { median, sigma } => median * libm::exp(sigma * sigma / 2.0),
            Distribution::Weibull { shape, scale } => scale * libm::tgamma(1.0 + 1.0 / shape),
            Distribution::Uniform { from, to } => f64::midpoint(*from, *to),
            Distribution::Empirical(all) => all.iter().sum::<f64>() / all.len() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Distribution> {
        vec![
            Distribution::Fixed(3.0),
            Distribution::Exponential { mean: 7.0 },
            Distribution::lognormal(4.0, 24.0),
            Distribution::Weibull { shape: 1.7, scale: 5.0 },
            Distribution::Weibull { shape: 0.8, scale: 5.0 },
            Distribution::Uniform { from: 1.0, to: 2.0 },
            Distribution::empirical(vec![9.0, 1.0, 2.0, 2.0]),
        ]
    }

    #[test]
    fn draws_have_the_mean_that_is_claimed() {
        for it in all() {
            let mut chance = Chance::new(11, 0);
            let draws: Vec<f64> = (0..200_000).map(|_| it.draw(&mut chance)).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / draws.len() as f64;
            let error = (variance / draws.len() as f64).sqrt();
            assert!((mean - it.mean()).abs() <= 4.0 * error + 1e-12, "{it:?}: {mean} is not {}", it.mean());
        }
    }

    #[test]
    fn quantiles_are_those_of_the_books() {
        let lognormal = Distribution::lognormal(4.0, 24.0);
        assert!((lognormal.quantile(0.5) - 4.0).abs() < 1e-12 && (lognormal.quantile(0.95) - 24.0).abs() < 1e-10);
        let exponential = Distribution::Exponential { mean: 7.0 };
        assert!((exponential.quantile(0.5) - 7.0 * core::f64::consts::LN_2).abs() < 1e-12);
        // A shape of 1 is exponential.
        let weibull = Distribution::Weibull { shape: 1.0, scale: 7.0 };
        assert!(
            (weibull.quantile(0.9) - exponential.quantile(0.9)).abs() < 1e-12 && (weibull.mean() - 7.0).abs() < 1e-12
        );
        let measured = Distribution::empirical(vec![3.0, 1.0, 2.0]);
        let drawn = [0.01, 0.34, 0.67, 1.0 - 1e-16].map(|p| measured.quantile(p).to_bits());
        assert_eq!(drawn, [1.0, 2.0, 3.0, 3.0].map(f64::to_bits));
    }

    #[test]
    fn quantiles_never_fall() {
        for it in all() {
            let each: Vec<f64> = (1..100).map(|at| it.quantile(f64::from(at) / 100.0)).collect();
            assert!(each.is_sorted(), "{it:?}");
        }
    }

    /// The bits of a few draws: they may depend on nothing but the seed.
    #[test]
    fn draws_are_pinned() {
        let mut chance = Chance::new(5, 0);
        let bits: Vec<u64> = all().iter().map(|it| it.draw(&mut chance).to_bits()).collect();
        assert_eq!(bits, PINNED, "{bits:#x?}");
    }

    const PINNED: [u64; 7] = [
        0x4008_0000_0000_0000,
        0x4029_426f_a355_a7c4,
        0x4002_9bbd_5777_e2aa,
        0x4001_885b_0c4d_eecc,
        0x3ff4_938c_ae73_3dd2,
        0x3ffc_96ea_0c92_9f8e,
        0x4000_0000_0000_0000,
    ];
}
