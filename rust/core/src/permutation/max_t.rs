//! Many comparisons of the same instances at once: the largest |z| under shared sign flips (Westfall & Young 1993).
//!
//! Comparison c is row l minus row r of a matrix of rows x instances: d_ci = x_li - x_ri, T_c = sum d_ci and
//! z_c = T_c / sqrt(sum d_ci^2), whose denominator no flip changes. One pattern of signs flips all comparisons, so a
//! flipped T_c is the difference of two flipped row sums: rows are added up, not pairs of them.
//! p:             #{|z*_c| >= |z_c|}, as in the module above.
//! p_single_step: #{max over all k of |z*_k| >= |z_c|}.
//! p_step_down:   the same with k over the comparisons whose |z_k| is not above |z_c|, then made to rise as |z| falls.
//! Both keep the chance of any false rejection at most alpha where the differences of all true nulls are symmetric about
//! 0 together.
//! Rows are integers on one scale, and rows have fewer than 2^27 instances, so that doubles hold every sum. Differences
//! under 1e-5 of the largest value make p larger than need be: take what is common to all rows off them first.
//! Cost: rows x instances x replicates sign additions, comparisons x replicates products.

use super::draws::{Fold, Plan, Sums};
use super::fixed::{ENUMERATED_BITS, Fixed, SAMPLED_BITS, Scale, slack};
use super::{Method, check_resamples, p_value, ratio};
use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, map_groups};
use crate::random::purpose;
use crate::random::wide::{Address, LANES};

/// Standard deviations of a flipped rounding error that are added to a flipped sum.
///
/// Errors e flip with what they belong to: P(|sum s e| > 7 sqrt(sum e^2)) < 5e-11 (Hoeffding 1963), and never where there
/// are at most 49 of them. So a tie is missed as rarely; the sum of all |e| would be many times as large, and rows much
/// larger than their differences would pay for it.
const DEVIATIONS: f64 = 7.0;

/// Share of the rows' own size below which their difference is none.
const SAME: f64 = 1e-12;

/// One entry a comparison; NaN where a row of it is not finite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MaxT {
    /// Sum of the differences.
    pub statistic: Vec<f64>,
    /// Its ratio to the root of the sum of their squares.
    pub z: Vec<f64>,
    /// Two-sided p of the comparison alone.
    pub p_value: Vec<f64>,
    /// Adjusted by the largest of all.
    pub p_single_step: Vec<f64>,
    /// Adjusted by the largest of those left.
    pub p_step_down: Vec<f64>,
    /// Patterns looked at.
    pub draws: u64,
    /// [`Method`].
    pub method: u8,
}

/// Critical values of the largest |z|.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MaxTQuantiles {
    /// Over all comparisons.
    pub critical: f64,
    /// Over those that a row is part of.
    pub row_critical: Vec<f64>,
    /// sqrt(sum d^2) of each comparison.
    pub root_sum_squares: Vec<f64>,
    /// Patterns looked at.
    pub draws: u64,
}

