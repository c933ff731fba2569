//! Bootstrap replicates and intervals.

use numpy::{IntoPyArray, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::bootstrap::{self, Design, Scheme};

use crate::convert::{Columns, Floats, Offsets, row_major, slice};
use crate::door::run;

type Matrix<'py> = PyReadonlyArray2<'py, f64>;
type Words<'py> = PyReadonlyArray1<'py, u64>;
type Pair<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>);

/// Values row by row, and the numbers of rows and columns.
fn rows<'a>(name: &str, matrix: &'a Matrix<'_>) -> PyResult<(&'a [f64], usize, usize)> {
    let (rows, width) = matrix.as_array().dim();
    Ok((row_major(name, matrix)?, rows, width))
}

/// How often each replicate holds each instance, a row a replicate.
#[pyfunction]
#[pyo3(signature = (offsets, units, n_resamples, rng_seed, *, scheme="multinomial", block_length=1, threads=None))]
fn bootstrap_counts<'py>(
    py: Python<'py>,
    offsets: Offsets<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    scheme: &str,
    block_length: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<u16>>> {
    let (offsets, units) = (slice("offsets", &offsets)?, slice("units", &units)?);
    let counts = run(py, threads, |interrupt| {
        let design = Design { offsets, units, scheme: Scheme::new(scheme, block_length)?, rng_seed };
        bootstrap::bootstrap_counts(design, n_resamples, interrupt)
    })?;
    let n = offsets.last().copied().unwrap_or(0);
    counts.into_pyarray(py).reshape([n_resamples, n])
}

/// Replicates of the mean of each row, or of its ratio to sizes: a row a row.
#[pyfunction]
#[pyo3(signature = (totals, sizes, offsets, units, n_resamples, rng_seed, *, macro_mean=false, scheme="multinomial",
                    block_length=1, threads=None))]
fn bootstrap_means<'py>(
    py: Python<'py>,
    totals: Matrix<'py>,
    sizes: Option<Floats<'py>>,
    offsets: Offsets<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    macro_mean: bool,
    scheme: &str,
    block_length: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (values, height, _) = rows("totals", &totals)?;
    let sizes = sizes.as_ref().map(|sizes| slice("sizes", sizes)).transpose()?;
    let (offsets, units) = (slice("offsets", &offsets)?, slice("units", &units)?);
    let values = run(py, threads, |interrupt| {
        let design = Design { offsets, units, scheme: Scheme::new(scheme, block_length)?, rng_seed };
        bootstrap::bootstrap_means(values, height, sizes, design, macro_mean, n_resamples, interrupt)
    })?;
    values.into_pyarray(py).reshape([height, n_resamples])
}

/// Replicates of the mean of each row, or of its ratio to sizes, under random weights in place of counts: a row a row.
#[pyfunction]
#[pyo3(signature = (totals, sizes, offsets, units, n_resamples, rng_seed, *, threads=None))]
fn bootstrap_bayesian<'py>(
    py: Python<'py>,
    totals: Matrix<'py>,
    sizes: Option<Floats<'py>>,
    offsets: Offsets<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (values, height, _) = rows("totals", &totals)?;
    let sizes = sizes.as_ref().map(|sizes| slice("sizes", sizes)).transpose()?;
    let (offsets, units) = (slice("offsets", &offsets)?, slice("units", &units)?);
    let values = run(py, threads, |interrupt| {
        bootstrap::bootstrap_bayesian(values, height, sizes, offsets, units, n_resamples, rng_seed, interrupt)
    })?;
    values.into_pyarray(py).reshape([height, n_resamples])
}

/// Replicates of models whose rows and instances are drawn independently: a row a model.
#[pyfunction]
#[pyo3(signature = (totals, sizes, row_offsets, row_units, offsets, units, n_resamples, rng_seed, *,
                    scheme="multinomial", block_length=1, threads=None))]
