//! Rows of real numbers: two at a time, as the additions of one row wait for each other.

use std::ops::Range;

use fearless_simd::{Simd, f64x8, prelude::*};

use super::Matrix;
use super::bits::Bits;
use crate::moments::Moments;

/// Partial sums side by side; more of them would not fit the registers of every machine.
pub(super) const LANES: usize = 8;

/// Moments of the usable values of each row in order, and how many are NaN.
#[inline(always)]
pub(super) fn each<S: Simd, T: Copy + Into<f64>>(
    simd: S,
    values: &[T],
    matrix: &Matrix<'_>,
    rows: Range<usize>,
    mut put: impl FnMut(Moments, u64),
) {
    let mut packed = Vec::new();
    let row = |row| Row::new(values, matrix, row);
    for first in rows.clone().step_by(2) {
        let (one, other) = (row(first), row(first + 1));
        if first + 1 < rows.end
            && one.is_full()
            && other.is_full()
            && let Some(found) = of_both(simd, [one.values, other.values])
        {
            found.into_iter().for_each(|moments| put(moments, 0));
            continue;
        }
        for row in [one, other].into_iter().take(rows.end - first) {
            if row.is_full()
                && let (found, false) = of_one(simd, row.values)
            {
                put(found, 0);
                continue;
            }
            let usable = row.usable(&mut packed);
            put(of_one(simd, usable).0, row.present - usable.len() as u64);
        }
    }
}

/// One row.
struct Row<'a, T> {
    values: &'a [T],
    bits: Option<Bits<'a>>,
    /// Values that are there.
    present: u64,
}

impl<'a, T: Copy + Into<f64>> Row<'a, T> {
    #[inline(always)]
    fn new(values: &'a [T], matrix: &Matrix<'a>, row: usize) -> Self {
        let (start, end) = (row * matrix.width, (row + 1) * matrix.width);
        let values = values.get(start..end).unwrap_or(&[]);
        let bits = matrix.validity.map(|bytes| Bits::new(bytes, start, end));
        Self { values, bits, present: bits.map_or(values.len() as u64, Bits::count) }
    }

    #[inline(always)]
    fn is_full(&self) -> bool {
        self.present == self.values.len() as u64
    }

    /// The values that are there and no NaN. They move together, each written whether or not it stays.
    #[inline(always)]
    fn usable<'b>(&self, packed: &'b mut Vec<f64>) -> &'b [f64] {
        packed.clear();
        packed.resize(self.values.len() + 1, 0.0);
        let mut n = 0;
        for (i, &x) in self.values.iter().enumerate() {
            let x: f64 = x.into();
            if let Some(place) = packed.get_mut(n) {
                *place = x;
            }
            let there = self.bits.is_none_or(|bits| bits.get(i));
            n += usize::from(there & !x.is_nan());
        }
        packed.get(..n).unwrap_or(&[])
    }
}

/// Moments of two rows of the same length; None where one holds a NaN.
#[inline(always)]
fn of_both<S: Simd, T: Copy + Into<f64>>(simd: S, [a, b]: [&[T]; 2]) -> Option<[Moments; 2]> {
    let ((a_blocks, a_rest), (b_blocks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let (mut first_a, mut first_b) = (FirstPass::new(simd), FirstPass::new(simd));
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        first_a.add(lanes(simd, x, 0.0));
        first_b.add(lanes(simd, y, 0.0));
    }
    let (first_a, first_b) = (first_a.finish(simd, a_rest), first_b.finish(simd, b_rest));
    if first_a.total.is_nan() || first_b.total.is_nan() {
        return None;
    }
    let n = a.len() as u64;
    let (mean_a, mean_b) = (first_a.mean(n), first_b.mean(n));
    let (mut second_a, mut second_b) = (SecondPass::new(simd, mean_a), SecondPass::new(simd, mean_b));
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        second_a.add(lanes(simd, x, 0.0));
        second_b.add(lanes(simd, y, 0.0));
    }
    Some([first_a.moments(n, second_a.finish(simd, a_rest, n)), first_b.moments(n, second_b.finish(simd, b_rest, n))])
}

