//! Parts of a score store: one uncompressed Arrow IPC file with one record batch.
//!
//! Column `checkpoint` (uint32) numbers the rows; every other column is a FixedSizeList as wide as there are instances,
//! so that its child's buffer is the row-major checkpoint x instance matrix. 0/1 scores become bits. Where the buffers
//! lie in the file is returned, for readers that map the file instead of parsing it. Bytes depend on the data alone:
//! cells without a score hold zeros.

mod encode;

use std::fs::File;
use std::hash::Hasher;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, RecordBatch, UInt32Array};
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{root_as_footer, root_as_message};
use arrow_schema::{DataType, Field, Schema};
use signoise_core::Interrupt;
use twox_hash::XxHash3_64;

pub use encode::{Cells, Dtype, Kind};

use crate::error::{Error, Result};

/// A matrix to store: `checkpoints x width` cells, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// Name of the column in the file.
    pub name: &'a str,
    /// The scores.
    pub values: Cells<'a>,
    /// Which cells have one; None: all of them.
    pub there: Option<&'a [bool]>,
    /// What to store them in, unless all are 0 or 1.
    pub dtype: Dtype,
}

/// Where some bytes lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// A column that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenColumn {
    /// How its cells are stored.
    pub kind: Kind,
    /// The scores.
    pub values: Span,
    /// The validity bits; None where all cells have a score.
    pub validity: Option<Span>,
}

/// A part that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Size of the file.
    pub bytes: u64,
    /// XXH3 (64 bits, seed 0) of the file.
    pub checksum: u64,
    /// The checkpoint numbers.
    pub checkpoints: Span,
    /// The columns in their order.
    pub columns: Vec<WrittenColumn>,
}

/// Writes a part. It is on disk once it has been synced, which is the caller's part: many files sync as fast as one.
///
/// # Errors
/// A shape that does not fit, a file that cannot be written, or an interrupt.
pub fn write_part(
    path: &str,
    checkpoints: &[u32],
    width: usize,
    columns: &[Column<'_>],
    interrupt: &Interrupt,
) -> Result<Written> {
    let io = |source| Error::Io { file: path.into(), source };
    let arrow = |error: arrow_schema::ArrowError| Error::Damaged { file: path.into(), reason: error.to_string() };
    let list_size = i32::try_from(width).ok().filter(|&width| width > 0).ok_or_else(|| {
        let found = width.to_string();
        signoise_core::Error::Argument { name: "width", expected: "between 1 and 2147483647", found }
    })?;
    let mut fields = vec![Field::new("checkpoint", DataType::UInt32, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(checkpoints.to_vec()))];
    let mut kinds = Vec::new();
    for column in columns {
        interrupt.check()?;
        let (kind, cells) = encode::encode(column, checkpoints.len() * width)?;
        let item = Arc::new(Field::new_list_field(cells.data_type().clone(), true));
        let list = FixedSizeListArray::try_new(Arc::clone(&item), list_size, cells, None).map_err(arrow)?;
        fields.push(Field::new(column.name, DataType::FixedSizeList(item, list_size), false));
        arrays.push(Arc::new(list));
        kinds.push(kind);
    }
    let schema = Schema::new(fields);
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), arrays).map_err(arrow)?;
    interrupt.check()?;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(io)?;
    let mut writer = FileWriter::try_new(Hashing::new(BufWriter::new(file)), &schema).map_err(arrow)?;
    writer.write(&batch).map_err(arrow)?;
    writer.finish().map_err(arrow)?;
    let Hashing { inner, hasher, bytes } = writer.into_inner().map_err(arrow)?;
    let mut file = inner.into_inner().map_err(|error| io(error.into_error()))?;
    let spans = spans(&mut file, bytes).map_err(io)?;
    let torn = || Error::Damaged { file: path.into(), reason: "its own footer does not list its buffers".into() };
    let checkpoints = spans.get(1).copied().ok_or_else(torn)?;
    let columns = kinds
        .into_iter()
        .zip(spans.get(2..).unwrap_or(&[]).chunks_exact(3))
        .map(|(kind, spans)| match *spans {
            // Of a list: its own validity, then the validity and the values of its items.
            [_, validity, values] => {
                Ok(WrittenColumn { kind, values, validity: (validity.length > 0).then_some(validity) })
            }
            _ => Err(torn()),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Written { bytes, checksum: hasher.finish(), checkpoints, columns })
}

