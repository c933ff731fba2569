//! Values of a program and their derivatives, block by block of points, by going through its steps forwards and back.
//!
//! forward   v_s = f(v_a, v_b) for each step s, points of a block side by side
//! back      d_s = d value / d v_s: d_a += d_s df/dv_a; a parameter's share of a block is summed over points
//! Cost: a few vector instructions a step and point; exp and log are some thirty.

use std::ops::Range;

use fearless_simd::{Level, dispatch};

use super::elementary::{exp, log, sigmoid, softplus};
use super::program::{Binary, Extent, Program, Step, Unary};

/// Points of a block, at most.
const BLOCK: usize = 256;

/// Points of a block where there are so many: a replicate of a few points needs little space.
pub(super) const fn block_of(n_points: usize) -> usize {
    if n_points == 0 {
        1
    } else if n_points < BLOCK {
        n_points
    } else {
        BLOCK
    }
}

/// Numbers that a step takes: one for all points or one each.
#[derive(Clone, Copy)]
enum Operand<'v> {
    One(f64),
    Each(&'v [f64]),
}

/// Data columns one after the other, each `stride` long.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    values: &'a [f64],
    stride: usize,
}

impl<'a> Columns<'a> {
    /// Columns of `stride` points each.
    #[must_use]
    pub const fn new(values: &'a [f64], stride: usize) -> Self {
        Self { values, stride }
    }

    fn slice(&self, column: usize, points: &Range<usize>) -> &'a [f64] {
        let start = column * self.stride;
        self.values.get(start + points.start..start + points.end).unwrap_or(&[])
    }
}

/// Working space for one program.
pub(super) struct Tape<'p> {
    program: &'p Program,
    level: Level,
    /// Points of a block.
    block: usize,
    /// Values of steps without points, and derivatives by them.
    scalars: Vec<f64>,
    scalar_adjoints: Vec<f64>,
    /// The same of steps with points: a block each.
    values: Vec<f64>,
    adjoints: Vec<f64>,
    /// Steps whose derivatives of this block have been begun.
    written: Vec<bool>,
    scratch: Vec<f64>,
}

impl<'p> Tape<'p> {
    /// Space for blocks of so many points.
    pub(super) fn new(program: &'p Program, block: usize) -> Self {
        let n = program.steps.len();
        Self {
            program,
            level: Level::new(),
            block,
            scalars: vec![0.0; n],
            scalar_adjoints: vec![0.0; n],
            values: vec![0.0; n * block],
            adjoints: vec![0.0; n * block],
            written: vec![false; n],
            scratch: vec![0.0; block],
        }
    }

    /// Takes other parameters and forgets what was summed over blocks.
    pub(super) fn set_parameters(&mut self, parameters: &[f64]) {
        self.scalar_adjoints.fill(0.0);
        for (index, step) in self.program.steps.iter().enumerate() {
            let (before, rest) = self.scalars.split_at_mut(index);
            let at = |step: usize| before.get(step).copied().unwrap_or(f64::NAN);
            let value = match *step {
                Step::Constant(value) => value,
                Step::Parameter(parameter) => parameters.get(parameter).copied().unwrap_or(f64::NAN),
                Step::Column(_) => f64::NAN,
                Step::Unary(kind, step) => unary(kind, at(step)),
                Step::Binary(kind, left, right) => binary(kind, at(left), at(right)),
            };
            if let Some(place) = rest.first_mut() {
                *place = value;
            }
        }
    }

    /// Values at a block of points.
    pub(super) fn forward(&mut self, columns: Columns<'_>, points: &Range<usize>) -> &[f64] {
        dispatch!(self.level, _simd => self.forward_steps(columns, points));
        let last = self.program.steps.len().saturating_sub(1);
        let at = last * self.block..last * self.block + points.len();
        match self.program.extents.get(last) {
            Some(Extent::Fixed | Extent::Scalar) => {
                // A form without data: the one number at all points.
                let value = self.scalars.get(last).copied().unwrap_or(f64::NAN);
                let block = self.values.get_mut(at).unwrap_or(&mut []);
                block.fill(value);
                block
            }
            Some(Extent::Data) if matches!(self.program.steps.get(last), Some(Step::Column(_))) => {
                let Some(Step::Column(column)) = self.program.steps.get(last) else { return &[] };
                let block = self.values.get_mut(at).unwrap_or(&mut []);
                block.copy_from_slice(columns.slice(*column, points));
                block
            }
            _ => self.values.get(at).unwrap_or(&[]),
        }
    }

