//! Sums of one group and one score, from which its moments follow; they can be combined.
//!
//! With pivot p (the first score, or 0 where that is 0 or 1):  s1 = sum (x - p),  s2 = sum (x - p)^2,
//! mean = p + s1/n,  m2 = s2 - s1^2/n.  Scores that are all 0 or 1 keep integers in s1: their mean is exact.
//! Infinities and NaN are counted apart: what they mean depends on the metric.

use fearless_simd::{Level, Simd, dispatch};
use serde::{Deserialize, Serialize};

use crate::parquet::NULL;

/// Sums of one group and one score; in one line of the cache, as they are added to in any order.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[repr(align(64))]
pub(crate) struct Sums {
    /// Finite scores.
    n: u64,
    pivot: f64,
    s1: f64,
    s2: f64,
    /// Smallest finite score; infinity if there is none.
    min: f64,
    /// Largest finite score; minus infinity if there is none.
    max: f64,
    /// Missing scores.
    nulls: u32,
    /// Scores that are NaN.
    nans: u32,
    /// Scores that are plus infinity.
    plus: u32,
    /// Scores that are minus infinity.
    minus: u32,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            n: 0,
            pivot: 0.0,
            s1: 0.0,
            s2: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            nulls: 0,
            nans: 0,
            plus: 0,
            minus: 0,
        }
    }
}

/// Lanes of a block of scores; part of the definition, so that bits do not depend on the machine.
const LANES: usize = 8;

impl Sums {
    /// Sums of scores in order.
    #[inline(always)]
    pub(crate) fn of(values: &[f64]) -> Self {
        let Some(&first) = values.first() else { return Self::default() };
        let pivot = pivot(first);
        let (mut s1, mut s2) = ([0.0; LANES], [0.0; LANES]);
        let (mut min, mut max) = ([first; LANES], [first; LANES]);
        let (blocks, rest) = values.as_chunks::<LANES>();
        for block in blocks {
            for lane in 0..LANES {
                let x = block[lane];
                let d = x - pivot;
                s1[lane] += d;
                s2[lane] += d * d;
                min[lane] = if x < min[lane] { x } else { min[lane] };
                max[lane] = if x > max[lane] { x } else { max[lane] };
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            let d = x - pivot;
            s1[lane] += d;
            s2[lane] += d * d;
            min[lane] = min[lane].min(x);
            max[lane] = max[lane].max(x);
        }
        let (s1, s2): (f64, f64) = (s1.iter().sum(), s2.iter().sum());
        if !(s1.is_finite() && s2.is_finite()) {
            return Self::one_by_one(values);
        }
        Self {
            n: values.len() as u64,
            pivot,
            s1,
            s2,
            min: min.iter().fold(first, |low, &x| low.min(x)),
            max: max.iter().fold(first, |high, &x| high.max(x)),
            ..Self::default()
        }
    }

    /// Where a score is missing, NaN or infinite, or the squares are.
    #[cold]
    fn one_by_one(values: &[f64]) -> Self {
        let mut sums = Self::default();
        for &x in values {
            sums.add(x);
        }
        sums
    }

    /// Sums of `n` scores of which so many are 1 and the others 0.
    pub(crate) fn of_bits(ones: u64, n: u64) -> Self {
        if n == 0 {
            return Self::default();
        }
        let sum = ones as f64;
        let (min, max) = (f64::from(u8::from(ones == n)), f64::from(u8::from(ones > 0)));
        Self { n, s1: sum, s2: sum, min, max, ..Self::default() }
    }

    /// Adds one score.
    pub(crate) fn add(&mut self, x: f64) {
        if !x.is_finite() {
            return self.add_odd(x);
        }
        if self.n == 0 {
            self.pivot = pivot(x);
        }
        let d = x - self.pivot;
        self.n += 1;
        self.s1 += d;
        self.s2 += d * d;
        self.min = if x < self.min { x } else { self.min };
        self.max = if x > self.max { x } else { self.max };
    }

    /// Adds a score that is 0 or 1.
    pub(crate) fn add_bit(&mut self, one: bool) {
        self.add(f64::from(u8::from(one)));
    }

    #[cold]
    fn add_odd(&mut self, x: f64) {
        if x.to_bits() == NULL {
            self.nulls += 1;
        } else if x.is_nan() {
            self.nans += 1;
        } else if x > 0.0 {
            self.plus += 1;
        } else {
            self.minus += 1;
        }
    }

    /// Adds the scores of another group part; to none, exactly those.
    pub(crate) fn combine(&mut self, other: &Self) {
        self.nulls = self.nulls.saturating_add(other.nulls);
        self.nans = self.nans.saturating_add(other.nans);
        self.plus = self.plus.saturating_add(other.plus);
        self.minus = self.minus.saturating_add(other.minus);
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            let Self { n, pivot, s1, s2, min, max, .. } = *other;
            *self = Self { n, pivot, s1, s2, min, max, ..*self };
            return;
        }
        let n = other.n as f64;
        let d = other.pivot - self.pivot;
        self.s1 += other.s1 + n * d;
        self.s2 += other.s2 + 2.0 * d * other.s1 + n * d * d;
        self.n = self.n.saturating_add(other.n);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Mean of the finite scores; NaN if there is none.
    #[must_use]
    pub(crate) fn mean(&self) -> f64 {
        if self.n == 0 {
            f64::NAN
        } else if self.min == self.max {
            self.min
        } else {
            self.pivot + self.s1 / self.n as f64
        }
    }

    /// Sum of squared deviations from the mean; NaN if there is no finite score.
    #[must_use]
    pub(crate) fn m2(&self) -> f64 {
        let n = self.n as f64;
        if self.n == 0 {
            f64::NAN
        } else if self.min == self.max {
            0.0
        } else if self.pivot == 0.0 && self.s1 == self.s2 && self.min >= 0.0 && self.max <= 1.0 {
            self.s1 * (n - self.s1) / n
        } else {
            (self.s2 - self.s1 * self.s1 / n).max(0.0)
        }
    }
}

/// Sums of runs of scores (first row, length).
pub(crate) fn of_runs(values: &[f64], runs: &[(u32, u32)]) -> Vec<Sums> {
    // The same operations in the same order at any level.
    dispatch!(Level::new(), simd => runs_at(simd, values, runs))
}

#[inline(always)]
fn runs_at<S: Simd>(_: S, values: &[f64], runs: &[(u32, u32)]) -> Vec<Sums> {
    let of = |&(first, length): &(u32, u32)| values.get(first as usize..(first + length) as usize).unwrap_or_default();
    runs.iter().map(|run| Sums::of(of(run))).collect()
}

/// Moments of many groups, column by column.
#[derive(Debug, Default)]
pub struct Moments {
    /// Finite scores.
    pub n: Vec<u64>,
    /// Missing scores.
    pub nulls: Vec<u32>,
    /// Scores that are NaN.
    pub nans: Vec<u32>,
    /// Scores that are plus infinity.
    pub plus: Vec<u32>,
    /// Scores that are minus infinity.
    pub minus: Vec<u32>,
    /// Mean of the finite scores; NaN if there is none.
    pub mean: Vec<f64>,
    /// Sum of squared deviations from the mean; NaN if there is no finite score.
    pub m2: Vec<f64>,
    /// Smallest finite score; infinity if there is none.
    pub min: Vec<f64>,
    /// Largest finite score; minus infinity if there is none.
    pub max: Vec<f64>,
}

impl Moments {
    pub(crate) fn with_capacity(groups: usize) -> Self {
        let floats = || Vec::with_capacity(groups);
        let counts = || Vec::with_capacity(groups);
        Self {
            n: Vec::with_capacity(groups),
            nulls: counts(),
            nans: counts(),
            plus: counts(),
            minus: counts(),
            mean: floats(),
            m2: floats(),
            min: floats(),
            max: floats(),
        }
    }

