//! The grid of groups, and what each row group adds to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::identity::{Counted, Instances};
use super::keyed::Keyed;
use super::layout::Layout;
use super::share::{Scores, Seen, Share};
use super::sums::Sums;
use super::{Groups, Moments, Request};
use crate::parquet::Label;

/// Groups are dealt to this many buckets: threads add to different ones, and one bucket fits in a core's cache.
pub(crate) const BUCKETS: usize = 64;

/// Cells whose checkpoint is one of the first few keep all their instances: the others are compared with them.
const KEPT: u32 = 4;

/// Every group seen so far.
pub(crate) struct Cells {
    inner: Vec<bool>,
    /// Labels of each key, numbered in order of appearance.
    labels: Vec<HashMap<Label, u32>>,
    /// Numbers of the last row group's inner tuples, and of which labels they are.
    last: Option<(Keyed, Arc<[u32]>)>,
    outer_tuples: HashMap<Vec<u32>, u32>,
    inner_tuples: HashMap<Vec<u32>, u32>,
    /// 1 + number of the cell; 0 = not seen.
    grid: Vec<AtomicU32>,
    stride: usize,
    count: AtomicU32,
    buckets: Vec<Bucket>,
}

#[derive(Default)]
struct Bucket {
    /// Sums of each score, cell by cell.
    sums: Vec<Vec<Sums>>,
    instances: Vec<Counted>,
    kept: HashMap<u32, Instances>,
}

/// Numbers of the outer and inner tuples of a row group.
pub(crate) struct Numbers {
    outer: Arc<[u32]>,
    inner: Arc<[u32]>,
}

impl Cells {
    pub(crate) fn new(request: &Request) -> Self {
        Self {
            inner: request.inner.clone(),
            labels: request.keys.iter().map(|_| HashMap::new()).collect(),
            last: None,
            outer_tuples: HashMap::new(),
            inner_tuples: HashMap::new(),
            grid: Vec::new(),
            stride: 0,
            count: AtomicU32::new(0),
            buckets: (0..BUCKETS)
                .map(|_| Bucket { sums: vec![Vec::new(); request.values.len()], ..Bucket::default() })
                .collect(),
        }
    }

