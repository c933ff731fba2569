//! What one row group adds to the groups, dealt to the buckets that the groups are in.

use std::cell::RefCell;
use std::sync::Arc;

use rayon::prelude::*;

use super::buckets::BUCKETS;
use super::identity::{Counted, Instances};
use super::keyed::Known;
use super::layout::Layout;
use super::spare::{Shelf, Spare};
use super::state::Summed;
use super::sums::{Sums, of_runs};
use super::{Request, Scan};
use crate::error::Result;
use crate::parquet::{RowGroup, read_all_values, read_bits, read_identities, read_values};

/// Runs or rows of a row group in bucket order.
pub(crate) struct Share {
    /// Which unit they belong to.
    pub(crate) unit: u32,
    /// Cell of each run or row.
    pub(crate) cells: Vec<u32>,
    /// Where each bucket begins, and behind the last one.
    pub(crate) starts: [usize; BUCKETS + 1],
    /// For each score column.
    pub(crate) scores: Vec<Scores>,
    pub(crate) seen: Seen,
}

/// Scores in bucket order.
pub(crate) enum Scores {
    /// Of runs.
    Sums(Vec<Sums>),
    /// Of rows.
    Values(Vec<f64>),
    /// Of rows that are 0 or 1.
    Bits(Vec<bool>),
}

/// Instances in bucket order.
pub(crate) enum Seen {
    Unknown,
    /// For each run whether its instances are known to differ.
    Runs(Vec<bool>),
    /// For each row the hash of its instance.
    Rows(Vec<u64>),
    /// For each group of a unit what was counted, and the hashes that were kept.
    Units(Vec<Counted>, Vec<Option<Instances>>),
}

thread_local! {
    /// Scores of one row group.
    static VALUES: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// Rows from which on the columns of a row group are shared among threads.
const LARGE: usize = 1 << 17;

/// Where the runs or rows of a row group go.
struct Places<'a> {
    layout: &'a Arc<Layout>,
    /// First row and length of each run, in row order.
    runs: Vec<(u32, u32)>,
    /// For each run or row its place in bucket order.
    places: Vec<u32>,
    spare: &'a Spare,
}

impl Share {
    /// Reads the scores and instances of a row group, whose runs or rows are in these cells.
    pub(crate) fn read(group: &RowGroup, scan: &Scan<'_>, layout: &Arc<Layout>, cells: Vec<u32>) -> Result<Self> {
        let mut first = 0;
        let runs = layout.lengths.iter().flatten().map(|&length| {
            first += length;
            (first - length, length)
        });
        let dealt = Cards::new(cells, scan.spare.codes.get(layout.outer.codes.len()));
        let places = Places { layout, runs: runs.collect(), places: dealt.places, spare: &scan.spare };
        let Request { values, identity, .. } = scan.request;
        let scores = |column: &String| places.read_scores(group, column);
        let seen =
            || identity.as_ref().map_or(Ok(Seen::Unknown), |column| places.read_identities(group, column, &scan.known));
        // Side by side where row groups are large, as these may be few.
        let (scores, seen): (Result<_>, _) = if group.rows < LARGE {
            (values.iter().map(scores).collect(), seen())
        } else {
            rayon::join(|| values.par_iter().map(scores).collect(), seen)
        };
        scan.spare.codes.give(places.places);
        let Cards { cells, starts, .. } = dealt;
        Ok(Self { unit: group.unit.number, cells, starts, scores: scores?, seen: seen? })
    }

    /// What a unit brings that was added up elsewhere: sums of each score and what was counted, in these cells.
    pub(crate) fn of_unit(number: u32, cells: Vec<u32>, unit: Summed) -> Self {
        let room = vec![0; cells.len()];
        let Cards { places, cells, starts } = Cards::new(cells, room);
        let scores = unit.sums.into_iter().map(|sums| Scores::Sums(deal(sums, &places))).collect();
        let seen = if unit.counted.is_empty() {
            Seen::Unknown
        } else {
            Seen::Units(deal(unit.counted, &places), deal(unit.kept, &places))
        };
        Self { unit: number, cells, starts, scores, seen }
    }
}