/// p-values of comparisons of rows, alone and adjusted for their number.
///
/// `values`: `n_rows` rows of equal length, one after the other. A comparison of values that are differences already, or
/// of which some instances are absent (a difference of 0), has a row of zeros for its right one.
///
/// # Errors
/// Arrays of unequal length, a row that does not exist, `n_resamples == 0`, or an interrupt.
pub fn max_t_test(
    values: &[f64],
    n_rows: usize,
    left: &[usize],
    right: &[usize],
    unit: u64,
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<MaxT> {
    let family = Family::new(values, n_rows, left, right, unit, n_resamples, rng_seed, interrupt)?;
    let mut order: Vec<usize> =
        (0..left.len()).filter(|&c| family.comparisons.get(c).is_some_and(|c| c.inverse.is_finite())).collect();
    let size = |c: &usize| family.comparisons.get(*c).map_or(0.0, Comparison::size);
    order.sort_by(|l, r| size(r).total_cmp(&size(l)).then(l.cmp(r)));
    let ordered: Vec<Comparison> = order.iter().filter_map(|&c| family.comparisons.get(c).copied()).collect();
    let start = || Counts {
        comparisons: &ordered,
        totals: &family.totals,
        counts: vec![[0; 2]; ordered.len()],
        maxima: vec![],
    };
    let parts = family.plan.run(&family.rows, start, interrupt)?;

    let mut maxima: Vec<f64> = parts.iter().flat_map(|part| part.maxima.iter().copied()).collect();
    maxima.sort_by(f64::total_cmp);
    let draws = family.plan.draws() as u64;
    let mut columns = MaxT {
        statistic: family.comparisons.iter().map(|c| c.statistic).collect(),
        z: family.comparisons.iter().map(Comparison::z).collect(),
        p_value: vec![f64::NAN; left.len()],
        p_single_step: vec![f64::NAN; left.len()],
        p_step_down: vec![f64::NAN; left.len()],
        draws,
        method: family.method as u8,
    };
    let p = |extreme| p_value(extreme, draws, family.method);
    let mut before = 0.0_f64;
    for (rank, (&c, comparison)) in order.iter().zip(&ordered).enumerate() {
        let [own, left_over] =
            [0, 1].map(|which| parts.iter().filter_map(|part| part.counts.get(rank)).map(|counts| counts[which]).sum());
        let all = maxima.len() - maxima.partition_point(|&most| most < comparison.least);
        before = before.max(p(left_over));
        let found = [p(own), p(all as u64), before];
        for (column, p) in
            [&mut columns.p_value, &mut columns.p_single_step, &mut columns.p_step_down].into_iter().zip(found)
        {
            if let Some(place) = column.get_mut(c) {
                *place = p;
            }
        }
    }
    Ok(columns)
}

/// Quantiles of the largest |z| over comparisons, and over those of each row.
///
/// On residuals (scores less the row's mean, or their sums over clusters) these are the critical values of simultaneous
/// intervals: difference +- critical * standard error (multiplier bootstrap with random signs). The quantile is the
/// k-th smallest of the draws with k = ceil(level (draws + 1)), infinite where there are too few. Rows without a
/// comparison have NaN. Memory: n_rows x draws.
///
/// # Errors
/// Those of [`max_t_test`], or a level outside (0, 1).
pub fn max_t_quantiles(
    values: &[f64],
    n_rows: usize,
    left: &[usize],
    right: &[usize],
    confidence_level: f64,
    unit: u64,
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<MaxTQuantiles> {
    if !(confidence_level > 0.0 && confidence_level < 1.0) {
        return Err(Error::Argument {
            name: "confidence_level",
            expected: "above 0 and below 1",
            found: confidence_level.to_string(),
        });
    }
    let family = Family::new(values, n_rows, left, right, unit, n_resamples, rng_seed, interrupt)?;
    let start = || Maxima {
        family: &family,
        left,
        right,
        held: vec![[0.0; LANES]; n_rows + 1],
        maxima: vec![vec![]; n_rows + 1],
    };
    let parts = family.plan.run(&family.rows, start, interrupt)?;
    let draws = family.plan.draws();
    // Less the last digits of a product such as 0.95 * 20.
    let rank = (confidence_level * (draws + 1) as f64 - 1e-9).ceil() as usize;
    let mut quantiles = map_groups(n_rows + 1, interrupt, |row| {
        let mut maxima: Vec<f64> =
            parts.iter().filter_map(|part| part.maxima.get(row)).flat_map(|part| part.iter().copied()).collect();
        maxima.sort_unstable_by(f64::total_cmp);
        Ok(maxima.get(rank.saturating_sub(1)).copied().unwrap_or(f64::INFINITY))
    })?;
    let critical = quantiles.pop().unwrap_or(f64::NAN);
    let used = |row: usize| {
        family
            .comparisons
            .iter()
            .zip(left.iter().zip(right))
            .any(|(c, (&l, &r))| c.inverse.is_finite() && (l == row || r == row))
    };
    let row_critical = quantiles.into_iter().enumerate().map(|(row, q)| if used(row) { q } else { f64::NAN }).collect();
    let any = family.comparisons.iter().any(|c| c.inverse.is_finite());
    Ok(MaxTQuantiles {
        critical: if any { critical } else { f64::NAN },
        row_critical,
        root_sum_squares: family.comparisons.iter().map(|c| c.root).collect(),
        draws: draws as u64,
    })
}

#[derive(Debug, Clone, Copy)]
struct Comparison {
    left: usize,
    right: usize,
    statistic: f64,
    /// sqrt(sum d^2).
    root: f64,
    /// The same upside down, in units; 0 where all differences are, NaN where a row is not finite.
    inverse: f64,
    /// What rounding may take from a flipped sum.
    error: f64,
    /// What |z*| must reach.
    least: f64,
}

impl Comparison {
    fn z(&self) -> f64 {
        ratio(self.statistic, self.root)
    }

    fn size(&self) -> f64 {
        let z = self.z();
        if z.is_nan() { 0.0 } else { z.abs() }
    }

    /// |z| of flipped sums, and no less than it is in truth.
    #[inline(always)]
    fn flipped(&self, sums: &[[f64; LANES]]) -> [f64; LANES] {
        let mut sizes = [f64::NAN; LANES];
        if let (Some(left), Some(right)) = (sums.get(self.left), sums.get(self.right)) {
            for ((size, left), right) in sizes.iter_mut().zip(left).zip(right) {
                *size = ((left - right).abs() + self.error) * self.inverse;
            }
        }
        sizes
    }
}

/// Rows as integers, the comparisons of them and the patterns to try.
struct Family {
    rows: Vec<Vec<i64>>,
    totals: Vec<f64>,
    comparisons: Vec<Comparison>,
    plan: Plan,
    method: Method,
}

impl Family {
    fn new(
        values: &[f64],
        n_rows: usize,
        left: &[usize],
        right: &[usize],
        unit: u64,
        n_resamples: usize,
        rng_seed: u64,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        check_resamples(n_resamples)?;
        check_len("right", right.len(), left.len())?;
        let n = values.len().checked_div(n_rows).unwrap_or(0);
        check_len("values", values.len(), n * n_rows)?;
        if let Some(row) = left.iter().chain(right).find(|&&row| row >= n_rows) {
            return Err(Error::Argument {
                name: "left and right",
                expected: "numbers of rows",
                found: format!("{row} of {n_rows}"),
            });
        }
        let address = Address { rng_seed, purpose: purpose::SIGN_FLIP, replicate: 0, unit };
        let (plan, bits, method) = match Plan::all(n, n_resamples) {
            Some(plan) => (plan, ENUMERATED_BITS, Method::Enumerated),
            None => (Plan::flips(n, n_resamples, address), SAMPLED_BITS, Method::Sampled),
        };
        let row = |row: usize| values.get(row * n..(row + 1) * n).unwrap_or(&[]);
        let finite: Vec<bool> = (0..n_rows).map(|r| n > 0 && row(r).iter().all(|x| x.is_finite())).collect();
        let usable = |r: usize| finite.get(r).copied().unwrap_or(false);
        // One scale for all rows: the difference of two sums of integers is then the sum of a difference.
        let scale = Scale::of((0..n_rows).filter(|&r| usable(r)).flat_map(|r| row(r).iter().copied()), bits);
        let fixed = map_groups(n_rows, interrupt, |r| {
            let known = if usable(r) { row(r) } else { &[] };
            let mut fixed = Fixed::on(scale, known.iter().copied());
            fixed.units.resize(n, 0);
            Ok(fixed)
        })?;
        let sizes: Vec<i64> = fixed.iter().map(Fixed::size).collect();
        let norms: Vec<f64> = (0..n_rows).map(|r| row(r).iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
        let comparisons = map_groups(left.len(), interrupt, |c| {
            let (l, r) = (left.get(c).copied().unwrap_or(0), right.get(c).copied().unwrap_or(0));
            let nothing = f64::NAN;
            let (Some(first), Some(second), true) = (fixed.get(l), fixed.get(r), usable(l) && usable(r)) else {
                return Ok(Comparison {
                    left: l,
                    right: r,
                    statistic: nothing,
                    root: nothing,
                    inverse: nothing,
                    error: nothing,
                    least: nothing,
                });
            };
            let (statistic, squares) = differences(row(l), row(r));
            // Rows that differ in their last digits alone do not differ.
            let norm = |row| norms.get(row).copied().unwrap_or(0.0);
            let root = if squares.sqrt() > SAME * (norm(l) + norm(r)) { squares.sqrt() } else { 0.0 };
            let size = (sizes.get(l).copied().unwrap_or(0) + sizes.get(r).copied().unwrap_or(0)) as f64;
            let error = DEVIATIONS * (first.squared_error.sqrt() + second.squared_error.sqrt());
            let inverse = if root > 0.0 { 1.0 / scale.apply(root) } else { 0.0 };
            let least = (scale.apply(statistic.abs()) - slack(0.0, size)) * inverse * (1.0 - 1e-12);
            Ok(Comparison { left: l, right: r, statistic, root, inverse, error, least })
        })?;
        let totals = fixed.iter().map(|row| row.units.iter().sum::<i64>() as f64).collect();
        let rows = fixed.into_iter().map(|row| row.units).collect();
        Ok(Self { rows, totals, comparisons, plan, method })
    }
}

/// Sum of x - y and of its square, in eight parts that are added up last.
fn differences(x: &[f64], y: &[f64]) -> (f64, f64) {
    let (mut sums, mut squares) = ([0.0; 8], [0.0; 8]);
    let mut add = |part: usize, d: f64| {
        sums[part] += d;
        squares[part] += d * d;
    };
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (x, y) in x.iter().zip(y) {
        for part in 0..8 {
            add(part, x[part] - y[part]);
        }
    }
    for (part, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
        add(part, x - y);
    }
    (sums.iter().sum(), squares.iter().sum())
}

/// Sums over a pattern turned into sums under its flips; NaN in lanes without a replicate.
///
/// Sums are integers below 2^53, so doubles hold them and their differences.
fn flipped_totals(sums: &[Sums], totals: &[f64], live: usize) -> Vec<[f64; LANES]> {
    let flip = |(sums, total): (&Sums, &f64)| {
        let mut flipped = [f64::NAN; LANES];
        for (flipped, sum) in flipped.iter_mut().zip(sums).take(live) {
            *flipped = total - 2.0 * *sum as f64;
        }
        flipped
    };
    sums.iter().zip(totals).map(flip).collect()
}

#[inline(always)]
fn raise(most: &mut [f64; LANES], sizes: &[f64; LANES]) {
    for (most, size) in most.iter_mut().zip(sizes) {
        *most = if size > most { *size } else { *most };
    }
}

struct Counts<'a> {
    /// From the largest observed |z| to the smallest.
    comparisons: &'a [Comparison],
    totals: &'a [f64],
    /// Replicates that reach the observed: the comparison's own, and the largest from it on.
    counts: Vec<[u64; 2]>,
    maxima: Vec<f64>,
}

impl Fold for Counts<'_> {
    fn block(&mut self, sums: &[Sums], live: usize) {
        let sums = flipped_totals(sums, self.totals, live);
        let mut most = [f64::NEG_INFINITY; LANES];
        for (comparison, [own, left_over]) in self.comparisons.iter().zip(&mut self.counts).rev() {
            let sizes = comparison.flipped(&sums);
            raise(&mut most, &sizes);
            *own += sizes.iter().map(|&size| u64::from(size >= comparison.least)).sum::<u64>();
            *left_over += most.iter().map(|&size| u64::from(size >= comparison.least)).sum::<u64>();
        }
        self.maxima.extend(most.iter().take(live));
    }
}

struct Maxima<'a> {
    family: &'a Family,
    left: &'a [usize],
    right: &'a [usize],
    /// Largest |z| of each row in this block; that of all comparisons last.
    held: Vec<[f64; LANES]>,
    /// The same of each replicate so far.
    maxima: Vec<Vec<f64>>,
}

