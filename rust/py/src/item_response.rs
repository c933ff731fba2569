//! Item response models.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::item_response::{self as models, Options};
use signoise_core::matrix::BitMatrix;

use crate::convert::{Columns, Floats, slice};
use crate::door::run;
use crate::matrix::Bytes;

/// A bit matrix of right and wrong.
fn responses<'a>(
    values: &'a Bytes<'_>,
    validity: Option<&'a Bytes<'_>>,
    rows: usize,
    width: usize,
) -> PyResult<BitMatrix<'a>> {
    let validity = validity.map(|bits| slice("validity", bits)).transpose()?;
    Ok(BitMatrix { rows, width, values: slice("values", values)?, validity })
}

/// Discrimination and difficulty of items (columns), abilities of subjects (rows).
#[pyfunction]
#[pyo3(signature = (values, validity, rows, width, *, common=false, discrimination_sd=0.5, difficulty_sd=2.0,
    tolerance=1e-5, max_iterations=500, threads=None))]
fn fit_item_response<'py>(
    py: Python<'py>,
    values: Bytes<'py>,
    validity: Option<Bytes<'py>>,
    rows: usize,
    width: usize,
    common: bool,
    discrimination_sd: f64,
    difficulty_sd: f64,
    tolerance: f64,
    max_iterations: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let matrix = responses(&values, validity.as_ref(), rows, width)?;
    let options = Options { common, discrimination_sd, difficulty_sd, tolerance, max_iterations };
    let found = run(py, threads, |interrupt| models::fit_item_response(&matrix, &options, interrupt))?;
    let columns = Columns::new(py)
        .with("discrimination", found.discrimination)?
        .with("difficulty", found.difficulty)?
        .with("discrimination_stderr", found.discrimination_stderr)?
        .with("difficulty_stderr", found.difficulty_stderr)?
        .with("at_bound", found.at_bound)?
        .with("ability", found.ability)?
        .with("ability_sd", found.ability_sd)?
        .finish();
    columns.set_item("log_likelihood", found.log_likelihood)?;
    columns.set_item("iterations", found.iterations)?;
    columns.set_item("converged", found.converged)?;
    Ok(columns)
}

/// Abilities of subjects (rows) under items (columns) with known parameters.
#[pyfunction]
#[pyo3(signature = (values, validity, rows, width, discrimination, difficulty, *, threads=None))]
fn item_abilities<'py>(
    py: Python<'py>,
    values: Bytes<'py>,
    validity: Option<Bytes<'py>>,
    rows: usize,
    width: usize,
    discrimination: Floats<'py>,
    difficulty: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let matrix = responses(&values, validity.as_ref(), rows, width)?;
    let (a, b) = (slice("discrimination", &discrimination)?, slice("difficulty", &difficulty)?);
    let found = run(py, threads, |interrupt| models::item_abilities(&matrix, a, b, interrupt))?;
    Columns::new(py)
        .with("ability", found.ability)?
        .with("ability_sd", found.ability_sd)?
        .with("log_likelihood", found.log_likelihood)
        .map(Columns::finish)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(fit_item_response, module)?)?;
    module.add_function(wrap_pyfunction!(item_abilities, module)?)
}
