//! Pages of a column chunk, decompressed into one buffer that is used again and again.
//!
//! The library's page reader makes a decompressor for each chunk and a buffer for each page, which for row groups of
//! a few thousand rows costs more than the decoding. Chunks of the usual codecs are read here; others go through it.

use std::cell::RefCell;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageReader};
use parquet::file::serialized_reader::SerializedPageReader;

use super::fetch::{Chunk, RowGroup};
use super::library::guarded;
use super::thrift::{FALSE, INT, STRUCT, TRUE, Thrift};
use crate::error::Result;

/// A page of a flat column.
pub(crate) struct PageView<'a> {
    pub(crate) is_dictionary: bool,
    pub(crate) num_values: usize,
    pub(crate) encoding: Encoding,
    /// Definition levels of a data page of an optional column.
    pub(crate) levels: Option<&'a [u8]>,
    pub(crate) values: &'a [u8],
}

/// A page header as far as it is needed.
#[derive(Default, Clone, Copy)]
struct Header {
    kind: i64,
    uncompressed: usize,
    compressed: usize,
    values: usize,
    encoding: i64,
    /// Version 2: lengths of the levels, which are not compressed.
    definition: usize,
    repetition: usize,
    is_compressed: bool,
}

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

/// No page is larger: the rest of its header cannot be trusted either.
const LARGEST: usize = 1 << 30;

/// Bytes that come out of one byte of Snappy, at most: a copy takes three bytes and gives 64.
const SNAPPY_GROWTH: usize = 22;

/// Pages of a column chunk, one after the other.
pub(crate) enum Pages<'g> {
    Own { group: &'g RowGroup, column: &'g str, bytes: Bytes, at: usize, codec: Compression, optional: bool },
    Library { group: &'g RowGroup, column: &'g str, reader: Box<SerializedPageReader<Chunk>>, optional: bool },
}

struct Scratch {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    page: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { zstd: None, page: Vec::new() }) };
}

impl<'g> Pages<'g> {
    /// `from` = first byte of the chunk in the file, `bytes` = the chunk from there.
    pub(crate) fn new(group: &'g RowGroup, column: &'g str, bytes: Option<Bytes>) -> Result<Self> {
        let chunk = group.chunk(column)?;
        let optional = chunk.column_descr().max_def_level() > 0;
        match (chunk.compression(), bytes) {
            (codec @ (Compression::UNCOMPRESSED | Compression::ZSTD(_) | Compression::SNAPPY), Some(bytes)) => {
                Ok(Self::Own { group, column, bytes, at: 0, codec, optional })
            }
            _ => Ok(Self::Library { group, column, reader: Box::new(group.library_pages(column)?), optional }),
        }
    }