    /// Numbers of a row group's outer and inner tuples.
    pub(crate) fn place(&mut self, keyed: &Keyed) -> Numbers {
        let outer = self.half(false, keyed);
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

    /// Deals the runs or rows of a row group to the buckets.
    pub(crate) fn share(&self, layout: Arc<Layout>, numbers: &Numbers) -> Share {
        let number = |numbers: &[u32], code: u32| numbers.get(code as usize).copied().unwrap_or(0);
        let cells = layout
            .outer
            .codes
            .iter()
            .zip(&layout.inner.codes)
            .map(|(&outer, &inner)| self.cell(number(&numbers.outer, outer), number(&numbers.inner, inner)))
            .collect();
        Share::new(layout, cells)
    }

    /// Adds what row groups brought, in their order.
    pub(crate) fn add(&mut self, shares: &[Share]) {
        let cells = self.count.load(Ordering::Relaxed) as usize;
        let identified = shares.iter().any(|share| !matches!(share.seen, Seen::Unknown));
        let room = cells.div_ceil(BUCKETS);
        let kept = self.kept_cells();
        self.buckets.par_iter_mut().enumerate().for_each(|(at, bucket)| {
            for sums in &mut bucket.sums {
                sums.resize(room, Sums::default());
            }
            if identified {
                bucket.instances.resize(room, Counted::default());
                for cell in kept.iter().filter(|&&cell| cell as usize % BUCKETS == at) {
                    if let Some(counted) = bucket.instances.get_mut(*cell as usize / BUCKETS) {
                        counted.keep();
                    }
                }
            }
            for share in shares {
                bucket.add(share, at);
            }
        });
    }

    /// Cells that keep their instances: those of the first checkpoints.
    fn kept_cells(&self) -> Vec<u32> {
        let first = self.grid.iter().take(KEPT as usize * self.stride);
        first.filter_map(|slot| slot.load(Ordering::Relaxed).checked_sub(1)).collect()
    }

    /// Groups in the order of their labels.
    pub(crate) fn finish(mut self, request: &Request, rows: u64) -> Groups {
        let ranked: Vec<(Vec<Label>, Vec<u32>)> = std::mem::take(&mut self.labels).into_iter().map(rank).collect();
        let found = self.in_order(&ranked);
        let sound = self.sound(&found);
        // Cells of one group differ in the parts of their keys behind the first `by`.
        let parts = ranked.iter().skip(request.by).map(|(labels, _)| labels.len().max(1) as u128).product::<u128>();
        let mut starts: Vec<usize> = Vec::new();
        let mut last = None;
        for (at, one) in found.iter().enumerate() {
            let group = one.key / parts;
            if last != Some(group) {
                starts.push(at);
                last = Some(group);
            }
        }
        let doubtful = starts
            .iter()
            .enumerate()
            .map(|(group, &start)| {
                let end = starts.get(group + 1).copied().unwrap_or(found.len());
                !sound.get(start..end).unwrap_or_default().iter().all(|&sound| sound)
            })
            .collect();
        let mut codes = Vec::with_capacity(request.by);
        let mut below = parts;
        for (labels, _) in ranked.iter().take(request.by).rev() {
            let size = labels.len().max(1) as u128;
            codes.push(
                starts.iter().filter_map(|&at| found.get(at)).map(|one| (one.key / below % size) as u32).collect(),
            );
            below *= size;
        }
        codes.reverse();
        for bucket in &mut self.buckets {
            bucket.instances = Vec::new();
        }
        let scores = (0..request.values.len()).map(|score| self.moments(score, &found, &starts)).collect();
        let labels = ranked.into_iter().take(request.by).map(|(labels, _)| labels).collect();
        Groups { labels, codes, scores, doubtful, rows }
    }

    /// Every cell, in the order of its labels.
    fn in_order(&mut self, ranked: &[(Vec<Label>, Vec<u32>)]) -> Vec<Found> {
        let (outer, inner) = (tuples(&self.outer_tuples), tuples(&self.inner_tuples));
        // Half and place of each key, and what a step in its rank counts.
        let mut places = Vec::with_capacity(ranked.len());
        let mut next = [0usize; 2];
        for &is_inner in &self.inner {
            let seat = &mut next[usize::from(is_inner)];
            places.push((is_inner, *seat));
            *seat += 1;
        }
        let mut found = Vec::with_capacity(self.count.load(Ordering::Relaxed) as usize);
        for (o, row) in self.grid.chunks(self.stride.max(1)).enumerate() {
            for (i, slot) in row.iter().enumerate() {
                let Some(cell) = slot.load(Ordering::Relaxed).checked_sub(1) else { continue };
                let key = places.iter().zip(ranked).fold(0u128, |key, ((is_inner, seat), (labels, ranks))| {
                    let tuple = if *is_inner { inner.get(i) } else { outer.get(o) };
                    let number = tuple.and_then(|tuple| tuple.get(*seat)).copied().unwrap_or(0);
                    let rank = ranks.get(number as usize).copied().unwrap_or(0);
                    key * labels.len().max(1) as u128 + u128::from(rank)
                });
                found.push(Found { key, cell, inner: i as u32 });
            }
        }
        self.grid = Vec::new();
        found.par_sort_unstable_by_key(|one| one.key);
        found
    }

    /// Moments of one score for each group of cells; its sums are let go.
    fn moments(&mut self, score: usize, found: &[Found], starts: &[usize]) -> Moments {
        let mut moments = Moments::with_capacity(starts.len());
        for (group, &start) in starts.iter().enumerate() {
            let end = starts.get(group + 1).copied().unwrap_or(found.len());
            let mut sums = Sums::default();
            for one in found.get(start..end).unwrap_or_default() {
                let bucket = self.buckets.get(one.cell as usize % BUCKETS).and_then(|bucket| bucket.sums.get(score));
                if let Some(part) = bucket.and_then(|sums| sums.get(one.cell as usize / BUCKETS)) {
                    sums.combine(part);
                }
            }
            moments.push(&sums);
        }
        for sums in self.buckets.iter_mut().filter_map(|bucket| bucket.sums.get_mut(score)) {
            *sums = Vec::new();
        }
        moments
    }

    /// Whether the instances of each cell are known to differ.
    fn sound(&self, found: &[Found]) -> Vec<bool> {
        let of = |cell: u32| {
            let bucket = &self.buckets[cell as usize % BUCKETS];
            let at = cell / BUCKETS as u32;
            (bucket.instances.get(at as usize).copied().unwrap_or_default(), bucket.kept.get(&at))
        };
        let mut proven = std::collections::HashSet::new();
        for one in found {
            let (counted, kept) = of(one.cell);
            if kept.is_some_and(|kept| kept.differ(&counted)) {
                proven.insert((one.inner, counted.fingerprint()));
            }
        }
        found
            .iter()
            .map(|one| {
                let (counted, kept) = of(one.cell);
                counted.is_sound(kept, |fingerprint| proven.contains(&(one.inner, fingerprint)))
            })
            .collect()
    }
}

/// A cell in the order of labels: ranks of all labels as one number.
struct Found {
    key: u128,
    cell: u32,
    inner: u32,
}

impl Bucket {
    fn add(&mut self, share: &Share, at: usize) {
        let range = share.starts[at]..share.starts[at + 1];
        let cells = share.cells.get(range.clone()).unwrap_or_default();
        let place = |cell: u32| cell as usize / BUCKETS;
        for (groups, scores) in self.sums.iter_mut().zip(&share.scores) {
            match scores {
                Scores::Sums(sums) => {
                    for (&cell, sums) in cells.iter().zip(sums.get(range.clone()).unwrap_or_default()) {
                        if let Some(group) = groups.get_mut(place(cell)) {
                            group.combine(sums);
                        }
                    }
                }
                Scores::Values(values) => {
                    for (&cell, &x) in cells.iter().zip(values.get(range.clone()).unwrap_or_default()) {
                        if let Some(group) = groups.get_mut(place(cell)) {
                            group.add(x);
                        }
                    }
                }
                Scores::Bits(bits) => {
                    for (&cell, &one) in cells.iter().zip(bits.get(range.clone()).unwrap_or_default()) {
                        if let Some(group) = groups.get_mut(place(cell)) {
                            group.add_bit(one);
                        }
                    }
                }
            }
        }
        match &share.seen {
            Seen::Unknown => {}
            Seen::Runs(differ) => {
                for (&cell, &differ) in cells.iter().zip(differ.get(range).unwrap_or_default()) {
                    if let Some(counted) = self.instances.get_mut(place(cell)) {
                        counted.add_run(differ);
                    }
                }
            }
            Seen::Rows(hashes) => {
                for (&cell, &hash) in cells.iter().zip(hashes.get(range).unwrap_or_default()) {
                    if let Some(counted) = self.instances.get_mut(place(cell))
                        && counted.add(hash)
                    {
                        self.kept.entry(place(cell) as u32).or_default().add(hash);
                    }
                }
            }
        }
    }
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
