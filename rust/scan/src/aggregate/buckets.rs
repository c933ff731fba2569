//! What the row groups added to each cell, in buckets that threads take one by one.
//!
//! The rows of a unit are added up by themselves: what floats sum to must not depend on who adds the units up.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::Moments;
use super::finish::Found;
use super::identity::{Counted, Instances};
use super::share::{Scores, Seen, Share};
use super::sums::Sums;

/// Cells are dealt to this many buckets: threads add to different ones, and one bucket fits in a core's cache.
pub(crate) const BUCKETS: usize = 64;

/// Sums and instances of every cell.
pub(crate) struct Buckets(Vec<Bucket>);

#[derive(Default)]
struct Bucket {
    /// Sums of each score over the units that are closed, cell by cell.
    sums: Vec<Vec<Sums>>,
    open: Open,
    instances: Vec<Counted>,
    kept: HashMap<u32, Instances>,
}

/// The unit that is being added up.
#[derive(Default)]
struct Open {
    unit: u32,
    /// Seat of each cell of the bucket, counted from 1; 0 = none.
    seats: Vec<u32>,
    /// The cell on each seat.
    cells: Vec<u32>,
    /// Sums of each score, seat by seat.
    sums: Vec<Vec<Sums>>,
    /// Seats of the runs or rows that are being added.
    seated: Vec<u32>,
}

/// What has to be known of the cells before something is added to them.
pub(crate) struct Room {
    /// How many there are.
    pub(crate) cells: usize,
    /// Those that keep their instances.
    pub(crate) kept: Vec<u32>,
}

impl Buckets {
    /// For so many scores.
    pub(crate) fn new(scores: usize) -> Self {
        let sums = || vec![Vec::new(); scores];
        let bucket = || Bucket { sums: sums(), open: Open { sums: sums(), ..Open::default() }, ..Bucket::default() };
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
            bucket.open.seats.resize(cells, 0);
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

    /// Closes the last unit.
    pub(crate) fn close(&mut self) {
        self.0.par_iter_mut().for_each(Bucket::close);
    }

    /// What is known of a cell: the sums of each score, its instances as counted and as kept.
    pub(crate) fn cell(&self, cell: u32) -> Option<(Vec<Sums>, Option<Counted>, Option<&Instances>)> {
        let bucket = self.0.get(cell as usize % BUCKETS)?;
        let at = cell as usize / BUCKETS;
        let sums = bucket.sums.iter().map(|sums| sums.get(at).copied()).collect::<Option<_>>()?;
        Some((sums, bucket.instances.get(at).copied(), bucket.kept.get(&(at as u32))))
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

impl Open {
    /// Seats the cells of runs or rows.
    fn seat(&mut self, cells: &[u32]) {
        let Self { seats, cells: taken, seated, .. } = self;
        seated.clear();
        seated.extend(cells.iter().map(|&cell| {
            let at = place(cell);
            let Some(seat) = seats.get_mut(at) else { return 0 };
            if *seat == 0 {
                taken.push(at as u32);
                *seat = taken.len() as u32;
            }
            *seat - 1
        }));
        for sums in &mut self.sums {
            sums.resize(taken.len(), Sums::default());
        }
    }
}

/// Where a cell stands in its bucket.
const fn place(cell: u32) -> usize {
    cell as usize / BUCKETS
}

impl Bucket {
    /// Adds the sums of the open unit to those of the units before.
    fn close(&mut self) {
        let Open { seats, cells, sums, .. } = &mut self.open;
        for (groups, sums) in self.sums.iter_mut().zip(sums) {
            for (&cell, sums) in cells.iter().zip(sums.iter()) {
                if let Some(group) = groups.get_mut(cell as usize) {
                    group.combine(sums);
                }
            }
            sums.clear();
        }
        for cell in cells.drain(..) {
            if let Some(seat) = seats.get_mut(cell as usize) {
                *seat = 0;
            }
        }
    }

    fn add(&mut self, share: &Share, at: usize) {
        let range = share.starts[at]..share.starts[at + 1];
        let cells = share.cells.get(range.clone()).unwrap_or_default();
        if self.open.unit != share.unit {
            self.close();
            self.open.unit = share.unit;
        }
        self.open.seat(cells);
        let Open { sums, seated, .. } = &mut self.open;
        for (groups, scores) in sums.iter_mut().zip(&share.scores) {
            match scores {
                Scores::Sums(sums) => {
                    for (&seat, sums) in seated.iter().zip(sums.get(range.clone()).unwrap_or_default()) {
                        if let Some(group) = groups.get_mut(seat as usize) {
                            group.combine(sums);
                        }
                    }
                }
                Scores::Values(values) => {
                    for (&seat, &x) in seated.iter().zip(values.get(range.clone()).unwrap_or_default()) {
                        if let Some(group) = groups.get_mut(seat as usize) {
                            group.add(x);
                        }
                    }
                }
                Scores::Bits(bits) => {
                    for (&seat, &one) in seated.iter().zip(bits.get(range.clone()).unwrap_or_default()) {
                        if let Some(group) = groups.get_mut(seat as usize) {
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
            Seen::Units(counted, kept) => {
                let found = counted.get(range.clone()).unwrap_or_default();
                for (&cell, found) in cells.iter().zip(found) {
                    if let Some(counted) = self.instances.get_mut(place(cell)) {
                        counted.add_counted(found);
                    }
                }
                for (&cell, kept) in cells.iter().zip(kept.get(range).unwrap_or_default()) {
                    if let Some(kept) = kept {
                        self.kept.entry(place(cell) as u32).or_default().extend(kept);
                    }
                }
            }
        }
    }
}
