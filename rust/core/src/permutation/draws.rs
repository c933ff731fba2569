//! Random patterns, 16 at a time, and sums over them.

use fearless_simd::{Level, Simd, dispatch, i32x16, prelude::*, u32x16};

use crate::error::Result;
use crate::parallel::{Interrupt, map_groups};
use crate::random::wide::{Address, LANES, Words};

/// Replicates that share one stream.
const PART: usize = 256;

/// Bits of a word.
pub(super) const WORD: usize = 32;

/// What a block of 16 replicates adds up to in each of the rows.
pub(super) type Sums = [i64; LANES];

/// What a consumer of blocks does with the sums of all rows; the number tells how many lanes are replicates.
pub(super) trait Fold: Send {
    /// Takes one block of replicates.
    fn block(&mut self, sums: &[Sums], live: usize);
}

/// Counts the patterns whose statistic, `slope` times the sum of the one row plus `intercept`, is at least so far from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extreme {
    pub(super) slope: i128,
    pub(super) intercept: i128,
    pub(super) least: i128,
    pub(super) count: u64,
}

impl Fold for Extreme {
    fn block(&mut self, sums: &[Sums], live: usize) {
        for &sum in sums.iter().flat_map(|row| row.iter().take(live)) {
            let statistic = self.slope * i128::from(sum) + self.intercept;
            self.count += u64::from(statistic.abs() >= self.least);
        }
    }
}

/// The patterns to go through: each is a set of instances.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    n: usize,
    draws: usize,
    source: Source,
}

/// Where patterns come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// Pattern i holds the instances whose bits are set in i.
    All,
    /// Each instance or not, by fair bits.
    Flips(Address),
    /// As many instances as said.
    Subsets(Address, usize),
}

impl Plan {
    /// Every subset of n instances, if there are at most `n_resamples`.
    pub(super) fn all(n: usize, n_resamples: usize) -> Option<Self> {
        let patterns = 1_usize.checked_shl(u32::try_from(n).ok()?)?;
        (n < WORD && patterns <= n_resamples).then_some(Self { n, draws: patterns, source: Source::All })
    }

    /// Random subsets by fair bits.
    pub(super) const fn flips(n: usize, n_resamples: usize, address: Address) -> Self {
        Self { n, draws: n_resamples, source: Source::Flips(address) }
    }

    /// Random subsets of m.
    pub(super) const fn subsets(n: usize, m: usize, n_resamples: usize, address: Address) -> Self {
        Self { n, draws: n_resamples, source: Source::Subsets(address, m) }
    }

    /// Number of patterns.
    pub(super) const fn draws(&self) -> usize {
        self.draws
    }

    /// The sums of units over each pattern, for each row: one consumer a part, in order.
    ///
    /// Rows of an enumeration may have any integers, those of random patterns must fit their bits.
    pub(super) fn run<F: Fold>(
        &self,
        rows: &[Vec<i64>],
        start: impl Fn() -> F + Sync + Send,
        interrupt: &Interrupt,
    ) -> Result<Vec<F>> {
        self.run_at(Level::new(), rows, start, interrupt)
    }

    /// The same with the instructions of a level.
    fn run_at<F: Fold>(
        &self,
        level: Level,
        rows: &[Vec<i64>],
        start: impl Fn() -> F + Sync + Send,
        interrupt: &Interrupt,
    ) -> Result<Vec<F>> {
        let narrow: Vec<Vec<i32>> = match self.source {
            Source::All => Vec::new(),
            _ => rows.iter().map(|row| row.iter().map(|&unit| unit as i32).collect()).collect(),
        };
        map_groups(self.draws.div_ceil(PART), interrupt, |part| {
            let mut fold = start();
            let range = part * PART..self.draws.min((part + 1) * PART);
            let (address, members) = match self.source {
                Source::All => {
                    enumerate(rows, range, &mut fold);
                    return Ok(fold);
                }
                Source::Flips(address) => (address, None),
                Source::Subsets(address, m) => (address, Some(m)),
            };
            let address = Address { replicate: part as u64, ..address };
            dispatch!(level, simd => self.sample(simd, address, members, &narrow, range, &mut fold, interrupt))?;
            Ok(fold)
        })
    }

