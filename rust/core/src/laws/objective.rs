//! What a fit minimises: the sum over points of w rho(r), its gradient, and a matrix that stands for its curvature.
//!
//! r = f - y, or log f - log y; where f is above y, r is multiplied by the penalty on overestimates.
//! square    rho = r^2
//! huber     rho = r^2 / 2 for |r| <= delta, else delta (|r| - delta / 2)
//! absolute  rho = |r|
//! Curvature: sum of w q(r) J J', q = rho'(r) / r (at most its value at 0), the parabola that touches rho from above.
//! A value that is not finite, or not positive where logarithms are taken, makes the sum infinite.

use fearless_simd::{Level, dispatch};

use super::elementary::log;
use super::program::Program;
use super::tape::{Columns, Tape, block_of, sum};
use crate::error::{Error, Result};

/// How a residual counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// r^2
    Square,
    /// r^2 / 2 up to delta, linear beyond.
    Huber(f64),
    /// |r|
    Absolute,
}

impl Loss {
    /// A loss by its name.
    ///
    /// # Errors
    /// An unknown name; a delta that is not above 0.
    pub fn new(name: &str, delta: f64) -> Result<Self> {
        match name {
            "square" => Ok(Self::Square),
            "huber" if delta > 0.0 && delta.is_finite() => Ok(Self::Huber(delta)),
            "huber" => Err(Error::Argument { name: "delta", expected: "above 0", found: delta.to_string() }),
            "absolute" => Ok(Self::Absolute),
            _ => Err(Error::Unknown {
                name: "loss",
                found: name.to_owned(),
                known: "square, huber, absolute".to_owned(),
            }),
        }
    }

    /// rho, rho' and rho'(r) / r.
    #[inline(always)]
    fn at(self, r: f64) -> (f64, f64, f64) {
        match self {
            Self::Square => (r * r, 2.0 * r, 2.0),
            Self::Huber(delta) => {
                let held = r.clamp(-delta, delta);
                (held * (r - 0.5 * held), held, delta / r.abs().max(delta))
            }
            Self::Absolute => {
                let size = r.abs();
                (size, if size > 0.0 { 1.0_f64.copysign(r) } else { size }, 1.0 / size.max(f64::MIN_POSITIVE))
            }
        }
    }
}

/// Residuals and how they count.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// What a residual adds.
    pub loss: Loss,
    /// Residuals of logarithms.
    pub log: bool,
    /// Factor of residuals where the form lies above the observation.
    pub overestimate_penalty: f64,
}

/// The points of one fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Points<'a> {
    pub(super) columns: Columns<'a>,
    /// In the space of the residuals: logarithms where [`Measure::log`].
    pub(super) observed: &'a [f64],
    pub(super) weights: &'a [f64],
    /// Where these points begin in the columns.
    pub(super) start: usize,
}

/// The sum to be made small, with its working space.
pub(super) struct Objective<'a> {
    points: Points<'a>,
    pub(super) measure: Measure,
    tape: Tape<'a>,
    by_point: Tape<'a>,
    level: Level,
    block: usize,
    values: Vec<f64>,
    rhos: Vec<f64>,
    seed: Vec<f64>,
    heights: Vec<f64>,
    weighted: Vec<f64>,
    jacobian: Vec<f64>,
    n_parameters: usize,
}

impl<'a> Objective<'a> {
    pub(super) fn new(program: &'a Program, by_point: &'a Program, points: Points<'a>, measure: Measure) -> Self {
        let (n_parameters, block) = (program.n_parameters(), block_of(points.observed.len()));
        Self {
            points,
            measure,
            tape: Tape::new(program, block),
            by_point: Tape::new(by_point, block),
            level: Level::new(),
            block,
            values: vec![0.0; block],
            rhos: vec![0.0; block],
            seed: vec![0.0; block],
            heights: vec![0.0; block],
            weighted: vec![0.0; block],
            jacobian: vec![0.0; n_parameters * block],
            n_parameters,
        }
    }