    #[inline(always)]
    fn forward_steps(&mut self, columns: Columns<'_>, points: &Range<usize>) {
        let (n, block) = (points.len(), self.block);
        for (index, (step, extent)) in self.program.steps.iter().zip(&self.program.extents).enumerate() {
            if !matches!(extent, Extent::Data | Extent::Points) {
                continue;
            }
            let (before, rest) = self.values.split_at_mut(index * block);
            let Some(out) = rest.get_mut(..n) else { continue };
            let operand = |step| operand(self.program, &self.scalars, before, block, columns, points, step);
            match *step {
                Step::Parameter(_) => out.fill(self.scalars.get(index).copied().unwrap_or(f64::NAN)),
                Step::Constant(_) | Step::Column(_) => {}
                Step::Unary(kind, step) => match kind {
                    Unary::Negative => map(out, operand(step), |x| -x),
                    Unary::Exp => map(out, operand(step), exp),
                    Unary::Log => map(out, operand(step), log),
                    Unary::Sigmoid => map(out, operand(step), sigmoid),
                    Unary::Softplus => map(out, operand(step), softplus),
                },
                Step::Binary(kind, left, right) => {
                    let (left, right) = (operand(left), operand(right));
                    match kind {
                        Binary::Add => map_two(out, left, right, |a, b| a + b),
                        Binary::Subtract => map_two(out, left, right, |a, b| a - b),
                        Binary::Multiply => map_two(out, left, right, |a, b| a * b),
                        Binary::Divide => map_two(out, left, right, |a, b| a / b),
                        Binary::Maximum => map_two(out, left, right, larger),
                    }
                }
            }
        }
    }

    /// Goes back from derivatives by the value at each point of the block that [`Self::forward`] has just seen.
    pub(super) fn backward(&mut self, columns: Columns<'_>, points: &Range<usize>, seed: &[f64]) {
        self.written.fill(false);
        let last = self.program.steps.len().saturating_sub(1);
        if let Some(extent) = self.program.extents.get(last) {
            let sinks = Sinks {
                block: self.block,
                vectors: &mut self.adjoints,
                scalars: &mut self.scalar_adjoints,
                written: &mut self.written,
            };
            give(self.level, *extent, sinks, last, seed, Operand::One(1.0));
        }
        dispatch!(self.level, _simd => self.backward_steps(columns, points));
    }

