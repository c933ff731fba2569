//! Abilities under known items: mode by Newton, then sums over nodes around it.
//!
//! log f(theta) = sum_i (u_i eta_i - log(1 + exp eta_i)) - theta^2 / 2,  eta_i = a_i (theta - b_i), over what was answered.
//! It is concave; nodes STEP of its deviation at the mode apart reach to where it has fallen by TAIL.

use crate::error::{Error, Result};
use crate::laws::elementary::{exp, sigmoid, softplus};
use crate::matrix::{BitMatrix, Bits, check_bits};
use crate::parallel::{Interrupt, check_len, map_groups};

const STEP: f64 = 0.5;
const TAIL: f64 = 30.0;
const STEPS: usize = 100;

/// Posterior of theta of each subject.
#[derive(Debug, Clone, Default)]
pub struct Abilities {
    /// Posterior mean.
    pub ability: Vec<f64>,
    /// Posterior standard deviation.
    pub ability_sd: Vec<f64>,
    /// Marginal log-likelihood of its answers.
    pub log_likelihood: Vec<f64>,
}

/// An answer: slope and intercept of its item, and whether it was right.
#[derive(Debug, Clone, Copy)]
struct Answer {
    a: f64,
    d: f64,
    right: f64,
}

/// Abilities of subjects (rows) from their answers to items (columns) with these parameters; an item whose parameters
/// are not finite says nothing.
///
/// # Errors
/// A length that does not fit the shape, or an interrupt.
pub fn item_abilities(
    responses: &BitMatrix<'_>,
    discrimination: &[f64],
    difficulty: &[f64],
    interrupt: &Interrupt,
) -> Result<Abilities> {
    let &BitMatrix { rows, width, values, validity } = responses;
    check_bits("values", Some(values), rows, width)?;
    check_bits("validity", validity, rows, width)?;
    check_len("discrimination", discrimination.len(), width)?;
    check_len("difficulty", difficulty.len(), width)?;
    let found = map_groups(rows, interrupt, |row| {
        let (start, end) = (row * width, (row + 1) * width);
        let right = Bits::new(values, start, end);
        let there = validity.map(|bytes| Bits::new(bytes, start, end));
        let items = discrimination.iter().zip(difficulty).enumerate();
        let answers =
            items.filter(|(i, (a, b))| a.is_finite() && b.is_finite() && there.is_none_or(|there| there.get(*i)));
        let answers: Vec<Answer> =
            answers.map(|(i, (a, b))| Answer { a: *a, d: -a * b, right: f64::from(right.get(i)) }).collect();
        Ok::<_, Error>(posterior(&answers))
    })?;
    Ok(Abilities {
        ability: found.iter().map(|one| one[0]).collect(),
        ability_sd: found.iter().map(|one| one[1]).collect(),
        log_likelihood: found.iter().map(|one| one[2]).collect(),
    })
}

/// Mean, deviation and logarithm of the integral.
fn posterior(answers: &[Answer]) -> [f64; 3] {
    let (mode, sd) = mode(answers);
    let top = log_posterior(answers, mode);
    let mut cells = vec![(mode, 1.0)];
    for direction in [-1.0, 1.0] {
        for k in 1.. {
            let theta = mode + direction * f64::from(k) * STEP * sd;
            let fallen = log_posterior(answers, theta) - top;
            if fallen.is_nan() || fallen < -TAIL {
                break;
            }
            cells.push((theta, exp(fallen)));
        }
    }
    let total: f64 = cells.iter().map(|(_, w)| w).sum();
    let mean = cells.iter().map(|(x, w)| w * x).sum::<f64>() / total;
    let variance = cells.iter().map(|(x, w)| w * (x - mean) * (x - mean)).sum::<f64>() / total;
    let scale = STEP * sd / std::f64::consts::TAU.sqrt();
    [mean, variance.sqrt(), top + libm::log(total * scale)]
}

fn log_posterior(answers: &[Answer], theta: f64) -> f64 {
    let terms = answers.iter().map(|answer| {
        let eta = answer.a * theta + answer.d;
        answer.right * eta - softplus(eta)
    });
    terms.sum::<f64>() - 0.5 * theta * theta
}

/// Where the posterior is highest, and its deviation there.
fn mode(answers: &[Answer]) -> (f64, f64) {
    let slopes = |theta: f64| {
        answers.iter().fold((-theta, 1.0), |(slope, curvature), answer| {
            let p = sigmoid(answer.a * theta + answer.d);
            (slope + answer.a * (answer.right - p), curvature + answer.a * answer.a * p * (1.0 - p))
        })
    };
    // The mode lies where the slope, which falls, changes its sign: between these after every step.
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    let mut theta = 0.0;
    for _ in 0..STEPS {
        let (slope, curvature) = slopes(theta);
        let sd = 1.0 / curvature.sqrt();
        if slope > 0.0 {
            low = theta
        } else {
            high = theta
        }
        let newton = theta + (slope / curvature).clamp(-2.0, 2.0);
        let next = if newton > low && newton < high { newton } else { f64::midpoint(low.max(-40.0), high.min(40.0)) };
        if (next - theta).abs() <= 1e-9 * sd || !slope.is_finite() {
            return (theta, sd);
        }
        theta = next;
    }
    (theta, 1.0 / slopes(theta).1.sqrt())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn without_answers_there_is_the_prior() {
        let nobody = BitMatrix { rows: 2, width: 1, values: &[0b11], validity: Some(&[0b10]) };
        let found = item_abilities(&nobody, &[1.0], &[0.0], &Interrupt::new()).unwrap();
        assert!(found.ability[0].abs() < 1e-12 && (found.ability_sd[0] - 1.0).abs() < 1e-8);
        assert!(found.log_likelihood[0].abs() < 1e-8 && (found.log_likelihood[1] - 0.5_f64.ln()).abs() < 1e-8);
        assert!(found.ability[1] > 0.0);
        let unknown = item_abilities(&nobody, &[f64::NAN], &[0.0], &Interrupt::new()).unwrap();
        assert_eq!(unknown.ability[0], unknown.ability[1]);
    }

    #[test]
    fn extreme_items_end() {
        let one = BitMatrix { rows: 1, width: 2, values: &[0b01], validity: None };
        for (a, b) in [(20.0, 3.0), (1e3, -30.0), (1e-300, 1e300), (-5.0, 2.0)] {
            let found = item_abilities(&one, &[a, a], &[b, b], &Interrupt::new()).unwrap();
            assert!(found.ability[0].is_finite() && found.ability_sd[0] > 0.0, "{a} {b}");
        }
        assert!(item_abilities(&one, &[1.0], &[1.0, 2.0], &Interrupt::new()).is_err());
    }
}
