//! The same moments by many machines: a plan names the units, each is added up by whoever takes it, and what they found
//! is brought together in the order of the units.

use std::sync::Arc;

use signoise_core::parallel::Interrupt;

use super::buckets::Buckets;
use super::cells::{Cells, Checkpoint};
use super::finish::finish;
use super::keyed::{Keyed, Known};
use super::layout::{Folded, Layout};
use super::share::Share;
use super::spare::Spare;
use super::state::{Unit, from_bytes, to_bytes, units};
use super::{Groups, Progress, Request, scan};
use crate::error::Result;
use crate::parquet::{EARLY_FILES, Needed, RowGroups};

/// Units of files, and what whoever takes one has to know.
#[derive(Debug, Default)]
pub struct Plan {
    /// Which of the files each unit is a part of.
    pub files: Vec<u32>,
    /// Its first row.
    pub first: Vec<u64>,
    /// How many rows it has.
    pub rows: Vec<u64>,
    /// Checkpoints whose groups keep their instances, as bytes for [`map_units`].
    pub kept: Vec<u8>,
}

/// The units of a request for whole files.
///
/// # Errors
/// A file that is missing, damaged or of types that cannot be scanned; an interrupt.
pub fn plan(request: &Request, interrupt: &Interrupt) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut last = None;
    for (file, piece) in (0..).zip(&request.pieces) {
        let mut row = 0;
        let mut groups = RowGroups::new(vec![piece.clone()], Needed::default());
        while let Some(group) = groups.next()? {
            interrupt.check()?;
            if group.rows() == 0 {
                continue;
            }
            if last != Some((file, group.unit().number)) {
                last = Some((file, group.unit().number));
                plan.files.push(file);
                plan.first.push(row);
                plan.rows.push(0);
            }
            if let Some(rows) = plan.rows.last_mut() {
                *rows += group.rows() as u64;
            }
            row += group.rows() as u64;
        }
    }
    plan.kept = to_bytes(&first_checkpoints(request, interrupt)?)?;
    Ok(plan)
}

/// The checkpoints that a scan of the whole request would have keep their instances.
fn first_checkpoints(request: &Request, interrupt: &Interrupt) -> Result<Vec<Checkpoint>> {
    let known = Known::default();
    let mut cells = Cells::new(&request.inner, None);
    if request.identity.is_some() {
        let needed = Needed { keys: request.keys.clone(), ..Needed::default() };
        let mut groups = RowGroups::new(request.pieces.iter().take(EARLY_FILES).cloned().collect(), needed);
        while let Some(group) = groups.next()?
            && !cells.has_all_kept()
        {
            interrupt.check()?;
            if group.unit().early && group.rows() > 0 {
                cells.place(&known.keys(&group.read()?, request)?, true);
            }
        }
    }
    Ok(cells.checkpoints())
}

/// The state of units, each a piece of the request, with the `kept` of their plan.
///
/// # Errors
/// A file that is missing, damaged or of types that cannot be scanned; an interrupt; bytes that are of no plan.
pub fn map_units(request: &Request, kept: &[u8], progress: &Progress, interrupt: &Interrupt) -> Result<Vec<u8>> {
    let kept: Vec<Checkpoint> = from_bytes(kept)?;
    let mut found = Vec::with_capacity(request.pieces.len());
    for piece in &request.pieces {
        let request = Request { pieces: vec![piece.clone()], ..request.clone() };
        let before = progress.rows();
        let (cells, buckets) = scan(&request, Some(kept.clone()), progress, interrupt)?;
        found.push(Unit::new(cells, buckets, request.values.len(), progress.rows() - before));
    }
    to_bytes(&found)
}

/// Brings states together, in the order of their units.
pub struct Merger {
    by: usize,
    scores: usize,
    inner: Vec<bool>,
    cells: Cells,
    buckets: Buckets,
    spare: Spare,
    units: u32,
    rows: u64,
}

impl Merger {
    /// For the states of a request, of which `by`, `inner` and the number of scores count, with the `kept` of its plan.
    ///
    /// # Errors
    /// Bytes that are of no plan.
    pub fn new(by: usize, inner: Vec<bool>, scores: usize, kept: &[u8]) -> Result<Self> {
        let cells = Cells::new(&inner, Some(from_bytes(kept)?));
        let (buckets, spare) = (Buckets::new(scores), Spare::default());
        Ok(Self { by, scores, inner, cells, buckets, spare, units: 0, rows: 0 })
    }

    /// Adds the state of the next units.
    ///
    /// # Errors
    /// Bytes that are no state, or that of another request.
    pub fn add(&mut self, state: &[u8]) -> Result<()> {
        for unit in units(state, self.scores, &self.inner)? {
            self.units += 1;
            self.rows = self.rows.saturating_add(unit.rows);
            let Unit { labels, tuples: [outer, inner], cells, summed, .. } = unit;
            let (of_outer, of_inner) = cells.into_iter().unzip();
            let layout = Layout {
                lengths: None,
                repeated: Vec::new(),
                outer: Folded { codes: of_outer, tuples: outer },
                inner: Folded { codes: of_inner, tuples: inner },
            };
            let keyed = Keyed { labels: labels.into_iter().map(Arc::from).collect(), layout: Arc::new(layout) };
            let numbers = self.cells.place(&keyed, false);
            self.cells.grow();
            let cells = self.cells.of(&keyed.layout, &numbers, &self.spare);
            self.buckets.add(&[Share::of_unit(self.units, cells, summed)], &self.cells.room());
        }
        Ok(())
    }

    /// The groups of all units.
    #[must_use]
    pub fn finish(self) -> Groups {
        finish(self.cells, self.buckets, self.by, self.scores, self.rows)
    }
}

impl std::fmt::Debug for Merger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merger").field("units", &self.units).field("rows", &self.rows).finish_non_exhaustive()
    }
}
