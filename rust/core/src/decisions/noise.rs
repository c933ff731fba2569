//! Decision accuracy when scores carry normal noise: its expectation, and its spread over draws.
//!
//! expected: mean over pairs of P_a P_b + (1 - P_a)(1 - P_b), P_a = Phi((a_i - a_j) / sqrt(s_ai^2 + s_aj^2)), P_b likewise.
//!   It takes small and target for true means; on observed scores it answers what *added* noise would do.
//! noisy: mean and sd of the decision accuracy of a_i + s_ai z, b_i + s_bi z' over independent standard normal z, z'; ties
//!   count 1/2. The mean lies below the decision accuracy that is observed, so that the sd about the observed one, and
//!   not the percentiles of the draws, makes an interval of it.
//! s_a -> sd_small, s_b -> sd_target. Cost: O(J^2) a group, O(J^2) a trial.

use std::f64::consts::FRAC_1_SQRT_2;

use fearless_simd::{Level, Simd, dispatch};

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, map_groups};
use crate::random::normal::normals;
use crate::random::purpose;
use crate::random::wide::{Address, Wide};

use super::trials::{Row, TRIALS, agreements, all_trials, means_and_sds, words};
use super::{matched, n_pairs};

/// P(x > y) for normal x and y with these means and sds; sds of 0 give 1, 1/2 or 0.
fn exceeds(x: f64, y: f64, sd_x: f64, sd_y: f64) -> f64 {
    let sd = (sd_x * sd_x + sd_y * sd_y).sqrt();
    if sd.is_nan() {
        f64::NAN
    } else if x == y {
        0.5 // also for two equal infinities
    } else if sd == 0.0 {
        f64::from(u8::from(x > y))
    } else {
        // libm and not the platform's: one routine, one set of bits, everywhere.
        0.5 * libm::erfc(-(x - y) / sd * FRAC_1_SQRT_2)
    }
}

fn check_sds(name: &'static str, sds: &[f64], expected: usize) -> Result<()> {
    check_len(name, sds.len(), expected)?;
    match sds.iter().find(|&&sd| sd < 0.0) {
        Some(negative) => Err(Error::Argument { name, expected: "at least 0", found: negative.to_string() }),
        None => Ok(()),
    }
}

/// Expected agreement under independent normal noise; NaN for a group with a NaN sd or fewer than 2 members.
///
/// # Errors
/// Bad offsets, arrays of unequal length, a NaN score, a negative sd, or an interrupt.
pub fn expected_agreement(
    small: &[f64],
    target: &[f64],
    sd_small: &[f64],
    sd_target: &[f64],
    offsets: &[usize],
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let segments = matched(small, target, offsets)?;
    check_sds("sd_small", sd_small, small.len())?;
    check_sds("sd_target", sd_target, small.len())?;
    map_groups(segments.len(), interrupt, |group| {
        let (a, b) = (segments.slice(small, group), segments.slice(target, group));
        let (sd_a, sd_b) = (segments.slice(sd_small, group), segments.slice(sd_target, group));
        let mut sum = 0.0;
        for i in 0..a.len() {
            interrupt.check()?; // thousands of members make a long row of pairs
            for j in i + 1..a.len() {
                let p = exceeds(a[i], a[j], sd_a[i], sd_a[j]);
                let q = exceeds(b[i], b[j], sd_b[i], sd_b[j]);
                sum += p * q + (1.0 - p) * (1.0 - q);
            }
        }
        Ok(if a.len() < 2 { f64::NAN } else { sum / n_pairs(a.len()) as f64 })
    })
}

/// Decision accuracy under drawn noise: one entry a group.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct NoisyAgreement {
    /// Mean over the draws.
    pub mean: Vec<f64>,
    /// Their standard deviation (n - 1); NaN for a single draw.
    pub sd: Vec<f64>,
}

