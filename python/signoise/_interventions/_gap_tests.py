"""Is a score on all instances higher than on the clean ones, at thresholds of contamination?

With instances ordered by their contamination, the k clean ones at a threshold come first, and

    gain = mean of all - mean of the k first = (n - k)/n (mean of the others - mean of the k first)

Were contamination unrelated to scores, every order would be as likely: the gain then has mean 0 and the variance
``S^2 (1/k - 1/n)`` exactly, S^2 the variance of all scores (divisor n - 1), and ``z`` is the gain over its root. Random
orders, the same for all members, thresholds and metrics, give the distribution of z, and of the largest z of all
thresholds (Westfall and Young 1993).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._addresses import CONTAMINATION
from .._kernels import kernels

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Random words drawn in one go.
_LARGEST = 4_000_000
#: Statistics that differ by less than this share of their size are equal but for rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class GapTests:
    """Of each row of scores (rows) and threshold (columns); NaN where undefined."""

    gain: Floats
    z: Floats
    p_value: Floats
    p_adjusted: Floats
    """By the largest z of all thresholds of a row."""


def gap_tests(
    values: Floats,
    order: Ints,
    counts: Ints,
    key: tuple[int, int],
    n_resamples: int,
    *,
    two_sided: bool,
) -> GapTests:
    """Test the gain of rows of scores at thresholds.

    Parameters
    ----------
    values
        (n_rows, n_items), higher is better.
    order
        Items from the least contaminated to the most; of the rows together, or (n_rows, n_items).
    counts
        Clean items at each threshold; (n_thresholds), or (n_rows, n_thresholds).
    key
        rng_seed and the address of the draws.
    """
    rows, n = values.shape
    order = np.broadcast_to(order, (rows, n))
    counts = np.broadcast_to(counts, (rows, np.shape(counts)[-1]))
    gain, z, p, adjusted = (np.full(counts.shape, np.nan) for _ in range(4))
    with np.errstate(all="ignore"):
        centred = values - values.mean(axis=1, keepdims=True)
        spread = (centred**2).sum(axis=1) / (n - 1)
        scale = np.sqrt(spread[:, None] * (1 / counts - 1 / n))
        sums = np.cumsum(np.take_along_axis(centred, order, axis=1), axis=1)
        gain = 0.0 - np.take_along_axis(sums, np.maximum(counts - 1, 0), axis=1) / counts
        usable = (counts > 0) & (counts < n) & (scale > 0)
        z = np.where(usable, gain / scale, np.nan)
    exact = _exact(values, order, counts, two_sided=two_sided)
    # Rows with the same numbers of clean items see the same random sets.
    alike, which = np.unique(counts, axis=0, return_inverse=True)
    for number, sizes in enumerate(alike):
        mine = np.flatnonzero(which.ravel() == number)
        if len(sizes) == 1 and (np.isfinite(exact[mine]) | ~usable[mine]).all():
            p[mine] = adjusted[mine] = exact[mine]
            continue
        single, largest = _drawn(centred[mine], z[mine], scale[mine], sizes, key, n_resamples, two_sided)
        sampled = (1 + single) / (1 + n_resamples)
        p[mine] = np.where(np.isnan(exact[mine]), sampled, exact[mine])
        # The search cannot make a test surer than it is alone.
        adjusted[mine] = np.maximum((1 + largest) / (1 + n_resamples), p[mine]) if len(sizes) > 1 else p[mine]
    return GapTests(
        np.where(usable | (scale == 0), gain, np.nan),
        z,
        np.where(usable, p, np.nan),
        np.where(usable, adjusted, np.nan),
    )


def _drawn(
    centred: Floats,
    z: Floats,
    scale: Floats,
    sizes: Ints,
    key: tuple[int, int],
    n_resamples: int,
    two_sided: bool,
) -> tuple[Floats, Floats]:
    """How many random orders give as large a z: at each threshold, and at any of them."""
    usable = np.isfinite(z)
    least = np.where(usable, np.abs(z) if two_sided else z, 0.0)
    least = np.where(usable, least - _ROUNDING * np.maximum(np.abs(least), 1.0), np.inf)
    single, largest = np.zeros(z.shape), np.zeros(z.shape)
    n = centred.shape[1]
    # Clean sets are nested: each is the one before and the items up to its own number.
    inside = np.flatnonzero((sizes > 0) & (sizes < n))
    ends, place = np.unique(sizes[inside], return_inverse=True)
    if not len(ends):
        return single, largest
    starts = np.append(0, ends[:-1])
    by_item = np.ascontiguousarray(centred.T)
    divisors = (sizes * scale).T[inside]
    for order in _random_orders(n, key, n_resamples):
        parts = np.add.reduceat(by_item[order[: ends[-1]]], starts, axis=0)
        with np.errstate(all="ignore"):
            drawn = -np.cumsum(parts, axis=0)[place] / divisors
        drawn = np.where(usable.T[inside], np.abs(drawn) if two_sided else drawn, -np.inf)
        single[:, inside] += (drawn >= least.T[inside]).T
        largest += drawn.max(axis=0)[:, None] >= least
    return single, largest


def _random_orders(n: int, key: tuple[int, int], count: int) -> Iterator[Ints]:
    """Random orders of n things; the first do not depend on `count`."""
    rng_seed, unit = key
    block = max(1, _LARGEST // max(n, 1))
    for number, start in enumerate(range(0, count, block)):
        size = min(block, count - start)
        words = kernels().philox_uint64(rng_seed, CONTAMINATION, number, unit, size * n).reshape(size, n)
        yield from np.argsort(words, axis=1, kind="stable")


def _exact(values: Floats, order: Ints, counts: Ints, *, two_sided: bool) -> Floats:
    """p-values of scores that take two values (Fisher's exact test); NaN for others.

    Two-sided counts the tables whose gain is at least as far from 0.
    """
    rows, n = values.shape
    out = np.full(counts.shape, np.nan)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    for row in range(rows):
        low, high = (values[row].min(), values[row].max()) if n else (0.0, 0.0)
        if low == high or not np.isin(values[row], (low, high)).all():
            continue
        ones = int(np.count_nonzero(values[row] == high))
        ordered = values[row][order[row]] == high
        for at, k in enumerate(counts[row].tolist()):
            if not 0 < k < n:
                continue
            have = int(ordered[:k].sum())
            possible = np.arange(max(0, k - (n - ones)), min(k, ones) + 1)
            rest = k - possible
            ways = (
                logs[ones]
                - logs[possible]
                - logs[ones - possible]
                + logs[n - ones]
                - logs[rest]
                - logs[n - ones - rest]
                - (logs[n] - logs[k] - logs[n - k])
            )
            # Few right answers among the clean instances are a gain; whole numbers leave no rounding.
            off = k * ones - n * possible
            mine = k * ones - n * have
            extreme = np.abs(off) >= abs(mine) if two_sided else off >= mine
            out[row, at] = min(1.0, float(np.exp(ways[extreme]).sum()))
    return out