    pub(crate) fn push(&mut self, sums: &Sums) {
        self.n.push(sums.n);
        self.nulls.push(sums.nulls);
        self.nans.push(sums.nans);
        self.plus.push(sums.plus);
        self.minus.push(sums.minus);
        self.mean.push(sums.mean());
        self.m2.push(sums.m2());
        self.min.push(sums.min);
        self.max.push(sums.max);
    }
}

/// A score near the others, so that their squares lose no digits; 0 where that keeps counts whole.
fn pivot(first: f64) -> f64 {
    if first == 0.0 || first == 1.0 { 0.0 } else { first }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signoise_core::moments;

    use super::*;

    #[test]
    fn zero_one_scores_are_exact() {
        let mut sums = Sums::of(&[1.0, 0.0, 0.0]);
        sums.combine(&Sums::of(&[1.0, 1.0, 0.0, 0.0]));
        assert_eq!((sums.mean(), sums.m2()), (3.0 / 7.0, 3.0 * 4.0 / 7.0));
    }

    #[test]
    fn bits_are_scores() {
        for values in [&[][..], &[0.0], &[1.0, 1.0], &[0.0, 1.0, 0.0]] {
            let ones = values.iter().filter(|&&x| x == 1.0).count() as u64;
            assert_eq!(format!("{:?}", Sums::of_bits(ones, values.len() as u64)), format!("{:?}", Sums::of(values)));
        }
    }

    #[test]
    fn odd_scores_are_counted_apart() {
        let sums = Sums::of(&[f64::from_bits(NULL), f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.0]);
        assert_eq!((sums.n, sums.nulls, sums.nans, sums.plus, sums.minus), (1, 1, 1, 1, 1));
        assert_eq!((sums.mean(), sums.m2()), (2.0, 0.0));
        assert!(Sums::default().mean().is_nan());
    }

    proptest! {
        #[test]
        fn parts_combine_to_the_whole(
            values in prop::collection::vec(-1e3..1e3f64, 2..200), cut in 0usize..200, shift in -1e6..1e6f64,
        ) {
            let values: Vec<f64> = values.iter().map(|x| x + shift).collect();
            let cut = cut.min(values.len());
            let mut sums = Sums::of(&values[..cut]);
            sums.combine(&Sums::of(&values[cut..]));
            let mut single = Sums::default();
            values.iter().for_each(|&x| single.add(x));
            let whole = moments::Moments::new(&values);
            for sums in [sums, single] {
                prop_assert_eq!((sums.n, sums.min, sums.max), (whole.n, whole.min, whole.max));
                prop_assert!((sums.mean() - whole.mean).abs() <= 1e-12 * whole.mean.abs().max(1.0));
                prop_assert!((sums.m2() - whole.m2).abs() <= 1e-8 * whole.m2.max(1.0));
            }
        }
    }
}
