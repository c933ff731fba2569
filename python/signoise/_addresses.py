"""Where the random draws of a group come from."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray


def group_addresses(labels: pl.DataFrame) -> NDArray[np.uint64]:
    """A 64-bit address for each group from its labels: draws stay with a group whatever else is in the table."""
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=8).digest(), "little")
            for row in labels.rows()
        ],
        dtype=np.uint64,
    )
