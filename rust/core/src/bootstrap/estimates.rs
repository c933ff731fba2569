//! The statistic of the data themselves, and what its intervals need besides replicates.
//!
//! Leaving out instance i of stratum h gives theta_(i); with d_i = mean_h(theta_(.)) - theta_(i) and n_h instances,
//!   acceleration = sum_h (n_h - 1)^3 / n_h^3 sum_i d_i^3 / (6 (sum_h (n_h - 1)^2 / n_h^2 sum_i d_i^2)^1.5),
//! for one stratum that of A8.5 (Efron 1987). NaN where nothing varies. Cost O(n) a row: sums less one term each.

use crate::error::Result;
use crate::parallel::{Interrupt, map_groups};

use super::{Design, Strata, check_values, few::summed, ratio};

/// Of each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimates {
    /// The ratio, or the mean of the ratios of the strata.
    pub estimate: Vec<f64>,
    /// Acceleration of the BCa interval.
    pub acceleration: Vec<f64>,
}

/// Estimate and acceleration of each row of `totals`; arguments as those of [`super::bootstrap_means`].
///
/// # Errors
/// Bad offsets, totals that are no rows of such instances, values that are not finite, or an interrupt.
pub fn bootstrap_estimates(
    totals: &[f64],
    rows: usize,
    sizes: Option<&[f64]>,
    offsets: &[usize],
    macro_mean: bool,
    interrupt: &Interrupt,
) -> Result<Estimates> {
    let n = offsets.last().copied().unwrap_or(0);
    let units = vec![0; offsets.len().saturating_sub(1)];
    let strata = Strata::new(Design { offsets, units: &units, scheme: super::Scheme::Multinomial, rng_seed: 0 }, n)?;
    check_values(totals, rows, sizes, n)?;
    let ones = vec![1.0; if sizes.is_some() { 0 } else { n }];
    let sizes = sizes.unwrap_or(&ones);
    let found = map_groups(rows, interrupt, |row| {
        let totals = totals.get(row * n..(row + 1) * n).unwrap_or(&[]);
        let parts: Vec<Part<'_>> = (0..strata.segments.len())
            .map(|stratum| Part::new(strata.segments.slice(totals, stratum), strata.segments.slice(sizes, stratum)))
            .collect();
        Ok(jackknife(&parts, macro_mean))
    })?;
    let (estimate, acceleration) = found.into_iter().unzip();
    Ok(Estimates { estimate, acceleration })
}

/// One row in one stratum.
struct Part<'a> {
    totals: &'a [f64],
    sizes: &'a [f64],
    above: f64,
    below: f64,
}

impl<'a> Part<'a> {
    fn new(totals: &'a [f64], sizes: &'a [f64]) -> Self {
        Self { totals, sizes, above: summed(totals), below: summed(sizes) }
    }
}

fn jackknife(parts: &[Part<'_>], macro_mean: bool) -> (f64, f64) {
    let (above, below) = if macro_mean {
        (parts.iter().fold(0.0, |sum, part| sum + ratio(part.above, part.below)), parts.len() as f64)
    } else {
        parts.iter().fold((0.0, 0.0), |(above, below), part| (above + part.above, below + part.below))
    };
    let (mut squares, mut cubes) = (0.0, 0.0);
    for part in parts {
        let left_out = |(total, size): (&f64, &f64)| {
            if macro_mean {
                ratio(part.above - total, part.below - size) / below
            } else {
                ratio(above - total, below - size)
            }
        };
        let values: Vec<f64> = part.totals.iter().zip(part.sizes).map(left_out).collect();
        let n = values.len() as f64;
        let mean = summed(&values) / n;
        let shrink = (n - 1.0) / n;
        let of_squares: Vec<f64> = values.iter().map(|value| (mean - value) * (mean - value)).collect();
        let of_cubes: Vec<f64> = values.iter().map(|value| (mean - value) * (mean - value) * (mean - value)).collect();
        squares += shrink * shrink * summed(&of_squares);
        cubes += shrink * shrink * shrink * summed(&of_cubes);
    }
    let estimate = ratio(above, below);
    let n: usize = parts.iter().map(|part| part.totals.len()).sum();
    let rounding = 4.0 * f64::EPSILON * estimate.abs();
    // What differs by its rounding alone does not vary.
    let varies = squares > n as f64 * rounding * rounding;
    (estimate, if varies { cubes / (6.0 * squares * squares.sqrt()) } else { f64::NAN })
}
