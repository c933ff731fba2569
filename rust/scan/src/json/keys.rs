//! Which column a key belongs to. Rows of a file nearly always have the same keys in the same order, so the key that
//! followed last time is tried first; a table of names decides where that fails.

use std::collections::{HashMap, HashSet};

use super::scalar;
use super::walk::{RowShape, Shape, closing_quote};

/// Different fields that one file may have.
pub const MAX_FIELDS: usize = 1024;

/// What is wanted of each row.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Fields left out.
    pub skip: HashSet<Vec<u8>>,
    /// Fields kept; None: all.
    pub only: Option<HashSet<Vec<u8>>>,
    /// Fields of which only texts are kept that name a NaN or an infinity (`nan` or `inf`, in any case).
    pub odd: HashSet<Vec<u8>>,
}

impl Selection {
    fn wants(&self, name: &[u8]) -> bool {
        !self.skip.contains(name) && self.only.as_ref().is_none_or(|only| only.contains(name))
    }
}

/// Where a key belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) index: usize,
    pub(super) column: usize,
    pub(super) too_many: bool,
}

impl Slot {
    /// The place before the first key of a row.
    pub(super) const START: usize = 0;
    /// Column of a field that is not kept.
    pub(super) const UNWANTED: usize = usize::MAX;
}

/// A name that was met.
struct Known {
    name: Vec<u8>,
    column: usize,
    /// `"name"` as it stands in the file, where it does without escapes.
    raw: Option<Vec<u8>>,
    /// The same as a number, for short names, and its mask.
    short: Option<(u128, u128)>,
    /// The name that followed last time.
    follower: usize,
    /// What its last object and its last array look like.
    shapes: [Shape; 2],
}

/// All names met so far in a file.
pub(super) struct Keys<'a> {
    selection: &'a Selection,
    known: Vec<Known>,
    by_name: HashMap<Vec<u8>, usize>,
    columns: Vec<usize>,
    unescaped: Vec<u8>,
    /// For a key that was not kept in mind.
    shapes: [Shape; 2],
    /// What the last row looks like.
    pub(super) row: RowShape,
}

impl<'a> Keys<'a> {
    pub(super) fn new(selection: &'a Selection) -> Self {
        let mut start = Known::new(b"", Slot::UNWANTED);
        start.raw = None; // it is no key
        start.short = None;
        Self {
            selection,
            known: vec![start],
            by_name: HashMap::new(),
            columns: Vec::new(),
            unescaped: Vec::new(),
            shapes: Default::default(),
            row: RowShape::default(),
        }
    }

    /// Names of the columns, in the order in which they were met.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.columns.iter().map(|&index| self.known.get(index).map_or(&[][..], |known| &known.name))
    }

    /// The shapes that the last values of this key had.
    pub(super) fn shapes(&mut self, index: usize) -> &mut [Shape; 2] {
        self.known.get_mut(index).map_or(&mut self.shapes, |known| &mut known.shapes)
    }

    /// Number of names and columns, for [`Keys::forget`].
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.known.len(), self.columns.len())
    }

    /// Forgets what was first met after `mark`: the row turned out to be unsound.
    pub(super) fn forget(&mut self, mark: (usize, usize)) {
        for known in self.known.drain(mark.0..) {
            self.by_name.remove(&known.name);
        }
        self.columns.truncate(mark.1);
        self.row.forget();
    }

    /// True if the key at `key` is that of the place `index`.
    #[inline(always)]
    pub(super) fn is_at(&self, index: usize, text: &[u8], key: usize) -> bool {
        self.known.get(index).is_some_and(|known| known.is_at(text, key))
    }

    /// The place of the key whose quote is at `key` and whose colon is at `colon`.
    #[inline(always)]
    pub(super) fn find(&mut self, text: &[u8], key: usize, colon: usize, before: usize) -> Slot {
        let guess = self.known.get(before).map_or(Slot::START, |known| known.follower);
        if let Some(known) = self.known.get(guess)
            && known.is_at(text, key)
        {
            return Slot { index: guess, column: known.column, too_many: false };
        }
        self.look_up(text, key, colon, before)
    }

    #[inline(never)]
    fn look_up(&mut self, text: &[u8], key: usize, colon: usize, before: usize) -> Slot {
        let raw = text.get(key + 1..closing_quote(text, colon)).unwrap_or_default();
        self.unescaped.clear();
        scalar::unescape(raw, &mut self.unescaped);
        if let Some(&index) = self.by_name.get(&self.unescaped) {
            if let Some(known) = self.known.get_mut(before) {
                known.follower = index;
            }
            let column = self.known.get(index).map_or(Slot::UNWANTED, |known| known.column);
            return Slot { index, column, too_many: false };
        }
        let wanted = self.selection.wants(&self.unescaped);
        let unwanted = self.known.len() - 1 - self.columns.len();
        if (if wanted { self.columns.len() } else { unwanted }) >= MAX_FIELDS {
            return Slot { index: before, column: Slot::UNWANTED, too_many: wanted };
        }
        let index = self.known.len();
        let column = if wanted { self.columns.len() } else { Slot::UNWANTED };
        if wanted {
            self.columns.push(index);
        }
        self.by_name.insert(self.unescaped.clone(), index);
        self.known.push(Known::new(&self.unescaped, column));
        if let Some(known) = self.known.get_mut(before) {
            known.follower = index;
        }
        Slot { index, column, too_many: false }
    }
}

impl Known {
    fn new(name: &[u8], column: usize) -> Self {
        let plain = name.iter().all(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\');
        let raw = plain.then(|| [b"\"", name, b"\""].concat());
        let short = raw.as_deref().filter(|raw| raw.len() <= 16).map(|raw| {
            let (mut bytes, mut mask) = ([0; 16], [0; 16]);
            for ((byte, mask), raw) in bytes.iter_mut().zip(&mut mask).zip(raw) {
                (*byte, *mask) = (*raw, 0xff);
            }
            (u128::from_le_bytes(bytes), u128::from_le_bytes(mask))
        });
        Self { name: name.to_owned(), column, raw, short, follower: Slot::START, shapes: Default::default() }
    }

    #[inline(always)]
    fn is_at(&self, text: &[u8], key: usize) -> bool {
        let Some(rest) = text.get(key..) else { return false };
        if let (Some((bytes, mask)), Some(found)) = (self.short, rest.first_chunk()) {
            return u128::from_le_bytes(*found) & mask == bytes;
        }
        self.raw.as_deref().is_some_and(|raw| rest.starts_with(raw))
    }
}