impl Fold for Maxima<'_> {
    fn block(&mut self, sums: &[Sums], live: usize) {
        let sums = flipped_totals(sums, &self.family.totals, live);
        self.held.fill([f64::NEG_INFINITY; LANES]);
        let all = self.held.len().saturating_sub(1);
        for (comparison, (&left, &right)) in self.family.comparisons.iter().zip(self.left.iter().zip(self.right)) {
            let sizes = comparison.flipped(&sums);
            for place in [left, right, all] {
                if let Some(most) = self.held.get_mut(place) {
                    raise(most, &sizes);
                }
            }
        }
        for (maxima, most) in self.maxima.iter_mut().zip(&self.held) {
            maxima.extend(most.iter().take(live));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_alike_up_to_their_last_digits_do_not_disturb_the_others() {
        let n = 60;
        let scores: Vec<f64> = (0..n).map(|i| f64::from(i % 7) / 10.0).collect();
        let noisy = scores.iter().map(|x| x + 0.7 - 0.7);
        let better = scores.iter().enumerate().map(|(i, x)| x + if i % 3 == 0 { 0.3 } else { 0.0 });
        let values: Vec<f64> = scores.iter().copied().chain(noisy).chain(better).collect();
        let found = max_t_test(&values, 3, &[0, 2], &[1, 0], 0, 999, 1, &Interrupt::new()).unwrap_or_default();
        assert!(found.z[0].is_nan());
        assert_eq!((found.p_value[0], found.p_single_step[0]), (1.0, 1.0));
        assert!(found.p_single_step[1] < 0.01 && found.p_single_step[1] == found.p_value[1]);
        let found =
            max_t_quantiles(&values, 3, &[0, 2], &[1, 0], 0.9, 0, 999, 1, &Interrupt::new()).unwrap_or_default();
        assert!(found.critical < 3.0 && found.root_sum_squares[0] == 0.0);
    }
}
