//! Runs of bits, and counts over the rows of bit matrices. Rows start at any bit: `width` bits each, no padding.

use fearless_simd::{Level, dispatch};

use super::{Task, cells, cut, rows_of, tasks};
use crate::error::{Error, Result};
use crate::parallel::{Interrupt, for_each_group};

/// Bits `start..end` of some bytes, lowest bit of a byte first; what lies beyond the bytes is 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Bits<'a> {
    pub(crate) const fn new(bytes: &'a [u8], start: usize, end: usize) -> Self {
        Self { bytes, start, end }
    }

    /// The bit `i` places after the start.
    pub(crate) fn get(self, i: usize) -> bool {
        let at = self.start + i;
        self.bytes.get(at / 8).is_some_and(|byte| (byte >> (at % 8)) & 1 == 1)
    }

    /// Number of ones.
    #[inline(always)]
    pub(super) fn count(self) -> u64 {
        let held = self.bytes();
        self.within(held, held)
    }

    /// Number of places where both have a one; the two must have the same start and end.
    #[inline(always)]
    pub(super) fn count_both(self, other: Self) -> u64 {
        self.within(self.bytes(), other.bytes())
    }

    /// The bytes that hold the places.
    #[inline(always)]
    fn bytes(self) -> &'a [u8] {
        if self.end <= self.start {
            return &[];
        }
        self.bytes.get(self.start / 8..self.end.div_ceil(8)).unwrap_or(&[])
    }

    /// Ones of `a & b`, less those before the start and after the end.
    #[inline(always)]
    fn within(self, a: &[u8], b: &[u8]) -> u64 {
        let (Some((a_first, a_last)), Some((b_first, b_last))) = (a.first().zip(a.last()), b.first().zip(b.last()))
        else {
            return 0;
        };
        let before = !(0xFF_u8 << (self.start % 8));
        let after = !(0xFF_u8 >> ((8 - self.end % 8) % 8));
        let outside = (a_first & b_first & before).count_ones() + (a_last & b_last & after).count_ones();
        ones(a, b) - u64::from(outside)
    }
}

/// Ones of `a & b`, eight bytes at a time.
#[inline(always)]
fn ones(a: &[u8], b: &[u8]) -> u64 {
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let both = |a: u64, b: u64| u64::from((a & b).count_ones());
    let words = a_words.iter().zip(b_words).map(|(&a, &b)| both(u64::from_le_bytes(a), u64::from_le_bytes(b)));
    words.sum::<u64>() + both(last_word(a, a_rest), last_word(b, b_rest))
}

/// The fewer than eight bytes at the end of some bytes as a word.
#[inline(always)]
fn last_word(bytes: &[u8], rest: &[u8]) -> u64 {
    match bytes.last_chunk() {
        _ if rest.is_empty() => 0,
        // Read along with those before them, which fall out again.
        Some(&last) => u64::from_le_bytes(last) >> (64 - 8 * rest.len()),
        None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// A matrix of 0/1 scores with the bits that say which cells are there (None: all of them).
#[derive(Debug, Clone, Copy)]
pub struct BitMatrix<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub width: usize,
    /// One bit a cell: the score.
    pub values: &'a [u8],
    /// One bit a cell: whether there is a score.
    pub validity: Option<&'a [u8]>,
}

/// Counts over rows, column by column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BitCounts {
    /// Cells that are there.
    pub n: Vec<u64>,
    /// Ones among them.
    pub ones: Vec<u64>,
}

/// Moments of rows, from counts alone, column by column; NaN where no cell is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BitMoments {
    /// Cells that are there.
    pub n: Vec<u64>,
    /// Share of ones.
    pub mean: Vec<f64>,
    /// Unbiased variance; NaN below two cells.
    pub variance: Vec<f64>,
    /// The smallest score.
    pub min: Vec<f64>,
    /// The largest score.
    pub max: Vec<f64>,
}

pub(crate) fn check_bits(name: &'static str, bytes: Option<&[u8]>, rows: usize, width: usize) -> Result<()> {
    let needed = cells(rows, width)?.div_ceil(8);
    match bytes {
        Some(bytes) if bytes.len() < needed => Err(Error::Length { name, found: bytes.len(), expected: needed }),
        _ => Ok(()),
    }
}

