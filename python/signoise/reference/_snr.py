"""Twin of ``rust/core/src/snr.rs``: checkpoint noise of a series and of a group of runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError
from ._segments import Floats, Offsets, check_length, check_positive, segments

_SUMMARY = ("mean", "last", "m2", "slope", "sxx", "residual", "successive", "rho")
_ESTIMATORS = ("within", "mean_sd", "pooled", "detrended", "successive_difference")

#: Largest range of equal values, of the largest of them.
_FLAT = 8 * np.finfo(float).eps


def window_summary(
    values: Floats, positions: Floats, offsets: Offsets, window: int, *, threads: int | None = None
) -> dict[str, NDArray[Any]]:
    """Summarise the last ``window`` checkpoints of each series."""
    del threads
    check_positive("window", window)
    check_length("positions", len(positions), len(values))
    rows = []
    for start, series in segments(values, offsets):
        at = positions[start : start + len(series)]
        rows.append(_summary(series[-window:], at[-window:]))
    floats = np.array([row[1:] for row in rows], dtype=float).reshape(-1, len(_SUMMARY))
    counts = np.array([row[0] for row in rows], dtype=np.uint64)
    return {"n": counts, **{name: np.ascontiguousarray(floats[:, i]) for i, name in enumerate(_SUMMARY)}}


def _summary(x: Floats, positions: Floats) -> tuple[float, ...]:
    k = len(x)
    if k == 0:
        return (0, *([math.nan] * len(_SUMMARY)))
    mean = x[0] if np.all(x == x[0]) else np.mean(x)
    m2 = np.sum((x - mean) ** 2)
    slope = sxx = residual = successive = rho = math.nan
    if k >= 2:
        successive = np.sum(np.diff(x) ** 2)
        if m2 > 0:
            rho = np.sum((x[:-1] - mean) * (x[1:] - mean)) / m2
        spacing = (positions[-1] - positions[0]) / (k - 1)
        if spacing > 0 and math.isfinite(spacing):
            u = (positions - positions[0]) / spacing
            u = u - np.mean(u)
            sxx = np.sum(u**2)
            slope = np.sum(u * (x - mean)) / sxx
            residual = np.sum((x - mean - slope * u) ** 2)
        spread = np.ptp(x)
        if math.isfinite(spread) and spread <= _FLAT * np.max(np.abs(x)):
            m2 = successive = 0.0
            rho = math.nan
            if not math.isnan(slope):
                slope = residual = 0.0
    return k, float(mean), x[-1], m2, slope, sxx, residual, successive, rho


def group_noise(
    n: NDArray[np.uint64],
    mean: Floats,
    m2: Floats,
    slope: Floats,
    sxx: Floats,
    residual: Floats,
    successive: Floats,
    offsets: Offsets,
    estimator: str,
    ddof: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Noise of each group of runs from the columns of ``window_summary``."""
    del threads
    if estimator not in _ESTIMATORS:
        raise OptionError(f"noise has no entry {estimator!r}; known: {', '.join(_ESTIMATORS)}")
    for name, column in {"mean": mean, "m2": m2, "slope": slope, "sxx": sxx, "residual": residual}.items():
        check_length(name, len(column), len(n))
    k = n.astype(float)
    least = 3 if estimator == "detrended" else 2
    lost = ddof + 1 if estimator == "detrended" else ddof
    df = k - (2 if estimator == "detrended" else 1)
    with np.errstate(all="ignore"):
        variance = {
            "detrended": residual / (k - lost),
            "successive_difference": successive / (2 * (k - 1)),
        }.get(estimator, m2 / (k - lost))
    usable = (k >= least) & (k > lost) & np.isfinite(variance)
    rows = []
    for start, group in segments(mean, offsets):
        here = slice(start, start + len(group))
        enough = usable[here]
        counts = k[here]
        total = counts.sum()
        grand = float(np.sum(counts[counts > 0] * group[counts > 0]) / total) if total else math.nan
        v = variance[here][enough]
        if not len(v):
            absolute = math.nan
        elif estimator == "mean_sd":
            absolute = np.mean(np.sqrt(v))
        elif estimator == "pooled":
            spread = m2[here] + counts * (group - grand) ** 2
            absolute = np.sqrt(np.nansum(spread) / (total - ddof))
        else:
            absolute = np.sqrt(np.mean(v))
        rows.append(
            (len(v), grand, absolute, df[here][enough].sum(), *_mean_slope(k, slope, sxx, residual, here))
        )
    names = ("mean", "absolute", "df", "trend", "trend_t", "trend_df")
    floats = np.array([row[1:] for row in rows], dtype=float).reshape(-1, len(names))
    n_runs = np.array([row[0] for row in rows], dtype=np.uint64)
    return {"n_runs": n_runs, **{name: np.ascontiguousarray(floats[:, i]) for i, name in enumerate(names)}}


def _mean_slope(
    k: Floats, slope: Floats, sxx: Floats, residual: Floats, here: slice
) -> tuple[float, float, float]:
    sloped = (k[here] >= 2) & np.isfinite(slope[here])
    count = sloped.sum()
    df = float(np.sum(k[here][sloped] - 2))
    with np.errstate(all="ignore"):
        trend = np.sum(slope[here][sloped]) / count if count else math.nan
        sigma2 = np.divide(np.sum(residual[here][sloped]), df)
        stderr = np.sqrt(sigma2 * np.sum(1 / sxx[here][sloped])) / count if count else math.nan
        return trend, np.divide(trend, stderr), df
