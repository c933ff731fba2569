//! Sums of a few rows under counts, in the order of `spans`: products, eight quads of a span side by side.
//!
//! Tables would cost a few rows more than they save. Cost O(B n rows), the counts being read once for all rows.

use fearless_simd::{Level, Simd, dispatch, f64x8, prelude::*};

use super::draw::Sampler;
use super::spans::{BLOCK, Beyond, QUADS, SPAN, TRIPLE, WIDTH, cut, each_replicate};
use super::tables::Sums;
use crate::random::wide::Address;

/// A span, eight instances by eight.
type Span<T> = [[T; QUADS]; SPAN / QUADS];

/// R rows side by side, span by span, with zeros to the end of the last one.
#[derive(Debug)]
pub(super) struct FewRows<const R: usize>(Vec<[Span<f64>; R]>);

impl<const R: usize> FewRows<R> {
    pub(super) fn new(rows: [&[f64]; R]) -> Self {
        let n = rows.first().map_or(0, |row| row.len());
        let mut spans = vec![[Span::default(); R]; n.div_ceil(SPAN)];
        for (place, row) in rows.iter().enumerate() {
            for (span, x) in spans.iter_mut().zip(row.chunks(SPAN)) {
                span[place].as_flattened_mut().iter_mut().zip(x).for_each(|(place, &x)| *place = x);
            }
        }
        Self(spans)
    }

    /// Sums under the counts drawn at some addresses, replicate by replicate.
    #[inline(always)]
    pub(super) fn sums<S: Simd>(&self, simd: S, sampler: &Sampler, addresses: &[Address]) -> Sums {
        let mut found = Sums::default();
        let mut beyond = Vec::new();
        each_replicate(simd, sampler, addresses, |_, counts, total| {
            beyond.clear();
            cut(simd, counts, &mut beyond);
            found.sums.extend(self.under(simd, counts, &beyond));
            found.held.push(total);
        });
        found
    }

    /// One sum a row.
    #[inline(always)]
    fn under<S: Simd>(&self, simd: S, counts: &[u16], beyond: &[Beyond]) -> [f64; R] {
        let mut sums = [0.0; R];
        for (spans, counts) in self.0.chunks(BLOCK).zip(counts.chunks(BLOCK * SPAN)) {
            let mut lanes = [f64x8::splat(simd, 0.0); R];
            for (rows, counts) in spans.iter().zip(counts.as_chunks::<SPAN>().0) {
                let mut times = Span::default();
                times.as_flattened_mut().iter_mut().zip(counts).for_each(|(times, &count)| *times = f64::from(count));
                for (lanes, x) in lanes.iter_mut().zip(rows) {
                    *lanes += quads(simd, x, &times);
                }
            }
            for (sum, lanes) in sums.iter_mut().zip(lanes) {
                *sum = <[f64; QUADS]>::from(lanes).into_iter().fold(*sum, |sum, quads| sum + quads);
            }
        }
        for (place, sum) in sums.iter_mut().enumerate() {
            *sum += beyond.iter().fold(0.0, |rest, &(at, more)| {
                let (span, at) = (at as usize / SPAN, at as usize % SPAN);
                let x = self.0.get(span).and_then(|rows| rows[place].as_flattened().get(at));
                rest + x.copied().unwrap_or(0.0) * f64::from(more)
            });
        }
        sums
    }
}

/// The eight quads of one row's span.
#[inline(always)]
fn quads<S: Simd>(simd: S, x: &Span<f64>, times: &Span<f64>) -> f64x8<S> {
    const THIRD: usize = WIDTH / QUADS;
    let product = |at: usize| {
        let at = at % (THIRD * TRIPLE);
        f64x8::simd_from(simd, x[at]) * f64x8::simd_from(simd, times[at])
    };
    let triple = |at: usize| (product(at) + product(at + THIRD)) + product(at + 2 * THIRD);
    (triple(0) + triple(1)) + (triple(2) + triple(3))
}

/// Plain sum in this order: what a replicate that holds every instance once has, to the last bit.
///
/// BCa counts replicates below the estimate, and those equal to it by halves.
pub(super) fn summed(values: &[f64]) -> f64 {
    let once = vec![1; values.len().next_multiple_of(SPAN)];
    let row = FewRows::new([values]);
    let [sum] = dispatch!(Level::new(), simd => row.under(simd, &once, &[]));
    sum
}
