//! Every published way to measure how far scores lie apart, with the noise each was divided by: the variants of
//! Heineman et al. 2025 (arXiv 2508.13144).
//!
//! signal = a spread of c_1..c_n                       noise = mean(s) / mean(l)
//! except tukey, projection:                           noise = mean(s) / mean(depth of l among c)
//! c -> data_scores (one a recipe), l -> last_n (scores of the last checkpoints), s -> step_noise (one sd a recipe),
//! d -> data_noise (sds across recipes). `compat:<name>` is what the reference program computes, `textbook:<name>` what
//! the label of that program promises where the two differ.
//! Cost O(n log n): sums over pairs come from sorted gaps, sum_{i<j} (c_(j) - c_(i)) = sum_k k (n - k) gap_k.
//! NaN: fewer than 2 scores, a value that is not finite, a zero denominator, a result that is not finite.
//! Departure: the reference adds 1e-10 N(0, 1) to the scores in the differential entropies; here nothing is drawn, and
//! two equal scores make them NaN.
//! Twin: python/signoise/reference/_dispersion.py

mod spread;

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, Segments, check_len, map_groups};

/// What a variant may look at: one group's scores (sorted, finite, at least 2) and the vectors beside them.
struct Group<'a> {
    scores: &'a [f64],
    data_noise: &'a [f64],
    last_n: &'a [f64],
    /// Mean of `last_n`: the denominator of the relative variants.
    level: f64,
}

/// A named signal, and what the mean step noise is divided by (None: the level).
struct Variant {
    name: &'static str,
    signal: fn(&Group<'_>) -> f64,
    noise_scale: Option<fn(&Group<'_>) -> f64>,
}

/// A variant whose noise is mean(s) / mean(l).
const fn over_level(name: &'static str, signal: fn(&Group<'_>) -> f64) -> Variant {
    Variant { name, signal, noise_scale: None }
}

/// The one list of names.
const VARIANTS: &[Variant] = &[
    over_level("compat:rel_std", |g| ratio(spread::mean(g.data_noise), spread::mean(g.scores))),
    over_level("compat:discrepancy", |g| spread::centred_discrepancy(g.scores)),
    over_level("compat:star_discrepancy", |g| spread::mean_cdf_gap(g.scores)),
    over_level("compat:star_discrepancy_shifted", |g| spread::mean_cdf_gap(&spread::min_max_scaled(g.scores))),
    over_level("compat:rel_star_discrepancy", |g| ratio(spread::mean_cdf_gap(g.scores), g.level)),
    over_level("compat:dispersion", |g| spread::range(g.scores)),
    over_level("compat:dispersion_shifted", |g| spread::range(&spread::min_max_scaled(g.scores))),
    over_level("compat:rel_dispersion", |g| ratio(spread::range(g.scores), g.level)),
    over_level("compat:mpd", |g| spread::pair_mean(g.scores)),
    over_level("compat:rel_mpd", |g| ratio(spread::pair_mean(g.scores), g.level)),
    over_level("compat:mpsd", |g| spread::pair_mean_square(g.scores)),
    over_level("compat:rel_mpsd", |g| ratio(spread::pair_mean_square(g.scores), g.level)),
    over_level("compat:mad", |g| spread::median_deviation(g.scores)),
    over_level("compat:aad", |g| spread::mean_deviation(g.scores)),
    over_level("compat:dist_std", |g| spread::pair_sd(g.scores)),
    over_level("compat:gini", |g| spread::gini_of_shares(&spread::min_max_scaled(g.scores))),
    over_level("compat:quartile_deviation", |g| spread::quartile_range(g.scores) / 2.0),
    over_level("compat:rms_deviation", |g| spread::variance(g.scores).sqrt()),
    over_level("compat:range", |g| spread::range(g.scores)),
    over_level("compat:iqr", |g| ratio(spread::quartile_range(g.scores), g.level)),
    Variant {
        name: "compat:tukey",
        signal: |g| ratio(depth_quartile_range(g.scores, spread::halfspace_depths), g.level),
        noise_scale: Some(|g| spread::mean(&spread::halfspace_depths(g.last_n, g.scores))),
    },
    Variant {
        name: "compat:projection",
        signal: |g| ratio(depth_quartile_range(g.scores, spread::projection_depths), g.level),
        noise_scale: Some(|g| spread::mean(&spread::projection_depths(g.last_n, g.scores))),
    },
    over_level("compat:entropy", |g| spread::density_entropy(g.scores)),
    over_level("compat:robust_range", |g| spread::percentile(g.scores, 0.95) - spread::percentile(g.scores, 0.05)),
    over_level("compat:differential_entropy", |g| spread::neighbour_entropy(g.scores)),
    over_level("compat:rel_differential_entropy", |g| ratio(spread::neighbour_entropy(g.scores), g.level)),
    over_level("textbook:star_discrepancy", |g| spread::star_discrepancy(g.scores)),
    over_level("textbook:mpd", |g| spread::pair_mean(g.scores) * distinct_share(g.scores)),
    over_level("textbook:mpsd", |g| 2.0 * spread::variance(g.scores)),
    over_level("textbook:gini", |g| {
        ratio(spread::pair_mean(g.scores) * distinct_share(g.scores), 2.0 * spread::mean(g.scores))
    }),
    over_level("textbook:entropy", |g| spread::shannon_entropy(g.scores)),
];

/// Signal and noise, one entry a group; their ratio is the caller's.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalNoise {
    /// The spread of the scores.
    pub signal: Vec<f64>,
    /// The mean step noise over the level it belongs to.
    pub noise: Vec<f64>,
}

