//! Row groups of many files, opened, and the bytes of their needed columns read ahead.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::{Compression, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use rayon::prelude::*;

use super::library::guarded;
use super::pages::Pages;
use super::readers::side_by_side;
use super::units::{Piece, Unit, Units};
use crate::error::{Error, Result};

/// An open file and what its footer says.
struct Opened {
    name: String,
    file: Mutex<File>,
    length: u64,
    metadata: ParquetMetaData,
    /// Leaf column of each name asked for.
    leaves: HashMap<String, usize>,
}

/// One row group, with the bytes of the columns that were asked for.
pub(crate) struct RowGroup {
    file: Arc<Opened>,
    index: usize,
    pub(crate) rows: usize,
    pub(crate) unit: Unit,
    /// Leaf column, where its bytes begin in the file, and those.
    bytes: Vec<(usize, u64, Bytes)>,
}

/// A column chunk as it is written: two that are equal hold the same values.
#[derive(Clone, PartialEq)]
pub(crate) struct Written {
    pub(crate) bytes: Bytes,
    rows: usize,
    codec: Compression,
    kind: Type,
    levels: i16,
}

impl RowGroup {
    /// A row group of a file, nothing of it read; None where the file has none with this number.
    fn new(file: &Arc<Opened>, index: usize) -> Option<Self> {
        let metadata = file.metadata.row_groups().get(index)?;
        let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
        Some(Self { file: Arc::clone(file), index, rows, unit: Unit::default(), bytes: Vec::new() })
    }

    fn read(&mut self, part: &Part) -> Result<()> {
        let bytes = usize::try_from(part.end - part.start)
            .map_err(std::io::Error::other)
            .and_then(|length| read_range(&self.file.file, part.start, length))
            .map_err(|source| Error::Io { file: self.file.name.clone(), source })?;
        let of = |one: &Wanted| bytes.slice((one.start - part.start) as usize..(one.end - part.start) as usize);
        self.bytes.extend(part.chunks.iter().map(|one| (one.leaf, one.start, of(one))));
        Ok(())
    }

    pub(crate) fn damaged(&self, column: &str, reason: impl std::fmt::Display) -> Error {
        Error::Damaged {
            file: self.file.name.clone(),
            reason: format!("row group {}, column {column:?}: {reason}", self.index),
        }
    }

    pub(crate) fn unsupported(&self, column: &str, found: impl std::fmt::Display) -> Error {
        Error::Unsupported { file: self.file.name.clone(), column: column.to_owned(), found: found.to_string() }
    }

    /// Metadata of a column chunk.
    pub(crate) fn chunk(&self, column: &str) -> Result<&ColumnChunkMetaData> {
        let leaf = self.leaf(column)?;
        Ok(self.file.metadata.row_group(self.index).column(leaf))
    }

    fn leaf(&self, column: &str) -> Result<usize> {
        self.file.leaves.get(column).copied().ok_or_else(|| self.damaged(column, "the file has no such column"))
    }

    /// Pages of a column chunk; of the identity, possibly without its dictionary.
    pub(crate) fn pages<'g>(&'g self, column: &'g str, whole: bool) -> Result<Pages<'g>> {
        let leaf = self.leaf(column)?;
        let (start, length) = self.chunk(column)?.byte_range();
        let bytes = match self.ahead(leaf) {
            Some((first, bytes)) if first == start || !whole => Some(bytes),
            _ if whole => Some(
                usize::try_from(length)
                    .map_err(std::io::Error::other)
                    .and_then(|length| read_range(&self.file.file, start, length))
                    .map_err(|error| self.damaged(column, error))?,
            ),
            _ => None,
        };
        Pages::new(self, column, bytes)
    }

    /// Pages of a column chunk as the library reads them.
    pub(crate) fn library_pages(&self, column: &str) -> Result<SerializedPageReader<Chunk>> {
        let leaf = self.leaf(column)?;
        let chunk = Chunk { file: Arc::clone(&self.file), ahead: self.ahead(leaf) };
        SerializedPageReader::new(Arc::new(chunk), self.chunk(column)?, self.rows, None)
            .map_err(|error| self.damaged(column, error))
    }

