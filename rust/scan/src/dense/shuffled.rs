//! Tables whose rows come in no order: each row is put into its cell by itself.
//!
//! The first pass learns which checkpoint and which seat (an instance of a unit) each code of a row group means. The
//! second one reads the codes again, which is cheaper than keeping them, and is made for some checkpoints at a time.

use std::collections::HashMap;

use rayon::prelude::*;
use signoise_core::Interrupt;

use super::numbering::Numbering;
use super::scatter::{Cells, Column, Matrix, NONE, finished, rounds};
use super::{Request, TWICE, check_cells, read_extra, vanished};
use crate::aggregate::layout::{Folder, Layout};
use crate::error::Result;
use crate::parquet::{Files, Label, Needed, RowGroup, read_keys};

/// Outside of what is laid out.
const OUTSIDE: u32 = u32::MAX;

/// Who sits where.
pub(super) struct Shuffled {
    keys: Needed,
    /// For each row group the checkpoint of each outer code, and the seat of each inner one.
    placed: Vec<(Vec<u32>, Vec<u32>)>,
    units: Vec<Seats>,
    /// Unit of each seat.
    unit_of: Vec<u32>,
}

/// The instances of a unit: seats in a row.
struct Seats {
    first: u32,
    first_file: u32,
    ids: Vec<Box<str>>,
}

/// What the first pass learns of a row group.
struct Found {
    labels: Vec<Vec<Label>>,
    outer: Vec<Vec<u32>>,
    /// Unit and instance.
    inner: Vec<Vec<u32>>,
    extras: Vec<Option<Vec<Label>>>,
}

impl Shuffled {
    pub(super) fn new(
        files: &Files,
        groups: &[(usize, usize, usize)],
        request: &Request,
        keys: &Needed,
        numbering: &mut Numbering<'_>,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut seating = Seating::default();
        let mut placed = Vec::with_capacity(groups.len());
        for round in rounds(groups) {
            let groups = groups.get(round).unwrap_or_default();
            let found = groups
                .par_iter()
                .map(|&(file, index, _)| {
                    interrupt.check()?;
                    let group = files.read(file, index, keys)?.ok_or_else(|| vanished(request, file))?;
                    let (labels, mut layout) = read_codes(&group, request, keys)?;
                    let lengths = layout.lengths.take().unwrap_or_else(|| vec![1; group.rows]);
                    let extra = |(at, column): (usize, &String)| match numbering.varies(at, file) {
                        true => Ok(None),
                        false => read_extra(&group, column, &layout, &lengths),
                    };
                    let extras = request.extras.iter().enumerate().map(extra).collect::<Result<_>>()?;
                    Ok(Found { labels, outer: layout.outer.tuples, inner: layout.inner.tuples, extras })
                })
                .collect::<Result<Vec<Found>>>()?;
            for (found, &(file, _, _)) in found.iter().zip(groups) {
                placed.push(seating.place(found, file, numbering, request)?);
            }
        }
        let rows = groups.iter().map(|&(_, _, rows)| rows).sum();
        check_cells(numbering.n_checkpoints().saturating_mul(seating.seats.len()), rows, request)?;
        Ok(seating.finish(placed, keys.clone()))
    }

    pub(super) fn first_files(&self) -> Vec<u32> {
        self.units.iter().map(|unit| unit.first_file).collect()
    }

    /// How many checkpoints are laid out at a time.
    pub(super) fn at_once(&self, request: &Request) -> usize {
        (request.cells / (self.unit_of.len() * request.values.len()).max(1)).max(1)
    }

