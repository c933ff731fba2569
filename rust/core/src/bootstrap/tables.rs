//! Sums of rows under counts from tables: what three instances add to a sum, for each of the counts they may have.
//!
//! Instances go in spans of 96; instances l, l + 32 and l + 64 of a span are triple l, triples q, q + 8, q + 16 and q + 24
//! quad q.
//!   T(c0, c1, c2) = (c0 x0 + c1 x1) + c2 x2, counts above 3 taken for 3; a quad adds (T0 + T1) + (T2 + T3)
//! Quads add up in order, 40 of them (480 instances) before their sum is added to that of the others; at the end comes
//! the sum of (c_i - 3) x_i over counts above 3, in order. A table of 64 sums serves all replicates, so a triple costs one
//! addition a replicate and row; a few rows are multiplied, which gives the same. The order is the same for one row and
//! for many, one replicate and many, whatever the machine: a model's replicates have the same bits whoever stands beside
//! it. Zeros and ones are counted (`bits`).
//! c -> counts, x -> rows; cost O(n rows (64 / 3 + B / 3)).

use std::ops::Add;

use fearless_simd::{Level, Simd, dispatch, f64x8, prelude::*, u16x32};

use super::bits::BitRows;
use super::draw::Sampler;
use crate::error::Result;
use crate::parallel::{Interrupt, map_groups};
use crate::random::wide::Address;

/// Triples side by side in a span.
const WIDTH: usize = 32;
const TRIPLE: usize = 3;
const SPAN: usize = WIDTH * TRIPLE;
/// Triples whose tables are read together.
const QUAD: usize = 4;
const QUADS_OF_SPAN: usize = WIDTH / QUAD;
/// Counts that a table knows: 0 to 3, two bits each.
const MOST: u16 = 3;
const ENTRIES: usize = 64;
/// Quads of real numbers that are summed before their sum is added to that of the others.
const REAL_BLOCK: usize = 40;
/// Instances of a block.
const BLOCK: usize = REAL_BLOCK / QUADS_OF_SPAN * SPAN;
/// Rows that are multiplied: tables would cost them more than they save.
const FEW_ROWS: usize = 3;
/// Rows side by side in registers; of no influence on the values.
const REALS: usize = 8;

/// Replicates whose counts are drawn together. This and what follows is of no influence on the values.
const DRAWN_TOGETHER: usize = 64;
/// Parts that share tables, at most and at least.
const MOST_PARTS: usize = 16;
const FEWEST_PARTS: usize = 4;
/// Pieces of work that keep several threads busy.
const PIECES: usize = 8;

/// Counts of one stratum in a few replicates, as places in the tables.
#[derive(Debug)]
pub(super) struct Drawn {
    /// Quad by quad, those of all replicates; a byte a triple, the lowest first.
    quads: Vec<u32>,
    /// Instances that a replicate holds more often than tables know, and how much more often.
    beyond: Vec<Vec<(u32, u16)>>,
    /// Instances that each replicate holds.
    held: Vec<u64>,
}

impl Drawn {
    #[inline(always)]
    fn new<S: Simd>(simd: S, sampler: &Sampler, addresses: &[Address]) -> Self {
        let n = sampler.n();
        let mut quads = vec![0; quads_of(n) * addresses.len()];
        let mut beyond = Vec::with_capacity(addresses.len());
        let mut held = Vec::with_capacity(addresses.len());
        each_replicate(simd, sampler, addresses, |replicate, counts, total| {
            let mut more = Vec::new();
            for (span, cells) in counts.as_chunks::<SPAN>().0.iter().enumerate() {
                for (quad, found) in places(simd, cells).into_iter().enumerate() {
                    if let Some(place) = quads.get_mut((span * QUADS_OF_SPAN + quad) * addresses.len() + replicate) {
                        *place = found;
                    }
                }
                each_beyond(simd, cells, |at, count| more.push(((span * SPAN + at) as u32, count)));
            }
            beyond.push(more);
            held.push(total);
        });
        Self { quads, beyond, held }
    }
}

/// Draws replicate by replicate: its number, its counts to the end of the span, and the instances that it holds.
#[inline(always)]
fn each_replicate<S: Simd>(
    simd: S,
    sampler: &Sampler,
    addresses: &[Address],
    mut take: impl FnMut(usize, &[u16], u64),
) {
    let n = sampler.n();
    let mut counts = vec![0; n.next_multiple_of(SPAN)];
    for (replicate, &address) in addresses.iter().enumerate() {
        let (own, _) = counts.split_at_mut(n);
        sampler.draw(simd, address, own);
        let total = || own.iter().map(|&count| u64::from(count)).sum();
        let total = sampler.held().map_or_else(total, |held| held as u64);
        take(replicate, &counts, total);
    }
}

