"""Correlations of two columns, plain and with every row counted several times, and their limits.

A resample of rows is a row of counts, so that all resamples are matrix products. Twin: reference/_correlations.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import kernels

Floats = NDArray[np.float64]

MEASURES = ("pearson", "r2", "spearman", "kendall")


def correlations(x: Floats, y: Floats, counts: Floats) -> dict[str, Floats]:
    """Every measure of n pairs, for each row of counts (n_resamples, n); NaN where a side does not vary."""
    with np.errstate(all="ignore"):
        pearson = _pearson(x, y, counts)
        spearman = _pearson(_ranks(x, counts), _ranks(y, counts), counts)
        kendall = _kendall(x, y, counts)
    return {"pearson": pearson, "r2": pearson**2, "spearman": spearman, "kendall": kendall}


def _pearson(x: Floats, y: Floats, counts: Floats) -> Floats:
    n = counts.sum(axis=1)
    left, right = (
        v - (counts * v).sum(axis=1, keepdims=True) / n[:, None]
        for v in np.broadcast_arrays(x, y, counts)[:2]
    )
    xx, yy, xy = ((counts * a * b).sum(axis=1) for a, b in ((left, left), (right, right), (left, right)))
    flat = (xx <= 1e-24 * n * (x**2).max()) | (yy <= 1e-24 * n * (y**2).max())
    return np.where(flat, np.nan, np.clip(xy / np.sqrt(xx * yy), -1.0, 1.0))


def _ranks(v: Floats, counts: Floats) -> Floats:
    """Mean rank of each value among the counted ones."""
    below, same = v[:, None] < v[None, :], v[:, None] == v[None, :]
    return counts @ below.astype(float) + (counts @ same.astype(float) + 1) / 2


def _kendall(x: Floats, y: Floats, counts: Floats) -> Floats:
    a, b = (np.sign(v[:, None] - v[None, :]) for v in (x, y))

    def pairs(matrix: Floats) -> Floats:
        return ((counts @ matrix) * counts).sum(axis=1)

    return pairs(a * b) / np.sqrt(pairs(a * a) * pairs(b * b))


def fisher_limits(measure: str, value: float, n: int, level: float) -> tuple[float, float]:
    """Limits on Fisher's z scale; NaN where there are too few pairs.

    Variance of z: 1/(n - 3) for Pearson, (1 + r^2/2)/(n - 3) for Spearman, .437/(n - 4) for Kendall. R2 takes the
    squares of Pearson's limits, and 0 where these have two signs.
    """
    if measure == "r2":
        low, high = fisher_limits("pearson", float(np.sqrt(value)), n, level)
        return (max(low, 0.0) ** 2 if np.isfinite(low) else np.nan), high**2
    variance: dict[str, Any] = {
        "pearson": (1.0, 3),
        "spearman": (1 + value**2 / 2, 3),
        "kendall": (0.437, 4),
    }
    scale, lost = variance[measure]
    if n <= lost or not np.isfinite(value):
        return np.nan, np.nan
    z = float(kernels().normal_quantile(np.array([(1 + level) / 2]))[0])
    with np.errstate(divide="ignore"):
        centre, margin = np.arctanh(value), z * np.sqrt(scale / (n - lost))
    return float(np.tanh(centre - margin)), float(np.tanh(centre + margin))
