//! Sums of zeros and ones under counts: rows are bits, counts are taken apart into bit planes.
//!
//!   sum_i c_i x_i = sum_k 2^k popcount(x and plane_k): an integer, which sums of floats in any order would be exactly too.
//! Cost: n / 64 words a row, replicate and plane; multinomial counts have three planes or four.

use fearless_simd::{Simd, prelude::*, u16x32};

/// Counts of half a word of a bit plane.
const HALF: usize = 32;
/// Rows for which it pays to take counts apart into bits.
const FEWEST: usize = 4;

/// Rows of zeros and ones, from the lowest bit on.
#[derive(Debug)]
pub(super) struct BitRows(Vec<Vec<u64>>);

impl BitRows {
    /// None where a score is neither 0 nor 1, or the rows are few.
    pub(super) fn new(rows: &[&[f64]]) -> Option<Self> {
        if rows.len() < FEWEST || !rows.iter().all(|row| row.iter().all(|&x| x == 0.0 || x == 1.0)) {
            return None;
        }
        let word = |part: &[f64]| part.iter().rev().fold(0, |bits, &x| bits << 1 | u64::from(x == 1.0));
        Some(Self(rows.iter().map(|row| row.chunks(64).map(word).collect()).collect()))
    }

    /// Adds the sum of each row under the counts of one replicate to the end of `sums`.
    #[inline(always)]
    pub(super) fn add_sums<S: Simd>(&self, simd: S, counts: &[u16], sums: &mut Vec<f64>) {
        let largest = counts.iter().fold(0, |all, &count| all | count);
        let mut planes: Vec<Vec<u64>> = Vec::new();
        for k in 0..16 - largest.leading_zeros() {
            let bit = u16x32::splat(simd, 1 << k);
            let mut plane = Vec::with_capacity(counts.len().div_ceil(2 * HALF));
            for part in counts.chunks(2 * HALF) {
                let (low, high) = part.split_at(part.len().min(HALF));
                plane.push(plane_word(simd, low, bit) | plane_word(simd, high, bit) << HALF);
            }
            planes.push(plane);
        }
        for row in &self.0 {
            let mut ones = 0;
            for (k, plane) in planes.iter().enumerate() {
                let mut both = 0;
                for (x, plane) in row.iter().zip(plane) {
                    both += u64::from((x & plane).count_ones());
                }
                ones += both << k;
            }
            sums.push(ones as f64);
        }
    }
}

/// Which of up to 32 counts have a bit.
#[inline(always)]
fn plane_word<S: Simd>(simd: S, counts: &[u16], bit: u16x32<S>) -> u64 {
    let mut held = [0; HALF];
    if let Ok(whole) = counts.try_into() {
        held = whole;
    } else {
        held.iter_mut().zip(counts).for_each(|(place, &count)| *place = count);
    }
    let counts = u16x32::simd_from(simd, held);
    (counts & bit).simd_eq(bit).to_bitmask()
}