fn bootstrap_crossed<'py>(
    py: Python<'py>,
    totals: Matrix<'py>,
    sizes: Option<Matrix<'py>>,
    row_offsets: Offsets<'py>,
    row_units: Words<'py>,
    offsets: Offsets<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    scheme: &str,
    block_length: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (totals, _, _) = rows("totals", &totals)?;
    let sizes = sizes.as_ref().map(|sizes| rows("sizes", sizes)).transpose()?.map(|(sizes, _, _)| sizes);
    let (row_offsets, row_units) = (slice("row_offsets", &row_offsets)?, slice("row_units", &row_units)?);
    let (offsets, units) = (slice("offsets", &offsets)?, slice("units", &units)?);
    let values = run(py, threads, |interrupt| {
        let design = Design { offsets, units, scheme: Scheme::new(scheme, block_length)?, rng_seed };
        bootstrap::bootstrap_crossed(totals, sizes, row_offsets, row_units, design, n_resamples, interrupt)
    })?;
    values.into_pyarray(py).reshape([row_units.len(), n_resamples])
}

/// Replicates of models whose rows are drawn, and then instances of each row: a row a model.
#[pyfunction]
#[pyo3(signature = (values, offsets, row_offsets, units, n_resamples, rng_seed, *, threads=None))]
fn bootstrap_nested<'py>(
    py: Python<'py>,
    values: Floats<'py>,
    offsets: Offsets<'py>,
    row_offsets: Offsets<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (values, units) = (slice("values", &values)?, slice("units", &units)?);
    let (offsets, row_offsets) = (slice("offsets", &offsets)?, slice("row_offsets", &row_offsets)?);
    let values = run(py, threads, |interrupt| {
        bootstrap::bootstrap_nested(values, offsets, row_offsets, units, n_resamples, rng_seed, interrupt)
    })?;
    values.into_pyarray(py).reshape([units.len(), n_resamples])
}

/// Replicates of quantiles of each row: rows, probabilities, replicates.
#[pyfunction]
#[pyo3(signature = (values, probabilities, offsets, units, n_resamples, rng_seed, *, scheme="multinomial",
                    block_length=1, threads=None))]
fn bootstrap_quantiles<'py>(
    py: Python<'py>,
    values: Matrix<'py>,
    probabilities: Floats<'py>,
    offsets: Offsets<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    scheme: &str,
    block_length: usize,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray3<f64>>> {
    let (values, height, _) = rows("values", &values)?;
    let probabilities = slice("probabilities", &probabilities)?;
    let (offsets, units) = (slice("offsets", &offsets)?, slice("units", &units)?);
    let values = run(py, threads, |interrupt| {
        let design = Design { offsets, units, scheme: Scheme::new(scheme, block_length)?, rng_seed };
        bootstrap::bootstrap_quantiles(values, height, probabilities, design, n_resamples, interrupt)
    })?;
    values.into_pyarray(py).reshape([height, probabilities.len(), n_resamples])
}

/// Replicates of the mean of each row, or of its ratio to sizes, and their standard errors.
#[pyfunction]
#[pyo3(signature = (totals, sizes, offsets, units, n_resamples, rng_seed, *, threads=None))]
fn bootstrap_studentised<'py>(
    py: Python<'py>,
    totals: Matrix<'py>,
    sizes: Option<Floats<'py>>,
    offsets: Offsets<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Pair<'py>> {
    let (values, height, _) = rows("totals", &totals)?;
    let sizes = sizes.as_ref().map(|sizes| slice("sizes", sizes)).transpose()?;
    let (offsets, units) = (slice("offsets", &offsets)?, slice("units", &units)?);
    let found = run(py, threads, |interrupt| {
        let design = Design { offsets, units, scheme: Scheme::Multinomial, rng_seed };
        bootstrap::bootstrap_studentised(values, height, sizes, design, n_resamples, interrupt)
    })?;
    let shape = [height, n_resamples];
    Ok((found.value.into_pyarray(py).reshape(shape)?, found.stderr.into_pyarray(py).reshape(shape)?))
}