    /// Scores of the checkpoints with these numbers.
    pub(super) fn matrices(
        &self,
        files: &Files,
        groups: &[(usize, usize, usize)],
        request: &Request,
        number: &[u32],
        chosen: &[u32],
        interrupt: &Interrupt,
    ) -> Result<Vec<Matrix>> {
        let place: HashMap<u32, u32> = chosen.iter().copied().zip(0..).collect();
        let row_of: Vec<u32> = number.iter().map(|number| place.get(number).copied().unwrap_or(OUTSIDE)).collect();
        let metrics = request.values.len();
        let mut halves: Vec<Half> =
            self.units.par_iter().map(|unit| Half::new(chosen.len() * unit.ids.len(), metrics)).collect();
        let mut needed = self.keys.clone();
        needed.values.extend(request.values.iter().cloned());
        for round in rounds(groups) {
            let placed = self.placed.get(round.clone()).unwrap_or_default();
            let dealt = groups
                .get(round)
                .unwrap_or_default()
                .par_iter()
                .zip(placed)
                .map(|(&(file, index, _), placed)| {
                    interrupt.check()?;
                    let group = files.read(file, index, &needed)?.ok_or_else(|| vanished(request, file))?;
                    self.deal(&group, request, placed, &row_of)
                })
                .collect::<Result<Vec<Dealt>>>()?;
            halves.par_iter_mut().enumerate().for_each(|(unit, half)| {
                for dealt in &dealt {
                    half.take(unit, dealt);
                }
            });
        }
        if halves.iter().any(|half| half.twice) {
            return Err(request.unsupported(TWICE));
        }
        halves
            .into_par_iter()
            .zip(&self.units)
            .enumerate()
            .map(|(at, (half, unit))| {
                finished(at, half.cells, &half.gaps, half.covered, chosen.to_vec(), unit.ids.clone())
            })
            .collect::<Option<Vec<Matrix>>>()
            .ok_or_else(|| request.unsupported("a row without any score"))
    }

    /// Reads a row group and deals its rows to the units.
    fn deal(
        &self,
        group: &RowGroup,
        request: &Request,
        (checkpoints, seats): &(Vec<u32>, Vec<u32>),
        row_of: &[u32],
    ) -> Result<Dealt> {
        let (_, layout) = read_codes(group, request, &self.keys)?;
        let lengths = layout.lengths.unwrap_or_default();
        let (outer, inner) = (spread(layout.outer.codes, &lengths), spread(layout.inner.codes, &lengths));
        let rows: Vec<u32> =
            checkpoints.iter().map(|&checkpoint| row_of.get(checkpoint as usize).copied().unwrap_or(OUTSIDE)).collect();
        let find = |codes: &[u32], code: u32| codes.get(code as usize).copied().unwrap_or(OUTSIDE);
        // Where each row goes: its unit and its cell there.
        let places: Vec<(u32, u32)> = outer
            .iter()
            .zip(&inner)
            .map(|(&outer, &inner)| {
                let (row, seat) = (find(&rows, outer), find(seats, inner));
                let unit = find(&self.unit_of, seat);
                match self.units.get(unit as usize) {
                    Some(held) if row != OUTSIDE => (unit, row * held.ids.len() as u32 + seat - held.first),
                    _ => (OUTSIDE, 0),
                }
            })
            .collect();
        let mut starts = vec![0u32; self.units.len() + 1];
        for &(unit, _) in &places {
            if let Some(count) = starts.get_mut(unit.saturating_add(1) as usize) {
                *count += 1;
            }
        }
        let mut so_far = 0;
        for start in &mut starts {
            so_far += *start;
            *start = so_far;
        }
        let mut next = starts.clone();
        let mut rows = vec![(0, 0); so_far as usize];
        for (row, &(unit, cell)) in places.iter().enumerate() {
            if let Some(at) = next.get_mut(unit as usize)
                && let Some(place) = rows.get_mut(*at as usize)
            {
                *place = (row as u32, cell);
                *at += 1;
            }
        }
        let values = request.values.iter().map(|name| Column::read(group, name)).collect::<Result<Vec<Column>>>()?;
        Ok(Dealt { starts, rows, values })
    }
}

/// Codes of checkpoints (outer), and of units with instances (inner), and their labels.
fn read_codes(group: &RowGroup, request: &Request, keys: &Needed) -> Result<(Vec<Vec<Label>>, Layout)> {
    let columns = keys.keys.iter().chain([&request.identity]);
    let inner: Vec<bool> = (0..=keys.keys.len()).map(|key| key >= request.outer.len()).collect();
    let mut folder = Folder::new(&inner, group.rows);
    let mut labels = Vec::with_capacity(inner.len());
    for (key, column) in columns.enumerate() {
        let found = read_keys(group, column)?;
        folder.push(key, found.codes, found.labels.len());
        labels.push(found.labels);
    }
    Ok((labels, folder.finish()))
}

/// One code a row.
fn spread(codes: Vec<u32>, lengths: &[u32]) -> Vec<u32> {
    if lengths.is_empty() {
        return codes;
    }
    codes.iter().zip(lengths).flat_map(|(&code, &length)| std::iter::repeat_n(code, length as usize)).collect()
}

/// Seats in order of appearance.
#[derive(Default)]
struct Seating {
    /// For each unit the seat of each instance.
    known: Vec<HashMap<Box<str>, u32>>,
    /// Unit, and the first file with the instance.
    seats: Vec<(u32, u32)>,
}

