//! The BFGS method inside a box, for sums that are not squares.
//!
//! B starts as the curvature of the parabolas that touch the sum from above (see `objective`), a bit larger on its diagonal.
//! step      B_FF d_F = -g_F, F the parameters that are not held at a bound by their gradient
//! search    t along d until f falls by 1e-4 t g'd and the slope to at most 0.9 of that at 0 (Lewis & Overton 2013, which
//!           also serves at kinks), t at most up to the nearest bound, where it may end with the fall alone
//! update    B += y y'/y's - B s s'B/s'Bs, y damped towards B s where y's is small (Powell 1978)
//! When f has stopped falling B is made anew; it ends when that does not help either.

use super::dense::{dot, solve};
use super::objective::Objective;

/// A point that a search has reached.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) parameters: Vec<f64>,
    pub(super) objective: f64,
    /// It ended because nothing was left to gain, not for the number of steps.
    pub(super) settled: bool,
}

/// Bounds of the parameters; equal ones hold a parameter fixed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) lower: &'a [f64],
    pub(super) upper: &'a [f64],
}

impl Bounds<'_> {
    /// Brings parameters inside.
    pub(super) fn project(&self, parameters: &mut [f64]) {
        for ((x, &lower), &upper) in parameters.iter_mut().zip(self.lower).zip(self.upper) {
            *x = x.max(lower).min(upper);
        }
    }

    /// Parameters that may move: not at a bound that the sum falls towards.
    pub(super) fn free(&self, parameters: &[f64], gradient: &[f64]) -> Vec<bool> {
        let sides = self.lower.iter().zip(self.upper);
        parameters
            .iter()
            .zip(gradient)
            .zip(sides)
            .map(|((&x, &slope), (&lower, &upper))| {
                lower < upper && !(x <= lower && slope >= 0.0) && !(x >= upper && slope <= 0.0)
            })
            .collect()
    }

    /// How far one may go before the first bound, and which parameter it belongs to.
    fn nearest(&self, parameters: &[f64], direction: &[f64]) -> (f64, Option<usize>) {
        let mut nearest = (f64::INFINITY, None);
        let sides = self.lower.iter().zip(self.upper);
        for (index, ((&x, &d), (&lower, &upper))) in parameters.iter().zip(direction).zip(sides).enumerate() {
            let room = if d > 0.0 {
                (upper - x) / d
            } else if d < 0.0 {
                (lower - x) / d
            } else {
                f64::INFINITY
            };
            if room < nearest.0 {
                nearest = (room.max(0.0), Some(index));
            }
        }
        nearest
    }
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Steps at most.
    pub(super) steps: usize,
    /// A fall below this share of the sum counts as none.
    pub(super) tolerance: f64,
    /// Whether to go on with a new B when nothing falls any more.
    pub(super) renew: bool,
}

/// Steps in a row without a fall before B is made anew.
const IDLE_STEPS: usize = 2;
/// Trial points of one search.
const TRIALS: usize = 25;
/// Steps whose gain by the slope is below this share of the sum drown in its rounding.
const ROUNDING: f64 = 1e-15;

/// Goes down from `start`.
pub(super) fn descend(objective: &mut Objective<'_>, start: &[f64], bounds: Bounds<'_>, patience: Patience) -> Found {
    let p = objective.n_parameters();
    let mut x = start.to_vec();
    bounds.project(&mut x);
    let mut gradient = vec![0.0; p];
    let mut matrix = vec![0.0; p * p];
    let mut f = fresh(objective, &x, &mut gradient, &mut matrix);
    let mut found = Found { parameters: x.clone(), objective: f, settled: false };
    if !f.is_finite() {
        return found;
    }
    let (mut idle, mut anew, mut at_renewal) = (0, true, f64::INFINITY);
    for _ in 0..patience.steps {
        let step = step_from(objective, &x, f, &gradient, &matrix, bounds, patience.tolerance);
        let fell = match &step {
            Some(next) => f - next.f > patience.tolerance * f.abs(),
            None => false,
        };
        idle = if fell { 0 } else { idle + 1 };
        if let Some(next) = step {
            update(&mut matrix, &x, &next.x, &gradient, &next.gradient);
            (x, f, gradient) = (next.x, next.f, next.gradient);
            anew = anew && !fell;
        } else {
            idle = IDLE_STEPS;
        }
        if f == 0.0
            || (idle >= IDLE_STEPS && (!patience.renew || anew || at_renewal - f <= patience.tolerance * f.abs()))
        {
            found.settled = true;
            break;
        }
        if idle >= IDLE_STEPS {
            (idle, anew, at_renewal) = (0, true, f);
            fresh(objective, &x, &mut gradient, &mut matrix);
        }
    }
    (found.parameters, found.objective) = (x, f);
    found
}

