//! Paired test: signs of differences, or of their sums over clusters, are fair coins under the null.

use super::closed_form::{fair_coins, one_magnitude};
use super::draws::{Extreme, Plan};
use super::fixed::{ENUMERATED_BITS, Fixed, SAMPLED_BITS, slack};
use super::{Method, Test, Tests, check_resamples, ratio};
use crate::error::Result;
use crate::parallel::{Interrupt, Segments, check_len, map_groups};
use crate::random::{purpose, wide::Address};

/// |sum d| of each group against that under random signs: p = P(|sum s_i d_i| >= |sum d_i|), s_i = +-1.
///
/// `units`: the address of each group's flips; groups of one unit have the same. z = sum d / sqrt(sum d^2).
///
/// # Errors
/// Bad offsets, arrays of unequal length, `n_resamples == 0`, or an interrupt.
pub fn sign_flip_test(
    values: &[f64],
    offsets: &[usize],
    units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Tests> {
    let segments = Segments::new(offsets, values.len())?;
    check_len("units", units.len(), segments.len())?;
    check_resamples(n_resamples)?;
    let tests = map_groups(segments.len(), interrupt, |group| {
        let unit = units.get(group).copied().unwrap_or_default();
        let address = Address { rng_seed, purpose: purpose::SIGN_FLIP, replicate: 0, unit };
        test(segments.slice(values, group), n_resamples, address, interrupt)
    })?;
    Ok(tests.into_iter().collect())
}

fn test(values: &[f64], n_resamples: usize, address: Address, interrupt: &Interrupt) -> Result<Test> {
    let statistic: f64 = values.iter().sum();
    let z = ratio(statistic, values.iter().map(|d| d * d).sum::<f64>().sqrt());
    if values.is_empty() || values.iter().any(|d| !d.is_finite()) {
        return Ok(Test::closed(f64::NAN, f64::NAN, f64::NAN));
    }
    if one_magnitude(values) {
        let positive = values.iter().filter(|&&d| d > 0.0).count();
        let other = values.iter().filter(|&&d| d != 0.0).count();
        return Ok(Test::closed(statistic, z, fair_coins(positive, other)));
    }
    // Differences of 0 have no sign to flip; random patterns keep them, so that comparisons share their flips.
    let moving: Vec<f64> = values.iter().copied().filter(|&d| d != 0.0).collect();
    let (plan, fixed, method) = match Plan::all(moving.len(), n_resamples) {
        Some(plan) => (plan, Fixed::new(&moving, ENUMERATED_BITS), Method::Enumerated),
        None => (Plan::flips(values.len(), n_resamples, address), Fixed::new(values, SAMPLED_BITS), Method::Sampled),
    };
    let total: i64 = fixed.units.iter().sum();
    let least = i128::from(total.abs()) - slack(fixed.error, fixed.size() as f64) as i128;
    let start = Extreme { slope: -2, intercept: total.into(), least, count: 0 };
    let parts = plan.run(&[fixed.units], || start, interrupt)?;
    let extreme = parts.iter().map(|part| part.count).sum();
    Ok(Test::counted(statistic, z, extreme, plan.draws() as u64, method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(values: &[f64], n_resamples: usize) -> Tests {
        sign_flip_test(values, &[0, values.len()], &[7], n_resamples, 1, &Interrupt::new()).unwrap_or_default()
    }

    #[test]
    fn few_differences_are_enumerated() {
        let found = one(&[1.0, 2.0, 3.0], 8);
        assert_eq!((found.p_value[0], found.extreme[0], found.draws[0], found.method[0]), (0.25, 2, 8, 1));
        // Thirds are no binary fractions: 1/3 + 1/3 - 2/3 ties with its mirror images all the same.
        let found = one(&[1.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0 - 1.0, 0.0], 16);
        assert_eq!((found.p_value[0], found.draws[0]), (12.0 / 16.0, 16));
    }

    #[test]
    fn one_magnitude_has_a_closed_form() {
        let values: Vec<f64> = (0..30).map(|i| if i < 15 { 1.0 } else { -f64::from(i < 20) }).collect();
        let found = one(&values, 1000);
        assert!((found.p_value[0] - 0.041_389_465_332_031_25).abs() < 1e-15);
        assert_eq!((found.method[0], found.draws[0], found.statistic[0]), (0, 0, 10.0));
    }

    #[test]
    fn random_flips_come_near_the_law() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 7) - 2.5).collect();
        let found = one(&values, 20_000);
        // The normal approximation; four Monte Carlo standard errors.
        let expected = 2.0 * crate::distributions::normal_cdf(-found.z[0].abs());
        assert!((found.p_value[0] - expected).abs() < 0.015, "{} {expected}", found.p_value[0]);
        assert_eq!((found.method[0], found.draws[0]), (2, 20_000));
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert!(one(&[], 10).p_value[0].is_nan());
        assert!(one(&[1.0, f64::NAN], 10).p_value[0].is_nan());
        assert_eq!(one(&[0.0], 10).p_value, [1.0]);
        assert!(sign_flip_test(&[], &[0], &[], 0, 1, &Interrupt::new()).is_err());
        assert!(sign_flip_test(&[1.0], &[0, 1], &[], 5, 1, &Interrupt::new()).is_err());
    }
}
