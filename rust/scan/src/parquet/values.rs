//! Score columns as floats, and what identifies an instance as a hash.

use std::cell::RefCell;

use parquet::basic::{ConvertedType, Encoding, LogicalType, Type};
use parquet::column::reader::{ColumnReader, get_column_reader};

use super::bits::Bits;
use super::fetch::RowGroup;
use super::hybrid::{Sink, decode};
use super::library::read_rows;
use crate::error::Result;

/// A missing score: a NaN that no arithmetic makes. Scores read beside missing ones have their own NaN made the usual
/// one, so that the two stay apart.
pub(crate) const NULL: u64 = 0x7ff8_6e75_6c6c_0001;

/// Definition levels of a page of a flat column.
pub(crate) struct Levels<'a>(pub(crate) &'a [u8]);

impl Levels<'_> {
    /// Whether the levels are one run of "present".
    pub(crate) fn all_valid(&self, n: usize) -> bool {
        let mut all = AllOnes(true);
        decode(self.0, 1, n, &mut all).is_some() && all.0
    }

    pub(crate) fn expand(&self, n: usize) -> Option<Vec<bool>> {
        let mut valid = Valid(Vec::with_capacity(n));
        decode(self.0, 1, n, &mut valid)?;
        Some(valid.0)
    }
}

struct AllOnes(bool);

impl Sink for AllOnes {
    fn run(&mut self, code: u32, _: usize) {
        self.0 &= code == 1;
    }
    fn codes(&mut self, codes: &[u32]) {
        self.0 &= codes.iter().all(|&code| code == 1);
    }
}

struct Valid(Vec<bool>);

impl Sink for Valid {
    fn run(&mut self, code: u32, length: usize) {
        self.0.extend(std::iter::repeat_n(code == 1, length));
    }
    fn codes(&mut self, codes: &[u32]) {
        self.0.extend(codes.iter().map(|&code| code == 1));
    }
}

/// Buffers that a thread uses again and again: fresh ones cost as much as the decoding.
#[derive(Default)]
struct Scratch {
    dictionary: Vec<f64>,
    page: Vec<f64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { dictionary: Vec::new(), page: Vec::new() }) };
}

/// Scores of a column, `NULL` where one is missing, handed to `take` page by page.
///
/// # Errors
/// A damaged chunk, or a type that is no score.
pub(crate) fn read_values(group: &RowGroup, column: &str, take: &mut impl FnMut(&[f64])) -> Result<()> {
    let mut page = SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.page));
    page.clear();
    let done = read_pages(group, column, &mut page, &mut |page| {
        take(page);
        page.clear();
    });
    SCRATCH.with_borrow_mut(|scratch| scratch.page = page);
    done
}

/// Scores of a column, `NULL` where one is missing, appended to `out`.
///
/// # Errors
/// A damaged chunk, or a type that is no score.
pub(crate) fn read_all_values(group: &RowGroup, column: &str, out: &mut Vec<f64>) -> Result<()> {
    out.reserve(group.rows);
    read_pages(group, column, out, &mut |_| {})
}

fn read_pages(group: &RowGroup, column: &str, out: &mut Vec<f64>, after: &mut impl FnMut(&mut Vec<f64>)) -> Result<()> {
    plain_score(group, column)?;
    let mut dictionary = SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.dictionary));
    dictionary.clear();
    let left = read_fast(group, column, &mut dictionary, out, after);
    SCRATCH.with_borrow_mut(|scratch| scratch.dictionary = dictionary);
    match left? {
        0 => Ok(()),
        // Another encoding: the library decodes what is left.
        left => {
            let values = read_any(group, column)?;
            out.extend_from_slice(values.get(group.rows - left..).unwrap_or_default());
            after(out);
            Ok(())
        }
    }
}

