//! Studentised range: the range of J normal values over an independent estimate of their sd with `df` = nu.
//!
//! W(r) = J int phi(z) (Phi(z) - Phi(z - r))^(J-1) dz                    P(range of J standard normals <= r)
//!      = J int_0^inf (phi(x - r/2) + phi(x + r/2)) (Phi(x + r/2) - Phi(x - r/2))^(J-1) dx
//! P(q) = int W(e^v) k(v - log q) dv,   k(w) = C exp(nu (w - (e^(2w) - 1) / 2)),   the density of w = log(s / sigma)
//!
//! Both integrands are analytic and fall off at both ends, so the trapezoid rule converges geometrically: about 25
//! points inside and 20 to 100 outside give an absolute error near 1e-13. The outer points v = i * step do not depend
//! on q: W is computed once a point and serves all iterations, and all p of one (J, nu).
//! Cost of a first quantile: 10 to 100 values of W, about 1 microsecond each; further p cost little.

use std::collections::HashMap;
use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI, SQRT_2};

use super::gamma::stirling_error;
use super::normal::normal_quantile;
use super::solve::{Tails, solve};

/// More members than any comparison has; the integrand gets too narrow for the steps below beyond it.
const MOST_MEMBERS: f64 = 1e6;

/// The quantile at this many degrees of freedom is that at infinity to 1e-9.
const INFINITE_DF: f64 = 1e10;

/// The distribution for one (members, df); it remembers what it has computed.
#[derive(Debug)]
pub struct StudentisedRange {
    members: f64,
    df: f64,
    /// log C of the density k
    log_norm: f64,
    /// Distance of the outer points.
    step: f64,
    /// W is 1 to the last bit beyond this r.
    certain: f64,
    known: HashMap<i64, f64>,
}

impl StudentisedRange {
    /// None where `members` is not an integer from 2 to 1e6 or `df` is not positive; `df` may be infinite.
    #[must_use]
    pub fn new(members: f64, df: f64) -> Option<Self> {
        if !((2.0..=MOST_MEMBERS).contains(&members) && members.fract() == 0.0 && df > 0.0) {
            return None;
        }
        let a = 0.5 * df;
        // Largest steps that keep the error below 1e-12: the first for W alone, the second for k alone.
        let steps = ((0.25 * members.powf(-0.26)).min(0.15), 0.7 / (2.0 * df).sqrt());
        Some(Self {
            members,
            df,
            log_norm: LN_2 + 0.5 * (a / (2.0 * PI)).ln() - stirling_error(a),
            step: 1.0 / (1.0 / (steps.0 * steps.0) + 1.0 / (steps.1 * steps.1)).sqrt(),
            certain: certain(members),
            known: HashMap::new(),
        })
    }

    /// P(range / sd <= q), to an absolute error of about 1e-12.
    pub fn cdf(&mut self, q: f64) -> f64 {
        if q.is_nan() {
            f64::NAN
        } else if q <= 0.0 {
            0.0
        } else if q == f64::INFINITY {
            1.0
        } else {
            self.tails(q.ln()).lower.clamp(0.0, 1.0)
        }
    }

    /// The q with P(range / sd <= q) = p; NaN for p outside [0, 1].
    ///
    /// Its relative error is below 1e-8 for 1e-4 <= p <= 1 - 1e-4; it grows as 1 - p approaches the error of `cdf`.
    pub fn quantile(&mut self, p: f64) -> f64 {
        if !(0.0..=1.0).contains(&p) {
            return f64::NAN;
        }
        if p == 0.0 {
            return 0.0;
        }
        if p == 1.0 {
            return f64::INFINITY;
        }
        // Known sd first. Its start is the smaller of two upper bounds, W(r) > (2 Phi(r / 2) - 1)^J and
        // 1 - W(r) < J (J - 1) Phi(-r / sqrt 2); its root starts the general case.
        let (target, members) = ((p, 1.0 - p), self.members);
        let centred = -2.0 * normal_quantile(-0.5 * (p.ln() / members).exp_m1());
        let pairs = -SQRT_2 * normal_quantile((target.1 / (members * (members - 1.0))).min(0.5));
        let start = if pairs > 0.0 { centred.min(pairs) } else { centred }.max(f64::MIN_POSITIVE).ln();
        let scale = 0.1;
        let known_sd = solve(target, start, start, scale, |v| known_sd_tails(members, v));
        let log_q = if self.df >= INFINITE_DF {
            known_sd
        } else {
            solve(target, known_sd, known_sd, scale, |log_q| self.tails(log_q))
        };
        log_q.exp()
    }