/// Cells that are there and ones among them, of each row, matrix by matrix.
///
/// # Errors
/// A length that does not fit its shape, or an interrupt.
pub fn bit_matrix_counts(matrices: &[BitMatrix<'_>], interrupt: &Interrupt) -> Result<BitCounts> {
    let tasks = checked_tasks(matrices)?;
    let rows = rows_of(&tasks);
    let mut found = BitCounts { n: vec![0; rows], ones: vec![0; rows] };
    let columns = cut(&mut found.n, &tasks).zip(cut(&mut found.ones, &tasks));
    let level = Level::new();
    for_each_group(tasks.iter().zip(columns), interrupt, |(task, (n, ones))| {
        dispatch!(level, _simd => count(task, n, ones));
    })?;
    Ok(found)
}

/// Cells that are there, their mean, variance, smallest and largest value, of each row, matrix by matrix.
///
/// # Errors
/// A length that does not fit its shape, or an interrupt.
pub fn bit_matrix_moments(matrices: &[BitMatrix<'_>], interrupt: &Interrupt) -> Result<BitMoments> {
    let tasks = checked_tasks(matrices)?;
    let rows = rows_of(&tasks);
    let floats = || vec![0.0; rows];
    let mut found = BitMoments { n: vec![0; rows], mean: floats(), variance: floats(), min: floats(), max: floats() };
    let means = cut(&mut found.mean, &tasks).zip(cut(&mut found.variance, &tasks));
    let extremes = cut(&mut found.min, &tasks).zip(cut(&mut found.max, &tasks));
    let columns = cut(&mut found.n, &tasks).zip(means.zip(extremes));
    let level = Level::new();
    for_each_group(tasks.iter().zip(columns), interrupt, |(task, (n, ((mean, variance), (min, max))))| {
        let mut ones = vec![0; n.len()];
        dispatch!(level, _simd => {
            count(task, n, &mut ones);
            describe(n, &ones, mean, variance);
            bound(n, &ones, min, max);
        });
    })?;
    Ok(found)
}

fn checked_tasks<'a>(matrices: &'a [BitMatrix<'a>]) -> Result<Vec<Task<'a, BitMatrix<'a>>>> {
    for matrix in matrices {
        check_bits("values", Some(matrix.values), matrix.rows, matrix.width)?;
        check_bits("validity", matrix.validity, matrix.rows, matrix.width)?;
    }
    Ok(tasks(matrices, |matrix| (matrix.rows, matrix.width)))
}

#[inline(always)]
fn count(task: &Task<'_, BitMatrix<'_>>, n: &mut [u64], ones: &mut [u64]) {
    let matrix = task.matrix;
    for (row, (n, ones)) in (task.start..task.end).zip(n.iter_mut().zip(ones)) {
        let (start, end) = (row * matrix.width, (row + 1) * matrix.width);
        let values = Bits::new(matrix.values, start, end);
        (*n, *ones) = match matrix.validity {
            None => (matrix.width as u64, values.count()),
            Some(validity) => {
                let there = Bits::new(validity, start, end);
                (there.count(), values.count_both(there))
            }
        };
    }
}

#[inline(always)]
fn describe(n: &[u64], ones: &[u64], mean: &mut [f64], variance: &mut [f64]) {
    for ((&n, &ones), (mean, variance)) in n.iter().zip(ones).zip(mean.iter_mut().zip(variance)) {
        let (n, ones) = (n as f64, ones as f64);
        *mean = ones / n;
        *variance = ones * (n - ones) / n / (n - 1.0);
    }
}

#[inline(always)]
fn bound(n: &[u64], ones: &[u64], min: &mut [f64], max: &mut [f64]) {
    for ((&n, &ones), (min, max)) in n.iter().zip(ones).zip(min.iter_mut().zip(max)) {
        *min = if n == 0 { f64::NAN } else { f64::from(u8::from(ones == n)) };
        *max = if n == 0 { f64::NAN } else { f64::from(u8::from(ones > 0)) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_equal_a_loop_at_every_start_and_length() {
        let bytes: Vec<u8> = (0..40_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for start in 0..20 {
            for end in start..320 {
                let bits = Bits::new(&bytes, start, end);
                let expected = (0..end - start).filter(|&i| bits.get(i)).count() as u64;
                assert_eq!(bits.count(), expected, "{start}..{end}");
            }
        }
    }

    fn moments(values: &[u8], there: &[u8], width: usize) -> BitMoments {
        let matrix = BitMatrix { rows: 1, width, values, validity: Some(there) };
        bit_matrix_moments(&[matrix], &Interrupt::new()).unwrap()
    }

    #[test]
    fn moments_follow_from_counts() {
        let some = moments(&[0b0111], &[0b1111], 4);
        assert_eq!((some.n[0], some.mean[0], some.variance[0], some.min[0], some.max[0]), (4, 0.75, 0.25, 0.0, 1.0));
        let one = moments(&[1], &[1], 1);
        assert_eq!((one.mean[0], one.min[0], one.max[0]), (1.0, 1.0, 1.0));
        let none = moments(&[1], &[0], 1);
        assert!([&none.mean, &none.variance, &none.min, &none.max].iter().all(|column| column[0].is_nan()));
        assert!(one.variance[0].is_nan());
    }

    #[test]
    fn bits_that_are_not_there_are_not_ones() {
        let matrix = BitMatrix { rows: 2, width: 3, values: &[0b11_1111], validity: Some(&[0b00_0110]) };
        let found = bit_matrix_counts(&[matrix], &Interrupt::new());
        assert_eq!(found, Ok(BitCounts { n: vec![2, 0], ones: vec![2, 0] }));
        assert!(bit_matrix_counts(&[BitMatrix { rows: 3, ..matrix }], &Interrupt::new()).is_err());
    }
}