/// Whether the values of a column are numbers, one a row.
fn plain_score(group: &RowGroup, column: &str) -> Result<()> {
    let descr = group.chunk(column)?.column_descr();
    let meant = match (descr.physical_type(), descr.logical_type_ref(), descr.converted_type()) {
        (Type::BOOLEAN, _, _) => true,
        (Type::FLOAT | Type::DOUBLE, None, _) => true,
        (Type::INT32 | Type::INT64, None, ConvertedType::NONE) => true,
        (Type::INT32 | Type::INT64, Some(LogicalType::Integer(int)), _) => int.is_signed,
        _ => false,
    };
    if !meant || descr.max_rep_level() > 0 || descr.max_def_level() > 1 {
        return Err(group.unsupported(column, format!("{:?}", descr.physical_type())));
    }
    Ok(())
}

/// Plain and dictionary pages, up to the first of another encoding; how many rows are left.
fn read_fast(
    group: &RowGroup,
    column: &str,
    dictionary: &mut Vec<f64>,
    out: &mut Vec<f64>,
    after: &mut impl FnMut(&mut Vec<f64>),
) -> Result<usize> {
    let damaged = |reason: &str| group.damaged(column, reason);
    let physical = group.chunk(column)?.column_type();
    let mut pages = group.pages(column, true)?;
    let mut left = group.rows;
    let mut foreign = false;
    while !foreign {
        let page = pages.next(|page| {
            let n = page.num_values;
            if page.is_dictionary {
                if matches!(page.encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY) {
                    return plain(physical, page.values, n, dictionary)
                        .ok_or_else(|| damaged("its dictionary is damaged"));
                }
                foreign = true;
                return Ok(());
            }
            if n > left {
                return Err(damaged("it has more values than the row group has rows"));
            }
            let valid = match page.levels.map(Levels).filter(|levels| !levels.all_valid(n)) {
                Some(levels) => Some(levels.expand(n).ok_or_else(|| damaged("its levels are damaged"))?),
                None => None,
            };
            let there = valid.as_ref().map_or(n, |valid| valid.iter().filter(|&&valid| valid).count());
            let start = out.len();
            match page.encoding {
                Encoding::PLAIN => plain(physical, page.values, there, out),
                _ if there == 0 => Some(()),
                Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                    let (&width, packed) = page.values.split_first().ok_or_else(|| damaged("a page is empty"))?;
                    let mut gather = Gather { dictionary, out, sound: true };
                    let done = decode(packed, u32::from(width), there, &mut gather);
                    done.filter(|()| gather.sound)
                }
                _ => {
                    foreign = true;
                    return Ok(());
                }
            }
            .ok_or_else(|| damaged("a page of values is damaged"))?;
            if let Some(valid) = valid {
                let present: Vec<f64> = out.drain(start..).collect();
                let mut present = present.into_iter().map(|x| if x.is_nan() { f64::NAN } else { x });
                out.extend(valid.iter().map(|&valid| {
                    if valid { present.next().unwrap_or(f64::from_bits(NULL)) } else { f64::from_bits(NULL) }
                }));
            }
            left -= n;
            after(out);
            Ok(())
        })?;
        if page.is_none() {
            break;
        }
    }
    if left == 0 || foreign { Ok(left) } else { Err(damaged("it has fewer values than the row group has rows")) }
}