    /// A column chunk as far as it was read ahead; None where nothing of it was, as its statistics tell all.
    pub(crate) fn written(&self, column: &str) -> Result<Option<Written>> {
        let Some((_, bytes)) = self.ahead(self.leaf(column)?) else { return Ok(None) };
        let chunk = self.chunk(column)?;
        let levels = chunk.column_descr().max_def_level();
        Ok(Some(Written { bytes, rows: self.rows, codec: chunk.compression(), kind: chunk.column_type(), levels }))
    }

    fn ahead(&self, leaf: usize) -> Option<(u64, Bytes)> {
        self.bytes.iter().find(|(at, _, _)| *at == leaf).map(|(_, start, bytes)| (*start, bytes.clone()))
    }

    pub(crate) fn fetched(&self) -> usize {
        self.bytes.iter().map(|(_, _, bytes)| bytes.len()).sum()
    }
}

/// Bytes of one column chunk: those read ahead, else from the file.
pub(crate) struct Chunk {
    file: Arc<Opened>,
    ahead: Option<(u64, Bytes)>,
}

impl Chunk {
    fn ahead(&self, start: u64, length: usize) -> Option<Bytes> {
        let (first, bytes) = self.ahead.as_ref()?;
        let from = usize::try_from(start.checked_sub(*first)?).ok()?;
        let to = from.checked_add(length)?;
        (to <= bytes.len()).then(|| bytes.slice(from..to))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.file.length
    }
}

/// Longest page header that is looked for at first; statistics of long strings stand in it.
const HEADER: u64 = 4096;

impl ChunkReader for Chunk {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        if let Some((first, bytes)) = &self.ahead
            && let Some(from) = start.checked_sub(*first).and_then(|from| usize::try_from(from).ok())
            && from < bytes.len()
        {
            return Ok(Box::new(Cursor::new(bytes.slice(from..))));
        }
        let length = HEADER.min(self.file.length.saturating_sub(start));
        let head = read_range(&self.file.file, start, length as usize)?;
        Ok(Box::new(Cursor::new(head).chain(Rest { file: Arc::clone(&self.file), at: start + length })))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match self.ahead(start, length) {
            Some(bytes) => Ok(bytes),
            None => Ok(read_range(&self.file.file, start, length)?),
        }
    }
}

/// What follows the first bytes of a header, read only if somebody asks.
struct Rest {
    file: Arc<Opened>,
    at: u64,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut file = self.file.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.at))?;
        let n = file.read(buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

fn read_range(file: &Mutex<File>, start: u64, length: usize) -> std::io::Result<Bytes> {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::with_capacity(length);
    // `take` rather than a filled buffer: a length that the file does not have costs no memory.
    (&mut *file).take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.into())
}

/// Which columns a scan needs, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needed {
    /// Columns that may be constant by their statistics: then no byte of them is read.
    pub(crate) keys: Vec<String>,
    pub(crate) values: Vec<String>,
    /// The dictionary of this one may stay unread.
    pub(crate) identity: Option<String>,
    /// Columns that must be constant.
    pub(crate) constant: Vec<String>,
}

/// A row group of which nothing is read yet.
pub(crate) struct Unread {
    group: RowGroup,
    parts: Vec<Part>,
}

impl Unread {
    pub(crate) const fn rows(&self) -> usize {
        self.group.rows
    }

    pub(crate) const fn unit(&self) -> Unit {
        self.group.unit
    }

    /// The row group with the bytes of the needed columns.
    pub(crate) fn read(mut self) -> Result<RowGroup> {
        for part in &self.parts {
            self.group.read(part)?;
        }
        Ok(self.group)
    }

    /// The same for row groups in the order of their files, several files at once.
    pub(crate) fn read_all(mut groups: Vec<Self>) -> Result<Vec<RowGroup>> {
        let mut files = Vec::new();
        while let Some(first) = groups.first() {
            let file = Arc::clone(&first.group.file);
            let end = groups.iter().position(|one| !Arc::ptr_eq(&one.group.file, &file)).unwrap_or(groups.len());
            let rest = groups.split_off(end);
            files.push(std::mem::replace(&mut groups, rest));
        }
        let mut read = Vec::new();
        for file in side_by_side(files, |file| file.into_iter().map(Self::read).collect::<Result<Vec<_>>>()) {
            read.append(&mut file?);
        }
        Ok(read)
    }
}

