//! Mean range of J standard normal values: d2(J) = int (1 - Phi(x)^J - (1 - Phi(x))^J) dx.
//!
//! The integrand is analytic and falls off at both ends, so the trapezoid rule converges geometrically: 513 points are
//! enough for any J that a comparison has. members -> J.

use super::normal::normal_cdf;

/// Half-width of the integration; the integrand is below 1e-20 outside for J up to 1e6.
const HALF_WIDTH: f64 = 16.0;
const STEPS: i32 = 256;

/// d2 of a number of members; NaN where that is not an integer from 2 to 1e6.
#[must_use]
pub fn expected_range(members: f64) -> f64 {
    if !((2.0..=1e6).contains(&members) && members.fract() == 0.0) {
        return f64::NAN;
    }
    let step = HALF_WIDTH / f64::from(STEPS);
    let total: f64 = (1..=STEPS)
        .map(|i| {
            let x = f64::from(i) * step;
            outside(x, members)
        })
        .sum();
    step * (outside(0.0, members) + 2.0 * total)
}

/// P(not all values lie on one side of x); even in x.
fn outside(x: f64, members: f64) -> f64 {
    // Phi(x)^J by the small tail, so that nothing cancels far out.
    let all_below = libm::exp(members * libm::log1p(-normal_cdf(-x)));
    let all_above = libm::exp(members * libm::log(normal_cdf(-x)));
    1.0 - all_below - all_above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // J = 2 and 3 in closed form, the others to three digits from tables of control-chart constants
        assert!((expected_range(2.0) - 2.0 / std::f64::consts::PI.sqrt()).abs() < 1e-13);
        assert!((expected_range(3.0) - 3.0 / std::f64::consts::PI.sqrt()).abs() < 1e-13);
        for (members, d2) in [(5.0, 2.326), (8.0, 2.847), (9.0, 2.970), (10.0, 3.078), (13.0, 3.336), (25.0, 3.931)] {
            assert!((expected_range(members) - d2).abs() < 6e-4, "{members}");
        }
        assert!(expected_range(1.0).is_nan() && expected_range(2.5).is_nan());
    }
}
