//! Incomplete gamma function on the axis w = ln(x / a), and the chi-square quantile.
//!
//! P(a, x) = x^a e^-x / Gamma(a + 1) * (1 + x / (a + 1) + x^2 / ((a + 1)(a + 2)) + ..), x < a + 1
//! Q(a, x) = x^a e^-x / Gamma(a) * 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ..)),       x >= a + 1
//! The common factor is written with the error of Stirling's formula and a deviance (Loader 2000), which keeps its
//! digits for large a, where a log x - x - log Gamma(a) would cancel. Cost O(sqrt(a)) near x = a.

use std::f64::consts::PI;

use super::normal::normal_quantile;
use super::solve::{Tails, solve};

/// More terms than any series or fraction needs for the parameters it is used with.
pub(super) const MOST_TERMS: usize = 1_000_000;

/// Above this many degrees of freedom the chi-square quantile is a short expansion.
const LARGE_DF: f64 = 1e6;

/// log Gamma(a + 1) - (a + 1/2) log a + a - log(2 pi) / 2: what Stirling's formula leaves out.
pub(super) fn stirling_error(a: f64) -> f64 {
    let (mut a, mut error) = (a, 0.0);
    while a < 10.0 {
        error += (a + 0.5) * (1.0 / a).ln_1p() - 1.0;
        a += 1.0;
    }
    let r = 1.0 / (a * a);
    let series = 1.0 / 12.0
        - r * (1.0 / 360.0
            - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r * (1.0 / 1188.0 - r * (691.0 / 360_360.0 - r / 156.0)))));
    error + series / a
}

/// t - log(1 + t); `log_ratio` is log(1 + t), used where t is far from 0.
pub(super) fn deviance(t: f64, log_ratio: f64) -> f64 {
    if t.abs() > 0.3 {
        return t - log_ratio;
    }
    // log(1 + t) = 2 artanh(r)
    let r = t / (2.0 + t);
    let (square, mut power, mut sum) = (r * r, 1.0, 0.0);
    for k in 1..13 {
        sum += power / f64::from(2 * k + 1);
        power *= square;
    }
    t * r - 2.0 * r * square * sum
}

/// Tails and density in w = ln(x / a) of a gamma variable x of shape `a`.
fn tails(a: f64, w: f64) -> Tails {
    let t = w.exp_m1();
    let x = a * w.exp();
    // x^a e^-x / Gamma(a), which is also the density in w
    let density = (a / (2.0 * PI)).sqrt() * (-stirling_error(a) - a * deviance(t, w)).exp();
    if density == 0.0 {
        Tails::beyond(w > 0.0)
    } else if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0, 1.0, a);
        for _ in 0..MOST_TERMS {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        let lower = density / a * sum;
        Tails { lower, upper: 1.0 - lower, density }
    } else {
        // Lentz's method
        let mut b = a * t + 1.0;
        let mut c = 1e300;
        let mut d = 1.0 / b;
        let mut h = d;
        for i in 1..MOST_TERMS {
            let i = i as f64;
            let an = -i * (i - a);
            b += 2.0;
            d = 1.0 / nonzero(an * d + b);
            c = nonzero(b + an / c);
            let change = c * d;
            h *= change;
            if (change - 1.0).abs() < 1e-15 {
                break;
            }
        }
        let upper = density * h;
        Tails { lower: 1.0 - upper, upper, density }
    }
}

/// Keeps a partial denominator of a continued fraction away from 0.
pub(super) fn nonzero(x: f64) -> f64 {
    if x.abs() < 1e-300 { 1e-300 } else { x }
}

/// log(chi-square quantile / df) from its two tail probabilities, df finite.
pub(super) fn log_mean_square_quantile(tail: (f64, f64), df: f64) -> f64 {
    let z = if tail.0 <= tail.1 { normal_quantile(tail.0) } else { -normal_quantile(tail.1) };
    if df >= LARGE_DF {
        // Cornish-Fisher expansion; the next term is of relative order df^-3.
        let s = 2.0f64.sqrt();
        let z2 = z * z;
        let c = z * s / df.sqrt() + 2.0 / 3.0 * (z2 - 1.0) / df + z * (z2 - 7.0) / (9.0 * s * df * df.sqrt())
            - (6.0 * z2 * z2 + 14.0 * z2 - 32.0) / (405.0 * df * df)
            + z * (9.0 * z2 * z2 + 256.0 * z2 - 433.0) / (4860.0 * s * df * df * df.sqrt());
        return c.ln_1p();
    }
    let a = 0.5 * df;
    let scale = (1.0 / a + 0.5 / (a * a)).sqrt();
    solve(tail, z * scale, 0.0, scale, |w| tails(a, w))
}

/// The x with P(chi-square(df) <= x) = p; NaN for p outside [0, 1] and df that is not positive and finite.
#[must_use]
pub fn chi2_quantile(p: f64, df: f64) -> f64 {
    if !((0.0..=1.0).contains(&p) && df > 0.0 && df < f64::INFINITY) {
        f64::NAN
    } else if p == 0.0 {
        0.0
    } else if p == 1.0 {
        f64::INFINITY
    } else {
        df * log_mean_square_quantile((p, 1.0 - p), df).exp()
    }
}
