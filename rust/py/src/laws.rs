//! Scaling-law forms: values, derivatives, fits.

use numpy::{IntoPyArray, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use signoise_core::laws::{self, Loss, Measure, Program, Task};

use crate::convert::{Columns, Floats, Offsets, row_major, slice};
use crate::door::run;

type Matrix<'py> = PyReadonlyArray2<'py, f64>;
/// Steps of a form: operations, left and right operands, constants.
type Steps<'py> =
    (PyReadonlyArray1<'py, u8>, PyReadonlyArray1<'py, u32>, PyReadonlyArray1<'py, u32>, PyReadonlyArray1<'py, f64>);

fn program(steps: &Bound<'_, PyTuple>, n_parameters: usize, n_columns: usize) -> PyResult<Program> {
    let (ops, left, right, constants): Steps<'_> = steps.extract()?;
    let program = Program::new(
        slice("ops", &ops)?,
        slice("left", &left)?,
        slice("right", &right)?,
        slice("constants", &constants)?,
        n_parameters,
        n_columns,
    );
    program.map_err(crate::door::ToPython::to_python)
}

/// Values of a form, a row a set of parameters.
#[pyfunction]
#[pyo3(signature = (steps, columns, parameters, *, threads=None))]
fn law_values<'py>(
    py: Python<'py>,
    steps: &Bound<'py, PyTuple>,
    columns: Matrix<'py>,
    parameters: Matrix<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (n_columns, n) = columns.as_array().dim();
    let (sets, p) = parameters.as_array().dim();
    let program = program(steps, p, n_columns)?;
    let (columns, parameters) = (row_major("columns", &columns)?, row_major("parameters", &parameters)?);
    let values = run(py, threads, |interrupt| laws::law_values(&program, columns, n, parameters, interrupt))?;
    values.into_pyarray(py).reshape([sets, n])
}

/// Derivatives of a form by its parameters: set, point, parameter.
#[pyfunction]
#[pyo3(signature = (steps, columns, parameters, *, threads=None))]
fn law_derivatives<'py>(
    py: Python<'py>,
    steps: &Bound<'py, PyTuple>,
    columns: Matrix<'py>,
    parameters: Matrix<'py>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray3<f64>>> {
    let (n_columns, n) = columns.as_array().dim();
    let (sets, p) = parameters.as_array().dim();
    let program = program(steps, p, n_columns)?;
    let (columns, parameters) = (row_major("columns", &columns)?, row_major("parameters", &parameters)?);
    let slopes = run(py, threads, |interrupt| laws::law_derivatives(&program, columns, n, parameters, interrupt))?;
    slopes.into_pyarray(py).reshape([sets, n, p])
}

/// The best fit of a form to the points of each problem, from many starts.
#[pyfunction]
#[pyo3(signature = (steps, columns, observed, weights, offsets, starts, start_offsets, lower, upper, linear, *,
                    loss="huber", delta=1e-3, log=true, overestimate_penalty=1.0, max_steps=500, polish=true,
                    threads=None))]
fn fit_laws<'py>(
    py: Python<'py>,
    steps: &Bound<'py, PyTuple>,
    columns: Matrix<'py>,
    observed: Floats<'py>,
    weights: Floats<'py>,
    offsets: Offsets<'py>,
    starts: Matrix<'py>,
    start_offsets: Offsets<'py>,
    lower: Floats<'py>,
    upper: Floats<'py>,
    linear: PyReadonlyArray1<'py, bool>,
    loss: &str,
    delta: f64,
    log: bool,
    overestimate_penalty: f64,
    max_steps: usize,
    polish: bool,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let p = starts.as_array().dim().1;
    let program = program(steps, p, columns.as_array().dim().0)?;
    let (columns, starts) = (row_major("columns", &columns)?, row_major("starts", &starts)?);
    let (observed, weights) = (slice("observed", &observed)?, slice("weights", &weights)?);
    let (offsets, start_offsets) = (slice("offsets", &offsets)?, slice("start_offsets", &start_offsets)?);
    let (lower, upper) = (slice("lower", &lower)?, slice("upper", &upper)?);
    let linear = slice("linear", &linear)?;
    let found = run(py, threads, |interrupt| {
        let measure = Measure { loss: Loss::new(loss, delta)?, log, overestimate_penalty };
        let task = Task {
            program: &program,
            columns,
            observed,
            weights,
            offsets,
            starts,
            start_offsets,
            lower,
            upper,
            linear,
            measure,
            max_steps,
            polish,
        };
        laws::fit_laws(task, interrupt)
    })?;
    let n = found.objective.len();
    let result = Columns::new(py)
        .with("objective", found.objective)?
        .with("n_started", found.n_started)?
        .with("n_agree", found.n_agree)?
        .with("settled", found.settled)?
        .finish();
    result.set_item("parameters", found.parameters.into_pyarray(py).reshape([n, p])?)?;
    result.set_item("others", found.others.into_pyarray(py).reshape([n, p])?)?;
    Ok(result)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(law_values, module)?)?;
    module.add_function(wrap_pyfunction!(law_derivatives, module)?)?;
    module.add_function(wrap_pyfunction!(fit_laws, module)?)
}
