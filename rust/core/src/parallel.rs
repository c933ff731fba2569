//! The only place where kernels use threads: maps over groups whose results come back, or lie, in group order.
//!
//! Each group is computed by one thread from its own values alone, so the bits do not depend on how many threads
//! there are or on which thread took which group.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result};

/// A flag that a caller raises to stop a long kernel between two groups.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicBool);

impl Interrupt {
    /// A flag that is down.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Asks the kernel to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// `Err(Interrupted)` once the flag is up.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after [`Interrupt::raise`].
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        Ok(())
    }
}

/// Maps `f` over `0..n` on the current thread pool; results are in index order.
///
/// # Errors
/// The first error of `f` in no particular order, or [`Error::Interrupted`].
pub fn map_groups<T, F>(n: usize, interrupt: &Interrupt, f: F) -> Result<Vec<T>>
where
    T: Send,
    F: Fn(usize) -> Result<T> + Sync + Send,
{
    (0..n)
        .into_par_iter()
        .map(|group| {
            interrupt.check()?;
            f(group)
        })
        .collect()
}

/// Calls `f` once with each item, among them the places where its results go, on the current thread pool.
///
/// # Errors
/// [`Error::Interrupted`]; some places are then not filled.
pub fn for_each_group<T, F>(items: impl Iterator<Item = T>, interrupt: &Interrupt, f: F) -> Result<()>
where
    T: Send,
    F: Fn(T) + Sync + Send,
{
    let items: Vec<T> = items.collect();
    items.into_par_iter().try_for_each(|item| {
        interrupt.check()?;
        f(item);
        Ok(())
    })
}

/// Contiguous segments of an array: segment `g` is `offsets[g]..offsets[g + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct Segments<'a> {
    offsets: &'a [usize],
}

impl<'a> Segments<'a> {
    /// Checks that `offsets` divides an array of `len` values.
    ///
    /// # Errors
    /// [`Error::Offsets`] names the first entry that is out of order.
    pub fn new(offsets: &'a [usize], len: usize) -> Result<Self> {
        let bad = |index: usize, found: usize, expected: String| Error::Offsets { index, found, expected };
        match (offsets.first(), offsets.last()) {
            (Some(&0), Some(&last)) if last == len => {}
            (Some(&0), Some(&last)) => {
                return Err(bad(offsets.len() - 1, last, format!("the number of values, {len}")));
            }
            (Some(&first), _) => return Err(bad(0, first, "0".into())),
            (None, _) => return Err(bad(0, 0, "at least one entry".into())),
        }
        for (index, pair) in offsets.windows(2).enumerate() {
            if let [left, right] = *pair
                && right < left
            {
                return Err(bad(index + 1, right, format!("at least {left}")));
            }
        }
        Ok(Self { offsets })
    }

    /// Number of segments.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True where there is no segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part of `values` that belongs to segment `group`; empty beyond the last one.
    #[must_use]
    pub fn slice<'v, T>(&self, values: &'v [T], group: usize) -> &'v [T] {
        match (self.offsets.get(group), self.offsets.get(group + 1)) {
            (Some(&start), Some(&end)) => values.get(start..end).unwrap_or(&[]),
            _ => &[],
        }
    }
}

/// `Err` where an array has not the length it needs.
///
/// # Errors
/// [`Error::Length`] with both numbers.
pub const fn check_len(name: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::Length { name, found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_reject_bad_offsets() {
        assert!(Segments::new(&[0, 2, 5], 5).is_ok());
        assert!(Segments::new(&[0], 0).is_ok());
        for bad in [&[][..], &[1, 5], &[0, 3, 2, 5], &[0, 4]] {
            assert!(Segments::new(bad, 5).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_raised_interrupt_stops_the_map() {
        let interrupt = Interrupt::new();
        interrupt.raise();
        assert_eq!(map_groups(3, &interrupt, Ok), Err(Error::Interrupted));
    }
}
