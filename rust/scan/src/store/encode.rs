//! Which type the cells of a matrix are stored in, and their buffers.
//!
//! 0/1 scores (bit patterns of +0 and 1) become bits. Of the others `auto` takes f32 where every score survives the
//! way there and back, else f64: nothing is ever rounded unless the caller asks for f32.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use rayon::prelude::*;
use signoise_core::parallel::check_len;

use super::Column;
use crate::error::Result;

/// Cells that one task of the pool looks at; a multiple of 8.
const TASK: usize = 1 << 16;
/// Cells that are looked at without stopping.
const LOOK: usize = 1 << 10;

/// Scores to store.
#[derive(Debug, Clone, Copy)]
pub enum Cells<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
    /// Known to be 0 or 1.
    Bool(&'a [bool]),
}

/// What scores that are not all 0 or 1 are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// f32 where nothing is lost, else f64.
    Auto,
    /// f32, rounded to nearest.
    Float32,
    /// f64.
    Float64,
}

/// How cells are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One bit a cell.
    Bit,
    /// f32.
    Float32,
    /// f64.
    Float64,
}

impl Kind {
    /// Its name in a manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bit => "bit",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }
}

pub(super) fn encode(column: &Column<'_>, len: usize) -> Result<(Kind, ArrayRef)> {
    let dtype = column.dtype;
    let found = match column.values {
        Cells::F32(values) => values.len(),
        Cells::F64(values) => values.len(),
        Cells::Bool(values) => values.len(),
    };
    check_len("values", found, len)?;
    if let Some(there) = column.there {
        check_len("there", there.len(), len)?;
    }
    // A mask of ones says nothing.
    let there = column.there.filter(|there| !all(there, None, |there| there));
    let nulls = there.map(|there| NullBuffer::new(BooleanBuffer::new(pack(there, None, |there| there), 0, len)));
    Ok(match column.values {
        Cells::Bool(values) => (Kind::Bit, bits(pack(values, there, |hit| hit), len, nulls)),
        Cells::F32(values) if all(values, there, is_bit) => {
            (Kind::Bit, bits(pack(values, there, |x| x == 1.0), len, nulls))
        }
        Cells::F64(values) if all(values, there, is_bit) => {
            (Kind::Bit, bits(pack(values, there, |x| x == 1.0), len, nulls))
        }
        Cells::F32(values) if dtype == Dtype::Float64 => {
            (Kind::Float64, Arc::new(Float64Array::new(map(values, there, f64::from), nulls)))
        }
        Cells::F32(values) => (Kind::Float32, Arc::new(Float32Array::new(kept(values, there), nulls))),
        Cells::F64(values) if dtype == Dtype::Float32 || dtype == Dtype::Auto && all(values, there, survives) => {
            (Kind::Float32, Arc::new(Float32Array::new(map(values, there, |x| x as f32), nulls)))
        }
        Cells::F64(values) => (Kind::Float64, Arc::new(Float64Array::new(kept(values, there), nulls))),
    })
}

fn bits(values: Buffer, len: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(BooleanArray::new(BooleanBuffer::new(values, 0, len), nulls))
}

/// +0 or 1; -0 is not +0, and NaN is neither.
fn is_bit<T: Into<f64>>(x: T) -> bool {
    let x = x.into();
    (x.to_bits() == 0) | (x == 1.0)
}

fn survives(x: f64) -> bool {
    (f64::from(x as f32) == x) | x.is_nan()
}

/// Whether `test` holds for every cell that has a score; a few cells mostly tell.
fn all<T: Copy + Sync>(values: &[T], there: Option<&[bool]>, test: impl Fn(T) -> bool + Sync) -> bool {
    match there {
        None => values
            .par_chunks(TASK)
            .all(|chunk| chunk.chunks(LOOK).all(|some| some.iter().fold(true, |so_far, &x| so_far & test(x)))),
        Some(there) => values.par_chunks(TASK).zip(there.par_chunks(TASK)).all(|(chunk, there)| {
            chunk.chunks(LOOK).zip(there.chunks(LOOK)).all(|(some, there)| {
                some.iter().zip(there).fold(true, |so_far, (&x, &there)| so_far & (test(x) | !there))
            })
        }),
    }
}

