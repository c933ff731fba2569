//! Bootstrap replicates of means and ratios, and intervals from replicates (Efron and Tibshirani 1993).
//!
//! A row holds the totals y_i of one model over n instances (or over clusters, drawn whole: then y_i is the sum and s_i
//! the size of a cluster); sizes s_i are shared by the rows, and 1 where there are none. Counts c_i of a replicate are
//! drawn in each stratum of the instances alone (`draw`) and shared by all rows, so that rows are compared in pairs:
//!   overall:  theta* = sum_h sum_i c_i y_i / sum_h sum_i c_i s_i      macro:  mean over h of the ratios of the strata
//! A ratio over nothing is NaN. Counts of stratum h come from the stream (rng_seed, BOOTSTRAP, replicate, its unit).
//!   y -> totals, s -> sizes, strata -> offsets, theta* -> values, B -> n_resamples
//! Cost O(B n rows) in memory of as many replicates as fit, whatever B is.
//! `spans`, `tables`, `few`, `bits`: sums under counts. `bayesian`: weights in place of counts. `crossed`: rows drawn too. `quantiles`:
//! another statistic. `law`: 0/1 scores of one model or two, whose replicates need no instances. `studentised`,
//! `estimates`, `interval`: intervals.
//! Twin: python/signoise/reference/_bootstrap.py

mod bayesian;
mod bits;
mod crossed;
mod draw;
mod estimates;
mod few;
mod interval;
mod law;
mod quantiles;
mod spans;
mod studentised;
mod sums;
mod tables;

use std::ops::Range;

use fearless_simd::{Level, Simd, dispatch};

pub use bayesian::bootstrap_bayesian;
pub use crossed::{bootstrap_crossed, bootstrap_nested};
pub use draw::Scheme;
pub use estimates::{Estimates, bootstrap_estimates};
pub use interval::{Intervals, bootstrap_interval, bootstrap_t_interval};
pub use law::{bootstrap_binomial, bootstrap_trinomial};
pub use quantiles::bootstrap_quantiles;
pub use studentised::{Studentised, bootstrap_studentised};

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, Segments, check_len, map_groups};
use crate::random::{purpose, wide::Address};
use draw::Sampler;
use tables::{Rows, Sums};

/// Counts that are held at once, at most (unless one replicate has more), and sums. Of no influence on the values.
const COUNTS_PER_PASS: usize = 1 << 27;
const SUMS_PER_PASS: usize = 1 << 23;

/// What is drawn from: instances in strata, and how.
#[derive(Debug, Clone, Copy)]
pub struct Design<'a> {
    /// Strata of the instances.
    pub offsets: &'a [usize],
    /// Hash of each stratum's label.
    pub units: &'a [u64],
    /// Law of the counts.
    pub scheme: Scheme,
    /// The user's seed.
    pub rng_seed: u64,
}

/// A checked design.
struct Strata<'a> {
    segments: Segments<'a>,
    samplers: Vec<Sampler>,
    design: Design<'a>,
}

impl<'a> Strata<'a> {
    fn new(design: Design<'a>, n: usize) -> Result<Self> {
        let segments = Segments::new(design.offsets, n)?;
        check_len("units", design.units.len(), segments.len())?;
        let sizes = design.offsets.windows(2).map(|pair| pair.iter().fold(0, |size, x| x - size));
        let samplers = sizes.map(|n| Sampler::new(n, design.scheme)).collect::<Result<_>>()?;
        Ok(Self { segments, samplers, design })
    }

    /// Counts of one stratum in several replicates, and how many a replicate has.
    #[inline(always)]
    fn counts<S: Simd>(&self, simd: S, stratum: usize, replicates: Range<usize>) -> (Vec<u16>, usize) {
        let (Some(sampler), Some(&unit)) = (self.samplers.get(stratum), self.design.units.get(stratum)) else {
            return (Vec::new(), 0);
        };
        let n = sampler.n();
        let mut counts = vec![0; replicates.len() * n];
        for (replicate, counts) in replicates.zip(counts.chunks_mut(n.max(1))) {
            let rng_seed = self.design.rng_seed;
            let address = Address { rng_seed, purpose: purpose::BOOTSTRAP, replicate: replicate as u64, unit };
            sampler.draw(simd, address, counts);
        }
        (counts, n)
    }

