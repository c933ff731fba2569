//! Text files as plain bytes: gzip and zstd are told by their first bytes, a byte-order mark is removed.
//!
//! Several gzip members or zstd frames one after the other are one text. Memory is bounded by the decoder's window.
//! A damaged stream yields what was sound and then an error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// Compressed bytes are taken from the file in pieces of this size.
const COMPRESSED_BLOCK: usize = 1 << 16;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a file is packed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not packed.
    Plain,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Packing {
    /// The packing that a file with these first bytes has.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50 => Self::Zstd, // a skippable frame
            _ => Self::Plain,
        }
    }
}

/// The text of a file, from its first byte after a byte-order mark.
pub struct Text {
    /// How the file was packed.
    pub packing: Packing,
    source: Box<dyn Read + Send>,
}

impl Text {
    /// Opens a file.
    ///
    /// # Errors
    /// What the system says where the file cannot be opened, or what is wrong with its first compressed bytes.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let head = first_bytes(&mut file, 4)?;
        let packing = Packing::of(&head);
        let whole = Cursor::new(head).chain(file);
        let source: Box<dyn Read + Send> = match packing {
            Packing::Plain => Box::new(whole),
            Packing::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_BLOCK, whole)))
            }
            Packing::Zstd => {
                Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(COMPRESSED_BLOCK, whole))?)
            }
        };
        Ok(Self { packing, source: unmarked(source)? })
    }

    /// Opens plain text from byte `start` to byte `end`. A byte-order mark at its start is removed.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_between(path: &Path, start: u64, end: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let source: Box<dyn Read + Send> = Box::new(file.take(end.saturating_sub(start)));
        let source = if start == 0 { unmarked(source)? } else { source };
        Ok(Self { packing: Packing::Plain, source })
    }
}

/// Where to cut a plain file of lines: from cut to cut there are at least `size` bytes of whole lines. Without cuts if it
/// is shorter, packed, or no file of lines that begin with `{`.
///
/// # Errors
/// What the system says.
pub fn cuts(path: &Path, size: u64) -> io::Result<Vec<u64>> {
    let about = std::fs::metadata(path)?;
    let length = about.len();
    if !about.is_file() || size == 0 || length / 2 < size {
        return Ok(Vec::new());
    }
    let mut file = File::open(path)?;
    let head = first_bytes(&mut file, COMPRESSED_BLOCK)?;
    let body = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&head);
    if Packing::of(&head) != Packing::Plain || body.trim_ascii_start().first() != Some(&b'{') {
        return Ok(Vec::new());
    }
    let mut cuts = Vec::new();
    let mut last = 0;
    while last + size < length {
        file.seek(SeekFrom::Start(last + size - 1))?;
        let mut rest = BufReader::new(&mut file);
        last += size - 1 + rest.skip_until(b'\n')? as u64;
        if last < length {
            cuts.push(last);
        }
    }
    Ok(cuts)
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer)
    }
}

/// A text without its byte-order mark.
fn unmarked(mut source: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut start = first_bytes(&mut source, BYTE_ORDER_MARK.len())?;
    if start == BYTE_ORDER_MARK {
        start.clear();
    }
    Ok(Box::new(Cursor::new(start).chain(source)))
}

/// Up to `count` bytes, fewer only at the end.
fn first_bytes(source: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    source.by_ref().take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
