//! The permutation distribution of the number of discordant pairs of a series with ties.

/// Cumulative probabilities P(D <= d), d = 0.., of a random arrangement of values with multiplicities `ties`.
///
/// The q-multinomial is a product of q-binomials, each built by q-Pascal's rule: sums and products of positive numbers
/// only, so that the smallest tail keeps its relative precision.
pub(super) fn lower_tail(ties: &[usize]) -> Vec<f64> {
    let mut counts = vec![1.0];
    let mut placed = 0;
    for &m in ties {
        counts = product(&counts, &q_binomial(placed, m));
        placed += m;
    }
    let total: f64 = counts.iter().sum();
    let mut sum = 0.0;
    counts
        .iter()
        .map(|count| {
            sum += count;
            sum / total
        })
        .collect()
}

/// P(D <= d or D >= its mirror image), from the cumulative distribution of D, which is symmetric.
pub(super) fn two_sided(tail: &[f64], d: u64) -> f64 {
    usize::try_from(d).ok().and_then(|d| tail.get(d)).map_or(f64::NAN, |p| (2.0 * p).min(1.0))
}

/// The same from the normal distribution; `score` is S = C - D.
pub(super) fn normal_two_sided(score: f64, ties: &[usize]) -> f64 {
    let weight = |m: f64| m * (m - 1.0) * (2.0 * m + 5.0);
    let n: usize = ties.iter().sum();
    let variance = (weight(n as f64) - ties.iter().map(|&m| weight(m as f64)).sum::<f64>()) / 18.0;
    erfc(score.abs() / variance.sqrt() / std::f64::consts::SQRT_2)
}

/// Coefficients of the q-binomial [a + b choose b]: the k-th counts the ways to merge `a` small and `b` large equal
/// values with k pairs out of order. G(a, b) = G(a, b - 1) + q^b G(a - 1, b): the last value is large, or it is small
/// and comes after all b.
fn q_binomial(a: usize, b: usize) -> Vec<f64> {
    let mut row = vec![vec![1.0]; b + 1]; // G(0, j) = 1
    for i in 1..=a {
        let mut next: Vec<Vec<f64>> = Vec::with_capacity(b + 1);
        for (j, above) in row.iter().enumerate() {
            let mut counts = vec![0.0; i * j + 1];
            if let Some(left) = next.last() {
                counts.iter_mut().zip(left).for_each(|(count, more)| *count += more);
            }
            counts.iter_mut().skip(j).zip(above).for_each(|(count, more)| *count += more);
            next.push(counts);
        }
        row = next;
    }
    row.pop().unwrap_or_default()
}

fn product(left: &[f64], right: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; left.len() + right.len() - 1];
    for (shift, a) in left.iter().enumerate() {
        out.iter_mut().skip(shift).zip(right).for_each(|(sum, b)| *sum += a * b);
    }
    out
}

/// Complementary error function for x >= 0: the power series of erf below 2, Laplace's continued fraction above.
fn erfc(x: f64) -> f64 {
    let gauss = (-x * x).exp();
    if x < 2.0 {
        // erf(x) = 2 / sqrt(pi) exp(-x^2) sum_k 2^k x^(2k+1) / (1 3 .. (2k+1)), all terms positive
        let (mut term, mut sum) = (x, x);
        for k in 1..60 {
            term *= 2.0 * x * x / f64::from(2 * k + 1);
            sum += term;
        }
        return 1.0 - std::f64::consts::FRAC_2_SQRT_PI * gauss * sum;
    }
    let fraction = (1..=80).rev().fold(x, |tail, k| x + f64::from(k) / 2.0 / tail);
    std::f64::consts::FRAC_2_SQRT_PI / 2.0 * gauss / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_binomials_count_arrangements() {
        assert_eq!(q_binomial(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(q_binomial(3, 1), [1.0, 1.0, 1.0, 1.0]);
        assert_eq!(q_binomial(0, 4), [1.0]);
        assert_eq!(q_binomial(6, 7).iter().sum::<f64>(), 1716.0);
    }

    #[test]
    fn the_farthest_tail_of_fifty_is_one_in_fifty_factorial() {
        let tail = lower_tail(&[1; 50]);
        let factorial = (1..=50).map(f64::from).product::<f64>();
        assert!((tail[0] * factorial - 1.0).abs() < 1e-13);
        assert_eq!(tail.len(), 50 * 49 / 2 + 1);
    }

    #[test]
    fn erfc_at_known_points() {
        // math.erfc of CPython
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.4795001221869535),
            (1.0, 0.15729920705028513),
            (1.999, 0.004698443348629488),
            (2.0, 0.004677734981047265),
            (3.0, 2.2090496998585438e-05),
            (5.0, 1.5374597944280351e-12),
            (10.0, 2.088487583762545e-45),
            (25.0, 8.300172571196522e-274),
        ] {
            assert!((erfc(x) / expected - 1.0).abs() < 1e-12, "erfc({x}) = {}", erfc(x));
        }
    }
}
