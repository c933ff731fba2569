//! Key columns: a small dictionary of labels, and codes that point into it, as runs while runs pay.

use parquet::basic::{ConvertedType, Encoding, LogicalType, Type};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::file::statistics::Statistics;
use serde::{Deserialize, Serialize};

use super::fetch::RowGroup;
use super::hybrid::{Sink, decode};
use super::library::read_rows;
use super::values::Levels;
use crate::error::Result;

/// A value of a key column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Label {
    /// Missing.
    Null,
    /// Whole number or truth value.
    Int(i64),
    /// Real number, ordered by its bits.
    Real(u64),
    /// Text.
    Text(Box<str>),
}

/// Codes of a key column in one row group.
#[derive(Debug)]
pub(crate) enum Codes {
    /// (length, code), neighbours differ.
    Runs(Vec<(u32, u32)>),
    /// One a row.
    Dense(Vec<u32>),
}

/// A key column of one row group.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) labels: Vec<Label>,
    pub(crate) codes: Codes,
}

/// The one label of a column chunk, where its statistics prove that there is no other.
pub(crate) fn constant(group: &RowGroup, column: &str) -> Result<Option<Label>> {
    let chunk = group.chunk(column)?;
    let Some(statistics) = chunk.statistics() else { return Ok(None) };
    let optional = chunk.column_descr().max_def_level() > 0;
    match statistics.null_count_opt() {
        Some(0) => {}
        Some(nulls) if optional && nulls == group.rows as u64 => return Ok(Some(Label::Null)),
        None if !optional => {}
        _ => return Ok(None),
    }
    // A bound that was cut short differs from its partner, so equal bounds are exact ones.
    Ok(match statistics {
        Statistics::Boolean(s) if s.min_opt().is_some() && s.min_opt() == s.max_opt() => {
            s.min_opt().map(|x| Label::Int(i64::from(*x)))
        }
        Statistics::Int32(s) if s.min_opt().is_some() && s.min_opt() == s.max_opt() => {
            s.min_opt().map(|x| Label::Int(i64::from(*x)))
        }
        Statistics::Int64(s) if s.min_opt().is_some() && s.min_opt() == s.max_opt() => {
            s.min_opt().map(|x| Label::Int(*x))
        }
        Statistics::ByteArray(s) if s.min_bytes_opt().is_some() && s.min_bytes_opt() == s.max_bytes_opt() => {
            s.min_opt().and_then(|x| text(x.data()))
        }
        // Bounds of floats know neither NaN nor the sign of zero.
        _ => None,
    })
}

/// Whether the statistics of a column chunk prove that it has two values.
pub(crate) fn differs(group: &RowGroup, column: &str) -> Result<bool> {
    Ok(match group.chunk(column)?.statistics() {
        Some(Statistics::Int32(s)) => s.min_opt() < s.max_opt() && s.min_opt().is_some(),
        Some(Statistics::Int64(s)) => s.min_opt() < s.max_opt() && s.min_opt().is_some(),
        Some(Statistics::Float(s)) => s.min_opt() < s.max_opt() && s.min_opt().is_some(),
        Some(Statistics::Double(s)) => s.min_opt() < s.max_opt() && s.min_opt().is_some(),
        // Bounds that were cut may differ though the values do not.
        Some(Statistics::ByteArray(s)) => {
            s.min_is_exact()
                && s.max_is_exact()
                && s.min_bytes_opt().is_some()
                && s.min_bytes_opt() != s.max_bytes_opt()
        }
        _ => false,
    })
}

fn text(bytes: &[u8]) -> Option<Label> {
    simdutf8::basic::from_utf8(bytes).ok().map(|text| Label::Text(text.into()))
}

fn real(x: f64) -> Label {
    Label::Real(if x.is_nan() { f64::NAN.to_bits() } else { (x + 0.0).to_bits() })
}

/// Whether the values of a column mean what their physical type says.
fn plain_meaning(group: &RowGroup, column: &str) -> Result<()> {
    let chunk = group.chunk(column)?;
    let descr = chunk.column_descr();
    let sound = match (descr.physical_type(), descr.logical_type_ref(), descr.converted_type()) {
        (Type::BOOLEAN | Type::FLOAT | Type::DOUBLE, _, _) => true,
        (Type::INT32 | Type::INT64, None, ConvertedType::NONE) => true,
        (Type::INT32 | Type::INT64, Some(LogicalType::Integer(int)), _) => int.is_signed,
        (Type::INT32 | Type::INT64, None, converted) => matches!(
            converted,
            ConvertedType::INT_8 | ConvertedType::INT_16 | ConvertedType::INT_32 | ConvertedType::INT_64
        ),
        (Type::BYTE_ARRAY, logical, converted) => {
            matches!(logical, None | Some(LogicalType::String | LogicalType::Enum))
                && matches!(converted, ConvertedType::NONE | ConvertedType::UTF8 | ConvertedType::ENUM)
        }
        _ => false,
    };
    if sound && descr.max_rep_level() == 0 && descr.max_def_level() <= 1 {
        Ok(())
    } else {
        Err(group.unsupported(column, format!("{:?}", descr.physical_type())))
    }
}

