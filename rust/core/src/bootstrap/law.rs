//! Replicates of 0/1 scores drawn from the law that they have, without instances.
//!
//! binomial:  the ones of a replicate are Binomial(n, ones / n); the value is their share.
//! trinomial: of n instances with two 0/1 scores, `up` have the first alone, `down` the second alone. The difference of
//!   the shares is (u - v) / n; u + v is Binomial(n, (up + down) / n), and u given u + v = m is
//!   Binomial(m, up / (up + down)): P(u - v = t) is the sum over m of their products.
//! Binomial(n, a / (a + b)): from the most likely count outwards by p_{k+1} / p_k = (n - k) / (k + 1) * a / b as far as
//!   they count in 64 bits, divided by their sum. A value is where 64 uniform bits fall among 2^64 times the sums of the
//!   probabilities. Basic operations alone: the same table on every machine. Draw r takes 64 bits, the (r mod 1024)-th of
//!   the stream (rng_seed, BOOTSTRAP_LAW, r / 1024, units[g]).
//! Cost: O(sqrt n) for a binomial table, O(n) for a trinomial one, O(1) a replicate.

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
    if let Some((ones, n)) = ones.iter().zip(n).find(|(ones, n)| ones > n) {
        return Err(Error::Argument { name: "ones", expected: "at most n", found: format!("{ones} of {n}") });
    }
    let tables = map_groups(ones.len(), interrupt, |group| {
        let (ones, n) = (at(ones, group), at(n, group));
        Ok(Table::new(&Binomial::new(n, ones, n - ones).into(), n))
    })?;
    draws(&tables, units, n_resamples, rng_seed, interrupt)
}

/// Replicates of the difference `(up - down) / n` of each group, group by group; NaN for a group of nothing.
///
/// # Errors
/// Arrays that do not fit, more that differ than instances, or an interrupt.
pub fn bootstrap_trinomial(
    up: &[u64],
    down: &[u64],
    n: &[u64],
    units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    check_len("down", down.len(), up.len())?;
    check_len("n", n.len(), up.len())?;
    for ((&up, &down), &n) in up.iter().zip(down).zip(n) {
        if up.checked_add(down).is_none_or(|differ| differ > n) {
            let found = format!("{up} + {down} of {n}");
            return Err(Error::Argument { name: "up + down", expected: "at most n", found });
        }
    }
    let tables = map_groups(up.len(), interrupt, |group| {
        let (up, down, n) = (at(up, group), at(down, group), at(n, group));
        Ok(Table::new(&Law::difference(n, up, down, interrupt)?, n))
    })?;
    draws(&tables, units, n_resamples, rng_seed, interrupt)
}

fn at(values: &[u64], group: usize) -> u64 {
    values.get(group).copied().unwrap_or(0)
}

fn draws(
    tables: &[Table],
    units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    check_len("units", units.len(), tables.len())?;
    let level = Level::new();
    let blocks = n_resamples.div_ceil(BLOCK);
    let parts = map_groups(tables.len() * blocks, interrupt, |part| {
        let (group, block) = (part / blocks, part % blocks);
        let Some(table) = tables.get(group) else { return Ok(Vec::new()) };
        let unit = at(units, group);
        let address = Address { rng_seed, purpose: purpose::BOOTSTRAP_LAW, replicate: block as u64, unit };
        let number = (n_resamples - block * BLOCK).min(BLOCK);
        Ok(dispatch!(level, simd => table.draw(simd, address, number)))
    })?;
    Ok(parts.concat())
}

/// Probabilities of counts, from the smallest that has one in 64 bits.
struct Binomial {
    first: u64,
    probabilities: Vec<f64>,
}

impl Binomial {
    /// Of n trials with odds a to b.
    fn new(n: u64, a: u64, b: u64) -> Self {
        let all = u128::from(a) + u128::from(b);
        let middle = (u128::from(n) + 1) * u128::from(a) / all.max(1);
        let middle = middle.min(u128::from(n)) as u64;
        let odds = a as f64 / b as f64; // infinite where there is no b: then nothing lies below or above
        let (mut below, mut above) = (Vec::new(), vec![1.0]);
        let (mut k, mut p) = (middle, 1.0);
        while k > 0 && b > 0 {
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
        let mut probabilities: Vec<f64> = below.into_iter().rev().chain(above).collect();
        let sum = probabilities.iter().fold(0.0, |sum, p| sum + p);
        probabilities.iter_mut().for_each(|p| *p /= sum);
        Self { first, probabilities }
    }
}

/// Probabilities of consecutive integers.
struct Law {
    first: i64,
    probabilities: Vec<f64>,
}

impl From<Binomial> for Law {
    fn from(binomial: Binomial) -> Self {
        Self { first: binomial.first as i64, probabilities: binomial.probabilities }
    }
}

impl Law {
    /// Of u - v.
    fn difference(n: u64, up: u64, down: u64, interrupt: &Interrupt) -> Result<Self> {
        let differ = Binomial::new(n, up + down, n - up - down);
        let most = differ.first + differ.probabilities.len() as u64 - 1;
        let mut probabilities = vec![0.0; 2 * most as usize + 1];
        for (m, outer) in (differ.first..).zip(&differ.probabilities) {
            interrupt.check()?;
            let first = Binomial::new(m, up, down);
            for (u, inner) in (first.first..).zip(&first.probabilities) {
                // t = u - v = 2 u - m, counted from -most
                if let Some(place) = probabilities.get_mut((2 * u + most - m) as usize) {
                    *place += outer * inner;
                }
            }
        }
        Ok(Self { first: -(most as i64), probabilities })
    }
}

/// Sums of probabilities in 64 bits, and the values they stand for.
struct Table {
    first: i64,
    n: u64,
    /// Draws below entry i, and not below the one before, are `first + i`.
    sums: Vec<u64>,
    /// First entry above each value of the leading bits.
    guide: Vec<usize>,
}

impl Table {
    fn new(law: &Law, n: u64) -> Self {
        let mut sums = Vec::with_capacity(law.probabilities.len());
        let mut sum = 0.0;
        for p in &law.probabilities {
            sum += p;
            sums.push(sum);
        }
        let sums: Vec<u64> = sums.iter().map(|part| (part / sum * 2.0_f64.powi(64)) as u64).collect();
        let guide = (0..1_u64 << GUIDE_BITS).map(|top| sums.partition_point(|&s| s <= top << (64 - GUIDE_BITS)));
        Self { first: law.first, n, guide: guide.collect(), sums }
    }

    #[inline(always)]
    fn draw<S: Simd>(&self, simd: S, address: Address, number: usize) -> Vec<f64> {
        let mut words = Words::new(simd, address);
        let mut values = Vec::with_capacity(number);
        for _ in 0..number {
            let bits = words.double_word();
            let mut entry = self.guide.get((bits >> (64 - GUIDE_BITS)) as usize).copied().unwrap_or(0);
            while self.sums.get(entry).is_some_and(|&sum| sum <= bits) {
                entry += 1;
            }
            let count = self.first + entry.min(self.sums.len() - 1) as i64;
            // 0 / 0 is the NaN of a group of nothing.
            values.push(count as f64 / self.n as f64);
        }
        values
    }
}
