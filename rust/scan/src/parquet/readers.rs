//! Reading in several places at once, which a disk does about as fast as in one.

use std::panic::resume_unwind;

/// Threads that read. Unlike those that compute they mostly wait.
const READERS: usize = 4;

/// Calls `read` with each piece, side by side; what it returned, in their order.
pub(super) fn side_by_side<T: Send, U: Send>(pieces: Vec<T>, read: impl Fn(T) -> U + Sync) -> Vec<U> {
    let mut done = Vec::with_capacity(pieces.len());
    let share = pieces.len().div_ceil(READERS).max(1);
    let mut pieces = pieces.into_iter();
    std::thread::scope(|scope| {
        let read = &read;
        let mut readers = Vec::new();
        loop {
            let own: Vec<T> = pieces.by_ref().take(share).collect();
            if own.is_empty() {
                break;
            }
            readers.push(scope.spawn(move || own.into_iter().map(read).collect::<Vec<U>>()));
        }
        for reader in readers {
            done.extend(reader.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_comes_in_order() {
        for n in [0, 1, 4, 5, 11] {
            let expected: Vec<usize> = (0..n).map(|i| i * i).collect();
            assert_eq!(side_by_side((0..n).collect(), |i| i * i), expected);
        }
    }
}