impl Seating {
    fn place(
        &mut self,
        found: &Found,
        file: usize,
        numbering: &mut Numbering<'_>,
        request: &Request,
    ) -> Result<(Vec<u32>, Vec<u32>)> {
        let (ids, keys) = found.labels.split_last().unwrap_or((const { &Vec::new() }, &[]));
        let numbers = numbering.labels(keys);
        let outer = numbering.checkpoints(file, &numbers, &found.outer, &found.extras);
        let mut inner = Vec::with_capacity(found.inner.len());
        for tuple in &found.inner {
            let Some((&id, tuple)) = tuple.split_last() else { continue };
            let unit = numbering.unit(&numbers, tuple);
            let number;
            let id = match ids.get(id as usize) {
                Some(Label::Text(text)) => text,
                Some(Label::Int(whole)) => {
                    number = whole.to_string().into();
                    &number
                }
                Some(Label::Real(_)) => return Err(request.unsupported("a real number")),
                _ => return Err(request.unsupported("a missing instance")),
            };
            if self.known.len() <= unit as usize {
                self.known.resize_with(unit as usize + 1, HashMap::new);
            }
            let Some(known) = self.known.get_mut(unit as usize) else { continue };
            inner.push(match known.get(id) {
                Some(&seat) => seat,
                None => {
                    let seat = self.seats.len() as u32;
                    self.seats.push((unit, file as u32));
                    known.insert(id.clone(), seat);
                    seat
                }
            });
        }
        Ok((outer, inner))
    }

    /// Seats unit by unit, in each by the file that had the instance first, then by name.
    fn finish(self, mut placed: Vec<(Vec<u32>, Vec<u32>)>, keys: Needed) -> Shuffled {
        let mut renamed = vec![0u32; self.seats.len()];
        let (mut units, mut unit_of) = (Vec::new(), Vec::with_capacity(self.seats.len()));
        for (unit, known) in self.known.into_iter().enumerate() {
            let file = |seat: u32| self.seats.get(seat as usize).map_or(0, |&(_, file)| file);
            let mut order: Vec<(u32, Box<str>, u32)> =
                known.into_iter().map(|(id, seat)| (file(seat), id, seat)).collect();
            order.sort_unstable();
            let first = unit_of.len() as u32;
            for (&(_, _, seat), new) in order.iter().zip(first..) {
                if let Some(renamed) = renamed.get_mut(seat as usize) {
                    *renamed = new;
                }
                unit_of.push(unit as u32);
            }
            let first_file = order.first().map_or(0, |&(file, _, _)| file);
            units.push(Seats { first, first_file, ids: order.into_iter().map(|(_, id, _)| id).collect() });
        }
        for seat in placed.iter_mut().flat_map(|(_, inner)| inner) {
            *seat = renamed.get(*seat as usize).copied().unwrap_or(OUTSIDE);
        }
        Shuffled { keys, placed, units, unit_of }
    }
}

/// Rows of a row group, unit by unit.
struct Dealt {
    starts: Vec<u32>,
    /// Number of the row, and its cell.
    rows: Vec<(u32, u32)>,
    values: Vec<Column>,
}

/// The matrices of a unit on their way.
struct Half {
    cells: Vec<Cells>,
    gaps: Vec<bool>,
    taken: Vec<bool>,
    covered: usize,
    twice: bool,
}

impl Half {
    fn new(cells: usize, metrics: usize) -> Self {
        Self {
            cells: (0..metrics).map(|_| Cells::Small(vec![NONE; cells])).collect(),
            gaps: vec![false; metrics],
            taken: vec![false; cells],
            covered: 0,
            twice: false,
        }
    }

    fn take(&mut self, unit: usize, dealt: &Dealt) {
        let (Some(&start), Some(&end)) = (dealt.starts.get(unit), dealt.starts.get(unit + 1)) else { return };
        let rows = dealt.rows.get(start as usize..end as usize).unwrap_or_default();
        for &(_, cell) in rows {
            if let Some(taken) = self.taken.get_mut(cell as usize) {
                self.twice |= *taken;
                *taken = true;
            }
        }
        self.covered += rows.len();
        for ((cells, values), gaps) in self.cells.iter_mut().zip(&dealt.values).zip(&mut self.gaps) {
            cells.scatter(&values.cells, rows);
            *gaps |= values.gaps;
        }
    }
}
