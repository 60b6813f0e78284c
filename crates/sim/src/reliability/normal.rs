//! The normal distribution: the quantile that lognormal durations and confidence intervals are made of.

/// The value that a standard normal variable stays below with probability `p`, 0 < p < 1.
///
/// Source: M. J. Wichura, *Algorithm AS 241: The Percentage Points of the Normal Distribution*, Applied Statistics 37
/// (1988), routine PPND16; about 16 digits. Logarithm and root are those of `libm`, the same on every machine.
pub fn quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRE);
    }
    let r = libm::sqrt(-libm::log(if q < 0.0 { p } else { 1.0 - p }));
    let tail = if r <= 5.0 { ratio(r - 1.6, &MIDDLE) } else { ratio(r - 5.0, &FAR) };
    if q < 0.0 { -tail } else { tail }
}

/// The half width of a two-sided interval that holds `confidence` of a standard normal variable: 1.96 for 0.95.
pub fn two_sided(confidence: f64) -> f64 {
    quantile(0.5 + confidence / 2.0)
}

/// Numerator and denominator, the lowest power first.
type Ratio = ([f64; 8], [f64; 8]);

fn ratio(x: f64, (above, below): &Ratio) -> f64 {
    let value = |of: &[f64; 8]| of.iter().rev().fold(0.0, |sum, it| sum * x + it);
    value(above) / value(below)
}

#[expect(clippy::excessive_precision, reason = "as the source prints them")]
const CENTRE: Ratio = (
    [
        3.387_132_872_796_366_608_0,
        1.331_416_678_917_843_774_5e2,
        1.971_590_950_306_551_442_7e3,
        1.373_169_376_550_946_112_5e4,
        4.592_195_393_154_987_145_7e4,
        6.726_577_092_700_870_085_3e4,
        3.343_057_558_358_812_810_5e4,
        2.509_080_928_730_122_672_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091_125_2e1,
        6.871_870_074_920_579_083_0e2,
        5.394_196_021_424_751_107_7e3,
        2.121_379_430_158_659_586_7e4,
        3.930_789_580_009_271_061_0e4,
        2.872_908_573_572_194_267_4e4,
        5.226_495_278_852_854_561_0e3,
    ],
);
#[expect(clippy::excessive_precision, reason = "as the source prints them")]
const MIDDLE: Ratio = (
    [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_90,
        5.769_497_221_460_691_405_50,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        2.417_807_251_774_506_117_70e-1,
        2.272_384_498_926_918_458_33e-2,
        7.745_450_142_783_414_076_40e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_40,
        6.897_673_349_851_000_045_50e-1,
        1.481_039_764_274_800_745_90e-1,
        1.519_866_656_361_645_719_66e-2,
        5.475_938_084_995_344_946_00e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
);
#[expect(clippy::excessive_precision, reason = "as the source prints them")]
const FAR: Ratio = (
    [
        6.657_904_643_501_103_777_20,
        5.463_784_911_164_114_369_90,
        1.784_826_539_917_291_335_80,
        2.965_605_718_285_048_912_30e-1,
        2.653_218_952_657_612_309_30e-2,
        1.242_660_947_388_078_438_60e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879_376_90e-1,
        1.369_298_809_227_358_053_10e-1,
        1.487_536_129_085_061_485_25e-2,
        7.868_691_311_456_132_591_00e-4,
        1.846_318_317_510_054_681_80e-5,
        1.421_511_758_316_445_888_70e-7,
        2.044_263_103_389_939_785_64e-15,
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantile against the distribution itself, by the complementary error function of `libm`.
    #[test]
    fn it_inverts_the_distribution() {
        for p in [1e-12, 1e-6, 0.001, 0.025, 0.07, 0.2, 0.5, 0.8, 0.93, 0.975, 0.999, 0.999_999] {
            let back = 0.5 * libm::erfc(-quantile(p) / core::f64::consts::SQRT_2);
            assert!((back - p).abs() <= 1e-13 * p.max(1e-3) + 1e-12 * p, "{p}: {back}");
        }
    }

    #[test]
    fn the_usual_numbers() {
        for (p, z) in [(0.95, 1.959_963_984_540_054), (0.99, 2.575_829_303_548_901), (0.90, 1.644_853_626_951_472)] {
            assert!((two_sided(p) - z).abs() < 1e-14, "{p}: {}", two_sided(p));
        }
    }
}
