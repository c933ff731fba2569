//! From token to token through one row: is it a JSON object, and where are the values that are wanted?

use fearless_simd::Simd;

use super::index::{Tokens, WORD};
use super::keys::{Keys, Slot};
use super::scalar;

/// Kind of a value, as the result columns tell it. 0 is a field that the row does not have.
pub mod kind {
    /// The row has no such field.
    pub const ABSENT: u8 = 0;
    /// `null`
    pub const NULL: u8 = 1;
    /// `true`, `false`
    pub const BOOL: u8 = 2;
    /// A number, `NaN`, `Infinity` or `-Infinity`.
    pub const NUMBER: u8 = 3;
    /// A string.
    pub const STRING: u8 = 4;
    /// An array.
    pub const ARRAY: u8 = 5;
    /// An object.
    pub const OBJECT: u8 = 6;
}

/// A wanted value of the row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) column: usize,
    pub(super) kind: u8,
    /// Where its text is; a string's without the quotes.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// At this byte.
    Syntax(usize),
    /// It ends before its object does.
    Cut,
    /// More levels than are allowed.
    Deep,
    /// More fields than are allowed.
    Fields,
}

// What may come next, in an object and in an array.
const KEY_OR_END: u8 = 0;
const KEY: u8 = 1;
const KEY_END: u8 = 2;
const VALUE: u8 = 3;
const AFTER_VALUE: u8 = 4;
const ITEM_OR_END: u8 = 5;
const ITEM: u8 = 6;
const AFTER_ITEM: u8 = 7;
const NOTHING: u8 = 8;

/// The state after a token, `NOTHING` where it may not come. For a token that closes any other state says that it may.
fn next(state: u8, byte: u8) -> u8 {
    match (state, byte) {
        (KEY_OR_END | KEY, b'"') => KEY_END,
        (KEY_END, b':') => VALUE,
        (VALUE, b'"' | WORD) => AFTER_VALUE,
        (ITEM_OR_END | ITEM, b'"' | WORD) => AFTER_ITEM,
        (VALUE | ITEM_OR_END | ITEM, b'{') => KEY_OR_END,
        (VALUE | ITEM_OR_END | ITEM, b'[') => ITEM_OR_END,
        (AFTER_VALUE, b',') => KEY,
        (AFTER_ITEM, b',') => ITEM,
        (KEY_OR_END | AFTER_VALUE, b'}') | (ITEM_OR_END | AFTER_ITEM, b']') => state,
        _ => NOTHING,
    }
}

