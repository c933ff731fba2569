//! Standard normal draws: the quantile function at the middle of each of 2^32 equal intervals.
//!
//! z = Phi^-1((word + 1/2) / 2^32) by Wichura's algorithm AS 241 (PPND16, Applied Statistics 37, 1988; relative error
//! 1e-16), without its branch for tails below exp(-25), which no word reaches: |z| < 6.3. The logarithm is libm's, so
//! that a word gives the same bits on every machine. Twin: python/signoise/reference/_random.py

/// Beyond this distance of the probability from one half the tails' formula holds.
const CENTRE: f64 = 0.425;

const CENTRE_ABOVE: [f64; 8] = [
    2_509.080_928_730_122_7,
    33_430.575_583_588_13,
    67_265.770_927_008_7,
    45_921.953_931_549_87,
    13_731.693_765_509_46,
    1_971.590_950_306_551_3,
    133.141_667_891_784_38,
    3.387_132_872_796_366_5,
];
const CENTRE_BELOW: [f64; 8] = [
    5_226.495_278_852_854,
    28_729.085_735_721_943,
    39_307.895_800_092_71,
    21_213.794_301_586_597,
    5_394.196_021_424_751,
    687.187_007_492_057_9,
    42.313_330_701_600_91,
    1.0,
];
const TAIL_ABOVE: [f64; 8] = [
    7.745_450_142_783_414e-4,
    0.022_723_844_989_269_184,
    0.241_780_725_177_450_6,
    1.270_458_252_452_368_4,
    3.647_848_324_763_204_5,
    5.769_497_221_460_691,
    4.630_337_846_156_546,
    1.423_437_110_749_683_5,
];
const TAIL_BELOW: [f64; 8] = [
    1.050_750_071_644_416_9e-9,
    5.475_938_084_995_345e-4,
    0.015_198_666_563_616_457,
    0.148_103_976_427_480_08,
    0.689_767_334_985_1,
    1.676_384_830_183_803_8,
    2.053_191_626_637_759,
    1.0,
];

/// A standard normal value for each word.
#[inline(always)]
#[must_use]
pub fn normals<const N: usize>(words: [u32; N]) -> [f64; N] {
    let away = words.map(|word| (f64::from(word) - 2_147_483_647.5) * 2.0_f64.powi(-32)); // exact
    // The centre for all at once, without a branch; then the tails one by one.
    let mut drawn = away.map(|q| {
        let r = CENTRE * CENTRE - q * q;
        q * (polynomial(&CENTRE_ABOVE, r) / polynomial(&CENTRE_BELOW, r))
    });
    for (z, q) in drawn.iter_mut().zip(away) {
        if q.abs() > CENTRE {
            let r = (-libm::log(0.5 - q.abs())).sqrt() - 1.6;
            *z = (polynomial(&TAIL_ABOVE, r) / polynomial(&TAIL_BELOW, r)).copysign(q);
        }
    }
    drawn
}

/// By Horner's rule, highest power first.
#[inline(always)]
fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributions::normal_quantile;

    #[test]
    fn words_are_quantiles() {
        for word in [0, 1, 1 << 20, 322_122_547, 322_122_548, 1 << 30, 0x7FFF_FFFF, 0x8000_0000, 0xF000_0000, u32::MAX]
        {
            let expected = normal_quantile((f64::from(word) + 0.5) * 2.0_f64.powi(-32));
            let [found] = normals([word]);
            assert!((found - expected).abs() <= 4e-15 * expected.abs(), "{word}: {found} {expected}");
        }
    }

    #[test]
    fn opposite_words_are_opposite_values() {
        for word in [0, 5, 1 << 27, 1 << 31] {
            assert_eq!(normals([word]), normals([!word]).map(|z| -z));
        }
    }
}
