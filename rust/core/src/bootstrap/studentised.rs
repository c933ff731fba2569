//! Replicates with their own standard errors, for the studentised interval.
//!
//! With z_i = y_i - theta s_i of the data, m the means of a replicate's n instances and d = theta* - theta = m_z / m_s:
//!   se* = sqrt((m_zz - 2 d m_zs + d^2 m_ss) / (n - 1)) / m_s,
//! the linearised standard error of a ratio (for sizes of 1 that of a mean; over clusters CR1). Centring by the estimate
//! keeps the differences from cancelling. All rows share the counts of `bootstrap_means`. Cost: two or three rows a row.

use super::{Design, Scheme, bootstrap_estimates, bootstrap_means};
use crate::error::{Error, Result};
use crate::parallel::Interrupt;

/// Replicates, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Studentised {
    /// Of the ratio.
    pub value: Vec<f64>,
    /// Standard error of each of them.
    pub stderr: Vec<f64>,
}

/// Replicates of the ratio of each row of `totals` to `sizes` (None: 1 each), and their standard errors.
///
/// # Errors
/// More than one stratum, counts that are not multinomial, or as for [`bootstrap_means`].
pub fn bootstrap_studentised(
    totals: &[f64],
    rows: usize,
    sizes: Option<&[f64]>,
    design: Design<'_>,
    n_resamples: usize,
    interrupt: &Interrupt,
) -> Result<Studentised> {
    let &[_, n] = design.offsets else {
        let found = design.offsets.len().saturating_sub(1).to_string();
        return Err(Error::Argument { name: "offsets", expected: "those of one stratum", found });
    };
    let design = Design { scheme: Scheme::Multinomial, ..design };
    let estimates = bootstrap_estimates(totals, rows, sizes, design.offsets, false, interrupt)?.estimate;
    let ones = vec![1.0; n];
    let sizes = sizes.unwrap_or(&ones);
    let mut lines = Vec::with_capacity((3 * rows + 2) * n);
    for (row, &estimate) in estimates.iter().enumerate() {
        let totals = totals.get(row * n..(row + 1) * n).unwrap_or(&[]);
        // An estimate over nothing leaves no replicate defined either.
        let centred = totals.iter().zip(sizes).map(|(y, s)| if estimate.is_nan() { 0.0 } else { y - estimate * s });
        let centred: Vec<f64> = centred.collect();
        lines.extend(&centred);
        lines.extend(centred.iter().map(|z| z * z));
        lines.extend(centred.iter().zip(sizes).map(|(z, s)| z * s));
    }
    lines.extend(sizes);
    lines.extend(sizes.iter().map(|s| s * s));
    let means = bootstrap_means(&lines, 3 * rows + 2, None, design, false, n_resamples, interrupt)?;
    let line = |at: usize| means.get(at * n_resamples..(at + 1) * n_resamples).unwrap_or(&[]).iter();
    let (mut value, mut stderr) = (Vec::with_capacity(means.len()), Vec::with_capacity(means.len()));
    for (row, estimate) in estimates.iter().enumerate() {
        let of_row = line(3 * row).zip(line(3 * row + 1)).zip(line(3 * row + 2));
        for (((z, zz), zs), (s, ss)) in of_row.zip(line(3 * rows).zip(line(3 * rows + 1))) {
            let d = super::ratio(*z, *s);
            let squares = (zz - 2.0 * d * zs + d * d * ss) / (n as f64 - 1.0);
            value.push(estimate + d);
            stderr.push(if squares < 0.0 { 0.0 } else { squares.sqrt() / s });
        }
    }
    Ok(Studentised { value, stderr })
}
