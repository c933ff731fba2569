//! Moments of the rows of dense checkpoint x instance matrices: what the score store is read with.
//!
//! The usable values of a row are those whose validity bit is set and that are not NaN, in column order: x_0 .. x_{n-1}.
//! mean = sum x / n,  m2 = sum (x - mean)^2 - (sum (x - mean))^2 / n  (two passes; the second term corrects the first).
//! Sums run in 8 lanes (x_i goes to lane i mod 8), joined pairwise at the end, in f64 whatever the values are: the
//! order is part of the definition, so the bits depend neither on threads nor on the machine's vector width. A row
//! whose plain sum is a number holds no NaN and is read as it lies; any other is packed first, without a branch a value.
//! 0/1 matrices are bits, row-major without padding: counts are popcounts, exact in any order.
//! matrices -> X, validity -> which x count; cost O(cells), memory of one row. Twin: python/signoise/reference/_matrix.py

mod bits;
mod rows;

pub use bits::{BitCounts, BitMatrix, BitMoments, bit_matrix_counts, bit_matrix_moments};
pub(crate) use bits::{Bits, check_bits};
use fearless_simd::{Level, Simd, dispatch};

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, for_each_group};
use rows::{LANES, join};

/// Cells that one task of the pool reads.
const TASK: usize = 1 << 17;

/// Values of a matrix, row-major.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Single precision; sums are f64 all the same.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl Values<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }
}

/// A matrix with the bits that say which cells are there (None: all of them), cell 0 in the lowest bit of byte 0.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub width: usize,
    /// `rows * width` values.
    pub values: Values<'a>,
    /// One bit a cell.
    pub validity: Option<&'a [u8]>,
}

impl Matrix<'_> {
    fn check(&self) -> Result<()> {
        check_len("values", self.values.len(), cells(self.rows, self.width)?)?;
        check_bits("validity", self.validity, self.rows, self.width)
    }
}

/// Moments of rows, column by column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowMoments {
    /// Usable values.
    pub n: Vec<u64>,
    /// Values that are there and NaN.
    pub n_nan: Vec<u64>,
    /// Arithmetic mean; this and what follows is NaN where no value is usable.
    pub mean: Vec<f64>,
    /// Sum of squared deviations from the mean.
    pub m2: Vec<f64>,
    /// Smallest value.
    pub min: Vec<f64>,
    /// Largest value.
    pub max: Vec<f64>,
}

fn cells(rows: usize, width: usize) -> Result<usize> {
    rows.checked_mul(width).ok_or_else(|| Error::Argument {
        name: "matrices",
        expected: "of a size that fits memory",
        found: format!("{rows} x {width}"),
    })
}

/// Consecutive rows of one matrix, few enough to share the work evenly.
struct Task<'a, M> {
    matrix: &'a M,
    start: usize,
    end: usize,
}

fn tasks<M>(matrices: &[M], shape: impl Fn(&M) -> (usize, usize)) -> Vec<Task<'_, M>> {
    let mut tasks = Vec::new();
    for matrix in matrices {
        let (rows, width) = shape(matrix);
        let step = (TASK / width.max(1)).max(1);
        tasks.extend((0..rows).step_by(step).map(|start| Task { matrix, start, end: (start + step).min(rows) }));
    }
    tasks
}

