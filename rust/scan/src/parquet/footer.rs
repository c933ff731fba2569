//! What the end of a Parquet file says of the whole, without what it says of every row group.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::thrift::{INT64, Thrift};
use crate::error::{Error, Result};

/// Length of the footer, and the magic bytes.
const TAIL: u64 = 8;

/// Rows of a Parquet file.
///
/// # Errors
/// A file that is missing or damaged.
pub fn parquet_rows(path: &Path) -> Result<u64> {
    let name = path.display().to_string();
    let fail = |source| Error::Io { file: name.clone(), source };
    let damaged = || Error::Damaged { file: name.clone(), reason: "its footer is damaged".into() };
    let mut file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut tail = [0; TAIL as usize];
    file.seek(SeekFrom::Start(length.checked_sub(TAIL).ok_or_else(damaged)?)).map_err(fail)?;
    file.read_exact(&mut tail).map_err(fail)?;
    let [a, b, c, d, magic @ ..] = tail;
    let size = u64::from(u32::from_le_bytes([a, b, c, d]));
    let start = (length - TAIL).checked_sub(size).filter(|_| magic == *b"PAR1").ok_or_else(damaged)?;
    let mut footer = Vec::new();
    file.seek(SeekFrom::Start(start)).map_err(fail)?;
    // Rows stand before the row groups, which are most of a footer.
    file.take(size).read_to_end(&mut footer).map_err(fail)?;
    rows(&footer).ok_or_else(damaged)
}

fn rows(footer: &[u8]) -> Option<u64> {
    let mut reader = Thrift::new(footer);
    let mut id = 0;
    while let Some(field) = reader.field(&mut id)? {
        if id == 3 && field == INT64 {
            return u64::try_from(reader.int()?).ok();
        }
        reader.skip(field, 0)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn damaged_footers_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = rows(&bytes);
        }
    }
}
