//! The wanted values of many rows, a column a field.

use arrow_array::LargeStringArray;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use memchr::memchr2_iter;

use super::scalar::{self, Scalar};
use super::walk::{Entry, kind};

/// Strings one after the other; string `i` is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// One more than there are rows.
    pub offsets: Vec<i64>,
    /// UTF-8.
    pub bytes: Vec<u8>,
    /// False where the row has no text.
    pub valid: Vec<bool>,
}

impl Texts {
    /// `rows` without a text, and room for some more.
    fn with_room(rows: usize, room: usize) -> Self {
        let mut texts = Self {
            offsets: Vec::with_capacity(room.max(rows) + 1),
            bytes: Vec::new(),
            valid: Vec::with_capacity(room.max(rows)),
        };
        texts.pad(rows);
        texts
    }

    /// As an Arrow array; checks everything, copies nothing.
    ///
    /// # Errors
    /// Where the offsets do not fit the bytes or the bytes are not UTF-8; a reader never makes such.
    pub fn into_array(self) -> Result<LargeStringArray, ArrowError> {
        if self.offsets.first() != Some(&0) || !self.offsets.is_sorted() {
            return Err(ArrowError::InvalidArgumentError("offsets must rise from 0".into()));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let nulls = NullBuffer::from(self.valid);
        LargeStringArray::try_new(offsets, self.bytes.into(), Some(nulls).filter(|nulls| nulls.null_count() > 0))
    }

    fn end_row(&mut self, valid: bool) {
        self.offsets.push(self.bytes.len() as i64);
        self.valid.push(valid);
    }

    fn pop(&mut self) {
        self.offsets.pop();
        self.valid.pop();
        self.bytes.truncate(self.offsets.last().map_or(0, |&end| end as usize));
    }

    fn pad(&mut self, rows: usize) {
        let end = self.bytes.len() as i64;
        self.offsets.resize(rows + 1, end);
        self.valid.resize(rows, false);
    }

    fn append(&mut self, other: Self) {
        let shift = self.bytes.len() as i64;
        self.offsets.extend(other.offsets.iter().skip(1).map(|end| end + shift));
        self.valid.extend_from_slice(&other.valid);
        self.bytes.extend_from_slice(&other.bytes);
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
    /// Its number (a truth value as 0 or 1), NaN where it is none.
    pub numbers: Vec<f64>,
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
        Self { name, kinds: Vec::with_capacity(rows), numbers: Vec::with_capacity(rows), texts: None, odd }
    }

    /// Makes the value of row `row` that of `entry`, also where the row has one already. What is not kept is absent by
    /// the next call, or that of [`Field::pad`].
    pub(super) fn set(&mut self, row: usize, text: &[u8], entry: Entry) {
        self.pad(row);
        if self.kinds.len() > row {
            self.kinds.pop();
            self.numbers.pop();
            if let Some(texts) = &mut self.texts {
                texts.pop();
            }
        }
        let raw = text.get(entry.start..entry.end).unwrap_or_default();
        if self.odd && !(entry.kind != kind::NUMBER && names_odd(raw)) {
            return;
        }
        let (kind, number, has_text) = match entry.kind {
            kind::NUMBER => match scalar::value(raw) {
                Some(Scalar::Number(number, inexact)) => (kind::NUMBER, number, inexact),
                Some(Scalar::Bool(value)) => (kind::BOOL, f64::from(u8::from(value)), false),
                Some(Scalar::Null) | None => (kind::NULL, f64::NAN, false),
            },
            kind => (kind, f64::NAN, true),
        };
        self.kinds.push(kind);
        self.numbers.push(number);
        if has_text {
            let room = self.kinds.capacity();
            let texts = self.texts.get_or_insert_with(|| Texts::with_room(row, room));
            if kind == kind::STRING {
                scalar::unescape(raw, &mut texts.bytes);
            } else {
                texts.bytes.extend_from_slice(raw);
            }
            texts.end_row(true);
        } else if let Some(texts) = &mut self.texts {
            texts.end_row(false);
        }
    }

    /// Absent up to row `rows`.
    pub(super) fn pad(&mut self, rows: usize) {
        if self.kinds.len() < rows {
            self.kinds.resize(rows, kind::ABSENT);
            self.numbers.resize(rows, f64::NAN);
            if let Some(texts) = &mut self.texts {
                texts.pad(rows);
            }
        }
    }

    /// Appends the rows of `other`.
    pub(super) fn append(&mut self, other: Self) {
        let rows = self.kinds.len();
        self.kinds.extend_from_slice(&other.kinds);
        self.numbers.extend_from_slice(&other.numbers);
        match (&mut self.texts, other.texts) {
            (Some(texts), Some(more)) => texts.append(more),
            (None, Some(more)) => {
                let mut texts = Texts::with_room(rows, self.kinds.capacity());
                texts.append(more);
                self.texts = Some(texts);
            }
            (Some(texts), None) => texts.pad(self.kinds.len()),
            (None, None) => {}
        }
    }
}