/// Iterator over the row groups of many files, in order.
pub(crate) struct RowGroups {
    pieces: std::vec::IntoIter<Piece>,
    needed: Needed,
    current: Option<Current>,
    units: Units,
    /// Leaf columns of the last file, which those of the next are likely to be.
    leaves: HashMap<String, usize>,
}

impl RowGroups {
    pub(crate) fn new(pieces: Vec<Piece>, needed: Needed) -> Self {
        let (units, leaves) = (Units::default(), HashMap::new());
        Self { pieces: pieces.into_iter(), needed, current: None, units, leaves }
    }

    /// The next row group; None at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Unread>> {
        loop {
            if self.current.is_none() {
                let Some(piece) = self.pieces.next() else { return Ok(None) };
                let opened = open(&piece.path, &self.needed, &self.leaves)?;
                self.leaves.clone_from(&opened.leaves);
                self.units.open();
                self.current = Some(Current { file: Arc::new(opened), index: 0, row: 0, rows: piece.rows });
            }
            let Some(current) = &mut self.current else { continue };
            let Some(mut group) = RowGroup::new(&current.file, current.index) else {
                self.current = None;
                continue;
            };
            let row = current.row;
            current.index += 1;
            current.row += group.rows as u64;
            if !current.rows.contains(&row) {
                continue;
            }
            group.unit = self.units.next(group.rows);
            let parts = self.needed.parts(&group)?;
            return Ok(Some(Unread { group, parts }));
        }
    }
}

/// The file that is being gone through.
struct Current {
    file: Arc<Opened>,
    index: usize,
    /// First row of the next row group.
    row: u64,
    /// Rows that are taken.
    rows: Range<u64>,
}

/// Open files whose row groups are read in any order, as often as wanted.
pub(crate) struct Files(Vec<Arc<Opened>>);

impl Files {
    /// Opens files; statistics are kept of `needed.keys` and `needed.constant`.
    pub(crate) fn open(paths: &[PathBuf], needed: &Needed) -> Result<Self> {
        paths.par_iter().map(|path| open(path, needed, &HashMap::new()).map(Arc::new)).collect::<Result<_>>().map(Self)
    }

    /// File, number in it and rows of every row group that has rows, in order.
    pub(crate) fn groups(&self) -> Vec<(usize, usize, usize)> {
        let of = |(at, file): (usize, &Arc<Opened>)| {
            let rows = |index| usize::try_from(file.metadata.row_group(index).num_rows()).unwrap_or(0);
            (0..file.metadata.num_row_groups()).map(|index| (at, index, rows(index))).collect::<Vec<_>>()
        };
        self.0.iter().enumerate().flat_map(of).filter(|&(_, _, rows)| rows > 0).collect()
    }

    /// A row group with the bytes of the needed columns; None where there is no such row group.
    pub(crate) fn read(&self, file: usize, index: usize, needed: &Needed) -> Result<Option<RowGroup>> {
        let Some(group) = self.0.get(file).and_then(|file| RowGroup::new(file, index)) else { return Ok(None) };
        let parts = needed.parts(&group)?;
        Unread { group, parts }.read().map(Some)
    }
}

