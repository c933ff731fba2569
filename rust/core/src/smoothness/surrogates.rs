//! Monotonicity against trendless series of the same autocorrelation: x_1 = z_1, x_t = rho x_{t-1} + sqrt(1 - rho^2) z_t.
//!
//! p = (1 + #{|tau*| >= |tau|}) / (B + 1) over B such series of n values with normal z. The law of tau* depends on n and
//! rho alone, so series that share both share its draws. Sixteen surrogates stand in the lanes of the stream
//! (rng_seed, AR1_SURROGATE, their number / 16, n); its step t is z_t of all of them.
//! Cost O(B n log n) for each pair of n and rho.

use std::collections::BTreeMap;

use fearless_simd::{Level, Simd, dispatch};

use super::{pairs, sort_counting_inversions};
use crate::error::{Error, Result};
use crate::parallel::{Interrupt, check_len, map_groups};
use crate::random::normal::normals;
use crate::random::purpose;
use crate::random::wide::{Address, LANES, Wide};

/// Taus this close, relative to 1, are equal: rounding must not decide whether a surrogate reaches the observed one.
const EQUAL: f64 = 1e-12;

/// Two-sided p of each tau among surrogates of n values with lag-1 autocorrelation rho; NaN for a NaN, an |rho| of 1 or
/// more, or fewer than 2 values.
///
/// # Errors
/// Arrays of unequal length, `n_resamples == 0`, or an interrupt.
pub fn monotonicity_ar1(
    tau: &[f64],
    n: &[u64],
    rho: &[f64],
    n_resamples: usize,
    rng_seed: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    check_len("n", n.len(), tau.len())?;
    check_len("rho", rho.len(), tau.len())?;
    if n_resamples == 0 {
        return Err(Error::Argument { name: "n_resamples", expected: "at least 1", found: "0".into() });
    }
    let mut series: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
    for (at, ((tau, &n), rho)) in tau.iter().zip(n).zip(rho).enumerate() {
        if !tau.is_nan() && n >= 2 && rho.abs() < 1.0 {
            series.entry((n, rho.to_bits())).or_default().push(at);
        }
    }
    let laws: Vec<((u64, u64), Vec<usize>)> = series.into_iter().collect();
    let level = Level::new();
    let found = map_groups(laws.len(), interrupt, |law| {
        let Some(((n, rho), members)) = laws.get(law) else { return Ok(Vec::new()) };
        let mut null = Vec::with_capacity(n_resamples.next_multiple_of(LANES));
        for block in 0..n_resamples.div_ceil(LANES) as u64 {
            interrupt.check()?;
            let address = Address { rng_seed, purpose: purpose::AR1_SURROGATE, replicate: block, unit: *n };
            null.extend(dispatch!(level, simd => taus(simd, address, *n as usize, f64::from_bits(*rho))));
        }
        null.truncate(n_resamples);
        let p = |&at: &usize| {
            let reached = tau.get(at).map_or(f64::NAN, |tau| tau.abs() - EQUAL);
            let count = null.iter().filter(|&&surrogate| surrogate >= reached).count();
            (at, (1 + count) as f64 / (n_resamples + 1) as f64)
        };
        Ok(members.iter().map(p).collect())
    })?;
    let mut p_values = vec![f64::NAN; tau.len()];
    for (at, p) in found.into_iter().flatten() {
        if let Some(place) = p_values.get_mut(at) {
            *place = p;
        }
    }
    Ok(p_values)
}

/// |tau| of one block of surrogates, which have no ties that could be seen.
#[inline(always)]
fn taus<S: Simd>(simd: S, address: Address, n: usize, rho: f64) -> [f64; LANES] {
    let mut wide = Wide::new(simd, address);
    let innovation = (1.0 - rho * rho).sqrt();
    let mut lanes = [(); LANES].map(|()| Vec::with_capacity(n));
    let mut last = [0.0; LANES];
    for t in 0..n {
        let z = normals(wide.step().into());
        let scale = if t == 0 { 1.0 } else { innovation };
        for ((lane, last), z) in lanes.iter_mut().zip(&mut last).zip(z) {
            *last = rho * *last + scale * z;
            lane.push(*last);
        }
    }
    lanes.map(|mut lane| (1.0 - 2.0 * sort_counting_inversions(&mut lane) as f64 / pairs(n) as f64).abs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn without_autocorrelation_it_is_the_permutation_p() {
        let tau = [1.0, 4.0 / 6.0, 2.0 / 6.0, 0.0];
        let b = 40_000;
        let found = monotonicity_ar1(&tau, &[4; 4], &[0.0; 4], b, 0, &Interrupt::new()).unwrap();
        for (found, exact) in found.iter().zip([2.0 / 24.0, 8.0 / 24.0, 18.0 / 24.0, 1.0]) {
            assert!((found - exact).abs() < 4.0 * (0.25 / b as f64).sqrt(), "{found} {exact}");
        }
    }

    #[test]
    fn undefined_is_nan() {
        let found = monotonicity_ar1(
            &[f64::NAN, 1.0, 1.0, 1.0],
            &[5, 1, 5, 5],
            &[0.0, 0.0, f64::NAN, 1.0],
            10,
            0,
            &Interrupt::new(),
        );
        assert!(found.unwrap().iter().all(|p| p.is_nan()));
    }
}