/// Places of a span's triples in their tables, those of a quad in the bytes of a word.
#[inline(always)]
fn places<S: Simd>(simd: S, cells: &[u16; SPAN]) -> [u32; QUADS_OF_SPAN] {
    let most = u16x32::splat(simd, MOST);
    let mut place = u16x32::splat(simd, 0);
    for (third, counts) in cells.as_chunks::<WIDTH>().0.iter().enumerate() {
        place += u16x32::simd_from(simd, *counts).min(most) << (2 * third as u32);
    }
    let triples: [u16; WIDTH] = place.into();
    let mut quads = [0; QUADS_OF_SPAN];
    for (byte, triples) in triples.as_chunks::<QUADS_OF_SPAN>().0.iter().enumerate() {
        for (quad, &triple) in quads.iter_mut().zip(triples) {
            *quad |= u32::from(triple) << (8 * byte);
        }
    }
    quads
}

/// Instances of a span that are held more often than tables know, in order, and how much more often.
#[inline(always)]
fn each_beyond<S: Simd>(simd: S, cells: &[u16; SPAN], mut take: impl FnMut(usize, u16)) {
    let most = u16x32::splat(simd, MOST);
    for (third, counts) in cells.as_chunks::<WIDTH>().0.iter().enumerate() {
        let mut mask = u16x32::simd_from(simd, *counts).simd_gt(most).to_bitmask();
        while mask != 0 {
            let at = mask.trailing_zeros() as usize % WIDTH;
            take(third * WIDTH + at, counts[at] - MOST);
            mask &= mask - 1;
        }
    }
}

/// Quads of n instances; those that hold none are left out.
const fn quads_of(n: usize) -> usize {
    let rest = n % SPAN;
    n / SPAN * QUADS_OF_SPAN + if rest < QUADS_OF_SPAN { rest } else { QUADS_OF_SPAN }
}

/// Sums of rows and the instances held, replicate by replicate.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// One a row.
    pub(super) sums: Vec<f64>,
    /// Instances that each replicate holds.
    pub(super) held: Vec<u64>,
}

impl Sums {
    fn joined(parts: &[Self]) -> Self {
        let sums = parts.iter().flat_map(|part| part.sums.iter().copied()).collect();
        Self { sums, held: parts.iter().flat_map(|part| part.held.iter().copied()).collect() }
    }
}

/// Rows of one stratum.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    rows: Vec<&'a [f64]>,
    n: usize,
    /// The rows as bits, where all are zeros and ones and there are enough of them for that to pay.
    bits: Option<BitRows>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(rows: Vec<&'a [f64]>) -> Self {
        let n = rows.first().map_or(0, |row| row.len());
        let bits = BitRows::new(&rows);
        Self { rows, n, bits }
    }

    /// Sums under the counts drawn at some addresses.
    pub(super) fn sums(
        &self,
        level: Level,
        sampler: &Sampler,
        addresses: &[Address],
        interrupt: &Interrupt,
    ) -> Result<Sums> {
        let parts: Vec<&[Address]> = addresses.chunks(DRAWN_TOGETHER).collect();
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        if let Some(bits) = &self.bits {
            let counted = |at| Ok(dispatch!(level, simd => counted(simd, bits, sampler, part(at))));
            return Ok(Sums::joined(&map_groups(parts.len(), interrupt, counted)?));
        }
        if self.rows.len() <= FEW_ROWS {
            let rows: Vec<Vec<f64>> = self.rows.iter().map(|row| padded(row)).collect();
            let multiplied = |at| Ok(dispatch!(level, simd => multiplied(simd, &rows, sampler, part(at))));
            return Ok(Sums::joined(&map_groups(parts.len(), interrupt, multiplied)?));
        }
        let drawn =
            map_groups(parts.len(), interrupt, |at| Ok(dispatch!(level, simd => Drawn::new(simd, sampler, part(at)))))?;
        let sums = self.by_tables(level, &drawn, interrupt)?;
        Ok(Sums { sums, held: drawn.into_iter().flat_map(|part| part.held).collect() })
    }

    /// Replicate by replicate, one sum a row.
    fn by_tables(&self, level: Level, drawn: &[Drawn], interrupt: &Interrupt) -> Result<Vec<f64>> {
        let tiles: Vec<&[&[f64]]> = self.rows.chunks(REALS).collect();
        let together = (drawn.len() * tiles.len() / PIECES).clamp(FEWEST_PARTS, MOST_PARTS);
        let parts: Vec<&[Drawn]> = drawn.chunks(together).collect();
        let found = map_groups(tiles.len() * parts.len(), interrupt, |piece| {
            let (part, tile) = (piece / tiles.len(), piece % tiles.len());
            let (Some(&drawn), Some(&rows)) = (parts.get(part), tiles.get(tile)) else { return Ok(Vec::new()) };
            Ok(dispatch!(level, simd => self.tile(simd, rows, drawn)))
        })?;
        // Of every part the rows of one tile after the other, each replicate by replicate.
        let mut sums = vec![0.0; self.rows.len() * replicates(drawn)];
        let mut rest = sums.as_mut_slice();
        for (found, part) in found.chunks(tiles.len().max(1)).zip(&parts) {
            let (own, later) = rest.split_at_mut(self.rows.len() * replicates(part));
            rest = later;
            for (tile, (found, rows)) in found.iter().zip(&tiles).enumerate() {
                let places = own.chunks_mut(self.rows.len());
                for (found, place) in found.chunks(rows.len()).zip(places) {
                    let place = place.get_mut(tile * REALS..).unwrap_or(&mut []);
                    place.iter_mut().zip(found).for_each(|(place, &sum)| *place = sum);
                }
            }
        }
        Ok(sums)
    }

    /// Sums of a few rows, replicate by replicate.
    #[inline(always)]
    fn tile<S: Simd>(&self, simd: S, rows: &[&[f64]], drawn: &[Drawn]) -> Vec<f64> {
        let x = columns::<REALS>(rows, self.n).into_iter().map(|x| f64x8::simd_from(simd, x)).collect::<Vec<_>>();
        let times = |x: f64x8<S>, more| x * f64x8::splat(simd, more);
        let sums = real(f64x8::splat(simd, 0.0), &x, self.n, drawn, times);
        let rows = rows.len();
        sums.into_iter().flat_map(|sum| <[f64; REALS]>::from(sum).into_iter().take(rows)).collect()
    }
}

