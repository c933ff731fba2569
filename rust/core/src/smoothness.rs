//! How smoothly a benchmark improves along the checkpoints of one run (arXiv 2508.13144; monotonicity: 2406.10229).
//!
//! total variation  TV = mean_t |x_{t+1} - x_t|, normalised TV / (max - min), improvement (x_n - x_1) / n,
//!                  TV with both corrections: normalised - improvement
//! sign             (up - down) / (up + down) over the differences that are not 0
//! tau-b            S / sqrt(n0 (n0 - n1)), S = C - D over pairs of positions, n0 = n (n - 1) / 2, n1 = tied pairs
//! p                P(|S'| >= |S|) for S' of a random arrangement of the same values. Exact for n <= 50: the number of
//!                  arrangements with D discordant pairs is the coefficient of q^D in the q-multinomial
//!                  (n)!_q / prod_k (m_k)!_q, m_k the multiplicities of the values. Above: normal, variance
//!                  (n (n - 1) (2n + 5) - sum_k m_k (m_k - 1) (2 m_k + 5)) / 18, no continuity correction.
//! The null of p is exchangeability: autocorrelated checkpoints without a trend reject it too often; `surrogates` has a
//! null for them.
//! D -> discordant, n0 - n1 -> untied, m -> ties; cost O(n log n), and O(n^4) additions for each new tie pattern
//! with n <= 50 (under a millisecond; shared by all series of a call that have it).
//! NaN: fewer than 2 values, a NaN; for a constant series all but TV and improvement.
//! Twin: python/signoise/reference/_smoothness.py

use crate::error::Result;
use crate::parallel::{Interrupt, Segments, map_groups};

mod permutation;
mod surrogates;

pub use surrogates::monotonicity_ar1;

/// Longest series whose p is counted instead of approximated.
const EXACT_UP_TO: usize = 50;

/// One entry a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Smoothness {
    /// Number of checkpoints.
    pub n: Vec<u64>,
    /// Share of rises minus share of falls among the steps that change the score.
    pub monotonicity_sign: Vec<f64>,
    /// Kendall tau-b of score against position.
    pub monotonicity_tau: Vec<f64>,
    /// Two-sided p of tau when the checkpoints are exchangeable.
    pub monotonicity_p: Vec<f64>,
    /// Mean absolute step.
    pub total_variation: Vec<f64>,
    /// Total variation over the range of the series.
    pub total_variation_normalised: Vec<f64>,
    /// Normalised total variation minus improvement.
    pub total_variation_improvement: Vec<f64>,
    /// (last - first) / n.
    pub improvement: Vec<f64>,
}

/// Smoothness of every series; values are in checkpoint order within a segment.
///
/// # Errors
/// Bad offsets, or an interrupt.
pub fn smoothness_groups(values: &[f64], offsets: &[usize], interrupt: &Interrupt) -> Result<Smoothness> {
    let segments = Segments::new(offsets, values.len())?;
    let all = map_groups(segments.len(), interrupt, |group| Ok(Series::of(segments.slice(values, group))))?;

    let mut patterns: Vec<&[usize]> = all.iter().filter(|series| series.is_counted()).map(|s| &*s.ties).collect();
    patterns.sort_unstable();
    patterns.dedup();
    let tails = map_groups(patterns.len(), interrupt, |index| {
        Ok(patterns.get(index).map(|ties| permutation::lower_tail(ties)).unwrap_or_default())
    })?;
    let monotonicity_p = all
        .iter()
        .map(|series| match patterns.binary_search(&&*series.ties) {
            _ if series.untied == 0 => f64::NAN,
            Ok(index) if series.is_counted() => {
                tails.get(index).map_or(f64::NAN, |tail| permutation::two_sided(tail, series.rarer()))
            }
            _ => permutation::normal_two_sided(series.score(), &series.ties),
        })
        .collect();

    let column = |of: fn(&Series) -> f64| all.iter().map(of).collect();
    Ok(Smoothness {
        n: all.iter().map(|series| series.n as u64).collect(),
        monotonicity_sign: column(|series| series.sign),
        monotonicity_tau: column(Series::tau),
        monotonicity_p,
        total_variation: column(|series| series.variation),
        total_variation_normalised: column(|series| series.normalised),
        total_variation_improvement: column(|series| series.normalised - series.improvement),
        improvement: column(|series| series.improvement),
    })
}

/// What one pass over a series leaves behind.
struct Series {
    n: usize,
    sign: f64,
    variation: f64,
    normalised: f64,
    improvement: f64,
    /// Pairs (i < j) with x_i > x_j.
    discordant: u64,
    /// Pairs with x_i != x_j; 0 where order says nothing.
    untied: u64,
    /// Multiplicities of the values, rising.
    ties: Vec<usize>,
}

