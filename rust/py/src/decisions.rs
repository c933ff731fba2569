//! Agreement of two scales about the order of recipes.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::decisions;

use crate::convert::{Columns, Floats, Offsets, row_major, slice};
use crate::door::run;

pyo3::import_exception!(signoise._errors, ShapeError);

/// Pairs by how they compare on the two sides, a group and a member.
#[pyfunction]
#[pyo3(signature = (small, target, offsets, *, threads=None))]
fn pair_agreement<'py>(
    py: Python<'py>,
    small: Floats<'py>,
    target: Floats<'py>,
    offsets: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (small, target) = (slice("small", &small)?, slice("target", &target)?);
    let offsets = slice("offsets", &offsets)?;
    let counts = run(py, threads, |interrupt| decisions::pair_agreement(small, target, offsets, interrupt))?;
    Ok(Columns::new(py)
        .with("n_pairs", counts.n_pairs)?
        .with("concordant", counts.concordant)?
        .with("discordant", counts.discordant)?
        .with("tied_small", counts.tied_small)?
        .with("tied_target", counts.tied_target)?
        .with("tied_both", counts.tied_both)?
        .with("compat_agree", counts.compat_agree)?
        .with("member_concordant", counts.member_concordant)?
        .with("member_discordant", counts.member_discordant)?
        .with("member_tied_one", counts.member_tied_one)?
        .with("member_tied_both", counts.member_tied_both)?
        .with("member_compat_agree", counts.member_compat_agree)?
        .finish())
}

/// Agreement weighted by the target difference.
#[pyfunction]
#[pyo3(signature = (small, target, offsets, *, threads=None))]
fn agreement_weighted<'py>(
    py: Python<'py>,
    small: Floats<'py>,
    target: Floats<'py>,
    offsets: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (small, target) = (slice("small", &small)?, slice("target", &target)?);
    let offsets = slice("offsets", &offsets)?;
    let weighted = run(py, threads, |interrupt| decisions::agreement_weighted(small, target, offsets, interrupt))?;
    Ok(Columns::new(py).with("weighted", weighted)?.finish())
}

/// Agreement over pairs whose target difference exceeds a threshold.
#[pyfunction]
#[pyo3(signature = (small, target, threshold, offsets, *, threads=None))]
fn agreement_decidable<'py>(
    py: Python<'py>,
    small: Floats<'py>,
    target: Floats<'py>,
    threshold: Floats<'py>,
    offsets: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (small, target) = (slice("small", &small)?, slice("target", &target)?);
    let (threshold, offsets) = (slice("threshold", &threshold)?, slice("offsets", &offsets)?);
    let found =
        run(py, threads, |interrupt| decisions::agreement_decidable(small, target, threshold, offsets, interrupt))?;
    Ok(Columns::new(py).with("n_pairs", found.n_pairs)?.with("agreement", found.agreement)?.finish())
}

/// Expected agreement under independent normal noise.
#[pyfunction]
#[pyo3(signature = (small, target, sd_small, sd_target, offsets, *, threads=None))]
fn expected_agreement<'py>(
    py: Python<'py>,
    small: Floats<'py>,
    target: Floats<'py>,
    sd_small: Floats<'py>,
    sd_target: Floats<'py>,
    offsets: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (small, target) = (slice("small", &small)?, slice("target", &target)?);
    let (sd_small, sd_target) = (slice("sd_small", &sd_small)?, slice("sd_target", &sd_target)?);
    let offsets = slice("offsets", &offsets)?;
    let expected = run(py, threads, |interrupt| {
        decisions::expected_agreement(small, target, sd_small, sd_target, offsets, interrupt)
    })?;
    Ok(Columns::new(py).with("expected", expected)?.finish())
}

/// Agreement of replicates in columns.
#[pyfunction]
#[pyo3(signature = (small, target, *, threads=None))]
fn agreement_columns<'py>(
    py: Python<'py>,
    small: PyReadonlyArray2<'py, f64>,
    target: PyReadonlyArray2<'py, f64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let replicates = small.shape().get(1).copied().unwrap_or_default();
    if small.shape() != target.shape() {
        let (a, b) = (small.shape(), target.shape());
        return Err(ShapeError::new_err(format!("target must have the shape of small, {a:?}, got {b:?}")));
    }
    let (small, target) = (row_major("small", &small)?, row_major("target", &target)?);
    let values = run(py, threads, |interrupt| decisions::agreement_columns(small, target, replicates, interrupt))?;
    Ok(values.into_pyarray(py))
}

