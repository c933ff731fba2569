//! Spreads of one group of scores. `c` is sorted in rising order and finite, n = c.len() >= 2, unless said otherwise.

/// Mean; NaN where there is nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// max - min.
pub(super) fn range(c: &[f64]) -> f64 {
    last(c) - first(c)
}

/// (c - min) / (max - min); NaN throughout where all scores are equal.
pub(super) fn min_max_scaled(c: &[f64]) -> Vec<f64> {
    let (low, width) = (first(c), range(c));
    c.iter().map(|x| (x - low) / width).collect()
}

/// sd0^2. Deviations are taken from the smallest score first, so that equal scores give exactly 0.
pub(super) fn variance(c: &[f64]) -> f64 {
    let low = first(c);
    let rest: Vec<f64> = c.iter().map(|x| x - low).collect();
    let centre = mean(&rest);
    rest.iter().map(|x| (x - centre) * (x - centre)).sum::<f64>() / c.len() as f64
}

/// Mean of |c_i - c_j| over i < j.
pub(super) fn pair_mean(c: &[f64]) -> f64 {
    2.0 * pair_sum(c) / (c.len() as f64 * (c.len() as f64 - 1.0))
}

/// Mean of (c_i - c_j)^2 over i < j: twice the sample variance.
pub(super) fn pair_mean_square(c: &[f64]) -> f64 {
    2.0 * variance(c) * c.len() as f64 / (c.len() as f64 - 1.0)
}

/// sd0 of the distances |c_i - c_j|, i < j.
pub(super) fn pair_sd(c: &[f64]) -> f64 {
    if c.len() == 2 {
        return 0.0; // one distance; the difference below would leave a rounding error
    }
    // From three points on the distances cannot be all alike, so little is lost in this difference.
    let distance = pair_mean(c);
    (pair_mean_square(c) - distance * distance).max(0.0).sqrt()
}

/// Squared centred L2 discrepancy in one dimension, 1/12 + mean(a^2) - sum_{i<j} |c_i - c_j| / n^2, a = |c - 1/2|:
/// the usual double sum with its terms collected. NaN outside [0, 1].
pub(super) fn centred_discrepancy(c: &[f64]) -> f64 {
    if outside_unit(c) {
        return f64::NAN;
    }
    let n = c.len() as f64;
    1.0 / 12.0 + c.iter().map(|x| (x - 0.5) * (x - 0.5)).sum::<f64>() / n - pair_sum(c) / (n * n)
}

/// Mean over i = 0..n of |i / n - t_i|, t_0 = 0, t_i = c_(i).
pub(super) fn mean_cdf_gap(c: &[f64]) -> f64 {
    let n = c.len() as f64;
    c.iter().zip(1_u32..).map(|(x, i)| (f64::from(i) / n - x).abs()).sum::<f64>() / (n + 1.0)
}

/// sup over [0, 1] of |F_n - F|, F uniform. NaN outside [0, 1].
pub(super) fn star_discrepancy(c: &[f64]) -> f64 {
    if outside_unit(c) {
        return f64::NAN;
    }
    let n = c.len() as f64;
    c.iter().zip(1_u32..).map(|(x, i)| (f64::from(i) / n - x).max(x - (f64::from(i) - 1.0) / n)).fold(0.0, f64::max)
}