/// Scores that are 0 or 1, a bit for each row; None where the column holds anything else.
///
/// Such a column is told by its dictionary, before anything of it is decoded.
///
/// # Errors
/// A damaged chunk, or a type that is no score.
pub(crate) fn read_bits(group: &RowGroup, column: &str) -> Result<Option<Bits>> {
    plain_score(group, column)?;
    let damaged = |reason: &str| group.damaged(column, reason);
    let physical = group.chunk(column)?.column_type();
    let mut pages = group.pages(column, true)?;
    if !pages.begins_with_dictionary(2) {
        return Ok(None);
    }
    let mut dictionary = Vec::new();
    let mut bits = Bits::with_capacity(group.rows);
    loop {
        let page = pages.next(|page| {
            let n = page.num_values;
            if page.is_dictionary {
                plain(physical, page.values, n, &mut dictionary).ok_or_else(|| damaged("its dictionary is damaged"))?;
                return Ok(dictionary.iter().all(|x| [0, 1.0_f64.to_bits()].contains(&x.to_bits())));
            }
            if !matches!(page.encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY)
                || page.levels.map(Levels).is_some_and(|levels| !levels.all_valid(n))
            {
                return Ok(false);
            }
            if n > group.rows - bits.len() {
                return Err(damaged("it has more values than the row group has rows"));
            }
            let (&width, packed) = page.values.split_first().ok_or_else(|| damaged("a page is empty"))?;
            let mut sink = BitSink { dictionary: &dictionary, bits: &mut bits, sound: true };
            decode(packed, u32::from(width), n, &mut sink)
                .filter(|()| sink.sound)
                .ok_or_else(|| damaged("a page of values is damaged"))?;
            Ok(true)
        })?;
        match page {
            Some(true) => {}
            Some(false) => return Ok(None),
            None => break,
        }
    }
    if bits.len() == group.rows {
        Ok(Some(bits))
    } else {
        Err(damaged("it has fewer values than the row group has rows"))
    }
}

/// Appends `n` plain values as floats; None where the bytes end early.
fn plain(physical: Type, bytes: &[u8], n: usize, out: &mut Vec<f64>) -> Option<()> {
    match physical {
        Type::DOUBLE => {
            out.extend(bytes.as_chunks::<8>().0.get(..n)?.iter().map(|x| f64::from_le_bytes(*x)));
        }
        Type::FLOAT => {
            out.extend(bytes.as_chunks::<4>().0.get(..n)?.iter().map(|x| f64::from(f32::from_le_bytes(*x))));
        }
        Type::INT32 => {
            out.extend(bytes.as_chunks::<4>().0.get(..n)?.iter().map(|x| f64::from(i32::from_le_bytes(*x))));
        }
        Type::INT64 => {
            out.extend(bytes.as_chunks::<8>().0.get(..n)?.iter().map(|x| i64::from_le_bytes(*x) as f64));
        }
        Type::BOOLEAN => {
            if bytes.len() < n.div_ceil(8) {
                return None;
            }
            out.extend((0..n).map(|i| f64::from(bytes.get(i / 8).map_or(0, |byte| byte >> (i % 8) & 1))));
        }
        _ => return None,
    }
    Some(())
}

struct Gather<'a> {
    dictionary: &'a [f64],
    out: &'a mut Vec<f64>,
    sound: bool,
}

impl Sink for Gather<'_> {
    fn run(&mut self, code: u32, length: usize) {
        let value = self.dictionary.get(code as usize).copied();
        self.sound &= value.is_some();
        self.out.extend(std::iter::repeat_n(value.unwrap_or(f64::NAN), length));
    }
    fn bits(&mut self, bytes: &[u8], n: usize) -> bool {
        let Some(&[zero, one]) = self.dictionary.first_chunk::<2>() else { return false };
        let either = [zero, one];
        self.out.reserve(n + 8);
        let start = self.out.len();
        for byte in bytes.get(..n.div_ceil(8)).unwrap_or_default() {
            self.out.extend_from_slice(&std::array::from_fn::<f64, 8, _>(|bit| either[usize::from(byte >> bit & 1)]));
        }
        self.out.truncate(start + n);
        true
    }
    fn codes(&mut self, codes: &[u32]) {
        let dictionary = self.dictionary;
        let mut sound = true;
        self.out.extend(codes.iter().map(|&code| match dictionary.get(code as usize) {
            Some(&value) => value,
            None => {
                sound = false;
                f64::NAN
            }
        }));
        self.sound &= sound;
    }
}

/// Collects codes of a dictionary of 0 and 1 as bits.
struct BitSink<'a> {
    dictionary: &'a [f64],
    bits: &'a mut Bits,
    sound: bool,
}