    #[inline(always)]
    fn backward_steps(&mut self, columns: Columns<'_>, points: &Range<usize>) {
        let (n, block) = (points.len(), self.block);
        for (index, (step, extent)) in self.program.steps.iter().zip(&self.program.extents).enumerate().rev() {
            if *extent != Extent::Points || !self.written.get(index).copied().unwrap_or(false) {
                continue;
            }
            let (before, rest) = self.adjoints.split_at_mut(index * block);
            let Some(adjoint) = rest.get(..n) else { continue };
            let Some(value) = self.values.get(index * block..index * block + n) else { continue };
            let Some(scratch) = self.scratch.get_mut(..n) else { continue };
            let operand = |step| operand(self.program, &self.scalars, &self.values, block, columns, points, step);
            let mut to = |step: usize, slope: Operand<'_>| {
                let Some(extent) = self.program.extents.get(step) else { return };
                let sinks =
                    Sinks { block, vectors: before, scalars: &mut self.scalar_adjoints, written: &mut self.written };
                give(self.level, *extent, sinks, step, adjoint, slope);
            };
            match *step {
                Step::Constant(_) | Step::Parameter(_) | Step::Column(_) => {}
                Step::Unary(kind, step) => match kind {
                    Unary::Negative => to(step, Operand::One(-1.0)),
                    Unary::Exp => to(step, Operand::Each(value)),
                    Unary::Log => {
                        map(scratch, operand(step), |x| 1.0 / x);
                        to(step, Operand::Each(scratch));
                    }
                    Unary::Sigmoid => {
                        map(scratch, Operand::Each(value), |y| y * (1.0 - y));
                        to(step, Operand::Each(scratch));
                    }
                    Unary::Softplus => {
                        map(scratch, operand(step), sigmoid);
                        to(step, Operand::Each(scratch));
                    }
                },
                Step::Binary(kind, left, right) => {
                    let (a, b) = (operand(left), operand(right));
                    match kind {
                        Binary::Add => {
                            to(left, Operand::One(1.0));
                            to(right, Operand::One(1.0));
                        }
                        Binary::Subtract => {
                            to(left, Operand::One(1.0));
                            to(right, Operand::One(-1.0));
                        }
                        Binary::Multiply => {
                            to(left, b);
                            to(right, a);
                        }
                        Binary::Divide => {
                            map(scratch, b, |b| 1.0 / b);
                            to(left, Operand::Each(scratch));
                            map_two(scratch, Operand::Each(value), b, |y, b| -y / b);
                            to(right, Operand::Each(scratch));
                        }
                        Binary::Maximum => {
                            map_two(scratch, a, b, |a, b| f64::from(u8::from(a >= b)));
                            to(left, Operand::Each(scratch));
                            map_two(scratch, a, b, |a, b| f64::from(u8::from(b > a)));
                            to(right, Operand::Each(scratch));
                        }
                    }
                }
            }
        }
    }

    /// Adds to `gradient` what the blocks since [`Self::set_parameters`] have summed up.
    pub(super) fn add_gradient(&mut self, gradient: &mut [f64]) {
        for (index, (step, extent)) in self.program.steps.iter().zip(&self.program.extents).enumerate().rev() {
            if *extent != Extent::Scalar {
                continue;
            }
            let adjoint = self.scalar_adjoints.get(index).copied().unwrap_or(0.0);
            if adjoint == 0.0 {
                continue;
            }
            let at = |step: usize| self.scalars.get(step).copied().unwrap_or(f64::NAN);
            let value = at(index);
            let mut to = |step: usize, slope: f64| {
                if let Some(place) = self.scalar_adjoints.get_mut(step) {
                    *place += adjoint * slope;
                }
            };
            match *step {
                Step::Parameter(parameter) => {
                    if let Some(place) = gradient.get_mut(parameter) {
                        *place += adjoint;
                    }
                }
                Step::Constant(_) | Step::Column(_) => {}
                Step::Unary(kind, step) => to(
                    step,
                    match kind {
                        Unary::Negative => -1.0,
                        Unary::Exp => value,
                        Unary::Log => 1.0 / at(step),
                        Unary::Sigmoid => value * (1.0 - value),
                        Unary::Softplus => sigmoid(at(step)),
                    },
                ),
                Step::Binary(kind, left, right) => {
                    let (a, b) = (at(left), at(right));
                    let (by_left, by_right) = match kind {
                        Binary::Add => (1.0, 1.0),
                        Binary::Subtract => (1.0, -1.0),
                        Binary::Multiply => (b, a),
                        Binary::Divide => (1.0 / b, -value / b),
                        Binary::Maximum => (f64::from(u8::from(a >= b)), f64::from(u8::from(b > a))),
                    };
                    to(left, by_left);
                    to(right, by_right);
                }
            }
        }
    }

    /// Derivatives of the value by a parameter at the points of the last block, of a program made [`Program::by_point`]:
    /// added to `column`.
    pub(super) fn add_derivatives(&self, parameter: usize, column: &mut [f64]) {
        for (index, step) in self.program.steps.iter().enumerate() {
            if *step == Step::Parameter(parameter) && self.written.get(index).copied().unwrap_or(false) {
                let adjoints = self.adjoints.get(index * self.block..).unwrap_or(&[]);
                for (place, &adjoint) in column.iter_mut().zip(adjoints) {
                    *place += adjoint;
                }
            }
        }
    }
}

/// Where derivatives go.
struct Sinks<'s> {
    block: usize,
    vectors: &'s mut [f64],
    scalars: &'s mut [f64],
    written: &'s mut [bool],
}

