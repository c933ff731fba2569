//! `signoise._core`: the registration list. Conversion lives in `convert`, the GIL and errors in `door`.
// The PyO3 macros expand to unsafe glue; no line written here is unsafe.
#![allow(missing_docs)]

mod aggregate;
mod archive;
mod bootstrap;
mod checkpoints;
mod convert;
mod decisions;
mod dense;
mod dispersion;
mod distributions;
mod door;
mod item_response;
mod json;
mod laws;
mod matrix;
mod moments;
mod permutation;
mod random;
mod sampling;
mod smoothness;
mod snr;
mod store;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("BUILD_PROFILE", if cfg!(debug_assertions) { "debug" } else { "release" })?;
    aggregate::register(module)?;
    archive::register(module)?;
    bootstrap::register(module)?;
    checkpoints::register(module)?;
    dense::register(module)?;
    dispersion::register(module)?;
    distributions::register(module)?;
    item_response::register(module)?;
    json::register(module)?;
    laws::register(module)?;
    matrix::register(module)?;
    moments::register(module)?;
    smoothness::register(module)?;
    snr::register(module)?;
    store::register(module)?;
    decisions::register(module)?;
    permutation::register(module)?;
    random::register(module)?;
    sampling::register(module)?;
    Ok(())
}
