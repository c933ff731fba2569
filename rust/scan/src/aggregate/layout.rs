//! The keys of a row group, folded into two codes a row (or a run of rows): which checkpoint, which score.
//!
//! Groups are the cells of a grid, checkpoints x scores, so that no row is hashed: labels are numbered once for a row
//! group, pairs of labels once for each pair that occurs, and a row costs a few additions and one look into the grid.

use std::collections::HashMap;

use crate::parquet::Codes;

/// Rows of a row group by key: `outer` and `inner` point into the tuples.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Length of each run; None where each row stands for itself.
    pub(crate) lengths: Option<Vec<u32>>,
    /// For each run whether another one has the same key.
    pub(crate) repeated: Vec<bool>,
    pub(crate) outer: Folded,
    pub(crate) inner: Folded,
}

/// Codes of several columns as one code, and the codes of the columns for each of those.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) codes: Vec<u32>,
    pub(crate) tuples: Vec<Vec<u32>>,
}

/// A key column in runs: the key, (length, code) of each run, how many labels there are.
type Runs = (usize, Vec<(u32, u32)>, usize);

/// Folds the key columns of a row group as they are read, so that few of them are in memory.
pub(crate) struct Folder {
    rows: usize,
    /// Columns that come as runs wait for the others.
    runs: Vec<Runs>,
    inner: Vec<bool>,
    halves: [Half; 2],
    dense: bool,
}

impl Folder {
    pub(crate) fn new(inner: &[bool], rows: usize) -> Self {
        Self { rows, runs: Vec::new(), inner: inner.to_vec(), halves: [Half::new(), Half::new()], dense: false }
    }

    /// The next key column.
    pub(crate) fn push(&mut self, key: usize, codes: Codes, labels: usize) {
        match codes {
            Codes::Runs(runs) => self.runs.push((key, runs, labels)),
            Codes::Dense(codes) => {
                self.dense = true;
                self.half(key).push(key, codes, labels);
            }
        }
    }

    fn half(&mut self, key: usize) -> &mut Half {
        let inner = self.inner.get(key).copied().unwrap_or(false);
        &mut self.halves[usize::from(inner)]
    }

    pub(crate) fn finish(mut self) -> Layout {
        let lengths = if self.dense { None } else { common_runs(&self.runs, self.rows) };
        let n = lengths.as_ref().map_or(self.rows, Vec::len);
        for (key, runs, labels) in std::mem::take(&mut self.runs) {
            match (&lengths, runs.as_slice()) {
                (_, [(_, code)]) => self.half(key).push_constant(key, *code),
                (None, runs) => {
                    let codes = spread(runs, self.rows);
                    self.half(key).push(key, codes, labels);
                }
                (Some(lengths), runs) => {
                    let codes = at_starts(runs, lengths);
                    self.half(key).push(key, codes, labels);
                }
            }
        }
        let [outer, inner] = self.halves;
        let (outer, inner) = (outer.finish(n), inner.finish(n));
        let repeated = if lengths.is_some() { repeated(&outer.codes, &inner.codes) } else { Vec::new() };
        Layout { lengths, repeated, outer, inner }
    }
}

/// One of the two codes, so far.
struct Half {
    codes: Vec<u32>,
    /// The codes are below this.
    size: usize,
    /// Codes of the columns, in the order they came, as far as they were numbered.
    tuples: Vec<Vec<u32>>,
    /// Columns that came since: with what they were folded into the codes.
    pending: Vec<Digit>,
    keys: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Digit {
    Constant(u32),
    /// One of so many labels.
    Of(u32),
}

impl Half {
    const fn new() -> Self {
        Self { codes: Vec::new(), size: 1, tuples: Vec::new(), pending: Vec::new(), keys: Vec::new() }
    }

    fn push_constant(&mut self, key: usize, code: u32) {
        self.keys.push(key);
        self.pending.push(Digit::Constant(code));
    }

    fn push(&mut self, key: usize, column: Vec<u32>, labels: usize) {
        self.keys.push(key);
        if self.codes.is_empty() {
            self.codes = column;
        } else {
            if self.size.saturating_mul(labels) > TABLE {
                self.number();
            }
            if self.size.checked_mul(labels).is_none_or(|size| size > u32::MAX as usize) {
                return self.push_hashed(column);
            }
            let by = labels as u32;
            for (code, each) in self.codes.iter_mut().zip(column) {
                *code = *code * by + each;
            }
        }
        self.size *= labels;
        self.pending.push(Digit::Of(labels as u32));
    }

    fn push_hashed(&mut self, column: Vec<u32>) {
        let mut pairs = HashMap::new();
        let mut found = Vec::new();
        for (code, each) in self.codes.iter_mut().zip(column) {
            let pair = (*code, each);
            *code = *pairs.entry(pair).or_insert_with(|| {
                found.push(pair);
                found.len() as u32 - 1
            });
        }
        let joined = |(code, each): (u32, u32)| {
            let mut tuple = self.tuples.get(code as usize).cloned().unwrap_or_default();
            tuple.push(each);
            tuple
        };
        self.tuples = found.into_iter().map(joined).collect();
        self.size = self.tuples.len();
    }

    /// Numbers the codes that occur, so that they are small again.
    fn number(&mut self) {
        let found = if self.codes.is_empty() { vec![0] } else { renumber(&mut self.codes, self.size) };
        let tuples = std::mem::take(&mut self.tuples);
        let tuple = |mut code: u32| {
            let mut digits: Vec<u32> = Vec::with_capacity(self.keys.len());
            for digit in self.pending.iter().rev() {
                digits.push(match digit {
                    Digit::Constant(constant) => *constant,
                    Digit::Of(labels) => {
                        let each = code % labels;
                        code /= labels;
                        each
                    }
                });
            }
            digits.extend(tuples.get(code as usize).into_iter().flat_map(|tuple| tuple.iter().rev()));
            digits.reverse();
            digits
        };
        self.tuples = found.into_iter().map(tuple).collect();
        self.size = self.tuples.len();
        self.pending.clear();
    }