    /// Sums of the rows of one stratum in several replicates.
    fn sums(
        &self,
        level: Level,
        stratum: usize,
        rows: &Rows<'_>,
        replicates: Range<usize>,
        interrupt: &Interrupt,
    ) -> Result<Sums> {
        let (Some(sampler), Some(&unit)) = (self.samplers.get(stratum), self.design.units.get(stratum)) else {
            return Ok(Sums::default());
        };
        let (rng_seed, purpose) = (self.design.rng_seed, purpose::BOOTSTRAP);
        let address = |replicate| Address { rng_seed, purpose, replicate: replicate as u64, unit };
        rows.sums(level, sampler, &replicates.map(address).collect::<Vec<_>>(), interrupt)
    }

    /// Replicates that fit memory together, over sums of so many rows.
    fn passes(&self, rows: usize, n_resamples: usize) -> Vec<Range<usize>> {
        let largest = self.samplers.iter().map(Sampler::n).max().unwrap_or(0);
        let step = (COUNTS_PER_PASS / largest.max(1)).min(SUMS_PER_PASS / rows.max(1)).max(1);
        (0..n_resamples).step_by(step).map(|start| start..n_resamples.min(start + step)).collect()
    }
}

/// Counts of the first `n_resamples` replicates, one after the other: how often each instance is held.
///
/// # Errors
/// Bad offsets or units, a block longer than its stratum, or an interrupt.
pub fn bootstrap_counts(design: Design<'_>, n_resamples: usize, interrupt: &Interrupt) -> Result<Vec<u16>> {
    let n = design.offsets.last().copied().unwrap_or(0);
    let strata = Strata::new(design, n)?;
    let level = Level::new();
    let parts = map_groups(n_resamples, interrupt, |replicate| {
        let one = |stratum| dispatch!(level, simd => strata.counts(simd, stratum, replicate..replicate + 1).0);
        Ok((0..strata.segments.len()).flat_map(one).collect::<Vec<_>>())
    })?;
    Ok(parts.concat())
}

/// Replicates of the ratio of each row of `totals` to `sizes` (None: 1 each), row by row.
///
/// `macro_mean` averages the ratios of the strata instead of adding up what is above and below the line.
///
/// # Errors
/// Bad offsets or units, totals that are no rows of such instances, values that are not finite, a block longer than its
/// stratum, or an interrupt.
pub fn bootstrap_means(
    totals: &[f64],
    rows: usize,
    sizes: Option<&[f64]>,
    design: Design<'_>,
    macro_mean: bool,
    n_resamples: usize,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    means_at(Level::new(), totals, rows, sizes, design, macro_mean, n_resamples, interrupt)
}

/// The same with the instructions of a level, of which no bit of the result depends.
fn means_at(
    level: Level,
    totals: &[f64],
    rows: usize,
    sizes: Option<&[f64]>,
    design: Design<'_>,
    macro_mean: bool,
    n_resamples: usize,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let n = design.offsets.last().copied().unwrap_or(0);
    let strata = Strata::new(design, n)?;
    check_values(totals, rows, sizes, n)?;
    let lines = |stratum| {
        let totals = totals.chunks_exact(n.max(1)).chain(sizes);
        Rows::new(level, totals.map(|row| strata.segments.slice(row, stratum)).collect(), interrupt)
    };
    let lines = (0..strata.segments.len()).map(lines).collect::<Result<Vec<_>>>()?;
    let mut blocks = Vec::new();
    for replicates in strata.passes(rows, n_resamples) {
        let mut above = vec![0.0; replicates.len() * rows];
        let mut below = vec![0.0; replicates.len()];
        for (stratum, lines) in lines.iter().enumerate() {
            let Sums { sums, held } = strata.sums(level, stratum, lines, replicates.clone(), interrupt)?;
            let sums = sums.chunks((rows + usize::from(sizes.is_some())).max(1)).zip(held);
            let places = above.chunks_mut(rows.max(1)).zip(&mut below);
            for ((above, below), (sums, held)) in places.zip(sums) {
                let (totals, size) = sums.split_at(rows.min(sums.len()));
                let size = size.first().copied().unwrap_or(held as f64);
                for (above, total) in above.iter_mut().zip(totals) {
                    *above += if macro_mean { ratio(*total, size) } else { *total };
                }
                *below += if macro_mean { 1.0 } else { size };
            }
        }
        for (above, below) in above.chunks_mut(rows.max(1)).zip(below) {
            above.iter_mut().for_each(|above| *above = ratio(*above, below));
        }
        blocks.push(above);
    }
    Ok(by_row(&blocks, rows, n_resamples))
}

