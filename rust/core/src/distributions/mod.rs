//! Quantiles and probabilities for the intervals, elementwise over arrays.
//!
//! normal, Student t, F, beta, chi-square: relative error below 1e-10 against SciPy, from the incomplete beta and gamma
//! functions on logarithmic axes (`beta`, `gamma`, `normal`); studentised range: 1e-8 (`studentised_range`).
//! Degrees of freedom may be fractional and, except for chi-square, infinite; impossible parameters give NaN.
//!
//! expected_range: d2(J), the mean range of J standard normal values (`expected_range`).
//!
//! autocorrelation_factors: with C = I - 11'/n, R_ij = rho^|i-j|,
//!   f = tr(CR) / (n - 1), nu = tr(CR)^2 / tr(CRCR);
//!   tr(CR) = 2/n sum_{k=1}^{n-1} (n - k)(1 - rho^k)
//!   tr(CRCR) = tr(RR) - 2/n 1'RR1 + (1'R1 / n)^2, tr(RR) = n + 2 sum (n - k) rho^(2k), R1 from geometric sums.
//! Cost O(1) to O(sqrt(df)) an element; see `studentised_range` for its own; O(n) for the factors.
//! Twin: python/signoise/reference/_distributions.py

mod beta;
mod expected_range;
mod gamma;
mod normal;
mod solve;
mod studentised_range;

use std::collections::HashMap;

pub use beta::{beta_cdf, beta_quantile, f_quantile, t_cdf, t_quantile};
pub use expected_range::expected_range;
pub use gamma::chi2_quantile;
pub use normal::{normal_cdf, normal_quantile};
pub use studentised_range::{StudentisedRange, studentised_range_cdf, studentised_range_quantile};

use crate::error::Result;
use crate::parallel::{Interrupt, check_len, map_groups};

/// Applies a function of one variable to each value.
///
/// # Errors
/// An interrupt.
pub fn map1(x: &[f64], interrupt: &Interrupt, f: impl Fn(f64) -> f64 + Sync + Send) -> Result<Vec<f64>> {
    map_groups(x.len(), interrupt, |i| Ok(f(at(x, i))))
}

/// Applies a function of a value and `df` to each pair.
///
/// # Errors
/// Different lengths, or an interrupt.
pub fn map2(
    x: &[f64],
    df: &[f64],
    interrupt: &Interrupt,
    f: impl Fn(f64, f64) -> f64 + Sync + Send,
) -> Result<Vec<f64>> {
    check_len("df", df.len(), x.len())?;
    map_groups(x.len(), interrupt, |i| Ok(f(at(x, i), at(df, i))))
}

/// F quantile of each triple.
///
/// # Errors
/// Different lengths, or an interrupt.
pub fn f_quantiles(p: &[f64], df1: &[f64], df2: &[f64], interrupt: &Interrupt) -> Result<Vec<f64>> {
    map3(p, ("df1", df1), ("df2", df2), interrupt, f_quantile)
}

/// Beta probability of each triple.
///
/// # Errors
/// Different lengths, or an interrupt.
pub fn beta_cdfs(x: &[f64], a: &[f64], b: &[f64], interrupt: &Interrupt) -> Result<Vec<f64>> {
    map3(x, ("a", a), ("b", b), interrupt, beta_cdf)
}

/// Beta quantile of each triple.
///
/// # Errors
/// Different lengths, or an interrupt.
pub fn beta_quantiles(p: &[f64], a: &[f64], b: &[f64], interrupt: &Interrupt) -> Result<Vec<f64>> {
    map3(p, ("a", a), ("b", b), interrupt, beta_quantile)
}