fn replicates(drawn: &[Drawn]) -> usize {
    drawn.iter().map(|part| part.held.len()).sum()
}

/// A row with zeros to the end of the span.
fn padded(row: &[f64]) -> Vec<f64> {
    let mut padded = row.to_vec();
    padded.resize(row.len().next_multiple_of(SPAN), 0.0);
    padded
}

/// Sums of rows of bits.
#[inline(always)]
fn counted<S: Simd>(simd: S, rows: &BitRows, sampler: &Sampler, addresses: &[Address]) -> Sums {
    let mut found = Sums::default();
    each_replicate(simd, sampler, addresses, |_, counts, total| {
        rows.add_sums(simd, counts, &mut found.sums);
        found.held.push(total);
    });
    found
}

/// Sums of a few rows without tables.
#[inline(always)]
fn multiplied<S: Simd>(simd: S, rows: &[Vec<f64>], sampler: &Sampler, addresses: &[Address]) -> Sums {
    let mut found = Sums::default();
    each_replicate(simd, sampler, addresses, |_, counts, total| {
        for row in rows {
            found.sums.push(sum_alone(simd, row, counts));
        }
        found.held.push(total);
    });
    found
}

/// Sum of one row under one replicate's counts, in the order of the tables.
#[inline(always)]
fn sum_alone<S: Simd>(simd: S, x: &[f64], counts: &[u16]) -> f64 {
    let (mut sum, mut rest) = (0.0, 0.0);
    for (x, counts) in x.chunks(BLOCK).zip(counts.chunks(BLOCK)) {
        let mut block = 0.0;
        for (x, counts) in x.as_chunks::<SPAN>().0.iter().zip(counts.as_chunks::<SPAN>().0) {
            let mut products = [0.0; SPAN];
            for (product, (x, &count)) in products.iter_mut().zip(x.iter().zip(counts)) {
                *product = x * f64::from(count.min(MOST));
            }
            let part = |at: usize| f64x8::from_slice(simd, &products[at..at + REALS]);
            let triple = |at: usize| (part(at) + part(at + WIDTH)) + part(at + 2 * WIDTH);
            let [a, b, c, d] = [0, 8, 16, 24].map(triple);
            let quads: [f64; REALS] = ((a + b) + (c + d)).into();
            for quad in quads {
                block += quad;
            }
            each_beyond(simd, counts, |at, more| rest += x[at % SPAN] * f64::from(more));
        }
        sum += block;
    }
    sum + rest
}

