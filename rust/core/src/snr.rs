//! Checkpoint noise of a series, and its combination over the runs of a group (arXiv 2508.13144, section 2).
//!
//! For the last w checkpoints x_1 .. x_k of a series (k <= w) at positions p_1 .. p_k:
//!   mean        sum x / k
//!   m2          sum (x - mean)^2                      variance = m2 / (k - ddof)
//!   slope       least-squares change per checkpoint: positions rescaled to mean spacing 1
//!   residual    sum of squared residuals of that line
//!   successive  sum (x_{t+1} - x_t)^2                 von Neumann: variance = successive / (2 (k - 1))
//!   rho         lag-1 autocorrelation about the mean, uncorrected
//! Values that rounding alone tells apart (range within 8 eps of the largest) have no spread: sums and slope are 0.
//!
//! For the runs r of a group, with v_r the variance of run r by the chosen estimator:
//!   within   sqrt(mean_r v_r)          mean_sd  mean_r sqrt(v_r)
//!   pooled   sd of all window values of all runs together
//! Runs with too few values for the estimator are left out of the noise and not counted in `n_runs`.
//! Cost O(values). Twin: python/signoise/reference/_snr.py

use crate::error::{Error, Result};
use crate::moments::Moments;
use crate::parallel::{Interrupt, Segments, check_len, map_groups};

/// The last checkpoints of one series in numbers; NaN where undefined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Number of checkpoints in the window.
    pub n: u64,
    /// Mean over the window.
    pub mean: f64,
    /// Value of the last checkpoint.
    pub last: f64,
    /// Sum of squared deviations from the mean.
    pub m2: f64,
    /// Least-squares slope in score units per checkpoint.
    pub slope: f64,
    /// Sum of squares of the rescaled positions about their mean: var(slope) = sigma^2 / sxx.
    pub sxx: f64,
    /// Sum of squared residuals about the line.
    pub residual: f64,
    /// Sum of squared successive differences.
    pub successive: f64,
    /// Lag-1 autocorrelation.
    pub rho: f64,
}

/// Largest range of equal values, of the largest of them: sums in another order differ by that much.
const FLAT: f64 = 8.0 * f64::EPSILON;

impl Summary {
    fn new(window: &[f64], positions: &[f64]) -> Self {
        let mut summary = Self::measured(window, positions);
        if summary.n >= 2 && flat(window) {
            summary.m2 = 0.0;
            summary.successive = 0.0;
            summary.rho = f64::NAN;
            if !summary.slope.is_nan() {
                (summary.slope, summary.residual) = (0.0, 0.0);
            }
        }
        summary
    }

    fn measured(window: &[f64], positions: &[f64]) -> Self {
        let moments = Moments::new(window);
        let k = window.len();
        let last = window.last().copied().unwrap_or(f64::NAN);
        let successive =
            if k < 2 { f64::NAN } else { window.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum::<f64>() };
        let rho = if k < 2 || moments.m2 == 0.0 {
            f64::NAN
        } else {
            window.windows(2).map(|pair| (pair[0] - moments.mean) * (pair[1] - moments.mean)).sum::<f64>() / moments.m2
        };
        let (slope, sxx, residual) = line(window, positions, moments);
        Self { n: moments.n, mean: moments.mean, last, m2: moments.m2, slope, sxx, residual, successive, rho }
    }
}

/// Whether rounding alone tells the values apart.
fn flat(values: &[f64]) -> bool {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &value in values {
        low = low.min(value);
        high = high.max(value);
    }
    let range = high - low;
    range.is_finite() && range <= FLAT * high.abs().max(low.abs())
}

/// Least squares of the window on its positions, rescaled so that their mean spacing is 1.
fn line(window: &[f64], positions: &[f64], moments: Moments) -> (f64, f64, f64) {
    let undefined = (f64::NAN, f64::NAN, f64::NAN);
    let (Some(first), Some(last)) = (positions.first(), positions.last()) else { return undefined };
    let spacing = (last - first) / (positions.len() as f64 - 1.0);
    let spread = spacing.is_finite() && spacing > 0.0;
    if positions.len() < 2 || !spread {
        return undefined;
    }
    let centre = positions.iter().map(|p| (p - first) / spacing).sum::<f64>() / positions.len() as f64;
    let (mut sxx, mut sxy) = (0.0, 0.0);
    for (&p, &x) in positions.iter().zip(window) {
        let u = (p - first) / spacing - centre;
        sxx += u * u;
        sxy += u * (x - moments.mean);
    }
    let slope = sxy / sxx;
    let residual = positions
        .iter()
        .zip(window)
        .map(|(&p, &x)| (x - moments.mean - slope * ((p - first) / spacing - centre)).powi(2))
        .sum();
    (slope, sxx, residual)
}

