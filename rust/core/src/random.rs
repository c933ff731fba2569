//! Addressed random draws: Philox 4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//!
//! A draw is a pure function of its address, so any draw can be computed alone, on any thread, in any order:
//!   key     = (rng_seed, purpose)
//!   counter = (index + 1, unit, replicate, 0)      word 0 first
//! rng_seed: the user's. purpose: a constant of [`purpose`], so that two uses of one seed never share a stream.
//! replicate: the trial or resample. unit: what the draws are for, a hash of its label, so that another unit's
//! presence moves nothing. index: the block within the stream; each block holds four outputs.
//!
//! The `+ 1` makes a stream equal to `numpy.random.Philox(key=[rng_seed, purpose], counter=[0, unit, replicate, 0])`,
//! whose first block already belongs to the next counter: NumPy adds one before it computes, not after.
//! Where many draws are needed, the outputs key the wide generator of [`wide`] instead of being the draws themselves.
//! Cost: about 20 widening multiplications for four outputs.
//! Twin: python/signoise/reference/_random.py

pub mod normal;
pub mod wide;

use crate::error::Result;
use crate::parallel::{Interrupt, map_groups};

/// What draws are made for. Values are part of the reproducible result: append, never renumber.
pub mod purpose {
    /// One checkpoint of each member's window on each side ([`crate::decisions::sampled_agreement`]).
    pub const CHECKPOINT_DRAW: u64 = 1;
    /// Which instances (or clusters) a bootstrap replicate holds.
    pub const BOOTSTRAP: u64 = 2;
    /// Which seeds (or checkpoints) it holds where they are crossed with the instances, or hold their own.
    pub const BOOTSTRAP_OUTER: u64 = 3;
    /// A replicate's value where its law is known.
    pub const BOOTSTRAP_LAW: u64 = 4;
    /// Which differences a permutation turns round ([`crate::permutation`]).
    pub const SIGN_FLIP: u64 = 5;
    /// Which values a permutation puts into the first group.
    pub const LABEL_PERMUTATION: u64 = 6;
    /// Checkpoint noise of each member on each side ([`crate::decisions::noisy_agreement`]).
    pub const CHECKPOINT_NOISE: u64 = 8;
    /// Trendless series of a given autocorrelation ([`crate::smoothness::monotonicity_ar1`]).
    pub const AR1_SURROGATE: u64 = 9;
}

const MULTIPLIERS: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
const WEYL: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];
const ROUNDS: usize = 10;

/// Blocks that one thread makes in one go; a constant, and without influence on the values.
const BLOCKS_PER_PART: usize = 4096;

/// The cipher itself, as in Random123: four outputs for a counter and a key.
#[must_use]
pub const fn philox(counter: [u64; 4], key: [u64; 2]) -> [u64; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    let mut round = 0;
    while round < ROUNDS {
        let (high0, low0) = widening(MULTIPLIERS[0], c0);
        let (high1, low1) = widening(MULTIPLIERS[1], c2);
        [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
        round += 1;
    }
    [c0, c1, c2, c3]
}

/// High and low word of a product.
const fn widening(left: u64, right: u64) -> (u64, u64) {
    let product = left as u128 * right as u128;
    ((product >> 64) as u64, product as u64)
}

/// Block `index` of the stream at an address. The index stays below 2^64 - 1: NumPy would carry, this wraps.
#[must_use]
pub const fn block(rng_seed: u64, purpose: u64, replicate: u64, unit: u64, index: u64) -> [u64; 4] {
    philox([index.wrapping_add(1), unit, replicate, 0], [rng_seed, purpose])
}

/// The outputs of the stream at an address, in order and without end.
pub fn outputs(rng_seed: u64, purpose: u64, replicate: u64, unit: u64) -> impl Iterator<Item = u64> {
    (0_u64..).flat_map(move |index| block(rng_seed, purpose, replicate, unit, index))
}

/// Uniform integer in `0..n` (0 for n = 0): the high word of `output * n`.
///
/// Nothing is rejected, so one output makes one integer; no probability is off by more than 2^-64, which over all
/// integers is a bias below n / 2^64.
#[must_use]
pub const fn below(output: u64, n: usize) -> usize {
    widening(output, n as u64).0 as usize
}

/// The first `n` outputs of the stream at an address.
///
/// # Errors
/// An interrupt.
pub fn philox_uint64(
    rng_seed: u64,
    purpose: u64,
    replicate: u64,
    unit: u64,
    n: usize,
    interrupt: &Interrupt,
) -> Result<Vec<u64>> {
    let blocks = n.div_ceil(4);
    let parts = map_groups(blocks.div_ceil(BLOCKS_PER_PART), interrupt, |part| {
        let start = part * BLOCKS_PER_PART;
        let end = blocks.min(start + BLOCKS_PER_PART);
        let mut values = Vec::with_capacity(4 * (end - start));
        for index in start..end {
            values.extend_from_slice(&block(rng_seed, purpose, replicate, unit, index as u64));
        }
        Ok(values)
    })?;
    let mut values = parts.concat();
    values.truncate(n);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_random123() {
        let zeros = [0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b];
        assert_eq!(philox([0; 4], [0; 2]), zeros);
        let ones = [0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0];
        assert_eq!(philox([u64::MAX; 4], [u64::MAX; 2]), ones);
    }

    #[test]
    fn a_stream_is_its_blocks_in_order() {
        let values: Vec<u64> = outputs(1, 2, 3, 4).take(10).collect();
        assert_eq!(values[4..8], block(1, 2, 3, 4, 1));
        assert_eq!(Ok(values), philox_uint64(1, 2, 3, 4, 10, &Interrupt::new()));
        let long = philox_uint64(1, 2, 3, 4, 40_001, &Interrupt::new());
        assert_eq!(long, Ok(outputs(1, 2, 3, 4).take(40_001).collect()));
    }

    #[test]
    fn bounded_integers_stay_in_range() {
        for n in [1, 2, 3, 1000, usize::MAX] {
            assert_eq!(below(0, n), 0);
            assert_eq!(below(u64::MAX, n), n - 1);
        }
        assert_eq!(below(u64::MAX, 0), 0);
        assert_eq!(below(1 << 63, 10), 5);
    }
}
