//! Repeated sampling: what k tries at an item are worth, from n samples of which c are right.
//!
//! unbiased, any:  1 - C(n-c, k) / C(n, k)   (Chen et al. 2021, arXiv 2107.03374, equation 1); NaN where n < k
//! unbiased, all:  C(c, k) / C(n, k)         (Yao et al. 2024, arXiv 2406.12045: pass^k)
//! plug-in:        1 - (1 - c/n)^k and (c/n)^k; NaN where n = 0
//! compat, any:    as unbiased, but 1 wherever n - c < k, also where n < k: what published code returns
//!
//! Both ratios of binomials are one function, which is symmetric: with m = min(a, k) and M = max(a, k),
//!   C(n-a, k) / C(n, k) = prod_{j < m} (n - M - j) / (n - j),
//! m factors of whole numbers, each below 1, so that nothing overflows and errors stay at m roundings. The product stops
//! where it has become 0, after at most about sqrt(708 n) factors: 27,000 for n of a million.
//! Where many items share few n, the values of all c are worked out once for each n and k, by the same function: the
//! bits do not depend on it. samples -> one byte each: 0, 1, or 255 for one that is missing.
//! n, c, k -> n, c, tries; cost O(items) with tables, else O(items min(c, k)). Twin: python/signoise/reference/_sampling.py

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, for_each_group, map_groups};

/// Items of one task.
const BLOCK: usize = 1 << 14;
/// Items whose places in the tables are worked out together.
const TOGETHER: usize = 1 << 10;
/// Tables are for numbers of samples up to this.
const LARGEST_TABLE: usize = 1 << 20;
/// Samples in a word.
const LANES: usize = 8;
/// The lowest bit of every byte of a word.
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
/// Ones that a byte can hold.
const MOST_IN_BYTE: usize = 255;
/// A sample that is missing.
const MISSING: u8 = 255;

/// How the probability that k tries succeed is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimator {
    /// Over all subsets of k samples.
    Unbiased,
    /// From the share of right samples.
    PlugIn,
    /// Unbiased, and 1 where fewer than k samples are wrong.
    Compat,
}

/// When k tries succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// One of them is right.
    Any,
    /// All of them are right.
    All,
}

/// An estimator by its name, with what counts as success.
///
/// # Errors
/// [`Error::Unknown`] for names in no table; [`Error::Argument`] for `compat` of `all`, which nobody published.
pub fn estimate_of(estimator: &str, success: &str) -> Result<(Estimator, Success)> {
    let unknown = |name, found: &str, known: &str| Error::Unknown { name, found: found.into(), known: known.into() };
    let success = match success {
        "any" => Success::Any,
        "all" => Success::All,
        other => return Err(unknown("success", other, "any, all")),
    };
    match estimator {
        "unbiased" => Ok((Estimator::Unbiased, success)),
        "plug_in" => Ok((Estimator::PlugIn, success)),
        "compat" if success == Success::Any => Ok((Estimator::Compat, success)),
        "compat" => Err(Error::Argument {
            name: "estimator",
            expected: "unbiased or plug_in with success=all",
            found: "compat".into(),
        }),
        other => Err(unknown("estimator", other, "unbiased, plug_in, compat")),
    }
}

/// Samples of each item, and right ones among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SampleCounts {
    /// Samples that are there.
    pub n: Vec<u32>,
    /// Right ones.
    pub c: Vec<u32>,
}

/// C(n-a, k) / C(n, k): the chance that k of n samples hold none of a.
fn none_of(n: u32, a: u32, k: u32) -> f64 {
    let (few, many) = (a.min(k), a.max(k));
    let Some(rest) = n.checked_sub(many).filter(|&rest| rest >= few) else {
        return 0.0;
    };
    let mut product = 1.0;
    for j in 0..few {
        product *= f64::from(rest - j) / f64::from(n - j);
        if product == 0.0 {
            break;
        }
    }
    product
}

/// x^k by squaring: the same bits on every machine.
fn power(x: f64, k: u32) -> f64 {
    let (mut result, mut square, mut left) = (1.0, x, k);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}

