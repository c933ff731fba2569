//! NumPy views in, owned arrays out.

use arrow_array::{Array, LargeStringArray};
use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::ffi::c_str;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};
use signoise_scan::json::Texts;

pyo3::import_exception!(signoise._errors, InternalError);
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

/// Values of a matrix row by row, or `ShapeError` where they do not lie so.
pub(crate) fn row_major<'a, T: numpy::Element>(name: &str, matrix: &'a PyReadonlyArray2<'_, T>) -> PyResult<&'a [T]> {
    // A matrix in column order has a slice too, of other rows.
    match matrix.as_slice() {
        Ok(values) if matrix.is_c_contiguous() => Ok(values),
        _ => Err(ShapeError::new_err(format!(
            "{name} must be contiguous, row by row; pass numpy.ascontiguousarray({name})"
        ))),
    }
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

/// Strings of a column. Anything that knows Arrow's C data interface takes them without a copy: `polars.Series(text)`.
#[pyclass(frozen, module = "signoise._core")]
pub(crate) struct Text(LargeStringArray);

impl Text {
    pub(crate) fn from_strings<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        Self(LargeStringArray::from_iter_values(texts))
    }

    /// The texts, and which of them each row has.
    pub(crate) fn new(texts: Texts) -> PyResult<(Self, Vec<u32>)> {
        let (texts, places) = texts.into_arrays().map_err(|error| InternalError::new_err(error.to_string()))?;
        Ok((Self(texts), places))
    }
}

#[pymethods]
impl Text {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema; // there is one type to give
        let (array, schema) =
            arrow_array::ffi::to_ffi(&self.0.to_data()).map_err(|error| InternalError::new_err(error.to_string()))?;
        Ok((
            PyCapsule::new_with_value(py, schema, c_str!("arrow_schema"))?,
            PyCapsule::new_with_value(py, array, c_str!("arrow_array"))?,
        ))
    }
}
