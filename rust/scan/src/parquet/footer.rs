//! What the footers of Parquet files say of the whole, without what they say of every row group.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::readers::side_by_side;
use super::thrift::{INT64, Thrift};

/// Length of the footer, and the magic bytes.
const TAIL: usize = 8;

/// Fields of a footer.
const ROWS: i64 = 3;
const ROW_GROUPS: i64 = 4;

/// Rows and layouts of Parquet files.
#[derive(Debug, Default)]
pub struct Footers {
    /// Rows of each file; 0 where its footer cannot be read.
    pub rows: Vec<u64>,
    /// Files with equal numbers are written with the same schema, byte by byte; -1 where the footer cannot be read.
    pub layouts: Vec<i64>,
}

/// Footers of files, which need not be Parquet files.
#[must_use]
pub fn parquet_footers(paths: &[PathBuf]) -> Footers {
    let read = side_by_side(paths.iter().collect(), |path| bytes(path).and_then(|bytes| parse(&bytes)));
    let mut numbers = HashMap::new();
    let mut footers = Footers::default();
    for footer in read {
        let (rows, layout) = footer.map_or((0, -1), |footer| {
            let next = numbers.len() as i64;
            (footer.rows, *numbers.entry(footer.layout).or_insert(next))
        });
        footers.rows.push(rows);
        footers.layouts.push(layout);
    }
    footers
}

/// The footer of a file, None where it has none.
fn bytes(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut tail = [0; TAIL];
    file.seek(SeekFrom::Start(length.checked_sub(TAIL as u64)?)).ok()?;
    file.read_exact(&mut tail).ok()?;
    let [a, b, c, d, magic @ ..] = tail;
    let size = u64::from(u32::from_le_bytes([a, b, c, d]));
    let start = (length - TAIL as u64).checked_sub(size).filter(|_| magic == *b"PAR1")?;
    let mut footer = Vec::with_capacity(size as usize);
    file.seek(SeekFrom::Start(start)).ok()?;
    file.take(size).read_to_end(&mut footer).ok()?;
    Some(footer)
}

struct Footer {
    rows: u64,
    /// All of it but the rows and the row groups: the schema, also as Arrow has it, and who wrote it.
    layout: Vec<u8>,
}

fn parse(footer: &[u8]) -> Option<Footer> {
    let mut reader = Thrift::new(footer);
    let (mut id, mut at) = (0, 0);
    let (mut rows, mut layout) = (None, Vec::new());
    while let Some(field) = reader.field(&mut id)? {
        if id == ROWS && field == INT64 {
            rows = u64::try_from(reader.int()?).ok();
        } else {
            reader.skip(field, 0)?;
            if id != ROW_GROUPS {
                layout.extend_from_slice(footer.get(at..reader.at())?);
            }
        }
        at = reader.at();
    }
    Some(Footer { rows: rows?, layout })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn damaged_footers_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
