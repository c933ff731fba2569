//! Pairs by how they compare on the two sides, for each group and for each member.
//!
//! A Fenwick tree over the ranks of b, filled in the order of a, gives for each member how many of those with smaller
//! a have a smaller or a larger b; the rest follows from the sizes of the tied classes. The reference's rule,
//! (a_i > a_j) == (b_i > b_j) over i < j, takes a tie for "less":
//!   compat = concordant + tied on both + pairs tied on one side alone that ascend, in listed order, on the other.
//! Cost: O(J log J).

use crate::error::Result;
use crate::parallel::{Interrupt, map_groups};

use super::{matched, n_pairs};

/// Counts of pairs: one entry a group, and under `member_` one entry a member, over the pairs that hold it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PairCounts {
    /// All pairs of the group.
    pub n_pairs: Vec<i64>,
    /// Ordered alike on both sides.
    pub concordant: Vec<i64>,
    /// Ordered against each other.
    pub discordant: Vec<i64>,
    /// Tied at small only.
    pub tied_small: Vec<i64>,
    /// Tied at target only.
    pub tied_target: Vec<i64>,
    /// Tied on both sides.
    pub tied_both: Vec<i64>,
    /// Agreeing by the reference's strict comparison, in listed order.
    pub compat_agree: Vec<i64>,
    /// Concordant pairs that hold the member.
    pub member_concordant: Vec<i64>,
    /// Discordant pairs that hold the member.
    pub member_discordant: Vec<i64>,
    /// Pairs tied on exactly one side that hold the member.
    pub member_tied_one: Vec<i64>,
    /// Pairs tied on both sides that hold the member.
    pub member_tied_both: Vec<i64>,
    /// Pairs agreeing by the reference's rule that hold the member.
    pub member_compat_agree: Vec<i64>,
}

/// Counts the pairs of each group. Without member i a count is the group's less the member's, since the order of the
/// others does not change.
///
/// # Errors
/// Bad offsets, sides of unequal length, a NaN score, or an interrupt.
pub fn pair_agreement(small: &[f64], target: &[f64], offsets: &[usize], interrupt: &Interrupt) -> Result<PairCounts> {
    let segments = matched(small, target, offsets)?;
    let groups = map_groups(segments.len(), interrupt, |group| {
        Ok(count(segments.slice(small, group), segments.slice(target, group)))
    })?;
    let mut all = PairCounts::default();
    for group in groups {
        // Every pair holds two members.
        let total = |part: fn(&Member) -> i64| group.iter().map(part).sum::<i64>() / 2;
        all.n_pairs.push(n_pairs(group.len()));
        all.concordant.push(total(|m| m.concordant));
        all.discordant.push(total(|m| m.discordant));
        all.tied_small.push(total(|m| m.tied_small));
        all.tied_target.push(total(|m| m.tied_target));
        all.tied_both.push(total(|m| m.tied_both));
        all.compat_agree.push(total(Member::compat_agree));
        all.member_concordant.extend(group.iter().map(|m| m.concordant));
        all.member_discordant.extend(group.iter().map(|m| m.discordant));
        all.member_tied_one.extend(group.iter().map(|m| m.tied_small + m.tied_target));
        all.member_tied_both.extend(group.iter().map(|m| m.tied_both));
        all.member_compat_agree.extend(group.iter().map(Member::compat_agree));
    }
    Ok(all)
}

/// The pairs that hold one member.
#[derive(Debug, Default, Clone, Copy)]
struct Member {
    concordant: i64,
    discordant: i64,
    tied_small: i64,
    tied_target: i64,
    tied_both: i64,
    /// Tied on one side alone and ascending on the other.
    ascending: i64,
}

impl Member {
    const fn compat_agree(&self) -> i64 {
        self.concordant + self.tied_both + self.ascending
    }
}

fn count(small: &[f64], target: &[f64]) -> Vec<Member> {
    let (a, b) = (Ranks::of(small), Ranks::of(target));
    let mut members = vec![Member::default(); small.len()];
    let mut order: Vec<usize> = (0..small.len()).collect();
    order.sort_by_key(|&i| (a.rank[i], b.rank[i]));
    let mut seen = Fenwick::new(b.count.len()); // b of the members whose a is smaller than the class's
    for class in order.chunk_by(|&i, &j| a.rank[i] == a.rank[j]) {
        let mut class_lower = 0; // members of the class with smaller b
        for run in class.chunk_by(|&i, &j| b.rank[i] == b.rank[j]) {
            let (in_class, in_run) = (class.len() as i64, run.len() as i64);
            let class_higher = in_class - class_lower - in_run;
            let rank = run.first().map_or(0, |&i| b.rank[i]);
            let (lower, higher) = (seen.below(rank), seen.total - seen.below(rank + 1));
            let b_lower = b.below[rank];
            let b_higher = small.len() as i64 - b_lower - b.count[rank];
            for &i in run {
                members[i] = Member {
                    concordant: lower + (b_higher - higher - class_higher),
                    discordant: higher + (b_lower - lower - class_lower),
                    tied_small: class_lower + class_higher,
                    tied_target: b.count[rank] - in_run,
                    tied_both: in_run - 1,
                    ascending: 0,
                };
            }
            class_lower += in_run;
        }
        for &i in class {
            seen.add(b.rank[i]);
        }
    }
    add_ascending(&mut members, &a, &b);
    add_ascending(&mut members, &b, &a);
    members
}