    #[inline(always)]
    fn sample<S: Simd>(
        &self,
        simd: S,
        address: Address,
        members: Option<usize>,
        rows: &[Vec<i32>],
        range: std::ops::Range<usize>,
        fold: &mut impl Fold,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let mut words = Words::new(simd, address);
        let mut bits = vec![[0_u32; LANES]; self.n.div_ceil(WORD)];
        let mut sums = vec![[0_i64; LANES]; rows.len()];
        for start in range.clone().step_by(LANES) {
            interrupt.check()?;
            match members {
                None => {
                    for word in &mut bits {
                        *word = words.step().into();
                    }
                }
                Some(m) => subset::fill(&mut words, &mut bits, self.n, m),
            }
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = selected(simd, row, &bits);
            }
            fold.block(&sums, LANES.min(range.end - start));
        }
        Ok(())
    }
}

/// Sum of the units whose bits are set, a lane a pattern.
///
/// Bits move to the sign from the highest down, so units are read backwards.
#[inline(always)]
fn selected<S: Simd>(simd: S, units: &[i32], bits: &[[u32; LANES]]) -> Sums {
    let zero = i32x16::splat(simd, 0);
    let mut total = [0_i64; LANES];
    let mut add = |sum: i32x16<S>| {
        for (total, sum) in total.iter_mut().zip(<[i32; LANES]>::from(sum)) {
            *total += i64::from(sum);
        }
    };
    let (whole, rest) = units.as_chunks::<WORD>();
    for (units, word) in whole.iter().zip(bits) {
        let mut word: i32x16<S> = u32x16::simd_from(simd, *word).bitcast();
        let mut sum = zero;
        for &unit in units.iter().rev() {
            sum += word.simd_lt(zero).select(i32x16::splat(simd, unit), zero);
            word <<= 1;
        }
        add(sum);
    }
    if let (false, Some(word)) = (rest.is_empty(), bits.get(whole.len())) {
        let mut word: i32x16<S> = u32x16::simd_from(simd, *word).bitcast();
        word <<= (WORD - rest.len()) as u32;
        let mut sum = zero;
        for &unit in rest.iter().rev() {
            sum += word.simd_lt(zero).select(i32x16::splat(simd, unit), zero);
            word <<= 1;
        }
        add(sum);
    }
    total
}

fn enumerate(rows: &[Vec<i64>], range: std::ops::Range<usize>, fold: &mut impl Fold) {
    for start in range.clone().step_by(LANES) {
        let sums: Vec<Sums> = rows
            .iter()
            .map(|row| {
                let mut sums = [0; LANES];
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let pattern = start + lane;
                    *sum = row.iter().enumerate().map(|(j, unit)| unit * (pattern >> j & 1) as i64).sum();
                }
                sums
            })
            .collect();
        fold.block(&sums, LANES.min(range.end - start));
    }
}

mod subset {
    //! Uniform subsets of a size: each instance with about the right chance, then put right at random places.
    //!
    //! Instances that are in or out independently of each other, with one chance, make a uniform set given its size;
    //! a uniform one of those inside (outside), taken out (put in), leaves a uniform set of one less (more).

    use fearless_simd::Simd;

    use super::{LANES, WORD};
    use crate::random::wide::{Bound, Words};

    /// Binary digits of the chance that an instance starts inside.
    const DIGITS: u32 = 8;

