//! The wide generator: 16 lanes of xoshiro128++ (Blackman & Vigna 2021) keyed by Philox, for blocks of many draws.
//!
//! Words. The first 32 outputs of the Philox stream at an address ([`super::outputs`]), each cut into two halves, low
//! half first, are 64 numbers of 32 bits; number 16 j + l is word j of the state of lane l (a lane of four zeros, which
//! would stay there, gets 1 for its first). A step moves every lane on once; word 16 t + l of the stream is what lane l
//! gives in step t:
//!   out = rotl(s0 + s3, 7) + s0;  t = s1 << 9;  s2 ^= s0;  s3 ^= s1;  s1 ^= s2;  s0 ^= s3;  s2 ^= t;  s3 = rotl(s3, 11)
//! Draws take words in order. Fair bits: those of a word, lowest first. 64 bits: two words, the first one low. Integer
//! in 0..n: the high half of word * n, words whose low half is below 2^32 mod n passed over (Lemire 2019): no bias.
//! Uniform in [0, 1): the high 53 of 64 bits, times 2^-53.
//! Everything is integer arithmetic in lanes: the same words for any instruction set. Cost: eight Philox blocks a
//! stream, then some ten vector instructions a step. Twin: python/signoise/reference/_random.py

use fearless_simd::{Level, Simd, dispatch, prelude::*, u32x16};

use super::block;
use crate::error::Result;
use crate::parallel::Interrupt;

/// Words that one step gives.
pub const LANES: usize = 16;

/// Steps between two looks at the interrupt.
const STEPS_PER_LOOK: usize = 1 << 16;

/// Where a stream is: see [`super`] for the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The user's seed.
    pub rng_seed: u64,
    /// A constant of [`super::purpose`].
    pub purpose: u64,
    /// The replicate, or the block of them that shares one stream.
    pub replicate: u64,
    /// Hash of the label of what is drawn for.
    pub unit: u64,
}

/// A stream of words.
#[derive(Debug, Clone, Copy)]
pub struct Wide<S: Simd> {
    state: [u32x16<S>; 4],
}

impl<S: Simd> Wide<S> {
    /// The stream at an address, at its start.
    #[inline(always)]
    pub fn new(simd: S, address: Address) -> Self {
        let Address { rng_seed, purpose, replicate, unit } = address;
        let mut words = [[0_u32; LANES]; 4];
        for (index, part) in words.as_flattened_mut().as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let [a, b, c, d] = block(rng_seed, purpose, replicate, unit, index as u64);
            *part = [a, a >> 32, b, b >> 32, c, c >> 32, d, d >> 32].map(|half| half as u32);
        }
        let [s0, s1, s2, s3] = &mut words;
        for (((s0, s1), s2), s3) in s0.iter_mut().zip(s1).zip(s2).zip(s3) {
            *s0 |= u32::from(*s0 | *s1 | *s2 | *s3 == 0);
        }
        Self { state: words.map(|word| u32x16::simd_from(simd, word)) }
    }

    /// The next 16 words.
    #[inline(always)]
    pub fn step(&mut self) -> u32x16<S> {
        let [mut s0, mut s1, mut s2, mut s3] = self.state;
        let out = rotated::<S, 7>(s0 + s3) + s0;
        let shifted = s1 << 9;
        s2 ^= s0;
        s3 ^= s1;
        s1 ^= s2;
        s0 ^= s3;
        s2 ^= shifted;
        self.state = [s0, s1, s2, rotated::<S, 11>(s3)];
        out
    }
}

#[inline(always)]
fn rotated<S: Simd, const BY: u32>(x: u32x16<S>) -> u32x16<S> {
    (x << BY) | (x >> (32 - BY))
}

/// A stream of words read one draw at a time.
#[derive(Debug, Clone, Copy)]
pub struct Words<S: Simd> {
    wide: Wide<S>,
    held: [u32; LANES],
    used: usize,
}

impl<S: Simd> Words<S> {
    /// The stream at an address, at its start.
    #[inline(always)]
    pub fn new(simd: S, address: Address) -> Self {
        Self { wide: Wide::new(simd, address), held: [0; LANES], used: LANES }
    }

    /// The next whole step of words; those left of the step before are passed over.
    #[inline(always)]
    pub fn step(&mut self) -> u32x16<S> {
        self.used = LANES;
        self.wide.step()
    }

    /// Makes whole steps with a generator of the caller's own, which the compiler can keep in registers; words left of
    /// the step before are passed over.
    #[inline(always)]
    pub fn steps<T>(&mut self, make: impl FnOnce(&mut Wide<S>) -> T) -> T {
        self.used = LANES;
        let mut wide = self.wide;
        let made = make(&mut wide);
        self.wide = wide;
        made
    }

    /// The next word: 32 fair bits.
    #[inline(always)]
    pub fn word(&mut self) -> u32 {
        if self.used >= LANES {
            self.held = self.wide.step().into();
            self.used = 0;
        }
        let word = self.held[self.used % LANES];
        self.used += 1;
        word
    }

