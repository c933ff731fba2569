//! Incomplete beta function on the axis u = log F, and with it Student's t and the F distribution.
//!
//! F = (x / a) / (y / b) with y = 1 - x, a = df1 / 2, b = df2 / 2; t^2 is F with df1 = 1.
//! I_x(a, b) = x^a y^b / B(a, b) * 1 / (b_0 + a_1 / (b_1 + a_2 / (b_2 + ..)))  (DiDonato and Morris 1992, eq. 9)
//!   a_m = (a + m - 1)(a + b + m - 1) m (b - m) x^2 / (a + 2m - 1)^2
//!   b_m = m + m (b - m) x / (a + 2m - 1) + (a + m)(a y - b x + 1 + m (1 + y)) / (a + 2m + 1)
//! on the side of the mean where it converges fast; unlike the textbook fraction it does not cancel where x is near 1.
//! The common factor is written with the errors of Stirling's formula and deviances (Loader 2000), so that large df
//! lose no digits. Infinite df are the normal and the chi-square distribution.
//! The beta distribution itself is I_x(a, b); binomial tails are P(K <= k) = 1 - I_p(k + 1, n - k).

use std::f64::consts::PI;

use super::gamma::{MOST_TERMS, deviance, log_mean_square_quantile, nonzero, stirling_error};
use super::normal::{normal_cdf, normal_quantile};
use super::solve::{Tails, solve};

/// Above this many degrees of freedom on both sides the quantile of log F is a short expansion.
const LARGE_DF: f64 = 1e8;

/// This many degrees of freedom beside less than `LARGE_DF` are infinite to the last bit.
const INFINITE_DF: f64 = 1e18;

/// Tails and density in u = log F.
fn tails(a: f64, b: f64, u: f64) -> Tails {
    // The larger of F and 1 / F is divided out, so that nothing overflows.
    let shrink = (-u.abs()).exp();
    let (p, q) = if u > 0.0 { (a, b * shrink) } else { (a * shrink, b) };
    let sum = p + q;
    let (x, y) = (p / sum, q / sum);
    let change = (-u.abs()).exp_m1() * if u > 0.0 { -1.0 } else { 1.0 };
    // with n = a + b: log(n x / a) and n x / a - 1, the same for y and b
    let log_n = ((a + b) / sum).ln();
    let (log_x, log_y) = if u > 0.0 { (log_n, log_n - u) } else { (log_n + u, log_n) };
    let excess = a * (b * change / sum); // b x - a y
    let exponent = -a * deviance(b * change / sum, log_x) - b * deviance(-a * change / sum, log_y);
    let density = (a / (a + b) * b / (2.0 * PI)).sqrt()
        * (stirling_error(a + b) - stirling_error(a) - stirling_error(b) + exponent).exp();
    if density == 0.0 {
        Tails::beyond(u > 0.0)
    } else if x < (a + 1.0) / (a + b + 2.0) {
        let lower = density * fraction(a, b, x, y, -excess);
        Tails { lower, upper: 1.0 - lower, density }
    } else {
        let upper = density * fraction(b, a, y, x, excess);
        Tails { lower: 1.0 - upper, upper, density }
    }
}