impl Sink for BitSink<'_> {
    fn run(&mut self, code: u32, length: usize) {
        match self.dictionary.get(code as usize) {
            Some(&value) => self.bits.push_run(value == 1.0, length),
            None => self.sound = false,
        }
    }
    fn bits(&mut self, bytes: &[u8], n: usize) -> bool {
        match self.dictionary {
            [zero, one] if zero != one => self.bits.push_bytes(bytes, n, *zero == 1.0),
            _ => return false,
        }
        true
    }
    fn codes(&mut self, codes: &[u32]) {
        for &code in codes {
            self.run(code, 1);
        }
    }
}

/// Any encoding, through the library.
fn read_any(group: &RowGroup, column: &str) -> Result<Vec<f64>> {
    let chunk = group.chunk(column)?;
    let optional = chunk.column_descr().max_def_level() > 0;
    let null = f64::from_bits(NULL);
    // Beside missing scores a NaN of the data is made the usual one.
    let real = |x: f64| if optional && x.is_nan() { f64::NAN } else { x };
    match get_column_reader(chunk.column_descr_ptr(), Box::new(group.library_pages(column)?)) {
        ColumnReader::BoolColumnReader(reader) => read_rows(group, column, reader, &null, |x| f64::from(u8::from(*x))),
        ColumnReader::Int32ColumnReader(reader) => read_rows(group, column, reader, &null, |x| f64::from(*x)),
        ColumnReader::Int64ColumnReader(reader) => read_rows(group, column, reader, &null, |x| *x as f64),
        ColumnReader::FloatColumnReader(reader) => read_rows(group, column, reader, &null, |x| real(f64::from(*x))),
        ColumnReader::DoubleColumnReader(reader) => read_rows(group, column, reader, &null, |x| real(*x)),
        _ => Err(group.unsupported(column, "this type")),
    }
}

/// What identifies each row's instance.
///
/// Without `everywhere`, codes of a dictionary that is not even read: they can be compared within the row group;
/// `u32::MAX` = missing. Else, or where there is no dictionary, None, and `take` gets hashes of the values piece by
/// piece; 0 = missing.
///
/// # Errors
/// A damaged chunk, or a type that identifies nothing.
pub(crate) fn read_identities(
    group: &RowGroup,
    column: &str,
    everywhere: bool,
    take: &mut impl FnMut(&[u64]),
) -> Result<Option<Vec<u32>>> {
    let damaged = |reason: &str| group.damaged(column, reason);
    let chunk = group.chunk(column)?;
    if chunk.column_descr().max_rep_level() > 0 || chunk.column_descr().max_def_level() > 1 {
        return Err(group.unsupported(column, "nested values"));
    }
    let physical = chunk.column_type();
    let mut pages = group.pages(column, everywhere)?;
    if !everywhere {
        pages.skip_dictionary()?;
    }
    let mut dictionary: Vec<u64> = Vec::new();
    let mut codes = Plain(Vec::new());
    let mut hashes = Vec::new();
    let mut left = group.rows;
    let mut foreign = false;
    while !foreign {
        let page = pages.next(|page| {
            let n = page.num_values;
            if page.is_dictionary {
                dictionary = hash_plain(physical, page.values, n)
                    .ok_or_else(|| damaged("its dictionary is damaged, or of a type that identifies nothing"))?;
                return Ok(());
            }
            if !matches!(page.encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY) {
                foreign = true;
                return Ok(());
            }
            left = left.checked_sub(n).ok_or_else(|| damaged("it has more values than the row group has rows"))?;
            let missing = page.levels.map(Levels).filter(|levels| !levels.all_valid(n));
            let (&width, packed) = page
                .values
                .split_first()
                .or_else(|| missing.is_some().then_some((&0, &[])))
                .ok_or_else(|| damaged("a page is empty"))?;
            if everywhere {
                codes.0.clear();
            }
            match missing {
                None => {
                    decode(packed, u32::from(width), n, &mut codes).ok_or_else(|| damaged("a page is damaged"))?;
                }
                Some(levels) => {
                    let valid = levels.expand(n).ok_or_else(|| damaged("its levels are damaged"))?;
                    let there = valid.iter().filter(|&&valid| valid).count();
                    let mut present = Plain(Vec::with_capacity(there));
                    decode(packed, u32::from(width), there, &mut present)
                        .ok_or_else(|| damaged("a page is damaged"))?;
                    let mut present = present.0.into_iter();
                    codes.0.extend(
                        valid.iter().map(|&valid| if valid { present.next().unwrap_or(u32::MAX) } else { u32::MAX }),
                    );
                }
            }
            if everywhere {
                hashes.clear();
                for &code in &codes.0 {
                    hashes.push(match code {
                        u32::MAX => 0,
                        code => *dictionary.get(code as usize).ok_or_else(|| damaged("a code points nowhere"))?,
                    });
                }
                take(&hashes);
            }
            Ok(())
        })?;
        if page.is_none() {
            break;
        }
    }
    if foreign {
        let all = hash_any(group, column)?;
        let done = if everywhere { group.rows - left } else { 0 };
        take(all.get(done..).unwrap_or_default());
        return Ok(None);
    }
    if left > 0 {
        return Err(damaged("it has fewer values than the row group has rows"));
    }
    Ok((!everywhere).then_some(codes.0))
}