/// Adds adjoint times slope to the derivative by a step: summed over points if the step has one number for all.
fn give(level: Level, extent: Extent, sinks: Sinks<'_>, step: usize, adjoint: &[f64], slope: Operand<'_>) {
    // Of its own, as it is called for every operand of every kind of step.
    dispatch!(level, _simd => give_each(extent, sinks, step, adjoint, slope));
}

#[inline(always)]
fn give_each(extent: Extent, sinks: Sinks<'_>, step: usize, adjoint: &[f64], slope: Operand<'_>) {
    match extent {
        Extent::Fixed | Extent::Data => {}
        Extent::Scalar => {
            if let Some(place) = sinks.scalars.get_mut(step) {
                *place += match slope {
                    Operand::One(slope) => slope * sum(adjoint, adjoint, |x, _| x),
                    Operand::Each(slope) => sum(adjoint, slope, |x, y| x * y),
                };
            }
        }
        Extent::Points => {
            let Some(place) = sinks.vectors.get_mut(step * sinks.block..step * sinks.block + adjoint.len()) else {
                return;
            };
            let Some(written) = sinks.written.get_mut(step) else { return };
            let first = !std::mem::replace(written, true);
            match (first, slope) {
                (true, slope) => map_two(place, Operand::Each(adjoint), slope, |x, y| x * y),
                (false, Operand::One(slope)) => {
                    for (place, &x) in place.iter_mut().zip(adjoint) {
                        *place += x * slope;
                    }
                }
                (false, Operand::Each(slope)) => {
                    for ((place, &x), &y) in place.iter_mut().zip(adjoint).zip(slope) {
                        *place += x * y;
                    }
                }
            }
        }
    }
}

/// Sum over points in eight lanes, which are added up last: the same bits whatever the width of the vectors.
#[inline(always)]
pub(super) fn sum(left: &[f64], right: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    for (left, right) in left.iter().zip(right) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(left).zip(right) {
            *lane += f(x, y);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane += f(x, y);
    }
    lanes.iter().sum()
}

fn operand<'v>(
    program: &Program,
    scalars: &[f64],
    values: &'v [f64],
    block: usize,
    columns: Columns<'v>,
    points: &Range<usize>,
    step: usize,
) -> Operand<'v> {
    match (program.steps.get(step), program.extents.get(step)) {
        (Some(Step::Column(column)), _) => Operand::Each(columns.slice(*column, points)),
        (_, Some(Extent::Data | Extent::Points)) => {
            Operand::Each(values.get(step * block..step * block + points.len()).unwrap_or(&[]))
        }
        _ => Operand::One(scalars.get(step).copied().unwrap_or(f64::NAN)),
    }
}

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

#[inline(always)]
fn unary(kind: Unary, x: f64) -> f64 {
    match kind {
        Unary::Negative => -x,
        Unary::Exp => exp(x),
        Unary::Log => log(x),
        Unary::Sigmoid => sigmoid(x),
        Unary::Softplus => softplus(x),
    }
}

#[inline(always)]
fn binary(kind: Binary, a: f64, b: f64) -> f64 {
    match kind {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::Maximum => larger(a, b),
    }
}

#[inline(always)]
fn map(out: &mut [f64], x: Operand<'_>, f: impl Fn(f64) -> f64) {
    match x {
        Operand::One(x) => out.fill(f(x)),
        Operand::Each(x) => {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = f(x);
            }
        }
    }
}

#[inline(always)]
fn map_two(out: &mut [f64], left: Operand<'_>, right: Operand<'_>, f: impl Fn(f64, f64) -> f64) {
    match (left, right) {
        (Operand::One(a), Operand::One(b)) => out.fill(f(a, b)),
        (Operand::Each(a), Operand::One(b)) => {
            for (out, &a) in out.iter_mut().zip(a) {
                *out = f(a, b);
            }
        }
        (Operand::One(a), Operand::Each(b)) => {
            for (out, &b) in out.iter_mut().zip(b) {
                *out = f(a, b);
            }
        }
        (Operand::Each(a), Operand::Each(b)) => {
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *out = f(a, b);
            }
        }
    }
}
