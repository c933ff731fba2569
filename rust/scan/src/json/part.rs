//! The rows of several files, one file after the other, and how two such parts become one.

use std::collections::HashMap;

use super::columns::Field;
use super::keys::Selection;
use super::rows::{EXCERPT, trim};
use super::{Problem, Rows};

/// Problems kept with their place; of the others only the number is.
const MAX_PROBLEMS: usize = 100;

/// What files hold, or a segment of one.
#[derive(Default)]
pub(super) struct Part {
    /// The file at hand.
    pub(super) file: u32,
    /// Index of the file, a row each, up to the file before.
    files: Vec<u32>,
    pub(super) lines: Vec<u32>,
    pub(super) fields: Vec<Field>,
    by_name: HashMap<Vec<u8>, usize>,
    pub(super) problems: Vec<(u32, Problem)>,
    n_problems: u64,
    /// Line ends that were passed in the last file.
    pub(super) line_ends: u32,
    /// True if a row was left out because of the number of fields: that depends on what was read before.
    pub(super) too_many: bool,
}

impl Part {
    /// The rows to come are those of a file.
    pub(super) fn begin(&mut self, file: u32) {
        self.files.resize(self.lines.len(), self.file);
        self.file = file;
    }

    /// The place of a field, which is made where there is none.
    pub(super) fn field(&mut self, name: &[u8], selection: &Selection) -> usize {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        let field = Field::with_room(name, selection.odd.contains(name), self.lines.capacity());
        self.by_name.insert(name.to_vec(), self.fields.len());
        self.fields.push(field);
        self.fields.len() - 1
    }

    #[cold]
    pub(super) fn problem(&mut self, line: u32, reason: String, row: &[u8]) {
        self.n_problems += 1;
        if self.problems.len() < MAX_PROBLEMS {
            let row = trim(row);
            let start = row.get(..4 * EXCERPT).unwrap_or(row);
            let excerpt = String::from_utf8_lossy(start).chars().take(EXCERPT).collect();
            self.problems.push((self.file, Problem { line, reason, excerpt }));
        }
    }

    /// Appends other files.
    pub(super) fn append(&mut self, other: Self) {
        let before = self.lines.len();
        self.begin(other.file);
        self.files.extend_from_slice(&other.files);
        self.lines.extend_from_slice(&other.lines);
        for field in other.fields {
            let index = match self.by_name.get(field.name.as_bytes()) {
                Some(&index) => index,
                None => {
                    let index = self.fields.len();
                    self.by_name.insert(field.name.clone().into_bytes(), index);
                    self.fields.push(field.like(self.lines.capacity()));
                    index
                }
            };
            if let Some(whole) = self.fields.get_mut(index) {
                whole.pad(before);
                whole.append(field);
            }
        }
        let room = MAX_PROBLEMS.saturating_sub(self.problems.len());
        self.problems.extend(other.problems.into_iter().take(room));
        self.n_problems += other.n_problems;
        self.line_ends = other.line_ends;
        self.too_many |= other.too_many;
    }

    /// Appends the next segment of the same file.
    pub(super) fn append_segment(&mut self, mut other: Self) {
        let shift = self.line_ends;
        for line in &mut other.lines {
            *line = line.saturating_add(shift);
        }
        for (_, problem) in &mut other.problems {
            problem.line = problem.line.saturating_add(shift);
        }
        other.line_ends = other.line_ends.saturating_add(shift);
        self.append(other);
    }

    pub(super) fn finish(mut self) -> Rows {
        let rows = self.lines.len();
        self.files.resize(rows, self.file);
        for field in &mut self.fields {
            field.finish(rows);
        }
        Rows {
            file: self.files,
            line: self.lines,
            fields: self.fields,
            problems: self.problems,
            n_problems: self.n_problems,
        }
    }
}
