//! Decision accuracy where pairs do not count alike.
//!
//! s_ij = (1 + sign(a_i - a_j) sign(b_i - b_j)) / 2
//! weighted:  sum of |b_i - b_j| s_ij / sum of |b_i - b_j|: a wrong decision costs what it loses at the target.
//! decidable: mean of s_ij over pairs with |b_i - b_j| > threshold, those that the target itself can tell apart.
//! Cost: O(J^2).

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, map_groups};

use super::{agreement, matched};

/// Twice s_ij: 2 concordant, 1 tied somewhere, 0 discordant.
fn twice_score((a, b): (f64, f64), (c, d): (f64, f64)) -> i64 {
    let sign = |x: f64, y: f64| i64::from(x > y) - i64::from(x < y);
    1 + sign(a, c) * sign(b, d)
}

/// Calls `visit` with twice the score and the target difference of each pair, in order.
fn each_pair(small: &[f64], target: &[f64], mut visit: impl FnMut(i64, f64)) {
    for (i, (&a, &b)) in small.iter().zip(target).enumerate() {
        for (&c, &d) in small.iter().zip(target).skip(i + 1) {
            visit(twice_score((a, b), (c, d)), (b - d).abs());
        }
    }
}

/// Agreement weighted by the target difference; NaN where all differences are 0 or one is infinite.
///
/// # Errors
/// Bad offsets, sides of unequal length, a NaN score, or an interrupt.
pub fn agreement_weighted(small: &[f64], target: &[f64], offsets: &[usize], interrupt: &Interrupt) -> Result<Vec<f64>> {
    let segments = matched(small, target, offsets)?;
    map_groups(segments.len(), interrupt, |group| {
        let (mut scored, mut weights) = (0.0, 0.0);
        each_pair(segments.slice(small, group), segments.slice(target, group), |twice, gap| {
            scored += gap * (twice as f64 / 2.0);
            weights += gap;
        });
        Ok(if weights > 0.0 { scored / weights } else { f64::NAN })
    })
}

/// Agreement over decidable pairs: one entry a group.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct DecidableAgreement {
    /// Pairs further apart at the target than the threshold.
    pub n_pairs: Vec<i64>,
    /// Their agreement; NaN where there is none.
    pub agreement: Vec<f64>,
}

/// Agreement over the pairs whose target difference exceeds the group's `threshold`; a NaN threshold leaves none.
///
/// # Errors
/// Bad offsets, arrays of unequal length, a NaN score, a negative threshold, or an interrupt.
pub fn agreement_decidable(
    small: &[f64],
    target: &[f64],
    threshold: &[f64],
    offsets: &[usize],
    interrupt: &Interrupt,
) -> Result<DecidableAgreement> {
    let segments = matched(small, target, offsets)?;
    check_len("threshold", threshold.len(), segments.len())?;
    if let Some(negative) = threshold.iter().find(|&&limit| limit < 0.0) {
        return Err(Error::Argument { name: "threshold", expected: "at least 0", found: negative.to_string() });
    }
    let groups = map_groups(segments.len(), interrupt, |group| {
        let limit = threshold.get(group).copied().unwrap_or(f64::NAN);
        let (mut pairs, mut net) = (0, 0);
        each_pair(segments.slice(small, group), segments.slice(target, group), |twice, gap| {
            if gap > limit {
                pairs += 1;
                net += twice - 1;
            }
        });
        Ok((pairs, agreement(pairs, net)))
    })?;
    let (n_pairs, agreement) = groups.into_iter().unzip();
    Ok(DecidableAgreement { n_pairs, agreement })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_costly_mistake_weighs_more() {
        let (small, target) = ([1.0, 2.0, 3.0], [0.0, 10.0, 9.0]);
        let interrupt = Interrupt::new();
        assert_eq!(agreement_weighted(&small, &target, &[0, 3], &interrupt), Ok(vec![19.0 / 20.0]));
        let decidable = agreement_decidable(&small, &target, &[1.0], &[0, 3], &interrupt);
        assert_eq!(decidable, Ok(DecidableAgreement { n_pairs: vec![2], agreement: vec![1.0] }));
        assert!(agreement_decidable(&small, &target, &[-1.0], &[0, 3], &interrupt).is_err());
    }
}
