//! Sums of rows under counts: sum_i c_i x_i for many replicates and many rows at once.
//!
//! Instances go in blocks of 512; within a block instance i goes to lane i mod 8, the lanes are joined pairwise and the
//! sums of the blocks added in order. The order is the same for one row and for many, one replicate and many, so a
//! model's replicates have the same bits whoever stands beside it. Rows of zeros and ones are bits, counts are taken
//! apart into bit planes: sum_k 2^k popcount(x and plane_k), an integer, which the sum in lanes would be exactly too.

use fearless_simd::{Simd, f64x8, prelude::*, u16x32};

/// Instances that are summed in lanes before their sum is added to that of the others.
const BLOCK: usize = 512;
const LANES: usize = 8;
/// Rows of real numbers and replicates that share registers; of no influence on the values.
const TILE_ROWS: usize = 3;
const TILE_REPLICATES: usize = 2;
/// Replicates whose counts are turned into floats together.
const GROUP: usize = 8;
/// Counts of half a word of a bit plane.
const HALF: usize = 32;

/// Rows for which it pays to take counts apart into bits.
const FEWEST_OF_BITS: usize = 4;

/// Rows of one stratum.
#[derive(Debug)]
pub(super) enum Rows<'a> {
    /// Any finite numbers.
    Real(Vec<&'a [f64]>),
    /// Zeros and ones, from the lowest bit on.
    Bits(Vec<Vec<u64>>),
}

impl<'a> Rows<'a> {
    pub(super) fn new(rows: Vec<&'a [f64]>) -> Self {
        let binary = || rows.iter().all(|row| row.iter().all(|&x| x == 0.0 || x == 1.0));
        if rows.len() < FEWEST_OF_BITS || !binary() {
            return Self::Real(rows);
        }
        let word = |part: &[f64]| part.iter().rev().fold(0, |bits, &x| bits << 1 | u64::from(x == 1.0));
        Self::Bits(rows.iter().map(|row| row.chunks(64).map(word).collect()).collect())
    }

    fn len(&self) -> usize {
        match self {
            Self::Real(rows) => rows.len(),
            Self::Bits(rows) => rows.len(),
        }
    }

    /// Sums under the counts of several replicates, `n` counts each: replicate by replicate, one sum a row.
    #[inline(always)]
    pub(super) fn sums<S: Simd>(&self, simd: S, counts: &[u16], n: usize) -> Vec<f64> {
        let mut sums = vec![0.0; counts.len() / n.max(1) * self.len()];
        if sums.is_empty() {
            return sums;
        }
        match self {
            Self::Real(rows) => real(simd, rows, counts, n, &mut sums),
            Self::Bits(rows) => bits(simd, rows, counts, n, &mut sums),
        }
        sums
    }
}

#[inline(always)]
fn real<S: Simd>(simd: S, rows: &[&[f64]], counts: &[u16], n: usize, sums: &mut [f64]) {
    let mut weights = [[0.0; BLOCK]; GROUP];
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        for (counts, sums) in counts.chunks(GROUP * n).zip(sums.chunks_mut(GROUP * rows.len())) {
            for (weights, counts) in weights.iter_mut().zip(counts.chunks_exact(n)) {
                for (weight, &count) in weights.iter_mut().zip(counts.get(start..end).unwrap_or(&[])) {
                    *weight = f64::from(count);
                }
            }
            let (tiles, rest) = rows.as_chunks::<TILE_ROWS>();
            for (tile, rows_of) in tiles.iter().enumerate() {
                let x = rows_of.map(|row| row.get(start..end).unwrap_or(&[]));
                let (pairs, _) = weights.as_chunks::<TILE_REPLICATES>();
                for (pair, weights) in pairs.iter().enumerate() {
                    add(&products(simd, &x, weights), sums, rows.len(), tile * TILE_ROWS, pair * TILE_REPLICATES);
                }
            }
            for (row, x) in rest.iter().enumerate() {
                let x = [x.get(start..end).unwrap_or(&[])];
                add(&products(simd, &x, &weights), sums, rows.len(), tiles.len() * TILE_ROWS + row, 0);
            }
        }
    }
}

