//! Published variants of the signal.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::dispersion;

use crate::convert::{Columns, Floats, Offsets, slice};
use crate::door::run;

/// Signal and noise of one variant, `compat:<name>` or `textbook:<name>`, for every group.
#[pyfunction]
#[pyo3(signature = (
    name, data_scores, data_offsets, last_n_scores, last_n_offsets, step_noise, step_offsets, data_noise,
    noise_offsets, *, threads=None
))]
fn signal_variant_groups<'py>(
    py: Python<'py>,
    name: &str,
    data_scores: Floats<'py>,
    data_offsets: Offsets<'py>,
    last_n_scores: Floats<'py>,
    last_n_offsets: Offsets<'py>,
    step_noise: Floats<'py>,
    step_offsets: Offsets<'py>,
    data_noise: Floats<'py>,
    noise_offsets: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (c, c_at) = (slice("data_scores", &data_scores)?, slice("data_offsets", &data_offsets)?);
    let (l, l_at) = (slice("last_n_scores", &last_n_scores)?, slice("last_n_offsets", &last_n_offsets)?);
    let (s, s_at) = (slice("step_noise", &step_noise)?, slice("step_offsets", &step_offsets)?);
    let (d, d_at) = (slice("data_noise", &data_noise)?, slice("noise_offsets", &noise_offsets)?);
    let found = run(py, threads, |interrupt| {
        dispersion::signal_variant_groups(name, c, c_at, l, l_at, s, s_at, d, d_at, interrupt)
    })?;
    Ok(Columns::new(py).with("signal", found.signal)?.with("noise", found.noise)?.finish())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(signal_variant_groups, module)?)
}
