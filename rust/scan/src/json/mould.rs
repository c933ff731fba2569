//! Rows that look like the one before: the same keys, brackets and blanks around other strings, numbers and words.
//!
//! A program writes all rows of a file in one way. So a sound row is kept as a mould, the literal pieces between its
//! strings and numbers; a later row with the same pieces in the same places, and with sound strings and numbers between
//! them, is sound, and its values are where they were. No index is made of it and no grammar is looked at. A row that
//! does not fit is read as if there were no mould, so what is told of it does not depend on one.
//!
//! Where a piece is that follows a string, the list of stops tells, of which the pieces before it have a known number:
//! so all of them can be compared without waiting for what stands before.

use fearless_simd::{Simd, prelude::*, u8x32};

use super::index::{BLOCK, Tokens, WORD};
use super::scalar;
use super::stops::Stops;
use super::walk::{Entry, Wanted, closing_quote};

/// Bytes of a literal that are compared together.
const WIDTH: usize = 32;
/// The mould is given up after so many rows in a row that do not fit.
const PATIENCE: u32 = 8;
/// Rows to wait at most before another row is tried as a mould.
const LONGEST_WAIT: u32 = 1 << 10;

/// What stands before a literal.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// Another piece, or nothing.
    Piece,
    /// A string; its closing quote, which begins the piece, is this stop of the row.
    Text(usize),
    /// A number or a word.
    Word,
}

struct Piece {
    before: Before,
    literal: [u8; WIDTH],
    /// Bits of the bytes of the literal.
    mask: u32,
    length: usize,
}

/// A place in a row: so many bytes from the start of a piece.
#[derive(Clone, Copy)]
struct Place {
    piece: usize,
    offset: usize,
}

struct Value {
    column: usize,
    kind: u8,
    start: Place,
    end: Place,
}

/// The mould of the rows of one file.
#[derive(Default)]
pub(super) struct Mould {
    pieces: Vec<Piece>,
    /// The wanted ones.
    values: Vec<Value>,
    /// Where each piece is in the row at hand.
    starts: Vec<usize>,
    /// Stops in the pieces.
    stops: usize,
    /// Where the stops of the row at hand are.
    places: Vec<u16>,
    /// Rows in a row that did not fit.
    misses: u32,
    /// Rows to pass before another one is taken as the mould, and how many that will be the next time.
    pause: u32,
    wait: u32,
}

