//! JSON Lines as columns.

use std::collections::HashSet;
use std::path::PathBuf;

use numpy::PyArray1;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_scan::json::{self, Options, Selection};

use crate::convert::{Columns, Text};
use crate::door::run_telling;

/// Wanted fields of the sound rows of JSON Lines files.
#[pyfunction]
#[pyo3(signature = (
    paths, *, skip=None, only=None, odd=None, max_line_bytes=67108864, max_depth=512, stop=None, threads=None
))]
fn read_json_lines<'py>(
    py: Python<'py>,
    paths: Vec<PathBuf>,
    skip: Option<Vec<String>>,
    only: Option<Vec<String>>,
    odd: Option<Vec<String>>,
    max_line_bytes: usize,
    max_depth: usize,
    stop: Option<Py<PyAny>>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let names = |list: Vec<String>| list.into_iter().map(String::into_bytes).collect::<HashSet<_>>();
    let options = Options {
        selection: Selection {
            skip: skip.map(names).unwrap_or_default(),
            only: only.map(names),
            odd: odd.map(names).unwrap_or_default(),
        },
        max_line_bytes,
        max_depth,
        block_bytes: json::BLOCK_BYTES,
        segment_bytes: json::SEGMENT_BYTES,
    };
    let tell = |py: Python<'_>| match &stop {
        Some(stop) if stop.call0(py)?.is_truthy(py)? => Err(PyKeyboardInterrupt::new_err(())),
        _ => Ok(()),
    };
    // A pool of its own, so that kernels that reduce one batch need not wait until the next one is read.
    let threads = threads.or_else(|| Some(rayon::current_num_threads()));
    let rows = run_telling(py, threads, tell, |interrupt| json::read_json_lines(&paths, &options, interrupt))?;
    let fields = PyDict::new(py);
    for field in rows.fields {
        let columns = Columns::new(py).with("kind", field.kinds)?.finish();
        columns.set_item("number", field.numbers.map(|numbers| PyArray1::from_vec(py, numbers)))?;
        let (texts, places) = field.texts.map(Text::new).transpose()?.unzip();
        columns.set_item("text", texts)?;
        columns.set_item("place", places.map(|places| PyArray1::from_vec(py, places)))?;
        fields.set_item(field.name, columns)?;
    }
    let problems: Vec<_> = rows
        .problems
        .into_iter()
        .map(|(file, problem)| (file, problem.line, problem.reason, problem.excerpt))
        .collect();
    let result = Columns::new(py).with("file", rows.file)?.with("line", rows.line)?.finish();
    result.set_item("fields", fields)?;
    result.set_item("problems", problems)?;
    result.set_item("n_problems", rows.n_problems)?;
    Ok(result)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Text>()?;
    module.add_function(wrap_pyfunction!(read_json_lines, module)?)
}