/// Labels and codes of a key column.
///
/// # Errors
/// A damaged chunk, or a type that is no key.
pub(crate) fn read_keys(group: &RowGroup, column: &str) -> Result<Keys> {
    if let Some(label) = constant(group, column)? {
        return Ok(Keys { labels: vec![label], codes: Codes::Runs(vec![(group.rows as u32, 0)]) });
    }
    plain_meaning(group, column)?;
    match read_dictionary(group, column)? {
        Some(keys) => Ok(keys),
        None => read_plain(group, column),
    }
}

/// The fast way, for chunks whose pages are all dictionary codes; None for others.
fn read_dictionary(group: &RowGroup, column: &str) -> Result<Option<Keys>> {
    let damaged = |reason: &str| group.damaged(column, reason);
    let physical = group.chunk(column)?.column_type();
    let mut pages = group.pages(column, true)?;
    let mut labels = Vec::new();
    let mut sink = RunSink::new(group.rows);
    let mut foreign = false;
    while !foreign {
        let page = pages.next(|page| {
            let n = page.num_values;
            if page.is_dictionary {
                foreign = !matches!(page.encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY);
                if !foreign {
                    labels =
                        dictionary(physical, page.values, n).ok_or_else(|| damaged("its dictionary is damaged"))?;
                }
                return Ok(());
            }
            if !matches!(page.encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY) {
                foreign = true;
                return Ok(());
            }
            if n > group.rows - sink.rows {
                return Err(damaged("it has more values than the row group has rows"));
            }
            let missing = page.levels.map(Levels).filter(|levels| !levels.all_valid(n));
            // A page without a single value may lack the width as well.
            let (&width, packed) = page
                .values
                .split_first()
                .or_else(|| missing.is_some().then_some((&0, &[])))
                .ok_or_else(|| damaged("a page is empty"))?;
            let decoded = match missing {
                None => decode(packed, u32::from(width), n, &mut sink),
                Some(levels) => {
                    let valid = levels.expand(n).ok_or_else(|| damaged("its levels are damaged"))?;
                    let mut present = RunSink::new(n);
                    let there = valid.iter().filter(|&&valid| valid).count();
                    decode(packed, u32::from(width), there, &mut present).map(|()| {
                        let codes = present.dense();
                        let mut next = codes.iter();
                        for valid in valid {
                            let code = if valid { next.next().copied().unwrap_or(u32::MAX) } else { u32::MAX };
                            sink.run(code, 1);
                        }
                    })
                }
            };
            decoded.ok_or_else(|| damaged("a page of codes is damaged"))
        })?;
        if page.is_none() {
            break;
        }
    }
    if foreign {
        return Ok(None);
    }
    if sink.rows != group.rows {
        return Err(damaged("it has fewer values than the row group has rows"));
    }
    let mut codes = sink.codes;
    let known = labels.len() as u32;
    let largest = match &codes {
        Codes::Runs(runs) => runs.iter().fold(0, |largest, (_, code)| largest.max(*code)),
        Codes::Dense(dense) => dense.iter().fold(0, |largest, code| largest.max(*code)),
    };
    let nulls = largest == u32::MAX;
    if nulls {
        let name = |code: &mut u32| *code = if *code == u32::MAX { known } else { *code };
        match &mut codes {
            Codes::Runs(runs) => runs.iter_mut().for_each(|(_, code)| name(code)),
            Codes::Dense(dense) => dense.iter_mut().for_each(name),
        }
    }
    let sound = |code: u32| code < known || nulls && code == known;
    let all_sound = match &codes {
        _ if largest < known => true,
        Codes::Runs(runs) => runs.iter().all(|(_, code)| sound(*code)),
        Codes::Dense(dense) => dense.iter().all(|code| sound(*code)),
    };
    if !all_sound {
        return Err(damaged("a code points outside its dictionary"));
    }
    if nulls {
        labels.push(Label::Null);
    }
    Ok(Some(Keys { labels, codes }))
}

