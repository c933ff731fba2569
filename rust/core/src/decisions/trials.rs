//! Agreement in many trials at once: members stand in rows, trials side by side in the lanes of vectors.
//!
//! Trials come in blocks of [`TRIALS`]; block k of a group draws from the stream (rng_seed, purpose, k, its unit), member
//! after member, small before target, one word a trial. A trial therefore depends neither on how many there are nor on
//! the other groups. Cost: O(J^2) comparisons a trial, 4 to 32 of them in one instruction.

use std::ops::Range;

use fearless_simd::Simd;

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, map_groups};
use crate::random::wide::{LANES, Wide};

use super::{agreement, n_pairs};

/// Trials of a block, which share a stream. Part of the reproducible result.
pub(super) const TRIALS: usize = 64;
/// Blocks that one thread takes in one go; a constant, and without influence on the values.
const BLOCKS_PER_PART: usize = 4;

/// One number a trial.
pub(super) type Row<T> = [T; TRIALS];

/// Every trial of every group, those of a group together; `draw` makes some blocks of one group, whole ones.
pub(super) fn all_trials(
    groups: usize,
    n_resamples: usize,
    interrupt: &Interrupt,
    draw: impl Fn(usize, Range<usize>) -> Result<Vec<f64>> + Sync + Send,
) -> Result<Vec<f64>> {
    if n_resamples == 0 {
        return Err(Error::Argument { name: "n_resamples", expected: "at least 1", found: "0".into() });
    }
    // Parts of a group's trials rather than whole groups: one large group then fills all threads too.
    let blocks = n_resamples.div_ceil(TRIALS);
    let parts_per_group = blocks.div_ceil(BLOCKS_PER_PART);
    let parts = map_groups(groups * parts_per_group, interrupt, |part| {
        let start = part % parts_per_group * BLOCKS_PER_PART;
        let mut trials = draw(part / parts_per_group, start..blocks.min(start + BLOCKS_PER_PART))?;
        trials.truncate(n_resamples - start * TRIALS);
        Ok(trials)
    })?;
    Ok(parts.concat())
}

/// The words of one member and side, one a trial.
#[inline(always)]
pub(super) fn words<S: Simd>(wide: &mut Wide<S>) -> Row<u32> {
    let mut words = [0; TRIALS];
    for step in words.chunks_mut(LANES) {
        let made: [u32; LANES] = wide.step().into();
        step.iter_mut().zip(made).for_each(|(word, made)| *word = made);
    }
    words
}

/// Decision accuracy of each trial, ties one half; `small` and `target` hold a row a member.
#[inline(always)]
pub(super) fn agreements<T: Copy + PartialOrd>(small: &[Row<T>], target: &[Row<T>]) -> Row<f64> {
    let mut net = [0_i64; TRIALS];
    let (mut rows, mut other_rows) = (small, target);
    while let ([a, rest_a @ ..], [b, rest_b @ ..]) = (rows, other_rows) {
        // Sums of small integers fill more lanes; 16 bits hold that many of them.
        let chunk = i16::MAX as usize;
        for (some_a, some_b) in rest_a.chunks(chunk).zip(rest_b.chunks(chunk)) {
            let mut sums = [0_i16; TRIALS];
            for (c, d) in some_a.iter().zip(some_b) {
                let pairs = a.iter().zip(c).zip(b.iter().zip(d));
                for (sum, ((a, c), (b, d))) in sums.iter_mut().zip(pairs) {
                    *sum += order(a, c) * order(b, d);
                }
            }
            net.iter_mut().zip(sums).for_each(|(net, sum)| *net += i64::from(sum));
        }
        (rows, other_rows) = (rest_a, rest_b);
    }
    net.map(|net| agreement(n_pairs(small.len()), net))
}

/// sign(x - y)
#[inline(always)]
fn order<T: PartialOrd>(x: &T, y: &T) -> i16 {
    i16::from(x > y) - i16::from(x < y)
}

/// Mean and standard deviation (n - 1; NaN for a single trial) of each group's trials.
pub(super) fn means_and_sds(trials: &[f64], n_resamples: usize) -> (Vec<f64>, Vec<f64>) {
    let one = |trials: &[f64]| {
        let n = trials.len() as f64;
        let mean = trials.iter().sum::<f64>() / n;
        let squares = trials.iter().map(|trial| (trial - mean) * (trial - mean)).sum::<f64>();
        (mean, (squares / (n - 1.0)).sqrt()) // 0 / 0 for a single trial
    };
    trials.chunks(n_resamples.max(1)).map(one).unzip()
}
