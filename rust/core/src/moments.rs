//! Mean, spread and extremes of the values of each group.
//!
//! mean = sum x / n,  m2 = sum (x - mean)^2 in a second pass (the shifted sum corrects the rounding of the first).
//! Scores that are all 0 or 1 are counted as integers and divided once: exact in any order.
//! Weighted: mean = sum(w x) / sum(w), what a ratio metric such as bits per byte needs.
//! n -> n, cost O(n). Twin: python/signoise/reference/_moments.py

use crate::error::Result;
use crate::parallel::{Interrupt, Segments, check_len, map_groups};

/// Moments of one group; everything but `n` is NaN where the group is empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Number of values.
    pub n: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub m2: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Moments {
    /// Moments of a block of values.
    #[must_use]
    pub fn new(values: &[f64]) -> Self {
        let n = values.len() as u64;
        if n == 0 {
            return Self { n, mean: f64::NAN, m2: f64::NAN, min: f64::NAN, max: f64::NAN };
        }
        let (min, max) = extremes(values);
        if values.iter().all(|&x| x == 0.0 || x == 1.0) {
            let ones = values.iter().filter(|&&x| x == 1.0).count() as u64;
            let mean = ones as f64 / n as f64;
            let m2 = ones as f64 * (n - ones) as f64 / n as f64;
            return Self { n, mean, m2, min, max };
        }
        if min == max && min.is_finite() {
            // The sum of n equal values is rounded; their mean is not. (Infinite ones have no spread that is known.)
            return Self { n, mean: min, m2: 0.0, min, max };
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let (mut squares, mut drift) = (0.0, 0.0);
        for &x in values {
            let d = x - mean;
            squares += d * d;
            drift += d;
        }
        Self { n, mean, m2: squares - drift * drift / n as f64, min, max }
    }

    /// Moments of the union of two blocks (Chan, Golub & LeVeque 1983, eq. 2.1).
    #[must_use]
    pub fn combine(self, other: Self) -> Self {
        if self.n == 0 {
            return other;
        }
        if other.n == 0 {
            return self;
        }
        let n = self.n + other.n;
        let delta = other.mean - self.mean;
        Self {
            n,
            mean: (self.n as f64 * self.mean + other.n as f64 * other.mean) / n as f64,
            m2: self.m2 + other.m2 + delta * delta * (self.n as f64 * other.n as f64 / n as f64),
            min: if other.min < self.min { other.min } else { self.min },
            max: if other.max > self.max { other.max } else { self.max },
        }
    }

    /// Variance with divisor n - ddof; NaN where that is not positive.
    #[must_use]
    pub fn variance(self, ddof: u64) -> f64 {
        if self.n > ddof { self.m2 / (self.n - ddof) as f64 } else { f64::NAN }
    }
}

/// Smallest and largest value; NaN where any value is NaN.
fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| {
        if x.is_nan() || low.is_nan() {
            (f64::NAN, f64::NAN)
        } else {
            (if x < low { x } else { low }, if x > high { x } else { high })
        }
    })
}

/// Moments of each group.
///
/// # Errors
/// Bad offsets or an interrupt.
pub fn segment_moments(values: &[f64], offsets: &[usize], interrupt: &Interrupt) -> Result<Vec<Moments>> {
    let segments = Segments::new(offsets, values.len())?;
    map_groups(segments.len(), interrupt, |group| Ok(Moments::new(segments.slice(values, group))))
}

/// Weighted mean of each group; NaN where the weights sum to 0.
///
/// # Errors
/// Bad offsets, unequal lengths or an interrupt.
pub fn segment_weighted_mean(
    values: &[f64],
    weights: &[f64],
    offsets: &[usize],
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    check_len("weights", weights.len(), values.len())?;
    let segments = Segments::new(offsets, values.len())?;
    map_groups(segments.len(), interrupt, |group| {
        let (mut total, mut weight) = (0.0, 0.0);
        for (&x, &w) in segments.slice(values, group).iter().zip(segments.slice(weights, group)) {
            total += w * x;
            weight += w;
        }
        Ok(if weight == 0.0 { f64::NAN } else { total / weight })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_one_scores_are_exact() {
        let moments = Moments::new(&[1.0, 0.0, 0.0]);
        assert_eq!((moments.mean, moments.variance(1)), (1.0 / 3.0, 1.0 / 3.0));
    }

    #[test]
    fn equal_values_have_no_spread() {
        let moments = Moments::new(&[0.1; 7]);
        assert_eq!((moments.mean, moments.m2), (0.1, 0.0));
    }

    #[test]
    fn an_empty_group_is_undefined() {
        let moments = Moments::new(&[]);
        assert!(moments.mean.is_nan() && moments.variance(1).is_nan());
        assert!(Moments::new(&[2.0]).variance(1).is_nan());
    }

    #[test]
    fn combine_equals_the_union() {
        let values = [0.3, 0.1, 0.9, 0.4, 0.45];
        let union = Moments::new(&values);
        let parts = Moments::new(&values[..2]).combine(Moments::new(&values[2..]));
        assert!((union.mean - parts.mean).abs() < 1e-15 && (union.m2 - parts.m2).abs() < 1e-15);
        assert_eq!((union.n, union.min, union.max), (parts.n, parts.min, parts.max));
    }
}
