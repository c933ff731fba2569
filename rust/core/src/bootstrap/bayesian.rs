//! Replicates under the weights of the Bayesian bootstrap (Rubin 1981): Dirichlet(1, .., 1) in place of counts.
//!
//!   w_i = -ln(1 - u_i),  theta* = mean over the strata of sum_i w_i y_i / sum_i w_i s_i,  s_i -> sizes (None: 1)
//! Exponential numbers over their sum are Dirichlet(1, .., 1), and the sum cancels. u_i are drawn in order from the stream
//! (rng_seed, BOOTSTRAP_WEIGHTS, replicate, unit of the stratum) and shared by all rows.
//! The logarithm is a software routine and sums have the order of `sums`: the same bits on every machine.
//! Cost O(B n rows), and a logarithm an instance and replicate. Twin: python/signoise/reference/_bootstrap.py

use std::ops::Range;

use fearless_simd::{Level, dispatch};

use super::sums::weighted;
use super::{by_row, check_values, ratio};
use crate::error::Result;
use crate::parallel::{Interrupt, Segments, check_len, map_groups};
use crate::random::{
    purpose,
    wide::{Address, Words},
};

/// Replicates that one thread makes in one go, at most; of no influence on the values.
const REPLICATES_PER_PART: usize = 16;

/// Replicates of the ratio of each row of `totals` to `sizes` (None: 1 each), averaged over the strata, row by row.
///
/// # Errors
/// Bad offsets or units, totals that are no rows of such instances, values that are not finite, or an interrupt.
pub fn bootstrap_bayesian(
    totals: &[f64],
    rows: usize,
    sizes: Option<&[f64]>,
    offsets: &[usize],
    units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let n = offsets.last().copied().unwrap_or(0);
    let strata = Segments::new(offsets, n)?;
    check_len("units", units.len(), strata.len())?;
    check_values(totals, rows, sizes, n)?;
    let ones = vec![1.0; n];
    let sizes = sizes.unwrap_or(&ones);
    let level = Level::new();
    let blocks = map_groups(n_resamples.div_ceil(REPLICATES_PER_PART), interrupt, |part| {
        let start = part * REPLICATES_PER_PART;
        let replicates = start..n_resamples.min(start + REPLICATES_PER_PART);
        let mut values = vec![if n == 0 { f64::NAN } else { 0.0 }; replicates.len() * rows];
        for (stratum, &unit) in units.iter().enumerate() {
            let sizes = strata.slice(sizes, stratum);
            let weights = weights(level, rng_seed, unit, replicates.clone(), sizes.len());
            let below: Vec<f64> = weights.iter().map(|weights| weighted(sizes, weights)).collect();
            // Rows outside, so that one is in cache for all replicates.
            for (row, totals) in totals.chunks_exact(n.max(1)).enumerate() {
                let totals = strata.slice(totals, stratum);
                for ((values, weights), &below) in values.chunks_mut(rows).zip(&weights).zip(&below) {
                    if let Some(value) = values.get_mut(row) {
                        *value += ratio(weighted(totals, weights), below);
                    }
                }
            }
        }
        values.iter_mut().for_each(|value| *value /= units.len() as f64);
        Ok(values)
    })?;
    Ok(by_row(&blocks, rows, n_resamples))
}

/// Exponential numbers with mean 1, replicate by replicate.
fn weights(level: Level, rng_seed: u64, unit: u64, replicates: Range<usize>, n: usize) -> Vec<Vec<f64>> {
    let one = |replicate| {
        let address = Address { rng_seed, purpose: purpose::BOOTSTRAP_WEIGHTS, replicate: replicate as u64, unit };
        dispatch!(level, simd => {
            let mut words = Words::new(simd, address);
            (0..n).map(|_| -libm::log(1.0 - words.uniform())).collect()
        })
    };
    replicates.map(one).collect()
}