fn dictionary(physical: Type, bytes: &[u8], n: usize) -> Option<Vec<Label>> {
    let mut labels = Vec::with_capacity(n.min(bytes.len()));
    match physical {
        Type::BYTE_ARRAY => {
            let mut rest = bytes;
            for _ in 0..n {
                let (length, after) = rest.split_first_chunk::<4>()?;
                let length = u32::from_le_bytes(*length) as usize;
                labels.push(text(after.get(..length)?)?);
                rest = after.get(length..)?;
            }
        }
        Type::INT32 => labels
            .extend(bytes.as_chunks::<4>().0.iter().take(n).map(|x| Label::Int(i64::from(i32::from_le_bytes(*x))))),
        Type::INT64 => {
            labels.extend(bytes.as_chunks::<8>().0.iter().take(n).map(|x| Label::Int(i64::from_le_bytes(*x))))
        }
        Type::FLOAT => {
            labels.extend(bytes.as_chunks::<4>().0.iter().take(n).map(|x| real(f64::from(f32::from_le_bytes(*x)))))
        }
        Type::DOUBLE => labels.extend(bytes.as_chunks::<8>().0.iter().take(n).map(|x| real(f64::from_le_bytes(*x)))),
        _ => return None,
    }
    (labels.len() == n).then_some(labels)
}

/// The general way, any encoding: the library decodes, we number the values.
fn read_plain(group: &RowGroup, column: &str) -> Result<Keys> {
    let chunk = group.chunk(column)?;
    let null = Some(Label::Null);
    let rows = match get_column_reader(chunk.column_descr_ptr(), Box::new(group.library_pages(column)?)) {
        ColumnReader::BoolColumnReader(reader) => {
            read_rows(group, column, reader, &null, |x| Some(Label::Int(i64::from(*x))))
        }
        ColumnReader::Int32ColumnReader(reader) => {
            read_rows(group, column, reader, &null, |x| Some(Label::Int(i64::from(*x))))
        }
        ColumnReader::Int64ColumnReader(reader) => read_rows(group, column, reader, &null, |x| Some(Label::Int(*x))),
        ColumnReader::FloatColumnReader(reader) => {
            read_rows(group, column, reader, &null, |x| Some(real(f64::from(*x))))
        }
        ColumnReader::DoubleColumnReader(reader) => read_rows(group, column, reader, &null, |x| Some(real(*x))),
        ColumnReader::ByteArrayColumnReader(reader) => read_rows(group, column, reader, &null, |x| text(x.data())),
        _ => return Err(group.unsupported(column, "this type")),
    }?;
    let mut numbers = std::collections::HashMap::new();
    let mut labels = Vec::new();
    let mut sink = RunSink::new(group.rows);
    for label in rows {
        let label = label.ok_or_else(|| group.damaged(column, "a text is not UTF-8"))?;
        let code = *numbers.entry(label).or_insert_with_key(|label| {
            labels.push(label.clone());
            labels.len() as u32 - 1
        });
        sink.run(code, 1);
    }
    Ok(Keys { labels, codes: sink.codes })
}

/// Collects codes as runs, and row by row once runs are short.
struct RunSink {
    codes: Codes,
    rows: usize,
    expected: usize,
}

impl RunSink {
    fn new(expected: usize) -> Self {
        Self { codes: Codes::Runs(Vec::new()), rows: 0, expected }
    }

    /// Runs of fewer rows than this on average cost more than rows.
    const SHORTEST: usize = 16;

    fn spread(&mut self) {
        if let Codes::Runs(runs) = &self.codes {
            let mut dense = Vec::with_capacity(self.expected.max(self.rows));
            for &(length, code) in runs {
                dense.extend(std::iter::repeat_n(code, length as usize));
            }
            self.codes = Codes::Dense(dense);
        }
    }

    fn dense(mut self) -> Vec<u32> {
        self.spread();
        match self.codes {
            Codes::Dense(dense) => dense,
            Codes::Runs(_) => Vec::new(),
        }
    }
}

impl Sink for RunSink {
    fn run(&mut self, code: u32, length: usize) {
        match &mut self.codes {
            Codes::Dense(dense) => dense.extend(std::iter::repeat_n(code, length)),
            Codes::Runs(runs) => match runs.last_mut() {
                Some((so_far, last)) if *last == code => *so_far += length as u32,
                _ => runs.push((length as u32, code)),
            },
        }
        self.rows += length;
    }

    fn codes(&mut self, codes: &[u32]) {
        match &mut self.codes {
            Codes::Dense(dense) => {
                dense.extend_from_slice(codes);
                self.rows += codes.len();
            }
            Codes::Runs(_) => {
                for &code in codes {
                    self.run(code, 1);
                }
                if let Codes::Runs(runs) = &self.codes
                    && runs.len() * Self::SHORTEST > self.rows + 4096
                {
                    self.spread();
                }
            }
        }
    }
}
