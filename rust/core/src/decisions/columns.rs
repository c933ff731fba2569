//! Decision accuracy of many replicates whose scores stand in columns, as a bootstrap of scores gives them.

use fearless_simd::{Level, Simd, dispatch};

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, map_groups};

use super::check_no_nan;
use super::trials::{Row, TRIALS, agreements};

/// Decision accuracy of each replicate, ties one half; `small` and `target` hold a row of `replicates` scores for each
/// member. NaN with fewer than 2 members.
///
/// # Errors
/// Sides of unequal length or no whole number of rows, a NaN score, or an interrupt.
pub fn agreement_columns(small: &[f64], target: &[f64], replicates: usize, interrupt: &Interrupt) -> Result<Vec<f64>> {
    check_len("target", target.len(), small.len())?;
    check_no_nan("small", small)?;
    check_no_nan("target", target)?;
    if replicates == 0 || !small.len().is_multiple_of(replicates) {
        let found = format!("{} scores in rows of {replicates}", small.len());
        return Err(Error::Argument { name: "small", expected: "whole rows of replicates", found });
    }
    let level = Level::new();
    let blocks = map_groups(replicates.div_ceil(TRIALS), interrupt, |block| {
        let start = block * TRIALS;
        let rows = |scores: &[f64]| scores.chunks_exact(replicates).map(|row| part(row, start)).collect::<Vec<_>>();
        let (a, b) = (rows(small), rows(target));
        Ok(dispatch!(level, simd => in_lanes(simd, &a, &b)))
    })?;
    let mut values = blocks.concat();
    values.truncate(replicates);
    Ok(values)
}

/// Scores of a block of replicates, with zeros beyond the last.
fn part(row: &[f64], start: usize) -> Row<f64> {
    let mut scores = [0.0; TRIALS];
    scores.iter_mut().zip(row.get(start..).unwrap_or(&[])).for_each(|(place, &score)| *place = score);
    scores
}

#[inline(always)]
fn in_lanes<S: Simd>(_: S, a: &[Row<f64>], b: &[Row<f64>]) -> Row<f64> {
    agreements(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_replicates() {
        // Three members, two replicates: one alike, one against.
        let small = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0];
        let target = [1.0, 3.0, 2.0, 2.0, 2.0, 1.0];
        let found = agreement_columns(&small, &target, 2, &Interrupt::new());
        assert_eq!(found, Ok(vec![2.5 / 3.0, 0.0]));
        assert!(agreement_columns(&small, &target, 4, &Interrupt::new()).is_err());
    }
}
