//! How often a replicate holds each instance.
//!
//! multinomial: n instances drawn from n with replacement. For n >= 256 by Poisson splitting: the counts are drawn
//!   independently with mean l = 1 - 2^-j, j the largest of 2..=6 with n >= 16 * 4^j; if their total exceeds n, all are
//!   drawn again; else instances drawn one by one make up what is missing. Independent Poisson counts with a given total
//!   are multinomial, and so are these: the law is that of n draws, at a third of the cost.
//!   For n < 256 all of them are drawn one by one.
//! poisson: independent counts with mean 1; drawn again where all are 0.
//! moving_block: blocks of `length` consecutive instances with uniform starts in 0..=n - length, the last one cut (Kunsch).
//! stationary_block: the next instance follows the one before, around the end to the first, or with probability
//!   1 / length is any (Politis and Romano).
//! Poisson counts: a 16-bit half word h (low half first) gives count k where W_{k-1} <= h < W_k, W_k the sum up to k of
//!   floor(2^16 p_k). The halves from W_7 on are undecided: in the order of the instances, after the last half, 64 bits
//!   each choose a count with what floor took from each p_k. So the probabilities are those of 64-bit draws.
//! Words are those of the stream (rng_seed, BOOTSTRAP, replicate, unit); drawing again, and drawing one by one after
//! counts, start at a whole step.

use fearless_simd::{Select, Simd, prelude::*, u16x32, u32x16};

use crate::error::{Error, Result};
use crate::random::wide::{Address, Bound, LANES, Wide, Words};

/// Counts of one step of words, two a word.
const CELLS: usize = 2 * LANES;
/// Thresholds of a split; a count equal to their number is undecided.
const THRESHOLDS: usize = 8;
/// Steps that are summed in 16 bits.
const STEPS: usize = 32;
/// Largest count that has a probability in 64 bits.
const LARGEST: usize = 24;

/// Law of the counts of one replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// As many draws with replacement as there are instances.
    Multinomial,
    /// Independent counts with mean 1.
    Poisson,
    /// Blocks of consecutive instances of this length.
    MovingBlock(usize),
    /// Blocks of random length with this mean.
    StationaryBlock(usize),
}

impl Scheme {
    /// A scheme by name; `length` is that of blocks.
    ///
    /// # Errors
    /// An unknown name.
    pub fn new(name: &str, length: usize) -> Result<Self> {
        match name {
            "multinomial" => Ok(Self::Multinomial),
            "poisson" => Ok(Self::Poisson),
            "moving_block" => Ok(Self::MovingBlock(length)),
            "stationary_block" => Ok(Self::StationaryBlock(length)),
            _ => Err(Error::Unknown {
                name: "scheme",
                found: name.into(),
                known: "multinomial, poisson, moving_block, stationary_block".into(),
            }),
        }
    }
}

/// What draws the counts of `n` instances.
#[derive(Debug)]
pub(super) struct Sampler {
    n: usize,
    bound: Bound,
    law: Law,
}

#[derive(Debug)]
enum Law {
    OneByOne,
    Multinomial(Split),
    Poisson(Split),
    MovingBlock { length: usize, starts: Bound },
    StationaryBlock { renewal: f64 },
}

impl Sampler {
    pub(super) fn new(n: usize, scheme: Scheme) -> Result<Self> {
        let too_many = |_| Error::Argument {
            name: "offsets",
            expected: "groups of fewer than 2^32 instances",
            found: n.to_string(),
        };
        let bound = Bound::new(u32::try_from(n).map_err(too_many)?);
        let in_range = |length: usize| {
            let found = format!("{length} for {n} instances");
            let expected = "from 1 to the number of instances";
            if (1..=n.max(1)).contains(&length) {
                Ok(length)
            } else {
                Err(Error::Argument { name: "block_length", expected, found })
            }
        };
        let law = match scheme {
            Scheme::Poisson => Law::Poisson(Split::new(1.0)),
            Scheme::Multinomial => match (2..=6).rev().find(|j| n >= 16 << (2 * j)) {
                Some(j) => Law::Multinomial(Split::new(1.0 - 0.5_f64.powi(j))),
                None => Law::OneByOne,
            },
            Scheme::MovingBlock(length) => {
                let length = in_range(length)?;
                Law::MovingBlock { length, starts: Bound::new((n.max(1) - length + 1) as u32) }
            }
            Scheme::StationaryBlock(length) => Law::StationaryBlock { renewal: 1.0 / in_range(length)? as f64 },
        };
        Ok(Self { n, bound, law })
    }

    pub(super) const fn n(&self) -> usize {
        self.n
    }

    pub(super) const fn bound(&self) -> Bound {
        self.bound
    }

    /// How many instances a replicate holds, where that is not drawn too.
    pub(super) const fn held(&self) -> Option<usize> {
        match self.law {
            Law::Poisson(_) => None,
            _ => Some(self.n),
        }
    }