/// Moments of values, and whether their sum is NaN; the moments then hold only if no value is.
#[inline(always)]
fn of_one<S: Simd, T: Copy + Into<f64>>(simd: S, values: &[T]) -> (Moments, bool) {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut first = FirstPass::new(simd);
    for block in blocks {
        first.add(lanes(simd, block, 0.0));
    }
    let n = values.len() as u64;
    let first = first.finish(simd, rest);
    let mut second = SecondPass::new(simd, first.mean(n));
    for block in blocks {
        second.add(lanes(simd, block, 0.0));
    }
    (first.moments(n, second.finish(simd, rest, n)), first.total.is_nan())
}

/// Up to 8 values in their lanes; the others are filled.
#[inline(always)]
fn lanes<S: Simd, T: Copy + Into<f64>>(simd: S, values: &[T], fill: f64) -> f64x8<S> {
    let mut lanes = [fill; LANES];
    for (lane, &x) in lanes.iter_mut().zip(values) {
        *lane = x.into();
    }
    f64x8::simd_from(simd, lanes)
}

#[inline(always)]
pub(super) fn join(mut lanes: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Sum and extremes on their way, lane by lane; the latter pass over NaN.
struct FirstPass<S: Simd> {
    total: f64x8<S>,
    low: f64x8<S>,
    high: f64x8<S>,
}

impl<S: Simd> FirstPass<S> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        let splat = |x| f64x8::splat(simd, x);
        Self { total: splat(0.0), low: splat(f64::INFINITY), high: splat(f64::NEG_INFINITY) }
    }

    #[inline(always)]
    fn add(&mut self, x: f64x8<S>) {
        self.total += x;
        self.bound(x);
    }

    #[inline(always)]
    fn bound(&mut self, x: f64x8<S>) {
        // No `min`: which of two zeros that takes depends on the machine.
        self.low = x.simd_lt(self.low).select(x, self.low);
        self.high = x.simd_gt(self.high).select(x, self.high);
    }

    /// With the values after the last whole block.
    #[inline(always)]
    fn finish<T: Copy + Into<f64>>(mut self, simd: S, rest: &[T]) -> Summary {
        if !rest.is_empty() {
            self.total += lanes(simd, rest, 0.0);
            self.bound(lanes(simd, rest, f64::NAN));
        }
        let (low, high): ([f64; LANES], [f64; LANES]) = (self.low.into(), self.high.into());
        Summary {
            total: join(self.total.into()),
            min: low.into_iter().fold(f64::INFINITY, |a, b| if b < a { b } else { a }),
            max: high.into_iter().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a }),
        }
    }
}

/// Sum and extremes.
struct Summary {
    total: f64,
    min: f64,
    max: f64,
}

impl Summary {
    #[inline(always)]
    fn mean(&self, n: u64) -> f64 {
        self.total / n as f64
    }

    #[inline(always)]
    fn moments(&self, n: u64, m2: f64) -> Moments {
        let Self { min, max, .. } = *self;
        if n == 0 {
            return Moments { n, mean: f64::NAN, m2: f64::NAN, min: f64::NAN, max: f64::NAN };
        }
        if min == max && min.is_finite() {
            // The sum of n equal values is rounded; their mean is not.
            return Moments { n, mean: min, m2: 0.0, min, max };
        }
        Moments { n, mean: self.mean(n), m2, min, max }
    }
}

/// Sums of deviations on their way, lane by lane.
struct SecondPass<S: Simd> {
    mean: f64,
    means: f64x8<S>,
    squares: f64x8<S>,
    drift: f64x8<S>,
}

impl<S: Simd> SecondPass<S> {
    #[inline(always)]
    fn new(simd: S, mean: f64) -> Self {
        let splat = |x| f64x8::splat(simd, x);
        Self { mean, means: splat(mean), squares: splat(0.0), drift: splat(0.0) }
    }

    #[inline(always)]
    fn add(&mut self, x: f64x8<S>) {
        let d = x - self.means;
        self.squares += d * d;
        self.drift += d;
    }

    /// m2, with the values after the last whole block.
    #[inline(always)]
    fn finish<T: Copy + Into<f64>>(mut self, simd: S, rest: &[T], n: u64) -> f64 {
        if !rest.is_empty() {
            self.add(lanes(simd, rest, self.mean));
        }
        let drift = join(self.drift.into());
        join(self.squares.into()) - drift * drift / n as f64
    }
}
