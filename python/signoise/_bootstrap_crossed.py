"""Designs in which runs or checkpoints are drawn too: crossed with the instances they share, or with their own inside.

Closed form of the crossed design, for a table z of S sisters x n clusters about the estimate (of a ratio of sums
z = (total - estimate * size) / mean size): Var = V_s + V_i - V_e with V_s = Var1(means of sisters) / S,
V_i = Var1(means of clusters) / n, V_e = residual mean square / (S n); components below zero count as 0, so that V_s and
V_i are at least V_e. Degrees of freedom are Satterthwaite's. Strata share the sisters and have clusters of their own:
V_s is that of the means over strata, V_i and V_e add up. Nested: V_s alone, S - 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ._bootstrap_replicates import Found, Plan, on_worker, spreads
from ._bootstrap_samples import Sample
from ._kernels import kernels
from .engines import Engine

Floats = NDArray[np.float64]
Offsets = NDArray[np.uintp]


@dataclass(frozen=True)
class Crossed:
    """Sisters x clusters of instances that all of them have."""

    totals: Floats
    sizes: Floats | None
    """None where each cluster is one instance of weight 1."""
    strata: Offsets
    """Strata among the clusters."""
    units: NDArray[np.uint64]
    sister_unit: np.uint64
    """Address of the draws of sisters."""
    n: int
    """Instances."""
    cluster_sizes: NDArray[np.intp]
    logs: bool

    @property
    def n_strata(self) -> int:
        """Strata of the instances."""
        return len(self.units)

    @property
    def too_few(self) -> bool:
        """Fewer than two sisters, or clusters in some stratum, tell nothing of their spread."""
        return len(self.totals) < 2 or self.n == 0 or bool((np.diff(self.strata) < 2).any())

    def parts(self) -> list[tuple[Floats, Floats | None, np.uint64]]:
        """Totals, sizes and address of each stratum."""
        return [
            (
                np.ascontiguousarray(self.totals[:, start:end]),
                None if self.sizes is None else np.ascontiguousarray(self.sizes[:, start:end]),
                unit,
            )
            for (start, end), unit in zip(
                pairwise(self.strata.astype(np.intp).tolist()), self.units, strict=True
            )
        ]

    def estimate(self) -> float:
        """Mean over strata of the ratio of sums."""
        if not self.n:
            return np.nan
        with np.errstate(all="ignore"):
            return float(np.mean([_ratio(totals, sizes) for totals, sizes, _ in self.parts()]))

    def replicates(self, plan: Plan) -> Floats:
        """Values under draws of sisters and, independently, of clusters."""
        rows = np.array([0, len(self.totals)], dtype=np.uintp)
        values = np.zeros(plan.n_resamples)
        parts = self.parts()
        for totals, sizes, unit in parts:
            found = kernels().bootstrap_crossed(
                totals,
                sizes,
                rows,
                np.array([self.sister_unit]),
                np.array([0, totals.shape[1]], dtype=np.uintp),
                np.array([unit]),
                plan.n_resamples,
                plan.rng_seed,
                scheme=plan.weights,
                threads=plan.threads,
            )
            values += found[0] / len(parts)
        return values

    def closed_form(self) -> tuple[float, float]:
        """Variance of the estimate and its degrees of freedom."""
        tables = [_about_estimate(totals, sizes) for totals, sizes, _ in self.parts()]
        sisters, h = len(self.totals), len(tables)
        of_sisters = float(np.mean([z.mean(axis=1) for z in tables], axis=0).var(ddof=1)) / sisters
        of_items, residual = 0.0, 0.0
        uncertainty = 0.0  # sum of squared terms over their degrees of freedom
        for z in tables:
            n = z.shape[1]
            rest = z - z.mean(axis=1, keepdims=True) - z.mean(axis=0) + z.mean()
            error = float((rest**2).sum()) / ((sisters - 1) * (n - 1)) / (sisters * n) / h**2
            items = max(float(z.mean(axis=0).var(ddof=1)) / n / h**2, error)
            of_items, residual = of_items + items, residual + error
            uncertainty += items**2 / (n - 1) + error**2 / ((sisters - 1) * (n - 1))
        of_sisters = max(of_sisters, residual)
        variance = of_sisters + of_items - residual
        uncertainty += of_sisters**2 / (sisters - 1)
        return variance, variance**2 / uncertainty if uncertainty > 0 else np.nan


@dataclass(frozen=True)
class Nested:
    """Sisters with instances of their own, one after the other."""

    values: Floats
    offsets: Offsets
    """Sisters among the instances."""
    unit: np.uint64
    logs: bool

    @property
    def n(self) -> int:
        """Instances."""
        return len(self.values)

    @property
    def n_strata(self) -> int:
        """One, if any."""
        return min(self.n, 1)

    @property
    def cluster_sizes(self) -> NDArray[np.intp]:
        """Instances are independent inside their sister."""
        return np.ones(self.n, dtype=np.intp)

    @property
    def too_few(self) -> bool:
        """Fewer than two sisters tell nothing of their spread."""
        return len(self.offsets) < 3

    def estimate(self) -> float:
        """Mean over all instances."""
        with np.errstate(all="ignore"):
            return float(self.values.mean()) if self.n else np.nan

    def replicates(self, plan: Plan) -> Floats:
        """Means of drawn instances of drawn sisters."""
        rows = np.array([0, len(self.offsets) - 1], dtype=np.uintp)
        return kernels().bootstrap_nested(
            self.values,
            self.offsets,
            rows,
            np.array([self.unit]),
            plan.n_resamples,
            plan.rng_seed,
            threads=plan.threads,
        )[0]

    def closed_form(self) -> tuple[float, float]:
        """Variance of the estimate and its degrees of freedom."""
        sizes = np.diff(self.offsets).astype(float)
        totals = np.add.reduceat(self.values, self.offsets[:-1].astype(np.intp))
        z = (totals - self.estimate() * sizes) / sizes.mean()
        return float(z.var(ddof=1)) / len(z), len(z) - 1.0


def crossed(sample: Sample, sisters: int, sister_unit: np.uint64) -> Crossed:
    """The table of a sample whose outermost strata are its sisters."""
    count = max(sisters, 1)
    n, groups, strata = (
        size // count for size in (len(sample.values), len(sample.members) - 1, len(sample.units))
    )
    weights = sample.weights
    values = sample.values if weights is None else sample.values * weights
    sizes = weights
    if groups < n:
        starts = sample.members[:-1].astype(np.intp)
        values = np.add.reduceat(values, starts)
        sizes = np.add.reduceat(np.ones(len(sample.values)) if weights is None else weights, starts)
    return Crossed(
        totals=values.reshape(sisters, groups),
        sizes=None if sizes is None else sizes.reshape(sisters, groups),
        strata=sample.strata[: strata + 1],
        units=sample.units[:strata],
        sister_unit=sister_unit,
        n=n,
        cluster_sizes=np.diff(sample.members[: groups + 1]).astype(np.intp),
        logs=sample.logs,
    )


def nested(sample: Sample, unit: np.uint64) -> Nested:
    """The same where each sister has its own instances."""
    return Nested(sample.values, sample.strata, unit, sample.logs)


def sister_intervals(tables: Sequence[Crossed | Nested], plan: Plan, engine: Engine) -> Found:
    """Estimate and interval of each table; the closed form for the method ``"t"``."""
    count = len(tables)
    value, stderr, low, high = np.full((4, count), np.nan)
    constant = np.zeros(count, dtype=bool)
    found = engine.map(
        partial(_of_table, plan=on_worker(plan, engine)), tables, sizes=[table.n for table in tables]
    )
    for row, one in enumerate(found):
        value[row], stderr[row], low[row], high[row], constant[row] = one
    low, high = (np.where(constant, np.nan, limit) for limit in (low, high))
    draws = ["clusters" if len(table.cluster_sizes) < table.n else "instances" for table in tables]
    unknown = np.full(count, np.nan)
    return Found(value, stderr, low, high, constant, np.zeros(count, dtype=bool), unknown, draws)


def _of_table(table: Crossed | Nested, plan: Plan) -> tuple[float, float, float, float, bool]:
    """Value, standard error, limits, and whether these coincide."""
    value = table.estimate()
    found = (np.nan, np.nan, np.nan, False)
    if not table.too_few and np.isfinite(value):
        found = _interval(table, value, plan)
    return (float(np.exp(value)) if table.logs else value, *found)


def _interval(table: Crossed | Nested, estimate: float, plan: Plan) -> tuple[float, float, float, bool]:
    """Standard error, limits, and whether these coincide."""
    if plan.method == "t":
        variance, df = table.closed_form()
        if not variance > 0:
            return float(np.sqrt(variance)), np.nan, np.nan, variance == 0
        error = float(np.sqrt(variance))
        t = float(kernels().t_quantile(np.array([(1 + plan.level) / 2]), np.array([df]))[0])
        ends = np.array([estimate - t * error, estimate + t * error])
        if table.logs:
            ends = np.exp(ends)
            error *= float(np.exp(estimate))
        return error, float(ends[0]), float(ends[1]), False
    values = table.replicates(plan)[None, :]
    limits = kernels().bootstrap_interval(
        values, np.array([estimate]), np.array([np.nan]), plan.method, plan.level, threads=plan.threads
    )
    low, high = limits["low"], limits["high"]
    if table.logs:
        values, low, high = np.exp(values), np.exp(low), np.exp(high)
    stderr, same, one = spreads(values, (low, high), plan.threads)
    return float(stderr[0]), float(low[0]), float(high[0]), bool(same[0] | one[0])


def _ratio(totals: Floats, sizes: Floats | None) -> float:
    return float(totals.sum() / (totals.size if sizes is None else sizes.sum()))


def _about_estimate(totals: Floats, sizes: Floats | None) -> Floats:
    """Residuals of the cells about the ratio of sums, in its units."""
    if sizes is None:
        return totals - totals.mean()
    return (totals - _ratio(totals, sizes) * sizes) / sizes.mean()
