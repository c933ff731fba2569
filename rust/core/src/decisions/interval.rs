//! Delete-one-recipe interval of a share of pairs. Pairs share members, so members are left out, never pairs.
//!
//! se^2 = (J - 1) / J * sum of (U_(i) - mean U_(i))^2
//! logit(U) +- t se / (U (1 - U)), taken back from the logit scale
//! U = 1: [(alpha / 2)^(1 / floor(J / 2)), 1]; U = 0: mirrored. At a bound all U_(i) are equal and tell nothing; floor(J/2)
//! disjoint pairs are what J independent members amount to at least.
//! U -> estimates, U_(i) -> leave_one_out, t -> t_critical (quantile 1 - alpha/2 with J - 1 degrees of freedom),
//! alpha -> 1 - confidence_level. Cost: O(J).

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, Segments, check_len, map_groups};

/// Lower and upper ends: one entry a group.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Interval {
    /// Lower ends.
    pub low: Vec<f64>,
    /// Upper ends.
    pub high: Vec<f64>,
}

/// The interval of each group's estimate. NaN where it is undefined: a NaN input, fewer than 3 members (2 will do at a
/// bound), or estimates inside (0, 1) that no deletion changes.
///
/// # Errors
/// Bad offsets, arrays of unequal length, an estimate outside [0, 1], a level outside (0, 1), or an interrupt.
pub fn jackknife_interval(
    estimates: &[f64],
    leave_one_out: &[f64],
    t_critical: &[f64],
    offsets: &[usize],
    confidence_level: f64,
    interrupt: &Interrupt,
) -> Result<Interval> {
    let segments = Segments::new(offsets, leave_one_out.len())?;
    check_len("estimates", estimates.len(), segments.len())?;
    check_len("t_critical", t_critical.len(), segments.len())?;
    if !(confidence_level > 0.0 && confidence_level < 1.0) {
        let found = confidence_level.to_string();
        return Err(Error::Argument { name: "confidence_level", expected: "between 0 and 1", found });
    }
    if let Some(outside) = estimates.iter().find(|&&estimate| !(0.0..=1.0).contains(&estimate) && !estimate.is_nan()) {
        return Err(Error::Argument { name: "estimates", expected: "from 0 to 1", found: outside.to_string() });
    }
    let tail = (1.0 - confidence_level) / 2.0;
    let groups = map_groups(segments.len(), interrupt, |group| {
        let deleted = segments.slice(leave_one_out, group);
        Ok(match (estimates.get(group), t_critical.get(group)) {
            (Some(&1.0), _) => (bound(tail, deleted.len()), 1.0_f64),
            (Some(&0.0), _) => (0.0, 1.0 - bound(tail, deleted.len())),
            (Some(&estimate), Some(&t)) => inside(estimate, deleted, t),
            _ => (f64::NAN, f64::NAN),
        })
    })?;
    let (low, high) = groups
        .into_iter()
        .map(|(low, high)| if low.is_nan() || high.is_nan() { (f64::NAN, f64::NAN) } else { (low, high) })
        .unzip();
    Ok(Interval { low, high })
}

/// Lower end where every pair agrees; NaN below 2 members.
fn bound(tail: f64, members: usize) -> f64 {
    if members < 2 { f64::NAN } else { libm::pow(tail, 1.0 / (members / 2) as f64) }
}

/// The interval of an estimate strictly between 0 and 1.
fn inside(estimate: f64, deleted: &[f64], t: f64) -> (f64, f64) {
    let members = deleted.len() as f64;
    let mean = deleted.iter().sum::<f64>() / members;
    let squares = deleted.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    let unchanged = deleted.iter().all(|value| Some(value) == deleted.first()); // not "se == 0", which rounding can miss
    if deleted.len() < 3 || unchanged {
        return (f64::NAN, f64::NAN);
    }
    let stderr = ((members - 1.0) / members * squares).sqrt();
    let (centre, spread) = (estimate * (1.0 - estimate), t * stderr);
    let logit = libm::log(estimate / (1.0 - estimate));
    let back = |x: f64| 1.0 / (1.0 + libm::exp(-x));
    (back(logit - spread / centre), back(logit + spread / centre))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_a_closed_form() {
        let interrupt = Interrupt::new();
        let deleted = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, f64::NAN, f64::NAN, 0.5, 0.5, 0.5];
        let found = jackknife_interval(&[1.0, 0.0, 1.0, 0.5], &deleted, &[2.0; 4], &[0, 4, 6, 8, 11], 0.95, &interrupt)
            .unwrap();
        let close = |x: f64, y: f64| (x - y).abs() < 1e-14;
        assert!(close(found.low[0], 0.025_f64.sqrt()) && found.high[0] == 1.0);
        assert!(found.low[1] == 0.0 && close(found.high[1], 0.975));
        assert!(close(found.low[2], 0.025)); // two members: deleting one leaves no pair, and none is needed
        assert!(found.low[3].is_nan() && found.high[3].is_nan());
        assert!(jackknife_interval(&[1.5], &[1.0], &[2.0], &[0, 1], 0.95, &interrupt).is_err());
        assert!(jackknife_interval(&[0.5], &[1.0], &[2.0], &[0, 1], 1.0, &interrupt).is_err());
    }
}
