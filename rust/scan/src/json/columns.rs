//! The wanted values of many rows, a column a field.

use arrow_array::LargeStringArray;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use memchr::memchr2_iter;

use super::scalar::{self, Scalar};
use super::walk::{Entry, kind};

/// The texts of many rows. One that the row before has as well is stored once; no text at all counts as one, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// Which of the texts below each row has.
    pub places: Vec<u32>,
    /// Text `i` is `bytes[offsets[i]..offsets[i + 1]]`.
    pub offsets: Vec<i64>,
    /// UTF-8.
    pub bytes: Vec<u8>,
    /// False where there is no text.
    pub valid: Vec<bool>,
}

impl Texts {
    /// `rows` without a text, and room for some more.
    fn with_room(rows: usize, room: usize) -> Self {
        let places = Vec::with_capacity(room.max(rows));
        let mut texts = Self { places, offsets: vec![0], bytes: Vec::new(), valid: Vec::new() };
        texts.pad(rows);
        texts
    }

    /// The texts as an Arrow array, and which of them each row has; checks everything, copies nothing.
    ///
    /// # Errors
    /// Where the offsets do not fit the bytes or the bytes are not UTF-8; a reader never makes such.
    pub fn into_arrays(self) -> Result<(LargeStringArray, Vec<u32>), ArrowError> {
        if self.offsets.first() != Some(&0) || !self.offsets.is_sorted() {
            return Err(ArrowError::InvalidArgumentError("offsets must rise from 0".into()));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let nulls = Some(NullBuffer::from(self.valid)).filter(|nulls| nulls.null_count() > 0);
        Ok((LargeStringArray::try_new(offsets, self.bytes.into(), nulls)?, self.places))
    }

    /// A text, `Some(None)` where it is none.
    fn text(&self, at: usize) -> Option<Option<&[u8]>> {
        let (start, end) = (*self.offsets.get(at)?, *self.offsets.get(at + 1)?);
        let text = self.bytes.get(start as usize..end as usize)?;
        Some(self.valid.get(at)?.then_some(text))
    }

    /// Where the last text starts.
    fn last_start(&self) -> usize {
        self.offsets.iter().rev().nth(1).map_or(0, |&start| start as usize)
    }

    /// The next row has what was put behind the last text.
    #[inline(always)]
    fn end_row(&mut self) {
        let end = self.offsets.last().map_or(0, |&end| end as usize);
        let (before, new) = self.bytes.split_at_checked(end).unwrap_or_default();
        if self.valid.last() == Some(&true) && before.get(self.last_start()..) == Some(new) {
            self.bytes.truncate(end);
        } else {
            self.offsets.push(self.bytes.len() as i64);
            self.valid.push(true);
        }
        self.places.push(self.last_place());
    }

    fn last_place(&self) -> u32 {
        self.valid.len().saturating_sub(1) as u32
    }

    /// The last row no longer has a text, nor is it one.
    fn pop(&mut self) {
        let popped = self.places.pop();
        if popped != self.places.last().copied() {
            self.valid.pop();
            self.offsets.pop();
            self.bytes.truncate(self.offsets.last().map_or(0, |&end| end as usize));
        }
    }

    /// No text up to row `rows`.
    fn pad(&mut self, rows: usize) {
        if self.places.len() < rows {
            if self.valid.last() != Some(&false) {
                self.offsets.push(self.bytes.len() as i64);
                self.valid.push(false);
            }
            self.places.resize(rows, self.last_place());
        }
    }

    fn append(&mut self, other: Self) {
        // Its first text may be our last one.
        let last = self.valid.len().checked_sub(1).and_then(|last| self.text(last));
        let shared = usize::from(last.is_some() && last == other.text(0));
        let first = self.valid.len().saturating_sub(shared) as u32;
        self.places.extend(other.places.iter().map(|place| place + first));
        let skipped = other.offsets.get(shared).copied().unwrap_or_default();
        let shift = self.bytes.len() as i64 - skipped;
        self.offsets.extend(other.offsets.iter().skip(1 + shared).map(|end| end + shift));
        self.valid.extend(other.valid.iter().skip(shared));
        self.bytes.extend_from_slice(other.bytes.get(skipped as usize..).unwrap_or_default());
    }
}

/// Whether a text names a NaN or an infinity.
fn names_odd(text: &[u8]) -> bool {
    let letter = |at: usize| text.get(at).map_or(0, |byte| byte | 0x20);
    memchr2_iter(b'n', b'N', text).any(|at| {
        letter(at + 1) == b'a' && letter(at + 2) == b'n' || at > 0 && letter(at - 1) == b'i' && letter(at + 1) == b'f'
    })
}

/// One field of all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Kind of its value, a row each: see [`kind`].
    pub kinds: Vec<u8>,
    /// Its number (a truth value as 0 or 1), NaN where it is none; None if no row has any.
    pub numbers: Option<Vec<f64>>,
    /// Strings without escapes, arrays and objects as they stand in the file, whole numbers that a double may not
    /// hold by their digits; None if no row has any.
    pub texts: Option<Texts>,
    /// Whether only texts are kept that name a NaN or an infinity.
    odd: bool,
}