/// Adds what a tile found to the sums, which are those of `width` rows a replicate; a missing replicate has none.
#[inline(always)]
fn add<const M: usize, const R: usize>(
    found: &[[f64; R]; M],
    sums: &mut [f64],
    width: usize,
    row: usize,
    replicate: usize,
) {
    for (i, found) in found.iter().enumerate() {
        for (j, found) in found.iter().enumerate() {
            if let Some(sum) = sums.get_mut((replicate + j) * width + row + i) {
                *sum += found;
            }
        }
    }
}

/// sum_i w_i x_i of each pair of a row and a replicate.
#[inline(always)]
fn products<S: Simd, const M: usize, const R: usize>(
    simd: S,
    rows: &[&[f64]; M],
    weights: &[[f64; BLOCK]; R],
) -> [[f64; R]; M] {
    let mut lanes = [[f64x8::splat(simd, 0.0); R]; M];
    let n = rows.first().map_or(0, |row| row.len().min(BLOCK));
    let steps = n / LANES;
    let parts = rows.map(|row| &row.as_chunks::<LANES>().0[..steps]);
    for step in 0..steps {
        let w: [f64x8<S>; R] = std::array::from_fn(|j| f64x8::from_slice(simd, &weights[j][step * LANES..][..LANES]));
        for (lanes, part) in lanes.iter_mut().zip(&parts) {
            let x = f64x8::simd_from(simd, part[step]);
            for (lane, &w) in lanes.iter_mut().zip(&w) {
                *lane += x * w;
            }
        }
    }
    if !n.is_multiple_of(LANES) {
        for (lanes, row) in lanes.iter_mut().zip(rows) {
            let mut x = [0.0; LANES];
            x.iter_mut().zip(&row[steps * LANES..n]).for_each(|(x, &value)| *x = value);
            for (lane, weights) in lanes.iter_mut().zip(weights) {
                let w = f64x8::from_slice(simd, &weights[steps * LANES..][..LANES]);
                *lane += f64x8::simd_from(simd, x) * w;
            }
        }
    }
    lanes.map(|lanes| lanes.map(|lanes| join(lanes.into())))
}

/// Sum of products of one row with weights of any kind, in the same order.
pub(super) fn weighted(values: &[f64], weights: &[f64]) -> f64 {
    values.chunks(BLOCK).zip(weights.chunks(BLOCK)).fold(0.0, |sum, (values, weights)| {
        let mut lanes = [0.0; LANES];
        for (x, w) in values.chunks(LANES).zip(weights.chunks(LANES)) {
            lanes.iter_mut().zip(x.iter().zip(w)).for_each(|(lane, (x, w))| *lane += x * w);
        }
        sum + join(lanes)
    })
}

/// Plain sum in the same order.
pub(super) fn summed(values: &[f64]) -> f64 {
    values.chunks(BLOCK).fold(0.0, |sum, block| {
        let mut lanes = [0.0; LANES];
        for part in block.chunks(LANES) {
            lanes.iter_mut().zip(part).for_each(|(lane, value)| *lane += value);
        }
        sum + join(lanes)
    })
}

#[inline(always)]
fn join([a, b, c, d, e, f, g, h]: [f64; LANES]) -> f64 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[inline(always)]
fn bits<S: Simd>(simd: S, rows: &[Vec<u64>], counts: &[u16], n: usize, sums: &mut [f64]) {
    let mut planes: Vec<Vec<u64>> = Vec::new();
    for (counts, sums) in counts.chunks_exact(n).zip(sums.chunks_mut(rows.len())) {
        let largest = counts.iter().fold(0, |all, &count| all | count);
        planes.resize(16 - largest.leading_zeros() as usize, Vec::new());
        for (k, plane) in planes.iter_mut().enumerate() {
            plane.clear();
            let bit = u16x32::splat(simd, 1 << k);
            for part in counts.chunks(2 * HALF) {
                let (low, high) = part.split_at(part.len().min(HALF));
                plane.push(plane_word(simd, low, bit) | plane_word(simd, high, bit) << HALF);
            }
        }
        for (row, sum) in rows.iter().zip(sums) {
            let mut ones = 0;
            for (k, plane) in planes.iter().enumerate() {
                let mut both = 0;
                for (x, plane) in row.iter().zip(plane) {
                    both += u64::from((x & plane).count_ones());
                }
                ones += both << k;
            }
            *sum = ones as f64;
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
