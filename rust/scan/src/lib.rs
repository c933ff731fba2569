//! Bytes on disk to typed columns, moments and the score store. No Python in here.

pub mod aggregate;
pub mod archive;
pub mod checksum;
pub mod dense;
pub mod error;
pub mod json;
mod parquet;
pub mod store;
pub mod text;

pub use error::{Error, Result};
pub use parquet::{Footers, Label, Piece, UNIT_ROWS, parquet_footers};
