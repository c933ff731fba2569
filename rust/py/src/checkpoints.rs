//! Trailing averages along checkpoints.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use signoise_core::checkpoints;

use crate::convert::{Floats, Offsets, slice};
use crate::door::run;

/// Mean of the last `window` values up to each position.
#[pyfunction]
#[pyo3(signature = (values, offsets, window, *, threads=None))]
fn trailing_mean<'py>(
    py: Python<'py>,
    values: Floats<'py>,
    offsets: Offsets<'py>,
    window: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (values, offsets) = (slice("values", &values)?, slice("offsets", &offsets)?);
    run(py, threads, |interrupt| checkpoints::trailing_mean(values, offsets, window, interrupt))
        .map(|v| v.into_pyarray(py))
}

/// Exponential moving average with weight 2 / (window + 1).
#[pyfunction]
#[pyo3(signature = (values, offsets, window, *, threads=None))]
fn trailing_ema<'py>(
    py: Python<'py>,
    values: Floats<'py>,
    offsets: Offsets<'py>,
    window: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (values, offsets) = (slice("values", &values)?, slice("offsets", &offsets)?);
    run(py, threads, |interrupt| checkpoints::trailing_ema(values, offsets, window, interrupt))
        .map(|v| v.into_pyarray(py))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(trailing_mean, module)?)?;
    module.add_function(wrap_pyfunction!(trailing_ema, module)?)
}
