//! Unpaired test: under the null any values could have been the first group's.

use super::closed_form::{draws_without_replacement, one_magnitude};
use super::draws::{Extreme, Fold, Plan};
use super::fixed::{ENUMERATED_BITS, Fixed, SAMPLED_BITS, slack};
use super::{Method, Test, Tests, check_resamples, ratio};
use crate::error::Result;
use crate::parallel::{Interrupt, Segments, check_len, map_groups};
use crate::random::{purpose, wide::Address};

/// |mean a - mean b| of each group against that of random splits of all its values into groups of the same sizes.
///
/// With m of n values in the smaller group, S their sum and W that of all, the statistic is |n S - m W| / (m (n - m)).
/// Two distinct values: S is hypergeometric. At most `n_resamples` splits: all of them. `units`: addresses of the draws.
/// z = (mean a - mean b) / sqrt(s^2 (1/n_a + 1/n_b)), s^2 the variance of all values with n - 1.
///
/// # Errors
/// Bad offsets, arrays of unequal length, `n_resamples == 0`, or an interrupt.
pub fn label_permutation_test(
    a: &[f64],
    a_offsets: &[usize],
    b: &[f64],
    b_offsets: &[usize],
    units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Tests> {
    let (firsts, seconds) = (Segments::new(a_offsets, a.len())?, Segments::new(b_offsets, b.len())?);
    check_len("b_offsets", b_offsets.len(), a_offsets.len())?;
    check_len("units", units.len(), firsts.len())?;
    check_resamples(n_resamples)?;
    let tests = map_groups(firsts.len(), interrupt, |group| {
        let unit = units.get(group).copied().unwrap_or_default();
        let address = Address { rng_seed, purpose: purpose::LABEL_PERMUTATION, replicate: 0, unit };
        test(firsts.slice(a, group), seconds.slice(b, group), n_resamples, address, interrupt)
    })?;
    Ok(tests.into_iter().collect())
}

fn test(a: &[f64], b: &[f64], n_resamples: usize, address: Address, interrupt: &Interrupt) -> Result<Test> {
    let mut values = [a, b].concat();
    if a.is_empty() || b.is_empty() || values.iter().any(|x| !x.is_finite()) {
        return Ok(Test::closed(f64::NAN, f64::NAN, f64::NAN));
    }
    let (n, m) = (values.len(), a.len().min(b.len()));
    let statistic = mean(a) - mean(b);
    let centre = mean(&values);
    let variance = values.iter().map(|x| (x - centre) * (x - centre)).sum::<f64>() / (n - 1) as f64;
    let z = ratio(statistic, (variance * (1.0 / a.len() as f64 + 1.0 / b.len() as f64)).sqrt());
    // From the middle of the range: smaller integers, same differences.
    let (least, most) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), &x| (l.min(x), m.max(x)));
    let middle = least / 2.0 + most / 2.0;
    values.iter_mut().for_each(|x| *x -= middle);
    let zeros = values.iter().filter(|&&x| x == 0.0).count();
    if one_magnitude(&values) && (zeros == 0 || zeros == n) {
        let ones = |values: &[f64]| values.iter().filter(|&&x| x > 0.0).count();
        let in_a = ones(values.get(..a.len()).unwrap_or(&[]));
        return Ok(Test::closed(statistic, z, draws_without_replacement(in_a, a.len(), ones(&values), n)));
    }
    let splits = splits(n, m, n_resamples);
    let fixed = Fixed::new(&values, if splits.is_some() { ENUMERATED_BITS } else { SAMPLED_BITS });
    let sum = |units: &[i64]| units.iter().map(|&unit| i128::from(unit)).sum::<i128>();
    let (in_a, all) = fixed.units.split_at(a.len().min(n));
    let (in_a, all) = (sum(in_a), sum(in_a) + sum(all));
    let observed = n as i128 * in_a - a.len() as i128 * all;
    let weight = (n - m) as f64;
    let size = fixed.units.iter().map(|unit| unit.abs() as f64).sum::<f64>();
    let least = observed.abs() - slack(weight * fixed.error, weight * size) as i128;
    let mut extreme = Extreme { slope: n as i128, intercept: -(m as i128) * all, least, count: 0 };
    if let Some(splits) = splits {
        enumerate(&fixed.units, m, &mut extreme);
        return Ok(Test::counted(statistic, z, extreme.count, splits as u64, Method::Enumerated));
    }
    let parts = Plan::subsets(n, m, n_resamples, address).run(&[fixed.units], || extreme, interrupt)?;
    let count = parts.iter().map(|part| part.count).sum();
    Ok(Test::counted(statistic, z, count, n_resamples as u64, Method::Sampled))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// C(n, m), if at most `limit`.
fn splits(n: usize, m: usize, limit: usize) -> Option<usize> {
    let mut ways: usize = 1;
    for i in 1..=m {
        ways = ways.checked_mul(n - m + i)? / i;
        if ways > limit {
            return None;
        }
    }
    Some(ways)
}

/// Every subset of m, in lexical order of its members.
fn enumerate(units: &[i64], m: usize, extreme: &mut Extreme) {
    let n = units.len();
    let mut members: Vec<usize> = (0..m).collect();
    loop {
        let sum: i64 = members.iter().filter_map(|&i| units.get(i)).sum();
        extreme.block(&[[sum; 16]], 1);
        // The last member that can move on does, and those after it follow closely.
        let Some(place) = (0..m).rev().find(|&place| members[place] < n - m + place) else { return };
        let start = members[place] + 1;
        for (member, next) in members.iter_mut().skip(place).zip(start..) {
            *member = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(a: &[f64], b: &[f64], n_resamples: usize) -> Tests {
        label_permutation_test(a, &[0, a.len()], b, &[0, b.len()], &[3], n_resamples, 1, &Interrupt::new())
            .unwrap_or_default()
    }

    #[test]
    fn few_splits_are_enumerated() {
        let found = one(&[1.0, 2.0], &[4.0, 9.0, 5.0], 10);
        // Ten splits; {1, 2} is the lowest pair and {5, 9} lies 11 from the mean of pairs, {1, 2} 5.4.
        assert_eq!((found.draws[0], found.method[0], found.statistic[0]), (10, 1, -4.5));
        assert_eq!(found.extreme[0], 2);
        assert_eq!(one(&[4.0, 9.0, 5.0], &[1.0, 2.0], 10).p_value, found.p_value);
        assert_eq!(one(&[1.0, 2.0], &[4.0, 9.0, 5.0], 9).method, [2]);
    }

    #[test]
    fn two_values_have_a_closed_form() {
        let found = one(&[1.0, 1.0, 1.0, 0.0], &[0.0, 0.0, 1.0, 0.0], 10);
        assert!((found.p_value[0] - 34.0 / 70.0).abs() < 1e-15);
        assert_eq!(one(&[2.0], &[2.0, 2.0], 10).p_value, [1.0]);
        assert_eq!(one(&[1.0, 2.0], &[1.5, 2.0], 10).method, [1]);
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert!(one(&[], &[1.0], 10).p_value[0].is_nan());
        assert!(one(&[f64::INFINITY], &[1.0], 10).p_value[0].is_nan());
    }
}
