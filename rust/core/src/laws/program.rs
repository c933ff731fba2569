//! A functional form as a list of steps, each made of earlier ones; the last one is the value.
//!
//! The caller writes a formula, takes out what depends on data alone (a column) and hands over the rest. Steps that
//! depend on parameters alone are computed once for all points.

use crate::error::{Error, Result};
use crate::parallel::check_len;

/// Functions of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Negative,
    Exp,
    Log,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// log(1 + e^x)
    Softplus,
}

/// Functions of two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    /// The larger one.
    Maximum,
}

/// How a step comes about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Constant(f64),
    Parameter(usize),
    Column(usize),
    Unary(Unary, usize),
    Binary(Binary, usize, usize),
}

/// What a step varies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Neither points nor parameters.
    Fixed,
    /// Parameters alone: one number for all points.
    Scalar,
    /// Points, but no parameter.
    Data,
    /// Both.
    Points,
}

/// A checked list of steps.
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) extents: Vec<Extent>,
    n_parameters: usize,
    n_columns: usize,
}

impl Program {
    /// Reads steps: `ops` 0 constant (`constants`), 1 parameter (`left`), 2 column (`left`), 10 negative, 11 exp, 12 log,
    /// 13 sigmoid, 14 softplus (of step `left`), 20 add, 21 subtract, 22 multiply, 23 divide, 24 maximum (of steps
    /// `left` and `right`).
    ///
    /// # Errors
    /// Arrays of different lengths, no step at all, an unknown number, a step made of itself or later ones, or a
    /// parameter or column that is not there.
    pub fn new(
        ops: &[u8],
        left: &[u32],
        right: &[u32],
        constants: &[f64],
        n_parameters: usize,
        n_columns: usize,
    ) -> Result<Self> {
        check_len("left", left.len(), ops.len())?;
        check_len("right", right.len(), ops.len())?;
        check_len("constants", constants.len(), ops.len())?;
        let mut program = Self { steps: Vec::new(), extents: Vec::new(), n_parameters, n_columns };
        for (((&op, &left), &right), &constant) in ops.iter().zip(left).zip(right).zip(constants) {
            program.push(op, left as usize, right as usize, constant)?;
        }
        if program.steps.is_empty() {
            return Err(Error::Argument { name: "ops", expected: "at least one step", found: "none".into() });
        }
        Ok(program)
    }

    fn push(&mut self, op: u8, left: usize, right: usize, constant: f64) -> Result<()> {
        let below = |name: &'static str, expected: &'static str, found: usize, limit: usize| {
            if found < limit { Ok(found) } else { Err(Error::Argument { name, expected, found: found.to_string() }) }
        };
        let earlier = |name, found| below(name, "an earlier step", found, self.steps.len());
        let unary = |kind| Ok::<_, Error>(Step::Unary(kind, earlier("left", left)?));
        let binary = |kind| Ok::<_, Error>(Step::Binary(kind, earlier("left", left)?, earlier("right", right)?));
        let step = match op {
            0 => Step::Constant(constant),
            1 => Step::Parameter(below("left", "a parameter", left, self.n_parameters)?),
            2 => Step::Column(below("left", "a column", left, self.n_columns)?),
            10 => unary(Unary::Negative)?,
            11 => unary(Unary::Exp)?,
            12 => unary(Unary::Log)?,
            13 => unary(Unary::Sigmoid)?,
            14 => unary(Unary::Softplus)?,
            20 => binary(Binary::Add)?,
            21 => binary(Binary::Subtract)?,
            22 => binary(Binary::Multiply)?,
            23 => binary(Binary::Divide)?,
            24 => binary(Binary::Maximum)?,
            _ => return Err(Error::Argument { name: "ops", expected: "known numbers", found: op.to_string() }),
        };
        let of = |step: usize| self.extents.get(step).copied().unwrap_or(Extent::Fixed);
        self.extents.push(match step {
            Step::Constant(_) => Extent::Fixed,
            Step::Parameter(_) => Extent::Scalar,
            Step::Column(_) => Extent::Data,
            Step::Unary(_, step) => of(step),
            Step::Binary(_, left, right) => of(left).with(of(right)),
        });
        self.steps.push(step);
        Ok(())
    }

    /// Number of parameters.
    #[must_use]
    pub const fn n_parameters(&self) -> usize {
        self.n_parameters
    }

    /// Number of data columns.
    #[must_use]
    pub const fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// The same steps with a number for each point wherever parameters come in: what derivatives of single points need.
    pub(super) fn by_point(&self) -> Self {
        let mut program = self.clone();
        for extent in &mut program.extents {
            if *extent == Extent::Scalar {
                *extent = Extent::Points;
            }
        }
        program
    }
}

impl Extent {
    const fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fixed, extent) | (extent, Self::Fixed) => extent,
            (Self::Scalar, Self::Scalar) => Self::Scalar,
            (Self::Data, Self::Data) => Self::Data,
            _ => Self::Points,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_programs_are_refused() {
        let one = |op, left, right| Program::new(&[1, op], &[0, left], &[0, right], &[0.0; 2], 1, 1);
        assert!(one(11, 0, 0).is_ok());
        assert!(one(20, 0, 1).is_err(), "made of itself");
        assert!(one(1, 1, 0).is_err(), "no such parameter");
        assert!(one(2, 1, 0).is_err(), "no such column");
        assert!(one(99, 0, 0).is_err(), "unknown");
        assert!(Program::new(&[], &[], &[], &[], 0, 0).is_err(), "empty");
        assert!(Program::new(&[0], &[], &[0], &[1.0], 0, 0).is_err(), "lengths");
    }
}