/// Cells dealt to the buckets that they are in.
struct Cards {
    /// The place of each in bucket order.
    places: Vec<u32>,
    /// Cells in bucket order.
    cells: Vec<u32>,
    starts: [usize; BUCKETS + 1],
}

impl Cards {
    /// Deals cells into room of the same length.
    fn new(mut cells: Vec<u32>, mut room: Vec<u32>) -> Self {
        let mut starts = [0; BUCKETS + 1];
        for cell in &cells {
            starts[*cell as usize % BUCKETS + 1] += 1;
        }
        for bucket in 0..BUCKETS {
            starts[bucket + 1] += starts[bucket];
        }
        let mut next = starts;
        // Each cell gives way to its place.
        for cell in &mut cells {
            let place = &mut next[*cell as usize % BUCKETS];
            if let Some(slot) = room.get_mut(*place) {
                *slot = *cell;
            }
            *cell = *place as u32;
            *place += 1;
        }
        Self { places: cells, cells: room, starts }
    }
}

impl Places<'_> {
    fn is_runs(&self) -> bool {
        self.layout.lengths.is_some()
    }

    fn read_scores(&self, group: &RowGroup, column: &str) -> Result<Scores> {
        let bits = read_bits(group, column)?;
        Ok(match bits {
            Some(bits) if self.is_runs() => {
                let sums = self.runs.iter().map(|&(first, length)| {
                    Sums::of_bits(bits.count(first as usize, length as usize), u64::from(length))
                });
                Scores::Sums(deal(sums, &self.places))
            }
            Some(bits) => Scores::Bits(deal(bits.iter(), &self.places)),
            None if self.is_runs() => {
                let sums = VALUES.with_borrow_mut(|values| {
                    values.clear();
                    read_all_values(group, column, values).map(|()| of_runs(values, &self.runs))
                })?;
                Scores::Sums(deal(sums, &self.places))
            }
            None => {
                let mut dealt = Dealt::new(&self.places, &self.spare.values);
                read_values(group, column, &mut |page| dealt.extend(page))?;
                Scores::Values(dealt.values)
            }
        })
    }

    fn read_identities(&self, group: &RowGroup, column: &str, known: &Known) -> Result<Seen> {
        if self.is_runs() {
            let differ = known.differ(group, column, self.layout, &self.runs)?;
            return Ok(Seen::Runs(deal(differ.iter().copied(), &self.places)));
        }
        let mut dealt = Dealt::new(&self.places, &self.spare.hashes);
        read_identities(group, column, true, &mut |hashes| dealt.extend(hashes))?;
        Ok(Seen::Rows(dealt.values))
    }
}

/// Values put in their places as they come.
struct Dealt<'a, T> {
    places: std::slice::Iter<'a, u32>,
    values: Vec<T>,
}

impl<'a, T: Copy + Default> Dealt<'a, T> {
    fn new(places: &'a [u32], spare: &Shelf<T>) -> Self {
        Self { places: places.iter(), values: spare.get(places.len()) }
    }

    fn extend(&mut self, values: &[T]) {
        for (&value, &place) in values.iter().zip(&mut self.places) {
            if let Some(slot) = self.values.get_mut(place as usize) {
                *slot = value;
            }
        }
    }
}

/// Puts each value in its place.
fn deal<T: Default>(values: impl IntoIterator<Item = T>, places: &[u32]) -> Vec<T> {
    let mut dealt: Vec<T> = places.iter().map(|_| T::default()).collect();
    for (value, &place) in values.into_iter().zip(places) {
        if let Some(slot) = dealt.get_mut(place as usize) {
            *slot = value;
        }
    }
    dealt
}
