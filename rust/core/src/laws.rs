//! Fits of functional forms ("scaling laws") from many starts: the lowest sum that any start reaches.
//!
//! A form is a [`Program`]: it comes as data, so that a form written today is as fast as one that ships. Derivatives are
//! exact (reverse accumulation through the steps of the program).
//! fit       minimise sum_i w_i rho(r_i) over parameters inside bounds, from each start; see `objective` for rho and r
//! squares   `least_squares`: Levenberg-Marquardt; then a few steps of `quasi_newton`
//! others    `quasi_newton`: BFGS; absolute residuals as Huber's with delta falling to 1e-9 of their median size
//! best      the lowest of all starts, the first of equals; with `polish` searched again from there with more patience
//! agree     starts whose sum is at most 1e-4 above the best (share of it)
//! other     of the ends at most 1e-6 above the best, that whose parameters lie farthest, max |a - b| / (1 + |b|); the best
//!           itself where none lies 1e-2 away
//! A fit is made by one thread from its own numbers: the same bits for any number of threads.
//! Cost: starts x steps x program x points. Twin: python/signoise/reference/_laws.py

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, Segments, check_len, map_groups};

mod dense;
pub(crate) mod elementary;
mod least_squares;
mod objective;
mod program;
mod quasi_newton;
mod tape;

pub use objective::{Loss, Measure};
use objective::{Objective, Points};
pub use program::Program;
use quasi_newton::{Bounds, Found, Patience};
pub use tape::Columns;
use tape::{Tape, block_of};

/// Starts whose sum is above the best by at most this share of it agree with it.
const AGREEMENT: f64 = 1e-4;
/// Ends whose sum is above the best by at most this share of it are as good as the best.
const EQUAL: f64 = 1e-6;
/// Ends that are nearer than this are one.
const APART: f64 = 1e-2;
/// The lowest starts are searched again with more patience.
const POLISHED: usize = 3;

/// One entry a problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Fits {
    /// Parameters, problem by problem.
    pub parameters: Vec<f64>,
    /// The sum that was reached; NaN where no start has a finite one.
    pub objective: Vec<f64>,
    /// Starts that have a finite sum.
    pub n_started: Vec<u64>,
    /// Starts that end as low as the best.
    pub n_agree: Vec<u64>,
    /// Parameters of the end that is as good as the best and farthest from it: where it is another, the fit is not unique.
    pub others: Vec<f64>,
    /// Whether the best search ended because nothing was left to gain.
    pub settled: Vec<bool>,
}

/// What all problems of a call share.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The form.
    pub program: &'a Program,
    /// Its data, all problems one after the other.
    pub columns: &'a [f64],
    /// What is fitted.
    pub observed: &'a [f64],
    /// How often each point counts.
    pub weights: &'a [f64],
    /// Where the points of each problem begin and end.
    pub offsets: &'a [usize],
    /// Starts, parameter by parameter, all problems one after the other.
    pub starts: &'a [f64],
    /// Where the starts of each problem begin and end.
    pub start_offsets: &'a [usize],
    /// Lowest values of the parameters.
    pub lower: &'a [f64],
    /// Highest values.
    pub upper: &'a [f64],
    /// Parameters in which the form is linear.
    pub linear: &'a [bool],
    /// How residuals count.
    pub measure: Measure,
    /// Steps of a search, at most.
    pub max_steps: usize,
    /// Search once more from the lowest starts, until nothing is left to gain; replicates need no more than 1e-8 of
    /// the sum.
    pub polish: bool,
}

