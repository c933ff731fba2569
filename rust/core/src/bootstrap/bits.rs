//! Sums of zeros and ones under counts: rows are bits, counts are taken apart into bit planes.
//!
//!   sum_i c_i x_i = sum_k 2^k popcount(x and plane_k): an integer, which sums of floats in any order would be exactly too.
//! Cost: n / 64 words a row, replicate and plane; multinomial counts have three planes or four.

use fearless_simd::{Level, Simd, dispatch, f64x8, prelude::*, u16x32, u64x8};

use super::draw::Sampler;
use super::spans::each_replicate;
use super::tables::Sums;
use crate::error::Result;
use crate::parallel::{Interrupt, map_groups};
use crate::random::wide::Address;

/// Words that are counted at once, and their bits.
const WORDS: usize = 8;
const CELL: usize = WORDS * 64;
/// Instances whose scores are compared at once, and whose counts are.
const SCORES: usize = 8;
const COUNTS: usize = 32;
/// Rows for which it pays to take counts apart into bits.
const FEWEST: usize = 4;
/// Planes that are counted in one pass over a row.
const PLANES: usize = 4;
/// Replicates that read a row together, while it is near.
const TOGETHER: usize = 4;

type Cell = [u64; WORDS];

/// Rows of zeros and ones, from the lowest bit on.
#[derive(Debug)]
pub(super) struct BitRows(Vec<Vec<Cell>>);

impl BitRows {
    /// None where a score is neither 0 nor 1, or the rows are few.
    pub(super) fn new(level: Level, rows: &[&[f64]], interrupt: &Interrupt) -> Result<Option<Self>> {
        let starts = |row: &&[f64]| row.iter().take(CELL).all(|&x| x == 0.0 || x == 1.0);
        if rows.len() < FEWEST || !rows.iter().all(starts) {
            return Ok(None);
        }
        let packed =
            |row: usize| Ok(dispatch!(level, simd => packed(simd, rows.get(row).copied().unwrap_or_default())));
        let packed = map_groups(rows.len(), interrupt, packed)?;
        Ok(packed.into_iter().collect::<Option<_>>().map(Self))
    }

    /// Sums under the counts drawn at some addresses, replicate by replicate.
    #[inline(always)]
    pub(super) fn sums<S: Simd>(&self, simd: S, sampler: &Sampler, addresses: &[Address]) -> Sums {
        let mut found = Sums { sums: vec![0.0; addresses.len() * self.0.len()], held: Vec::new() };
        let groups = found.sums.chunks_mut(TOGETHER * self.0.len().max(1));
        for (addresses, sums) in addresses.chunks(TOGETHER).zip(groups) {
            let mut drawn = Vec::with_capacity(TOGETHER);
            each_replicate(simd, sampler, addresses, |_, counts, total| {
                drawn.push(planes(simd, counts));
                found.held.push(total);
            });
            for (at, row) in self.0.iter().enumerate() {
                for (planes, sums) in drawn.iter().zip(sums.chunks_mut(self.0.len())) {
                    if let Some(sum) = sums.get_mut(at) {
                        *sum = ones(simd, row, planes) as f64;
                    }
                }
            }
        }
        found
    }
}

/// Bits of a row; None where a score is neither 0 nor 1.
#[inline(always)]
fn packed<S: Simd>(simd: S, row: &[f64]) -> Option<Vec<Cell>> {
    let (zero, one) = (f64x8::splat(simd, 0.0), f64x8::splat(simd, 1.0));
    let mut others = 0;
    let mut word = |scores: &[f64]| {
        let (parts, rest) = scores.as_chunks::<SCORES>();
        let mut last = [0.0; SCORES];
        last.iter_mut().zip(rest).for_each(|(place, &x)| *place = x);
        let mut word = 0;
        for (at, &part) in parts.iter().chain((!rest.is_empty()).then_some(&last)).enumerate() {
            let x = f64x8::simd_from(simd, part);
            word |= x.simd_eq(one).to_bitmask() << (at * SCORES);
            others |= !(x.simd_eq(zero) | x.simd_eq(one)).to_bitmask() & 0xFF;
        }
        word
    };
    let cells = row.chunks(CELL).map(|scores| {
        let mut cell = [0; WORDS];
        cell.iter_mut().zip(scores.chunks(64)).for_each(|(place, scores)| *place = word(scores));
        cell
    });
    let cells = cells.collect();
    (others == 0).then_some(cells)
}

/// Bit planes of the counts of one replicate, the lowest first.
#[inline(always)]
fn planes<S: Simd>(simd: S, counts: &[u16]) -> Vec<Vec<Cell>> {
    let largest = counts.iter().fold(0, |all, &count| all | count);
    let plane = |k: u32| {
        let bit = u16x32::splat(simd, 1_u16 << k);
        let held = |counts: &[u16; COUNTS]| (u16x32::simd_from(simd, *counts) & bit).simd_eq(bit).to_bitmask();
        let cell = |counts: &[u16]| {
            let mut cell = [0; WORDS];
            let (words, rest) = counts.as_chunks::<64>();
            let mut last = [0; 64];
            last.iter_mut().zip(rest).for_each(|(place, &count)| *place = count);
            let words = words.iter().chain((!rest.is_empty()).then_some(&last));
            for (place, word) in cell.iter_mut().zip(words) {
                for (half, counts) in word.as_chunks::<COUNTS>().0.iter().enumerate() {
                    *place |= held(counts) << (half * COUNTS);
                }
            }
            cell
        };
        counts.chunks(CELL).map(cell).collect()
    };
    (0..16 - largest.leading_zeros()).map(plane).collect()
}

/// Sum of a row under the counts of one replicate.
#[inline(always)]
fn ones<S: Simd>(simd: S, row: &[Cell], planes: &[Vec<Cell>]) -> u64 {
    let passes = planes.chunks(PLANES).enumerate().map(|(pass, planes)| {
        let ones = match planes {
            [a] => weighted_ones(simd, row, [a]),
            [a, b] => weighted_ones(simd, row, [a, b]),
            [a, b, c] => weighted_ones(simd, row, [a, b, c]),
            [a, b, c, d, ..] => weighted_ones(simd, row, [a, b, c, d]),
            [] => 0,
        };
        ones << (pass * PLANES)
    });
    passes.sum()
}

/// sum_k 2^k popcount(row and plane k).
#[inline(always)]
fn weighted_ones<S: Simd, const K: usize>(simd: S, row: &[Cell], planes: [&Vec<Cell>; K]) -> u64 {
    let mut ones = [u64x8::splat(simd, 0); K];
    for (at, &x) in row.iter().enumerate() {
        let x = u64x8::simd_from(simd, x);
        for (ones, plane) in ones.iter_mut().zip(planes) {
            let Some(&plane) = plane.get(at) else { continue };
            *ones += (x & u64x8::simd_from(simd, plane)).count_ones();
        }
    }
    let all = ones.into_iter().rev().fold(u64x8::splat(simd, 0), |all, ones| all + all + ones);
    all.reduce_sum()
}