impl Series {
    fn of(x: &[f64]) -> Self {
        let n = x.len();
        let undefined = Self {
            n,
            sign: f64::NAN,
            variation: f64::NAN,
            normalised: f64::NAN,
            improvement: f64::NAN,
            discordant: 0,
            untied: 0,
            ties: Vec::new(),
        };
        let (Some(first), Some(last)) = (x.first(), x.last()) else { return undefined };
        if n < 2 || x.iter().any(|value| value.is_nan()) {
            return undefined;
        }
        let steps = || x.windows(2).filter_map(|pair| if let [a, b] = pair { Some(b - a) } else { None });
        let (up, down) = (count(steps(), |step| step > 0.0), count(steps(), |step| step < 0.0));

        let mut sorted = x.to_vec();
        let discordant = sort_counting_inversions(&mut sorted);
        let mut ties: Vec<usize> = sorted.chunk_by(|a, b| a == b).map(<[f64]>::len).collect();
        ties.sort_unstable();
        let untied = pairs(n) - ties.iter().map(|&m| pairs(m)).sum::<u64>();

        let range = sorted.last().unwrap_or(last) - sorted.first().unwrap_or(first);
        let variation = steps().map(f64::abs).sum::<f64>() / (n as f64 - 1.0);
        Self {
            sign: if up + down == 0 { f64::NAN } else { (up as f64 - down as f64) / (up + down) as f64 },
            variation: finite_or_nan(variation),
            normalised: if range == 0.0 { f64::NAN } else { finite_or_nan(variation / range) },
            improvement: finite_or_nan((last - first) / n as f64),
            discordant,
            untied,
            ties,
            ..undefined
        }
    }

    fn is_counted(&self) -> bool {
        self.untied > 0 && self.n <= EXACT_UP_TO
    }

    /// S = C - D = untied - 2 D.
    fn score(&self) -> f64 {
        self.untied as f64 - 2.0 * self.discordant as f64
    }

    fn tau(&self) -> f64 {
        if self.untied == 0 {
            return f64::NAN;
        }
        self.score() / (pairs(self.n) as f64).sqrt() / (self.untied as f64).sqrt()
    }

    /// The smaller of D and C: as far out as S, on the lower side.
    fn rarer(&self) -> u64 {
        self.discordant.min(self.untied - self.discordant)
    }
}

fn pairs(n: usize) -> u64 {
    (n as u64) * (n as u64).saturating_sub(1) / 2
}

fn count(steps: impl Iterator<Item = f64>, keep: impl Fn(f64) -> bool) -> u64 {
    steps.filter(|&step| keep(step)).count() as u64
}

fn finite_or_nan(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// Merge sort that counts the pairs it has to turn round; equal values are no inversion. No NaN.
fn sort_counting_inversions(values: &mut [f64]) -> u64 {
    if values.len() < 2 {
        return 0;
    }
    let (left, right) = values.split_at_mut(values.len() / 2);
    let mut inversions = sort_counting_inversions(left) + sort_counting_inversions(right);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut lefts, mut rights) = (&*left, &*right);
    while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (lefts, rights) {
        if a <= b {
            merged.push(*a);
            lefts = left_rest;
        } else {
            merged.push(*b);
            inversions += lefts.len() as u64;
            rights = right_rest;
        }
    }
    merged.extend_from_slice(lefts);
    merged.extend_from_slice(rights);
    values.copy_from_slice(&merged);
    inversions
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn one(x: &[f64]) -> Smoothness {
        smoothness_groups(x, &[0, x.len()], &Interrupt::new()).unwrap()
    }

    #[test]
    fn a_short_series_by_hand() {
        let found = one(&[1.0, 3.0, 2.0, 5.0]);
        assert_eq!(found.n, [4]);
        assert_eq!(found.total_variation, [2.0]);
        assert_eq!(found.total_variation_normalised, [0.5]);
        assert_eq!(found.improvement, [1.0]);
        assert_eq!(found.total_variation_improvement, [-0.5]);
        assert_eq!(found.monotonicity_sign, [1.0 / 3.0]);
        assert!((found.monotonicity_tau[0] - 4.0 / 6.0).abs() < 1e-15);
        // 24 arrangements with 1, 3, 5, 6, 5, 3, 1 of them at D = 0..6; |S| >= 4 means D <= 1 or D >= 5.
        assert!((found.monotonicity_p[0] - 8.0 / 24.0).abs() < 1e-15);
    }

    #[test]
    fn undefined_is_nan() {
        for x in [&[][..], &[0.5], &[0.5, f64::NAN]] {
            let found = one(x);
            assert!(found.total_variation[0].is_nan() && found.improvement[0].is_nan(), "{x:?}");
            assert!(found.monotonicity_tau[0].is_nan() && found.monotonicity_p[0].is_nan(), "{x:?}");
        }
        let flat = one(&[0.5; 60]);
        assert_eq!((flat.total_variation[0], flat.improvement[0]), (0.0, 0.0));
        assert!(flat.monotonicity_sign[0].is_nan() && flat.monotonicity_p[0].is_nan());
        assert!(flat.total_variation_normalised[0].is_nan() && flat.total_variation_improvement[0].is_nan());
    }

    #[test]
    fn inversions_are_counted_without_ties() {
        let mut values = [3.0, 1.0, 2.0, 2.0, -0.0, 0.0];
        assert_eq!(sort_counting_inversions(&mut values), 5 + 2 + 2 + 2);
        assert!(values.is_sorted());
    }
}
