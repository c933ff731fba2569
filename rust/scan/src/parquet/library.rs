//! A whole column chunk of any encoding, decoded by the library: the general way beside `pages`.
//!
//! Version 60 of the library panics at some damaged pages (missing headers, sizes below 0, levels that end early). It
//! leaves nothing behind that is used again, so that such a panic is an error like its others.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;

use super::fetch::RowGroup;
use crate::error::{Error, Result};

/// What the library makes of bytes; `damaged` where it panics.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T>, damaged: impl FnOnce(&str) -> Error) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(damaged("the library cannot make anything of it")))
}

/// One entry a row: what `make` makes of its value, or `missing`.
///
/// # Errors
/// A damaged chunk, or one with fewer values than its row group has rows.
pub(crate) fn read_rows<T: DataType, U: Clone>(
    group: &RowGroup,
    column: &str,
    mut reader: ColumnReaderImpl<T>,
    missing: &U,
    make: impl Fn(&T::T) -> U,
) -> Result<Vec<U>> {
    let optional = group.chunk(column)?.column_descr().max_def_level() > 0;
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < group.rows {
        let (records, _, _) = guarded(
            || {
                reader
                    .read_records(group.rows - done, optional.then_some(&mut levels), None, &mut values)
                    .map_err(|error| group.damaged(column, error))
            },
            |reason| group.damaged(column, reason),
        )?;
        if records == 0 {
            return Err(group.damaged(column, "it has fewer values than the row group has rows"));
        }
        done += records;
    }
    let mut made = values.iter().map(make);
    if !optional {
        return Ok(made.collect());
    }
    let of = |&level: &i16| if level > 0 { made.next().unwrap_or_else(|| missing.clone()) } else { missing.clone() };
    Ok(levels.iter().map(of).collect())
}
