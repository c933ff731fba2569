//! Runs of bits, and counts over the rows of bit matrices. Rows start at any bit: `width` bits each, no padding.

use super::{cells, tasks};
use crate::error::{Error, Result};
use crate::parallel::{Interrupt, map_groups};

/// Bits `start..end` of some bytes, lowest bit of a byte first; what lies beyond the bytes is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8], start: usize, end: usize) -> Self {
        Self { bytes, start, end }
    }

    /// The bit `i` places after the start.
    pub(super) fn get(self, i: usize) -> bool {
        let at = self.start + i;
        self.bytes.get(at / 8).is_some_and(|byte| (byte >> (at % 8)) & 1 == 1)
    }

    /// Number of ones.
    pub(super) fn count(self) -> u64 {
        let (first, rest) = self.bytes();
        edges(first, first, rest, rest, self.start, self.end)
    }

    /// Number of places where both have a one; the two must have the same start and end.
    pub(super) fn count_both(self, other: Self) -> u64 {
        let ((first, rest), (other_first, other_rest)) = (self.bytes(), other.bytes());
        edges(first, other_first, rest, other_rest, self.start, self.end)
    }

    /// The byte that holds the start, and those after it up to the one that holds the last bit.
    fn bytes(self) -> (u8, &'a [u8]) {
        let held = self.bytes.get(self.start / 8..self.end.div_ceil(8)).unwrap_or(&[]);
        held.split_first().map_or((0, &[]), |(&first, rest)| (first, rest))
    }
}

/// Ones of `a & b`, where the bits before `start` and after `end` are cut off.
fn edges(a_first: u8, b_first: u8, a: &[u8], b: &[u8], start: usize, end: usize) -> u64 {
    if end <= start {
        return 0;
    }
    let before = 0xFF_u8 << (start % 8);
    let after = 0xFF_u8 >> ((8 - end % 8) % 8);
    let first = a_first & b_first & before;
    match (a.split_last(), b.split_last()) {
        (Some((a_last, a)), Some((b_last, b))) => {
            u64::from(first.count_ones()) + ones(a, b) + u64::from((a_last & b_last & after).count_ones())
        }
        _ => u64::from((first & after).count_ones()),
    }
}

/// Ones of `a & b`, eight bytes at a time.
fn ones(a: &[u8], b: &[u8]) -> u64 {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let words: u64 = a_words
        .iter()
        .zip(b_words)
        .map(|(&a, &b)| u64::from((u64::from_le_bytes(a) & u64::from_le_bytes(b)).count_ones()))
        .sum();
    words + a_rest.iter().zip(b_rest).map(|(a, b)| u64::from((a & b).count_ones())).sum::<u64>()
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

/// Counts over one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitCounts {
    /// Cells that are there.
    pub n: u64,
    /// Ones among them.
    pub ones: u64,
}

impl BitCounts {
    /// Share of ones; NaN where no cell is there.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.ones as f64 / self.n as f64
    }

    /// Unbiased variance, from the counts alone; NaN below two cells.
    #[must_use]
    pub fn variance(self) -> f64 {
        let (n, ones) = (self.n as f64, self.ones as f64);
        ones * (n - ones) / n / (n - 1.0)
    }

    /// The smallest score; NaN where no cell is there.
    #[must_use]
    pub fn min(self) -> f64 {
        if self.n == 0 { f64::NAN } else { f64::from(u8::from(self.ones == self.n)) }
    }

    /// The largest score; NaN where no cell is there.
    #[must_use]
    pub fn max(self) -> f64 {
        if self.n == 0 { f64::NAN } else { f64::from(u8::from(self.ones > 0)) }
    }
}

pub(super) fn check_bits(name: &'static str, bytes: Option<&[u8]>, rows: usize, width: usize) -> Result<()> {
    let needed = cells(rows, width)?.div_ceil(8);
    match bytes {
        Some(bytes) if bytes.len() < needed => Err(Error::Length { name, found: bytes.len(), expected: needed }),
        _ => Ok(()),
    }
}

/// Cells that are there and ones among them, of each row, matrix by matrix.
///
/// # Errors
/// Too few bytes for a shape, or an interrupt.
pub fn bit_matrix_counts(matrices: &[BitMatrix<'_>], interrupt: &Interrupt) -> Result<Vec<BitCounts>> {
    for matrix in matrices {
        check_bits("values", Some(matrix.values), matrix.rows, matrix.width)?;
        check_bits("validity", matrix.validity, matrix.rows, matrix.width)?;
    }
    let tasks = tasks(matrices.iter().map(|matrix| (matrix.rows, matrix.width)));
    let parts = map_groups(tasks.len(), interrupt, |task| {
        let Some((task, matrix)) = tasks.get(task).and_then(|task| Some((task, matrices.get(task.matrix)?))) else {
            return Ok(Vec::new());
        };
        Ok((task.start..task.end)
            .map(|row| {
                let (start, end) = (row * matrix.width, (row + 1) * matrix.width);
                let values = Bits::new(matrix.values, start, end);
                match matrix.validity {
                    None => BitCounts { n: matrix.width as u64, ones: values.count() },
                    Some(validity) => {
                        let there = Bits::new(validity, start, end);
                        BitCounts { n: there.count(), ones: values.count_both(there) }
                    }
                }
            })
            .collect())
    })?;
    Ok(parts.concat())
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

    #[test]
    fn moments_follow_from_counts() {
        let some = BitCounts { n: 4, ones: 3 };
        assert_eq!((some.mean(), some.variance(), some.min(), some.max()), (0.75, 0.25, 0.0, 1.0));
        let one = BitCounts { n: 1, ones: 1 };
        assert_eq!((one.mean(), one.min(), one.max()), (1.0, 1.0, 1.0));
        let none = BitCounts { n: 0, ones: 0 };
        assert!(one.variance().is_nan() && none.mean().is_nan() && none.variance().is_nan() && none.min().is_nan());
    }

    #[test]
    fn bits_that_are_not_there_are_not_ones() {
        let matrix = BitMatrix { rows: 2, width: 3, values: &[0b11_1111], validity: Some(&[0b00_0110]) };
        let found = bit_matrix_counts(&[matrix], &Interrupt::new());
        assert_eq!(found, Ok(vec![BitCounts { n: 2, ones: 2 }, BitCounts { n: 0, ones: 0 }]));
        assert!(bit_matrix_counts(&[BitMatrix { rows: 3, ..matrix }], &Interrupt::new()).is_err());
    }
}