/// Agreement over draws of independent normal noise.
#[pyfunction]
#[pyo3(signature = (
    small, target, sd_small, sd_target, offsets, group_units, n_resamples, rng_seed, *, threads=None
))]
fn noisy_agreement<'py>(
    py: Python<'py>,
    small: Floats<'py>,
    target: Floats<'py>,
    sd_small: Floats<'py>,
    sd_target: Floats<'py>,
    offsets: Offsets<'py>,
    group_units: PyReadonlyArray1<'py, u64>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (small, target) = (slice("small", &small)?, slice("target", &target)?);
    let (sd_small, sd_target) = (slice("sd_small", &sd_small)?, slice("sd_target", &sd_target)?);
    let (offsets, units) = (slice("offsets", &offsets)?, slice("group_units", &group_units)?);
    let found = run(py, threads, |interrupt| {
        decisions::noisy_agreement(small, target, sd_small, sd_target, offsets, units, n_resamples, rng_seed, interrupt)
    })?;
    Ok(Columns::new(py).with("mean", found.mean)?.with("sd", found.sd)?.finish())
}

/// Agreement of randomly drawn checkpoints.
#[pyfunction]
#[pyo3(signature = (
    small_values, small_offsets, target_values, target_offsets, group_offsets, group_units, n_resamples, rng_seed,
    *, threads=None
))]
fn sampled_agreement<'py>(
    py: Python<'py>,
    small_values: Floats<'py>,
    small_offsets: Offsets<'py>,
    target_values: Floats<'py>,
    target_offsets: Offsets<'py>,
    group_offsets: Offsets<'py>,
    group_units: PyReadonlyArray1<'py, u64>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let small_values = slice("small_values", &small_values)?;
    let small_offsets = slice("small_offsets", &small_offsets)?;
    let target_values = slice("target_values", &target_values)?;
    let target_offsets = slice("target_offsets", &target_offsets)?;
    let group_offsets = slice("group_offsets", &group_offsets)?;
    let group_units = slice("group_units", &group_units)?;
    let found = run(py, threads, |interrupt| {
        decisions::sampled_agreement(
            small_values,
            small_offsets,
            target_values,
            target_offsets,
            group_offsets,
            group_units,
            n_resamples,
            rng_seed,
            interrupt,
        )
    })?;
    Ok(Columns::new(py).with("mean", found.mean)?.with("sd", found.sd)?.with("draws", found.draws)?.finish())
}

/// Delete-one-recipe interval of a share of pairs.
#[pyfunction]
#[pyo3(signature = (estimates, leave_one_out, t_critical, offsets, confidence_level, *, threads=None))]
fn jackknife_interval<'py>(
    py: Python<'py>,
    estimates: Floats<'py>,
    leave_one_out: Floats<'py>,
    t_critical: Floats<'py>,
    offsets: Offsets<'py>,
    confidence_level: f64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (estimates, leave_one_out) = (slice("estimates", &estimates)?, slice("leave_one_out", &leave_one_out)?);
    let (t_critical, offsets) = (slice("t_critical", &t_critical)?, slice("offsets", &offsets)?);
    let interval = run(py, threads, |interrupt| {
        decisions::jackknife_interval(estimates, leave_one_out, t_critical, offsets, confidence_level, interrupt)
    })?;
    Ok(Columns::new(py).with("low", interval.low)?.with("high", interval.high)?.finish())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(pair_agreement, module)?)?;
    module.add_function(wrap_pyfunction!(agreement_weighted, module)?)?;
    module.add_function(wrap_pyfunction!(agreement_decidable, module)?)?;
    module.add_function(wrap_pyfunction!(expected_agreement, module)?)?;
    module.add_function(wrap_pyfunction!(agreement_columns, module)?)?;
    module.add_function(wrap_pyfunction!(noisy_agreement, module)?)?;
    module.add_function(wrap_pyfunction!(sampled_agreement, module)?)?;
    module.add_function(wrap_pyfunction!(jackknife_interval, module)?)
}
