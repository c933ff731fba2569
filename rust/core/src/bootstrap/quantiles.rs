//! Replicates of quantiles, without sorting a replicate.
//!
//! The values of a row are sorted once; the k-th smallest value of a replicate is where the counts, added up in that
//! order, pass k. A quantile is NumPy's linear one: between the values around position p (N - 1), N the number of
//! instances that the replicate holds. Cost O(B n rows).

use fearless_simd::{Level, dispatch};

use super::{Design, Strata, by_row, check_values};
use crate::error::{Error, Result};
use crate::parallel::{Interrupt, map_groups};

/// Replicates of the quantiles of each row of values: row by row, probability by probability.
///
/// The design must be of one stratum: a quantile of several has no meaning without weights.
///
/// # Errors
/// More strata, values that do not fit or are not finite, a probability outside `[0, 1]`, or an interrupt.
pub fn bootstrap_quantiles(
    values: &[f64],
    rows: usize,
    probabilities: &[f64],
    design: Design<'_>,
    n_resamples: usize,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let n = design.offsets.last().copied().unwrap_or(0);
    let strata = Strata::new(design, n)?;
    if strata.segments.len() != 1 {
        let found = strata.segments.len().to_string();
        return Err(Error::Argument { name: "offsets", expected: "those of one stratum", found });
    }
    if let Some(p) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::Argument { name: "probabilities", expected: "from 0 to 1", found: p.to_string() });
    }
    check_values(values, rows, None, n)?;
    let sorted: Vec<Vec<(f64, u32)>> = values
        .chunks(n.max(1))
        .map(|row| {
            let mut sorted: Vec<(f64, u32)> = row.iter().copied().zip(0..).collect();
            sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            sorted
        })
        .collect();
    let level = Level::new();
    let blocks = map_groups(n_resamples, interrupt, |replicate| {
        let (counts, _) = dispatch!(level, simd => strata.counts(simd, 0, replicate..replicate + 1));
        let held: usize = counts.iter().map(|&count| usize::from(count)).sum();
        let mut found = Vec::with_capacity(rows * probabilities.len());
        for row in 0..rows {
            let sorted = sorted.get(row).map_or(&[][..], Vec::as_slice);
            found.extend(quantiles(sorted, &counts, held, probabilities));
        }
        Ok(found)
    })?;
    Ok(by_row(&blocks, rows * probabilities.len(), n_resamples))
}

fn quantiles(sorted: &[(f64, u32)], counts: &[u16], held: usize, probabilities: &[f64]) -> Vec<f64> {
    if held == 0 {
        return vec![f64::NAN; probabilities.len()];
    }
    let positions: Vec<f64> = probabilities.iter().map(|p| p * (held - 1) as f64).collect();
    let mut ranks: Vec<(usize, usize)> = Vec::with_capacity(2 * positions.len());
    for (at, position) in positions.iter().enumerate() {
        let low = position.floor() as usize;
        ranks.extend([(low, 2 * at), ((low + 1).min(held - 1), 2 * at + 1)]);
    }
    ranks.sort_unstable();
    let mut values = vec![f64::NAN; ranks.len()];
    let mut ranks = ranks.into_iter().peekable();
    let mut passed = 0;
    for &(value, at) in sorted {
        passed += usize::from(counts.get(at as usize).copied().unwrap_or(0));
        while let Some((_, place)) = ranks.next_if(|&(rank, _)| rank < passed) {
            if let Some(place) = values.get_mut(place) {
                *place = value;
            }
        }
        if ranks.peek().is_none() {
            break;
        }
    }
    let pairs = values.chunks_exact(2).zip(&positions);
    pairs.map(|(pair, position)| super::interval::between(pair, position - position.floor())).collect()
}