/// Mean (or ratio to sizes) and acceleration of each row.
#[pyfunction]
#[pyo3(signature = (totals, sizes, offsets, *, macro_mean=false, threads=None))]
fn bootstrap_estimates<'py>(
    py: Python<'py>,
    totals: Matrix<'py>,
    sizes: Option<Floats<'py>>,
    offsets: Offsets<'py>,
    macro_mean: bool,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (values, height, _) = rows("totals", &totals)?;
    let sizes = sizes.as_ref().map(|sizes| slice("sizes", sizes)).transpose()?;
    let offsets = slice("offsets", &offsets)?;
    let found = run(py, threads, |interrupt| {
        bootstrap::bootstrap_estimates(values, height, sizes, offsets, macro_mean, interrupt)
    })?;
    Columns::new(py).with("estimate", found.estimate)?.with("acceleration", found.acceleration).map(Columns::finish)
}

/// Replicates of shares of ones, by their law: a row a group.
#[pyfunction]
#[pyo3(signature = (ones, n, units, n_resamples, rng_seed, *, threads=None))]
fn bootstrap_binomial<'py>(
    py: Python<'py>,
    ones: Words<'py>,
    n: Words<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (ones, n, units) = (slice("ones", &ones)?, slice("n", &n)?, slice("units", &units)?);
    let values =
        run(py, threads, |interrupt| bootstrap::bootstrap_binomial(ones, n, units, n_resamples, rng_seed, interrupt))?;
    values.into_pyarray(py).reshape([ones.len(), n_resamples])
}

/// Replicates of differences of two shares over the same instances, by their law: a row a group.
#[pyfunction]
#[pyo3(signature = (up, down, n, units, n_resamples, rng_seed, *, threads=None))]
fn bootstrap_trinomial<'py>(
    py: Python<'py>,
    up: Words<'py>,
    down: Words<'py>,
    n: Words<'py>,
    units: Words<'py>,
    n_resamples: usize,
    rng_seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (up, down) = (slice("up", &up)?, slice("down", &down)?);
    let (n, units) = (slice("n", &n)?, slice("units", &units)?);
    let values = run(py, threads, |interrupt| {
        bootstrap::bootstrap_trinomial(up, down, n, units, n_resamples, rng_seed, interrupt)
    })?;
    values.into_pyarray(py).reshape([up.len(), n_resamples])
}

/// Interval of each row of replicates: percentile, basic or bca.
#[pyfunction]
#[pyo3(signature = (values, estimates, accelerations, method, confidence_level, *, threads=None))]
fn bootstrap_interval<'py>(
    py: Python<'py>,
    values: Matrix<'py>,
    estimates: Floats<'py>,
    accelerations: Floats<'py>,
    method: &str,
    confidence_level: f64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (values, _, width) = rows("values", &values)?;
    let (estimates, accelerations) = (slice("estimates", &estimates)?, slice("accelerations", &accelerations)?);
    let found = run(py, threads, |interrupt| {
        bootstrap::bootstrap_interval(values, width, estimates, accelerations, method, confidence_level, interrupt)
    })?;
    Columns::new(py)
        .with("low", found.low)?
        .with("high", found.high)?
        .with("fallback", found.fallback)
        .map(Columns::finish)
}

/// Studentised interval of each row of replicates.
#[pyfunction]
#[pyo3(signature = (values, replicate_stderrs, estimates, stderrs, confidence_level, *, threads=None))]
fn bootstrap_t_interval<'py>(
    py: Python<'py>,
    values: Matrix<'py>,
    replicate_stderrs: Matrix<'py>,
    estimates: Floats<'py>,
    stderrs: Floats<'py>,
    confidence_level: f64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (values, _, width) = rows("values", &values)?;
    let (replicate_stderrs, _, _) = rows("replicate_stderrs", &replicate_stderrs)?;
    let (estimates, stderrs) = (slice("estimates", &estimates)?, slice("stderrs", &stderrs)?);
    let (low, high) = run(py, threads, |interrupt| {
        bootstrap::bootstrap_t_interval(
            values,
            replicate_stderrs,
            width,
            estimates,
            stderrs,
            confidence_level,
            interrupt,
        )
    })?;
    Columns::new(py).with("low", low)?.with("high", high).map(Columns::finish)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(bootstrap_counts, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_means, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_bayesian, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_crossed, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_nested, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_quantiles, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_studentised, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_estimates, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_binomial, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_trinomial, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_interval, module)?)?;
    module.add_function(wrap_pyfunction!(bootstrap_t_interval, module)?)
}
