//! Decision accuracy when scores carry noise: its expectation under a normal model, and by drawing checkpoints.
//!
//! expected: mean over pairs of P_a P_b + (1 - P_a)(1 - P_b), P_a = Phi((a_i - a_j) / sqrt(s_ai^2 + s_aj^2)), P_b likewise.
//!   It takes small and target for true means; on observed scores it answers what *added* noise would do.
//! sampled: in each trial a member shows one random checkpoint of its window on each side; ties count 1/2.
//! s_a -> sd_small, s_b -> sd_target. Cost: O(J^2) a group, O(J^2) a trial.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, Segments, check_len, map_groups};
use crate::random::{below, outputs, purpose};

use super::{agreement, check_no_nan, matched, n_pairs, net_concordance};

/// Trials that one thread takes in one go; a constant, and without influence on the values.
const TRIALS_PER_PART: usize = 128;

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

/// Decision accuracy of randomly drawn checkpoints.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct SampledAgreement {
    /// Mean over the trials of each group.
    pub mean: Vec<f64>,
    /// Their standard deviation (n - 1); NaN for a single trial.
    pub sd: Vec<f64>,
    /// Every trial, those of one group together.
    pub draws: Vec<f64>,
}

/// Draws one checkpoint of each member's window on each side, `n_resamples` times.
///
/// Segment m of `small_values` and of `target_values` is member m's window; `group_offsets` divides the members. Member
/// p of its group takes outputs 2p (small) and 2p + 1 (target) of the stream (rng_seed, `CHECKPOINT_DRAW`, trial,
/// `group_units[group]`), so draws depend on neither the other groups nor the threads. A group with fewer than 2
/// members or an empty window gets NaN.
///
/// # Errors
/// Bad offsets, arrays of unequal length, a NaN score, `n_resamples == 0`, or an interrupt.
pub fn sampled_agreement(
    small_values: &[f64],
    small_offsets: &[usize],
    target_values: &[f64],
    target_offsets: &[usize],
    group_offsets: &[usize],
    group_units: &[u64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<SampledAgreement> {
    check_no_nan("small_values", small_values)?;
    check_no_nan("target_values", target_values)?;
    let small = windows(small_values, small_offsets)?;
    let target = windows(target_values, target_offsets)?;
    check_len("target_offsets", target_offsets.len(), small_offsets.len())?;
    let groups = Segments::new(group_offsets, small.len())?;
    check_len("group_units", group_units.len(), groups.len())?;
    if n_resamples == 0 {
        return Err(Error::Argument { name: "n_resamples", expected: "at least 1", found: "0".into() });
    }
    // Parts of a group's trials rather than whole groups: one large group then fills all threads too.
    let parts_per_group = n_resamples.div_ceil(TRIALS_PER_PART);
    let parts = map_groups(groups.len() * parts_per_group, interrupt, |part| {
        let group = part / parts_per_group;
        let start = part % parts_per_group * TRIALS_PER_PART;
        let end = n_resamples.min(start + TRIALS_PER_PART);
        let sides = (groups.slice(&small, group), groups.slice(&target, group));
        let unit = group_units.get(group).copied().unwrap_or_default();
        trials(sides, start..end, unit, rng_seed, interrupt)
    })?;
    let draws = parts.concat();
    let (mean, sd) = draws.chunks(n_resamples).map(mean_and_sd).unzip();
    Ok(SampledAgreement { mean, sd, draws })
}

/// Each member's window on one side.
fn windows<'v>(values: &'v [f64], offsets: &[usize]) -> Result<Vec<&'v [f64]>> {
    let segments = Segments::new(offsets, values.len())?;
    Ok((0..segments.len()).map(|member| segments.slice(values, member)).collect())
}

fn trials(
    (small, target): (&[&[f64]], &[&[f64]]),
    range: std::ops::Range<usize>,
    unit: u64,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    if small.len() < 2 || small.iter().chain(target).any(|window| window.is_empty()) {
        return Ok(vec![f64::NAN; range.len()]);
    }
    let (mut a, mut b) = (vec![0.0; small.len()], vec![0.0; small.len()]);
    range
        .map(|trial| {
            interrupt.check()?;
            let mut stream = outputs(rng_seed, purpose::CHECKPOINT_DRAW, trial as u64, unit);
            let mut draw = |window: &[f64]| window[below(stream.next().unwrap_or_default(), window.len())];
            for member in 0..small.len() {
                a[member] = draw(small[member]);
                b[member] = draw(target[member]);
            }
            Ok(agreement(n_pairs(a.len()), net_concordance(&a, &b)))
        })
        .collect()
}

fn mean_and_sd(draws: &[f64]) -> (f64, f64) {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let squares = draws.iter().map(|draw| (draw - mean) * (draw - mean)).sum::<f64>();
    (mean, (squares / (n - 1.0)).sqrt()) // 0 / 0 for a single trial
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_noise_gives_the_plain_agreement() {
        let (small, target, none) = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0], [0.0; 4]);
        let expected = expected_agreement(&small, &target, &none, &none, &[0, 4], &Interrupt::new());
        assert_eq!(expected, Ok(vec![5.0 / 6.0]));
    }

    #[test]
    fn a_window_of_one_leaves_nothing_to_chance() {
        let (small, target, offsets) = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0], [0, 1, 2, 3, 4]);
        let found =
            sampled_agreement(&small, &offsets, &target, &offsets, &[0, 4, 4], &[1, 2], 3, 0, &Interrupt::new())
                .unwrap();
        assert_eq!((found.mean[0], found.sd[0], &found.draws[..3]), (5.0 / 6.0, 0.0, &[5.0 / 6.0; 3][..]));
        assert!(found.mean[1].is_nan() && found.draws[3..].iter().all(|draw| draw.is_nan()));
    }
}
