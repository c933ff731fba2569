//! Standard errors of items: the observed information of each, as if the other items were known.
//!
//! I = sum_k n_k P (1 - P) z z' - sum_j Var_j[(u_ij - P) z],  z = (x, 1): complete less missing information (Louis
//! 1982), Var_j over the posterior of subject j. Under priors it is written for (log a, b), with their precision added.
//! In a 1PL, a has no error here: it hangs on all items at once.

use fearless_simd::Level;

use super::items::{Data, Items, Normal};
use super::lattice::Posterior;
use super::patterns::{Patterns, each_one};
use crate::error::Result;
use crate::parallel::Interrupt;

/// Standard errors of a and b; NaN where the information is not positive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errors {
    pub(super) discrimination: f64,
    pub(super) difficulty: f64,
}

pub(super) fn standard_errors(
    patterns: &Patterns,
    items: &Items,
    posterior: &Posterior,
    interrupt: &Interrupt,
) -> Result<Vec<Errors>> {
    let level = Level::new();
    Data::of_each(patterns, posterior, interrupt, |p, data| {
        let mut normal = data.likelihood([items.slope(p), items.intercept(p)], level);
        let missing = missing(patterns, posterior, p, &data.chances);
        for (information, lost) in normal.information.iter_mut().zip(missing) {
            *information -= lost;
        }
        errors(items, p, &normal)
    })
}

/// Sum over subjects of the posterior variances of (u - P) x and u - P, and their covariance.
fn missing(patterns: &Patterns, posterior: &Posterior, pattern: usize, chances: &[f64]) -> [f64; 3] {
    let right = patterns.right(pattern);
    let mut total = [0.0; 3];
    each_one(patterns.there(pattern), |j| {
        let u = f64::from(right.get(j / 64).is_some_and(|word| word >> (j % 64) & 1 == 1));
        let (start, weights) = posterior.of(j);
        let cells = weights.iter().zip(posterior.nodes.iter().skip(start).zip(chances.iter().skip(start)));
        let (mut first, mut second) = ([0.0; 2], [0.0; 3]);
        for (w, (x, p)) in cells {
            let (r, rx) = (u - p, (u - p) * x);
            for (sum, term) in first.iter_mut().zip([rx, r]) {
                *sum += w * term;
            }
            for (sum, term) in second.iter_mut().zip([rx * rx, rx * r, r * r]) {
                *sum += w * term;
            }
        }
        let [mx, m] = first;
        for ((total, square), mean) in total.iter_mut().zip(second).zip([mx * mx, mx * m, m * m]) {
            *total += square - mean;
        }
    });
    total
}

fn errors(items: &Items, pattern: usize, observed: &Normal) -> Errors {
    let (a, d) = (items.slope(pattern), items.intercept(pattern));
    let b = -d / a;
    let [pa, pb] = items.precisions;
    let Normal { gradient: [ga, gd], information: [aa, ad, dd] } = *observed;
    if items.common {
        return Errors { discrimination: f64::NAN, difficulty: root(1.0 / (dd + pb)) / a };
    }
    if !items.priors() {
        let [va, cov, vd] = inverse([aa, ad, dd]);
        return Errors { discrimination: root(va), difficulty: root(b * b * va + 2.0 * b * cov + vd) / a.abs() };
    }
    let scale = libm::exp(items.log_scale);
    let [va, _, vb] = inverse([
        a * a * aa + 2.0 * a * d * ad + d * d * dd - (ga * a + gd * d) + pa,
        -a * a * ad - a * d * dd + gd * a,
        a * a * dd + scale * scale * pb,
    ]);
    Errors { discrimination: a * root(va), difficulty: root(vb) }
}

/// Of a symmetric 2 x 2 matrix; NaN unless it is positive.
fn inverse([first, mixed, second]: [f64; 3]) -> [f64; 3] {
    let determinant = first * second - mixed * mixed;
    if determinant > 0.0 && first > 0.0 {
        [second / determinant, -mixed / determinant, first / determinant]
    } else {
        [f64::NAN; 3]
    }
}

/// The square root of a variance; of what is none NaN.
fn root(variance: f64) -> f64 {
    if variance > 0.0 { variance.sqrt() } else { f64::NAN }
}
