"""Twin of ``rust/core/src/smoothness.rs``: total variation and monotonicity along checkpoints."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from ._random import AR1_SURROGATE, Words
from ._segments import Floats, Offsets, check_length, check_positive, segments

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT_UP_TO = 50
"""Longest series whose p is counted instead of approximated."""


def _discordant_counts(ties: list[int]) -> list[int]:
    """How many arrangements of a multiset have D = 0, 1, .. discordant pairs, in exact integers.

    The coefficients of prod_{j=1..n} (1 - q^j) / prod_k prod_{j=1..m_k} (1 - q^j).
    """
    n = sum(ties)
    degree = math.comb(n, 2) - sum(math.comb(m, 2) for m in ties)
    counts = [1] + [0] * degree
    for j in range(1, n + 1):
        for power in range(degree, j - 1, -1):
            counts[power] -= counts[power - j]
    for m in ties:
        for j in range(1, m + 1):
            for power in range(j, degree + 1):
                counts[power] += counts[power - j]
    return counts


def _exact_p(score: int, ties: list[int]) -> float:
    """P(|S| >= |score|) over all arrangements, S = untied pairs - 2 D."""
    counts = _discordant_counts(ties)
    untied = len(counts) - 1
    extreme = sum(count for d, count in enumerate(counts) if abs(untied - 2 * d) >= abs(score))
    return extreme / sum(counts)


def _normal_p(score: int, ties: list[int]) -> float:
    n = sum(ties)
    variance = (n * (n - 1) * (2 * n + 5) - sum(m * (m - 1) * (2 * m + 5) for m in ties)) / 18
    return math.erfc(abs(score) / math.sqrt(variance) / math.sqrt(2))


def _finite_or_nan(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan


def _smoothness(x: list[float]) -> dict[str, float]:
    n = len(x)
    if n < 2 or any(math.isnan(value) for value in x):
        return {}
    steps = [after - before for before, after in pairwise(x)]
    variation = sum(abs(step) for step in steps) / (n - 1)
    improvement = (x[-1] - x[0]) / n
    out = {"total_variation": variation, "improvement": improvement}
    spread = max(x) - min(x)
    if spread == 0:
        return out
    out["total_variation_normalised"] = variation / spread
    out["total_variation_improvement"] = variation / spread - improvement
    up, down = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    out["monotonicity_sign"] = (up - down) / (up + down)
    score = sum((later > earlier) - (later < earlier) for earlier, later in combinations(x, 2))
    ties = sorted(Counter(x).values())
    pairs = math.comb(n, 2)
    untied = pairs - sum(math.comb(m, 2) for m in ties)
    out["monotonicity_tau"] = score / math.sqrt(pairs) / math.sqrt(untied)
    out["monotonicity_p"] = _exact_p(score, ties) if n <= EXACT_UP_TO else _normal_p(score, ties)
    return out


def smoothness_groups(
    values: Floats, offsets: Offsets, *, threads: int | None = None
) -> dict[str, NDArray[np.float64] | NDArray[np.uint64]]:
    """Total variation and monotonicity of every series, in checkpoint order.

    ``total_variation`` = mean |x_{t+1} - x_t|; ``_normalised`` divides it by max - min; ``improvement`` =
    (x_n - x_1) / n; ``total_variation_improvement`` = normalised - improvement. ``monotonicity_sign`` =
    (up - down) / (up + down) over the non-zero steps, ``monotonicity_tau`` = Kendall's tau-b against
    position.

    ``monotonicity_p`` is the two-sided P(|S| >= |S observed|) of tau's numerator over all arrangements of the
    series: exact, ties included, up to 50 checkpoints; above, the normal approximation with the variance for
    ties. It is valid for exchangeable checkpoints only: autocorrelated ones without a trend reject too often.

    NaN with fewer than two values; for a constant series all but ``total_variation`` and ``improvement``.
    """
    del threads
    series = [segment.tolist() for _, segment in segments(values, offsets)]
    found = [_smoothness(x) for x in series]
    names = (
        "monotonicity_sign",
        "monotonicity_tau",
        "monotonicity_p",
        "total_variation",
        "total_variation_normalised",
        "total_variation_improvement",
        "improvement",
    )
    columns: dict[str, NDArray[np.float64] | NDArray[np.uint64]] = {
        "n": np.array([len(x) for x in series], dtype=np.uint64)
    }
    for name in names:
        columns[name] = np.array([_finite_or_nan(row.get(name, math.nan)) for row in found], dtype=np.float64)
    return columns


def monotonicity_ar1(
    tau: Floats,
    n: NDArray[np.uint64],
    rho: Floats,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> Floats:
    """Share of trendless normal series of n values with lag-1 autocorrelation rho whose tau is as far from 0."""
    del threads
    check_length("n", len(n), len(tau))
    check_length("rho", len(rho), len(tau))
    check_positive("n_resamples", n_resamples)
    out = np.full(len(tau), math.nan)
    laws: dict[tuple[int, float], Floats] = {}
    for at, (own, length, correlation) in enumerate(zip(tau, n.tolist(), rho.tolist(), strict=True)):
        if math.isnan(own) or length < 2 or not abs(correlation) < 1:
            continue
        law = (length, correlation)
        if law not in laws:
            laws[law] = _surrogate_taus(*law, n_resamples, rng_seed)
        out[at] = (1 + np.count_nonzero(laws[law] >= abs(own) - 1e-12)) / (n_resamples + 1)
    return out


def _surrogate_taus(n: int, rho: float, n_resamples: int, rng_seed: int) -> Floats:
    """Absolute taus of surrogates: sixteen share a stream, whose step t is z_t of each."""
    found = []
    i, j = np.triu_indices(n, 1)
    quantile = np.vectorize(NormalDist().inv_cdf, otypes=[float])
    for block in range(-(-n_resamples // 16)):
        stream = Words(rng_seed, AR1_SURROGATE, block, n)
        z = quantile((np.array([stream.step() for _ in range(n)]) + 0.5) / 2**32)
        x = z.copy()
        for t in range(1, n):
            x[t] = rho * x[t - 1] + math.sqrt(1 - rho**2) * z[t]
        found.append(np.abs(np.sign(x[j] - x[i]).mean(axis=0)))
    return np.concatenate(found)[:n_resamples]
