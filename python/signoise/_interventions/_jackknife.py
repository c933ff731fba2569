"""Limits by leaving out each member in turn, on the scale of the estimate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._intervals import quantile_at
from .._kernels import kernels

Floats = NDArray[np.float64]


def jackknife_stderr(left_out: Floats) -> Floats:
    """Standard error from the estimates without each of J members, along the last axis.

    NaN below 3 members and where no member changes the estimate, which then says nothing about other members.
    """
    n = left_out.shape[-1]
    if n < 3:
        return np.full(left_out.shape[:-1], np.nan)
    with np.errstate(invalid="ignore"):
        about = left_out - left_out.mean(axis=-1, keepdims=True)
        stderr = np.sqrt((n - 1) / n * (about**2).sum(axis=-1))
        same = np.ptp(left_out, axis=-1) <= 1e-12 * np.maximum(np.abs(left_out).max(axis=-1), 1e-300)
    return np.where(same, np.nan, stderr)


def t_margin(stderr: Floats, n_members: NDArray[np.intp], level: float) -> Floats:
    """Half the width of an interval: t quantile of J - 1 degrees of freedom times the standard error."""
    freedom = np.maximum(n_members - 1, 1).astype(float)
    return quantile_at("t_quantile", (1 + level) / 2, freedom) * stderr


def t_p_value(estimate: Floats, stderr: Floats, n_members: NDArray[np.intp]) -> Floats:
    """Two-sided probability of an estimate so far from 0 or farther, by t with J - 1 degrees of freedom."""
    freedom = np.maximum(n_members - 1, 1).astype(float)
    with np.errstate(all="ignore"):
        ratio = -np.abs(estimate) / stderr
    return np.minimum(1.0, 2 * kernels().t_cdf(ratio, freedom))