    /// The next two words: 64 fair bits.
    #[inline(always)]
    pub fn double_word(&mut self) -> u64 {
        let low = self.word();
        u64::from(self.word()) << 32 | u64::from(low)
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    #[inline(always)]
    pub fn uniform(&mut self) -> f64 {
        (self.double_word() >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// Uniform integer below the bound (0 for a bound of 0).
    #[inline(always)]
    pub fn below(&mut self, bound: Bound) -> u32 {
        loop {
            let word = self.word();
            if let Some(integer) = bound.of(word) {
                return integer;
            }
        }
    }
}

/// A number that integers are to stay below.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    n: u32,
    /// 2^32 mod n.
    rejected: u32,
}

impl Bound {
    /// Integers in `0..n`.
    #[must_use]
    pub const fn new(n: u32) -> Self {
        Self { n, rejected: if n == 0 { 0 } else { n.wrapping_neg() % n } }
    }

    /// The integer that a word stands for; None where the word is to be passed over.
    #[inline(always)]
    #[must_use]
    pub fn of(self, word: u32) -> Option<u32> {
        let product = u64::from(word) * u64::from(self.n);
        (product as u32 >= self.rejected).then_some((product >> 32) as u32)
    }

    /// The integers that the words of a step stand for; None where one of them is to be passed over.
    #[inline(always)]
    #[must_use]
    pub fn of_all(self, words: [u32; LANES]) -> Option<[u32; LANES]> {
        let products = words.map(|word| u64::from(word) * u64::from(self.n));
        let passed_over = products.iter().fold(false, |any, &product| any | ((product as u32) < self.rejected));
        (!passed_over).then_some(products.map(|product| (product >> 32) as u32))
    }
}

/// The first `n` words of the stream at an address.
///
/// # Errors
/// An interrupt.
pub fn wide_uint32(address: Address, n: usize, interrupt: &Interrupt) -> Result<Vec<u32>> {
    words_at(Level::new(), address, n, interrupt)
}

/// The same with the instructions of a level, of which no bit of the result depends.
fn words_at(level: Level, address: Address, n: usize, interrupt: &Interrupt) -> Result<Vec<u32>> {
    let mut words = vec![0; n];
    dispatch!(level, simd => fill(simd, address, &mut words, interrupt))?;
    Ok(words)
}

#[inline(always)]
fn fill<S: Simd>(simd: S, address: Address, words: &mut [u32], interrupt: &Interrupt) -> Result<()> {
    let mut wide = Wide::new(simd, address);
    for part in words.chunks_mut(STEPS_PER_LOOK * LANES) {
        interrupt.check()?;
        for step in part.chunks_mut(LANES) {
            let made: [u32; LANES] = wide.step().into();
            for (word, made) in step.iter_mut().zip(made) {
                *word = made;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every instruction set of this machine.
    pub(crate) fn levels() -> Vec<Level> {
        let best = Level::new();
        #[cfg(target_arch = "x86_64")]
        let lower = [best.as_sse4_2().map(Level::Sse4_2), best.as_avx2().map(Level::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let lower = [None];
        lower.into_iter().flatten().chain([Level::baseline(), best]).collect()
    }

    const ADDRESS: Address = Address { rng_seed: 1, purpose: 2, replicate: 3, unit: 4 };

    /// One lane, as its authors write it.
    fn lane(mut s: [u32; 4]) -> impl Iterator<Item = u32> {
        std::iter::repeat_with(move || {
            let result = s[0].wrapping_add(s[3]).rotate_left(7).wrapping_add(s[0]);
            let t = s[1] << 9;
            s[2] ^= s[0];
            s[3] ^= s[1];
            s[1] ^= s[2];
            s[0] ^= s[3];
            s[2] ^= t;
            s[3] = s[3].rotate_left(11);
            result
        })
    }

    #[test]
    fn lanes_are_the_published_generator_at_every_level() {
        let halves: Vec<u32> =
            super::super::outputs(1, 2, 3, 4).take(32).flat_map(|x| [x as u32, (x >> 32) as u32]).collect();
        let lanes: Vec<Vec<u32>> =
            (0..16).map(|l| lane(std::array::from_fn(|j| halves[16 * j + l])).take(10).collect()).collect();
        let expected: Vec<u32> = (0..155).map(|i| lanes[i % 16][i / 16]).collect();
        for level in levels() {
            assert_eq!(words_at(level, ADDRESS, 155, &Interrupt::new()).as_ref(), Ok(&expected), "{level:?}");
        }
    }

    #[test]
    fn known_answer_of_the_small_generator() {
        // The state 1, 2, 3, 4, as in the tests of other implementations.
        let expected = [641, 1_573_767, 3_222_811_527, 3_517_856_514, 836_907_274];
        assert_eq!(lane([1, 2, 3, 4]).take(5).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn draws_take_words_in_order() {
        let words = wide_uint32(ADDRESS, 64, &Interrupt::new()).unwrap_or_default();
        dispatch!(Level::new(), simd => {
            let mut read = Words::new(simd, ADDRESS);
            assert_eq!(read.word(), words[0]);
            assert_eq!(read.double_word(), u64::from(words[2]) << 32 | u64::from(words[1]));
            assert_eq!(<[u32; LANES]>::from(read.step()), words[16..32]);
            assert_eq!(read.below(Bound::new(10)), ((u64::from(words[32]) * 10) >> 32) as u32);
        });
    }

    #[test]
    fn no_integer_has_more_words_than_another() {
        for n in [1_u32, 3, 10, 1 << 31, 3 << 30, u32::MAX] {
            let rejected = u64::from(Bound::new(n).rejected);
            assert_eq!(rejected, (1 << 32) % u64::from(n));
            // Products of one high half are n apart: as many of them pass as multiples of n fit what is left.
            assert_eq!(((1 << 32) - rejected) % u64::from(n), 0);
        }
    }
}