/// Walks one row. `stack` holds a state for each level that is open; its length is the greatest depth.
pub(super) fn walk<S: Simd>(
    tokens: &mut Tokens<'_, S>,
    text: &[u8],
    keys: &mut Keys<'_>,
    entries: &mut Vec<Entry>,
    stack: &mut [u8],
) -> Result<(), Fault> {
    entries.clear();
    if same_row(tokens, text, keys, entries).is_some() {
        return Ok(());
    }
    entries.clear();
    keys.row.begin();
    let mut place = 0;
    let mut too_many = false;
    let mut before = Slot::START;
    let (_, byte) = tokens.next(&mut place).ok_or(Fault::Cut)?;
    if byte != b'{' {
        return Err(Fault::Syntax(0));
    }
    let mut token = tokens.next(&mut place).ok_or(Fault::Cut)?;
    let mut first = true;
    while !(first && token.1 == b'}') {
        first = false;
        let (key, byte) = token;
        if byte != b'"' {
            return Err(Fault::Syntax(key));
        }
        let (colon, byte) = tokens.next(&mut place).ok_or(Fault::Cut)?;
        if byte != b':' {
            return Err(Fault::Syntax(colon));
        }
        let slot = keys.find(text, key, colon, before);
        keys.row.keys.push((place.wrapping_sub(2), slot.index)); // matters only where a portion holds the row
        before = slot.index;
        too_many |= slot.too_many;
        let (start, byte) = tokens.next(&mut place).ok_or(Fault::Cut)?;
        let first_token = place - 1;
        let mut entry = Entry { column: slot.column, kind: kind::STRING, start, end: start };
        match byte {
            b'"' => {}
            b'{' | b'[' => {
                entry.kind = if byte == b'{' { kind::OBJECT } else { kind::ARRAY };
                entry.end = nested(tokens, &mut place, text, byte, stack, keys.shapes(slot.index))? + 1;
            }
            WORD => {
                entry.kind = kind::NUMBER;
                entry.end = scalar::end(text, start).ok_or(Fault::Syntax(start))?;
            }
            _ => return Err(Fault::Syntax(start)),
        }
        let last_token = place - 1;
        let (separator, byte) = tokens.next(&mut place).ok_or(Fault::Cut)?;
        if slot.column != Slot::UNWANTED {
            if entry.kind == kind::STRING {
                entry.start = start + 1;
                entry.end = closing_quote(text, separator);
            }
            keys.row.values.push(Wanted { first_token, last_token, column: entry.column, kind: entry.kind });
            entries.push(entry);
        }
        match byte {
            b',' => token = tokens.next(&mut place).ok_or(Fault::Cut)?,
            b'}' => break,
            _ => return Err(Fault::Syntax(separator)),
        }
    }
    if let Some((at, _)) = tokens.next(&mut place) {
        return Err(Fault::Syntax(at));
    }
    if let Some(at) = tokens.bad {
        return Err(Fault::Syntax(at));
    }
    if too_many {
        return Err(Fault::Fields);
    }
    keys.row.end(tokens.of_one_portion());
    Ok(())
}

/// Where a wanted value is, in tokens.
pub(super) struct Wanted {
    pub(super) first_token: usize,
    pub(super) last_token: usize,
    pub(super) column: usize,
    pub(super) kind: u8,
}

/// The tokens of a row, and what they mean: a row with the same ones and the same keys needs no walk.
#[derive(Default)]
pub(super) struct RowShape {
    /// Empty as long as no two rows in a row had as many.
    tokens: Vec<u8>,
    /// How many tokens the last row had that was walked.
    count: usize,
    words: Vec<usize>,
    /// Token and place of each key.
    keys: Vec<(usize, usize)>,
    values: Vec<Wanted>,
}

impl RowShape {
    /// The wanted values of a row worth to be kept in mind; None before there is one.
    pub(super) fn wanted(&self) -> Option<&[Wanted]> {
        (!self.tokens.is_empty()).then_some(&self.values)
    }

    pub(super) fn forget(&mut self) {
        self.tokens.clear();
    }

    fn begin(&mut self) {
        self.tokens.clear();
        self.keys.clear();
        self.values.clear();
    }

    /// The row is sound. It is worth to be kept in mind if the one before was as long.
    fn end(&mut self, tokens: Option<&[u8]>) {
        let tokens = tokens.unwrap_or_default();
        if tokens.len() == self.count {
            self.tokens.extend_from_slice(tokens);
            self.words.clear();
            self.words.extend(tokens.iter().enumerate().filter(|(_, byte)| **byte == WORD).map(|(at, _)| at));
        }
        self.count = tokens.len();
    }
}

/// The values of a row that has the tokens and the keys of the row before; None where it has not or is not sound.
#[inline(always)]
fn same_row<S: Simd>(tokens: &mut Tokens<'_, S>, text: &[u8], keys: &Keys<'_>, entries: &mut Vec<Entry>) -> Option<()> {
    let row = &keys.row;
    if row.tokens.is_empty() || tokens.of_one_portion()? != row.tokens || tokens.bad.is_some() {
        return None;
    }
    for &(token, index) in &row.keys {
        if !keys.is_at(index, text, tokens.position(token)?) {
            return None;
        }
    }
    for &token in &row.words {
        scalar::end(text, tokens.position(token)?)?;
    }
    for value in &row.values {
        let mut start = tokens.position(value.first_token)?;
        let end = match value.kind {
            kind::NUMBER => scalar::end(text, start)?,
            kind::STRING => {
                start += 1;
                closing_quote(text, tokens.position(value.last_token + 1)?)
            }
            _ => tokens.position(value.last_token)? + 1,
        };
        entries.push(Entry { column: value.column, kind: value.kind, start, end });
    }
    Some(())
}