/// One bit a cell, lowest bit of a byte first; 0 where there is no score.
fn pack<T: Copy + Sync>(values: &[T], there: Option<&[bool]>, test: impl Fn(T) -> bool + Sync) -> Buffer {
    let mut bytes = vec![0_u8; values.len().div_ceil(8)];
    bytes.par_chunks_mut(TASK / 8).enumerate().for_each(|(task, bytes)| {
        let start = task * TASK;
        pack_some(bytes, values.get(start..).unwrap_or(&[]), &test, |byte, bits| *byte = bits);
        if let Some(there) = there.map(|there| there.get(start..).unwrap_or(&[])) {
            pack_some(bytes, there, |there| there, |byte, bits| *byte &= bits);
        }
    });
    Buffer::from_vec(bytes)
}

fn pack_some<T: Copy>(bytes: &mut [u8], cells: &[T], test: impl Fn(T) -> bool, put: impl Fn(&mut u8, u8)) {
    let (eights, rest) = cells.as_chunks::<8>();
    let mut bytes = bytes.iter_mut();
    for (cells, byte) in eights.iter().zip(bytes.by_ref()) {
        put(byte, (0..8).fold(0, |bits, at| bits | (u8::from(test(cells[at])) << at)));
    }
    if let Some(byte) = bytes.next() {
        put(byte, rest.iter().enumerate().fold(0, |bits, (at, &cell)| bits | (u8::from(test(cell)) << at)));
    }
}

/// Cells as they are; 0 where there is no score.
fn kept<T: ArrowNativeType>(values: &[T], there: Option<&[bool]>) -> ScalarBuffer<T> {
    if there.is_none() { ScalarBuffer::from(values.to_vec()) } else { map(values, there, |x| x) }
}

/// Cells one by one; 0 where there is no score.
fn map<T: Copy + Sync, U: ArrowNativeType>(
    values: &[T],
    there: Option<&[bool]>,
    convert: impl Fn(T) -> U + Sync,
) -> ScalarBuffer<U> {
    let mut out = vec![U::default(); values.len()];
    match there {
        None => out.par_chunks_mut(TASK).zip(values.par_chunks(TASK)).for_each(|(out, values)| {
            for (out, &x) in out.iter_mut().zip(values) {
                *out = convert(x);
            }
        }),
        Some(there) => out.par_chunks_mut(TASK).zip(values.par_chunks(TASK).zip(there.par_chunks(TASK))).for_each(
            |(out, (values, there))| {
                for (out, (&x, &there)) in out.iter_mut().zip(values.iter().zip(there)) {
                    *out = if there { convert(x) } else { U::default() };
                }
            },
        ),
    }
    ScalarBuffer::from(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::Array;

    use super::*;

    fn kind(values: &[f64], there: Option<&[bool]>, dtype: Dtype) -> Kind {
        encode(&Column { name: "x", values: Cells::F64(values), there, dtype }, values.len()).unwrap().0
    }

    #[test]
    fn nothing_is_lost_unless_asked() {
        assert_eq!(kind(&[0.0, 1.0], None, Dtype::Auto), Kind::Bit);
        assert_eq!(kind(&[0.0, -0.0], None, Dtype::Auto), Kind::Float32);
        assert_eq!(kind(&[0.0, f64::NAN], None, Dtype::Auto), Kind::Float32);
        assert_eq!(kind(&[0.5, f64::INFINITY], None, Dtype::Auto), Kind::Float32);
        assert_eq!(kind(&[0.1, 1.0], None, Dtype::Auto), Kind::Float64);
        assert_eq!(kind(&[0.1, 1.0], None, Dtype::Float32), Kind::Float32);
        assert_eq!(kind(&[0.1, 1.0], Some(&[false, true]), Dtype::Float64), Kind::Bit);
        assert_eq!(kind(&[0.5, 1.0], None, Dtype::Float64), Kind::Float64);
    }

    #[test]
    fn cells_without_a_score_hold_zeros() {
        let there = [true, false, true];
        let column =
            Column { name: "x", values: Cells::F64(&[1.0, 1.0, 0.0]), there: Some(&there), dtype: Dtype::Auto };
        let (_, array) = encode(&column, 3).unwrap();
        let data = array.to_data();
        assert_eq!((data.buffers()[0].as_slice(), data.null_count()), ([1].as_slice(), 1));
    }
}