/// Adds independent normal noise to the scores of both sides, `n_resamples` times. `group_units` is each group's own
/// address of draws (purpose `CHECKPOINT_NOISE`). NaN for a group with a NaN sd or fewer than 2 members.
///
/// # Errors
/// Bad offsets, arrays of unequal length, a NaN score, a negative sd, `n_resamples == 0`, or an interrupt.
pub fn noisy_agreement(
    small: &[f64],
    target: &[f64],
    sd_small: &[f64],
    sd_target: &[f64],
    offsets: &[usize],
    group_units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<NoisyAgreement> {
    let segments = matched(small, target, offsets)?;
    check_sds("sd_small", sd_small, small.len())?;
    check_sds("sd_target", sd_target, small.len())?;
    check_len("group_units", group_units.len(), segments.len())?;
    let level = Level::new();
    let draws = all_trials(segments.len(), n_resamples, interrupt, |group, blocks| {
        let sides = [(small, sd_small), (target, sd_target)];
        let sides =
            sides.map(|(scores, sds)| Side { scores: segments.slice(scores, group), sds: segments.slice(sds, group) });
        let unknown = sides.iter().any(|side| side.scores.len() < 2 || side.sds.iter().any(|sd| sd.is_nan()));
        let unit = group_units.get(group).copied().unwrap_or_default();
        let mut trials = Vec::with_capacity(blocks.len() * TRIALS);
        for block in blocks {
            interrupt.check()?;
            let address = Address { rng_seed, purpose: purpose::CHECKPOINT_NOISE, replicate: block as u64, unit };
            trials.extend(if unknown {
                [f64::NAN; TRIALS]
            } else {
                dispatch!(level, simd => one_block(simd, address, &sides))
            });
        }
        Ok(trials)
    })?;
    let (mean, sd) = means_and_sds(&draws, n_resamples);
    Ok(NoisyAgreement { mean, sd })
}

/// One side of a group.
struct Side<'a> {
    scores: &'a [f64],
    sds: &'a [f64],
}

#[inline(always)]
fn one_block<S: Simd>(simd: S, address: Address, [small, target]: &[Side<'_>; 2]) -> Row<f64> {
    let mut wide = Wide::new(simd, address);
    let (mut a, mut b) = (Vec::with_capacity(small.scores.len()), Vec::with_capacity(small.scores.len()));
    for member in 0..small.scores.len() {
        for (side, rows) in [(small, &mut a), (target, &mut b)] {
            let z = normals(words(&mut wide));
            if let (Some(&score), Some(&sd)) = (side.scores.get(member), side.sds.get(member)) {
                rows.push(z.map(|z| score + sd * z));
            }
        }
    }
    agreements(&a, &b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SMALL: [f64; 4] = [1.0, 2.0, 3.0, 4.0];
    const TARGET: [f64; 4] = [1.0, 3.0, 2.0, 4.0];

    #[test]
    fn no_noise_gives_the_plain_agreement() {
        let none = [0.0; 4];
        let expected = expected_agreement(&SMALL, &TARGET, &none, &none, &[0, 4], &Interrupt::new());
        assert_eq!(expected, Ok(vec![5.0 / 6.0]));
        let noisy = noisy_agreement(&SMALL, &TARGET, &none, &none, &[0, 4], &[1], 100, 0, &Interrupt::new()).unwrap();
        assert!((noisy.mean[0] - 5.0 / 6.0).abs() < 1e-15 && noisy.sd[0] < 1e-15);
    }

    #[test]
    fn draws_average_to_the_expectation() {
        let (sd_small, sd_target) = ([0.5, 1.0, 2.0, 0.1], [1.0; 4]);
        let offsets = [0, 4, 4];
        let expected = expected_agreement(&SMALL, &TARGET, &sd_small, &sd_target, &offsets, &Interrupt::new()).unwrap();
        let noisy =
            noisy_agreement(&SMALL, &TARGET, &sd_small, &sd_target, &offsets, &[1, 2], 20_000, 0, &Interrupt::new())
                .unwrap();
        assert!((noisy.mean[0] - expected[0]).abs() < 4.0 * noisy.sd[0] / 20_000_f64.sqrt());
        assert!(noisy.mean[1].is_nan() && noisy.sd[1].is_nan());
    }
}