    /// Hands the next page to `take`; None at the end.
    pub(crate) fn next<T>(&mut self, take: impl FnOnce(PageView<'_>) -> Result<T>) -> Result<Option<T>> {
        match self {
            Self::Own { group, column, bytes, at, codec, optional } => {
                let damaged = |reason: &str| group.damaged(column, reason);
                let rest = bytes.get(*at..).unwrap_or_default();
                if rest.is_empty() {
                    return Ok(None);
                }
                let (header, size) = header(rest).ok_or_else(|| damaged("a page header is damaged"))?;
                let body = rest.get(size..size + header.compressed).ok_or_else(|| damaged("a page is cut"))?;
                *at += size + header.compressed;
                SCRATCH.with_borrow_mut(|scratch| {
                    let view = view(&header, body, *codec, *optional, scratch)
                        .ok_or_else(|| damaged("a page cannot be decompressed"))?;
                    take(view).map(Some)
                })
            }
            Self::Library { group, column, reader, optional } => {
                let next = || reader.get_next_page().map_err(|error| group.damaged(column, error));
                let Some(page) = guarded(next, |reason| group.damaged(column, reason))? else { return Ok(None) };
                let (levels, values) = split(&page, *optional).ok_or_else(|| group.damaged(column, "a page is cut"))?;
                let view = PageView {
                    is_dictionary: matches!(page, Page::DictionaryPage { .. }),
                    num_values: page.num_values() as usize,
                    encoding: page.encoding(),
                    levels,
                    values,
                };
                take(view).map(Some)
            }
        }
    }

    /// Whether the first page is a dictionary of at most so many values, as far as its header tells.
    pub(crate) fn begins_with_dictionary(&self, most: usize) -> bool {
        match self {
            Self::Own { bytes, at, .. } => bytes
                .get(*at..)
                .and_then(header)
                .is_some_and(|(header, _)| header.kind == DICTIONARY && header.values <= most),
            Self::Library { .. } => false,
        }
    }

    /// Passes over a dictionary without decompressing it; the bytes may begin behind it already.
    pub(crate) fn skip_dictionary(&mut self) -> Result<()> {
        match self {
            Self::Own { group, column, bytes, at, .. } => {
                let rest = bytes.get(*at..).unwrap_or_default();
                if let Some((header, size)) = header(rest)
                    && header.kind == DICTIONARY
                {
                    *at += size + header.compressed;
                }
                if *at > bytes.len() {
                    return Err(group.damaged(column, "a page is cut"));
                }
                Ok(())
            }
            Self::Library { group, column, reader, .. } => {
                let damaged = |error| group.damaged(column, error);
                let skip = || {
                    if reader.peek_next_page().map_err(damaged)?.is_some_and(|first| first.is_dict) {
                        reader.skip_next_page().map_err(damaged)?;
                    }
                    Ok(())
                };
                guarded(skip, |reason| group.damaged(column, reason))
            }
        }
    }
}

fn view<'a>(
    header: &Header,
    body: &'a [u8],
    codec: Compression,
    optional: bool,
    scratch: &'a mut Scratch,
) -> Option<PageView<'a>> {
    let is_dictionary = header.kind == DICTIONARY;
    let levels_size = if header.kind == DATA_V2 { header.definition.checked_add(header.repetition)? } else { 0 };
    let (levels, packed) = body.split_at_checked(levels_size)?;
    let size = header.uncompressed.checked_sub(levels_size)?;
    let bytes: &'a [u8] = if !header.is_compressed || codec == Compression::UNCOMPRESSED || packed.is_empty() {
        packed
    } else {
        let Scratch { zstd, page } = scratch;
        page.clear();
        // Sizes are claims: too large a one is an error here, and must not end the process.
        page.try_reserve(size).ok()?;
        if matches!(codec, Compression::SNAPPY) {
            if size / SNAPPY_GROWTH > packed.len() {
                return None;
            }
            page.resize(size, 0);
            let n = snap::raw::Decoder::new().decompress(packed, page).ok()?;
            page.truncate(n);
        } else {
            if zstd.is_none() {
                *zstd = Some(zstd::bulk::Decompressor::new().ok()?);
            }
            zstd.as_mut()?.decompress_to_buffer(packed, page).ok()?;
        }
        page
    };
    let (levels, values) = match header.kind {
        DICTIONARY => (None, bytes),
        DATA_V2 => (optional.then_some(levels.get(header.repetition..)?), bytes),
        _ if optional => {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let (levels, values) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            (Some(levels), values)
        }
        _ => (None, bytes),
    };
    let encoding = match header.encoding {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        8 => Encoding::RLE_DICTIONARY,
        // Any other one: the callers hand it to the library.
        _ => Encoding::BYTE_STREAM_SPLIT,
    };
    Some(PageView { is_dictionary, num_values: header.values, encoding, levels, values })
}

/// Definition levels and values of a page that the library read; None where it is cut.
fn split(page: &Page, optional: bool) -> Option<(Option<&[u8]>, &[u8])> {
    match page {
        Page::DataPage { buf, def_level_encoding, .. } => {
            if !optional {
                return Some((None, buf));
            }
            if *def_level_encoding != Encoding::RLE {
                return None;
            }
            let (length, rest) = buf.split_first_chunk::<4>()?;
            let (levels, values) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            Some((Some(levels), values))
        }
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let (_, rest) = buf.split_at_checked(*rep_levels_byte_len as usize)?;
            let (levels, values) = rest.split_at_checked(*def_levels_byte_len as usize)?;
            Some((optional.then_some(levels), values))
        }
        Page::DictionaryPage { buf, .. } => Some((None, buf)),
    }
}

/// A page header (Thrift, compact protocol) and its length.
fn header(bytes: &[u8]) -> Option<(Header, usize)> {
    let mut reader = Thrift::new(bytes);
    let mut header = Header { is_compressed: true, kind: -1, ..Header::default() };
    let mut id = 0;
    while let Some(field) = reader.field(&mut id)? {
        match (id, field) {
            (1, INT) => header.kind = reader.int()?,
            (2, INT) => header.uncompressed = reader.size()?,
            (3, INT) => header.compressed = reader.size()?,
            (5 | 7, STRUCT) => {
                let mut inner = 0;
                while let Some(field) = reader.field(&mut inner)? {
                    match (inner, field) {
                        (1, INT) => header.values = reader.size()?,
                        (2, INT) => header.encoding = reader.int()?,
                        _ => reader.skip(field, 0)?,
                    }
                }
            }
            (8, STRUCT) => {
                let mut inner = 0;
                while let Some(field) = reader.field(&mut inner)? {
                    match (inner, field) {
                        (1, INT) => header.values = reader.size()?,
                        (4, INT) => header.encoding = reader.int()?,
                        (5, INT) => header.definition = reader.size()?,
                        (6, INT) => header.repetition = reader.size()?,
                        (7, TRUE | FALSE) => header.is_compressed = field == TRUE,
                        _ => reader.skip(field, 0)?,
                    }
                }
            }
            _ => reader.skip(field, 0)?,
        }
    }
    let sound = matches!(header.kind, DATA | DICTIONARY | DATA_V2)
        && header.uncompressed <= LARGEST
        && header.compressed <= LARGEST;
    sound.then_some((header, reader.at()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn damaged_headers_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some((header, size)) = header(&bytes) {
                prop_assert!(size <= bytes.len() && header.compressed <= LARGEST);
            }
        }
    }
}