/// Fits a form to the points of every problem.
///
/// # Errors
/// Lengths or offsets that do not match, bounds in the wrong order, weights below 0, or an interrupt.
pub fn fit_laws(task: Task<'_>, interrupt: &Interrupt) -> Result<Fits> {
    let segments = check(&task)?;
    let p = task.program.n_parameters();
    let by_point = task.program.by_point();
    let starts = Segments::new(task.start_offsets, task.starts.len() / p.max(1))?;
    let observed: Vec<f64> = if task.measure.log {
        task.observed.iter().map(|&y| elementary::log(y)).collect()
    } else {
        task.observed.to_vec()
    };
    let problem = |problem: usize| {
        let points = Points {
            columns: Columns::new(task.columns, task.observed.len()),
            observed: segments.slice(&observed, problem),
            weights: segments.slice(task.weights, problem),
            start: task.offsets.get(problem).copied().unwrap_or(0),
        };
        Search { task: &task, objective: Objective::new(task.program, &by_point, points, task.measure) }
    };
    // One unit of work is a problem with a stretch of its starts: few problems with many starts fill all threads too.
    let units: Vec<(usize, std::ops::Range<usize>)> = (0..segments.len())
        .flat_map(|problem| {
            let (first, last) = bounds_of(task.start_offsets, problem);
            (first..last).step_by(UNIT).map(move |start| (problem, start..last.min(start + UNIT)))
        })
        .collect();
    let searched = map_groups(units.len(), interrupt, |unit| {
        let Some((index, range)) = units.get(unit) else { return Ok(Vec::new()) };
        let mut search = problem(*index);
        range
            .clone()
            .map(|start| {
                interrupt.check()?;
                Ok(search.from(task.starts.get(start * p..start * p + p).unwrap_or(&[]), first_patience(&task)))
            })
            .collect::<Result<Vec<Found>>>()
    })?;
    let searched: Vec<Found> = searched.into_iter().flatten().collect();
    let best = map_groups(segments.len(), interrupt, |index| {
        let found = starts.slice(&searched, index);
        Ok(best(&task, found, || problem(index)))
    })?;
    Ok(Fits {
        parameters: best.iter().flat_map(|best| best.found.parameters.iter().copied()).collect(),
        objective: best.iter().map(|best| best.found.objective).collect(),
        n_started: best.iter().map(|best| best.n_started).collect(),
        n_agree: best.iter().map(|best| best.n_agree).collect(),
        others: best.iter().flat_map(|best| best.other.iter().copied()).collect(),
        settled: best.iter().map(|best| best.found.settled).collect(),
    })
}

/// Starts that are searched in one go.
const UNIT: usize = 16;
/// Shares of the mean absolute residual that stand for 0 in turn, where absolute residuals are summed.
const ROUNDED_KINKS: [f64; 9] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9];

const fn first_patience(task: &Task<'_>) -> Patience {
    Patience { steps: task.max_steps, tolerance: 1e-8, renew: false }
}

const fn last_patience(task: &Task<'_>) -> Patience {
    Patience { steps: 10 * task.max_steps, tolerance: 1e-15, renew: true }
}

/// First and last entry of a segment.
fn bounds_of(offsets: &[usize], segment: usize) -> (usize, usize) {
    let first = offsets.get(segment).copied().unwrap_or(0);
    (first, offsets.get(segment + 1).copied().unwrap_or(first))
}

/// One problem and its working space.
struct Search<'a> {
    task: &'a Task<'a>,
    objective: Objective<'a>,
}

/// The best of all starts.
struct Best {
    found: Found,
    n_started: u64,
    n_agree: u64,
    other: Vec<f64>,
}

impl Search<'_> {
    fn from(&mut self, start: &[f64], patience: Patience) -> Found {
        let bounds = Bounds { lower: self.task.lower, upper: self.task.upper };
        match self.task.measure.loss {
            Loss::Square => least_squares::descend(&mut self.objective, start, self.task.linear, bounds, patience),
            Loss::Huber(_) => quasi_newton::descend(&mut self.objective, start, bounds, patience),
            Loss::Absolute => self.absolute(start, bounds, patience),
        }
    }

    fn absolute(&mut self, start: &[f64], bounds: Bounds<'_>, patience: Patience) -> Found {
        let mut found = Found { parameters: start.to_vec(), objective: f64::INFINITY, settled: false };
        let total: f64 = self.objective.weights().iter().sum();
        for share in ROUNDED_KINKS {
            let mean = self.sum(&found.parameters) / total;
            if !mean.is_finite() || mean == 0.0 {
                break;
            }
            self.objective.measure.loss = Loss::Huber(share * mean);
            found = quasi_newton::descend(&mut self.objective, &found.parameters, bounds, patience);
        }
        self.objective.measure.loss = Loss::Absolute;
        found.objective = self.sum(&found.parameters);
        found
    }

    /// The sum itself.
    fn sum(&mut self, parameters: &[f64]) -> f64 {
        let loss = std::mem::replace(&mut self.objective.measure.loss, self.task.measure.loss);
        let found = self.objective.gradient(parameters, &mut vec![0.0; parameters.len()]);
        self.objective.measure.loss = loss;
        found
    }

    /// Searches again from what a start led to, until nothing is left to gain.
    fn polished(&mut self, first: &Found) -> Found {
        let mut found = self.from(&first.parameters, last_patience(self.task));
        if self.task.measure.loss == Loss::Square {
            let bounds = Bounds { lower: self.task.lower, upper: self.task.upper };
            let more = quasi_newton::descend(&mut self.objective, &found.parameters, bounds, last_patience(self.task));
            found = lower(found, more);
        }
        lower(first.clone(), found)
    }
}

