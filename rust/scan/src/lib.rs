//! Bytes on disk to typed columns, moments and the score store. No Python in here.

pub mod aggregate;
pub mod archive;
pub mod checksum;
pub mod dense;
pub mod error;
#[cfg(test)]
mod fuzzed;
pub mod json;
mod parquet;
pub mod store;
pub mod text;

// The entries of the fuzzer speak of this crate by its name.
#[cfg(test)]
extern crate self as signoise_scan;

pub use error::{Error, Result};
pub use parquet::{Footers, Label, Piece, UNIT_ROWS, parquet_footers};
