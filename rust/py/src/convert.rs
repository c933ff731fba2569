//! NumPy views in, owned arrays out.

use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pyo3::import_exception!(signoise._errors, ShapeError);

/// A contiguous one-dimensional float view; the caller owns the memory for the length of the call.
pub(crate) type Floats<'py> = PyReadonlyArray1<'py, f64>;
/// Offsets that divide a value array into groups.
pub(crate) type Offsets<'py> = PyReadonlyArray1<'py, usize>;

/// The slice behind a view, or `ShapeError` where the array has gaps.
pub(crate) fn slice<'a, T: numpy::Element>(name: &str, array: &'a PyReadonlyArray1<'_, T>) -> PyResult<&'a [T]> {
    array
        .as_slice()
        .map_err(|_| ShapeError::new_err(format!("{name} must be contiguous; pass numpy.ascontiguousarray({name})")))
}

/// A dict of named arrays, one entry a group: what kernels with several results return.
pub(crate) struct Columns<'py>(Bound<'py, PyDict>);

impl<'py> Columns<'py> {
    pub(crate) fn new(py: Python<'py>) -> Self {
        Self(PyDict::new(py))
    }

    pub(crate) fn with<T: numpy::Element>(self, name: &str, values: Vec<T>) -> PyResult<Self> {
        self.0.set_item(name, values.into_pyarray(self.0.py()))?;
        Ok(self)
    }

    pub(crate) fn finish(self) -> Bound<'py, PyDict> {
        self.0
    }
}