    /// P(q), its complement and its derivative, by log q.
    fn tails(&mut self, log_q: f64) -> Tails {
        if self.df >= INFINITE_DF {
            return known_sd_tails(self.members, log_q);
        }
        let (step, df, log_norm) = (self.step, self.df, self.log_norm);
        let exponent = |w: f64| log_norm + df * (w - 0.5 * (2.0 * w).exp_m1());
        let slope = |w: f64| df * (2.0 * w).exp_m1();
        let first = (log_q / step).ceil() as i64;
        let (mut lower, mut density) = (0.0, 0.0);
        // Upwards from w = 0 until k alone is negligible (W is at most 1) ..
        for i in first.. {
            let w = i as f64 * step - log_q;
            let log_k = exponent(w);
            let k = log_k.exp();
            if log_k < -745.0 || k <= 1e-16 * lower || log_k.is_nan() {
                break;
            }
            let term = k * self.range_cdf(i);
            lower += term;
            density += term * slope(w);
        }
        // .. and downwards, where both W and k fall.
        for i in (i64::MIN..first).rev() {
            let w = i as f64 * step - log_q;
            let term = exponent(w).exp() * self.range_cdf(i);
            lower += term;
            density += term * slope(w);
            if term <= 3e-14 * lower || term.is_nan() {
                break;
            }
        }
        let lower = lower * step;
        Tails { lower, upper: 1.0 - lower, density: density * step }
    }

    /// W at the outer point `i`.
    fn range_cdf(&mut self, i: i64) -> f64 {
        let r = (i as f64 * self.step).exp();
        if r > self.certain {
            return 1.0;
        }
        let members = self.members;
        *self.known.entry(i).or_insert_with(|| range_cdf(members, r).0)
    }
}

/// The r beyond which W is 1 to the last bit: 1 - W(r) < J (J - 1) exp(-r^2 / 4) / 2.
fn certain(members: f64) -> f64 {
    2.0 * (37.0 + (0.5 * members * (members - 1.0)).ln()).sqrt()
}

fn known_sd_tails(members: f64, v: f64) -> Tails {
    let r = v.exp();
    if r > certain(members) {
        return Tails::beyond(true);
    }
    let (lower, density) = range_cdf(members, r);
    let upper = if members == 2.0 { libm::erfc(0.5 * r) } else { 1.0 - lower };
    Tails { lower, upper, density: density * r }
}

/// W(r) and its derivative.
fn range_cdf(members: f64, r: f64) -> (f64, f64) {
    let half = 0.5 * r;
    if members == 2.0 {
        // The difference of two normals has variance 2.
        return (libm::erf(half), (-half * half).exp() / PI.sqrt());
    }
    // The peak narrows with J like that of the largest of J normals.
    let step = 0.6 * members.powf(-0.32);
    let others = members as u64 - 1;
    let (mut sum, mut slope) = (0.0, 0.0);
    for i in 0.. {
        let x = f64::from(i) * step;
        let (near, far) = (x - half, x + half);
        let inside = 0.5 * (libm::erfc(near * FRAC_1_SQRT_2) - libm::erfc(far * FRAC_1_SQRT_2));
        let (phi_near, phi_far) = ((-0.5 * near * near).exp(), (-0.5 * far * far).exp());
        let power = power(inside, others - 1); // once less, for the derivative
        let weight = if i == 0 { 0.5 } else { 1.0 };
        let term = weight * (phi_near + phi_far) * power * inside;
        sum += term;
        slope += weight * phi_near * phi_far * power;
        if near > 0.0 && (term <= 1e-17 * sum || near > 9.0) {
            break;
        }
    }
    let norm = members * step / (2.0 * PI).sqrt();
    (norm * sum, norm * slope * 2.0 * (members - 1.0) / (2.0 * PI).sqrt())
}

/// base^exponent by squaring: the same bits everywhere, which `powi` does not promise.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

/// P(Q <= q) of the studentised range of `members` values; NaN for impossible parameters.
#[must_use]
pub fn studentised_range_cdf(q: f64, members: f64, df: f64) -> f64 {
    StudentisedRange::new(members, df).map_or(f64::NAN, |mut range| range.cdf(q))
}

/// The q with P(Q <= q) = p; NaN for impossible parameters.
#[must_use]
pub fn studentised_range_quantile(p: f64, members: f64, df: f64) -> f64 {
    StudentisedRange::new(members, df).map_or(f64::NAN, |mut range| range.quantile(p))
}
