//! What the row groups added to each cell, in buckets that threads take one by one.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::finish::Found;
use super::identity::{Counted, Instances};
use super::share::{Scores, Seen, Share};
use super::sums::Sums;
use super::{Moments, Request};

/// Cells are dealt to this many buckets: threads add to different ones, and one bucket fits in a core's cache.
pub(crate) const BUCKETS: usize = 64;

/// Sums and instances of every cell.
pub(crate) struct Buckets(Vec<Bucket>);

#[derive(Default)]
struct Bucket {
    /// Sums of each score, cell by cell.
    sums: Vec<Vec<Sums>>,
    instances: Vec<Counted>,
    kept: HashMap<u32, Instances>,
}

/// What has to be known of the cells before something is added to them.
pub(crate) struct Room {
    /// How many there are.
    pub(crate) cells: usize,
    /// Those that keep their instances.
    pub(crate) kept: Vec<u32>,
}

impl Buckets {
    pub(crate) fn new(request: &Request) -> Self {
        let bucket = || Bucket { sums: vec![Vec::new(); request.values.len()], ..Bucket::default() };
        Self((0..BUCKETS).map(|_| bucket()).collect())
    }

    /// Adds what row groups brought, in their order.
    pub(crate) fn add(&mut self, shares: &[Share], room: &Room) {
        let identified = shares.iter().any(|share| !matches!(share.seen, Seen::Unknown));
        let cells = room.cells.div_ceil(BUCKETS);
        self.0.par_iter_mut().enumerate().for_each(|(at, bucket)| {
            for sums in &mut bucket.sums {
                sums.resize(cells, Sums::default());
            }
            if identified {
                bucket.instances.resize(cells, Counted::default());
                for cell in room.kept.iter().filter(|&&cell| cell as usize % BUCKETS == at) {
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

    /// Forgets the instances.
    pub(crate) fn drop_instances(&mut self) {
        for bucket in &mut self.0 {
            bucket.instances = Vec::new();
            bucket.kept = HashMap::new();
        }
    }

    /// Moments of each group of cells, its scores one after the other.
    pub(crate) fn moments(&self, found: &[Found], starts: &[usize], scores: usize) -> Moments {
        let mut moments = Moments::with_capacity(starts.len() * scores);
        for (group, &start) in starts.iter().enumerate() {
            let end = starts.get(group + 1).copied().unwrap_or(found.len());
            let cells = found.get(start..end).unwrap_or_default();
            for score in 0..scores {
                let mut sums = Sums::default();
                for one in cells {
                    let bucket = self.0.get(one.cell as usize % BUCKETS).and_then(|bucket| bucket.sums.get(score));
                    if let Some(part) = bucket.and_then(|sums| sums.get(one.cell as usize / BUCKETS)) {
                        sums.combine(part);
                    }
                }
                moments.push(&sums);
            }
        }
        moments
    }

    /// Whether the instances of each cell are known to differ.
    pub(crate) fn sound(&self, found: &[Found]) -> Vec<bool> {
        let of = |cell: u32| {
            let bucket = &self.0[cell as usize % BUCKETS];
            let at = cell / BUCKETS as u32;
            (bucket.instances.get(at as usize).copied().unwrap_or_default(), bucket.kept.get(&at))
        };
        let mut proven = HashSet::new();
        for one in found {
            let (counted, kept) = of(one.cell);
            if kept.is_some_and(|kept| kept.differ(&counted)) {
                proven.insert((one.inner, counted.fingerprint()));
            }
        }
        found
            .par_iter()
            .map(|one| {
                let (counted, kept) = of(one.cell);
                counted.is_sound(kept, |fingerprint| proven.contains(&(one.inner, fingerprint)))
            })
            .collect()
    }
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
