//! Moments of groups over Parquet files.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use signoise_core::Interrupt;
use signoise_scan::aggregate::{Groups, Merger, Progress, Request, aggregate, map_units, plan};
use signoise_scan::{Label, Piece};

use crate::convert::Columns;
use crate::door::{ToPython, run, run_telling};

/// Moments of groups of rows over Parquet files, in one pass.
#[pyfunction]
#[pyo3(signature = (
    paths, keys, values, *, by, inner, identity=None, constant=None, progress=None, threads=None
))]
fn aggregate_parquet<'py>(
    py: Python<'py>,
    paths: Vec<PathBuf>,
    keys: Vec<String>,
    values: Vec<String>,
    by: usize,
    inner: Vec<bool>,
    identity: Option<String>,
    constant: Option<Vec<String>>,
    progress: Option<Bound<'py, PyAny>>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let pieces = paths.into_iter().map(Piece::whole).collect();
    let request = Request { pieces, keys, inner, by, values, identity, constant: constant.unwrap_or_default() };
    let found = scan(py, threads, progress, |done, interrupt| aggregate(&request, done, interrupt))?;
    groups(py, found)
}

/// The units of Parquet files, and what whoever adds one up has to know.
#[pyfunction]
#[pyo3(signature = (paths, keys, *, inner, identity=None, threads=None))]
fn plan_parquet<'py>(
    py: Python<'py>,
    paths: Vec<PathBuf>,
    keys: Vec<String>,
    inner: Vec<bool>,
    identity: Option<String>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let pieces = paths.into_iter().map(Piece::whole).collect();
    let request = Request { pieces, keys, inner, identity, ..Request::default() };
    let found = run(py, threads, |interrupt| plan(&request, interrupt))?;
    let result =
        Columns::new(py).with("file", found.files)?.with("first", found.first)?.with("rows", found.rows)?.finish();
    result.set_item("kept", PyBytes::new(py, &found.kept))?;
    Ok(result)
}

/// The state of some units.
#[pyfunction]
#[pyo3(signature = (
    paths, first, rows, keys, values, *, inner, kept, identity=None, constant=None, threads=None
))]
fn map_parquet<'py>(
    py: Python<'py>,
    paths: Vec<PathBuf>,
    first: Vec<u64>,
    rows: Vec<u64>,
    keys: Vec<String>,
    values: Vec<String>,
    inner: Vec<bool>,
    kept: &[u8],
    identity: Option<String>,
    constant: Option<Vec<String>>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyBytes>> {
    let part = |((path, first), rows): ((PathBuf, u64), u64)| Piece { path, rows: first..first.saturating_add(rows) };
    let pieces = paths.into_iter().zip(first).zip(rows).map(part).collect();
    let request = Request { pieces, keys, inner, values, identity, constant: constant.unwrap_or_default(), by: 0 };
    let state = scan(py, threads, None, |done, interrupt| map_units(&request, kept, done, interrupt))?;
    Ok(PyBytes::new(py, &state))
}

/// Groups from the states of all units, which may be an iterator: no more than one is held.
#[pyfunction]
#[pyo3(signature = (states, n_values, *, by, inner, kept, threads=None))]
fn merge_parquet<'py>(
    py: Python<'py>,
    states: &Bound<'py, PyAny>,
    n_values: usize,
    by: usize,
    inner: Vec<bool>,
    kept: &[u8],
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut merger = Merger::new(by, inner, n_values, kept).map_err(ToPython::to_python)?;
    for state in states.try_iter()? {
        let state = state?;
        let state = state.cast::<PyBytes>()?.as_bytes();
        run(py, threads, |_| merger.add(state))?;
    }
    let found = run::<_, signoise_scan::Error, _>(py, threads, |_| Ok(merger.finish()))?;
    groups(py, found)
}

/// Runs a scan, which tells how far it is.
fn scan<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    progress: Option<Bound<'_, PyAny>>,
    work: impl FnOnce(&Progress, &Interrupt) -> signoise_scan::Result<T> + Send,
) -> PyResult<T> {
    let done = Progress::default();
    let tell = |_: Python<'_>| match &progress {
        Some(progress) => {
            progress.call1((done.rows.load(Ordering::Relaxed), done.bytes.load(Ordering::Relaxed))).map(|_| ())
        }
        None => Ok(()),
    };
    run_telling(py, threads, tell, |interrupt| work(&done, interrupt))
}

/// Groups as a dict of arrays.
fn groups(py: Python<'_>, groups: Groups) -> PyResult<Bound<'_, PyDict>> {
    let labels = PyList::empty(py);
    for column in groups.labels {
        let list = PyList::empty(py);
        for label in column {
            match label {
                Label::Null => list.append(py.None())?,
                Label::Int(value) => list.append(value)?,
                Label::Real(bits) => list.append(f64::from_bits(bits))?,
                Label::Text(text) => list.append(&*text)?,
            }
        }
        labels.append(list)?;
    }
    let codes = PyList::empty(py);
    for column in groups.codes {
        codes.append(column.into_pyarray(py))?;
    }
    let found = groups.moments;
    let moments = Columns::new(py)
        .with("n", found.n)?
        .with("n_null", found.nulls)?
        .with("n_nan", found.nans)?
        .with("n_plus", found.plus)?
        .with("n_minus", found.minus)?
        .with("mean", found.mean)?
        .with("m2", found.m2)?
        .with("min", found.min)?
        .with("max", found.max)?
        .finish();
    let result = Columns::new(py).with("doubtful", groups.doubtful)?.finish();
    result.set_item("labels", labels)?;
    result.set_item("codes", codes)?;
    result.set_item("moments", moments)?;
    result.set_item("rows", groups.rows)?;
    Ok(result)
}

/// Rows and layouts of Parquet files, by their footers.
#[pyfunction]
#[pyo3(signature = (paths, *, threads=None))]
fn parquet_footers<'py>(py: Python<'py>, paths: Vec<PathBuf>, threads: Option<usize>) -> PyResult<Bound<'py, PyDict>> {
    let footers = run::<_, signoise_scan::Error, _>(py, threads, |_| Ok(signoise_scan::parquet_footers(&paths)))?;
    Ok(Columns::new(py).with("rows", footers.rows)?.with("layout", footers.layouts)?.finish())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(parquet_footers, module)?)?;
    module.add_function(wrap_pyfunction!(plan_parquet, module)?)?;
    module.add_function(wrap_pyfunction!(map_parquet, module)?)?;
    module.add_function(wrap_pyfunction!(merge_parquet, module)?)?;
    module.add_function(wrap_pyfunction!(aggregate_parquet, module)?)
}
