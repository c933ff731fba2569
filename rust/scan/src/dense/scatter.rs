//! The second pass: scores into their cells.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;
use signoise_core::Interrupt;
use signoise_core::parallel::check_len;

use super::place::{Columns, Unit};
use super::{RowsIn, Scan, vanished};
use crate::error::Result;
use crate::parquet::{NULL, Needed, RowGroup, read_bits, read_values};

/// Rows of a round, at least, for each thread.
const ROUND_ROWS: usize = 1 << 17;

/// The matrices of one unit: the same rows and columns for every metric.
#[derive(Debug)]
pub struct Matrix {
    /// Which unit.
    pub unit: usize,
    /// Number of the checkpoint in each row, ascending.
    pub checkpoints: Vec<u32>,
    /// Instance in each column.
    pub instances: Vec<Box<str>>,
    /// For each metric the scores.
    pub scores: Vec<Scores>,
    /// For each metric which cells have one; None: all.
    pub there: Vec<Option<Vec<bool>>>,
}

/// Scores, row by row; where there is none, anything.
#[derive(Debug)]
pub enum Scores {
    /// All of them +0 or 1.
    Bits(Vec<bool>),
    /// Others.
    Real(Vec<f64>),
}

/// Cells on their way: small as long as they are 0, 1 or missing.
pub(super) enum Cells {
    /// 0, 1, or 2 where there is none.
    Small(Vec<u8>),
    Real(Vec<f64>),
}

/// A cell without a score.
pub(super) const NONE: u8 = 2;

struct Half<'a> {
    unit: &'a Unit,
    /// Row of each run.
    rows: Vec<u32>,
    checkpoints: Vec<u32>,
    /// The first run that is not done.
    next: usize,
    cells: Vec<Cells>,
    gaps: Vec<bool>,
}

impl Scan {
    /// Reads the scores of `at_once` checkpoints: those with the lowest numbers but `first`. `number` is the number of
    /// each checkpoint, each once; rows are in this order.
    ///
    /// # Errors
    /// As in `new`, and a row without any score.
    pub fn matrices(&self, number: &[u32], first: usize, interrupt: &Interrupt) -> Result<Vec<Matrix>> {
        check_len("number", number.len(), self.checkpoints.len())?;
        match &self.rows_in {
            RowsIn::Runs(units) => self.matrices_of_runs(units, number, interrupt),
            RowsIn::Disorder(shuffled) => {
                let mut chosen = number.to_vec();
                chosen.sort_unstable();
                let chosen: Vec<u32> = chosen.into_iter().skip(first).take(self.at_once()).collect();
                shuffled.matrices(&self.files, &self.groups, &self.request, number, &chosen, interrupt)
            }
        }
    }

    fn matrices_of_runs(&self, units: &[Unit], number: &[u32], interrupt: &Interrupt) -> Result<Vec<Matrix>> {
        let metrics = self.request.values.len();
        let mut halves: Vec<Half<'_>> = units.par_iter().map(|unit| Half::new(unit, number, metrics)).collect();
        let needed = Needed { values: self.request.values.clone(), ..Needed::default() };
        for round in rounds(&self.groups) {
            let start = round.start;
            let values: Vec<Vec<Column>> = self
                .groups
                .get(round)
                .unwrap_or_default()
                .par_iter()
                .map(|&(file, index, _)| {
                    interrupt.check()?;
                    let group = self.files.read(file, index, &needed)?.ok_or_else(|| vanished(&self.request, file))?;
                    self.request.values.iter().map(|name| Column::read(&group, name)).collect()
                })
                .collect::<Result<_>>()?;
            halves.par_iter_mut().for_each(|half| half.take(start, &values));
        }
        let found: Option<Vec<Matrix>> = halves.into_par_iter().enumerate().map(|(at, half)| half.finish(at)).collect();
        found.ok_or_else(|| self.request.unsupported("a row without any score"))
    }
}

/// Row groups that are read together: enough to keep all threads busy, and little memory.
pub(super) fn rounds(groups: &[(usize, usize, usize)]) -> impl Iterator<Item = Range<usize>> {
    let threads = rayon::current_num_threads();
    let mut start = 0;
    std::iter::from_fn(move || {
        let (mut end, mut rows) = (start, 0);
        while end < groups.len() && (rows < threads * ROUND_ROWS || end - start < threads) {
            rows += groups.get(end).map_or(0, |&(_, _, rows)| rows);
            end += 1;
        }
        let round = start..end;
        start = end;
        (!round.is_empty()).then_some(round)
    })
}

