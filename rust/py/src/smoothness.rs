//! Smoothness of score series along checkpoints.

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

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(smoothness_groups, module)?)
}
