//! Units: consecutive row groups of one file whose rows are added up before those of other units.
//!
//! Sums of floats depend on the order of additions. Each unit is added up by itself, and the sums of the units are
//! added in order; so whoever added up a unit, on whatever machine, the bits are the same. Where units begin follows
//! from the files alone: with each file, and where the rows since the last beginning are enough.

use std::ops::Range;
use std::path::PathBuf;

/// Rows after which the next row group begins a unit; part of the definition of the sums.
pub const UNIT_ROWS: u64 = 1 << 22;

/// Files whose first units are early.
pub(crate) const EARLY_FILES: usize = 4;

/// Rows of a file; whole row groups, those that begin within.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The file.
    pub path: PathBuf,
    /// Its rows.
    pub rows: Range<u64>,
}

impl Piece {
    /// All rows of a file.
    #[must_use]
    pub const fn whole(path: PathBuf) -> Self {
        Self { path, rows: 0..u64::MAX }
    }
}

/// The unit of a row group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Units are numbered in order.
    pub(crate) number: u32,
    /// Whether it is the first of its file, and that one of the first few.
    pub(crate) early: bool,
}

/// Which unit the next row group belongs to.
#[derive(Debug, Default)]
pub(crate) struct Units {
    files: usize,
    /// How many began.
    begun: u32,
    /// How many began before this file.
    before: u32,
    /// Rows of the last one.
    rows: u64,
}

impl Units {
    /// Another file.
    pub(crate) const fn open(&mut self) {
        self.files += 1;
        self.before = self.begun;
    }

    /// The unit of the file's next row group.
    pub(crate) const fn next(&mut self, rows: usize) -> Unit {
        if self.begun == self.before || self.rows >= UNIT_ROWS {
            self.begun += 1;
            self.rows = 0;
        }
        self.rows += rows as u64;
        Unit { number: self.begun, early: self.files <= EARLY_FILES && self.begun == self.before + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_begin_with_files_and_where_rows_are_enough() {
        let mut units = Units::default();
        let mut numbers = Vec::new();
        for rows in [vec![3 << 20, 1 << 20, 1], vec![5], vec![5, 5]] {
            units.open();
            numbers.extend(rows.into_iter().map(|rows| units.next(rows)).map(|unit| (unit.number, unit.early)));
        }
        assert_eq!(numbers, [(1, true), (1, true), (2, false), (3, true), (4, true), (4, true)]);
    }
}