/// The sum with its gradient, and a first B.
fn fresh(objective: &mut Objective<'_>, x: &[f64], gradient: &mut [f64], matrix: &mut [f64]) -> f64 {
    let p = x.len();
    let f = objective.curvature(x, gradient, matrix);
    let largest = matrix.iter().step_by(p + 1).fold(0.0_f64, |a, &b| a.max(b));
    for entry in matrix.iter_mut().step_by(p + 1) {
        // A parameter that changes nothing here still needs a scale.
        *entry = if *entry > 1e-12 * largest { *entry * 1.001 } else { largest.max(1.0) };
    }
    f
}

struct Next {
    x: Vec<f64>,
    f: f64,
    gradient: Vec<f64>,
}

fn step_from(
    objective: &mut Objective<'_>,
    x: &[f64],
    f: f64,
    gradient: &[f64],
    matrix: &[f64],
    bounds: Bounds<'_>,
    tolerance: f64,
) -> Option<Next> {
    let downhill: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut free = bounds.free(x, gradient);
    let (direction, room, first) = loop {
        if !free.contains(&true) {
            return None;
        }
        let direction = solve(matrix, &downhill, &free).unwrap_or_else(|| steepest(matrix, &downhill, &free));
        let (room, first) = bounds.nearest(x, &direction);
        match first {
            // It sits at a bound, and the others would take it along beyond.
            Some(index) if room == 0.0 => {
                if let Some(place) = free.get_mut(index) {
                    *place = false;
                }
            }
            _ => break (direction, room, first),
        }
    };
    let slope = dot(gradient, &direction);
    // Half of the slope is what the parabola promises to gain.
    if slope.is_nan() || -slope <= tolerance * f.abs() {
        return None;
    }
    search(objective, x, f, slope, &direction, room, first, bounds)
}

/// Downhill, each parameter on its own scale.
fn steepest(matrix: &[f64], downhill: &[f64], free: &[bool]) -> Vec<f64> {
    let p = downhill.len();
    let scales = matrix.iter().step_by(p + 1);
    downhill
        .iter()
        .zip(scales)
        .zip(free)
        .map(|((&slope, &scale), &free)| if free { slope / scale.abs().max(1e-300) } else { 0.0 })
        .collect()
}

fn search(
    objective: &mut Objective<'_>,
    x: &[f64],
    f: f64,
    slope: f64,
    direction: &[f64],
    room: f64,
    first: Option<usize>,
    bounds: Bounds<'_>,
) -> Option<Next> {
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut t = room.min(1.0);
    let mut best: Option<Next> = None;
    for _ in 0..TRIALS {
        let mut trial: Vec<f64> = x.iter().zip(direction).map(|(x, d)| x + t * d).collect();
        bounds.project(&mut trial);
        if let (true, Some(index)) = (t >= room, first)
            && let (Some(x), Some(d)) = (trial.get_mut(index), direction.get(index))
        {
            // Exactly there, not a rounding short of it.
            let side = if *d > 0.0 { bounds.upper } else { bounds.lower };
            *x = side.get(index).copied().unwrap_or(*x);
        }
        let mut gradient = vec![0.0; x.len()];
        let found = objective.gradient(&trial, &mut gradient);
        if found.is_finite() && found <= f + 1e-4 * t * slope {
            let flat = dot(&gradient, direction) >= 0.9 * slope;
            best = Some(Next { x: trial, f: found, gradient });
            if flat || t >= room {
                return best;
            }
            low = t;
        } else {
            high = t;
            if -slope * t <= ROUNDING * f.abs() {
                return best;
            }
            // The lowest point of the parabola through what is known, kept away from the ends.
            let parabola = -slope * t / (2.0 * ((found - f) / t - slope));
            if best.is_none() && found.is_finite() && parabola.is_finite() {
                t = parabola.clamp(0.1 * t, 0.5 * t);
                continue;
            }
        }
        t = if high.is_finite() { f64::midpoint(low, high) } else { (2.0 * low).min(room) };
    }
    best
}

fn update(matrix: &mut [f64], x: &[f64], next: &[f64], gradient: &[f64], next_gradient: &[f64]) {
    let p = x.len();
    let s: Vec<f64> = next.iter().zip(x).map(|(a, b)| a - b).collect();
    let mut y: Vec<f64> = next_gradient.iter().zip(gradient).map(|(a, b)| a - b).collect();
    let bs: Vec<f64> = matrix.chunks(p.max(1)).map(|row| dot(row, &s)).collect();
    let (sbs, mut sy) = (dot(&s, &bs), dot(&s, &y));
    if sbs.is_nan() || sbs <= 0.0 {
        return;
    }
    if sy < 0.2 * sbs {
        let share = 0.8 * sbs / (sbs - sy);
        for (y, bs) in y.iter_mut().zip(&bs) {
            *y = share * *y + (1.0 - share) * bs;
        }
        sy = dot(&s, &y);
    }
    if sy.is_nan() || sy <= 0.0 {
        return;
    }
    for ((row, yi), bi) in matrix.chunks_mut(p.max(1)).zip(&y).zip(&bs) {
        for ((entry, yj), bj) in row.iter_mut().zip(&y).zip(&bs) {
            *entry += yi * yj / sy - bi * bj / sbs;
        }
    }
}
