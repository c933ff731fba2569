//! A bit for each row.

/// Bits in 64-bit words, least significant first; those behind the last are 0.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    pub(crate) fn with_capacity(bits: usize) -> Self {
        Self { words: Vec::with_capacity(bits / 64 + 1), length: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// Appends the lowest `n` bits of a word (at most 64; those above must be 0).
    fn push(&mut self, word: u64, n: usize) {
        let used = self.length % 64;
        if used == 0 {
            self.words.push(word);
        } else {
            if let Some(last) = self.words.last_mut() {
                *last |= word << used;
            }
            if used + n > 64 {
                self.words.push(word >> (64 - used));
            }
        }
        self.length += n;
    }

    pub(crate) fn push_run(&mut self, bit: bool, n: usize) {
        let mut left = n;
        while left > 0 {
            let some = left.min(64);
            self.push(if bit { u64::MAX >> (64 - some) } else { 0 }, some);
            left -= some;
        }
    }

    /// Appends `n` bits that stand packed in bytes (at least `n / 8`), or their opposites.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8], n: usize, flipped: bool) {
        let mut left = n;
        for chunk in bytes.chunks(8) {
            let some = left.min(8 * chunk.len());
            if some == 0 {
                break;
            }
            let mut eight = [0; 8];
            for (to, from) in eight.iter_mut().zip(chunk) {
                *to = *from;
            }
            let word = u64::from_le_bytes(eight) ^ if flipped { u64::MAX } else { 0 };
            self.push(word & (u64::MAX >> (64 - some)), some);
            left -= some;
        }
    }

    /// How many of `n` bits from `first` are 1.
    pub(crate) fn count(&self, first: usize, n: usize) -> u64 {
        if n == 0 {
            return 0;
        }
        let (from, to) = (first / 64, (first + n - 1) / 64);
        let words = self.words.get(from..=to).unwrap_or_default();
        let all: u64 = words.iter().map(|word| u64::from(word.count_ones())).sum();
        // What stands before the first and behind the last does not count.
        let below = words.first().map_or(0, |word| (word & !(u64::MAX << (first % 64))).count_ones());
        let above = words.last().map_or(0, |word| (word & !(u64::MAX >> (63 - (first + n - 1) % 64))).count_ones());
        all - u64::from(below) - u64::from(above)
    }

    /// A byte for each bit, 0 or 1.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.words.len() * 64);
        for word in &self.words {
            for eight in word.to_le_bytes() {
                // Each byte keeps one bit of its own, then has 1 in place of it.
                let spread = u64::from(eight).wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
                let ones = (spread + 0x7f7f_7f7f_7f7f_7f7f) >> 7 & 0x0101_0101_0101_0101;
                bytes.extend_from_slice(&ones.to_le_bytes());
            }
        }
        bytes.truncate(self.length);
        bytes
    }

    /// Each bit, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = bool> {
        self.words.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1)).take(self.length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_come_back(pieces in prop::collection::vec((any::<bool>(), 0usize..150, prop::collection::vec(any::<u8>(), 0..20)), 0..8)) {
            let (mut bits, mut expected) = (Bits::default(), Vec::new());
            for (flag, length, bytes) in pieces {
                bits.push_run(flag, length);
                expected.extend(std::iter::repeat_n(flag, length));
                let n = (bytes.len() * 8).min(length);
                bits.push_bytes(&bytes, n, flag);
                expected.extend((0..n).map(|i| (bytes[i / 8] >> (i % 8) & 1 == 1) != flag));
            }
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(bits.bytes(), expected.iter().map(|&bit| u8::from(bit)).collect::<Vec<_>>());
            for first in (0..expected.len()).step_by(13) {
                for n in [0, 1, 7, 64, 65, 130].into_iter().filter(|n| first + n <= expected.len()) {
                    let ones = expected[first..first + n].iter().filter(|&&bit| bit).count();
                    prop_assert_eq!(bits.count(first, n), ones as u64);
                }
            }
        }
    }
}