fn rows_of<M>(tasks: &[Task<'_, M>]) -> usize {
    tasks.iter().map(|task| task.end - task.start).sum()
}

/// Cuts a column of results into what each task has to fill.
fn cut<'a, T, M>(mut column: &'a mut [T], tasks: &[Task<'_, M>]) -> impl Iterator<Item = &'a mut [T]> {
    tasks.iter().map(move |task| column.split_off_mut(..task.end - task.start).unwrap_or_default())
}

/// Count, NaN count, mean, spread and extremes of each row, matrix by matrix.
///
/// # Errors
/// A length that does not fit its shape, or an interrupt.
pub fn matrix_moments(matrices: &[Matrix<'_>], interrupt: &Interrupt) -> Result<RowMoments> {
    matrices.iter().try_for_each(Matrix::check)?;
    let tasks = tasks(matrices, |matrix| (matrix.rows, matrix.width));
    let rows = rows_of(&tasks);
    let (counts, floats) = (|| vec![0; rows], || vec![0.0; rows]);
    let mut found =
        RowMoments { n: counts(), n_nan: counts(), mean: floats(), m2: floats(), min: floats(), max: floats() };
    let counts = cut(&mut found.n, &tasks).zip(cut(&mut found.n_nan, &tasks));
    let means = cut(&mut found.mean, &tasks).zip(cut(&mut found.m2, &tasks));
    let extremes = cut(&mut found.min, &tasks).zip(cut(&mut found.max, &tasks));
    let columns = counts.zip(means).zip(extremes);
    let level = Level::new();
    for_each_group(tasks.iter().zip(columns), interrupt, |(task, (((n, n_nan), (mean, m2)), (min, max)))| {
        let columns = Columns { n, n_nan, mean, m2, min, max };
        // The same operations in the same order at any level.
        match task.matrix.values {
            Values::F32(values) => dispatch!(level, simd => fill(simd, values, task, columns)),
            Values::F64(values) => dispatch!(level, simd => fill(simd, values, task, columns)),
        }
    })?;
    Ok(found)
}

/// Where the results of a task go.
struct Columns<'a> {
    n: &'a mut [u64],
    n_nan: &'a mut [u64],
    mean: &'a mut [f64],
    m2: &'a mut [f64],
    min: &'a mut [f64],
    max: &'a mut [f64],
}

#[inline(always)]
fn fill<S: Simd, T: Copy + Into<f64>>(simd: S, values: &[T], task: &Task<'_, Matrix<'_>>, columns: Columns<'_>) {
    let Columns { n, n_nan, mean, m2, min, max } = columns;
    let counts = n.iter_mut().zip(n_nan);
    let floats = mean.iter_mut().zip(m2).zip(min.iter_mut().zip(max));
    let mut put = counts.zip(floats);
    rows::each(simd, values, task.matrix, task.start..task.end, |found, nan| {
        if let Some(((n, n_nan), ((mean, m2), (min, max)))) = put.next() {
            (*n, *n_nan, *mean, *m2, *min, *max) = (found.n, nan, found.mean, found.m2, found.min, found.max);
        }
    });
}

/// A matrix and the weight of each of its cells.
#[derive(Debug, Clone, Copy)]
pub struct Weighted<'a> {
    /// The values and which of them are there.
    pub matrix: Matrix<'a>,
    /// As many weights as values.
    pub weights: Values<'a>,
}

/// Weighted means of rows, column by column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowWeightedMeans {
    /// sum(w x) / sum(w) over the usable values; NaN where the weights sum to 0.
    pub mean: Vec<f64>,
    /// sum(w) over the usable values.
    pub weight: Vec<f64>,
}

