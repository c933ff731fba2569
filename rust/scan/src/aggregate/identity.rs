//! Does an instance occur twice in a group? Found out without keeping the instances of all groups.
//!
//! In a run of rows it is looked up directly. Where the rows of a group come scattered, a group keeps only how many
//! rows it has and the sum of their instances' hashes (modulo 2^64). A few groups of each score keep all their hashes:
//! if those differ, every group with the same count and the same sum holds the same instances, once each. What cannot
//! be proven is doubtful, and the caller looks at it row by row.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

/// Instances of one group.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    rows: u32,
    runs: u32,
    sum: u64,
    doubtful: bool,
    #[serde(skip)]
    kept: bool,
}

impl Counted {
    /// A run of rows, whose instances are known to differ or not.
    pub(crate) const fn add_run(&mut self, differ: bool) {
        self.runs = self.runs.saturating_add(1);
        self.doubtful |= !differ;
    }

    /// This group keeps its instances.
    pub(crate) const fn keep(&mut self) {
        self.kept = true;
    }

    /// A row whose instance has this hash (0 = it has none); whether it is to be kept.
    pub(crate) const fn add(&mut self, hash: u64) -> bool {
        self.rows = self.rows.saturating_add(1);
        self.sum = self.sum.wrapping_add(hash);
        self.doubtful |= hash == 0;
        self.kept
    }

    /// Adds what was counted of the group elsewhere.
    pub(crate) const fn add_counted(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.runs = self.runs.saturating_add(other.runs);
        self.sum = self.sum.wrapping_add(other.sum);
        self.doubtful |= other.doubtful;
    }

    pub(crate) const fn fingerprint(&self) -> (u32, u64) {
        (self.rows, self.sum)
    }

    /// Whether every instance is known to occur once.
    pub(crate) fn is_sound(&self, kept: Option<&Instances>, proven: impl Fn((u32, u64)) -> bool) -> bool {
        if self.doubtful {
            return false;
        }
        match (self.runs, self.rows) {
            (0 | 1, 0) => true,
            (0, _) => kept.is_some_and(|kept| kept.differ(self)) || proven(self.fingerprint()),
            _ => false,
        }
    }
}

/// All instances of a group.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub(crate) struct Instances(HashSet<u64>);

impl From<Vec<u64>> for Instances {
    fn from(hashes: Vec<u64>) -> Self {
        Self(hashes.into_iter().collect())
    }
}

impl From<Instances> for Vec<u64> {
    fn from(instances: Instances) -> Self {
        let mut hashes: Self = instances.0.into_iter().collect();
        hashes.sort_unstable();
        hashes
    }
}

impl Instances {
    pub(crate) fn add(&mut self, hash: u64) {
        self.0.insert(hash);
    }

    /// Adds those kept elsewhere.
    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend(&others.0);
    }

    /// Whether each row of the group has an instance of its own.
    pub(crate) fn differ(&self, counted: &Counted) -> bool {
        !counted.doubtful && counted.runs == 0 && self.0.len() == counted.rows as usize
    }
}

/// A dictionary with more entries than this is a damaged one, and would take all memory.
const MOST_CODES: usize = 1 << 26;

/// For each run (first row, length) whether its codes differ; `u32::MAX` is no instance.
pub(crate) fn codes_differ(codes: &[u32], runs: &[(u32, u32)]) -> Vec<bool> {
    // Where instances stand in the order of their dictionary there is nothing to look up.
    let rows = |&(first, length): &(u32, u32)| codes.get(first as usize..(first + length) as usize).unwrap_or_default();
    if runs.iter().all(|run| {
        let codes = rows(run);
        codes.iter().zip(codes.iter().skip(1)).fold(true, |rising, (a, b)| rising & (a < b))
            && codes.last() != Some(&u32::MAX)
    }) {
        return vec![true; runs.len()];
    }
    // The last run in which each code was seen, counted from 1.
    let most = codes.iter().filter(|&&code| code != u32::MAX).max();
    let known = most.map_or(0, |&code| code as usize + 1);
    if known > MOST_CODES {
        return vec![false; runs.len()];
    }
    let mut last = vec![0u32; known];
    runs.iter()
        .enumerate()
        .map(|(run, range)| {
            let stamp = run as u32 + 1;
            rows(range).iter().fold(true, |differ, &code| match last.get_mut(code as usize) {
                Some(last) => {
                    let fresh = *last != stamp;
                    *last = stamp;
                    differ & fresh
                }
                None => false,
            })
        })
        .collect()
}

/// For each run (first row, length) whether its hashes differ; 0 is no instance.
pub(crate) fn hashes_differ(hashes: &[u64], runs: &[(u32, u32)]) -> Vec<bool> {
    let mut seen = HashSet::new();
    runs.iter()
        .map(|&(first, length)| {
            seen.clear();
            let rows = hashes.get(first as usize..(first + length) as usize).unwrap_or_default();
            rows.iter().all(|&hash| hash != 0 && seen.insert(hash))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_twice_in_a_run_is_found() {
        let codes = [0, 1, 0, 2, 2, u32::MAX];
        assert_eq!(codes_differ(&codes, &[(0, 2), (2, 2), (3, 2), (5, 1)]), [true, true, false, false]);
        assert_eq!(hashes_differ(&[7, 8, 7, 7, 0], &[(0, 2), (2, 2), (4, 1)]), [true, false, false]);
    }

    #[test]
    fn groups_are_compared_with_one_that_kept_its_instances() {
        let (mut kept, mut all) = (Counted::default(), Instances::default());
        let mut same = Counted::default();
        let mut twice = Counted::default();
        for hash in [11, 22, 33] {
            kept.add(hash);
            all.add(hash);
            same.add(hash);
        }
        for hash in [11, 11, 33] {
            twice.add(hash);
        }
        assert!(all.differ(&kept));
        let proven = |fingerprint| fingerprint == kept.fingerprint();
        assert!(same.is_sound(None, proven) && !twice.is_sound(None, proven));
    }
}