struct Plain(Vec<u32>);

impl Sink for Plain {
    fn run(&mut self, code: u32, length: usize) {
        self.0.extend(std::iter::repeat_n(code, length));
    }
    fn codes(&mut self, codes: &[u32]) {
        self.0.extend_from_slice(codes);
    }
}

/// 64 bits that depend on every byte; never 0, which stands for a missing identity.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), 0xa076_1d64_78bd_642f);
    }
    let mut last = [0u8; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    fold(fold(state ^ u64::from_le_bytes(last), 0xe703_7ed1_a0b4_28db), 0x8ebc_6af0_9c88_c6e3).max(1)
}

/// Both halves of a 128-bit product, folded.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64) ^ a.rotate_left(29)
}

fn hash_plain(physical: Type, bytes: &[u8], n: usize) -> Option<Vec<u64>> {
    let mut hashes = Vec::with_capacity(n.min(bytes.len()));
    match physical {
        Type::BYTE_ARRAY => {
            let mut rest = bytes;
            for _ in 0..n {
                let (length, after) = rest.split_first_chunk::<4>()?;
                let length = u32::from_le_bytes(*length) as usize;
                hashes.push(hash(after.get(..length)?));
                rest = after.get(length..)?;
            }
        }
        Type::INT32 => hashes.extend(
            bytes.as_chunks::<4>().0.iter().take(n).map(|x| hash(&i64::from(i32::from_le_bytes(*x)).to_le_bytes())),
        ),
        Type::INT64 => hashes.extend(bytes.as_chunks::<8>().0.iter().take(n).map(|x| hash(x))),
        _ => return None,
    }
    (hashes.len() == n).then_some(hashes)
}

fn hash_any(group: &RowGroup, column: &str) -> Result<Vec<u64>> {
    let chunk = group.chunk(column)?;
    match get_column_reader(chunk.column_descr_ptr(), Box::new(group.library_pages(column)?)) {
        ColumnReader::Int32ColumnReader(reader) => {
            read_rows(group, column, reader, &0, |x| hash(&i64::from(*x).to_le_bytes()))
        }
        ColumnReader::Int64ColumnReader(reader) => read_rows(group, column, reader, &0, |x| hash(&x.to_le_bytes())),
        ColumnReader::ByteArrayColumnReader(reader) => read_rows(group, column, reader, &0, |x| hash(x.data())),
        _ => Err(group.unsupported(column, "this type")),
    }
}