/// Adds, among members tied on one side, the pairs whose earlier member is smaller on the other side.
fn add_ascending(members: &mut [Member], tied: &Ranks, other: &Ranks) {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&i| tied.rank[i]); // stable: listed order within a class
    for class in order.chunk_by(|&i, &j| tied.rank[i] == tied.rank[j]) {
        let local = Ranks::of(&class.iter().map(|&i| other.rank[i]).collect::<Vec<_>>());
        let mut before = Fenwick::new(local.count.len());
        for (&i, &rank) in class.iter().zip(&local.rank) {
            let higher = class.len() as i64 - local.below[rank] - local.count[rank];
            let higher_before = before.total - before.below(rank + 1);
            members[i].ascending += before.below(rank) + (higher - higher_before);
            before.add(rank);
        }
    }
}

/// Dense ranks from 0: equal values share one.
pub(super) struct Ranks {
    /// Rank of each value.
    pub(super) rank: Vec<usize>,
    /// How many values hold each rank.
    pub(super) count: Vec<i64>,
    /// How many values lie below each rank.
    below: Vec<i64>,
}

impl Ranks {
    /// Of values without NaN; -0 and 0 are equal.
    pub(super) fn of<T: PartialOrd>(values: &[T]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&i, &j| values[i].partial_cmp(&values[j]).unwrap_or(std::cmp::Ordering::Equal));
        let mut ranks = Self { rank: vec![0; values.len()], count: Vec::new(), below: Vec::new() };
        let mut below = 0;
        for (rank, class) in order.chunk_by(|&i, &j| values[i] == values[j]).enumerate() {
            for &i in class {
                ranks.rank[i] = rank;
            }
            ranks.count.push(class.len() as i64);
            ranks.below.push(below);
            below += class.len() as i64;
        }
        ranks
    }
}

/// Running counts by rank, with prefix sums in O(log n).
struct Fenwick {
    nodes: Vec<i64>,
    total: i64,
}

impl Fenwick {
    fn new(ranks: usize) -> Self {
        Self { nodes: vec![0; ranks + 1], total: 0 }
    }

    fn add(&mut self, rank: usize) {
        let mut node = rank + 1;
        while let Some(count) = self.nodes.get_mut(node) {
            *count += 1;
            node += node & node.wrapping_neg();
        }
        self.total += 1;
    }

    /// How many were added with a rank smaller than this one.
    fn below(&self, rank: usize) -> i64 {
        let (mut node, mut sum) = (rank, 0);
        while node > 0 {
            sum += self.nodes[node];
            node &= node - 1;
        }
        sum
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(small: &[f64], target: &[f64]) -> PairCounts {
        pair_agreement(small, target, &[0, small.len()], &Interrupt::new()).unwrap()
    }

    #[test]
    fn one_swap_among_four() {
        let counts = group(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]);
        assert_eq!((counts.concordant[0], counts.discordant[0], counts.n_pairs[0]), (5, 1, 6));
        assert_eq!(counts.member_discordant, [0, 1, 1, 0]);
    }

    #[test]
    fn the_reference_takes_a_tie_for_less() {
        assert_eq!(group(&[0.5, 0.5], &[0.1, 0.2]).compat_agree, [1]);
        assert_eq!(group(&[0.5, 0.5], &[0.2, 0.1]).compat_agree, [0]);
        assert_eq!(group(&[0.0, -0.0], &[1.0, 1.0]).tied_both, [1]);
    }

    proptest! {
        #[test]
        fn equals_the_loop(pairs in prop::collection::vec((0_u8..5, 0_u8..5), 0..30)) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().map(|&(x, y)| (f64::from(x), f64::from(y))).unzip();
            let found = group(&a, &b);
            let (mut concordant, mut small, mut target, mut compat) = (0, 0, 0, 0);
            for i in 0..a.len() {
                for j in i + 1..a.len() {
                    concordant += i64::from((a[i] - a[j]) * (b[i] - b[j]) > 0.0);
                    small += i64::from(a[i] == a[j] && b[i] != b[j]);
                    target += i64::from(a[i] != a[j] && b[i] == b[j]);
                    compat += i64::from((a[i] > a[j]) == (b[i] > b[j]));
                }
            }
            prop_assert_eq!(found.concordant[0], concordant);
            prop_assert_eq!(found.tied_small[0], small);
            prop_assert_eq!(found.tied_target[0], target);
            prop_assert_eq!(found.compat_agree[0], compat);
            prop_assert_eq!(
                found.concordant[0] + found.discordant[0] + small + target + found.tied_both[0],
                found.n_pairs[0]
            );
        }
    }
}
