//! Logistic item response models: how hard each item is, how well it tells subjects apart, how able each subject is.
//!
//! P(u_ij = 1 | theta_j) = 1 / (1 + exp(-(a_i theta_j + d_i))),  d_i = -a_i b_i,  theta_j ~ N(0, 1);  1PL: a_i = a
//! l = sum_j log int phi(theta) prod_i P^u (1 - P)^(1 - u) dtheta: the marginal log-likelihood (Bock & Aitkin 1981)
//! Priors, unless their deviations are infinite: log a_i ~ N(log s, sa^2), s b_i + m ~ N(0, sb^2), log s ~ N(0, (2 sa)^2),
//! m ~ N(0, (2 sb)^2); in a 1PL, s = a. They float (s and m are estimated): the abilities' N(0, 1), not thousands of
//! priors of items, sets the scale. What is found is the largest l + log prior over a, d, s and m.
//!
//! EM: posteriors of theta on a lattice (`lattice`), Newton steps of the items (`items`), then the expansion that lets
//! the abilities have a mean and deviation of their own and writes the items for standard ones (PX-EM, Liu, Rubin & Wu
//! 1998): without it scale and location creep, as many items say much about them and few subjects little.
//! Items that all subjects answered alike are one pattern, with a weight (`patterns`): 12 subjects have 4096 of them.
//! Cost of an iteration: O(patterns nodes), with gaps O(cells nodes of a subject). Without a prior, an item that all
//! got right (or wrong) has no estimate: its parameters are NaN, and it says nothing about ability.
//! Twin: python/signoise/reference/_item_response.py

mod ability;
mod errors;
mod items;
mod lattice;
mod patterns;

pub use ability::{Abilities, item_abilities};

use crate::error::{Error, Result};
use crate::matrix::BitMatrix;
use crate::parallel::Interrupt;
use items::Items;
use lattice::Lattice;
use patterns::Patterns;

/// What is fitted and how far.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// All items share one discrimination (1PL).
    pub common: bool,
    /// sa; infinite: no priors at all.
    pub discrimination_sd: f64,
    /// sb; infinite: no priors at all.
    pub difficulty_sd: f64,
    /// Largest change of any a or d in the last iteration.
    pub tolerance: f64,
    /// Most iterations.
    pub max_iterations: usize,
}

/// A fitted model; NaN where undefined.
#[derive(Debug, Clone, Default)]
pub struct ItemResponse {
    /// a of each item.
    pub discrimination: Vec<f64>,
    /// b of each item.
    pub difficulty: Vec<f64>,
    /// Standard error of a, from the observed information (with the prior's) as if all other items were known.
    pub discrimination_stderr: Vec<f64>,
    /// Standard error of b.
    pub difficulty_stderr: Vec<f64>,
    /// Items without a prior whose estimate lies on a bound: the likelihood has no maximum.
    pub at_bound: Vec<bool>,
    /// Posterior mean of theta, of each subject.
    pub ability: Vec<f64>,
    /// Posterior standard deviation of theta.
    pub ability_sd: Vec<f64>,
    /// l, without the priors.
    pub log_likelihood: f64,
    /// Iterations taken.
    pub iterations: usize,
    /// Whether the last one changed nothing by more than the tolerance.
    pub converged: bool,
}

impl Options {
    fn check(&self) -> Result<()> {
        let sd = |name, value: f64| {
            if value > 0.0 { Ok(()) } else { Err(argument(name, "above 0", value)) }
        };
        sd("discrimination_sd", self.discrimination_sd)?;
        sd("difficulty_sd", self.difficulty_sd)?;
        if self.discrimination_sd.is_infinite() != self.difficulty_sd.is_infinite() {
            return Err(argument("difficulty_sd", "infinite where discrimination_sd is", self.difficulty_sd));
        }
        sd("tolerance", self.tolerance)
    }
}

fn argument(name: &'static str, expected: &'static str, found: f64) -> Error {
    Error::Argument { name, expected, found: found.to_string() }
}

