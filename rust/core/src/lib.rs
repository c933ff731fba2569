//! Kernels of signoise: slices in, owned values out; no Python, no I/O, no strings beyond option names.
//!
//! Every kernel takes values sorted by group and the offsets that divide them, computes each group alone and returns
//! one entry a group, so that results have the same bits for any number of threads. A statistic that is undefined is
//! NaN here; the Python side turns it into a null with its reason. Each module has a NumPy twin of the same name
//! under `python/signoise/reference`.

pub mod bootstrap;
pub mod checkpoints;
pub mod decisions;
pub mod dispersion;
pub mod distributions;
pub mod error;
pub mod item_response;
pub mod laws;
pub mod matrix;
pub mod moments;
pub mod parallel;
pub mod permutation;
pub mod random;
pub mod sampling;
pub mod smoothness;
pub mod snr;

pub use error::{Error, Result};
pub use parallel::{Interrupt, Segments};
