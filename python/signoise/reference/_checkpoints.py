"""Twin of ``rust/core/src/checkpoints.rs``: trailing averages along the checkpoints of a series."""

from __future__ import annotations

import numpy as np

from ._segments import Floats, Offsets, check_positive, segments


def trailing_mean(values: Floats, offsets: Offsets, window: int, *, threads: int | None = None) -> Floats:
    """Mean of the last ``window`` values up to each position; fewer at the start of a segment."""
    del threads
    check_positive("window", window)
    out = np.empty(len(values))
    for start, series in segments(values, offsets):
        for end in range(1, len(series) + 1):
            recent = series[max(0, end - window) : end]
            out[start + end - 1] = sum(recent) / len(recent)
    return out


def trailing_ema(values: Floats, offsets: Offsets, window: int, *, threads: int | None = None) -> Floats:
    """Exponential moving average with weight 2 / (window + 1) on the newest value."""
    del threads
    check_positive("window", window)
    weight = 2.0 / (window + 1.0)
    out = np.empty(len(values))
    for start, series in segments(values, offsets):
        smoothed = None
        for position, x in enumerate(series):
            smoothed = x if smoothed is None else (1.0 - weight) * smoothed + weight * x
            out[start + position] = smoothed
    return out
