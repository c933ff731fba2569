"""Proportions of 0/1 scores: no simulation, the binomial distribution is summed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from signoise._mean_intervals import interval, mean_estimate
from signoise._proportions import proportion_interval

from .study import LEVEL, Bar, Cell, Floats, Row
from .tables import ASKED, bootstrap_flags, offsets

SECTION = "Proportions"
ESTIMAND = "success probability"
RATES = (0.05, 0.5, 0.95)
SIZES = (30, 164, 1000)
NAMES = {
    "wilson": "Wilson",
    "jeffreys": "Jeffreys",
    "clopper_pearson": "Clopper-Pearson",
    "t": "Student's t of 0/1 scores",
}
DOMAINS = {
    "wilson": "on average over p",
    "jeffreys": "on average over p",
    "clopper_pearson": "everywhere",
    "t": "n >= 30 max(1, skewness^2)",
}


def limits(n: int, method: str) -> tuple[Floats, Floats]:
    """Limits for every number of successes, 0 to n; of t NaN where there is no spread."""
    k = np.arange(n + 1.0)
    if method != "t":
        return proportion_interval(k, np.full(n + 1, float(n)), LEVEL, method)  # type: ignore[arg-type]
    values = (np.arange(n)[None, :] < k[:, None]).astype(float)
    found = mean_estimate(values.ravel(), np.arange(0, values.size + 1, n, dtype=np.uintp))
    low, high = interval(found, LEVEL)
    spread = found.stderr > 0
    return np.where(spread, low, np.nan), np.where(spread, high, np.nan)


def coverage(n: int, p: float, method: str) -> float:
    """Probability that the interval holds p."""
    low, high = limits(n, method)
    with np.errstate(invalid="ignore"):
        return float(stats.binom.pmf(np.arange(n + 1), n, p)[(low <= p) & (p <= high)].sum())


def average_coverage(n: int, method: str) -> float:
    """Mean over p, uniform on [0, 1]: each k has a Beta(k + 1, n - k + 1) share of 1/(n + 1)."""
    low, high = limits(n, method)
    k = np.arange(n + 1)
    held = stats.beta.cdf(high, k + 1, n - k + 1) - stats.beta.cdf(low, k + 1, n - k + 1)
    return float(np.nansum(held) / (n + 1))


def least_coverage(n: int, method: str) -> float:
    """Smallest over p: it is reached where p leaves an interval."""
    low, high = limits(n, method)
    ends = np.concatenate([low, high])
    ends = ends[(ends > 0) & (ends < 1)]
    p = np.concatenate([ends - 1e-9, ends + 1e-9])
    inside = (low <= p[:, None]) & (p[:, None] <= high)
    return float((stats.binom.pmf(np.arange(n + 1), n, p[:, None]) * inside).sum(axis=1).min())


def skewness(p: float) -> float:
    """Of one 0/1 score."""
    return (1 - 2 * p) / np.sqrt(p * (1 - p))


def _rows(method: str, n: int) -> Iterator[Row]:
    low, high = limits(n, method)
    exact_low, exact_high = limits(n, "clopper_pearson")
    exact = method == "clopper_pearson"
    bar = {"clopper_pearson": Bar.CONSERVATIVE, "t": Bar.APPROXIMATE}.get(method, Bar.NONE)
    for p in RATES:
        pmf = stats.binom.pmf(np.arange(n + 1), n, p)
        known = np.isfinite(low)
        width = (pmf * (high - low))[known].sum() / pmf[known].sum()
        yield Row(
            SECTION,
            NAMES[method],
            ESTIMAND,
            f"p = {p}, n = {n}",
            coverage(n, p, method),
            bar,
            DOMAINS[method],
            method != "t" or n >= 30 * max(1.0, skewness(p) ** 2),
            width=float(width),
            ratio=float(width / (pmf * (exact_high - exact_low))[known].sum() * pmf[known].sum()),
            undefined=float(pmf[~known].sum()),
            flags="" if method != "t" else _flags(n, p),
        )
    if method in ("wilson", "jeffreys"):
        average = average_coverage(n, method)
        yield Row(
            SECTION,
            NAMES[method],
            ESTIMAND,
            f"average over p, n = {n}",
            average,
            Bar.APPROXIMATE,
            DOMAINS[method],
            True,
        )
    if exact:
        least = least_coverage(n, method)
        yield Row(
            SECTION,
            NAMES[method],
            ESTIMAND,
            f"least over p, n = {n}",
            least,
            Bar.CONSERVATIVE,
            DOMAINS[method],
            True,
        )


def _flags(n: int, p: float) -> str:
    """What `bootstrap` says of such scores."""
    rng = np.random.default_rng([n, int(100 * p)])
    return bootstrap_flags((rng.random(ASKED * n) < p).astype(float), offsets(ASKED, n))


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def run(method: str, n: int) -> Cell:
        return Cell(f"proportions/{method}/{n}", lambda _: _rows(method, n))

    for method in NAMES:
        for n in SIZES:
            yield run(method, n)