/// Parameters of the items (columns) and abilities of the subjects (rows) of a matrix of right and wrong.
///
/// # Errors
/// Options outside their range, a length that does not fit the shape, or an interrupt.
pub fn fit_item_response(responses: &BitMatrix<'_>, options: &Options, interrupt: &Interrupt) -> Result<ItemResponse> {
    options.check()?;
    let priors = options.discrimination_sd.is_finite();
    let patterns = Patterns::new(responses, |n, ones| n > 0 && (priors || (ones > 0 && ones < n)))?;
    let mut items = Items::new(&patterns, options);
    let mut lattice = Lattice::new(responses.rows);
    let (mut iterations, mut converged) = (0, patterns.len() == 0);
    while iterations < options.max_iterations && !converged {
        iterations += 1;
        let posterior = lattice.posterior(&patterns, &items, interrupt)?;
        converged = items.improve(&patterns, &posterior, interrupt)? <= options.tolerance;
    }
    let posterior = lattice.posterior(&patterns, &items, interrupt)?;
    let errors = errors::standard_errors(&patterns, &items, &posterior, interrupt)?;
    let column = |value: &dyn Fn(usize) -> f64| patterns.spread(f64::NAN, value);
    Ok(ItemResponse {
        discrimination: column(&|p| items.slope(p)),
        difficulty: column(&|p| -items.intercept(p) / items.slope(p)),
        discrimination_stderr: column(&|p| errors.get(p).map_or(f64::NAN, |e| e.discrimination)),
        difficulty_stderr: column(&|p| errors.get(p).map_or(f64::NAN, |e| e.difficulty)),
        at_bound: patterns.spread(false, |p| items.at_bound(p)),
        ability_sd: posterior.variances.iter().map(|v| v.sqrt()).collect(),
        log_likelihood: posterior.logs.iter().sum(),
        ability: posterior.means,
        iterations,
        converged,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WEAK: Options =
        Options { common: false, discrimination_sd: 0.5, difficulty_sd: 2.0, tolerance: 1e-6, max_iterations: 500 };

    fn packed(cells: &[u8]) -> Vec<u8> {
        cells.chunks(8).map(|byte| byte.iter().enumerate().map(|(bit, cell)| cell << bit).sum()).collect()
    }

    fn fit(cells: &[u8], width: usize, options: &Options) -> ItemResponse {
        let values = packed(cells);
        let matrix = BitMatrix { rows: cells.len() / width.max(1), width, values: &values, validity: None };
        fit_item_response(&matrix, options, &Interrupt::new()).unwrap()
    }

    #[test]
    fn easy_items_have_low_difficulty_and_able_subjects_high_ability() {
        let found = fit(&[1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1], 3, &WEAK);
        assert!(found.converged);
        assert!(found.difficulty.is_sorted() && found.ability.is_sorted());
    }

    #[test]
    fn items_that_all_got_right_need_a_prior() {
        let cells = [1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0, 0];
        assert!(fit(&cells, 3, &WEAK).difficulty.iter().all(|b| b.is_finite()));
        let none = Options { discrimination_sd: f64::INFINITY, difficulty_sd: f64::INFINITY, ..WEAK };
        let found = fit(&cells, 3, &none);
        assert!(found.difficulty[0].is_nan() && found.discrimination_stderr[0].is_nan());
    }

    #[test]
    fn nothing_to_fit_leaves_the_abilities_where_they_were() {
        let found = fit(&[], 0, &WEAK);
        assert!(found.converged && found.ability.is_empty());
        let none = Options { discrimination_sd: f64::INFINITY, difficulty_sd: f64::INFINITY, ..WEAK };
        let found = fit(&[1, 1], 1, &none);
        assert!(found.ability.iter().all(|theta| theta.abs() < 1e-12));
        assert!(found.ability_sd.iter().all(|sd| (sd - 1.0).abs() < 1e-6));
    }

    #[test]
    fn bad_options_are_named() {
        let matrix = BitMatrix { rows: 1, width: 1, values: &[1], validity: None };
        for bad in [
            Options { discrimination_sd: 0.0, ..WEAK },
            Options { difficulty_sd: f64::INFINITY, ..WEAK },
            Options { tolerance: f64::NAN, ..WEAK },
        ] {
            assert!(fit_item_response(&matrix, &bad, &Interrupt::new()).is_err(), "{bad:?}");
        }
        let short = BitMatrix { rows: 9, ..matrix };
        assert!(fit_item_response(&short, &WEAK, &Interrupt::new()).is_err());
    }
}
