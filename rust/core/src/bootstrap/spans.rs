//! The order of sums under counts, which all ways to them share: the same for one row and for many, for one replicate
//! and many, whatever the machine. So a model's replicates have the same bits whoever stands beside it.
//!
//! Instances go in spans of 96; instances l, l + 32 and l + 64 of a span are triple l, triples q, q + 8, q + 16 and q + 24
//! quad q.
//!   T(c0, c1, c2) = (c0 x0 + c1 x1) + c2 x2, counts above 4 taken for 4; a quad adds (T0 + T1) + (T2 + T3)
//! In a block of 32 spans, quads q of all spans add up in order, and the sums for q = 0 to 7 are added to those of the
//! blocks before; at the end comes the sum of (c_i - 4) x_i over counts above 4, in order.
//! c -> counts, x -> rows. `tables`: many rows; `few`: one row or a few. Zeros and ones are counted (`bits`).

use fearless_simd::{Simd, prelude::*, u16x32};

use super::draw::Sampler;
use crate::random::wide::Address;

/// Triples of a span, side by side.
pub(super) const WIDTH: usize = 32;
/// Instances of a triple.
pub(super) const TRIPLE: usize = 3;
/// Instances of a span.
pub(super) const SPAN: usize = WIDTH * TRIPLE;
/// Triples of a quad.
pub(super) const QUAD: usize = 4;
/// Quads of a span.
pub(super) const QUADS: usize = WIDTH / QUAD;
/// Spans of a block.
pub(super) const BLOCK: usize = 32;
/// The largest count that a triple knows.
pub(super) const MOST: u16 = 4;

/// An instance that is held more often than triples know, and how much more often.
pub(super) type Beyond = (u32, u16);

/// Draws replicate by replicate: its number, its counts with zeros to the end of the span, the instances that it holds.
#[inline(always)]
pub(super) fn each_replicate<S: Simd>(
    simd: S,
    sampler: &Sampler,
    addresses: &[Address],
    mut take: impl FnMut(usize, &mut [u16], u64),
) {
    let n = sampler.n();
    let mut counts = vec![0; n.next_multiple_of(SPAN)];
    for (replicate, &address) in addresses.iter().enumerate() {
        let (own, _) = counts.split_at_mut(n);
        sampler.draw(simd, address, own);
        let total = || own.iter().map(|&count| u64::from(count)).sum();
        let total = sampler.held().map_or_else(total, |held| held as u64);
        take(replicate, &mut counts, total);
    }
}

/// Cuts counts to what triples know; adds the instances where they were cut to `beyond`, in order.
#[inline(always)]
pub(super) fn cut<S: Simd>(simd: S, counts: &mut [u16], beyond: &mut Vec<Beyond>) {
    let most = u16x32::splat(simd, MOST);
    for (span, cells) in counts.as_chunks_mut::<SPAN>().0.iter_mut().enumerate() {
        let mut mask = 0;
        for (third, counts) in cells.as_chunks::<WIDTH>().0.iter().enumerate() {
            let above = u16x32::simd_from(simd, *counts).simd_gt(most).to_bitmask();
            mask |= u128::from(above) << (third * WIDTH);
        }
        while mask != 0 {
            let at = mask.trailing_zeros() as usize;
            if let Some(count) = cells.get_mut(at) {
                beyond.push(((span * SPAN + at) as u32, *count - MOST));
                *count = MOST;
            }
            mask &= mask - 1;
        }
    }
}
