//! Sums of numbers with weights of any kind.
//!
//! Instances go in blocks of 512; within a block instance i goes to lane i mod 8, the lanes are joined pairwise and the
//! sums of the blocks added in order: the same bits on every machine.

/// Instances that are summed in lanes before their sum is added to that of the others.
const BLOCK: usize = 512;
const LANES: usize = 8;

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

fn join([a, b, c, d, e, f, g, h]: [f64; LANES]) -> f64 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