/// Buffers of the only record batch in file coordinates.
fn spans(file: &mut File, bytes: u64) -> std::io::Result<Vec<Span>> {
    let wrong = |what: &str| std::io::Error::other(format!("cannot read back the {what} that was just written"));
    let mut tail = [0; 10];
    file.seek(SeekFrom::Start(bytes.saturating_sub(10)))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, ..] = tail;
    let mut footer = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
    file.seek(SeekFrom::Start(bytes.saturating_sub(10 + footer.len() as u64)))?;
    file.read_exact(&mut footer)?;
    let footer = root_as_footer(&footer).map_err(|_| wrong("footer"))?;
    let block =
        footer.recordBatches().and_then(|blocks| blocks.iter().next().copied()).ok_or_else(|| wrong("block"))?;
    let (start, length) = (block.offset().unsigned_abs(), block.metaDataLength().unsigned_abs());
    let mut message = vec![0; length as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut message)?;
    // A continuation marker and a length come first.
    let message = root_as_message(message.get(8..).unwrap_or(&[])).map_err(|_| wrong("message"))?;
    let buffers = message.header_as_record_batch().and_then(|batch| batch.buffers()).ok_or_else(|| wrong("batch"))?;
    let body = start + u64::from(length);
    Ok(buffers
        .iter()
        .map(|buffer| Span { offset: body + buffer.offset().unsigned_abs(), length: buffer.length().unsigned_abs() })
        .collect())
}

/// A writer that knows the checksum of what went through.
struct Hashing<W> {
    inner: W,
    hasher: XxHash3_64,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: XxHash3_64::with_seed(0), bytes: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.write(bytes.get(..n).unwrap_or(&[]));
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow_ipc::reader::FileReader;

    #[test]
    fn buffers_are_where_they_are_said_to_be() {
        let path = std::env::temp_dir().join(format!("signoise-store-{}.arrow", std::process::id()));
        let name = path.to_string_lossy().into_owned();
        let scores = [0.5, 0.25, 7.0, f64::NAN, 1.0, 0.1];
        let hits = [true, false, true, true, false, true];
        let columns = [
            Column { name: "loss", values: Cells::F64(&scores), there: None, dtype: Dtype::Auto },
            Column {
                name: "acc",
                values: Cells::Bool(&hits),
                there: Some(&[true, true, true, false, true, true]),
                dtype: Dtype::Auto,
            },
        ];
        let written = write_part(&name, &[4, 9], 3, &columns, &Interrupt::new()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let at = |span: Span| &bytes[span.offset as usize..(span.offset + span.length) as usize];
        assert_eq!((written.bytes, written.checksum), (bytes.len() as u64, XxHash3_64::oneshot(&bytes)));
        assert_eq!(at(written.checkpoints), [4, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!((written.columns[0].kind, written.columns[1].kind), (Kind::Float64, Kind::Bit));
        let raw: Vec<u8> = scores.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!((at(written.columns[0].values), written.columns[0].validity), (raw.as_slice(), None));
        assert_eq!(at(written.columns[1].values), [0b10_0101]);
        assert_eq!(at(written.columns[1].validity.unwrap()), [0b11_0111]);
        assert!(written.columns.iter().all(|column| column.values.offset % 64 == 0));
        let batches: Vec<_> = FileReader::try_new(File::open(&path).unwrap(), None).unwrap().collect();
        assert_eq!((batches.len(), batches[0].as_ref().unwrap().num_rows()), (1, 2));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn shapes_are_checked() {
        let column = Column { name: "acc", values: Cells::F32(&[1.0; 5]), there: None, dtype: Dtype::Auto };
        for (width, n) in [(3, 2), (0, 2)] {
            let found = write_part("/nowhere", &vec![0; n], width, &[column], &Interrupt::new());
            assert!(matches!(found, Err(Error::Core(_))), "{found:?}");
        }
    }
}