impl<'a> Half<'a> {
    fn new(unit: &'a Unit, number: &[u32], metrics: usize) -> Self {
        let of = |checkpoint: u32| number.get(checkpoint as usize).copied().unwrap_or(0);
        let mut checkpoints: Vec<u32> = unit.runs.iter().map(|run| of(run.checkpoint)).collect();
        checkpoints.sort_unstable();
        checkpoints.dedup();
        let row: HashMap<u32, u32> = checkpoints.iter().zip(0..).map(|(&number, row)| (number, row)).collect();
        let rows = unit.runs.iter().map(|run| row.get(&of(run.checkpoint)).copied().unwrap_or(0)).collect();
        let cells = (0..metrics).map(|_| Cells::Small(vec![NONE; checkpoints.len() * unit.ids.len()])).collect();
        Self { unit, rows, checkpoints, next: 0, cells, gaps: vec![false; metrics] }
    }

    /// Takes its rows out of some row groups, the first of which has number `start`.
    fn take(&mut self, start: usize, values: &[Vec<Column>]) {
        let width = self.unit.ids.len();
        while let (Some(run), Some(&row)) = (self.unit.runs.get(self.next), self.rows.get(self.next)) {
            let Some(values) = (run.group as usize).checked_sub(start).and_then(|at| values.get(at)) else { break };
            let Some(columns) = self.unit.patterns.get(run.pattern as usize) else { break };
            let rows = run.first as usize..(run.first + run.length) as usize;
            let at = row as usize * width..(row as usize + 1) * width;
            for ((cells, values), gaps) in self.cells.iter_mut().zip(values).zip(&mut self.gaps) {
                cells.put(at.clone(), columns, &values.cells, rows.clone());
                // Perhaps those of another run: a mask that says nothing is left out when it is written.
                *gaps |= values.gaps;
            }
            self.next += 1;
        }
    }

    fn finish(self, unit: usize) -> Option<Matrix> {
        let instances = self.unit.ids.clone();
        finished(unit, self.cells, &self.gaps, self.unit.rows(), self.checkpoints, instances)
    }
}

/// The matrices of a unit, of which `covered` cells were in the source; None where one of these had no score at all.
pub(super) fn finished(
    unit: usize,
    columns: Vec<Cells>,
    gaps: &[bool],
    covered: usize,
    checkpoints: Vec<u32>,
    instances: Vec<Box<str>>,
) -> Option<Matrix> {
    let cells = checkpoints.len() * instances.len();
    if gaps.contains(&true) {
        let mut any = vec![false; cells];
        for cells in &columns {
            for (any, there) in any.iter_mut().zip(cells.there()) {
                *any |= there;
            }
        }
        if any.into_iter().filter(|&any| any).count() < covered {
            return None;
        }
    }
    let complete = covered == cells;
    let there = columns.iter().zip(gaps).map(|(cells, gaps)| (*gaps || !complete).then(|| cells.there())).collect();
    let scores = columns
        .into_iter()
        .map(|cells| match cells {
            Cells::Small(small) => Scores::Bits(small.into_iter().map(|cell| cell == 1).collect()),
            Cells::Real(real) => Scores::Real(real),
        })
        .collect();
    Some(Matrix { unit, checkpoints, instances, scores, there })
}

/// A column of a row group.
pub(super) struct Column {
    pub(super) cells: Cells,
    pub(super) gaps: bool,
}

impl Column {
    pub(super) fn read(group: &RowGroup, name: &str) -> Result<Self> {
        if let Some(bits) = read_bits(group, name)? {
            return Ok(Self { cells: Cells::Small(bits.bytes()), gaps: false });
        }
        let mut column = Self { cells: Cells::Small(Vec::with_capacity(group.rows)), gaps: false };
        read_values(group, name, &mut |some| column.push(some, group.rows))?;
        Ok(column)
    }