/// Signal and noise of the variant `name` for every group; the four vectors of a group may differ in length.
///
/// # Errors
/// A name in no table, bad offsets, vectors that do not have the same number of groups, or an interrupt.
pub fn signal_variant_groups(
    name: &str,
    data_scores: &[f64],
    data_offsets: &[usize],
    last_n_scores: &[f64],
    last_n_offsets: &[usize],
    step_noise: &[f64],
    step_offsets: &[usize],
    data_noise: &[f64],
    noise_offsets: &[usize],
    interrupt: &Interrupt,
) -> Result<SignalNoise> {
    let variant = find(name)?;
    let data = Segments::new(data_offsets, data_scores.len())?;
    let last = Segments::new(last_n_offsets, last_n_scores.len())?;
    let step = Segments::new(step_offsets, step_noise.len())?;
    let sds = Segments::new(noise_offsets, data_noise.len())?;
    check_len("last_n_offsets", last_n_offsets.len(), data_offsets.len())?;
    check_len("step_offsets", step_offsets.len(), data_offsets.len())?;
    check_len("noise_offsets", noise_offsets.len(), data_offsets.len())?;
    let pairs = map_groups(data.len(), interrupt, |group| {
        Ok(signal_and_noise(
            variant,
            data.slice(data_scores, group),
            last.slice(last_n_scores, group),
            step.slice(step_noise, group),
            sds.slice(data_noise, group),
        ))
    })?;
    let (signal, noise) = pairs.into_iter().unzip();
    Ok(SignalNoise { signal, noise })
}

fn signal_and_noise(
    variant: &Variant,
    data_scores: &[f64],
    last_n: &[f64],
    step_noise: &[f64],
    data_noise: &[f64],
) -> (f64, f64) {
    let mut scores = data_scores.to_vec();
    scores.sort_by(f64::total_cmp);
    let usable = scores.len() >= 2 && scores.iter().all(|score| score.is_finite());
    let group = Group { scores: &scores, data_noise, last_n, level: spread::mean(last_n) };
    let of_scores = |statistic: fn(&Group<'_>) -> f64| if usable { statistic(&group) } else { f64::NAN };
    let signal = of_scores(variant.signal);
    let noise = ratio(spread::mean(step_noise), variant.noise_scale.map_or(group.level, of_scores));
    (finite_or_nan(signal), finite_or_nan(noise))
}

fn find(name: &str) -> Result<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.name == name).ok_or_else(|| Error::Unknown {
        name: "signal",
        found: name.into(),
        known: VARIANTS.iter().map(|variant| variant.name).collect::<Vec<_>>().join(", "),
    })
}

/// IQR of the depths of the scores among themselves.
fn depth_quartile_range(scores: &[f64], depths_of: fn(&[f64], &[f64]) -> Vec<f64>) -> f64 {
    let mut depths = depths_of(scores, scores);
    depths.sort_by(f64::total_cmp);
    spread::quartile_range(&depths)
}

/// Share of ordered pairs with i != j: turns a mean over pairs into one over all n^2.
fn distinct_share(scores: &[f64]) -> f64 {
    (scores.len() as f64 - 1.0) / scores.len() as f64
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 { f64::NAN } else { numerator / denominator }
}

fn finite_or_nan(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn one(name: &str, c: &[f64], l: &[f64], s: &[f64], d: &[f64]) -> Result<(f64, f64)> {
        let flag = Interrupt::new();
        signal_variant_groups(name, c, &[0, c.len()], l, &[0, l.len()], s, &[0, s.len()], d, &[0, d.len()], &flag)
            .map(|found| (found.signal[0], found.noise[0]))
    }

    #[test]
    fn golden_values() {
        let (c, l) = ([0.40, 0.42, 0.45, 0.47, 0.50], [0.44, 0.46, 0.45]);
        for (name, signal, noise) in [
            ("compat:rel_std", 0.089286, 0.033333),
            ("compat:discrepancy", 0.067293, 0.033333),
            ("compat:rel_mpsd", 0.006978, 0.033333),
            ("compat:dist_std", 0.025298, 0.033333),
            ("compat:tukey", 0.444444, 0.032143),
            ("compat:projection", 0.486756, 0.017092),
            ("compat:entropy", -128.992198, 0.033333),
        ] {
            let found = one(name, &c, &l, &[0.01, 0.02], &[0.03, 0.05]).unwrap();
            assert!((found.0 - signal).abs() < 5.1e-7 && (found.1 - noise).abs() < 5.1e-7, "{name}: {found:?}");
        }
    }

    #[test]
    fn undefined_is_nan_for_every_variant() {
        for variant in VARIANTS {
            for c in [&[][..], &[0.5], &[0.5, f64::NAN], &[0.1, f64::INFINITY]] {
                let (signal, _) = one(variant.name, c, &[0.5], &[0.1], &[0.1]).unwrap();
                assert!(signal.is_nan(), "{} of {c:?}", variant.name);
            }
            let (_, noise) = one(variant.name, &[0.4, 0.5], &[], &[0.1], &[0.1]).unwrap();
            assert!(noise.is_nan(), "{}", variant.name);
        }
    }

    #[test]
    fn misuse_is_an_error_with_its_numbers() {
        let text = one("compat:spread", &[], &[], &[], &[]).unwrap_err().to_string();
        assert!(text.contains("compat:rel_std, compat:discrepancy") && text.contains("textbook:entropy"), "{text}");
        let flag = Interrupt::new();
        let found = signal_variant_groups("compat:mpd", &[], &[0, 0], &[], &[0, 0], &[], &[0], &[], &[0, 0], &flag);
        assert_eq!(found, Err(Error::Length { name: "step_offsets", found: 1, expected: 2 }));
    }
}
