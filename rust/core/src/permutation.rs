//! Permutation tests by exact integer sums: sign flips of paired differences, labels of two groups, largest of many.
//!
//! Inputs become integers once, q = round(x 2^s) with the largest |x| 2^s in [2^(b-1), 2^b); e = sum |q - x 2^s|.
//! Sampled: b = 26, 16 permutations side by side, sums of 32 integers fit 32 bits and are added up in 64. Enumerated:
//! b = 46. All sums are exact, so no order of addition, instruction set or number of threads can change a result.
//! Sums of true values are off by at most e on each side, and floats such as 0.3 - 0.2 by their own last digits:
//! a permuted |T*| counts as extreme from |T| - slack, slack = ceil(2 e) + floor(1e-12 sum |q|). No tie is missed and p
//! is never too small; what else falls in is within n 2^-25 of the largest |x|, 3e-4 of it at n = 10,000.
//! Many comparisons on one scale have a bound of their own ([`max_t_test`]).
//!
//! p: all patterns, identity included, where they are at most n_resamples: p = #{|T*| >= |T|} / patterns;
//! closed form where one magnitude makes T* binomial or hypergeometric: the same p, whatever the patterns;
//! else p = (1 + #{|T*| >= |T|}) / (n_resamples + 1).
//!
//! Draws: replicates come in parts of 256, each with its own stream of [`crate::random::wide`] (purpose, part, unit), and
//! in blocks of 16 within it, one a lane: word t of a lane holds the bits of instances 32 t .. 32 t + 31, lowest first;
//! a set bit flips the sign. Groups of one unit so share their flips.
//! Twin: python/signoise/reference/_permutation.py

mod closed_form;
mod draws;
mod fixed;
mod labels;
mod max_t;
mod sign_flip;

pub use labels::label_permutation_test;
pub use max_t::{MaxT, MaxTQuantiles, max_t_quantiles, max_t_test};
pub use sign_flip::sign_flip_test;

use crate::error::{Error, Result};

/// How a p-value was found; the numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// From the law of the statistic.
    ClosedForm = 0,
    /// From every pattern.
    Enumerated = 1,
    /// From random patterns, the identity added.
    Sampled = 2,
}

/// One entry a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tests {
    /// Sum of the differences, or difference of the means.
    pub statistic: Vec<f64>,
    /// The statistic over its standard deviation under permutation; NaN where that is 0.
    pub z: Vec<f64>,
    /// Two-sided p; NaN for a group without values or with one that is not finite.
    pub p_value: Vec<f64>,
    /// Permutations at least as extreme; 0 for a closed form.
    pub extreme: Vec<u64>,
    /// Permutations looked at; 0 for a closed form.
    pub draws: Vec<u64>,
    /// [`Method`] of each.
    pub method: Vec<u8>,
}

/// One group's test.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Test {
    statistic: f64,
    z: f64,
    p_value: f64,
    extreme: u64,
    draws: u64,
    method: Method,
}

impl Test {
    const fn closed(statistic: f64, z: f64, p_value: f64) -> Self {
        Self { statistic, z, p_value, extreme: 0, draws: 0, method: Method::ClosedForm }
    }

    fn counted(statistic: f64, z: f64, extreme: u64, draws: u64, method: Method) -> Self {
        Self { statistic, z, p_value: p_value(extreme, draws, method), extreme, draws, method }
    }
}

fn p_value(extreme: u64, draws: u64, method: Method) -> f64 {
    match method {
        Method::Sampled => (extreme as f64 + 1.0) / (draws as f64 + 1.0),
        Method::ClosedForm | Method::Enumerated => extreme as f64 / draws as f64,
    }
}

impl FromIterator<Test> for Tests {
    fn from_iter<I: IntoIterator<Item = Test>>(tests: I) -> Self {
        let mut columns = Self::default();
        for test in tests {
            columns.statistic.push(test.statistic);
            columns.z.push(test.z);
            columns.p_value.push(test.p_value);
            columns.extreme.push(test.extreme);
            columns.draws.push(test.draws);
            columns.method.push(test.method as u8);
        }
        columns
    }
}

/// top / bottom; NaN where nothing varies.
fn ratio(top: f64, bottom: f64) -> f64 {
    if bottom > 0.0 { top / bottom } else { f64::NAN }
}

fn check_resamples(n_resamples: usize) -> Result<()> {
    if n_resamples == 0 {
        return Err(Error::Argument { name: "n_resamples", expected: "at least 1", found: "0".into() });
    }
    Ok(())
}
