//! The grid of groups: which cell a row belongs to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::buckets::Room;
use super::keyed::Keyed;
use super::layout::Layout;
use super::spare::Spare;
use crate::parquet::Label;

/// Cells whose checkpoint is one of the first few keep all their instances: the others are compared with them. They
/// are the first of the early units, so that they follow from the files alone.
const KEPT: usize = 4;

/// A checkpoint: its labels in the order of the outer keys.
pub(crate) type Checkpoint = Vec<Label>;

/// Every group seen so far.
pub(crate) struct Cells {
    pub(super) inner: Vec<bool>,
    /// Labels of each key, numbered in order of appearance.
    pub(super) labels: Vec<HashMap<Label, u32>>,
    /// Numbers of the last row group's inner tuples, and of which labels they are.
    last: Option<(Keyed, Arc<[u32]>)>,
    /// Numbers of the checkpoints that keep their instances.
    kept: Vec<u32>,
    /// Those checkpoints, where they are known beforehand.
    chosen: Option<Vec<Checkpoint>>,
    pub(super) outer_tuples: HashMap<Vec<u32>, u32>,
    pub(super) inner_tuples: HashMap<Vec<u32>, u32>,
    /// 1 + number of the cell; 0 = not seen.
    pub(super) grid: Vec<AtomicU32>,
    pub(super) stride: usize,
    pub(super) count: AtomicU32,
}

/// Numbers of the outer and inner tuples of a row group.
pub(crate) struct Numbers {
    outer: Arc<[u32]>,
    inner: Arc<[u32]>,
}

impl Cells {
    pub(crate) fn new(inner: &[bool], chosen: Option<Vec<Checkpoint>>) -> Self {
        Self {
            inner: inner.to_vec(),
            labels: inner.iter().map(|_| HashMap::new()).collect(),
            last: None,
            kept: Vec::new(),
            chosen,
            outer_tuples: HashMap::new(),
            inner_tuples: HashMap::new(),
            grid: Vec::new(),
            stride: 0,
            count: AtomicU32::new(0),
        }
    }

    /// Numbers of a row group's outer and inner tuples.
    pub(crate) fn place(&mut self, keyed: &Keyed, early: bool) -> Numbers {
        let outer = self.half(false, keyed);
        self.keep(keyed, &outer, early);
        if let Some((last, inner)) = &self.last
            && Arc::ptr_eq(&last.layout, &keyed.layout)
            && last.labels.iter().zip(&keyed.labels).zip(&self.inner).all(|((a, b), inner)| !inner || Arc::ptr_eq(a, b))
        {
            return Numbers { outer, inner: Arc::clone(inner) };
        }
        let inner = self.half(true, keyed);
        let kept = Keyed { labels: keyed.labels.clone(), layout: Arc::clone(&keyed.layout) };
        self.last = Some((kept, Arc::clone(&inner)));
        Numbers { outer, inner }
    }

    fn half(&mut self, wanted: bool, keyed: &Keyed) -> Arc<[u32]> {
        let Self { labels: known, inner, outer_tuples, inner_tuples, .. } = self;
        let numbers: Vec<Vec<u32>> = keyed
            .labels
            .iter()
            .zip(known)
            .zip(inner)
            .filter(|(_, inner)| **inner == wanted)
            .map(|((labels, known), _)| {
                labels
                    .iter()
                    .map(|label| match known.get(label) {
                        Some(&number) => number,
                        None => {
                            let next = known.len() as u32;
                            known.insert(label.clone(), next);
                            next
                        }
                    })
                    .collect()
            })
            .collect();
        let (tuples, known) = if wanted {
            (&keyed.layout.inner.tuples, inner_tuples)
        } else {
            (&keyed.layout.outer.tuples, outer_tuples)
        };
        tuples
            .iter()
            .map(|tuple| {
                let global: Vec<u32> = tuple
                    .iter()
                    .zip(&numbers)
                    .map(|(&code, numbers)| numbers.get(code as usize).copied().unwrap_or(0))
                    .collect();
                let next = known.len() as u32;
                *known.entry(global).or_insert(next)
            })
            .collect()
    }