/// Plain sum in the order of the tables: what a replicate that holds every instance once has, to the last bit.
///
/// BCa counts replicates below the estimate, and those equal to it by halves.
pub(super) fn summed(values: &[f64]) -> f64 {
    padded(values).chunks(BLOCK).fold(0.0, |sum, block| {
        let quads = block.as_chunks::<SPAN>().0.iter().flat_map(|x| {
            let triple = move |at: usize| (x[at] + x[at + WIDTH]) + x[at + 2 * WIDTH];
            (0..QUADS_OF_SPAN).map(move |quad| {
                let [a, b, c, d] = [0, 1, 2, 3].map(|part| triple(quad + part * QUADS_OF_SPAN));
                (a + b) + (c + d)
            })
        });
        sum + quads.fold(0.0, |block, quad| block + quad)
    })
}

/// The rows side by side, instance by instance, zeros beyond them to the end of the span.
fn columns<const W: usize>(rows: &[&[f64]], n: usize) -> Vec<[f64; W]> {
    let mut columns = vec![[0.0; W]; n.next_multiple_of(SPAN)];
    for (place, row) in rows.iter().take(W).enumerate() {
        columns.iter_mut().zip(*row).for_each(|(column, &x)| column[place] = x);
    }
    columns
}

/// Sums of real numbers, one or several rows at once.
#[inline(always)]
fn real<V: Copy + Add<Output = V>>(
    zero: V,
    x: &[V],
    n: usize,
    drawn: &[Drawn],
    times: impl Fn(V, f64) -> V + Copy,
) -> Vec<V> {
    let mut sums = vec![zero; replicates(drawn)];
    add_tables(zero, x, n, drawn, REAL_BLOCK, |blocks| {
        for (sum, block) in sums.iter_mut().zip(blocks) {
            *sum = *sum + *block;
        }
    });
    for (sum, beyond) in sums.iter_mut().zip(drawn.iter().flat_map(|part| &part.beyond)) {
        let mut rest = zero;
        for &(at, more) in beyond {
            rest = rest + times(x.get(at as usize).copied().unwrap_or(zero), f64::from(more));
        }
        *sum = *sum + rest;
    }
    sums
}

/// Adds what the tables say to one sum a replicate, and hands the sums of each block of quads over.
#[inline(always)]
fn add_tables<V: Copy + Add<Output = V>>(
    zero: V,
    x: &[V],
    n: usize,
    drawn: &[Drawn],
    block: usize,
    mut hand_over: impl FnMut(&[V]),
) {
    let mut sums = vec![zero; replicates(drawn)];
    let mut tables = [[zero; ENTRIES]; QUAD];
    let spans = x.as_chunks::<SPAN>().0;
    let quads = spans.iter().flat_map(|span| (0..QUADS_OF_SPAN).map(move |quad| (span, quad)));
    let count = quads_of(n);
    for (at, (span, quad)) in quads.take(count).enumerate() {
        for (triple, table) in tables.iter_mut().enumerate() {
            let first = quad + triple * QUADS_OF_SPAN;
            fill(zero, [0, 1, 2].map(|third| span[(third * WIDTH + first) % SPAN]), table);
        }
        let mut rest = sums.as_mut_slice();
        for part in drawn {
            let replicates = part.held.len();
            let (own, later) = rest.split_at_mut(replicates);
            rest = later;
            let places = part.quads.get(at * replicates..(at + 1) * replicates).unwrap_or(&[]);
            add_quad(&tables, places, own);
        }
        if (at + 1).is_multiple_of(block) || at + 1 == count {
            hand_over(&sums);
            sums.fill(zero);
        }
    }
}

#[inline(always)]
fn add_quad<V: Copy + Add<Output = V>>(tables: &[[V; ENTRIES]; QUAD], places: &[u32], sums: &mut [V]) {
    let [first, second, third, fourth] = tables;
    for (sum, places) in sums.iter_mut().zip(places) {
        let [a, b, c, d] = [0, 8, 16, 24].map(|shift| (places >> shift) as usize % ENTRIES);
        *sum = *sum + ((first[a] + second[b]) + (third[c] + fourth[d]));
    }
}

/// Entry c0 + 4 c1 + 16 c2 becomes (c0 x0 + c1 x1) + c2 x2. Twice a number is exact, so three times is rounded once.
#[inline(always)]
fn fill<V: Copy + Add<Output = V>>(zero: V, x: [V; TRIPLE], table: &mut [V; ENTRIES]) {
    let [x0, x1, x2] = x.map(|x| [zero, x, x + x, x + x + x]);
    let mut pairs = [zero; 16];
    for (pairs, x1) in pairs.as_chunks_mut::<4>().0.iter_mut().zip(x1) {
        pairs.iter_mut().zip(x0).for_each(|(pair, x0)| *pair = x0 + x1);
    }
    for (entries, x2) in table.as_chunks_mut::<16>().0.iter_mut().zip(x2) {
        entries.iter_mut().zip(pairs).for_each(|(entry, pair)| *entry = pair + x2);
    }
}
