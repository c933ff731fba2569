//! Units that were added up, as bytes: what one machine tells another of its rows.
//!
//! Layout: MAGIC, the units in the postcard format (a compact binary one, without types), XXH3 of both (8 bytes, little
//! endian). States come from other processes: whatever is wrong with one is an error.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::buckets::Buckets;
use super::cells::Cells;
use super::identity::{Counted, Instances};
use super::sums::Sums;
use crate::error::{Error, Result};
use crate::parquet::Label;

/// Also the version: it changes with anything in here.
const MAGIC: &[u8; 8] = b"SNUNITS1";

/// The groups of one unit.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Labels of each key.
    pub(crate) labels: Vec<Vec<Label>>,
    /// For each outer tuple (checkpoint) and inner tuple (score) the numbers of its labels.
    pub(crate) tuples: [Vec<Vec<u32>>; 2],
    /// Outer and inner tuple of each cell.
    pub(crate) cells: Vec<(u32, u32)>,
    pub(crate) summed: Summed,
    /// Rows read.
    pub(crate) rows: u64,
}

/// What the cells of a unit hold.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summed {
    /// Of each score, cell by cell.
    pub(crate) sums: Vec<Vec<Sums>>,
    /// Of each cell; none where instances are not told apart.
    pub(crate) counted: Vec<Counted>,
    /// Of each cell, where they were kept.
    pub(crate) kept: Vec<Option<Instances>>,
}

impl Unit {
    /// The groups of a scan of one unit.
    pub(crate) fn new(cells: Cells, mut buckets: Buckets, scores: usize, rows: u64) -> Self {
        buckets.close();
        let mut summed = Summed { sums: vec![Vec::new(); scores], ..Summed::default() };
        let mut seats = Vec::new();
        for (outer, inner, cell) in cells.seen() {
            let Some((sums, counted, kept)) = buckets.cell(cell) else { continue };
            seats.push((outer, inner));
            for (column, sums) in summed.sums.iter_mut().zip(sums) {
                column.push(sums);
            }
            if let Some(counted) = counted {
                summed.counted.push(counted);
                summed.kept.push(kept.cloned());
            }
        }
        let tuples = [in_order(cells.outer_tuples), in_order(cells.inner_tuples)];
        Self { labels: cells.labels.into_iter().map(in_order).collect(), tuples, cells: seats, summed, rows }
    }

    /// Whether every number in it stands for something, for so many scores and outer and inner keys.
    fn is_whole(&self, scores: usize, keys: [usize; 2], inner: &[bool]) -> bool {
        let Summed { sums, counted, kept } = &self.summed;
        let n = self.cells.len();
        let labels = |wanted: bool| self.labels.iter().zip(inner).filter(move |(_, inner)| **inner == wanted);
        let tuples = |half: usize| {
            self.tuples[half].iter().all(|tuple| {
                tuple.len() == keys[half]
                    && labels(half == 1).zip(tuple).all(|((labels, _), &number)| (number as usize) < labels.len())
            })
        };
        self.labels.len() == inner.len()
            && tuples(0)
            && tuples(1)
            && self.cells.iter().all(|&(outer, inner)| {
                (outer as usize) < self.tuples[0].len() && (inner as usize) < self.tuples[1].len()
            })
            && sums.len() == scores
            && sums.iter().all(|column| column.len() == n)
            && (counted.is_empty() || counted.len() == n)
            && kept.len() == counted.len()
    }
}

/// Things in the order of their numbers.
fn in_order<T>(numbers: std::collections::HashMap<T, u32>) -> Vec<T> {
    let mut pairs: Vec<(T, u32)> = numbers.into_iter().collect();
    pairs.sort_unstable_by_key(|(_, number)| *number);
    pairs.into_iter().map(|(thing, _)| thing).collect()
}

/// Units as bytes.
///
/// # Errors
/// None in practice: everything in here can be written.
pub(crate) fn to_bytes<T: Serialize>(things: &T) -> Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(things, MAGIC.to_vec()).map_err(|error| damaged(&error))?;
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    Ok(bytes)
}

/// What was written as bytes.
///
/// # Errors
/// Bytes that are no state, of another version, cut or changed.
pub(crate) fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    if bytes.get(..MAGIC.len()) != Some(MAGIC) {
        return Err(damaged(&"it does not begin as one of this version does"));
    }
    let (body, sum) = bytes.split_at(bytes.len().saturating_sub(8).max(MAGIC.len()));
    if sum != checksum(body) {
        return Err(damaged(&"its checksum differs: it was cut or changed"));
    }
    postcard::from_bytes(body.get(MAGIC.len()..).unwrap_or_default()).map_err(|error| damaged(&error))
}

/// The units of a state.
///
/// # Errors
/// As [`from_bytes`]; units with other keys or scores than these.
pub(crate) fn units(bytes: &[u8], scores: usize, inner: &[bool]) -> Result<Vec<Unit>> {
    let inner_keys = inner.iter().filter(|inner| **inner).count();
    let keys = [inner.len() - inner_keys, inner_keys];
    let units: Vec<Unit> = from_bytes(bytes)?;
    if units.iter().all(|unit| unit.is_whole(scores, keys, inner)) {
        Ok(units)
    } else {
        Err(damaged(&"its groups are not those of this request"))
    }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut hasher = XxHash3_64::default();
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

fn damaged(reason: &dyn std::fmt::Display) -> Error {
    Error::Damaged { file: "state of a partition".to_owned(), reason: reason.to_string() }
}