    /// Sets `m` of `n` bits in each lane.
    ///
    /// The chance is floor(256 m / n) / 256: a bit of chance p and a fair one have (1 + p) / 2 in their union and p / 2
    /// in what they share, so digits from the last that is 1 to the first take a word each.
    #[inline(always)]
    pub(super) fn fill<S: Simd>(words: &mut Words<S>, bits: &mut [[u32; LANES]], n: usize, m: usize) {
        let chance = ((m << DIGITS) / n.max(1)) as u32;
        for word in bits.iter_mut() {
            *word = [0; LANES];
            for digit in chance.trailing_zeros()..DIGITS {
                let fair: [u32; LANES] = words.step().into();
                for (bits, fair) in word.iter_mut().zip(fair) {
                    *bits = if chance >> digit & 1 == 1 { *bits | fair } else { *bits & fair };
                }
            }
        }
        if let (true, Some(last)) = (!n.is_multiple_of(WORD), bits.last_mut()) {
            for word in last {
                *word &= (1 << (n % WORD)) - 1;
            }
        }
        let bound = Bound::new(u32::try_from(n).unwrap_or(u32::MAX));
        for lane in 0..LANES {
            let mut count: usize = bits.iter().map(|word| word[lane].count_ones() as usize).sum();
            while count != m {
                let place = words.below(bound) as usize;
                let Some(word) = bits.get_mut(place / WORD) else { continue };
                let bit = 1 << (place % WORD);
                if (word[lane] & bit == 0) == (count < m) {
                    word[lane] ^= bit;
                    count = if count < m { count + 1 } else { count - 1 };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::wide::tests::levels;

    /// Every sum of every pattern.
    #[derive(Debug, Default, PartialEq)]
    struct Kept(Vec<Vec<i64>>);

    impl Fold for Kept {
        fn block(&mut self, sums: &[Sums], live: usize) {
            self.0.extend((0..live).map(|lane| sums.iter().map(|row| row[lane]).collect()));
        }
    }

    const ADDRESS: Address = Address { rng_seed: 1, purpose: 5, replicate: 0, unit: 9 };

    #[test]
    fn sums_are_the_same_at_every_level_and_as_added_one_by_one() {
        for n in [1, 31, 32, 33, 100] {
            let largest = (1_i64 << 26) - 1;
            let rows = vec![vec![largest; n], (0..n as i64).map(|i| i * i - 40).collect(), vec![-largest; n]];
            for plan in [Plan::flips(n, 300, ADDRESS), Plan::subsets(n, n / 2, 300, ADDRESS)] {
                let expected = plan.run_at(Level::baseline(), &rows, Kept::default, &Interrupt::new());
                for level in levels() {
                    assert_eq!(plan.run_at(level, &rows, Kept::default, &Interrupt::new()), expected, "{level:?}");
                }
                let kept: Vec<Vec<i64>> = expected.unwrap_or_default().into_iter().flat_map(|part| part.0).collect();
                assert_eq!(kept.len(), 300);
                assert!(kept.iter().all(|sums| sums[0] % largest == 0 && sums[0] == -sums[2]));
                if matches!(plan.source, Source::Subsets(..)) {
                    assert!(kept.iter().all(|sums| sums[0] == (n / 2) as i64 * largest));
                }
            }
        }
    }

    #[test]
    fn all_patterns_are_all_patterns() {
        let kept: Vec<Kept> = Plan::all(3, 8)
            .and_then(|plan| plan.run(&[vec![1, 2, 4]], Kept::default, &Interrupt::new()).ok())
            .unwrap_or_default();
        assert_eq!(kept, [Kept((0..8).map(|sum| vec![sum]).collect())]);
        assert!(Plan::all(3, 7).is_none());
        assert!(Plan::all(200, usize::MAX).is_none());
    }

    #[test]
    fn subsets_are_uniform() {
        for m in [1, 2, 3, 4] {
            let plan = Plan::subsets(6, m, 20_000, ADDRESS);
            let rows = [(0..6).map(|i| 1 << i).collect()];
            let kept = plan.run(&rows, Kept::default, &Interrupt::new()).unwrap_or_default();
            let mut counts = [0_u32; 64];
            kept.iter().flat_map(|part| &part.0).for_each(|sums| counts[sums[0] as usize] += 1);
            let sets: Vec<u32> = counts.into_iter().filter(|&count| count > 0).collect();
            let expected = 20_000.0 / sets.len() as f64;
            assert_eq!(sets.len(), [6, 15, 20, 15][m - 1]);
            assert!(sets.iter().all(|&count| (f64::from(count) - expected).abs() < 5.0 * expected.sqrt()));
        }
    }
}
