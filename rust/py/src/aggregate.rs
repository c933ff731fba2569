//! Moments of groups over Parquet files.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use signoise_scan::Label;
use signoise_scan::aggregate::{Progress, Request, aggregate};

use crate::convert::Columns;
use crate::door::{run, run_telling};

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
    let request = Request { files: paths, keys, inner, by, values, identity, constant: constant.unwrap_or_default() };
    let done = Progress::default();
    let tell = |_: Python<'_>| match &progress {
        Some(progress) => {
            progress.call1((done.rows.load(Ordering::Relaxed), done.bytes.load(Ordering::Relaxed))).map(|_| ())
        }
        None => Ok(()),
    };
    let groups = run_telling(py, threads, tell, |interrupt| aggregate(&request, &done, interrupt))?;
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
    module.add_function(wrap_pyfunction!(aggregate_parquet, module)?)
}
