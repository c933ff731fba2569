//! The Levenberg-Marquardt method inside a box, for sums of squares.
//!
//! (A_FF + mu diag A_FF) d_F = -g_F, A the curvature 2 J'J, F the parameters that are not held at a bound; the trial point
//! is brought inside the box; mu falls to a tenth after a step down and grows fourfold after one up (Nocedal & Wright 2006,
//! 10.3; bounds as in Kanzow et al. 2004).
//! Variable projection: residuals that are linear in some parameters are put at their lowest in these first of all and
//! after each step (Golub & Pereyra 1973; Ruhe & Wedin 1980, algorithm 2).

use super::dense::solve;
use super::objective::Objective;
use super::quasi_newton::{Bounds, Found, Patience};

/// Above this the step is nothing but downhill, and tiny.
const LARGEST_DAMPING: f64 = 1e12;

/// Goes down from `start`; `linear` names the parameters in which residuals are linear.
pub(super) fn descend(
    objective: &mut Objective<'_>,
    start: &[f64],
    linear: &[bool],
    bounds: Bounds<'_>,
    patience: Patience,
) -> Found {
    let p = objective.n_parameters();
    let mut state = State { x: start.to_vec(), f: 0.0, gradient: vec![0.0; p], matrix: vec![0.0; p * p] };
    bounds.project(&mut state.x);
    state.f = objective.curvature(&state.x, &mut state.gradient, &mut state.matrix);
    let linear: Option<Vec<bool>> = linear
        .contains(&true)
        .then(|| linear.iter().zip(bounds.lower.iter().zip(bounds.upper)).map(|(&l, (a, b))| l && a < b).collect());
    if let Some(linear) = &linear {
        state.project(objective, linear, bounds);
    }
    let (mut damping, mut idle, mut settled) = (1e-3, 0, false);
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
        match state.trial(objective, damping, &free, bounds) {
            Some(next) => {
                state = next;
                damping = (damping * 0.1).max(1e-15);
                if let Some(linear) = &linear {
                    state.project(objective, linear, bounds);
                }
                idle = if before - state.f > patience.tolerance * before { 0 } else { idle + 1 };
            }
            None => damping *= 4.0,
        }
        if idle >= 3 || damping > LARGEST_DAMPING {
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
    /// A lower point, if this damping leads to one.
    fn trial(&self, objective: &mut Objective<'_>, damping: f64, free: &[bool], bounds: Bounds<'_>) -> Option<Self> {
        let p = self.x.len();
        let mut matrix = self.matrix.clone();
        let largest = matrix.iter().step_by(p + 1).fold(0.0_f64, |a, &b| a.max(b));
        for entry in matrix.iter_mut().step_by(p + 1) {
            *entry += damping * entry.max(1e-12 * largest);
        }
        self.moved(objective, &matrix, free, bounds).filter(|next| next.f < self.f)
    }

    /// Where the step of the equations with this matrix leads.
    fn moved(&self, objective: &mut Objective<'_>, matrix: &[f64], free: &[bool], bounds: Bounds<'_>) -> Option<Self> {
        let downhill: Vec<f64> = self.gradient.iter().map(|slope| -slope).collect();
        let step = solve(matrix, &downhill, free)?;
        let p = self.x.len();
        let mut x: Vec<f64> = self.x.iter().zip(&step).map(|(x, d)| x + d).collect();
        bounds.project(&mut x);
        let mut next = Self { x, f: 0.0, gradient: vec![0.0; p], matrix: vec![0.0; p * p] };
        next.f = objective.curvature(&next.x, &mut next.gradient, &mut next.matrix);
        Some(next)
    }

    /// Puts the linear parameters where the sum is lowest, all others held.
    fn project(&mut self, objective: &mut Objective<'_>, linear: &[bool], bounds: Bounds<'_>) {
        // A bound may come in between: then the rest is solved for once more.
        let mut free: Vec<bool> =
            bounds.free(&self.x, &self.gradient).iter().zip(linear).map(|(&free, &linear)| free && linear).collect();
        for _ in 0..2 {
            let Some(next) = self.moved(objective, &self.matrix, &free, bounds) else { return };
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