    /// Appends the next scores of `rows`.
    fn push(&mut self, values: &[f64], rows: usize) {
        // A missing score is a NaN, and most pages have none: that is a cheaper question.
        let nan = values.iter().fold(false, |so_far, x| so_far | x.is_nan());
        self.gaps |= nan && values.iter().any(|x| x.to_bits() == NULL);
        if let Cells::Small(small) = &mut self.cells {
            let fits = if nan { values.iter().all(|&x| is_small(x)) } else { values.chunks(1024).all(are_bits) };
            if fits {
                if nan {
                    small.extend(values.iter().map(|x| if x.is_nan() { NONE } else { u8::from(*x == 1.0) }));
                } else {
                    small.extend(values.iter().map(|&x| u8::from(x == 1.0)));
                }
                return;
            }
            let mut reals = Vec::with_capacity(rows);
            reals.extend(small.iter().map(|&cell| real(cell)));
            self.cells = Cells::Real(reals);
        }
        if let Cells::Real(reals) = &mut self.cells {
            reals.extend_from_slice(values);
        }
    }
}

impl Cells {
    /// Has room for real numbers if the others are such.
    fn widen(&mut self, from: &Self) {
        if let (Self::Small(small), Self::Real(_)) = (&*self, from) {
            *self = Self::Real(small.iter().map(|&cell| real(cell)).collect());
        }
    }

    /// Puts rows of a column into cells.
    pub(super) fn scatter(&mut self, from: &Self, rows: &[(u32, u32)]) {
        self.widen(from);
        match (self, from) {
            (Self::Small(to), Self::Small(from)) => scatter(to, from, rows, |cell| cell),
            (Self::Real(to), Self::Small(from)) => scatter(to, from, rows, real),
            (Self::Real(to), Self::Real(from)) => scatter(to, from, rows, |x| x),
            (Self::Small(_), Self::Real(_)) => {}
        }
    }

    /// Puts some rows of a column into columns of the row `at`.
    fn put(&mut self, at: Range<usize>, columns: &Columns, from: &Self, rows: Range<usize>) {
        self.widen(from);
        match (self, from) {
            (Self::Small(to), Self::Small(from)) => {
                put(to.get_mut(at).unwrap_or_default(), columns, from.get(rows).unwrap_or_default(), |cell| cell);
            }
            (Self::Real(to), Self::Small(from)) => {
                put(to.get_mut(at).unwrap_or_default(), columns, from.get(rows).unwrap_or_default(), real);
            }
            (Self::Real(to), Self::Real(from)) => {
                put(to.get_mut(at).unwrap_or_default(), columns, from.get(rows).unwrap_or_default(), |x| x);
            }
            (Self::Small(_), Self::Real(_)) => {}
        }
    }

    fn there(&self) -> Vec<bool> {
        match self {
            Self::Small(small) => small.iter().map(|&cell| cell != NONE).collect(),
            Self::Real(real) => real.iter().map(|x| x.to_bits() != NULL).collect(),
        }
    }
}

/// Whether all are +0 or 1.
fn are_bits(values: &[f64]) -> bool {
    let (sound, signs) =
        values.iter().fold((true, 0), |(sound, signs), &x| (sound & ((x == 0.0) | (x == 1.0)), signs | x.to_bits()));
    sound && signs >> 63 == 0
}

fn is_small(x: f64) -> bool {
    (x.to_bits() == 0) | (x == 1.0) | (x.to_bits() == NULL)
}

fn real(cell: u8) -> f64 {
    if cell == NONE { f64::from_bits(NULL) } else { f64::from(cell) }
}

fn scatter<S: Copy, T>(to: &mut [T], from: &[S], rows: &[(u32, u32)], cell: impl Fn(S) -> T) {
    for &(row, place) in rows {
        if let (Some(to), Some(&x)) = (to.get_mut(place as usize), from.get(row as usize)) {
            *to = cell(x);
        }
    }
}

fn put<S: Copy, T>(row: &mut [T], columns: &Columns, values: &[S], cell: impl Fn(S) -> T) {
    match columns {
        Columns::From(first) => {
            for (to, &x) in row.get_mut(*first as usize..).unwrap_or_default().iter_mut().zip(values) {
                *to = cell(x);
            }
        }
        Columns::Each(columns) => {
            for (&column, &x) in columns.iter().zip(values) {
                if let Some(to) = row.get_mut(column as usize) {
                    *to = cell(x);
                }
            }
        }
    }
}
