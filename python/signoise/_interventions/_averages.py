"""Noise of trailing averages: observed from windows that share no checkpoint, and expected from single checkpoints.

Successive trailing averages share checkpoints, so their standard deviation is smaller than the noise of an average.
Pairs of averages at least a window apart share none (an exponential average: little, which is divided out).

    V = mean over pairs (s, t) with |s - t| >= window of (y_s - y_t)^2 / 2,   y_t = sum of a_tu x_u

For window 1 this is the variance with divisor n - 1. Twin: reference/_averaging.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .._intervals import quantile_at
from .._kernels import kernels

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

HOWS = ("mean", "ema")


@dataclass(frozen=True)
class Form:
    """Trailing averages of n checkpoints, from the window-th on, as quadratic forms."""

    last: Floats
    """Weights of the checkpoints in the last average, (n)."""
    separated: Floats
    """V as x' B x, (n, n)."""

    @property
    def share(self) -> float:
        """What independent checkpoints make of V over the variance of the last average; 1 for plain means."""
        return float(np.trace(self.separated) / (self.last @ self.last))


@lru_cache(maxsize=256)
def form(n: int, window: int, how: str) -> Form:
    """The form of series of n >= 2 window checkpoints."""
    kernel = kernels().trailing_mean if how == "mean" else kernels().trailing_ema
    # The averages of unit vectors are the weights.
    unit = np.eye(n)
    weights = kernel(unit.ravel(), np.arange(n + 1, dtype=np.uintp) * np.uintp(n), window).reshape(n, n).T
    weights = weights[window - 1 :]
    place = np.arange(len(weights))
    apart = (np.abs(place[:, None] - place[None, :]) >= window).astype(float)
    laplacian = np.diag(apart.sum(axis=1)) - apart
    return Form(weights[-1], weights.T @ laplacian @ weights / apart.sum())


def averages(values: Floats, offsets: NDArray[np.uintp], window: int, how: str) -> list[tuple[Ints, Floats]]:
    """Full trailing averages of series: for each length, which series have it and a row of averages for each."""
    kernel = kernels().trailing_mean if how == "mean" else kernels().trailing_ema
    smoothed = kernel(values, offsets, window)
    starts = offsets[:-1].astype(np.intp)
    lengths = np.diff(offsets).astype(np.intp)
    found = []
    for n in np.unique(lengths[lengths >= window]).tolist():
        rows = np.flatnonzero(lengths == n)
        found.append((rows, smoothed[starts[rows][:, None] + np.arange(window - 1, n)]))
    return found


def separated_variance(values: Floats, offsets: NDArray[np.uintp], window: int, how: str) -> Floats:
    """Variance of an average of `window` checkpoints, for each series; NaN for fewer than two windows."""
    out = np.full(len(offsets) - 1, np.nan)
    for rows, y in averages(values, offsets, window, how):
        m = y.shape[1]
        lags = range(window, m)
        if not lags:
            continue
        with np.errstate(invalid="ignore"):
            squares = sum(((y[:, lag:] - y[:, :-lag]) ** 2).sum(axis=1) for lag in lags)
        share = form(m + window - 1, window, how).share
        out[rows] = squares / ((m - window) * (m - window + 1)) / share
    return out


def overlapping_variance(
    values: Floats, offsets: NDArray[np.uintp], window: int, how: str, ddof: int
) -> Floats:
    """Variance of the m full averages of each series as they stand, with divisor m - ddof; NaN where that is 0."""
    out = np.full(len(offsets) - 1, np.nan)
    for rows, y in averages(values, offsets, window, how):
        m = y.shape[1]
        if m > max(ddof, 1):
            with np.errstate(invalid="ignore"):
                out[rows] = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / (m - ddof)
    return out


def variance_factor(window: int, how: str, rho: Floats) -> Floats:
    """Variance of an average over that of a checkpoint, for checkpoints with autocorrelation ``rho^lag``.

    Mean: ``(1/n)(1 + 2 sum over 0 < k < n of (1 - k/n) rho^k)``. Exponential: that of an endless series,
    ``w/(2 - w) (1 + q rho)/(1 - q rho)`` with w = 2/(window + 1), q = 1 - w.
    """
    if how == "ema":
        weight = 2 / (window + 1)
        rest = (1 - weight) * rho
        return weight / (2 - weight) * (1 + rest) / (1 - rest)
    lag = np.arange(1, window)
    return (1 + 2 * ((1 - lag / window) * rho[:, None] ** lag).sum(axis=1)) / window


def ratio_limits(
    ratio: Floats, counts: list[dict[int, int]], window: int, how: str, rho: Floats, level: float
) -> tuple[Floats, Floats]:
    """Limits of the noise of an average over that of a checkpoint, by group; NaN where there is no run.

    Both variances are quadratic forms of the same normal checkpoints, so the variance of their relative difference is
    known: 2/nu, which makes the squared ratio as uncertain as a chi-square over its nu degrees of freedom. What
    autocorrelation does to the ratio of their expectations in so short runs is taken out.

    Parameters
    ----------
    counts
        ``{length: runs}`` of each group, lengths of at least two windows.
    rho
        Autocorrelation of each group, taken for the true one.
    """
    df, bias = np.full((2, len(ratio)), np.nan)
    for group, lengths in enumerate(counts):
        if lengths:
            df[group], bias[group] = _law_of_ratio(
                tuple(sorted(lengths.items())), window, how, float(rho[group])
            )
    upper = quantile_at("chi2_quantile", (1 + level) / 2, df)
    lower = quantile_at("chi2_quantile", (1 - level) / 2, df)
    with np.errstate(all="ignore"):
        centre = ratio * np.sqrt(variance_factor(window, how, rho) / bias)
        return centre * np.sqrt(df / upper), centre * np.sqrt(df / lower)


@lru_cache(maxsize=1024)
def _law_of_ratio(
    lengths: tuple[tuple[int, int], ...], window: int, how: str, rho: float
) -> tuple[float, float]:
    """Degrees of freedom of the squared ratio, and the ratio of expectations."""
    parts = []
    for n, runs in lengths:
        lag = np.abs(np.arange(n)[:, None] - np.arange(n)[None, :])
        correlation = rho**lag
        averaged, single = (form(n, size, how).separated @ correlation for size in (window, 1))
        parts.append((runs, averaged / form(n, window, how).share, single))
    expected = [sum(part[0] * float(np.trace(part[side])) for part in parts) for side in (1, 2)]
    variance = 0.0
    for runs, averaged, single in parts:
        difference = averaged / expected[0] - single / expected[1]
        variance += 2 * runs * float(np.sum(difference * difference.T))
    return (2 / variance if window > 1 and variance > 0 else np.nan), expected[0] / expected[1]
