//! Repeated sampling.

use numpy::{
    IntoPyArray, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::sampling::{self, Byte, SampleCounts};

use crate::convert::{Columns, row_major, slice};
use crate::door::run;

type Counts<'py> = PyReadonlyArray1<'py, u32>;

/// Right and wrong of samples, a row an item: booleans, or bytes with 255 for what is missing.
enum Samples<'py> {
    Bools(PyReadonlyArray2<'py, bool>),
    Bytes(PyReadonlyArray2<'py, u8>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Samples<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let bools = object
            .cast::<PyUntypedArray>()
            .is_ok_and(|array| array.dtype().is_equiv_to(&numpy::dtype::<bool>(object.py())));
        Ok(if bools { Self::Bools(object.extract()?) } else { Self::Bytes(object.extract()?) })
    }
}

fn counted<T: Byte + numpy::Element>(
    py: Python<'_>,
    samples: &PyReadonlyArray2<'_, T>,
    threads: Option<usize>,
) -> PyResult<SampleCounts> {
    let (items, width) = samples.as_array().dim();
    let values = row_major("samples", samples)?;
    run(py, threads, |interrupt| sampling::sample_counts(values, items, width, interrupt))
}

/// Samples of each item that are there, and right ones among them.
#[pyfunction]
#[pyo3(signature = (samples, *, threads=None))]
fn sample_counts<'py>(py: Python<'py>, samples: Samples<'py>, threads: Option<usize>) -> PyResult<Bound<'py, PyDict>> {
    let found = match &samples {
        Samples::Bools(samples) => counted(py, samples, threads)?,
        Samples::Bytes(samples) => counted(py, samples, threads)?,
    };
    Columns::new(py).with("n", found.n)?.with("c", found.c).map(Columns::finish)
}

/// Probability that k tries at each item succeed: a row of items for each k.
#[pyfunction]
#[pyo3(signature = (n, c, k, *, estimator="unbiased", success="any", threads=None))]
fn pass_probabilities<'py>(
    py: Python<'py>,
    n: Counts<'py>,
    c: Counts<'py>,
    k: Counts<'py>,
    estimator: &str,
    success: &str,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (n, c, k) = (slice("n", &n)?, slice("c", &c)?, slice("k", &k)?);
    let found = run(py, threads, |interrupt| {
        sampling::pass_probabilities(n, c, k, sampling::estimate_of(estimator, success)?, interrupt)
    })?;
    found.into_pyarray(py).reshape([k.len(), n.len()])
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sample_counts, module)?)?;
    module.add_function(wrap_pyfunction!(pass_probabilities, module)?)
}