    pub(super) const fn weights(&self) -> &'a [f64] {
        self.points.weights
    }

    pub(super) const fn n_parameters(&self) -> usize {
        self.n_parameters
    }

    /// The sum; its gradient into `gradient`.
    pub(super) fn gradient(&mut self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        self.tape.set_parameters(parameters);
        let mut total = 0.0;
        let Points { columns, observed, weights, start } = self.points;
        for (block, (observed, weights)) in observed.chunks(self.block).zip(weights.chunks(self.block)).enumerate() {
            let points = start + block * self.block..start + block * self.block + observed.len();
            let values = self.tape.forward(columns, &points);
            let n = observed.len();
            let (Some(seed), Some(rhos)) = (self.seed.get_mut(..n), self.rhos.get_mut(..n)) else { continue };
            let Some(heights) = self.heights.get_mut(..n) else { continue };
            let measure = self.measure;
            total += dispatch!(self.level, _simd => weigh(measure, values, observed, weights, rhos, seed, heights));
            self.tape.backward(columns, &points, seed);
        }
        self.tape.add_gradient(gradient);
        if total.is_finite() && gradient.iter().all(|slope| slope.is_finite()) { total } else { f64::INFINITY }
    }

    /// The sum; gradient and curvature (row by row) into the arguments.
    pub(super) fn curvature(&mut self, parameters: &[f64], gradient: &mut [f64], matrix: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        matrix.fill(0.0);
        self.by_point.set_parameters(parameters);
        let mut total = 0.0;
        let Points { columns, observed, weights, start } = self.points;
        for (block, (observed, weights)) in observed.chunks(self.block).zip(weights.chunks(self.block)).enumerate() {
            let n = observed.len();
            let points = start + block * self.block..start + block * self.block + n;
            let (Some(values), Some(seed)) = (self.values.get_mut(..n), self.seed.get_mut(..n)) else { continue };
            let (Some(rhos), Some(heights)) = (self.rhos.get_mut(..n), self.heights.get_mut(..n)) else { continue };
            values.copy_from_slice(self.by_point.forward(columns, &points));
            seed.fill(1.0);
            self.by_point.backward(columns, &points, seed);
            self.jacobian.fill(0.0);
            for (parameter, column) in self.jacobian.chunks_mut(self.block).enumerate() {
                self.by_point.add_derivatives(parameter, column.get_mut(..n).unwrap_or(&mut []));
            }
            let measure = self.measure;
            total += dispatch!(self.level, _simd => weigh(measure, values, observed, weights, rhos, seed, heights));
            let (block, jacobian, weighted) = (self.block, &self.jacobian, &mut self.weighted);
            dispatch!(self.level, _simd => add_products(jacobian, block, seed, heights, weighted, gradient, matrix));
        }
        let finite = gradient.iter().chain(matrix.iter()).all(|entry| entry.is_finite());
        if total.is_finite() && finite { total } else { f64::INFINITY }
    }
}

/// Adds J' seed to the gradient and J' diag(heights) J to the matrix; a column of J is `block` long.
#[inline(always)]
fn add_products(
    jacobian: &[f64],
    block: usize,
    seed: &[f64],
    heights: &[f64],
    weighted: &mut [f64],
    gradient: &mut [f64],
    matrix: &mut [f64],
) {
    let (n, p) = (seed.len(), gradient.len());
    let columns = || jacobian.chunks(block).map(|column| column.get(..n).unwrap_or(&[]));
    let weighted = weighted.get_mut(..n).unwrap_or(&mut []);
    for (a, (left, place)) in columns().zip(gradient).enumerate() {
        *place += sum(left, seed, |x, y| x * y);
        for ((place, &x), &height) in weighted.iter_mut().zip(left).zip(heights) {
            *place = x * height;
        }
        for (b, right) in columns().enumerate().take(a + 1) {
            let product = sum(weighted, right, |x, y| x * y);
            if let Some(place) = matrix.get_mut(a * p + b) {
                *place += product;
            }
            if a != b
                && let Some(place) = matrix.get_mut(b * p + a)
            {
                *place += product;
            }
        }
    }
}

/// rho, rho' and rho' / r of the residual, and the derivative of the residual by the value.
#[inline(always)]
fn residual(measure: Measure, value: f64, observed: f64) -> (f64, f64, f64, f64) {
    let (raw, slope) = if measure.log { (log(value) - observed, 1.0 / value) } else { (value - observed, 1.0) };
    let factor = if raw > 0.0 { measure.overestimate_penalty } else { 1.0 };
    let (rho, by_residual, quotient) = measure.loss.at(raw * factor);
    (rho, by_residual, quotient, slope * factor)
}

/// Sum of rho over a block; rho, its derivative by the value and its curvature at each point.
#[inline(always)]
fn weigh(
    measure: Measure,
    values: &[f64],
    observed: &[f64],
    weights: &[f64],
    rhos: &mut [f64],
    seed: &mut [f64],
    heights: &mut [f64],
) -> f64 {
    // Chosen outside the loop, so that each loop becomes vector instructions.
    match (measure.loss, measure.log) {
        (Loss::Huber(delta), true) => {
            let measure = Measure { loss: Loss::Huber(delta), log: true, ..measure };
            weigh_each(measure, values, observed, weights, rhos, seed, heights);
        }
        (Loss::Square, false) => {
            let measure = Measure { loss: Loss::Square, log: false, ..measure };
            weigh_each(measure, values, observed, weights, rhos, seed, heights);
        }
        _ => weigh_each(measure, values, observed, weights, rhos, seed, heights),
    }
    sum(rhos, weights, |rho, weight| rho * weight)
}

#[inline(always)]
fn weigh_each(
    measure: Measure,
    values: &[f64],
    observed: &[f64],
    weights: &[f64],
    rhos: &mut [f64],
    seed: &mut [f64],
    heights: &mut [f64],
) {
    let places = rhos.iter_mut().zip(seed).zip(heights);
    for ((((rho, seed), height), (&value, &observed)), &weight) in places.zip(values.iter().zip(observed)).zip(weights)
    {
        let (size, slope, quotient, by_value) = residual(measure, value, observed);
        *rho = size;
        *seed = weight * slope * by_value;
        *height = weight * quotient * by_value * by_value;
    }
}
