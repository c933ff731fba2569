//! Permutation tests.

use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::permutation::{self, Tests};

use crate::convert::{Columns, Floats, Offsets, row_major, slice};
use crate::door::run;

/// Sums of differences against sums with random signs.
#[pyfunction]
#[pyo3(signature = (values, offsets, units, n_resamples, rng_seed, *, threads=None))]
fn sign_flip_test<'py>(
    py: Python<'py>,
    values: Floats<'py>,
    offsets: Offsets<'py>,
    units: PyReadonlyArray1<'py, u64>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (values, offsets) = (slice("values", &values)?, slice("offsets", &offsets)?);
    let units = slice("units", &units)?;
    let tests = run(py, threads, |interrupt| {
        permutation::sign_flip_test(values, offsets, units, n_resamples, rng_seed, interrupt)
    })?;
    columns(py, tests)
}

/// Differences of two means against those of random splits.
#[pyfunction]
#[pyo3(signature = (a, a_offsets, b, b_offsets, units, n_resamples, rng_seed, *, threads=None))]
fn label_permutation_test<'py>(
    py: Python<'py>,
    a: Floats<'py>,
    a_offsets: Offsets<'py>,
    b: Floats<'py>,
    b_offsets: Offsets<'py>,
    units: PyReadonlyArray1<'py, u64>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (a, a_offsets) = (slice("a", &a)?, slice("a_offsets", &a_offsets)?);
    let (b, b_offsets) = (slice("b", &b)?, slice("b_offsets", &b_offsets)?);
    let units = slice("units", &units)?;
    let tests = run(py, threads, |interrupt| {
        permutation::label_permutation_test(a, a_offsets, b, b_offsets, units, n_resamples, rng_seed, interrupt)
    })?;
    columns(py, tests)
}

fn columns(py: Python<'_>, tests: Tests) -> PyResult<Bound<'_, PyDict>> {
    Ok(Columns::new(py)
        .with("statistic", tests.statistic)?
        .with("z", tests.z)?
        .with("p_value", tests.p_value)?
        .with("extreme", tests.extreme)?
        .with("draws", tests.draws)?
        .with("method", tests.method)?
        .finish())
}

/// p-values of comparisons of rows, adjusted for their number.
#[pyfunction]
#[pyo3(signature = (values, left, right, unit, n_resamples, rng_seed, *, threads=None))]
fn max_t_test<'py>(
    py: Python<'py>,
    values: PyReadonlyArray2<'py, f64>,
    left: Offsets<'py>,
    right: Offsets<'py>,
    unit: u64,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (n_rows, values) = (values.shape()[0], row_major("values", &values)?);
    let (left, right) = (slice("left", &left)?, slice("right", &right)?);
    let found = run(py, threads, |interrupt| {
        permutation::max_t_test(values, n_rows, left, right, unit, n_resamples, rng_seed, interrupt)
    })?;
    Ok(Columns::new(py)
        .with("statistic", found.statistic)?
        .with("z", found.z)?
        .with("p_value", found.p_value)?
        .with("p_single_step", found.p_single_step)?
        .with("p_step_down", found.p_step_down)?
        .with("draws", vec![found.draws; left.len()])?
        .with("method", vec![found.method; left.len()])?
        .finish())
}

/// Critical values of the largest |z| over comparisons of rows.
#[pyfunction]
#[pyo3(signature = (values, left, right, confidence_level, unit, n_resamples, rng_seed, *, threads=None))]
fn max_t_quantiles<'py>(
    py: Python<'py>,
    values: PyReadonlyArray2<'py, f64>,
    left: Offsets<'py>,
    right: Offsets<'py>,
    confidence_level: f64,
    unit: u64,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (n_rows, values) = (values.shape()[0], row_major("values", &values)?);
    let (left, right) = (slice("left", &left)?, slice("right", &right)?);
    let found = run(py, threads, |interrupt| {
        permutation::max_t_quantiles(
            values,
            n_rows,
            left,
            right,
            confidence_level,
            unit,
            n_resamples,
            rng_seed,
            interrupt,
        )
    })?;
    Ok(Columns::new(py)
        .with("critical", vec![found.critical])?
        .with("row_critical", found.row_critical)?
        .with("root_sum_squares", found.root_sum_squares)?
        .with("draws", vec![found.draws])?
        .finish())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sign_flip_test, module)?)?;
    module.add_function(wrap_pyfunction!(label_permutation_test, module)?)?;
    module.add_function(wrap_pyfunction!(max_t_test, module)?)?;
    module.add_function(wrap_pyfunction!(max_t_quantiles, module)?)
}