/// The continued fraction of I_x(a, b) by Lentz's method; `shortfall` is a y - b x.
fn fraction(a: f64, b: f64, x: f64, y: f64, shortfall: f64) -> f64 {
    let mut c = nonzero(a * (shortfall + 1.0) / (a + 1.0));
    let mut d = 0.0;
    let mut h = c;
    for m in 1..MOST_TERMS {
        let m = m as f64;
        let below = a + 2.0 * m - 1.0;
        let numerator = (a + m - 1.0) / below * ((a + b + m - 1.0) / below) * (m * (b - m) * x * x);
        let denominator = m + m * (b - m) * x / below + (a + m) * (shortfall + 1.0 + m * (1.0 + y)) / (below + 2.0);
        d = 1.0 / nonzero(denominator + numerator * d);
        c = nonzero(denominator + numerator / c);
        let change = c * d;
        h *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    1.0 / h
}

/// log F from its two tail probabilities, both strictly between 0 and 1.
fn log_f_quantile(tail: (f64, f64), df1: f64, df2: f64) -> f64 {
    let z = if tail.0 <= tail.1 { normal_quantile(tail.0) } else { -normal_quantile(tail.1) };
    if df1.min(df2) >= LARGE_DF {
        // Fisher's z; the next term is of relative order 1 / df.
        return 2.0 * z * (0.5 * (1.0 / df1 + 1.0 / df2)).sqrt() + (1.0 / df2 - 1.0 / df1) * (z * z + 2.0) / 3.0;
    }
    if df2 >= INFINITE_DF {
        return log_mean_square_quantile(tail, df1);
    }
    if df1 >= INFINITE_DF {
        return -log_mean_square_quantile((tail.1, tail.0), df2);
    }
    let (a, b) = (0.5 * df1, 0.5 * df2);
    let scale = (1.0 / a + 1.0 / b + 0.5 / (a * a) + 0.5 / (b * b)).sqrt();
    solve(tail, z * scale, 0.0, scale, |u| tails(a, b, u))
}

/// The x with P(F(df1, df2) <= x) = p; NaN for p outside [0, 1] and df that is not positive; df may be infinite.
#[must_use]
pub fn f_quantile(p: f64, df1: f64, df2: f64) -> f64 {
    if !((0.0..=1.0).contains(&p) && df1 > 0.0 && df2 > 0.0) {
        f64::NAN
    } else if p == 0.0 {
        0.0
    } else if p == 1.0 {
        f64::INFINITY
    } else {
        log_f_quantile((p, 1.0 - p), df1, df2).exp()
    }
}

/// P(X <= x) for the beta distribution; NaN for shapes that are not positive and finite.
#[must_use]
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x.is_nan() || !(a > 0.0 && b > 0.0 && a.is_finite() && b.is_finite()) {
        f64::NAN
    } else if x <= 0.0 {
        0.0
    } else if x >= 1.0 {
        1.0
    } else {
        tails(a, b, x.ln() - (-x).ln_1p() + (b / a).ln()).lower
    }
}

/// The x with P(X <= x) = p for the beta distribution; NaN for p outside [0, 1] and shapes that are not positive and
/// finite.
#[must_use]
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if !((0.0..=1.0).contains(&p) && a > 0.0 && b > 0.0 && a.is_finite() && b.is_finite()) {
        f64::NAN
    } else if p == 0.0 || p == 1.0 {
        p
    } else {
        1.0 / (1.0 + b / a * (-log_f_quantile((p, 1.0 - p), 2.0 * a, 2.0 * b)).exp())
    }
}

/// P(T <= t) for Student's t; NaN for df that is not positive; df may be infinite.
#[must_use]
pub fn t_cdf(t: f64, df: f64) -> f64 {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        f64::NAN
    } else if df >= INFINITE_DF {
        normal_cdf(t)
    } else if t == 0.0 {
        0.5
    } else if t.is_infinite() {
        if t > 0.0 { 1.0 } else { 0.0 }
    } else {
        let both = tails(0.5, 0.5 * df, 2.0 * t.abs().ln());
        if t < 0.0 { 0.5 * both.upper } else { 0.5 + 0.5 * both.lower }
    }
}

/// The x with P(T <= x) = p for Student's t; NaN for p outside [0, 1] and df that is not positive; df may be infinite.
#[must_use]
pub fn t_quantile(p: f64, df: f64) -> f64 {
    if !((0.0..=1.0).contains(&p) && df > 0.0) {
        return f64::NAN;
    }
    if df >= INFINITE_DF {
        return normal_quantile(p);
    }
    let beyond = if p > 0.5 { 1.0 - p } else { p };
    let size = if beyond == 0.0 {
        f64::INFINITY
    } else if beyond == 0.5 {
        0.0
    } else {
        // The middle is taken from p - 1/2 itself, which is exact there.
        (0.5 * log_f_quantile(((2.0 * p - 1.0).abs(), 2.0 * beyond), 1.0, df)).exp()
    };
    if p > 0.5 { size } else { -size }
}
