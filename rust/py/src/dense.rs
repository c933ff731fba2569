//! Tables of instances in Parquet as dense matrices.

use std::path::PathBuf;

use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use signoise_scan::Label;
use signoise_scan::dense::{Request, Scan, Scores};

use crate::convert::{Text, slice};
use crate::door::run;

/// Values of a column, whether it varies within a checkpoint of each file, the value of each pair of file and checkpoint.
type ExtraColumn<'py> = (Bound<'py, PyList>, Vec<bool>, Vec<u32>);

/// Checkpoints, units and instances of Parquet files, found by reading keys and ids alone; then their matrices.
#[pyclass(frozen, module = "signoise._core")]
struct InstanceScan(Scan);

#[pymethods]
impl InstanceScan {
    #[new]
    #[pyo3(signature = (paths, *, outer, inner, identity, values, extras, cells, threads=None))]
    fn new(
        py: Python<'_>,
        paths: Vec<PathBuf>,
        outer: Vec<String>,
        inner: Vec<String>,
        identity: String,
        values: Vec<String>,
        extras: Vec<String>,
        cells: usize,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let request = Request { files: paths, outer, inner, identity, values, extras, cells };
        run(py, threads, |interrupt| Scan::new(request, interrupt)).map(Self)
    }

    /// Rows of all files.
    #[getter]
    fn rows(&self) -> usize {
        self.0.rows
    }

    /// Labels of the outer keys, then of the inner ones.
    #[getter]
    fn labels<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyList>>> {
        self.0.labels.iter().map(|labels| to_list(py, labels)).collect()
    }

    /// For each checkpoint the label of each outer key.
    #[getter]
    fn checkpoints(&self) -> Vec<Vec<u32>> {
        self.0.checkpoints.clone()
    }

    /// For each unit the label of each inner key.
    #[getter]
    fn units(&self) -> Vec<Vec<u32>> {
        self.0.unit_labels.clone()
    }

    /// For each unit the file that has it first.
    #[getter]
    fn first_files(&self) -> Vec<u32> {
        self.0.first_files()
    }

    /// Each pair of a file and a checkpoint in it once.
    #[getter]
    fn seen(&self) -> Vec<(u32, u32)> {
        self.0.seen.clone()
    }

    /// For each extra column its values, whether it varies within a checkpoint of each file, and the value of each pair.
    #[getter]
    fn extras<'py>(&self, py: Python<'py>) -> PyResult<Vec<ExtraColumn<'py>>> {
        let of = |extra: &signoise_scan::dense::Extra| {
            Ok((to_list(py, &extra.labels)?, extra.varies.clone(), extra.codes.clone()))
        };
        self.0.extras.iter().map(of).collect()
    }

    /// How many checkpoints `matrices` lays out at a time.
    #[getter]
    fn at_once(&self) -> usize {
        self.0.at_once()
    }

    /// The matrices of every unit, of `at_once` checkpoints from the `first` on; `number` orders their rows.
    #[pyo3(signature = (number, *, first=0, threads=None))]
    fn matrices<'py>(
        &self,
        py: Python<'py>,
        number: PyReadonlyArray1<'py, u32>,
        first: usize,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let number = slice("number", &number)?;
        let found = run(py, threads, |interrupt| self.0.matrices(number, first, interrupt))?;
        let list = PyList::empty(py);
        for matrix in found {
            let shape = [matrix.checkpoints.len(), matrix.instances.len()];
            let one = PyDict::new(py);
            one.set_item("unit", matrix.unit)?;
            one.set_item("checkpoints", matrix.checkpoints.into_pyarray(py))?;
            one.set_item("instances", Text::from_strings(matrix.instances.iter().map(|id| &**id)))?;
            let scores = PyList::empty(py);
            for values in matrix.scores {
                match values {
                    Scores::Bits(values) => scores.append(shaped(py, values, shape)?)?,
                    Scores::Real(values) => scores.append(shaped(py, values, shape)?)?,
                }
            }
            one.set_item("scores", scores)?;
            let there = PyList::empty(py);
            for mask in matrix.there {
                match mask {
                    Some(mask) => there.append(shaped(py, mask, shape)?)?,
                    None => there.append(py.None())?,
                }
            }
            one.set_item("there", there)?;
            list.append(one)?;
        }
        Ok(list)
    }
}

fn shaped<T: numpy::Element>(py: Python<'_>, values: Vec<T>, shape: [usize; 2]) -> PyResult<Bound<'_, PyAny>> {
    let flat: Bound<'_, PyArray1<T>> = values.into_pyarray(py);
    flat.reshape(shape).map(Bound::into_any)
}

fn to_list<'py>(py: Python<'py>, labels: &[Label]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for label in labels {
        match label {
            Label::Null => list.append(py.None())?,
            Label::Int(value) => list.append(*value)?,
            Label::Real(bits) => list.append(f64::from_bits(*bits))?,
            Label::Text(text) => list.append(&**text)?,
        }
    }
    Ok(list)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<InstanceScan>()
}
