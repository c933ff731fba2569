//! The Levenberg-Marquardt method inside a box, for sums of squares.
//!
//! (A_FF + mu diag A_FF) d_F = -g_F, A the curvature 2 J'J, F the parameters that are not held at a bound; the trial
//! point is brought inside the box; mu follows the gain as a share of what was promised (Nielsen 1999; bounds as in Kanzow
//! et al. 2004).
//! Variable projection: residuals that are linear in some parameters are put at their lowest in these first of all and
//! after each step (Golub & Pereyra 1973; Ruhe & Wedin 1980, algorithm 2).

use super::dense::{dot, solve};
use super::objective::Objective;
use super::quasi_newton::{Bounds, Found, Patience};

/// Above this the step is nothing but downhill, and tiny.
const LARGEST_DAMPING: f64 = 1e12;
/// Below this damping hardly changes a step.
const UNDAMPED: f64 = 1e-2;
/// A step that promises less than this share of the sum is lost in its rounding.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// Goes down from `start`; `linear` names the parameters in which residuals are linear.
pub(super) fn descend(
    objective: &mut Objective<'_>,
    start: &[f64],
    linear: &[bool],
    bounds: Bounds<'_>,
    patience: Patience,
) -> Found {
    let mut x = start.to_vec();
    bounds.project(&mut x);
    let mut state = State::at(objective, x);
    let linear: Option<Vec<bool>> = linear
        .contains(&true)
        .then(|| linear.iter().zip(bounds.lower.iter().zip(bounds.upper)).map(|(&l, (a, b))| l && a < b).collect());
    if let Some(linear) = &linear {
        state.project(objective, linear, bounds);
    }
    let (mut damping, mut growth, mut idle, mut settled) = (1e-3, 2.0, 0, false);
    for _ in 0..patience.steps {
        if !state.f.is_finite() {
            break;
        }
        let free = bounds.free(&state.x, &state.gradient);
        if !free.contains(&true) || state.f == 0.0 {
            settled = true;
            break;
        }
        let before = state.f;
        let (promised, lower) = state.trial(objective, damping, &free, bounds);
        if damping <= UNDAMPED && promised.abs() <= (0.1 * patience.tolerance).max(ROUNDING) * before {
            settled = true;
            break;
        }
        if let Some((next, gain)) = lower {
            state = next;
            damping = (damping * (1.0 - (2.0 * gain - 1.0).powi(3)).clamp(0.1, 2.0)).max(1e-15);
            growth = 2.0;
            if let Some(linear) = &linear {
                state.project(objective, linear, bounds);
            }
            // A small step of strong damping says nothing.
            let small = damping <= UNDAMPED && before - state.f <= patience.tolerance * before;
            idle = if small { idle + 1 } else { 0 };
        } else {
            damping *= growth;
            growth *= 2.0;
        }
        if idle >= 2 || damping > LARGEST_DAMPING {
            settled = true;
            break;
        }
    }
    Found { parameters: state.x, objective: state.f, settled }
}

struct State {
    x: Vec<f64>,
    f: f64,
    gradient: Vec<f64>,
    matrix: Vec<f64>,
}

impl State {
    /// What this damping promises; a lower point, if it leads to one, and its gain as a share of the promise.
    fn trial(
        &self,
        objective: &mut Objective<'_>,
        damping: f64,
        free: &[bool],
        bounds: Bounds<'_>,
    ) -> (f64, Option<(Self, f64)>) {
        let p = self.x.len();
        let mut matrix = self.matrix.clone();
        let largest = matrix.iter().step_by(p + 1).fold(0.0_f64, |a, &b| a.max(b));
        for entry in matrix.iter_mut().step_by(p + 1) {
            *entry += damping * entry.max(1e-12 * largest);
        }
        let Some(x) = self.stepped(&matrix, free, bounds) else { return (f64::NAN, None) };
        let step: Vec<f64> = x.iter().zip(&self.x).map(|(new, old)| new - old).collect();
        let bent: f64 = self.matrix.chunks(p.max(1)).zip(&step).map(|(row, d)| d * dot(row, &step)).sum();
        let promised = -dot(&self.gradient, &step) - 0.5 * bent;
        // Most trials are lower: everything at once is cheaper than the sum first.
        let next = Self::at(objective, x);
        if next.f.is_nan() || next.f >= self.f {
            return (promised, None);
        }
        let gain = if promised > 0.0 { ((self.f - next.f) / promised).min(1.0) } else { 1.0 };
        (promised, Some((next, gain)))
    }

    /// Everything at a point.
    fn at(objective: &mut Objective<'_>, x: Vec<f64>) -> Self {
        let p = x.len();
        let mut state = Self { x, f: 0.0, gradient: vec![0.0; p], matrix: vec![0.0; p * p] };
        state.f = objective.curvature(&state.x, &mut state.gradient, &mut state.matrix);
        state
    }

    /// Where the step of the equations with this matrix leads.
    fn stepped(&self, matrix: &[f64], free: &[bool], bounds: Bounds<'_>) -> Option<Vec<f64>> {
        let downhill: Vec<f64> = self.gradient.iter().map(|slope| -slope).collect();
        let step = solve(matrix, &downhill, free)?;
        let mut x: Vec<f64> = self.x.iter().zip(&step).map(|(x, d)| x + d).collect();
        bounds.project(&mut x);
        Some(x)
    }

    /// Puts the linear parameters where the sum is lowest, all others held.
    fn project(&mut self, objective: &mut Objective<'_>, linear: &[bool], bounds: Bounds<'_>) {
        // A bound may come in between: then the rest is solved for once more.
        let mut free: Vec<bool> =
            bounds.free(&self.x, &self.gradient).iter().zip(linear).map(|(&free, &linear)| free && linear).collect();
        for _ in 0..2 {
            let Some(x) = self.stepped(&self.matrix, &free, bounds) else { return };
            let next = Self::at(objective, x);
            // An infinite start has nothing to lose.
            if next.f < self.f || self.f.is_infinite() {
                *self = next;
            } else {
                return;
            }
            let held = bounds.free(&self.x, &self.gradient);
            if held.iter().zip(&free).all(|(&now, &before)| now || !before) {
                return;
            }
            for (place, held) in free.iter_mut().zip(held) {
                *place = *place && held;
            }
        }
    }
}