/// Applies a function to each triple; the parameters come with their names.
fn map3(
    x: &[f64],
    first: (&'static str, &[f64]),
    second: (&'static str, &[f64]),
    interrupt: &Interrupt,
    f: impl Fn(f64, f64, f64) -> f64 + Sync + Send,
) -> Result<Vec<f64>> {
    check_len(first.0, first.1.len(), x.len())?;
    check_len(second.0, second.1.len(), x.len())?;
    map_groups(x.len(), interrupt, |i| Ok(f(at(x, i), at(first.1, i), at(second.1, i))))
}

/// Studentised-range probability of each triple.
///
/// # Errors
/// Different lengths, or an interrupt.
pub fn studentised_range_cdfs(q: &[f64], members: &[f64], df: &[f64], interrupt: &Interrupt) -> Result<Vec<f64>> {
    by_distribution(q, members, df, interrupt, StudentisedRange::cdf)
}

/// Studentised-range quantile of each triple.
///
/// # Errors
/// Different lengths, or an interrupt.
pub fn studentised_range_quantiles(p: &[f64], members: &[f64], df: &[f64], interrupt: &Interrupt) -> Result<Vec<f64>> {
    by_distribution(p, members, df, interrupt, StudentisedRange::quantile)
}

/// The distinct x of one (members, df), each with the rows that hold it.
struct Group {
    members: f64,
    df: f64,
    points: Vec<(f64, Vec<usize>)>,
}

/// Computes each distinct (x, members, df) once; all x of one (members, df) share its integrals.
fn by_distribution(
    x: &[f64],
    members: &[f64],
    df: &[f64],
    interrupt: &Interrupt,
    f: impl Fn(&mut StudentisedRange, f64) -> f64 + Sync + Send,
) -> Result<Vec<f64>> {
    check_len("members", members.len(), x.len())?;
    check_len("df", df.len(), x.len())?;
    let mut groups: Vec<Group> = Vec::new();
    let (mut group_of, mut place_of) = (HashMap::new(), HashMap::new());
    for (row, ((&x, &members), &df)) in x.iter().zip(members).zip(df).enumerate() {
        let key = (members.to_bits(), df.to_bits());
        let group = *group_of.entry(key).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Group { members, df, points: Vec::new() });
        }
        if let Some(Group { points, .. }) = groups.get_mut(group) {
            let place = *place_of.entry((key, x.to_bits())).or_insert(points.len());
            match points.get_mut(place) {
                Some((_, rows)) => rows.push(row),
                None => points.push((x, vec![row])),
            }
        }
    }
    let found = map_groups(groups.len(), interrupt, |g| {
        let Some(Group { members, df, points }) = groups.get(g) else { return Ok(Vec::new()) };
        let mut range = StudentisedRange::new(*members, *df);
        points
            .iter()
            .map(|&(x, _)| {
                interrupt.check()?;
                Ok(range.as_mut().map_or(f64::NAN, |range| f(range, x)))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let mut out = vec![f64::NAN; x.len()];
    for (group, values) in groups.iter().zip(found) {
        for ((_, rows), value) in group.points.iter().zip(values) {
            for &row in rows {
                if let Some(slot) = out.get_mut(row) {
                    *slot = value;
                }
            }
        }
    }
    Ok(out)
}

/// What lag-1 autocorrelation does to a sample variance: its expectation over sigma^2, and its degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AutocorrelationFactor {
    /// E(s^2) / sigma^2
    pub f: f64,
    /// Degrees of freedom of the chi-square that matches s^2 in mean and variance.
    pub nu: f64,
}

/// f and nu for `n` values with autocorrelation `rho`; NaN unless n is an integer >= 2 and 0 <= rho < 1.
#[must_use]
pub fn autocorrelation_factor(n: f64, rho: f64) -> AutocorrelationFactor {
    if !(n >= 2.0 && n.fract() == 0.0 && n <= f64::from(u32::MAX) && (0.0..1.0).contains(&rho)) {
        return AutocorrelationFactor { f: f64::NAN, nu: f64::NAN };
    }
    if rho == 0.0 {
        return AutocorrelationFactor { f: 1.0, nu: n - 1.0 };
    }
    let count = n as u32;
    let (mut trace, mut squares) = (0.0, n); // tr(CR) n / 2, tr(RR)
    let mut power = 1.0;
    for k in 1..count {
        power *= rho;
        let lagged = n - f64::from(k);
        trace += lagged * (1.0 - power);
        squares += 2.0 * lagged * power * power;
    }
    let trace = 2.0 * trace / n;
    // Row sums of R: 1 + (rho + .. + rho^(i-1)) + (rho + .. + rho^(n-i))
    let (mut rows, mut rows_squared) = (0.0, 0.0);
    let one_side = |power: f64| rho * (1.0 - power) / (1.0 - rho);
    let log_rho = rho.ln();
    for i in 0..count {
        let (left, right) = (f64::from(i), f64::from(count - 1 - i));
        let row = 1.0 + one_side((left * log_rho).exp()) + one_side((right * log_rho).exp());
        rows += row;
        rows_squared += row * row;
    }
    let mean = rows / n;
    let traced_square = squares - 2.0 / n * rows_squared + mean * mean;
    AutocorrelationFactor { f: trace / (n - 1.0), nu: trace * trace / traced_square }
}

/// f and nu of each pair.
///
/// # Errors
/// Different lengths, or an interrupt.
pub fn autocorrelation_factors(n: &[f64], rho: &[f64], interrupt: &Interrupt) -> Result<Vec<AutocorrelationFactor>> {
    check_len("rho", rho.len(), n.len())?;
    map_groups(n.len(), interrupt, |i| Ok(autocorrelation_factor(at(n, i), at(rho, i))))
}

fn at(values: &[f64], index: usize) -> f64 {
    values.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance * expected.abs(), "{found} is not {expected}");
    }

    #[test]
    fn closed_forms() {
        for p in [1e-9, 0.0005, 0.3, 0.6, 0.975] {
            assert_close(t_quantile(p, 1.0), -1.0 / (std::f64::consts::PI * p).tan(), 1e-9);
            assert_close(chi2_quantile(p, 2.0), -2.0 * (-p).ln_1p(), 1e-13);
            assert_close(f_quantile(p, 2.0, 2.0), p / (1.0 - p), 1e-13);
            assert_close(beta_quantile(p, 3.0, 1.0), p.cbrt(), 1e-13);
            assert_close(beta_cdf(p, 1.0, 3.0), -(3.0 * (-p).ln_1p()).exp_m1(), 1e-12);
            assert_close(normal_cdf(normal_quantile(p)), p, 1e-13);
        }
    }

    #[test]
    fn two_members_are_a_t_distribution() {
        for df in [1.0, 4.5, 1e3, f64::INFINITY] {
            for p in [0.0005, 0.5, 0.9995] {
                let expected = 2.0f64.sqrt() * t_quantile(0.5 * (1.0 + p), df);
                assert_close(studentised_range_quantile(p, 2.0, df), expected, 1e-9);
            }
        }
    }

    #[test]
    fn expansions_meet_the_general_case() {
        for p in [0.0005, 0.3, 0.975] {
            let (below, above) = (chi2_quantile(p, 999_999.999), chi2_quantile(p, 1e6));
            assert_close(above - below, 1e-3, 1e-2);
            assert_close(f_quantile(p, 9.999_999_9e7, 1e9), f_quantile(p, 1e8, 1e9), 1e-11);
        }
    }

    #[test]
    fn tails_that_no_double_holds_end() {
        for p in [5e-324, 1e-300, 1.0 - f64::EPSILON] {
            for df in [1e-3, 1.0, 1e12, 1e300] {
                let found = [t_quantile(p, df), chi2_quantile(p, df), f_quantile(p, df, 1e-3), f_quantile(p, 1e-3, df)];
                let ranges = [2.0, 3.0, 1e6].map(|members| studentised_range_quantile(p, members, df));
                assert!(found.iter().skip(1).chain(&ranges).all(|&x| x.is_nan() || x >= 0.0), "{p} {df}");
            }
        }
    }

    #[test]
    fn repeated_rows_share_one_result() {
        let interrupt = Interrupt::new();
        let found = studentised_range_quantiles(&[0.9, 0.5, 0.9], &[3.0; 3], &[7.0; 3], &interrupt);
        let (first, second) = (studentised_range_quantile(0.9, 3.0, 7.0), studentised_range_quantile(0.5, 3.0, 7.0));
        assert_eq!(found, Ok(vec![first, second, first]));
        assert!(studentised_range_quantiles(&[0.9], &[3.0], &[], &interrupt).is_err());
    }
}
