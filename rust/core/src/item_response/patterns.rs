//! Items that all subjects answered alike, counted once.

use crate::error::Result;
use crate::matrix::{BitMatrix, Bits, check_bits};

/// Distinct columns of a matrix of right and wrong, in an order that does not depend on that of the items.
#[derive(Debug)]
pub(super) struct Patterns {
    /// Subjects.
    pub(super) rows: usize,
    /// Words of one column of bits.
    words: usize,
    /// For each pattern who was right, then who answered; a bit a subject.
    keys: Vec<u64>,
    /// Items of each pattern.
    pub(super) counts: Vec<f64>,
    /// Pattern of each item; None for one that is left out.
    of_item: Vec<Option<usize>>,
    /// Whether every subject answered every item.
    pub(super) complete: bool,
}

impl Patterns {
    /// Columns of which `wanted` says, from how many answered and were right, that they are fitted.
    pub(super) fn new(responses: &BitMatrix<'_>, wanted: impl Fn(u32, u32) -> bool) -> Result<Self> {
        let &BitMatrix { rows, width, values, validity } = responses;
        check_bits("values", Some(values), rows, width)?;
        check_bits("validity", validity, rows, width)?;
        let words = rows.div_ceil(64);
        let columns = columns(responses, words);
        let key = |item: usize| columns.get(item * 2 * words..(item + 1) * 2 * words).unwrap_or(&[]);
        let ones = |bits: &[u64]| bits.iter().map(|word| word.count_ones()).sum::<u32>();
        let mut order: Vec<usize> = (0..width).collect();
        order.retain(|&item| {
            let (right, there) = key(item).split_at_checked(words).unwrap_or_default();
            wanted(ones(there), ones(right))
        });
        order.sort_by(|&one, &other| key(one).cmp(key(other)));
        let (mut keys, mut counts, mut of_item) = (Vec::new(), Vec::new(), vec![None; width]);
        for same in order.chunk_by(|&one, &other| key(one) == key(other)) {
            for &item in same {
                if let Some(place) = of_item.get_mut(item) {
                    *place = Some(counts.len());
                }
            }
            keys.extend_from_slice(same.first().map_or(&[], |&item| key(item)));
            counts.push(same.len() as f64);
        }
        let mut found = Self { rows, words, keys, counts, of_item, complete: false };
        found.complete = (0..found.len()).all(|p| ones(found.there(p)) as usize == rows);
        Ok(found)
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Who was right, a bit a subject.
    pub(super) fn right(&self, pattern: usize) -> &[u64] {
        let start = 2 * pattern * self.words;
        self.keys.get(start..start + self.words).unwrap_or(&[])
    }

    /// Who answered.
    pub(super) fn there(&self, pattern: usize) -> &[u64] {
        let start = (2 * pattern + 1) * self.words;
        self.keys.get(start..start + self.words).unwrap_or(&[])
    }

    /// A value of each pattern given to its items.
    pub(super) fn spread<T: Copy>(&self, left_out: T, value: impl Fn(usize) -> T) -> Vec<T> {
        self.of_item.iter().map(|pattern| pattern.map_or(left_out, &value)).collect()
    }
}

/// Columns as words of bits: who was right, then who answered.
fn columns(responses: &BitMatrix<'_>, words: usize) -> Vec<u64> {
    let &BitMatrix { rows, width, values, validity } = responses;
    let mut columns = vec![0_u64; 2 * words * width];
    for row in 0..rows {
        let (start, end) = (row * width, (row + 1) * width);
        let (right, there) = (Bits::new(values, start, end), validity.map(|bytes| Bits::new(bytes, start, end)));
        for (item, column) in columns.chunks_mut((2 * words).max(1)).enumerate() {
            if there.is_none_or(|there| there.get(item)) {
                let (word, bit) = (row / 64, 1 << (row % 64));
                if let Some(there) = column.get_mut(words + word) {
                    *there |= bit;
                }
                if let Some(known) = column.get_mut(word)
                    && right.get(item)
                {
                    *known |= bit;
                }
            }
        }
    }
    columns
}

/// Calls `f` with the place of every one.
#[inline(always)]
pub(super) fn each_one(words: &[u64], mut f: impl FnMut(usize)) {
    for (at, &word) in words.iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            f(at * 64 + rest.trailing_zeros() as usize);
            rest &= rest - 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn equal_columns_are_one_pattern_whatever_their_order() {
        // Rows 1 0 1 1 and 0 1 0 0: columns 0, 2 and 3 are alike.
        let one = BitMatrix { rows: 2, width: 4, values: &[0b0010_1101], validity: None };
        let found = Patterns::new(&one, |_, _| true).unwrap();
        assert_eq!(found.counts, [3.0, 1.0]);
        assert_eq!(found.spread(9, |p| p), [0, 1, 0, 0]);
        assert!(found.complete);
        assert_eq!((found.right(0), found.there(0)), (&[0b01][..], &[0b11][..]));
        let gaps = Patterns::new(&BitMatrix { validity: Some(&[0b1110_1111]), ..one }, |n, _| n > 1).unwrap();
        assert_eq!(gaps.spread(9, |p| p), [9, 1, 0, 0]);
    }

    #[test]
    fn ones_are_visited_in_order() {
        let mut seen = Vec::new();
        each_one(&[0b101, 0, 1 << 63], |at| seen.push(at));
        assert_eq!(seen, [0, 2, 191]);
    }
}
