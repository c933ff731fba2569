//! Smoothness of score series along checkpoints.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::smoothness;

use crate::convert::{Columns, Floats, Offsets, slice};
use crate::door::run;

/// Total variation and monotonicity of every series.
#[pyfunction]
#[pyo3(signature = (values, offsets, *, threads=None))]
fn smoothness_groups<'py>(
    py: Python<'py>,
    values: Floats<'py>,
    offsets: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (values, offsets) = (slice("values", &values)?, slice("offsets", &offsets)?);
    let found = run(py, threads, |interrupt| smoothness::smoothness_groups(values, offsets, interrupt))?;
    Ok(Columns::new(py)
        .with("n", found.n)?
        .with("monotonicity_sign", found.monotonicity_sign)?
        .with("monotonicity_tau", found.monotonicity_tau)?
        .with("monotonicity_p", found.monotonicity_p)?
        .with("total_variation", found.total_variation)?
        .with("total_variation_normalised", found.total_variation_normalised)?
        .with("total_variation_improvement", found.total_variation_improvement)?
        .with("improvement", found.improvement)?
        .finish())
}

/// p of monotonicity among trendless autocorrelated series.
#[pyfunction]
#[pyo3(signature = (tau, n, rho, n_resamples, rng_seed, *, threads=None))]
fn monotonicity_ar1<'py>(
    py: Python<'py>,
    tau: Floats<'py>,
    n: PyReadonlyArray1<'py, u64>,
    rho: Floats<'py>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (tau, n, rho) = (slice("tau", &tau)?, slice("n", &n)?, slice("rho", &rho)?);
    let values =
        run(py, threads, |interrupt| smoothness::monotonicity_ar1(tau, n, rho, n_resamples, rng_seed, interrupt))?;
    Ok(values.into_pyarray(py))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(monotonicity_ar1, module)?)?;
    module.add_function(wrap_pyfunction!(smoothness_groups, module)?)
}
