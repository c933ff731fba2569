//! Moments of groups.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::moments;

use crate::convert::{Columns, Floats, Offsets, slice};
use crate::door::run;

/// Count, mean, sum of squared deviations, smallest and largest value of each group.
#[pyfunction]
#[pyo3(signature = (values, offsets, *, threads=None))]
fn segment_moments<'py>(
    py: Python<'py>,
    values: Floats<'py>,
    offsets: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (values, offsets) = (slice("values", &values)?, slice("offsets", &offsets)?);
    let rows = run(py, threads, |interrupt| moments::segment_moments(values, offsets, interrupt))?;
    Ok(Columns::new(py)
        .with("n", rows.iter().map(|row| row.n).collect())?
        .with("mean", rows.iter().map(|row| row.mean).collect())?
        .with("m2", rows.iter().map(|row| row.m2).collect())?
        .with("min", rows.iter().map(|row| row.min).collect())?
        .with("max", rows.iter().map(|row| row.max).collect())?
        .finish())
}

/// sum(weight * value) / sum(weight) of each group.
#[pyfunction]
#[pyo3(signature = (values, weights, offsets, *, threads=None))]
fn segment_weighted_mean<'py>(
    py: Python<'py>,
    values: Floats<'py>,
    weights: Floats<'py>,
    offsets: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (values, weights) = (slice("values", &values)?, slice("weights", &weights)?);
    let offsets = slice("offsets", &offsets)?;
    run(py, threads, |interrupt| moments::segment_weighted_mean(values, weights, offsets, interrupt))
        .map(|means| means.into_pyarray(py))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(segment_moments, module)?)?;
    module.add_function(wrap_pyfunction!(segment_weighted_mean, module)?)
}