/// The lowest of all starts of a problem; working space is made where they are searched again.
fn best<'a>(task: &Task<'_>, searched: &[Found], search: impl FnOnce() -> Search<'a>) -> Best {
    let objective = |index: usize| searched.get(index).map_or(f64::INFINITY, |found| found.objective);
    let mut order: Vec<usize> = (0..searched.len()).filter(|&index| objective(index).is_finite()).collect();
    order.sort_by(|&a, &b| objective(a).total_cmp(&objective(b)).then(a.cmp(&b)));
    let lowest = || order.iter().filter_map(|&index| searched.get(index));
    let best = if task.polish && !order.is_empty() {
        let mut search = search();
        lowest()
            .take(POLISHED)
            .map(|first| search.polished(first))
            .reduce(|best, found| if found.objective < best.objective { found } else { best })
    } else {
        lowest().next().cloned()
    };
    let best = best.unwrap_or_else(|| Found {
        parameters: vec![f64::NAN; task.program.n_parameters()],
        objective: f64::NAN,
        settled: false,
    });
    let close = best.objective + AGREEMENT * best.objective.abs();
    let equal = best.objective + EQUAL * best.objective.abs();
    let other = lowest()
        .filter(|end| end.objective <= equal)
        .map(|end| (distance(&end.parameters, &best.parameters), &end.parameters))
        .fold((APART, &best.parameters), |far, end| if end.0 > far.0 { end } else { far })
        .1
        .clone();
    Best {
        n_started: order.len() as u64,
        // The best search went on from one of them, which agrees even where it was still above.
        n_agree: order.iter().filter(|&&index| objective(index) <= close).count().max(order.len().min(1)) as u64,
        other,
        found: best,
    }
}

/// How far parameters are from others, in shares of these or, near 0, in units.
fn distance(parameters: &[f64], others: &[f64]) -> f64 {
    parameters.iter().zip(others).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max)
}

/// The lower of two points of one search.
fn lower(first: Found, second: Found) -> Found {
    let settled = first.settled || second.settled;
    let lower = match first.objective.partial_cmp(&second.objective) {
        Some(Ordering::Less) => first,
        _ => second,
    };
    Found { settled, ..lower }
}

fn check<'a>(task: &Task<'a>) -> Result<Segments<'a>> {
    let (n, p) = (task.observed.len(), task.program.n_parameters());
    if p == 0 {
        return Err(Error::Argument { name: "starts", expected: "of at least one parameter", found: "none".into() });
    }
    check_len("columns", task.columns.len(), task.program.n_columns() * n)?;
    check_len("weights", task.weights.len(), n)?;
    check_len("lower", task.lower.len(), p)?;
    check_len("upper", task.upper.len(), p)?;
    check_len("linear", task.linear.len(), p)?;
    check_len("start_offsets", task.start_offsets.len(), task.offsets.len())?;
    if let Some((a, b)) = task.lower.iter().zip(task.upper).find(|(a, b)| a.is_nan() || b.is_nan() || a > b) {
        return Err(Error::Argument { name: "lower", expected: "at most upper", found: format!("{a} above {b}") });
    }
    if let Some(weight) = task.weights.iter().find(|&&w| w.is_nan() || w < 0.0) {
        return Err(Error::Argument { name: "weights", expected: "0 or above", found: weight.to_string() });
    }
    if task.measure.overestimate_penalty.is_nan() || task.measure.overestimate_penalty <= 0.0 {
        let found = task.measure.overestimate_penalty.to_string();
        return Err(Error::Argument { name: "overestimate_penalty", expected: "above 0", found });
    }
    Segments::new(task.offsets, n)
}

/// Values of a form at each point for each set of parameters: set by set.
///
/// # Errors
/// Lengths that do not match, or an interrupt.
pub fn law_values(
    program: &Program,
    columns: &[f64],
    n_points: usize,
    parameters: &[f64],
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    check_len("columns", columns.len(), program.n_columns() * n_points)?;
    let sets: Vec<&[f64]> = parameters.chunks(program.n_parameters().max(1)).collect();
    let (columns, block) = (Columns::new(columns, n_points), block_of(n_points));
    let rows = map_groups(sets.len(), interrupt, |set| {
        let mut tape = Tape::new(program, block);
        tape.set_parameters(sets.get(set).copied().unwrap_or(&[]));
        let mut values = Vec::with_capacity(n_points);
        for start in (0..n_points).step_by(block) {
            values.extend_from_slice(tape.forward(columns, &(start..n_points.min(start + block))));
        }
        Ok(values)
    })?;
    Ok(rows.concat())
}

