"""Runs of equal keys in sorted rows: where they start, and the offsets that kernels take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray


def new_segments(frame: pl.DataFrame, key: Sequence[str]) -> NDArray[np.bool_]:
    """True at each row whose key differs from the row before."""
    new = np.ones(min(frame.height, 1), dtype=bool)
    if frame.height < 2 or not key:
        return np.concatenate([new, np.zeros(max(frame.height - 1, 0), dtype=bool)])
    changed = frame.select(
        pl.any_horizontal(
            pl.col(name).slice(1).ne_missing(pl.col(name).slice(0, frame.height - 1)) for name in key
        )
    )
    return np.concatenate([new, changed.to_series().to_numpy()])


def segment_offsets(frame: pl.DataFrame, key: Sequence[str]) -> NDArray[np.uintp]:
    """Offsets of the runs of equal keys in sorted rows; one run where the key is empty."""
    if not key:
        return np.array([0, frame.height] if frame.height else [0], dtype=np.uintp)
    new = (
        frame.select(pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in key))
        .to_series()
        .to_numpy(writable=True)
    )
    new[:1] = True
    return np.concatenate([np.flatnonzero(new), [frame.height]]).astype(np.uintp)
