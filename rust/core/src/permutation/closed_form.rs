//! Tails of integer laws given by the ratios of neighbouring probabilities.

/// The one magnitude of all values that are not 0, up to the last digits of a difference; `None` where they differ.
pub(super) fn one_magnitude(values: &[f64]) -> bool {
    let sizes = || values.iter().map(|x| x.abs()).filter(|&size| size > 0.0);
    let (least, most) = sizes().fold((f64::INFINITY, 0.0_f64), |(least, most), x| (least.min(x), most.max(x)));
    most - least <= 1e-12 * most || most == 0.0
}

/// P(X in a set), X on `0..=last` with P(X = k + 1) / P(X = k) = `ratio(k)`, which falls in k.
///
/// Weights start at 1 at the mode and go out from it until they vanish, so nothing overflows.
fn share(last: usize, ratio: impl Fn(usize) -> f64, inside: impl Fn(usize) -> bool) -> f64 {
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = usize::midpoint(low, high);
        if ratio(middle) >= 1.0 {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let (mode, mut all, mut part) = (low, 0.0, 0.0);
    let mut add = |k: usize, weight: f64| {
        all += weight;
        if inside(k) {
            part += weight;
        }
    };
    let mut weight = 1.0;
    for k in mode..=last {
        add(k, weight);
        weight *= ratio(k);
        if weight == 0.0 {
            break;
        }
    }
    weight = 1.0;
    for k in (0..mode).rev() {
        weight /= ratio(k);
        add(k, weight);
        if weight == 0.0 {
            break;
        }
    }
    part / all
}

/// P(|2 X - n| >= |2 x - n|) for X ~ Bin(n, 1/2).
pub(super) fn fair_coins(x: usize, n: usize) -> f64 {
    let off = (2 * x).abs_diff(n);
    share(n, |k| (n - k) as f64 / (k + 1) as f64, |k| (2 * k).abs_diff(n) >= off)
}

/// P(|n X - m ones| >= |n x - m ones|) for X ones among m of n values with `ones` ones, drawn without replacement.
pub(super) fn draws_without_replacement(x: usize, m: usize, ones: usize, n: usize) -> f64 {
    let least = (m + ones).saturating_sub(n);
    let off = |k: usize| (n as u128 * k as u128).abs_diff(m as u128 * ones as u128);
    let ratio = |j: usize| {
        let k = least + j;
        ((ones - k) as f64 * (m - k) as f64) / ((k + 1) as f64 * (n + k + 1 - m - ones) as f64)
    };
    share(m.min(ones) - least, ratio, |j| off(least + j) >= off(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} {expected}");
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        close(fair_coins(15, 20), 0.041_389_465_332_031_25);
        close(fair_coins(5, 20), 0.041_389_465_332_031_25);
        close(fair_coins(3, 6), 1.0);
        close(fair_coins(0, 0), 1.0);
        close(fair_coins(0, 1), 1.0);
        close(fair_coins(0, 10), 2.0 / 1024.0);
        // 2 x 2 table 3 1 / 1 3: 17 * 2 of 70 splits
        close(draws_without_replacement(3, 4, 4, 8), 34.0 / 70.0);
        close(draws_without_replacement(4, 4, 4, 8), 2.0 / 70.0);
        close(draws_without_replacement(0, 0, 4, 8), 1.0);
        close(draws_without_replacement(5, 5, 8, 8), 1.0);
    }

    #[test]
    fn one_magnitude_may_have_both_signs() {
        assert!(one_magnitude(&[0.0, 1.0, -1.0]));
        assert!(one_magnitude(&[0.3 - 0.2, 0.1]));
        assert!(one_magnitude(&[]));
        assert!(!one_magnitude(&[0.5, 1.0]));
    }
}