/// sum(w x) / sum(w) over the usable values of each row, and sum(w).
///
/// # Errors
/// A length that does not fit its shape, or an interrupt.
pub fn matrix_weighted_means(matrices: &[Weighted<'_>], interrupt: &Interrupt) -> Result<RowWeightedMeans> {
    for weighted in matrices {
        weighted.matrix.check()?;
        check_len("weights", weighted.weights.len(), weighted.matrix.values.len())?;
    }
    let tasks = tasks(matrices, |weighted| (weighted.matrix.rows, weighted.matrix.width));
    let rows = rows_of(&tasks);
    let mut found = RowWeightedMeans { mean: vec![0.0; rows], weight: vec![0.0; rows] };
    let columns = cut(&mut found.mean, &tasks).zip(cut(&mut found.weight, &tasks));
    for_each_group(tasks.iter().zip(columns), interrupt, |(task, (mean, weight))| {
        for (row, (mean, weight)) in (task.start..task.end).zip(mean.iter_mut().zip(weight)) {
            let matrix = &task.matrix.matrix;
            (*mean, *weight) = match (matrix.values, task.matrix.weights) {
                (Values::F32(x), Values::F32(w)) => weighted_row(x, w, matrix, row),
                (Values::F32(x), Values::F64(w)) => weighted_row(x, w, matrix, row),
                (Values::F64(x), Values::F32(w)) => weighted_row(x, w, matrix, row),
                (Values::F64(x), Values::F64(w)) => weighted_row(x, w, matrix, row),
            };
        }
    })?;
    Ok(found)
}

fn weighted_row<X: Copy + Into<f64>, W: Copy + Into<f64>>(
    values: &[X],
    weights: &[W],
    matrix: &Matrix<'_>,
    row: usize,
) -> (f64, f64) {
    let (start, end) = (row * matrix.width, (row + 1) * matrix.width);
    let values = values.get(start..end).unwrap_or(&[]);
    let weights = weights.get(start..end).unwrap_or(&[]);
    let bits = matrix.validity.map(|bytes| Bits::new(bytes, start, end));
    let bits = bits.filter(|bits| bits.count() < matrix.width as u64);
    let (mut products, mut totals) = ([0.0; LANES], [0.0; LANES]);
    for (block, (x, w)) in values.chunks(LANES).zip(weights.chunks(LANES)).enumerate() {
        let lanes = products.iter_mut().zip(&mut totals);
        for (i, ((product, total), (&x, &w))) in lanes.zip(x.iter().zip(w)).enumerate() {
            let (x, w): (f64, f64) = (x.into(), w.into());
            let there = !x.is_nan() & bits.is_none_or(|bits| bits.get(block * LANES + i));
            *product += if there { w * x } else { 0.0 };
            *total += if there { w } else { 0.0 };
        }
    }
    let total = join(totals);
    (if total == 0.0 { f64::NAN } else { join(products) / total }, total)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn moments(matrix: Matrix<'_>) -> RowMoments {
        matrix_moments(&[matrix], &Interrupt::new()).unwrap()
    }

    #[test]
    fn rows_leave_out_what_is_not_there() {
        let values = [1.0, f64::NAN, 3.0, 9.0, 0.5, 0.25];
        let found = moments(Matrix { rows: 2, width: 3, values: Values::F64(&values), validity: Some(&[0b11_0111]) });
        assert_eq!((found.n, found.n_nan), (vec![2, 2], vec![1, 0]));
        assert_eq!((found.mean[0], found.m2[0], found.max[1]), (2.0, 2.0, 0.5));
    }

    #[test]
    fn a_gap_and_a_nan_give_the_bits_of_the_values_alone() {
        let usable: Vec<f64> = (0..100).map(|i| f64::from(i) * 0.37 + 1e6).collect();
        let mut gapped = usable.clone();
        gapped.insert(3, f64::NAN);
        gapped.insert(70, 5.0);
        let mut validity = vec![0xFF; 13];
        validity[70 / 8] &= !(1 << (70 % 8));
        let alone = moments(Matrix { rows: 1, width: 100, values: Values::F64(&usable), validity: None });
        let found = moments(Matrix { rows: 1, width: 102, values: Values::F64(&gapped), validity: Some(&validity) });
        assert_eq!(RowMoments { n_nan: vec![1], ..alone }, found);
    }

    #[test]
    fn infinities_are_values() {
        let values = [f64::INFINITY, f64::NEG_INFINITY, 1.0];
        let found = moments(Matrix { rows: 1, width: 3, values: Values::F64(&values), validity: None });
        assert_eq!((found.n[0], found.n_nan[0], found.min[0]), (3, 0, f64::NEG_INFINITY));
        assert!(found.mean[0].is_nan());
    }

    #[test]
    fn bad_lengths_are_named() {
        let short = Matrix { rows: 2, width: 2, values: Values::F32(&[0.0; 3]), validity: None };
        let no_bits = Matrix { rows: 3, width: 3, values: Values::F32(&[0.0; 9]), validity: Some(&[0]) };
        let huge = Matrix { rows: usize::MAX, width: 3, values: Values::F32(&[0.0; 9]), validity: None };
        for bad in [short, no_bits, huge] {
            assert!(matrix_moments(&[bad], &Interrupt::new()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn weights_of_unusable_values_do_not_count() {
        let matrix = Matrix { rows: 1, width: 3, values: Values::F32(&[1.0, f32::NAN, 4.0]), validity: None };
        let weighted = Weighted { matrix, weights: Values::F64(&[1.0, 7.0, 3.0]) };
        let found = matrix_weighted_means(&[weighted], &Interrupt::new());
        assert_eq!(found, Ok(RowWeightedMeans { mean: vec![13.0 / 4.0], weight: vec![4.0] }));
    }
}
