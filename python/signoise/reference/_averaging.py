"""Twins of ``_interventions/_averages.py`` and ``_member_halves.py``: pair by pair, and split by split."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np

from ._checkpoints import trailing_ema, trailing_mean
from ._segments import Floats, Offsets, segments


def separated_variance(values: Floats, offsets: Offsets, window: int, how: str) -> Floats:
    """Half the mean squared difference between trailing averages that are at least a window apart.

    Divided by what independent checkpoints make of it over the variance of the last average: 1 for plain means.
    """
    out = []
    for _, series in segments(values, offsets):
        y = _full(series, window, how)
        pairs = [(s, t) for s, t in combinations(range(len(y)), 2) if t - s >= window]
        if not pairs:
            out.append(math.nan)
            continue
        a = np.array([_full(unit, window, how) for unit in np.eye(len(series))]).T
        share = np.mean([sum((a[t] - a[s]) ** 2) / 2 for s, t in pairs]) / sum(a[-1] ** 2)
        out.append(float(np.mean([(y[t] - y[s]) ** 2 / 2 for s, t in pairs]) / share))
    return np.array(out, dtype=float)


def overlapping_variance(values: Floats, offsets: Offsets, window: int, how: str, ddof: int) -> Floats:
    """Variance of all full trailing averages of each series, which overlap."""
    out = []
    for _, series in segments(values, offsets):
        y = _full(series, window, how)
        m = len(y)
        mean = sum(y) / m if m else math.nan
        out.append(sum((v - mean) ** 2 for v in y) / (m - ddof) if m > max(ddof, 1) else math.nan)
    return np.array(out, dtype=float)


def variance_factor(window: int, how: str, rho: Floats) -> Floats:
    """Variance of an average over that of a checkpoint: the double sum over its weights, of ``rho^|i - j|``."""
    if how == "mean":
        weights = [1 / window] * window
    else:
        newest = 2 / (window + 1)
        weights = [newest * (1 - newest) ** age for age in range(60 * window)]
    out = []
    for r in rho:
        total = 0.0
        for i, first in enumerate(weights):
            for j, second in enumerate(weights):
                total += first * second * (float(r) ** abs(i - j) if i != j else 1.0)
        out.append(total)
    return np.array(out)


def agreement_of(small: Floats, target: Floats, members: list[int]) -> list[float]:
    """Decision accuracy of some members, ties one half, for each option (row)."""
    return [
        float(
            np.mean([(1 + np.sign((a[i] - a[j]) * (b[i] - b[j]))) / 2 for i, j in combinations(members, 2)])
        )
        for a, b in zip(small, target, strict=True)
    ]


def log_snr_of(scores: Floats, variances: Floats, members: list[int]) -> list[float]:
    """Logarithm of range over noise of some members, for each option (row)."""
    return [
        math.log((max(x[members]) - min(x[members])) / math.sqrt(sum(v[members]) / len(members)))
        for x, v in zip(scores, variances, strict=True)
    ]


def cross_fitted(
    choose: Callable[[list[int]], list[float]],
    evaluate: Callable[[list[int]], list[float]],
    halves: list[list[int]],
    n_members: int,
) -> tuple[float, float]:
    """Mean gain over option 0 of the option that is best on one half, on the other half; and on that half itself.

    ``choose`` and ``evaluate`` give the value of each option on some members; of equals the first is chosen.
    """
    gains, in_sample = [], []
    for half in halves:
        other = [member for member in range(n_members) if member not in half]
        for choosing, evaluating in ((half, other), (other, half)):
            first, second = choose(choosing), evaluate(evaluating)
            gains.append(second[first.index(max(first))] - second[0])
            in_sample.append(max(second) - second[0])
    return sum(gains) / len(gains), sum(in_sample) / len(in_sample)


def _full(series: Floats, window: int, how: str) -> list[float]:
    """Trailing averages from the first full window on."""
    average = trailing_mean if how == "mean" else trailing_ema
    return average(series, np.array([0, len(series)], dtype=np.uintp), window).tolist()[window - 1 :]