/// Summary of the last `window` checkpoints of each series; `positions` rise within a series.
///
/// # Errors
/// Bad offsets, unequal lengths, `window == 0`, or an interrupt.
pub fn window_summary(
    values: &[f64],
    positions: &[f64],
    offsets: &[usize],
    window: usize,
    interrupt: &Interrupt,
) -> Result<Vec<Summary>> {
    if window == 0 {
        return Err(Error::Argument { name: "window", expected: "at least 1", found: "0".into() });
    }
    check_len("positions", positions.len(), values.len())?;
    let segments = Segments::new(offsets, values.len())?;
    map_groups(segments.len(), interrupt, |group| {
        let (series, at) = (segments.slice(values, group), segments.slice(positions, group));
        let start = series.len().saturating_sub(window);
        Ok(Summary::new(&series[start..], &at[start..]))
    })
}

/// How the noise of several runs becomes one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimator {
    /// Square root of the mean variance of the runs.
    Within,
    /// Mean of the standard deviations of the runs.
    MeanSd,
    /// Standard deviation of all window values together: the spread between runs is in it.
    Pooled,
    /// `Within` of the residuals about each run's own line.
    Detrended,
    /// `Within` of the von Neumann estimate: a lower bound under positive autocorrelation.
    SuccessiveDifference,
}

impl Estimator {
    const NAMES: [(&'static str, Self); 5] = [
        ("within", Self::Within),
        ("mean_sd", Self::MeanSd),
        ("pooled", Self::Pooled),
        ("detrended", Self::Detrended),
        ("successive_difference", Self::SuccessiveDifference),
    ];

    /// The estimator of this name.
    ///
    /// # Errors
    /// [`Error::Unknown`] lists the names.
    pub fn parse(name: &str) -> Result<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, estimator)| estimator).ok_or_else(|| {
            Error::Unknown {
                name: "noise",
                found: name.to_string(),
                known: Self::NAMES.map(|(known, _)| known).join(", "),
            }
        })
    }

    /// Variance of one run and its degrees of freedom; `None` where it has too few values.
    fn variance(self, run: &Run, ddof: u64) -> Option<(f64, f64)> {
        let lost = if self == Self::Detrended { ddof + 1 } else { ddof };
        let needed = if self == Self::Detrended { 3 } else { 2 };
        if run.n < needed || run.n <= lost {
            return None;
        }
        let divisor = (run.n - lost) as f64;
        let df = if self == Self::Detrended { run.n - 2 } else { run.n - 1 } as f64;
        let variance = match self {
            Self::Detrended => run.residual / divisor,
            Self::SuccessiveDifference => run.successive / (2.0 * (run.n - 1) as f64),
            Self::Within | Self::MeanSd | Self::Pooled => run.m2 / divisor,
        };
        variance.is_finite().then_some((variance, df))
    }
}

/// What `group_noise` needs of one run: columns of [`window_summary`].
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Number of checkpoints in the window.
    pub n: u64,
    /// Mean over the window.
    pub mean: f64,
    /// Sum of squared deviations.
    pub m2: f64,
    /// Least-squares slope.
    pub slope: f64,
    /// Sum of squares of the positions.
    pub sxx: f64,
    /// Residual sum of squares.
    pub residual: f64,
    /// Sum of squared successive differences.
    pub successive: f64,
}

