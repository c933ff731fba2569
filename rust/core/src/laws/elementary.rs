//! Exponential and logarithm of one number, written so that a loop over many becomes vector instructions.
//!
//! exp x = 2^k exp r,  k = round(x / ln 2),  r = x - k ln 2 in two parts (Cody & Waite 1980), exp r by its Taylor series
//! log x = e ln 2 + 2 artanh s,  x = 2^e m,  m in [sqrt 1/2, sqrt 2),  s = (m - 1) / (m + 1)
//! Additions and products only, in a fixed order and never fused: the same bits whatever the width of the vectors.
//! Error below 2 units in the last place. Below -708 exp is 0, above 709.7 infinite; log of 0 is -inf, of less NaN.

/// Half of 2^53: adding it rounds to whole numbers and leaves them in the low bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two parts: the first has trailing zeros, so that its product with a small whole number is exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Where the exponential becomes 0 and infinite.
const LOWEST: f64 = -708.0;
const HIGHEST: f64 = 709.7;

/// e to the power `x`.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    let rounded = x.clamp(LOWEST, HIGHEST) * std::f64::consts::LOG2_E + ROUNDING;
    let k = rounded - ROUNDING;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    // 1/13! down to 1/0!, Horner.
    let mut sum = 1.605_904_383_682_161_5e-10;
    for coefficient in [
        2.087_675_698_786_81e-9,
        2.505_210_838_544_172e-8,
        2.755_731_922_398_589_3e-7,
        2.755_731_922_398_589e-6,
        2.480_158_730_158_73e-5,
        1.984_126_984_126_984e-4,
        1.388_888_888_888_889e-3,
        8.333_333_333_333_333e-3,
        4.166_666_666_666_666_4e-2,
        1.666_666_666_666_666_6e-1,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * r + coefficient;
    }
    // The low bits of the rounded number are k: move them into the exponent. Two factors, so that 2^1024 is never made.
    let half = (rounded.to_bits() << 52).wrapping_add(1022 << 52);
    let scaled = sum * f64::from_bits(half) * 2.0;
    let inside = if x > HIGHEST { f64::INFINITY } else { scaled };
    let found = if x < LOWEST { 0.0 } else { inside };
    if x.is_nan() { x } else { found }
}

/// Natural logarithm of `x`.
#[inline(always)]
pub(crate) fn log(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    /// 2^52 as a float holds small whole numbers in its low bits.
    const WHOLE: u64 = 0x4330_0000_0000_0000;
    // Numbers below the normal ones are brought up first.
    let tiny = x < f64::MIN_POSITIVE;
    let normal = if tiny { x * 18_014_398_509_481_984.0 } else { x };
    let shifted = normal.to_bits().wrapping_sub(SQRT_HALF).wrapping_add(1023 << 52);
    let exponent = f64::from_bits(WHOLE | (shifted >> 52)) - f64::from_bits(WHOLE) - if tiny { 1077.0 } else { 1023.0 };
    let m = f64::from_bits((shifted & MANTISSA).wrapping_add(SQRT_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut sum = 1.0 / 23.0;
    for coefficient in [
        1.0 / 21.0,
        1.0 / 19.0,
        1.0 / 17.0,
        1.0 / 15.0,
        1.0 / 13.0,
        1.0 / 11.0,
        1.0 / 9.0,
        1.0 / 7.0,
        1.0 / 5.0,
        1.0 / 3.0,
    ] {
        sum = sum * square + coefficient;
    }
    let tail = 2.0 * s * (sum * square);
    let found = exponent * LN_2_HIGH + (2.0 * s + (tail + exponent * LN_2_LOW));
    let positive = if x == f64::INFINITY { x } else { found };
    let or_zero = if x == 0.0 { f64::NEG_INFINITY } else { positive };
    if x >= 0.0 { or_zero } else { f64::NAN }
}

/// 1 / (1 + e^-x), without overflow.
#[inline(always)]
pub(crate) fn sigmoid(x: f64) -> f64 {
    let small = exp(-x.abs());
    let upper = 1.0 / (1.0 + small);
    if x >= 0.0 { upper } else { small * upper }
}

/// log(1 + e^x), without overflow; of what is far below 0 the exponential itself.
#[inline(always)]
pub(crate) fn softplus(x: f64) -> f64 {
    let small = exp(-x.abs());
    // log(1 + u) = 2 artanh(u / (2 + u)): nothing is lost for small u.
    let sum = 1.0 + small;
    let lost = small - (sum - 1.0);
    let log1p = log(sum) + lost / sum;
    if x >= 0.0 { x + log1p } else { log1p }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: f64, expected: f64) -> bool {
        found == expected
            || (found.is_nan() && expected.is_nan())
            || (found - expected).abs() <= 5e-16 * expected.abs().max(f64::MIN_POSITIVE)
    }

    proptest! {
        #[test]
        fn exp_is_right(x in -707.9..709.6) {
            prop_assert!(close(exp(x), libm::exp(x)), "{} {}", exp(x), libm::exp(x));
        }

        #[test]
        fn log_is_right(x in prop_oneof![1e-300..1e-290, 0.5..2.0, 0.999..1.001, 1.0..1e6, 1e300..1e308]) {
            prop_assert!((log(x) - libm::log(x)).abs() <= 5e-16 * libm::log(x).abs() + 1e-17, "{} {}", log(x), libm::log(x));
        }

        #[test]
        fn sigmoid_and_softplus_are_right(x in -700.0..700.0) {
            prop_assert!((sigmoid(x) - 1.0 / (1.0 + libm::exp(-x))).abs() <= 1e-15 * sigmoid(x));
            prop_assert!((softplus(x) - (x.max(0.0) + libm::log1p(libm::exp(-x.abs())))).abs() <= 1e-15 * softplus(x));
        }
    }

    #[test]
    fn edges() {
        for x in [0.0, -0.0, 1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 710.0, -746.0] {
            assert!(close(exp(x), libm::exp(x)), "exp {x}: {}", exp(x));
        }
        for x in [0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 5e-324, 1e-310, f64::MAX] {
            assert!(close(log(x), libm::log(x)), "log {x}: {} {}", log(x), libm::log(x));
        }
    }
}
