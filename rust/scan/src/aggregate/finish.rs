//! From cells in order of appearance to groups in the order of their labels.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::Groups;
use super::buckets::Buckets;
use super::cells::Cells;
use crate::parquet::Label;

/// Groups in the order of their labels.
pub(crate) fn finish(mut cells: Cells, mut buckets: Buckets, by: usize, scores: usize, rows: u64) -> Groups {
    buckets.close();
    let ranked: Vec<(Vec<Label>, Vec<u32>)> = std::mem::take(&mut cells.labels).into_iter().map(rank).collect();
    let keys = keys(&cells, &ranked);
    let found = in_order(cells, &keys);
    let sound = buckets.sound(&found);
    // Cells of one group differ in the parts of their keys behind the first `by`.
    let parts = keys.iter().skip(by).map(|key| key.labels).product::<u128>();
    let starts: Vec<usize> = if parts == 1 {
        (0..found.len()).collect()
    } else {
        let group = |at: usize| found.get(at).map(|one| one.key / parts);
        (0..found.len()).filter(|&at| at == 0 || group(at) != group(at - 1)).collect()
    };
    let doubtful = starts
        .iter()
        .enumerate()
        .map(|(group, &start)| {
            let end = starts.get(group + 1).copied().unwrap_or(found.len());
            !sound.get(start..end).unwrap_or_default().iter().all(|&sound| sound)
        })
        .collect();
    let firsts = || starts.iter().filter_map(|&at| found.get(at));
    let codes = keys.iter().take(by).map(|key| firsts().map(|one| key.rank(one)).collect()).collect();
    buckets.drop_instances();
    let moments = buckets.moments(&found, &starts, scores);
    let labels = ranked.into_iter().take(by).map(|(labels, _)| labels).collect();
    Groups { labels, codes, moments, doubtful, rows }
}

/// A cell in the order of labels: ranks of all labels as one number.
pub(crate) struct Found {
    key: u128,
    pub(crate) cell: u32,
    outer: u32,
    pub(crate) inner: u32,
}

/// Every cell, in the order of its labels.
fn in_order(cells: Cells, keys: &[Key]) -> Vec<Found> {
    let mut found = Vec::with_capacity(cells.count.load(Ordering::Relaxed) as usize);
    for (outer, inner, cell) in cells.seen() {
        let mut one = Found { key: 0, cell, outer, inner };
        one.key = keys.iter().fold(0, |number, key| number * key.labels + u128::from(key.rank(&one)));
        found.push(one);
    }
    drop(cells);
    found.par_sort_unstable_by_key(|one| one.key);
    found
}

/// A key: how many labels it has, and the rank of its label in each outer or inner tuple.
struct Key {
    labels: u128,
    is_inner: bool,
    ranks: Vec<u32>,
}

impl Key {
    fn rank(&self, one: &Found) -> u32 {
        let tuple = if self.is_inner { one.inner } else { one.outer };
        self.ranks.get(tuple as usize).copied().unwrap_or(0)
    }
}

fn keys(cells: &Cells, ranked: &[(Vec<Label>, Vec<u32>)]) -> Vec<Key> {
    let tuples = [tuples(&cells.outer_tuples), tuples(&cells.inner_tuples)];
    let mut seats = [0; 2];
    let keys = cells.inner.iter().zip(ranked).map(|(&is_inner, (labels, ranks))| {
        let half = usize::from(is_inner);
        let seat = seats[half];
        seats[half] += 1;
        let rank =
            |tuple: &&[u32]| tuple.get(seat).and_then(|&number| ranks.get(number as usize)).copied().unwrap_or(0);
        Key { labels: labels.len().max(1) as u128, is_inner, ranks: tuples[half].iter().map(rank).collect() }
    });
    keys.collect()
}

/// Labels in order, and the rank of each number.
fn rank(labels: HashMap<Label, u32>) -> (Vec<Label>, Vec<u32>) {
    let mut sorted: Vec<(Label, u32)> = labels.into_iter().collect();
    sorted.sort_unstable();
    let mut ranks = vec![0; sorted.len()];
    for (rank, (_, number)) in sorted.iter().enumerate() {
        if let Some(slot) = ranks.get_mut(*number as usize) {
            *slot = rank as u32;
        }
    }
    (sorted.into_iter().map(|(label, _)| label).collect(), ranks)
}

/// Tuples by their number.
fn tuples(known: &HashMap<Vec<u32>, u32>) -> Vec<&[u32]> {
    let mut by_number: Vec<&[u32]> = vec![&[]; known.len()];
    for (tuple, &number) in known {
        if let Some(slot) = by_number.get_mut(number as usize) {
            *slot = tuple;
        }
    }
    by_number
}