/// The estimate of one item, 0 <= c <= n.
fn estimate(n: u32, c: u32, k: u32, estimator: Estimator, success: Success) -> f64 {
    let wrong = n - c;
    match (estimator, success) {
        (Estimator::PlugIn, _) if n == 0 => f64::NAN,
        (Estimator::PlugIn, Success::All) => power(f64::from(c) / f64::from(n), k),
        (Estimator::PlugIn, Success::Any) if k > 1 => 1.0 - power(f64::from(wrong) / f64::from(n), k),
        (Estimator::Compat, _) if wrong < k => 1.0,
        (Estimator::Unbiased, _) if n < k => f64::NAN,
        (_, Success::All) => none_of(n, wrong, k),
        // A share as it is, without the rounding of two differences.
        (_, Success::Any) if k == 1 => f64::from(c) / f64::from(n),
        (_, Success::Any) if c == 1 => f64::from(k) / f64::from(n),
        (_, Success::Any) => 1.0 - none_of(n, c, k),
    }
}

/// Estimates for every c, of the numbers of samples that occur.
struct Tables {
    /// Where the tables of each n start; only of those that occur.
    starts: Vec<u32>,
    /// Tables of all n one after the other, for each k.
    values: Vec<Vec<f64>>,
}

impl Tables {
    /// None where tables would have more entries than there are items.
    fn new<F>(n: &[u32], tries: &[u32], f: F, interrupt: &Interrupt) -> Result<Option<Self>>
    where
        F: Fn(u32, u32, u32) -> f64 + Sync + Send,
    {
        let largest = n.iter().copied().max().unwrap_or(0) as usize;
        if largest > LARGEST_TABLE || largest >= n.len() {
            return Ok(None);
        }
        let mut occurs = vec![false; largest + 1];
        for &n in n {
            if let Some(place) = occurs.get_mut(n as usize) {
                *place = true;
            }
        }
        let known: Vec<u32> = (0..).zip(&occurs).filter(|&(_, &occurs)| occurs).map(|(n, _)| n).collect();
        let size: u64 = known.iter().map(|&n| u64::from(n) + 1).sum();
        if size > n.len() as u64 {
            return Ok(None);
        }
        let mut starts = vec![0; occurs.len()];
        let mut end = 0;
        for &n in &known {
            if let Some(start) = starts.get_mut(n as usize) {
                *start = end;
            }
            end += n + 1;
        }
        let values = map_groups(tries.len(), interrupt, |row| {
            let k = tries.get(row).copied().unwrap_or(1);
            Ok(known.iter().flat_map(|&n| (0..=n).map(move |c| (n, c))).map(|(n, c)| f(n, c, k)).collect())
        })?;
        Ok(Some(Self { starts, values }))
    }

    /// Where the entries of some items are in the tables.
    fn places(&self, n: &[u32], c: &[u32], places: &mut Vec<u32>) {
        places.clear();
        places.extend(n.iter().zip(c).map(|(&n, &c)| self.starts.get(n as usize).copied().unwrap_or(0) + c));
    }
}

/// Where the results of consecutive items go: a slice for each k.
struct Task<'a> {
    n: &'a [u32],
    c: &'a [u32],
    out: Vec<&'a mut [f64]>,
}

/// Probability that k tries at each item succeed: a row of items for each k, NaN where it is undefined.
///
/// # Errors
/// Lengths that differ, more right samples than samples, k of 0, or an interrupt.
pub fn pass_probabilities(
    n: &[u32],
    c: &[u32],
    tries: &[u32],
    (estimator, success): (Estimator, Success),
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    check_len("c", c.len(), n.len())?;
    if tries.contains(&0) {
        return Err(Error::Argument { name: "k", expected: "at least 1", found: "0".into() });
    }
    let one = |n, c, k| estimate(n, c, k, estimator, success);
    let tables = Tables::new(n, tries, one, interrupt)?;
    let mut found = vec![0.0; n.len() * tries.len()];
    let mut rows: Vec<_> = found.chunks_mut(n.len().max(1)).map(|row| row.chunks_mut(BLOCK)).collect();
    let blocks = n.chunks(BLOCK).zip(c.chunks(BLOCK));
    let tasks: Vec<_> =
        blocks.map(|(n, c)| Task { n, c, out: rows.iter_mut().filter_map(Iterator::next).collect() }).collect();
    let wrong = AtomicBool::new(false);
    for_each_group(tasks.into_iter(), interrupt, |task| {
        let Task { n, c, out } = task;
        if n.iter().zip(c).any(|(n, c)| c > n) {
            wrong.store(true, Ordering::Relaxed);
            return;
        }
        match &tables {
            Some(tables) => look_up(tables, n, c, out),
            None => {
                for (row, &k) in out.into_iter().zip(tries) {
                    for (value, (&n, &c)) in row.iter_mut().zip(n.iter().zip(c)) {
                        *value = one(n, c, k);
                    }
                }
            }
        }
    })?;
    if wrong.into_inner()
        && let Some((n, c)) = n.iter().zip(c).find(|(n, c)| c > n)
    {
        return Err(Error::Argument { name: "c", expected: "at most n", found: format!("{c} of {n}") });
    }
    Ok(found)
}