    /// Fills the counts of one replicate.
    #[inline(always)]
    pub(super) fn draw<S: Simd>(&self, simd: S, address: Address, counts: &mut [u16]) {
        if self.n == 0 {
            return;
        }
        let mut words = Words::new(simd, address);
        match &self.law {
            Law::OneByOne => {
                counts.fill(0);
                self.add(&mut words, self.n, counts);
            }
            Law::Multinomial(split) => loop {
                let total = split.fill(simd, &mut words, counts);
                if total <= self.n {
                    return self.add(&mut words, self.n - total, counts);
                }
            },
            Law::Poisson(split) => while split.fill(simd, &mut words, counts) == 0 {},
            &Law::MovingBlock { length, starts } => {
                counts.fill(0);
                let mut left = self.n;
                while left > 0 {
                    let start = words.below(starts) as usize;
                    let end = start + length.min(left);
                    counts.get_mut(start..end).unwrap_or(&mut []).iter_mut().for_each(increment);
                    left -= length.min(left);
                }
            }
            &Law::StationaryBlock { renewal } => {
                counts.fill(0);
                let mut at = words.below(self.bound) as usize;
                for _ in 1..self.n {
                    counts.get_mut(at).map(increment);
                    at = if words.uniform() < renewal { words.below(self.bound) as usize } else { (at + 1) % self.n };
                }
                counts.get_mut(at).map(increment);
            }
        }
    }

    /// Adds instances drawn one by one.
    #[inline(always)]
    fn add<S: Simd>(&self, words: &mut Words<S>, number: usize, counts: &mut [u16]) {
        let mut left = number;
        while left > 0 {
            let step: [u32; LANES] = words.step().into();
            match self.bound.of_all(step) {
                Some(places) if left >= LANES => {
                    for at in places {
                        counts.get_mut(at as usize).map(increment);
                    }
                    left -= LANES;
                }
                _ => {
                    for at in step.into_iter().filter_map(|word| self.bound.of(word)).take(left) {
                        counts.get_mut(at as usize).map(increment);
                        left -= 1;
                    }
                }
            }
        }
    }
}

/// One more; 2^16 times the same instance has no probability that could be seen.
#[inline(always)]
fn increment(count: &mut u16) {
    *count = count.saturating_add(1);
}

/// The Poisson law as thresholds.
#[derive(Debug)]
struct Split {
    thresholds: [u16; THRESHOLDS],
    /// Of the undecided, by 64 bits.
    residual: [u64; LARGEST],
}

impl Split {
    /// The law with a mean of at most 1. Basic operations alone: the same thresholds on every machine.
    fn new(mean: f64) -> Self {
        let (mut probability, mut term) = (1.0, 1.0);
        for k in 1..=40 {
            term *= -mean / f64::from(k);
            probability += term;
        }
        let (mut thresholds, mut residual) = ([0; THRESHOLDS], [0.0; LARGEST]);
        let (mut whole, mut rest) = (0.0, 0.0);
        for (k, residual) in residual.iter_mut().enumerate() {
            let share: f64 = probability * 65536.0;
            whole += share.floor();
            rest += share - share.floor();
            *residual = rest;
            if let Some(threshold) = thresholds.get_mut(k) {
                *threshold = whole as u16;
            }
            probability *= mean / (k + 1) as f64;
        }
        Self { thresholds, residual: residual.map(|sum| (sum / rest * 2.0_f64.powi(64)) as u64) }
    }

    /// Counts of every instance; their total.
    #[inline(always)]
    fn fill<S: Simd>(&self, simd: S, words: &mut Words<S>, counts: &mut [u16]) -> usize {
        let mut undecided = Vec::new();
        let mut total = 0;
        for (part, counts) in counts.chunks_mut(STEPS * CELLS).enumerate() {
            let (sum, largest) = words.steps(|wide| self.fill_part(simd, wide, counts));
            total += sum;
            if largest == THRESHOLDS {
                let open = counts.iter().enumerate().filter(|&(_, &count)| usize::from(count) == THRESHOLDS);
                undecided.extend(open.map(|(at, _)| part * STEPS * CELLS + at));
            }
        }
        for at in undecided {
            let bits = words.double_word();
            let count = self.residual.iter().filter(|&&threshold| bits >= threshold).count();
            total = total + count - THRESHOLDS;
            if let Some(place) = counts.get_mut(at) {
                *place = count as u16;
            }
        }
        total
    }

    /// Counts of at most as many instances as are summed in 16 bits; their total and the largest.
    #[inline(always)]
    fn fill_part<S: Simd>(&self, simd: S, wide: &mut Wide<S>, counts: &mut [u16]) -> (usize, usize) {
        let thresholds = self.thresholds.map(|threshold| u16x32::splat(simd, threshold));
        let (mut sum, mut largest) = (u16x32::splat(simd, 0), u16x32::splat(simd, 0));
        let (steps, rest) = counts.as_chunks_mut::<CELLS>();
        for cells in steps {
            let drawn = chosen(simd, &thresholds, wide.step());
            *cells = drawn.into();
            sum += drawn;
            largest = largest.max(drawn);
        }
        if !rest.is_empty() {
            let drawn: [u16; CELLS] = chosen(simd, &thresholds, wide.step()).into();
            let mut last = [0; CELLS];
            for ((last, rest), drawn) in last.iter_mut().zip(rest).zip(drawn) {
                *last = drawn;
                *rest = drawn;
            }
            let last = u16x32::simd_from(simd, last);
            sum += last;
            largest = largest.max(last);
        }
        (usize::from(sum.reduce_sum()), usize::from(largest.reduce_max()))
    }
}

/// The number of thresholds that each half word reaches.
#[inline(always)]
fn chosen<S: Simd>(simd: S, thresholds: &[u16x32<S>; THRESHOLDS], words: u32x16<S>) -> u16x32<S> {
    let halves: u16x32<S> = words.bitcast();
    let (one, none) = (u16x32::splat(simd, 1), u16x32::splat(simd, 0));
    thresholds.iter().fold(none, |count, &threshold| halves.simd_ge(threshold).select(count + one, count))
}