/// Noise of one group of runs; NaN where undefined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Runs that entered the noise.
    pub n_runs: u64,
    /// Mean of the pooled window values of all runs, also of those too short for a variance.
    pub mean: f64,
    /// Noise in score units.
    pub absolute: f64,
    /// Degrees of freedom, summed over runs.
    pub df: f64,
    /// Mean slope of the runs, in score units per checkpoint.
    pub trend: f64,
    /// t statistic of the mean slope (pooled residual variance).
    pub trend_t: f64,
    /// Degrees of freedom of that t.
    pub trend_df: f64,
}

/// Combines the runs of each group.
///
/// # Errors
/// Bad offsets or an interrupt.
pub fn group_noise(
    runs: &[Run],
    offsets: &[usize],
    estimator: Estimator,
    ddof: u64,
    interrupt: &Interrupt,
) -> Result<Vec<Noise>> {
    let segments = Segments::new(offsets, runs.len())?;
    map_groups(segments.len(), interrupt, |group| Ok(noise_of(segments.slice(runs, group), estimator, ddof)))
}

fn noise_of(runs: &[Run], estimator: Estimator, ddof: u64) -> Noise {
    let pooled = runs.iter().fold(Moments::new(&[]), |all, run| {
        all.combine(Moments { n: run.n, mean: run.mean, m2: run.m2, min: f64::NAN, max: f64::NAN })
    });
    let (mut n_runs, mut total, mut df) = (0_u64, 0.0, 0.0);
    for run in runs {
        if let Some((variance, freedom)) = estimator.variance(run, ddof) {
            n_runs += 1;
            total += if estimator == Estimator::MeanSd { variance.sqrt() } else { variance };
            df += freedom;
        }
    }
    let average = total / n_runs as f64; // 0 / 0: NaN where no run has a variance
    let absolute = match estimator {
        _ if n_runs == 0 => f64::NAN,
        Estimator::MeanSd => average,
        Estimator::Pooled => pooled.variance(ddof).sqrt(),
        Estimator::Within | Estimator::Detrended | Estimator::SuccessiveDifference => average.sqrt(),
    };
    let (trend, trend_t, trend_df) = mean_slope(runs);
    Noise { n_runs, mean: pooled.mean, absolute, df, trend, trend_t, trend_df }
}

/// Mean slope, its t statistic with the residual variance pooled over runs, and the degrees of freedom.
fn mean_slope(runs: &[Run]) -> (f64, f64, f64) {
    let (mut count, mut slopes, mut inverse, mut residual, mut df) = (0.0_f64, 0.0, 0.0, 0.0, 0.0);
    for run in runs.iter().filter(|run| run.n >= 2 && run.slope.is_finite()) {
        count += 1.0;
        slopes += run.slope;
        inverse += 1.0 / run.sxx;
        residual += run.residual;
        df += run.n as f64 - 2.0;
    }
    let trend = slopes / count;
    let stderr = (residual / df * inverse).sqrt() / count;
    (trend, trend / stderr, df)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(window: &[f64]) -> Summary {
        let positions: Vec<f64> = (0..window.len()).map(|p| 1000.0 * p as f64).collect();
        Summary::new(window, &positions)
    }

    #[test]
    fn a_line_has_no_residual() {
        let s = summary(&[1.0, 3.0, 5.0]);
        assert!((s.slope - 2.0).abs() < 1e-15 && s.residual.abs() < 1e-28 && (s.sxx - 2.0).abs() < 1e-15);
        assert_eq!(s.successive, 8.0);
    }

    #[test]
    fn golden_noise() {
        // noise of [.50, .52, .51] is 0.0160097 with ddof 0
        let s = summary(&[0.50, 0.52, 0.51]);
        assert!(((s.m2 / 3.0).sqrt() / s.mean - 0.016_009_7).abs() < 1e-7);
    }

    #[test]
    fn short_runs_leave_the_noise() {
        let run =
            |n, m2| Run { n, mean: 0.5, m2, slope: f64::NAN, sxx: f64::NAN, residual: f64::NAN, successive: f64::NAN };
        let noise = noise_of(&[run(3, 0.02), run(1, 0.0)], Estimator::Within, 1);
        assert_eq!((noise.n_runs, noise.absolute), (1, 0.1));
        assert!(noise_of(&[run(1, 0.0)], Estimator::Within, 1).absolute.is_nan());
        assert!(noise_of(&[], Estimator::Pooled, 1).absolute.is_nan());
    }
}
