//! Replicates of a share of ones, drawn from the law that they have: the ones of a replicate are Binomial(n, ones / n).
//!
//! p_k from the most likely count outwards by p_{k+1} / p_k = (n - k) / (k + 1) * ones / (n - ones), as far as they count
//! in 64 bits, divided by their sum; a count is where 64 uniform bits fall among 2^64 times the sums of the p_k. Basic
//! operations alone: the same table on every machine. Draw r takes 64 bits, the (r mod 1024)-th of the stream (rng_seed,
//! BOOTSTRAP_LAW, r / 1024, units[g]). Cost: O(sqrt n) for the table, O(1) a replicate.

use fearless_simd::{Level, Simd, dispatch};

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, map_groups};
use crate::random::{
    purpose,
    wide::{Address, Words},
};

/// Replicates that share a stream; part of the reproducible result.
const BLOCK: usize = 1024;
/// Probabilities below this share of the largest do not count in 64 bits.
const NEGLIGIBLE: f64 = 1e-24;
/// Leading bits by which the search for a draw begins.
const GUIDE_BITS: u32 = 10;

/// Replicates of the share `ones / n` of each group, group by group; NaN for a group of nothing.
///
/// # Errors
/// Arrays that do not fit, more ones than instances, or an interrupt.
pub fn bootstrap_binomial(
    ones: &[u64],
    n: &[u64],
    units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    check_len("n", n.len(), ones.len())?;
    check_len("units", units.len(), ones.len())?;
    if let Some((ones, n)) = ones.iter().zip(n).find(|(ones, n)| ones > n) {
        return Err(Error::Argument { name: "ones", expected: "at most n", found: format!("{ones} of {n}") });
    }
    let tables = ones.iter().zip(n).map(|(&ones, &n)| Table::new(ones, n)).collect::<Vec<_>>();
    let level = Level::new();
    let blocks = n_resamples.div_ceil(BLOCK);
    let parts = map_groups(ones.len() * blocks, interrupt, |part| {
        let (group, block) = (part / blocks, part % blocks);
        let (Some(table), Some(&n), Some(&unit)) = (tables.get(group), n.get(group), units.get(group)) else {
            return Ok(Vec::new());
        };
        let address = Address { rng_seed, purpose: purpose::BOOTSTRAP_LAW, replicate: block as u64, unit };
        let number = (n_resamples - block * BLOCK).min(BLOCK);
        Ok(dispatch!(level, simd => shares(simd, address, table, n, number)))
    })?;
    Ok(parts.concat())
}

#[inline(always)]
fn shares<S: Simd>(simd: S, address: Address, table: &Table, n: u64, number: usize) -> Vec<f64> {
    let mut words = Words::new(simd, address);
    let mut shares = Vec::with_capacity(number);
    for _ in 0..number {
        // 0 / 0 is the NaN of a group of nothing.
        shares.push(table.count(words.double_word()) as f64 / n as f64);
    }
    shares
}

/// Sums of probabilities in 64 bits.
struct Table {
    first: u64,
    /// Draws below entry i, and not below the one before, are `first + i`.
    sums: Vec<u64>,
    /// First entry above each value of the leading bits.
    guide: Vec<usize>,
}

impl Table {
    fn new(ones: u64, n: u64) -> Self {
        let middle = (u128::from(n + 1) * u128::from(ones) / u128::from(n.max(1))).min(u128::from(n)) as u64;
        let odds = ones as f64 / (n - ones) as f64; // infinite where all are ones: then nothing lies above
        let (mut below, mut above) = (Vec::new(), vec![1.0]);
        let (mut k, mut p) = (middle, 1.0);
        while k > 0 && ones < n {
            p *= k as f64 / ((n - k + 1) as f64 * odds);
            k -= 1;
            if p < NEGLIGIBLE {
                break;
            }
            below.push(p);
        }
        let first = middle - below.len() as u64;
        (k, p) = (middle, 1.0);
        while k < n {
            p *= (n - k) as f64 / (k + 1) as f64 * odds;
            k += 1;
            if p < NEGLIGIBLE {
                break;
            }
            above.push(p);
        }
        let mut sum = 0.0;
        let sums: Vec<f64> = below
            .iter()
            .rev()
            .chain(&above)
            .map(|p| {
                sum += p;
                sum
            })
            .collect();
        let sums: Vec<u64> = sums.iter().map(|part| (part / sum * 2.0_f64.powi(64)) as u64).collect();
        let guide = (0..1_u64 << GUIDE_BITS).map(|top| sums.partition_point(|&s| s <= top << (64 - GUIDE_BITS)));
        Self { first, guide: guide.collect(), sums }
    }

    #[inline(always)]
    fn count(&self, bits: u64) -> u64 {
        let mut entry = self.guide.get((bits >> (64 - GUIDE_BITS)) as usize).copied().unwrap_or(0);
        while self.sums.get(entry).is_some_and(|&sum| sum <= bits) {
            entry += 1;
        }
        self.first + entry.min(self.sums.len() - 1) as u64
    }
}