    fn finish(mut self, n: usize) -> Folded {
        self.number();
        let mut seats: Vec<usize> = (0..self.keys.len()).collect();
        seats.sort_by_key(|&seat| self.keys.get(seat).copied());
        let tuples = self
            .tuples
            .iter()
            .map(|tuple| seats.iter().map(|&seat| tuple.get(seat).copied().unwrap_or(0)).collect())
            .collect();
        let codes = if self.codes.is_empty() { vec![0; n] } else { self.codes };
        Folded { codes, tuples }
    }
}

/// Lengths of the runs in which no key changes; None if a column comes row by row.
fn common_runs(columns: &[Runs], rows: usize) -> Option<Vec<u32>> {
    let mut ends = Vec::new();
    for (_, runs, _) in columns {
        let mut at = 0u32;
        ends.extend(runs.iter().map(|(length, _)| {
            at += length;
            at
        }));
    }
    ends.push(rows as u32);
    ends.sort_unstable();
    ends.dedup();
    let mut last = 0;
    Some(
        ends.into_iter()
            .filter(|&end| end > 0)
            .map(|end| {
                let length = end - last;
                last = end;
                length
            })
            .collect(),
    )
}

/// For each pair of codes whether it occurs again.
fn repeated(outer: &[u32], inner: &[u32]) -> Vec<bool> {
    let pairs = || outer.iter().zip(inner);
    let mut times = HashMap::new();
    for pair in pairs() {
        *times.entry(pair).or_insert(0u32) += 1;
    }
    pairs().map(|pair| times.get(&pair) != Some(&1)).collect()
}

fn spread(runs: &[(u32, u32)], rows: usize) -> Vec<u32> {
    let mut dense = Vec::with_capacity(rows);
    for &(length, code) in runs {
        dense.extend(std::iter::repeat_n(code, length as usize));
    }
    dense
}

/// The code at the start of each common run.
fn at_starts(runs: &[(u32, u32)], lengths: &[u32]) -> Vec<u32> {
    let mut runs = runs.iter();
    let (mut left, mut code) = runs.next().copied().unwrap_or((u32::MAX, 0));
    lengths
        .iter()
        .map(|&length| {
            let found = code;
            left -= length.min(left);
            if left == 0 {
                (left, code) = runs.next().copied().unwrap_or((u32::MAX, 0));
            }
            found
        })
        .collect()
}

/// Largest table of codes: above, they are numbered anew, and hashed if that is not enough.
const TABLE: usize = 1 << 20;

/// Numbers the codes that occur (all below `size`) in order of appearance; those codes.
fn renumber(codes: &mut [u32], size: usize) -> Vec<u32> {
    let mut found = Vec::new();
    if size <= TABLE {
        let mut numbers = vec![u32::MAX; size];
        for code in codes {
            if let Some(number) = numbers.get_mut(*code as usize) {
                if *number == u32::MAX {
                    *number = found.len() as u32;
                    found.push(*code);
                }
                *code = *number;
            }
        }
    } else {
        let mut numbers = HashMap::new();
        for code in codes {
            *code = *numbers.entry(*code).or_insert_with(|| {
                found.push(*code);
                found.len() as u32 - 1
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(columns: Vec<(Codes, usize)>, inner: &[bool], rows: usize) -> Layout {
        let mut folder = Folder::new(inner, rows);
        for (key, (codes, labels)) in columns.into_iter().enumerate() {
            folder.push(key, codes, labels);
        }
        folder.finish()
    }

    #[test]
    fn runs_are_cut_where_any_key_changes() {
        let columns = vec![(Codes::Runs(vec![(4, 0), (2, 1)]), 2), (Codes::Runs(vec![(1, 2), (5, 0)]), 3)];
        let layout = fold(columns, &[false, true], 6);
        assert_eq!(layout.lengths, Some(vec![1, 3, 2]));
        assert_eq!(layout.outer.tuples, vec![vec![0], vec![1]]);
        assert_eq!(layout.outer.codes, vec![0, 0, 1]);
        assert_eq!(layout.inner.codes, vec![0, 1, 1]);
        assert_eq!(layout.inner.tuples, vec![vec![2], vec![0]]);
        assert_eq!(layout.repeated, vec![false; 3]);
        let layout = fold(vec![(Codes::Runs(vec![(2, 0), (1, 1), (3, 0)]), 2)], &[false], 6);
        assert_eq!(layout.repeated, vec![true, false, true]);
    }

    #[test]
    fn rows_keep_their_tuples_in_key_order() {
        let columns = vec![
            (Codes::Runs(vec![(4, 5)]), 6),
            (Codes::Dense(vec![0, 1, 0, 1]), 2),
            (Codes::Dense(vec![2000, 0, 2000, 3]), 2001),
            (Codes::Runs(vec![(3, 1), (1, 0)]), 2),
        ];
        let layout = fold(columns, &[false; 4], 4);
        assert!(layout.lengths.is_none());
        assert_eq!(layout.outer.codes, vec![0, 1, 0, 2]);
        assert_eq!(layout.outer.tuples, vec![vec![5, 0, 2000, 1], vec![5, 1, 0, 1], vec![5, 1, 3, 0]]);
        assert_eq!(layout.inner.tuples, vec![Vec::<u32>::new()]);
    }
}
