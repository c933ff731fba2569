//! Quantiles and probabilities of the normal, t, F, beta, chi-square and studentised-range distributions.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::distributions;

use crate::convert::{Columns, Floats, slice};
use crate::door::run;

/// P(Z <= x).
#[pyfunction]
#[pyo3(signature = (x, *, threads=None))]
fn normal_cdf<'py>(py: Python<'py>, x: Floats<'py>, threads: Option<usize>) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let x = slice("x", &x)?;
    run(py, threads, |interrupt| distributions::map1(x, interrupt, distributions::normal_cdf))
        .map(|v| v.into_pyarray(py))
}

/// Quantile of the standard normal distribution.
#[pyfunction]
#[pyo3(signature = (p, *, threads=None))]
fn normal_quantile<'py>(
    py: Python<'py>,
    p: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let p = slice("p", &p)?;
    run(py, threads, |interrupt| distributions::map1(p, interrupt, distributions::normal_quantile))
        .map(|v| v.into_pyarray(py))
}

/// P(T <= t) of Student's t.
#[pyfunction]
#[pyo3(signature = (t, df, *, threads=None))]
fn t_cdf<'py>(
    py: Python<'py>,
    t: Floats<'py>,
    df: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (t, df) = (slice("t", &t)?, slice("df", &df)?);
    run(py, threads, |interrupt| distributions::map2(t, df, interrupt, distributions::t_cdf))
        .map(|v| v.into_pyarray(py))
}

/// Quantile of Student's t.
#[pyfunction]
#[pyo3(signature = (p, df, *, threads=None))]
fn t_quantile<'py>(
    py: Python<'py>,
    p: Floats<'py>,
    df: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (p, df) = (slice("p", &p)?, slice("df", &df)?);
    run(py, threads, |interrupt| distributions::map2(p, df, interrupt, distributions::t_quantile))
        .map(|v| v.into_pyarray(py))
}

/// Quantile of the F distribution.
#[pyfunction]
#[pyo3(signature = (p, df1, df2, *, threads=None))]
fn f_quantile<'py>(
    py: Python<'py>,
    p: Floats<'py>,
    df1: Floats<'py>,
    df2: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (p, df1, df2) = (slice("p", &p)?, slice("df1", &df1)?, slice("df2", &df2)?);
    run(py, threads, |interrupt| distributions::f_quantiles(p, df1, df2, interrupt)).map(|v| v.into_pyarray(py))
}

/// P(X <= x) of the beta distribution.
#[pyfunction]
#[pyo3(signature = (x, a, b, *, threads=None))]
fn beta_cdf<'py>(
    py: Python<'py>,
    x: Floats<'py>,
    a: Floats<'py>,
    b: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (x, a, b) = (slice("x", &x)?, slice("a", &a)?, slice("b", &b)?);
    run(py, threads, |interrupt| distributions::beta_cdfs(x, a, b, interrupt)).map(|v| v.into_pyarray(py))
}

/// Quantile of the beta distribution.
#[pyfunction]
#[pyo3(signature = (p, a, b, *, threads=None))]
fn beta_quantile<'py>(
    py: Python<'py>,
    p: Floats<'py>,
    a: Floats<'py>,
    b: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (p, a, b) = (slice("p", &p)?, slice("a", &a)?, slice("b", &b)?);
    run(py, threads, |interrupt| distributions::beta_quantiles(p, a, b, interrupt)).map(|v| v.into_pyarray(py))
}

/// Quantile of the chi-square distribution.
#[pyfunction]
#[pyo3(signature = (p, df, *, threads=None))]
fn chi2_quantile<'py>(
    py: Python<'py>,
    p: Floats<'py>,
    df: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (p, df) = (slice("p", &p)?, slice("df", &df)?);
    run(py, threads, |interrupt| distributions::map2(p, df, interrupt, distributions::chi2_quantile))
        .map(|v| v.into_pyarray(py))
}

/// P(Q <= q) of the studentised range.
#[pyfunction]
#[pyo3(signature = (q, members, df, *, threads=None))]
fn studentised_range_cdf<'py>(
    py: Python<'py>,
    q: Floats<'py>,
    members: Floats<'py>,
    df: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (q, members, df) = (slice("q", &q)?, slice("members", &members)?, slice("df", &df)?);
    run(py, threads, |interrupt| distributions::studentised_range_cdfs(q, members, df, interrupt))
        .map(|v| v.into_pyarray(py))
}

/// Quantile of the studentised range.
#[pyfunction]
#[pyo3(signature = (p, members, df, *, threads=None))]
fn studentised_range_quantile<'py>(
    py: Python<'py>,
    p: Floats<'py>,
    members: Floats<'py>,
    df: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (p, members, df) = (slice("p", &p)?, slice("members", &members)?, slice("df", &df)?);
    run(py, threads, |interrupt| distributions::studentised_range_quantiles(p, members, df, interrupt))
        .map(|v| v.into_pyarray(py))
}

/// Expectation and degrees of freedom of a sample variance under lag-1 autocorrelation.
#[pyfunction]
#[pyo3(signature = (n, rho, *, threads=None))]
fn autocorrelation_factors<'py>(
    py: Python<'py>,
    n: Floats<'py>,
    rho: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let (n, rho) = (slice("n", &n)?, slice("rho", &rho)?);
    let factors = run(py, threads, |interrupt| distributions::autocorrelation_factors(n, rho, interrupt))?;
    Ok(Columns::new(py)
        .with("f", factors.iter().map(|x| x.f).collect())?
        .with("nu", factors.iter().map(|x| x.nu).collect())?
        .finish())
}

/// Mean range of each number of standard normal values.
#[pyfunction]
#[pyo3(signature = (members, *, threads=None))]
fn expected_range<'py>(
    py: Python<'py>,
    members: Floats<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let members = slice("members", &members)?;
    run(py, threads, |interrupt| distributions::map1(members, interrupt, distributions::expected_range))
        .map(|v| v.into_pyarray(py))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(expected_range, module)?)?;
    module.add_function(wrap_pyfunction!(normal_cdf, module)?)?;
    module.add_function(wrap_pyfunction!(normal_quantile, module)?)?;
    module.add_function(wrap_pyfunction!(t_cdf, module)?)?;
    module.add_function(wrap_pyfunction!(t_quantile, module)?)?;
    module.add_function(wrap_pyfunction!(f_quantile, module)?)?;
    module.add_function(wrap_pyfunction!(beta_cdf, module)?)?;
    module.add_function(wrap_pyfunction!(beta_quantile, module)?)?;
    module.add_function(wrap_pyfunction!(chi2_quantile, module)?)?;
    module.add_function(wrap_pyfunction!(studentised_range_cdf, module)?)?;
    module.add_function(wrap_pyfunction!(studentised_range_quantile, module)?)?;
    module.add_function(wrap_pyfunction!(autocorrelation_factors, module)?)
}