    /// Chooses the checkpoints that keep their instances.
    fn keep(&mut self, keyed: &Keyed, outer: &[u32], early: bool) {
        for (tuple, &number) in keyed.layout.outer.tuples.iter().zip(outer) {
            let wanted = match &self.chosen {
                Some(chosen) => !chosen.is_empty() && chosen.contains(&keyed.checkpoint(tuple, &self.inner)),
                None => early && self.kept.len() < KEPT,
            };
            if wanted && !self.kept.contains(&number) {
                self.kept.push(number);
            }
        }
    }

    pub(crate) const fn has_all_kept(&self) -> bool {
        self.kept.len() >= KEPT
    }

    /// The checkpoints that keep their instances.
    pub(crate) fn checkpoints(&self) -> Vec<Checkpoint> {
        let labels: Vec<HashMap<u32, &Label>> = self
            .labels
            .iter()
            .zip(&self.inner)
            .filter(|(_, inner)| !**inner)
            .map(|(labels, _)| labels.iter().map(|(label, &number)| (number, label)).collect())
            .collect();
        let tuples: HashMap<u32, &Vec<u32>> =
            self.outer_tuples.iter().map(|(tuple, &number)| (number, tuple)).collect();
        let of = |number: &u32| {
            let tuple = tuples.get(number)?;
            labels.iter().zip(*tuple).map(|(labels, number)| labels.get(number).map(|&label| label.clone())).collect()
        };
        self.kept.iter().filter_map(of).collect()
    }

    /// Makes room for every tuple that was placed.
    pub(crate) fn grow(&mut self) {
        let (rows, columns) = (self.outer_tuples.len(), self.inner_tuples.len());
        if columns > self.stride {
            let stride = columns.next_power_of_two();
            let mut grid = Vec::with_capacity(rows * stride);
            for row in self.grid.chunks(self.stride.max(1)) {
                grid.extend(row.iter().map(|cell| AtomicU32::new(cell.load(Ordering::Relaxed))));
                grid.extend((row.len()..stride).map(|_| AtomicU32::new(0)));
            }
            (self.grid, self.stride) = (grid, stride);
        }
        self.grid.resize_with(rows * self.stride, || AtomicU32::new(0));
    }

    /// The cell of an outer and an inner tuple.
    fn cell(&self, outer: u32, inner: u32) -> u32 {
        let Some(slot) = self.grid.get(outer as usize * self.stride + inner as usize) else { return 0 };
        match slot.load(Ordering::Relaxed) {
            0 => {
                // Numbers depend on threads; nothing but the place in memory depends on numbers.
                let fresh = self.count.fetch_add(1, Ordering::Relaxed) + 1;
                match slot.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => fresh - 1,
                    Err(taken) => taken - 1,
                }
            }
            cell => cell - 1,
        }
    }

    /// The cell of each run or row.
    pub(crate) fn of(&self, layout: &Layout, numbers: &Numbers, spare: &Spare) -> Vec<u32> {
        let number = |numbers: &[u32], code: u32| numbers.get(code as usize).copied().unwrap_or(0);
        let mut cells = spare.codes.get(layout.outer.codes.len());
        for ((cell, &outer), &inner) in cells.iter_mut().zip(&layout.outer.codes).zip(&layout.inner.codes) {
            *cell = self.cell(number(&numbers.outer, outer), number(&numbers.inner, inner));
        }
        cells
    }

    /// Outer tuple, inner tuple and number of every cell seen so far, in the order of the tuples.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        self.grid.chunks(self.stride.max(1)).zip(0..).flat_map(|(row, outer)| {
            let cell = move |(slot, inner): (&AtomicU32, u32)| {
                slot.load(Ordering::Relaxed).checked_sub(1).map(|cell| (outer, inner, cell))
            };
            row.iter().zip(0..).filter_map(cell)
        })
    }

    /// What the buckets need to know of the cells seen so far.
    pub(crate) fn room(&self) -> Room {
        Room { cells: self.count.load(Ordering::Relaxed) as usize, kept: self.kept_cells() }
    }

    fn kept_cells(&self) -> Vec<u32> {
        let row = |&outer: &u32| self.grid.iter().skip(outer as usize * self.stride).take(self.stride);
        self.kept.iter().flat_map(row).filter_map(|slot| slot.load(Ordering::Relaxed).checked_sub(1)).collect()
    }
}
