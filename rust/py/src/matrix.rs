//! Moments of the rows of matrices.

use numpy::{PyArrayDescrMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use signoise_core::matrix::{self, BitMatrix, Matrix, Values, Weighted};

use crate::convert::{Columns, Offsets, ShapeError, row_major, slice};
use crate::door::run;

/// Packed bits.
pub(crate) type Bytes<'py> = PyReadonlyArray1<'py, u8>;

/// A row-major matrix in either precision.
pub(crate) enum Floats2<'py> {
    F32(PyReadonlyArray2<'py, f32>),
    F64(PyReadonlyArray2<'py, f64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Floats2<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        // Asked rather than tried: the error of a failed try, words and all, would cost more than a small matrix.
        let single = object
            .cast::<PyUntypedArray>()
            .is_ok_and(|array| array.dtype().is_equiv_to(&numpy::dtype::<f32>(object.py())));
        Ok(if single { Self::F32(object.extract()?) } else { Self::F64(object.extract()?) })
    }
}

impl Floats2<'_> {
    pub(crate) fn shape(&self) -> (usize, usize) {
        let shape = match self {
            Self::F32(array) => array.shape(),
            Self::F64(array) => array.shape(),
        };
        match *shape {
            [rows, width] => (rows, width),
            _ => (0, 0),
        }
    }

    pub(crate) fn values(&self) -> PyResult<Values<'_>> {
        Ok(match self {
            Self::F32(array) => Values::F32(row_major("a matrix", array)?),
            Self::F64(array) => Values::F64(row_major("a matrix", array)?),
        })
    }
}

fn same_length(name: &str, found: usize, expected: usize) -> PyResult<()> {
    if found == expected {
        return Ok(());
    }
    Err(ShapeError::new_err(format!("{name} has {found} entries, expected {expected}, one a matrix")))
}

fn views<'a>(matrices: &'a [Floats2<'_>], validity: &'a [Option<Bytes<'_>>]) -> PyResult<Vec<Matrix<'a>>> {
    same_length("validity", validity.len(), matrices.len())?;
    let view = |(array, bits): (&'a Floats2<'_>, &'a Option<Bytes<'_>>)| {
        let (rows, width) = array.shape();
        let validity = bits.as_ref().map(|bits| slice("validity", bits)).transpose()?;
        Ok(Matrix { rows, width, values: array.values()?, validity })
    };
    matrices.iter().zip(validity).map(view).collect()
}

/// Count, NaN count, mean, sum of squared deviations, smallest and largest value of each row.
#[pyfunction]
#[pyo3(signature = (matrices, validity, *, threads=None))]
fn matrix_moments<'py>(
    py: Python<'py>,
    matrices: Vec<Floats2<'py>>,
    validity: Vec<Option<Bytes<'py>>>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let views = views(&matrices, &validity)?;
    let found = run(py, threads, |interrupt| matrix::matrix_moments(&views, interrupt))?;
    Columns::new(py)
        .with("n", found.n)?
        .with("n_nan", found.n_nan)?
        .with("mean", found.mean)?
        .with("m2", found.m2)?
        .with("min", found.min)?
        .with("max", found.max)
        .map(Columns::finish)
}

/// sum(weight * value) / sum(weight) and sum(weight) of each row.
#[pyfunction]
#[pyo3(signature = (matrices, weights, validity, *, threads=None))]
fn matrix_weighted_means<'py>(
    py: Python<'py>,
    matrices: Vec<Floats2<'py>>,
    weights: Vec<Floats2<'py>>,
    validity: Vec<Option<Bytes<'py>>>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    same_length("weights", weights.len(), matrices.len())?;
    let views = views(&matrices, &validity)?.into_iter().zip(&weights);
    let views = views.map(|(matrix, weights)| Ok(Weighted { matrix, weights: weights.values()? }));
    let views = views.collect::<PyResult<Vec<_>>>()?;
    let found = run(py, threads, |interrupt| matrix::matrix_weighted_means(&views, interrupt))?;
    Columns::new(py).with("mean", found.mean)?.with("weight", found.weight).map(Columns::finish)
}

fn bit_views<'a>(
    matrices: &'a [Bytes<'_>],
    validity: &'a [Option<Bytes<'_>>],
    rows: &Offsets<'_>,
    widths: &Offsets<'_>,
) -> PyResult<Vec<BitMatrix<'a>>> {
    let (rows, widths) = (slice("rows", rows)?, slice("widths", widths)?);
    for (name, found) in [("validity", validity.len()), ("rows", rows.len()), ("widths", widths.len())] {
        same_length(name, found, matrices.len())?;
    }
    let views = matrices.iter().zip(validity).zip(rows.iter().zip(widths));
    let views = views.map(|((values, validity), (&rows, &width))| {
        let validity = validity.as_ref().map(|bits| slice("validity", bits)).transpose()?;
        Ok(BitMatrix { rows, width, values: slice("matrices", values)?, validity })
    });
    views.collect()
}

/// Cells that are there and ones among them, of each row of bit matrices.
#[pyfunction]
#[pyo3(signature = (matrices, validity, rows, widths, *, threads=None))]
fn bit_matrix_counts<'py>(
    py: Python<'py>,
    matrices: Vec<Bytes<'py>>,
    validity: Vec<Option<Bytes<'py>>>,
    rows: Offsets<'py>,
    widths: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let views = bit_views(&matrices, &validity, &rows, &widths)?;
    let found = run(py, threads, |interrupt| matrix::bit_matrix_counts(&views, interrupt))?;
    Columns::new(py).with("n", found.n)?.with("ones", found.ones).map(Columns::finish)
}

/// Cells that are there, their mean, variance, smallest and largest value, of each row of bit matrices.
#[pyfunction]
#[pyo3(signature = (matrices, validity, rows, widths, *, threads=None))]
fn bit_matrix_moments<'py>(
    py: Python<'py>,
    matrices: Vec<Bytes<'py>>,
    validity: Vec<Option<Bytes<'py>>>,
    rows: Offsets<'py>,
    widths: Offsets<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let views = bit_views(&matrices, &validity, &rows, &widths)?;
    let found = run(py, threads, |interrupt| matrix::bit_matrix_moments(&views, interrupt))?;
    Columns::new(py)
        .with("n", found.n)?
        .with("mean", found.mean)?
        .with("variance", found.variance)?
        .with("min", found.min)?
        .with("max", found.max)
        .map(Columns::finish)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(matrix_moments, module)?)?;
    module.add_function(wrap_pyfunction!(matrix_weighted_means, module)?)?;
    module.add_function(wrap_pyfunction!(bit_matrix_counts, module)?)?;
    module.add_function(wrap_pyfunction!(bit_matrix_moments, module)?)
}