impl Needed {
    /// Which parts of its file a row group needs.
    fn parts(&self, group: &RowGroup) -> Result<Vec<Part>> {
        for column in &self.constant {
            if super::column::constant(group, column)?.is_none() {
                return Err(group.unsupported(column, "several values"));
            }
        }
        let keys = self.keys.iter().map(|name| (name, true));
        let others = self.values.iter().chain(&self.identity).map(|name| (name, false));
        let mut wanted: Vec<Wanted> = Vec::new();
        for (column, is_key) in keys.chain(others) {
            let leaf = group.leaf(column)?;
            if wanted.iter().any(|one| one.leaf == leaf)
                || (is_key && super::column::constant(group, column)?.is_some())
            {
                continue;
            }
            let chunk = group.chunk(column)?;
            let (mut start, mut length) = chunk.byte_range();
            if self.identity.as_ref() == Some(column) {
                let pages = u64::try_from(chunk.data_page_offset()).unwrap_or(start);
                if pages > start && pages - start < length {
                    (start, length) = (pages, length - (pages - start));
                }
            }
            let end = start.checked_add(length).filter(|&end| end <= group.file.length);
            let end = end.ok_or_else(|| group.damaged(column, "it reaches beyond the end of the file"))?;
            wanted.push(Wanted { leaf, start, end });
        }
        wanted.sort_unstable_by_key(|one| one.start);
        let mut parts: Vec<Part> = Vec::new();
        for one in wanted {
            match parts.last_mut() {
                Some(part) if one.start <= part.end.saturating_add(NEAR) => {
                    part.end = part.end.max(one.end);
                    part.chunks.push(one);
                }
                _ => parts.push(Part { start: one.start, end: one.end, chunks: vec![one] }),
            }
        }
        Ok(parts)
    }
}

/// A part of a file that is read at once.
struct Part {
    start: u64,
    end: u64,
    chunks: Vec<Wanted>,
}

/// Bytes of one column chunk that are to be read.
struct Wanted {
    leaf: usize,
    start: u64,
    end: u64,
}

/// Bytes nobody asked for that are read all the same, rather than ask the disk twice.
const NEAR: u64 = 1 << 15;

/// Rows that any file may have, and for each of its bytes: constant columns take next to none, but memory is laid out by
/// rows, and a footer may claim any number of them.
const ROWS: u64 = 1 << 26;
const ROWS_PER_BYTE: u64 = 64;

fn check_claims(metadata: &ParquetMetaData, length: u64) -> std::result::Result<(), String> {
    let most = ROWS.max(length.saturating_mul(ROWS_PER_BYTE));
    let mut all = 0u64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let rows = u32::try_from(group.num_rows());
        let rows = rows.map_err(|_| format!("row group {index} claims {} rows", group.num_rows()))?;
        // The library panics at such places.
        let wrong = |chunk: &ColumnChunkMetaData| {
            let first = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            first < 0 || chunk.compressed_size() < 0
        };
        if group.columns().iter().any(wrong) {
            return Err(format!("row group {index} has columns at negative places"));
        }
        all = all.saturating_add(rows.into());
    }
    if all > most {
        return Err(format!("it claims {all} rows, and a file of {length} bytes is taken to have at most {most}"));
    }
    Ok(())
}

/// Opens a file; `likely` are the leaf columns it is likely to have.
fn open(path: &Path, needed: &Needed, likely: &HashMap<String, usize>) -> Result<Opened> {
    let name = path.display().to_string();
    let fail = |source| Error::Io { file: name.clone(), source };
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    // Statistics of the columns that are not asked for are most of a footer.
    let kept = |leaves: &HashMap<String, usize>| -> Vec<usize> {
        needed.keys.iter().chain(&needed.constant).filter_map(|column| leaves.get(column).copied()).collect()
    };
    let parse = |kept: &[usize]| {
        let statistics = match kept {
            [] => ParquetStatisticsPolicy::SkipAll,
            kept => ParquetStatisticsPolicy::skip_except(kept),
        };
        let options = ParquetMetaDataOptions::new()
            .with_column_stats_policy(statistics)
            .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let damaged = |reason: &str| Error::Damaged { file: name.clone(), reason: reason.to_owned() };
        let read = || {
            ParquetMetaDataReader::new()
                .with_metadata_options(Some(options))
                .parse_and_finish(&file)
                .map_err(|error: ParquetError| damaged(&error.to_string()))
        };
        guarded(read, damaged)
    };
    let guess = kept(likely);
    let mut metadata = parse(&guess)?;
    let leaves: HashMap<String, usize> = metadata
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .enumerate()
        .filter(|(_, column)| column.path().parts().len() == 1)
        .map(|(leaf, column)| (column.name().to_owned(), leaf))
        .collect();
    let right = kept(&leaves);
    if right != guess {
        metadata = parse(&right)?;
    }
    check_claims(&metadata, length).map_err(|reason| Error::Damaged { file: name.clone(), reason })?;
    Ok(Opened { name, file: Mutex::new(file), length, metadata, leaves })
}
