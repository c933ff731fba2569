//! Addressed random draws.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use signoise_core::random::{self, wide};

use crate::door::run;

/// The first `n` outputs of the Philox stream at an address.
#[pyfunction]
#[pyo3(signature = (rng_seed, purpose, replicate, unit, n, *, threads=None))]
fn philox_uint64(
    py: Python<'_>,
    rng_seed: u64,
    purpose: u64,
    replicate: u64,
    unit: u64,
    n: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'_, PyArray1<u64>>> {
    run(py, threads, |interrupt| random::philox_uint64(rng_seed, purpose, replicate, unit, n, interrupt))
        .map(|v| v.into_pyarray(py))
}

/// The first `n` words of the wide stream at an address.
#[pyfunction]
#[pyo3(signature = (rng_seed, purpose, replicate, unit, n, *, threads=None))]
fn wide_uint32(
    py: Python<'_>,
    rng_seed: u64,
    purpose: u64,
    replicate: u64,
    unit: u64,
    n: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'_, PyArray1<u32>>> {
    let address = wide::Address { rng_seed, purpose, replicate, unit };
    run(py, threads, |interrupt| wide::wide_uint32(address, n, interrupt)).map(|v| v.into_pyarray(py))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(philox_uint64, module)?)?;
    module.add_function(wrap_pyfunction!(wide_uint32, module)?)
}
