//! Intervals from replicates.
//!
//!   percentile: (q(a), q(1 - a)), a = (1 - confidence_level) / 2, q the linear quantile of the replicates
//!   basic:      (2 theta - q(1 - a), 2 theta - q(a))
//!   bca:        (q(a_1), q(a_2)), a_i = Phi(z0 + (z0 + z) / (1 - acc (z0 + z))), z = Phi^-1(a), Phi^-1(1 - a),
//!               z0 = Phi^-1((#{theta* < theta} + #{theta* = theta} / 2) / B), acc from `bootstrap_estimates`
//!   studentised: (theta - se q_t(1 - a), theta - se q_t(a)), t* = (theta* - theta) / se*
//! Where z0 is infinite (all replicates on one side) or acc is NaN, bca is the percentile interval and says so.
//! theta -> estimates, se -> stderrs. A row with a NaN has a NaN interval. Cost O(B) a row.

use crate::distributions::{normal_cdf, normal_quantile};
use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, map_groups};

/// Limits of each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Intervals {
    /// Lower limits.
    pub low: Vec<f64>,
    /// Upper limits.
    pub high: Vec<f64>,
    /// Whether bca had to be the percentile interval.
    pub fallback: Vec<bool>,
}

#[derive(Debug, Clone, Copy)]
enum Method {
    Percentile,
    Basic,
    Bca,
}

impl Method {
    fn new(name: &str) -> Result<Self> {
        match name {
            "percentile" => Ok(Self::Percentile),
            "basic" => Ok(Self::Basic),
            "bca" => Ok(Self::Bca),
            _ => Err(Error::Unknown { name: "method", found: name.into(), known: "percentile, basic, bca".into() }),
        }
    }
}

/// Interval of each row of `n_resamples` replicates, by the name of its method.
///
/// # Errors
/// An unknown method, arrays that do not fit, a confidence level outside (0, 1), or an interrupt.
pub fn bootstrap_interval(
    values: &[f64],
    n_resamples: usize,
    estimates: &[f64],
    accelerations: &[f64],
    method: &str,
    confidence_level: f64,
    interrupt: &Interrupt,
) -> Result<Intervals> {
    let method = Method::new(method)?;
    let tail = tail(confidence_level)?;
    check_rows("values", values, n_resamples, estimates.len())?;
    check_len("accelerations", accelerations.len(), estimates.len())?;
    let limits = map_groups(estimates.len(), interrupt, |row| {
        let mut values = part(values, row, n_resamples).to_vec();
        let (estimate, acceleration) = (at(estimates, row), at(accelerations, row));
        if values.iter().any(|value| value.is_nan()) || estimate.is_nan() {
            return Ok((f64::NAN, f64::NAN, false));
        }
        Ok(match method {
            Method::Percentile => (quantile(&mut values, tail), quantile(&mut values, 1.0 - tail), false),
            Method::Basic => {
                let (low, high) = (quantile(&mut values, 1.0 - tail), quantile(&mut values, tail));
                (2.0 * estimate - low, 2.0 * estimate - high, false)
            }
            Method::Bca => {
                let adjusted = adjusted(&values, estimate, acceleration, tail);
                let (low, high) = adjusted.unwrap_or((tail, 1.0 - tail));
                (quantile(&mut values, low), quantile(&mut values, high), adjusted.is_none())
            }
        })
    })?;
    Ok(Intervals {
        low: limits.iter().map(|limits| limits.0).collect(),
        high: limits.iter().map(|limits| limits.1).collect(),
        fallback: limits.iter().map(|limits| limits.2).collect(),
    })
}

/// Studentised interval of each row: low and high.
///
/// # Errors
/// Arrays that do not fit, a confidence level outside (0, 1), or an interrupt.
pub fn bootstrap_t_interval(
    values: &[f64],
    replicate_stderrs: &[f64],
    n_resamples: usize,
    estimates: &[f64],
    stderrs: &[f64],
    confidence_level: f64,
    interrupt: &Interrupt,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let tail = tail(confidence_level)?;
    check_rows("values", values, n_resamples, estimates.len())?;
    check_rows("replicate_stderrs", replicate_stderrs, n_resamples, estimates.len())?;
    check_len("stderrs", stderrs.len(), estimates.len())?;
    let limits = map_groups(estimates.len(), interrupt, |row| {
        let (estimate, stderr) = (at(estimates, row), at(stderrs, row));
        let replicates = part(values, row, n_resamples).iter().zip(part(replicate_stderrs, row, n_resamples));
        let mut t: Vec<f64> = replicates.map(|(value, stderr)| (value - estimate) / stderr).collect();
        if t.iter().any(|t| t.is_nan()) {
            return Ok((f64::NAN, f64::NAN));
        }
        let (low, high) = (quantile(&mut t, 1.0 - tail), quantile(&mut t, tail));
        Ok((estimate - stderr * low, estimate - stderr * high))
    })?;
    Ok(limits.into_iter().unzip())
}

fn tail(confidence_level: f64) -> Result<f64> {
    if confidence_level > 0.0 && confidence_level < 1.0 {
        return Ok((1.0 - confidence_level) / 2.0);
    }
    let found = confidence_level.to_string();
    Err(Error::Argument { name: "confidence_level", expected: "between 0 and 1", found })
}

fn check_rows(name: &'static str, values: &[f64], n_resamples: usize, rows: usize) -> Result<()> {
    if n_resamples == 0 {
        return Err(Error::Argument { name: "n_resamples", expected: "at least 1", found: "0".into() });
    }
    check_len(name, values.len(), rows.saturating_mul(n_resamples))
}

fn part(values: &[f64], row: usize, n_resamples: usize) -> &[f64] {
    values.get(row * n_resamples..(row + 1) * n_resamples).unwrap_or(&[])
}

fn at(values: &[f64], row: usize) -> f64 {
    values.get(row).copied().unwrap_or(f64::NAN)
}

/// Probabilities whose quantiles are the limits of bca; None where they do not exist.
fn adjusted(values: &[f64], estimate: f64, acceleration: f64, tail: f64) -> Option<(f64, f64)> {
    let (below, equal) = values.iter().fold((0_usize, 0_usize), |(below, equal), &value| {
        (below + usize::from(value < estimate), equal + usize::from(value == estimate))
    });
    let bias = normal_quantile((below as f64 + equal as f64 / 2.0) / values.len() as f64);
    let of = |p: f64| {
        let z = bias + normal_quantile(p);
        normal_cdf(bias + z / (1.0 - acceleration * z))
    };
    let (low, high) = (of(tail), of(1.0 - tail));
    (bias.is_finite() && !low.is_nan() && !high.is_nan()).then_some((low, high))
}

/// Linear quantile, as NumPy's: between the values around position p (B - 1). Moves the values.
fn quantile(values: &mut [f64], p: f64) -> f64 {
    let position = p * (values.len() as f64 - 1.0);
    let index = (position.floor() as usize).min(values.len().saturating_sub(1));
    let share = position - index as f64;
    if values.is_empty() {
        return f64::NAN;
    }
    let (_, &mut low, above) = values.select_nth_unstable_by(index, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    between(&[low, high], share)
}

/// The value at a share of the way from one to the next.
pub(super) fn between(pair: &[f64], share: f64) -> f64 {
    let &[low, high] = pair else { return f64::NAN };
    let step = high - low;
    if share == 0.0 || step == 0.0 {
        low // also between infinities
    } else if share < 0.5 {
        low + step * share
    } else {
        high - step * (1.0 - share)
    }
}
