//! What can go wrong in a kernel. Each variant carries its numbers; the binding maps all of them in one place.

/// Result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// Misuse of a kernel, or an interrupted call. An undefined statistic is not an error: it is NaN with a status.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Offsets must start at 0, never decrease and end at the length of what they divide.
    #[error("offsets: entry {index} is {found}, expected {expected}")]
    Offsets {
        /// Position in the offsets.
        index: usize,
        /// Value found there.
        found: usize,
        /// What was needed, in words.
        expected: String,
    },
    /// Two arrays that must have the same length do not.
    #[error("{name} has {found} values, expected {expected}")]
    Length {
        /// Argument name.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length needed.
        expected: usize,
    },
    /// An option outside its range.
    #[error("{name} must be {expected}, got {found}")]
    Argument {
        /// Argument name.
        name: &'static str,
        /// What was needed, in words.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// A name that is in no table.
    #[error("{name} has no entry {found:?}; known: {known}")]
    Unknown {
        /// Argument name.
        name: &'static str,
        /// What was given.
        found: String,
        /// The known names, comma separated.
        known: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}