/// median |c - median(c)|, not scaled.
pub(super) fn median_deviation(c: &[f64]) -> f64 {
    let centre = median(c);
    let mut deviations: Vec<f64> = c.iter().map(|x| (x - centre).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    median(&deviations)
}

/// mean |c - mean(c)|.
pub(super) fn mean_deviation(c: &[f64]) -> f64 {
    let low = first(c);
    let rest: Vec<f64> = c.iter().map(|x| x - low).collect();
    let centre = mean(&rest);
    rest.iter().map(|x| (x - centre).abs()).sum::<f64>() / c.len() as f64
}

/// (n + 1 - 2 sum(cumsum(y)) / sum(y)) / n of sorted y >= 0.
pub(super) fn gini_of_shares(y: &[f64]) -> f64 {
    let n = y.len() as f64;
    let (mut total, mut sum_of_totals) = (0.0, 0.0);
    for value in y {
        total += value;
        sum_of_totals += total;
    }
    (n + 1.0 - 2.0 * sum_of_totals / total) / n
}

/// Q3 - Q1.
pub(super) fn quartile_range(c: &[f64]) -> f64 {
    percentile(c, 0.75) - percentile(c, 0.25)
}

/// Quantile with linear interpolation at position q (n - 1); written from the nearer end, as NumPy does, so that the
/// two agree bit for bit where a histogram's number of bins hangs on it.
pub(super) fn percentile(c: &[f64], q: f64) -> f64 {
    let position = q * (c.len() as f64 - 1.0);
    let below = position.floor();
    let weight = position - below;
    let Some(&low) = c.get(below as usize) else { return f64::NAN };
    let high = c.get(below as usize + 1).copied().unwrap_or(low);
    if weight < 0.5 { low + (high - low) * weight } else { high - (high - low) * (1.0 - weight) }
}

/// min(share of c at or below x, share of c at or above x) for each x of `points`, in any order.
pub(super) fn halfspace_depths(points: &[f64], c: &[f64]) -> Vec<f64> {
    let n = c.len() as f64;
    points
        .iter()
        .map(|point| {
            let at_or_below = c.partition_point(|x| x <= point) as f64;
            let below = c.partition_point(|x| x < point) as f64;
            (at_or_below / n).min(1.0 - below / n)
        })
        .collect()
}

/// 1 / (1 + |x - median(c)| / MADn(c)) for each x of `points`; NaN where MADn is 0.
pub(super) fn projection_depths(points: &[f64], c: &[f64]) -> Vec<f64> {
    let centre = median(c);
    let scale = median_deviation(c) / NORMAL_QUARTILE;
    points.iter().map(|x| if scale > 0.0 { 1.0 / (1.0 + (x - centre).abs() / scale) } else { f64::NAN }).collect()
}

/// Upper quartile of the standard normal distribution: MAD over it estimates a standard deviation.
const NORMAL_QUARTILE: f64 = 0.674_489_750_196_081_7;

/// -sum h ln h over the occupied bins, h the histogram's densities. Not an entropy: it changes with the unit of c.
pub(super) fn density_entropy(c: &[f64]) -> f64 {
    let n = c.len() as f64;
    -histogram(c)
        .iter()
        .filter(|bin| bin.count > 0.0)
        .map(|bin| bin.count / bin.width / n)
        .map(|density| density * density.ln())
        .sum::<f64>()
}

/// -sum p ln p over the occupied bins, p the shares of the scores.
pub(super) fn shannon_entropy(c: &[f64]) -> f64 {
    let n = c.len() as f64;
    // 0.0 - x, not -x: one bin has entropy 0, not -0.
    0.0 - histogram(c)
        .iter()
        .filter(|bin| bin.count > 0.0)
        .map(|bin| bin.count / n)
        .map(|share| share * share.ln())
        .sum::<f64>()
}

struct Bin {
    count: f64,
    width: f64,
}

/// Equal bins over [min, max] (half a unit to each side where they coincide), the last one closed. Their number is
/// range / (2 IQR n^(-1/3)), truncated and held within 5..n (5 wins); width 0.1 instead where IQR is 0.
fn histogram(c: &[f64]) -> Vec<Bin> {
    let n = c.len();
    let iqr = quartile_range(c);
    let wanted = if iqr > 0.0 { 2.0 * iqr / (n as f64).powf(1.0 / 3.0) } else { 0.1 };
    let bins = ((range(c) / wanted) as usize).min(n).max(5);
    let (low, high) = if range(c) > 0.0 { (first(c), last(c)) } else { (first(c) - 0.5, last(c) + 0.5) };
    let step = (high - low) / bins as f64;
    let edge = |k: usize| if k == bins { high } else { k as f64 * step + low };
    let below = |k: usize| if k == bins { n } else { c.partition_point(|x| *x < edge(k)) };
    (0..bins).map(|k| Bin { count: (below(k + 1) - below(k)) as f64, width: edge(k + 1) - edge(k) }).collect()
}

/// exp(psi(n) - psi(1) + ln 2 + mean ln e_i), e_i the distance to the nearest other score (Kozachenko and Leonenko,
/// k = 1); psi(n) - psi(1) is a harmonic number. NaN where two scores are equal.
pub(super) fn neighbour_entropy(c: &[f64]) -> f64 {
    let gaps: Vec<f64> = gaps(c).collect();
    if gaps.contains(&0.0) {
        return f64::NAN;
    }
    let to_left = std::iter::once(f64::INFINITY).chain(gaps.iter().copied());
    let to_right = gaps.iter().copied().chain(std::iter::once(f64::INFINITY));
    let logs = to_left.zip(to_right).map(|(left, right)| left.min(right).ln()).sum::<f64>();
    let harmonic = (1..c.len()).map(|k| 1.0 / k as f64).sum::<f64>();
    (harmonic + std::f64::consts::LN_2 + logs / c.len() as f64).exp()
}

/// sum_{i<j} (c_j - c_i): gap k lies between k * (n - k) pairs. Every term is positive, so nothing cancels.
fn pair_sum(c: &[f64]) -> f64 {
    gaps(c).enumerate().map(|(k, gap)| gap * ((k + 1) as f64 * (c.len() - k - 1) as f64)).sum()
}

fn gaps(c: &[f64]) -> impl Iterator<Item = f64> {
    c.windows(2).map(range)
}

fn median(c: &[f64]) -> f64 {
    let middle = c.len() / 2;
    let value = |index: usize| c.get(index).copied().unwrap_or(f64::NAN);
    if c.len() % 2 == 1 { value(middle) } else { f64::midpoint(value(middle.wrapping_sub(1)), value(middle)) }
}

fn outside_unit(c: &[f64]) -> bool {
    first(c) < 0.0 || last(c) > 1.0
}

fn first(c: &[f64]) -> f64 {
    c.first().copied().unwrap_or(f64::NAN)
}

fn last(c: &[f64]) -> f64 {
    c.last().copied().unwrap_or(f64::NAN)
}