fn look_up(tables: &Tables, n: &[u32], c: &[u32], mut out: Vec<&mut [f64]>) {
    let mut places = Vec::with_capacity(TOGETHER);
    for (n, c) in n.chunks(TOGETHER).zip(c.chunks(TOGETHER)) {
        tables.places(n, c, &mut places);
        for (row, table) in out.iter_mut().zip(&tables.values) {
            let part = row.split_off_mut(..n.len()).unwrap_or_default();
            for (value, &place) in part.iter_mut().zip(&places) {
                *value = table.get(place as usize).copied().unwrap_or(f64::NAN);
            }
        }
    }
}

/// A sample as one byte.
pub trait Byte: Copy + Sync {
    /// 0 or 1, or 255 for a sample that is missing.
    fn byte(self) -> u8;
}

impl Byte for u8 {
    #[inline(always)]
    fn byte(self) -> u8 {
        self
    }
}

impl Byte for bool {
    #[inline(always)]
    fn byte(self) -> u8 {
        u8::from(self)
    }
}

/// How many samples of each item (a row of `width`) are there, and how many of them are right.
///
/// # Errors
/// A length that is no multiple of the width, a width beyond 32 bits, a byte that is none of 0, 1 and 255, or an
/// interrupt.
pub fn sample_counts<T: Byte>(
    samples: &[T],
    items: usize,
    width: usize,
    interrupt: &Interrupt,
) -> Result<SampleCounts> {
    let argument = |name, expected, found| Error::Argument { name, expected, found };
    check_len("samples", samples.len(), items.saturating_mul(width))?;
    let Ok(all) = u32::try_from(width) else {
        return Err(argument("samples", "of fewer than 2^32 columns", width.to_string()));
    };
    let mut found = SampleCounts { n: vec![all; items], c: vec![0; items] };
    if width == 0 {
        return Ok(found);
    }
    let rows = (BLOCK * LANES / width).max(1);
    let blocks = samples.chunks(rows * width).zip(found.n.chunks_mut(rows).zip(found.c.chunks_mut(rows)));
    let wrong = AtomicBool::new(false);
    for_each_group(blocks, interrupt, |(block, (n, c))| {
        for (row, (n, c)) in block.chunks_exact(width).zip(n.iter_mut().zip(c)) {
            if let Some(ones) = ones_of(row) {
                *c = ones;
            } else if let Some(missing) = count_with_gaps(row, c) {
                *n -= missing;
            } else {
                wrong.store(true, Ordering::Relaxed);
            }
        }
    })?;
    if wrong.into_inner() {
        let first = samples.iter().map(|sample| sample.byte()).find(|&byte| byte > 1 && byte != MISSING);
        let found = first.map_or_else(String::new, |byte| byte.to_string());
        return Err(argument("samples", "0, 1, or 255 where one is missing", found));
    }
    Ok(found)
}

/// Ones of a row that holds nothing but 0 and 1; None for any other.
#[inline(always)]
fn ones_of<T: Byte>(row: &[T]) -> Option<u32> {
    let (words, rest) = row.as_chunks::<LANES>();
    let (mut ones, mut seen) = (0, 0);
    for words in words.chunks(MOST_IN_BYTE) {
        // Eight counts side by side, each in a byte of its own.
        let mut counts = 0_u64;
        for word in words {
            let word = u64::from_le_bytes(word.map(Byte::byte));
            seen |= word;
            counts = counts.wrapping_add(word);
        }
        ones += counts.to_le_bytes().iter().map(|&count| u32::from(count)).sum::<u32>();
    }
    let mut last = 0_u8;
    for &sample in rest {
        last |= sample.byte();
        ones += u32::from(sample.byte());
    }
    (seen & !LOW_BITS == 0 && last <= 1).then_some(ones)
}

