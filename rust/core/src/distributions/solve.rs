//! One root finder for all quantiles: Newton's method on the logarithm of the smaller tail.
//!
//! On the axis used here (the logarithm of the variable) every density of this stem is log-concave, hence so are both
//! tails (Prekopa): the tangent of log P(w) never crosses the curve, so Newton's method converges from anywhere.

/// exp(w) is 0 or infinite well inside these ends, and so is the square root of exp(w).
const END: f64 = 1600.0;

/// Both tails and the density at a point.
pub(super) struct Tails {
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) density: f64,
}

impl Tails {
    /// So far out on the `right` or left that the density is 0 as a double.
    pub(super) const fn beyond(right: bool) -> Self {
        let (lower, upper) = if right { (1.0, 0.0) } else { (0.0, 1.0) };
        Self { lower, upper, density: 0.0 }
    }
}

/// The w where the lower tail is `lower` and the upper tail `upper` (their sum is 1; the smaller one is matched).
///
/// `start` may be poor but `centre` must be a point where no tail underflows; `scale` is the order of the standard
/// deviation on the w axis. NaN where no convergence is reached, which takes tails that a double cannot hold.
pub(super) fn solve(
    (lower, upper): (f64, f64),
    start: f64,
    centre: f64,
    scale: f64,
    mut tails: impl FnMut(f64) -> Tails,
) -> f64 {
    let (mut good, mut w, mut last) = (centre, start, f64::INFINITY);
    for _ in 0..200 {
        let at = tails(w);
        let (tail, target, sign) = if lower <= upper { (at.lower, lower, 1.0) } else { (at.upper, upper, -1.0) };
        let residual = (tail / target).ln();
        let step = -sign * residual * tail / at.density;
        if !step.is_finite() {
            w = 0.5 * (w + good); // beyond what a double can hold: back towards known ground
            continue;
        }
        good = w;
        w = (w + step).clamp(-END, END);
        // Convergence is quadratic, with a constant of about 1 / scale; steps that grow beside the root are rounding.
        let size = step.abs();
        if size <= 1e-7 * scale || (residual.abs() <= 1e-2 && size >= last) || w == good {
            return w;
        }
        last = size;
    }
    f64::NAN
}
