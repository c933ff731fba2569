//! Replicates where rows are drawn too: seeds (or checkpoints) of a model, crossed with shared instances or with their own.
//!
//! crossed: rows s of a model and instances i are drawn independently of each other, w_s and v_i times:
//!   theta* = sum_s sum_i w_s v_i y_si / sum_s sum_i w_s v_i z_si,  z_si -> sizes (None: 1)
//!   v_i as in `bootstrap_means`, shared by all models; w_s from the stream (rng_seed, BOOTSTRAP_OUTER, replicate,
//!   row_units[model]), so models of one unit draw the same rows. A cell that is missing has a total and a size of 0.
//! nested: a row is drawn as often as there are rows, and each time as many of its own instances as it has; theta* is the
//!   mean of all of them. Both draws in turn from the stream (rng_seed, BOOTSTRAP_OUTER, replicate, units[model]).
//! Cost O(B n rows).

use fearless_simd::{Level, Simd, dispatch};

use super::draw::Sampler;
use super::tables::{Rows, Sums};
use super::{Design, Scheme, Strata, by_row, check_finite, ratio};
use crate::error::Result;
use crate::parallel::{Interrupt, Segments, check_len, map_groups};
use crate::random::{
    purpose,
    wide::{Address, Bound, Words},
};

/// Replicates of models whose rows and instances are drawn independently, model by model.
///
/// `totals` has a row for each row of each model, `row_offsets` divides them into models.
///
/// # Errors
/// Bad offsets or units, totals or sizes that do not fit, values that are not finite, or an interrupt.
pub fn bootstrap_crossed(
    totals: &[f64],
    sizes: Option<&[f64]>,
    row_offsets: &[usize],
    row_units: &[u64],
    design: Design<'_>,
    n_resamples: usize,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let n = design.offsets.last().copied().unwrap_or(0);
    let rows = row_offsets.last().copied().unwrap_or(0);
    let strata = Strata::new(design, n)?;
    let models = Segments::new(row_offsets, rows)?;
    check_len("row_units", row_units.len(), models.len())?;
    for (name, values) in [("totals", Some(totals)), ("sizes", sizes)] {
        if let Some(values) = values {
            check_len(name, values.len(), rows.saturating_mul(n))?;
            check_finite(name, values)?;
        }
    }
    let level = Level::new();
    let lines = |stratum| {
        let rows = totals.chunks_exact(n.max(1)).chain(sizes.unwrap_or(&[]).chunks_exact(n.max(1)));
        Rows::new(level, rows.map(|row| strata.segments.slice(row, stratum)).collect(), interrupt)
    };
    let lines = (0..strata.segments.len()).map(lines).collect::<Result<Vec<_>>>()?;
    let places: Vec<usize> = (0..rows).collect();
    let samplers = (0..models.len()).map(|model| Sampler::new(models.slice(&places, model).len(), Scheme::Multinomial));
    let samplers = samplers.collect::<Result<Vec<_>>>()?;
    let width = rows * (1 + usize::from(sizes.is_some()));
    let mut blocks = Vec::new();
    for replicates in strata.passes(width, n_resamples) {
        let mut above = vec![0.0; replicates.len() * rows];
        let mut below = above.clone();
        for (stratum, lines) in lines.iter().enumerate() {
            let Sums { sums, held } = strata.sums(level, stratum, lines, replicates.clone(), interrupt)?;
            let sums = sums.chunks(width.max(1)).zip(held);
            let places = above.chunks_mut(rows.max(1)).zip(below.chunks_mut(rows.max(1)));
            for ((above, below), (sums, held)) in places.zip(sums) {
                let (totals, sizes) = sums.split_at(rows.min(sums.len()));
                above.iter_mut().zip(totals).for_each(|(above, total)| *above += total);
                let sizes = sizes.iter().copied().chain(std::iter::repeat(held as f64));
                below.iter_mut().zip(sizes).for_each(|(below, size)| *below += size);
            }
        }
        let start = replicates.start;
        blocks.extend(map_groups(replicates.len(), interrupt, |at| {
            let of = |sums: &[f64]| sums.get(at * rows..(at + 1) * rows).unwrap_or(&[]).to_vec();
            let (above, below) = (of(&above), of(&below));
            let one = |(model, (sampler, &unit)): (usize, (&Sampler, &u64))| {
                let (rng_seed, purpose) = (design.rng_seed, purpose::BOOTSTRAP_OUTER);
                let address = Address { rng_seed, purpose, replicate: (start + at) as u64, unit };
                let mut counts = vec![0; sampler.n()];
                dispatch!(level, simd => sampler.draw(simd, address, &mut counts));
                let under = |sums: &[f64]| {
                    let sums = models.slice(sums, model).iter().zip(&counts);
                    sums.fold(0.0, |sum, (x, &count)| sum + f64::from(count) * x)
                };
                ratio(under(&above), under(&below))
            };
            Ok(samplers.iter().zip(row_units).enumerate().map(one).collect::<Vec<_>>())
        })?);
    }
    Ok(by_row(&blocks, models.len(), n_resamples))
}

/// Replicates of models whose rows have instances of their own, model by model.
///
/// `offsets` divides the values into rows, `row_offsets` the rows into models. NaN for a model that has an empty row or
/// none.
///
/// # Errors
/// Bad offsets or units, values that are not finite, a row of 2^32 values, or an interrupt.
pub fn bootstrap_nested(
    values: &[f64],
    offsets: &[usize],
    row_offsets: &[usize],
    units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let segments = Segments::new(offsets, values.len())?;
    let models = Segments::new(row_offsets, segments.len())?;
    check_len("units", units.len(), models.len())?;
    check_finite("values", values)?;
    let rows = (0..segments.len()).map(|row| {
        let row = segments.slice(values, row);
        Sampler::new(row.len(), Scheme::Multinomial).map(|sampler| (row, sampler.bound()))
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let level = Level::new();
    let blocks = map_groups(n_resamples, interrupt, |replicate| {
        let one = |(model, &unit): (usize, &u64)| {
            let address = Address { rng_seed, purpose: purpose::BOOTSTRAP_OUTER, replicate: replicate as u64, unit };
            dispatch!(level, simd => nested(Words::new(simd, address), models.slice(&rows, model)))
        };
        Ok(units.iter().enumerate().map(one).collect::<Vec<_>>())
    })?;
    Ok(by_row(&blocks, models.len(), n_resamples))
}

#[inline(always)]
fn nested<S: Simd>(mut words: Words<S>, rows: &[(&[f64], Bound)]) -> f64 {
    if rows.iter().any(|(values, _)| values.is_empty()) {
        return f64::NAN;
    }
    let which = Bound::new(rows.len() as u32);
    let (mut sum, mut held) = (0.0, 0);
    for _ in 0..rows.len() {
        let Some((values, bound)) = rows.get(words.below(which) as usize) else { continue };
        for _ in 0..values.len() {
            sum += values.get(words.below(*bound) as usize).copied().unwrap_or(f64::NAN);
        }
        held += values.len();
    }
    ratio(sum, held as f64)
}