/// Missing samples of a row, whose ones go to `ones`; None where it holds another byte.
#[inline(always)]
fn count_with_gaps<T: Byte>(row: &[T], ones: &mut u32) -> Option<u32> {
    let (mut missing, mut others) = (0, false);
    for part in row.chunks(MOST_IN_BYTE) {
        // Counts that fit a byte, so that many bytes are compared at once.
        let count = |byte| part.iter().fold(0_u8, |count, sample| count + u8::from(sample.byte() == byte));
        let (zeros, right, gaps) = (count(0), count(1), count(MISSING));
        *ones += u32::from(right);
        missing += u32::from(gaps);
        others |= usize::from(zeros) + usize::from(right) + usize::from(gaps) != part.len();
    }
    (!others).then_some(missing)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn one(n: u32, c: u32, k: u32, estimator: &str, success: &str) -> f64 {
        let how = estimate_of(estimator, success).unwrap();
        pass_probabilities(&[n], &[c], &[k], how, &Interrupt::new()).unwrap()[0]
    }

    #[test]
    fn a_worked_example() {
        assert!((one(10, 3, 5, "unbiased", "any") - 11.0 / 12.0).abs() < 1e-15);
        assert!((one(10, 3, 2, "unbiased", "all") - 3.0 / 45.0).abs() < 1e-15);
        assert!((one(10, 3, 2, "plug_in", "any") - 0.51).abs() < 1e-15);
        assert!((one(10, 3, 2, "plug_in", "all") - 0.09).abs() < 1e-15);
        assert!((one(1_000_000, 500_000, 3, "unbiased", "any") - 0.875).abs() < 1e-6);
    }

    #[test]
    fn beyond_the_samples() {
        assert!(one(4, 2, 5, "unbiased", "any").is_nan());
        assert!(one(4, 4, 5, "unbiased", "all").is_nan());
        assert_eq!(one(1, 0, 5, "compat", "any"), 1.0);
        assert_eq!(one(5, 3, 3, "unbiased", "any"), 1.0);
        assert_eq!(one(5, 2, 3, "unbiased", "all"), 0.0);
        assert!(one(0, 0, 1, "plug_in", "any").is_nan());
    }

    #[test]
    fn tables_have_the_bits_of_single_items() {
        let (n, c): (Vec<u32>, Vec<u32>) = (0..5000).map(|i| (20 + 7 * (i % 5), i % 20)).unzip();
        let how = estimate_of("unbiased", "any").unwrap();
        let many = pass_probabilities(&n, &c, &[1, 7, 30], how, &Interrupt::new()).unwrap();
        for (at, (&n, &c)) in n.iter().zip(&c).enumerate() {
            for (row, k) in [1, 7, 30].into_iter().enumerate() {
                assert_eq!(many[row * 5000 + at].to_bits(), one(n, c, k, "unbiased", "any").to_bits(), "{n} {c} {k}");
            }
        }
    }

    #[test]
    fn counts_of_long_rows_with_gaps() {
        let width = 5003;
        let samples: Vec<u8> = (0..3 * width).map(|i| if i < 2 * width { 1 } else { [0, 1, 255][i % 3] }).collect();
        let found = sample_counts(&samples, 3, width, &Interrupt::new()).unwrap();
        assert_eq!(found.c[..2], [5003, 5003]);
        assert_eq!((found.n[2], found.c[2]), {
            let row = &samples[2 * width..];
            let count = |byte| row.iter().filter(|&&x| x == byte).count() as u32;
            (count(0) + count(1), count(1))
        });
        assert!(sample_counts(&[0_u8, 2], 1, 2, &Interrupt::new()).is_err());
        assert_eq!(sample_counts(&[true, false, true], 1, 3, &Interrupt::new()).unwrap().c, [2]);
    }

    #[test]
    fn misuse_is_an_error() {
        let how = (Estimator::Unbiased, Success::Any);
        assert!(pass_probabilities(&[3], &[4], &[1], how, &Interrupt::new()).is_err());
        assert!(pass_probabilities(&[3], &[2], &[0], how, &Interrupt::new()).is_err());
        assert!(pass_probabilities(&[3, 1], &[2], &[1], how, &Interrupt::new()).is_err());
        assert!(estimate_of("compat", "all").is_err());
        assert!(estimate_of("naive", "any").is_err());
    }
}