/// Position of the quote that closes the string before the token at `next`: only blanks are between.
pub(super) fn closing_quote(text: &[u8], next: usize) -> usize {
    let before = text.get(..next).unwrap_or_default();
    before.iter().rposition(|&byte| byte > b' ').unwrap_or(0)
}

/// The tokens of a value. They alone decide whether it is sound, its numbers and words apart: a value with the same
/// ones as the last value of its field needs no second look at its grammar.
#[derive(Default)]
pub(super) struct Shape {
    /// After the token that opens it.
    tokens: Vec<u8>,
    /// Which of them are numbers and words.
    words: Vec<u32>,
}

impl Shape {
    /// Longer ones are not kept.
    const MAX_TOKENS: usize = 1 << 12;

    fn note(&mut self, index: usize, byte: u8) {
        if index < Self::MAX_TOKENS {
            self.tokens.push(byte);
            if byte == WORD {
                self.words.push(index as u32);
            }
        }
    }
}

/// Walks to the end of an array or object that was just opened; the position of the byte that closes it.
#[inline(always)]
fn nested<S: Simd>(
    tokens: &mut Tokens<'_, S>,
    place: &mut usize,
    text: &[u8],
    open: u8,
    stack: &mut [u8],
    shapes: &mut [Shape; 2],
) -> Result<usize, Fault> {
    let [objects, arrays] = shapes;
    let shape = if open == b'{' { objects } else { arrays };
    if !shape.tokens.is_empty() && tokens.are(*place, &shape.tokens) {
        for &word in &shape.words {
            let at = tokens.position(*place + word as usize).ok_or(Fault::Cut)?;
            scalar::end(text, at).ok_or(Fault::Syntax(at))?;
        }
        *place += shape.tokens.len();
        return tokens.position(*place - 1).ok_or(Fault::Cut);
    }
    shape.tokens.clear();
    shape.words.clear();
    let end = by_grammar(tokens, place, text, open, stack, shape);
    if end.is_err() || shape.tokens.len() == Shape::MAX_TOKENS {
        shape.tokens.clear();
    }
    end
}

/// The same, token by token.
#[inline(never)]
fn by_grammar<S: Simd>(
    tokens: &mut Tokens<'_, S>,
    from: &mut usize,
    text: &[u8],
    open: u8,
    stack: &mut [u8],
    shape: &mut Shape,
) -> Result<usize, Fault> {
    let mut place = *from;
    let mut state = if open == b'{' { KEY_OR_END } else { ITEM_OR_END };
    let mut depth = 1;
    if stack.len() < 2 {
        return Err(Fault::Deep);
    }
    for index in 0.. {
        let (at, byte) = tokens.next(&mut place).ok_or(Fault::Cut)?;
        shape.note(index, byte);
        let next = next(state, byte);
        if next == NOTHING {
            return Err(Fault::Syntax(at));
        }
        match byte {
            b'{' | b'[' => {
                *stack.get_mut(depth).ok_or(Fault::Deep)? = if state == VALUE { AFTER_VALUE } else { AFTER_ITEM };
                depth += 1;
                if depth >= stack.len() {
                    return Err(Fault::Deep);
                }
                state = next;
            }
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    *from = place;
                    return Ok(at);
                }
                state = *stack.get(depth).ok_or(Fault::Deep)?;
            }
            WORD => {
                scalar::end(text, at).ok_or(Fault::Syntax(at))?;
                state = next;
            }
            _ => state = next,
        }
    }
    Err(Fault::Cut)
}