impl Field {
    /// A field of which so many rows are to come, as far as is known.
    pub(super) fn with_room(name: &[u8], odd: bool, rows: usize) -> Self {
        let name = String::from_utf8_lossy(name).into_owned();
        Self { name, kinds: Vec::with_capacity(rows), numbers: None, texts: None, odd }
    }

    /// The same field, without its rows.
    pub(super) fn like(&self, rows: usize) -> Self {
        Self::with_room(self.name.as_bytes(), self.odd, rows)
    }

    /// Makes the value of row `row` that of `entry`, also where the row has one already. What is not kept is absent by
    /// the next call, or that of [`Field::pad`].
    #[inline(always)]
    pub(super) fn set(&mut self, row: usize, text: &[u8], entry: Entry) {
        if self.kinds.len() != row {
            self.come_to(row);
        }
        let raw = text.get(entry.start..entry.end).unwrap_or_default();
        if self.odd && !(entry.kind != kind::NUMBER && names_odd(raw)) {
            return;
        }
        let (kind, number, has_text) = match entry.kind {
            kind::NUMBER => match scalar::value(raw) {
                Some(Scalar::Number(number, inexact)) => (kind::NUMBER, Some(number), inexact),
                Some(Scalar::Bool(value)) => (kind::BOOL, Some(f64::from(u8::from(value))), false),
                Some(Scalar::Null) | None => (kind::NULL, None, false),
            },
            kind => (kind, None, true),
        };
        let room = self.kinds.capacity();
        self.kinds.push(kind);
        match (&mut self.numbers, number) {
            (Some(numbers), number) => numbers.push(number.unwrap_or(f64::NAN)),
            (None, None) => {}
            (None, Some(number)) => {
                let mut numbers = Vec::with_capacity(room);
                numbers.resize(row, f64::NAN);
                numbers.push(number);
                self.numbers = Some(numbers);
            }
        }
        if has_text {
            let texts = self.texts.get_or_insert_with(|| Texts::with_room(row, room));
            if kind == kind::STRING {
                scalar::unescape(raw, &mut texts.bytes);
            } else {
                texts.bytes.extend_from_slice(raw);
            }
            texts.end_row();
        } else if let Some(texts) = &mut self.texts {
            texts.pad(row + 1);
        }
    }

    /// There are values up to row `row`, and none for it.
    #[cold]
    fn come_to(&mut self, row: usize) {
        self.pad(row);
        if self.kinds.len() > row {
            self.kinds.pop();
            if let Some(numbers) = &mut self.numbers {
                numbers.pop();
            }
            if let Some(texts) = &mut self.texts {
                texts.pop();
            }
        }
    }

    /// Absent up to row `rows`.
    pub(super) fn pad(&mut self, rows: usize) {
        if self.kinds.len() < rows {
            self.kinds.resize(rows, kind::ABSENT);
            if let Some(numbers) = &mut self.numbers {
                numbers.resize(rows, f64::NAN);
            }
            if let Some(texts) = &mut self.texts {
                texts.pad(rows);
            }
        }
    }

    /// There are `rows` rows, and no more to come.
    pub(super) fn finish(&mut self, rows: usize) {
        self.pad(rows);
        // A value that another one of the same row replaced may have been the only one.
        if !self.kinds.iter().any(|kind| matches!(*kind, kind::BOOL | kind::NUMBER)) {
            self.numbers = None;
        }
        self.texts.take_if(|texts| !texts.valid.contains(&true));
    }

    /// Appends the rows of `other`.
    pub(super) fn append(&mut self, other: Self) {
        let rows = self.kinds.len();
        self.kinds.extend_from_slice(&other.kinds);
        let (all, room) = (self.kinds.len(), self.kinds.capacity());
        match (&mut self.numbers, other.numbers) {
            (Some(numbers), Some(more)) => numbers.extend_from_slice(&more),
            (None, Some(more)) => {
                let mut numbers = Vec::with_capacity(room);
                numbers.resize(rows, f64::NAN);
                numbers.extend_from_slice(&more);
                self.numbers = Some(numbers);
            }
            (Some(numbers), None) => numbers.resize(all, f64::NAN),
            (None, None) => {}
        }
        match (&mut self.texts, other.texts) {
            (Some(texts), Some(more)) => texts.append(more),
            (None, Some(more)) => {
                let mut texts = Texts::with_room(rows, room);
                texts.append(more);
                self.texts = Some(texts);
            }
            (Some(texts), None) => texts.pad(all),
            (None, None) => {}
        }
    }
}