/// Derivatives of a form by its parameters at each point, for each set of parameters: set by set, then point by point.
///
/// # Errors
/// Lengths that do not match, or an interrupt.
pub fn law_derivatives(
    program: &Program,
    columns: &[f64],
    n_points: usize,
    parameters: &[f64],
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    check_len("columns", columns.len(), program.n_columns() * n_points)?;
    let p = program.n_parameters();
    let sets: Vec<&[f64]> = parameters.chunks(p.max(1)).collect();
    let (columns, block) = (Columns::new(columns, n_points), block_of(n_points));
    let by_point = program.by_point();
    let rows = map_groups(sets.len(), interrupt, |set| {
        let mut tape = Tape::new(&by_point, block);
        tape.set_parameters(sets.get(set).copied().unwrap_or(&[]));
        let mut rows = vec![0.0; n_points * p];
        let (ones, mut column) = (vec![1.0; block], vec![0.0; block]);
        for start in (0..n_points).step_by(block) {
            let points = start..n_points.min(start + block);
            tape.forward(columns, &points);
            tape.backward(columns, &points, ones.get(..points.len()).unwrap_or(&[]));
            for parameter in 0..p {
                column.fill(0.0);
                tape.add_derivatives(parameter, column.get_mut(..points.len()).unwrap_or(&mut []));
                for (point, &slope) in points.clone().zip(&column) {
                    if let Some(place) = rows.get_mut(point * p + parameter) {
                        *place = slope;
                    }
                }
            }
        }
        Ok(rows)
    })?;
    Ok(rows.concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// E + exp(a - alpha x), x the one column.
    fn power_law() -> Program {
        let left = [0, 1, 2, 0, 2, 1, 5, 0];
        Program::new(&[1, 1, 1, 2, 22, 21, 11, 20], &left, &[0, 0, 0, 0, 3, 4, 0, 6], &[0.0; 8], 3, 1).unwrap()
    }

    fn fit(y: &[f64], x: &[f64], weights: &[f64], loss: Loss, log: bool, upper: &[f64]) -> Fits {
        let program = power_law();
        let task = Task {
            program: &program,
            columns: x,
            observed: y,
            weights,
            offsets: &[0, y.len()],
            starts: &[0.5, 0.0, 0.5, 0.1, 1.0, 1.5],
            start_offsets: &[0, 2],
            lower: &[0.0, -9.0, 0.0],
            upper,
            linear: &[true, false, false],
            measure: Measure { loss, log, overestimate_penalty: 1.0 },
            max_steps: 500,
            polish: true,
        };
        fit_laws(task, &Interrupt::new()).unwrap()
    }

    proptest! {
        #[test]
        fn planted_parameters_are_found(e in 0.2..2.0_f64, a in -1.0..2.0_f64, alpha in 0.3..1.5_f64) {
            let x: Vec<f64> = (0..30).map(|i| f64::from(i) * 0.15).collect();
            let y: Vec<f64> = x.iter().map(|x| e + (a - alpha * x).exp()).collect();
            for (loss, log) in [(Loss::Square, false), (Loss::Square, true), (Loss::Huber(1e-3), true), (Loss::Absolute, true)] {
                let found = fit(&y, &x, &[1.0; 30], loss, log, &[9.0; 3]);
                for (found, truth) in found.parameters.iter().zip([e, a, alpha]) {
                    prop_assert!((found - truth).abs() < 1e-4, "{loss:?} {log} {found} {truth}");
                }
            }
        }

        #[test]
        fn bounds_hold_and_nothing_nearby_is_lower(seed in 0_u64..1000, cap in 0.1..0.8_f64) {
            let noise = |i: usize| ((seed * 31 + i as u64 * 7919) % 101) as f64 / 1010.0;
            let x: Vec<f64> = (0..20).map(|i| f64::from(i) * 0.2).collect();
            let y: Vec<f64> = x.iter().enumerate().map(|(i, x)| 1.0 + f64::exp(0.5 - x) + noise(i)).collect();
            let found = fit(&y, &x, &[1.0; 20], Loss::Huber(0.05), true, &[9.0, 9.0, cap]);
            prop_assert!(found.parameters[2] <= cap);
            let program = power_law();
            let sum = |parameters: &[f64]| {
                let values = law_values(&program, &x, 20, parameters, &Interrupt::new()).unwrap();
                values.iter().zip(&y).map(|(f, y)| {
                    let r = (f / y).ln().abs();
                    if r <= 0.05 { 0.5 * r * r } else { 0.05 * (r - 0.025) }
                }).sum::<f64>()
            };
            let best = sum(&found.parameters);
            prop_assert!((best - found.objective[0]).abs() < 1e-12);
            for index in 0..3 {
                for step in [-1e-3, 1e-3] {
                    let mut near = found.parameters.clone();
                    near[index] += step;
                    if near[2] <= cap && near[0] >= 0.0 {
                        prop_assert!(sum(&near) >= best - 1e-13);
                    }
                }
            }
        }
    }

    #[test]
    fn misuse_is_an_error() {
        let program = power_law();
        assert!(law_values(&program, &[1.0], 2, &[1.0; 3], &Interrupt::new()).is_err());
        assert!(Loss::new("cubic", 1.0).is_err());
        assert!(Loss::new("huber", 0.0).is_err());
    }
}
