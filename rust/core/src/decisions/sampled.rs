//! Decision accuracy of randomly drawn checkpoints: in each trial a member shows one of its window on each side.
//!
//! A word draws checkpoint (word * n) >> 32 of a window of n: no probability is off by more than 2^-32. Scores are
//! compared by their ranks among the scores of the group and side, whole numbers of as few bits as will do.

use fearless_simd::{Level, Simd, dispatch};

use crate::error::Result;
use crate::parallel::{Interrupt, Segments, check_len};
use crate::random::purpose;
use crate::random::wide::{Address, Wide};

use super::check_no_nan;
use super::counts::Ranks;
use super::trials::{Row, TRIALS, agreements, all_trials, means_and_sds, words};

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
/// Segment m of `small_values` and of `target_values` is member m's window; `group_offsets` divides the members and
/// `group_units` is each group's own address of draws (purpose `CHECKPOINT_DRAW`). A group with fewer than 2 members or
/// an empty window gets NaN.
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
    let ranked: Vec<Option<[Windows; 2]>> = (0..groups.len())
        .map(|group| {
            let sides = [groups.slice(&small, group), groups.slice(&target, group)];
            let whole = sides.iter().all(|side| side.len() >= 2 && side.iter().all(|window| !window.is_empty()));
            whole.then(|| sides.map(Windows::of))
        })
        .collect();
    let level = Level::new();
    let draws = all_trials(groups.len(), n_resamples, interrupt, |group, blocks| {
        let (Some(Some([small, target])), Some(&unit)) = (ranked.get(group), group_units.get(group)) else {
            return Ok(vec![f64::NAN; blocks.len() * TRIALS]);
        };
        let mut trials = Vec::with_capacity(blocks.len() * TRIALS);
        for block in blocks {
            interrupt.check()?;
            let address = Address { rng_seed, purpose: purpose::CHECKPOINT_DRAW, replicate: block as u64, unit };
            // Ranks that fit fewer bits are compared more at a time.
            let block = match small.distinct.max(target.distinct) {
                0..=0x80 => dispatch!(level, simd => one_block::<_, i8>(simd, address, small, target)),
                0x81..=0x8000 => dispatch!(level, simd => one_block::<_, i16>(simd, address, small, target)),
                _ => dispatch!(level, simd => one_block::<_, u32>(simd, address, small, target)),
            };
            trials.extend(block);
        }
        Ok(trials)
    })?;
    let (mean, sd) = means_and_sds(&draws, n_resamples);
    Ok(SampledAgreement { mean, sd, draws })
}

/// Each member's window on one side.
fn windows<'v>(values: &'v [f64], offsets: &[usize]) -> Result<Vec<&'v [f64]>> {
    let segments = Segments::new(offsets, values.len())?;
    Ok((0..segments.len()).map(|member| segments.slice(values, member)).collect())
}

/// The windows of a group on one side as ranks.
struct Windows {
    ranks: Vec<Vec<u32>>,
    /// How many ranks there are.
    distinct: usize,
}

impl Windows {
    fn of(windows: &[&[f64]]) -> Self {
        let ranks = Ranks::of(&windows.concat());
        let mut rest = ranks.rank.iter().map(|&rank| rank as u32);
        let ranked = windows.iter().map(|window| rest.by_ref().take(window.len()).collect()).collect();
        Self { ranks: ranked, distinct: ranks.count.len() }
    }
}

/// A rank in fewer bits; the caller has seen that it fits.
trait Rank: Copy + PartialOrd + Default {
    fn of(rank: u32) -> Self;
}

impl Rank for i8 {
    fn of(rank: u32) -> Self {
        rank as Self
    }
}

impl Rank for i16 {
    fn of(rank: u32) -> Self {
        rank as Self
    }
}

impl Rank for u32 {
    fn of(rank: u32) -> Self {
        rank
    }
}

#[inline(always)]
fn one_block<S: Simd, R: Rank>(simd: S, address: Address, small: &Windows, target: &Windows) -> Row<f64> {
    let mut wide = Wide::new(simd, address);
    let (mut a, mut b) = (Vec::with_capacity(small.ranks.len()), Vec::with_capacity(target.ranks.len()));
    for (small, target) in small.ranks.iter().zip(&target.ranks) {
        for (window, rows) in [(small, &mut a), (target, &mut b)] {
            let n = window.len() as u64;
            let at = words(&mut wide).map(|word| ((u64::from(word) * n) >> 32) as usize);
            rows.push(at.map(|at| window.get(at).map_or(R::default(), |&rank| R::of(rank))));
        }
    }
    agreements(&a, &b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_one_leaves_nothing_to_chance() {
        let (small, target, offsets) = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0], [0, 1, 2, 3, 4]);
        let found =
            sampled_agreement(&small, &offsets, &target, &offsets, &[0, 4, 4], &[1, 2], 3, 0, &Interrupt::new())
                .unwrap();
        assert_eq!((found.mean[0], found.sd[0], &found.draws[..3]), (5.0 / 6.0, 0.0, &[5.0 / 6.0; 3][..]));
        assert!(found.mean[1].is_nan() && found.draws[3..].iter().all(|draw| draw.is_nan()));
    }

    #[test]
    fn ranks_of_any_width_agree() {
        for distinct in [3_u32, 0x80, 0x81, 0x8000, 0x8001, 70_000] {
            let values: Vec<f64> = (0..distinct).map(f64::from).collect();
            let offsets = [0, 1, 2, values.len()]; // the last member is above the others
            let members = [0, 3];
            let found =
                sampled_agreement(&values, &offsets, &values, &offsets, &members, &[1], 70, 0, &Interrupt::new())
                    .unwrap();
            assert_eq!(found.draws, [1.0; 70], "{distinct}");
        }
    }
}