/// Values that came replicate by replicate, row by row.
fn by_row(blocks: &[Vec<f64>], rows: usize, n_resamples: usize) -> Vec<f64> {
    let mut values = vec![0.0; rows * n_resamples];
    for (row, values) in values.chunks_mut(n_resamples.max(1)).enumerate() {
        let found = blocks.iter().flat_map(|block| block.chunks(rows.max(1)));
        values.iter_mut().zip(found).for_each(|(value, found)| *value = found.get(row).copied().unwrap_or(f64::NAN));
    }
    values
}

/// NaN over nothing.
fn ratio(above: f64, below: f64) -> f64 {
    if below == 0.0 { f64::NAN } else { above / below }
}

fn check_values(totals: &[f64], rows: usize, sizes: Option<&[f64]>, n: usize) -> Result<()> {
    check_len("totals", totals.len(), rows.saturating_mul(n))?;
    check_finite("totals", totals)?;
    let Some(sizes) = sizes else { return Ok(()) };
    check_len("sizes", sizes.len(), n)?;
    check_finite("sizes", sizes)
}

fn check_finite(name: &'static str, values: &[f64]) -> Result<()> {
    // All of them without a way out, which goes several at once.
    if values.iter().fold(true, |finite, value| finite & value.is_finite()) {
        return Ok(());
    }
    let found = values.iter().enumerate().find(|(_, value)| !value.is_finite());
    let found = found.map(|(at, value)| format!("{value} at position {at}")).unwrap_or_default();
    Err(Error::Argument { name, expected: "finite", found })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::random::wide::tests::levels;

    const SCHEMES: [Scheme; 4] =
        [Scheme::Multinomial, Scheme::Poisson, Scheme::MovingBlock(7), Scheme::StationaryBlock(7)];

    /// Numbers without a pattern that sums would favour.
    fn values(n: usize) -> Vec<f64> {
        (0..n as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / 3.0).collect()
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let (offsets, units) = ([0, 1100, 1131], [1, 2]);
        for rows in [1, 3, 5, 12] {
            let real = values(rows * 1131);
            let bits: Vec<f64> = real.iter().map(|x| f64::from(u8::from(x.fract() > 0.5))).collect();
            for (totals, scheme) in SCHEMES.iter().flat_map(|&scheme| [(&real, scheme), (&bits, scheme)]) {
                let design = Design { offsets: &offsets, units: &units, scheme, rng_seed: 3 };
                let at = |level| means_at(level, totals, rows, None, design, false, 20, &Interrupt::new()).unwrap();
                let expected = at(Level::new());
                assert!(expected.iter().all(|value| value.is_finite()));
                for level in levels() {
                    assert_eq!(at(level), expected, "{level:?} {scheme:?}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_whoever_stands_beside_it() {
        for n in [7, 95, 3169] {
            let (offsets, units) = ([0, n], [1]);
            let real = values(17 * n);
            let bits: Vec<f64> = real.iter().map(|x| f64::from(u8::from(x.fract() > 0.5))).collect();
            for (totals, scheme) in SCHEMES.iter().flat_map(|&scheme| [(&real, scheme), (&bits, scheme)]) {
                let design = Design { offsets: &offsets, units: &units, scheme, rng_seed: 3 };
                let made = |totals: &[f64]| {
                    let rows = totals.len() / n;
                    bootstrap_means(totals, rows, None, design, false, 300, &Interrupt::new()).unwrap()
                };
                let every = made(totals);
                for rows in [1, 5, 9] {
                    assert_eq!(made(&totals[..rows * n]), every[..rows * 300], "{rows} of {n} {scheme:?}");
                }
            }
        }
    }

    /// Sum under counts, in the words of `spans`.
    fn sum_under(x: &[f64], counts: &[u16]) -> f64 {
        let spans = x.len().div_ceil(96);
        let product = |i: usize| x.get(i).map_or(0.0, |x| f64::from(counts[i].min(4)) * x);
        let triple = |i| (product(i) + product(i + 32)) + product(i + 64);
        let mut sum = 0.0;
        for block in (0..spans).step_by(32) {
            for quad in 0..8 {
                let quads = (block..spans.min(block + 32)).map(|span| {
                    let first = 96 * span + quad;
                    (triple(first) + triple(first + 8)) + (triple(first + 16) + triple(first + 24))
                });
                sum += quads.fold(0.0, |sum, quad| sum + quad);
            }
        }
        let above_four = x.iter().zip(counts).filter(|&(_, &count)| count > 4);
        sum + above_four.fold(0.0, |rest, (x, &count)| rest + x * f64::from(count - 4))
    }

    #[test]
    fn sums_are_added_up_in_the_order_of_the_definition() {
        for n in [7, 95, 1131, 3169, 6400] {
            let (offsets, units, rows) = ([0, n], [1], 9);
            let design = Design { offsets: &offsets, units: &units, scheme: Scheme::Multinomial, rng_seed: 3 };
            let counts = bootstrap_counts(design, 3, &Interrupt::new()).unwrap();
            assert!(n < 1000 || counts.iter().any(|&count| count > 4));
            let totals = values(rows * n);
            let expected =
                totals.chunks(n).flat_map(|row| counts.chunks(n).map(move |counts| sum_under(row, counts) / n as f64));
            let found = bootstrap_means(&totals, rows, None, design, false, 3, &Interrupt::new()).unwrap();
            assert_eq!(found, expected.collect::<Vec<_>>(), "{n}");
        }
    }

    #[test]
    fn a_replicate_of_every_instance_once_is_the_estimate() {
        for (n, rows) in [(1, 1), (20, 1), (95, 3), (480, 5), (3169, 12)] {
            let (offsets, units, totals) = ([0, n], [1], values(rows * n));
            let design = Design { offsets: &offsets, units: &units, scheme: Scheme::MovingBlock(n), rng_seed: 3 };
            let found = bootstrap_means(&totals, rows, None, design, false, 1, &Interrupt::new()).unwrap();
            let estimates = bootstrap_estimates(&totals, rows, None, &offsets, false, &Interrupt::new()).unwrap();
            assert_eq!(found, estimates.estimate, "{n}");
        }
    }

    #[test]
    fn replicates_hold_what_they_should() {
        for n in [1, 2, 255, 256, 1024, 4097] {
            let (offsets, units) = ([0, n], [9]);
            let counts = |scheme| {
                let design = Design { offsets: &offsets, units: &units, scheme, rng_seed: 3 };
                bootstrap_counts(design, 5, &Interrupt::new())
            };
            for replicate in counts(Scheme::Multinomial).unwrap().chunks(n) {
                assert_eq!(replicate.iter().map(|&count| usize::from(count)).sum::<usize>(), n);
            }
            assert_eq!(counts(Scheme::MovingBlock(n)), Ok(vec![1; 5 * n]));
            assert!(counts(Scheme::MovingBlock(n + 1)).is_err());
        }
    }

    #[test]
    fn nothing_makes_nothing() {
        let design = Design { offsets: &[0], units: &[], scheme: Scheme::Multinomial, rng_seed: 0 };
        let found = bootstrap_means(&[], 2, None, design, false, 1, &Interrupt::new()).unwrap();
        assert!(found.iter().all(|value| value.is_nan()) && found.len() == 2);
        assert_eq!(bootstrap_counts(design, 3, &Interrupt::new()), Ok(Vec::new()));
    }
}
