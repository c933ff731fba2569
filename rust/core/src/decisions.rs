//! Do two scales order the same recipes alike? (arXiv 2504.11393, 2508.13144)
//!
//! Members of a group have a score at the small scale and one at the target; higher is better on both; they come in
//! lexical order of the key they were joined by, which matters to the reference's rule (`compat`) alone.
//!   a_i -> small, b_i -> target, J -> members of the group, pairs i < j
//!   DA = mean over pairs of (1 + sign(a_i - a_j) sign(b_i - b_j)) / 2     a tie counts 1/2
//! One file a question: `counts` (pairs by how they compare), `scores` (weighted and decidable pairs), `noise`
//! (agreement under noise), `sampled` (agreement of drawn checkpoints), `interval` (delete-one-recipe interval),
//! `columns` (replicates side by side); `trials` is what those that compare many trials at once share. A group of fewer
//! than 2 members has no pairs, so counts of 0 and a score of NaN.
//! Twin: python/signoise/reference/_decisions.py

mod columns;
mod counts;
mod interval;
mod noise;
mod sampled;
mod scores;
mod trials;

pub use columns::agreement_columns;
pub use counts::{PairCounts, pair_agreement};
pub use interval::{Interval, jackknife_interval};
pub use noise::{NoisyAgreement, expected_agreement, noisy_agreement};
pub use sampled::{SampledAgreement, sampled_agreement};
pub use scores::{DecidableAgreement, agreement_decidable, agreement_weighted};

use crate::error::{Error, Result};
use crate::parallel::{Segments, check_len};

/// Scores are compared, so a NaN among them is a mistake of the caller, who counts missing scores out beforehand.
fn check_no_nan(name: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| value.is_nan()) {
        Some(position) => {
            Err(Error::Argument { name, expected: "free of NaN", found: format!("NaN at position {position}") })
        }
        None => Ok(()),
    }
}

/// Both sides and how they divide into groups, checked.
fn matched<'a>(small: &[f64], target: &[f64], offsets: &'a [usize]) -> Result<Segments<'a>> {
    check_len("target", target.len(), small.len())?;
    check_no_nan("small", small)?;
    check_no_nan("target", target)?;
    Segments::new(offsets, small.len())
}

/// Pairs among `n` members.
const fn n_pairs(n: usize) -> i64 {
    let n = n as i64;
    n * (n - 1) / 2
}

/// (pairs + net concordance) / (2 pairs): exact but for one rounding; NaN without a pair.
fn agreement(pairs: i64, net: i64) -> f64 {
    if pairs == 0 { f64::NAN } else { (pairs + net) as f64 / (2 * pairs) as f64 }
}
