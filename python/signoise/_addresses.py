"""Where the random draws of a group come from, and those that are made in Python."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._kernels import kernels

#: What draws made in Python are for: a number each, so that two uses of one seed never share a stream. They start at
#: 1000, as those of kernels count up from 1.
RANK, LAW_ERRORS, LADDER_CHECKPOINTS, SUBSETS = range(1000, 1004)
#: Of interventions.
SUBTASK_CONTROL, SUBTASK_HALVES, SUBTASK_ITEMS, THRESHOLDOUT = range(1004, 1008)
WINDOW_SPLITS, SAMPLE_SIZES, CORRELATIONS, METRIC_SPLITS = range(1020, 1024)
CONTAMINATION, PRUNING_HALVES, PRUNING_CONTROL, PRUNING_TIES = range(1030, 1034)
ANCHOR_FOLDS, ANCHOR_STARTS, ANCHOR_SUBSETS = range(1040, 1043)
#: Of repeated sampling.
MIXING_FOLDS = 1050
PASS_UNTIL_ITEMS, PASS_UNTIL_TRIALS, MAJORITY = range(1060, 1063)


def group_addresses(labels: pl.DataFrame) -> NDArray[np.uint64]:
    """A 64-bit address for each group from its labels: draws stay with a group whatever else is in the table."""
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=8).digest(), "little")
            for row in labels.rows()
        ],
        dtype=np.uint64,
    )


def uniforms(rng_seed: int, purpose: int, unit: int, n: int, replicate: int = 0) -> NDArray[np.float64]:
    """Random numbers strictly between 0 and 1, the same on every machine and for every other draw around them."""
    words = kernels().philox_uint64(rng_seed, purpose, replicate, unit, n)
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def random_subsets(
    rng_seed: int, purpose: int, unit: int, *, n: int, size: int, count: int, replicate: int = 0
) -> NDArray[np.bool_]:
    """Subsets of `size` of n things, a row each: those with the smallest of n random numbers."""
    words = kernels().philox_uint64(rng_seed, purpose, replicate, unit, count * n).reshape(count, n)
    picked = np.zeros((count, n), dtype=bool)
    np.put_along_axis(picked, np.argsort(words, axis=1, kind="stable")[:, :size], values=True, axis=1)
    return picked