impl Mould {
    /// Forgets everything: another file comes.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        (self.misses, self.pause, self.wait) = (0, 0, 0);
    }

    /// Takes a row as the mould, of which the tokens and the wanted values are known. It is sound.
    pub(super) fn cast<S: Simd>(&mut self, tokens: &mut Tokens<'_, S>, row: &[u8], wanted: &[Wanted]) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        self.wait = (2 * self.wait).clamp(1, LONGEST_WAIT);
        self.pause = self.wait;
        self.misses = 0;
        if self.try_cast(tokens, row, wanted).is_none() {
            self.pieces.clear();
        }
    }

    fn try_cast<S: Simd>(&mut self, tokens: &mut Tokens<'_, S>, row: &[u8], wanted: &[Wanted]) -> Option<()> {
        self.pieces.clear();
        self.values.clear();
        self.starts.clear();
        self.stops = 0;
        let count = tokens.of_one_portion()?.len();
        let (mut done, mut before) = (0, Before::Piece);
        for index in 0..count {
            let (at, byte) = tokens.at(index)?;
            let next = tokens.at(index + 1).filter(|_| index + 1 < count);
            match (byte, next) {
                (b'"', Some((next, kind))) if kind != b':' => {
                    self.push(row, done, at + 1, before)?;
                    done = closing_quote(row, next);
                    before = Before::Text(self.stops);
                }
                (WORD, _) => {
                    self.push(row, done, at, before)?;
                    done = scalar::end(row, at)?;
                    before = Before::Word;
                }
                _ => {}
            }
        }
        self.push(row, done, row.len(), before)?;
        for value in wanted {
            let (first, kind) = tokens.at(value.first_token)?;
            let (start, end) = match kind {
                WORD => (first, scalar::end(row, first)?),
                b'"' => (first + 1, closing_quote(row, tokens.at(value.last_token + 1)?.0)),
                _ => (first, tokens.at(value.last_token)?.0 + 1),
            };
            // Where a string of the mould is empty, two pieces meet: it starts after the first and ends at the second.
            let holds =
                |at: usize| move |(start, piece): (&usize, &Piece)| (*start..=start + piece.length).contains(&at);
            let piece = self.starts.iter().zip(&self.pieces).position(holds(start))?;
            let start = Place { piece, offset: start - self.starts.get(piece)? };
            let piece = self.starts.iter().zip(&self.pieces).rposition(holds(end))?;
            let end = Place { piece, offset: end - self.starts.get(piece)? };
            self.values.push(Value { column: value.column, kind: value.kind, start, end });
        }
        Some(())
    }

    /// Pieces for the bytes of a row from `start` to `end`.
    fn push(&mut self, row: &[u8], start: usize, end: usize, mut before: Before) -> Option<()> {
        let bytes = row.get(start..end)?;
        self.stops += stops_in(bytes);
        let mut at = start;
        // At least one, however short.
        for chunk in bytes.chunks(WIDTH).chain(bytes.is_empty().then_some(bytes)) {
            let mut literal = [0; WIDTH];
            literal.get_mut(..chunk.len())?.copy_from_slice(chunk);
            let mask = u32::MAX.checked_shr((WIDTH - chunk.len()) as u32).unwrap_or_default();
            self.pieces.push(Piece { before, literal, mask, length: chunk.len() });
            self.starts.push(at);
            at += chunk.len();
            before = Before::Piece;
        }
        Some(())
    }

    /// Whether there is one.
    pub(super) fn is_cast(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// The end of the row that starts at `from`, if it fits and is sound; its wanted values go to `entries`. What lies
    /// before `filled` counts; behind it there are at least as many bytes as are compared, which mean nothing.
    #[inline(always)]
    pub(super) fn fit<S: Simd>(
        &mut self,
        simd: S,
        data: &[u8],
        stops: &Stops,
        from: usize,
        filled: usize,
        entries: &mut Vec<Entry>,
    ) -> Option<usize> {
        if !self.is_cast() {
            return None;
        }
        let end = simd.vectorize(
            #[inline(always)]
            || self.pour(simd, data, stops, from),
        );
        let sound = |row: Option<&[u8]>| row.is_some_and(|row| simdutf8::basic::from_utf8(row).is_ok());
        let fits = |&end: &usize| end < filled && (!stops.beyond_ascii || sound(data.get(from..end)));
        let Some(end) = end.filter(fits) else {
            self.misses += 1;
            if self.misses >= PATIENCE {
                self.pieces.clear();
            }
            return None;
        };
        (self.misses, self.wait, self.pause) = (0, 0, 0);
        entries.clear();
        for value in &self.values {
            let at = |place: Place| self.starts.get(place.piece).map_or(0, |start| start + place.offset - from);
            entries.push(Entry { column: value.column, kind: value.kind, start: at(value.start), end: at(value.end) });
        }
        Some(end)
    }

    /// The end of the row; None where it does not fit.
    #[inline(always)]
    fn pour<S: Simd>(&mut self, simd: S, data: &[u8], stops: &Stops, from: usize) -> Option<usize> {
        stops.list(simd, from, self.stops, &mut self.places)?;
        let base = from / BLOCK * BLOCK;
        let mut at = from;
        for (piece, start) in self.pieces.iter().zip(&mut self.starts) {
            match piece.before {
                Before::Piece => {}
                Before::Text(stop) => at = base + usize::from(*self.places.get(stop)?),
                Before::Word => at = scalar::end(data, at)?,
            }
            *start = at;
            let bytes = u8x32::load_array_ref(simd, data.get(at..)?.first_chunk()?);
            let same = bytes.simd_eq(u8x32::load_array_ref(simd, &piece.literal)).to_bitmask() as u32;
            if piece.mask & !same != 0 {
                return None;
            }
            at += piece.length;
        }
        Some(at)
    }
}

/// How many stops a literal of a sound row has: quotes without a backslash, and control characters.
fn stops_in(literal: &[u8]) -> usize {
    let mut escaped = false;
    let mut is_stop = |byte: u8| {
        let stop = !escaped && (byte == b'"' || byte < b' ');
        escaped = byte == b'\\' && !escaped;
        stop
    };
    literal.iter().filter(|byte| is_stop(**byte)).count()
}
