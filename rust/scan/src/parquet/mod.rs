//! Parquet, read at the level of pages: key columns as runs of dictionary codes, scores as floats, nothing as strings.

mod bits;
mod column;
mod fetch;
mod footer;
mod hybrid;
mod library;
mod pages;
mod readers;
mod thrift;
mod units;
mod values;

pub use column::Label;
pub(crate) use column::{Codes, constant, differs, read_keys};
pub(crate) use fetch::{Files, Needed, RowGroup, RowGroups, Unread, Written};
pub use footer::{Footers, parquet_footers};
pub(crate) use units::EARLY_FILES;
pub use units::{Piece, UNIT_ROWS};
pub(crate) use values::{NULL, read_all_values, read_bits, read_identities, read_values};
