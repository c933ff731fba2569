//! Buffers as long as a row group, used again: fresh ones cost a page fault for every few hundred rows.

use std::sync::{Mutex, PoisonError};

use super::share::{Scores, Seen, Share};

/// Spare buffers of all kinds.
#[derive(Default)]
pub(crate) struct Spare {
    pub(crate) codes: Shelf<u32>,
    pub(crate) values: Shelf<f64>,
    pub(crate) hashes: Shelf<u64>,
}

impl Spare {
    /// Takes back what a share was made of.
    pub(crate) fn take_share(&self, share: Share) {
        self.codes.give(share.cells);
        if let Seen::Rows(hashes) = share.seen {
            self.hashes.give(hashes);
        }
        for scores in share.scores {
            if let Scores::Values(values) = scores {
                self.values.give(values);
            }
        }
    }
}

/// Spare buffers of one kind.
pub(crate) struct Shelf<T>(Mutex<Vec<Vec<T>>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Shorter buffers are not worth the lock.
const SHORTEST: usize = 1 << 14;

impl<T: Copy + Default> Shelf<T> {
    /// A buffer of so many entries, which may be any.
    pub(crate) fn get(&self, length: usize) -> Vec<T> {
        let spare = if length < SHORTEST { None } else { self.0.lock().unwrap_or_else(PoisonError::into_inner).pop() };
        let mut buffer = spare.unwrap_or_default();
        buffer.resize(length, T::default());
        buffer
    }

    pub(crate) fn give(&self, buffer: Vec<T>) {
        if buffer.capacity() >= SHORTEST {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let shelf = Shelf::default();
        shelf.give(vec![1_u32; SHORTEST]);
        assert_eq!(shelf.get(2), [0, 0]);
        assert_eq!(shelf.get(SHORTEST + 1).len(), SHORTEST + 1);
        assert_eq!(shelf.get(SHORTEST), vec![0; SHORTEST]);
    }
}
