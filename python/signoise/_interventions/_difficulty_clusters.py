"""Clusters of instances whose pass rates over models are alike, and which of them follow a law of compute.

Symbols: p_ij pass rate of instance i at model j -> `rates`; C_j compute -> `compute`; R -> `radius`; g -> `chance`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .._laws._fit import Fit, Settings, fit_groups, settings_of, values
from .._laws._law import Law, find_law
from .._laws._points import Points
from .._laws._splits import some_starts

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: What becomes of a cluster.
PREDICTABLE, FLAT, IRREGULAR, ALONE = "predictable", "flat", "irregular", "unclustered"
#: Places from which modes are sought, evenly taken over difficulty: more find no other modes.
_SEEDS = 400
_STEPS, _STILL = 100, 1e-6
#: Starts of a fit.
_STARTS = 24
#: Distances that are computed in one go.
_BLOCK = 1 << 22


def mean_shift(points: Floats, radius: float, least: int) -> Ints:
    """The cluster of each point (rows), from 0 for the largest; -1 for points in none.

    Modes are where the mean of the points within `radius` stays put (flat kernel). The mode with most free points
    within `radius` takes these, until none has `least`: no cluster is wider, as plain mean shift would have them.
    Distances are root mean squares over the dimensions.
    """
    scaled = points / np.sqrt(points.shape[1])
    order = np.lexsort([*scaled.T, scaled.mean(axis=1)])
    seeds = scaled[order[np.unique(np.linspace(0, len(order) - 1, min(_SEEDS, len(order))).astype(int))]]
    centres = seeds.copy()
    for _ in range(_STEPS):
        moved = np.concatenate([_means_within(part, scaled, radius) for part in _parts(centres, len(scaled))])
        still = float(np.abs(moved - centres).max()) < _STILL
        centres = moved
        if still:
            break
    centres = np.unique(centres.round(9), axis=0)
    near = np.concatenate([_within(part, scaled, radius) for part in _parts(centres, len(scaled))])
    cluster, n_found = np.full(len(points), -1, dtype=np.intp), 0
    while True:
        counts = near[:, cluster < 0].sum(axis=1)
        best = int(np.argmax(counts))
        if counts[best] < least:
            return cluster
        cluster[near[best] & (cluster < 0)] = n_found
        n_found += 1


def _parts(rows: Floats, n: int) -> Sequence[Floats]:
    return np.array_split(rows, max(1, -(-len(rows) * n // _BLOCK)))


def _within(centres: Floats, points: Floats, radius: float) -> NDArray[np.bool_]:
    squares = (centres**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2 * centres @ points.T
    found: NDArray[np.bool_] = squares <= radius**2 + 1e-12
    return found


def _means_within(centres: Floats, points: Floats, radius: float) -> Floats:
    near = _within(centres, points, radius)
    n = near.sum(axis=1)
    means = near.astype(np.float64) @ points / np.maximum(n, 1)[:, None]
    return np.where(n[:, None] > 0, means, centres)


@dataclass(frozen=True)
class Plan:
    """How instances are clustered, and which clusters count as predictable."""

    radius: float
    least: int
    bins: int | None
    rise: float
    explained: float
    chance: float
    threads: int | None

    @property
    def law(self) -> Law:
        """The law of a cluster, its guess rate held."""
        return find_law("cluster_accuracy").with_bounds({"g": (self.chance, self.chance)})

    def features(self, rates: Floats) -> Floats:
        """Pass rates at models (columns), or means over bins of neighbouring ones."""
        if self.bins is None or self.bins >= rates.shape[1]:
            return rates
        return np.stack([part.mean(axis=1) for part in np.array_split(rates, self.bins, axis=1)], axis=1)


@dataclass(frozen=True)
class Cluster:
    """Instances of like difficulty, and the law of their mean."""

    members: Ints
    kind: str
    curve: Floats
    """Mean pass rate at each model."""
    fit: Fit

    def at(self, compute: Floats) -> Floats:
        """The law at other compute."""
        return law_at(self.fit, compute)


@dataclass(frozen=True)
class Found:
    """What some models say about all instances."""

    clusters: list[Cluster]
    of_instance: Ints
    whole: Fit
    """The same law fitted to the mean of all instances."""
    mapping: Callable[[Floats], Floats]
    """From the mean of the predictable instances to that of all."""
    predictable: Ints = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def subset(self, compute: Floats) -> Floats:
        """Mean pass rate of the predictable instances; NaN where there are none."""
        kept = [cluster for cluster in self.clusters if cluster.kind == PREDICTABLE]
        if not kept:
            return np.full(len(compute), np.nan)
        sizes = np.array([len(cluster.members) for cluster in kept], dtype=np.float64)
        return sizes @ np.stack([cluster.at(compute) for cluster in kept]) / sizes.sum()

    def full(self, compute: Floats) -> Floats:
        """Mean pass rate of all instances, by way of the predictable ones."""
        return np.clip(self.mapping(self.subset(compute)), 0.0, 1.0)


def law_at(fit: Fit, compute: Floats) -> Floats:
    """A fitted law at some compute; NaN without a fit."""
    if not fit.found:
        return np.full(len(compute), np.nan)
    return values(fit.law, fit.inner[None], {"flops": compute}, len(compute))[0]


def cluster_models(rates: Floats, compute: Floats, others: Floats, plan: Plan) -> Found:
    """Clusters over models (columns, by compute), their laws, and the way back to all instances.

    `others` are rates of models without compute (columns), which have a say in the way back alone.
    """
    numbers = mean_shift(plan.features(rates), plan.radius, plan.least)
    members = [np.flatnonzero(numbers == at) for at in range(int(numbers.max(initial=-1)) + 1)]
    curves = [rates.mean(axis=0), *(rates[own].mean(axis=0) for own in members)]
    whole, *fits = _fitted(curves, compute, plan)
    clusters = [
        Cluster(own, _kind(fit, curve, plan), curve, fit)
        for own, curve, fit in zip(members, curves[1:], fits, strict=True)
    ]
    kept = np.zeros(len(rates), dtype=bool)
    for cluster in clusters:
        kept[cluster.members] |= cluster.kind == PREDICTABLE
    if not kept.any():
        return Found(clusters, numbers, whole, lambda x: np.full_like(x, np.nan))
    known = np.concatenate([others, rates], axis=1)
    mapping = way_back(known[kept].mean(axis=0), known.mean(axis=0), others.shape[1])
    return Found(clusters, numbers, whole, mapping, np.flatnonzero(kept))


def _fitted(curves: Sequence[Floats], compute: Floats, plan: Plan) -> list[Fit]:
    law = plan.law
    settings: Settings = settings_of(law, "lsq", None, threads=plan.threads)
    runs = np.arange(len(compute), dtype=np.int64)
    places = {"flops": compute}
    groups = [Points((), places, places, curve, runs, runs, "accuracy") for curve in curves]
    starts = [some_starts(law, points, _STARTS) for points in groups]
    return fit_groups(law, groups, settings, starts)


def _kind(fit: Fit, curve: Floats, plan: Plan) -> str:
    """Whether the law of a cluster rises, and whether it is what the cluster does."""
    if not fit.found:
        return IRREGULAR
    if fit.fitted[-1] - fit.fitted[0] < plan.rise:
        return FLAT
    left = float(((curve - fit.fitted) ** 2).sum()) / float(((curve - curve.mean()) ** 2).sum())
    return PREDICTABLE if 1 - left >= plan.explained else IRREGULAR


# --- back to all instances --------------------------------------------------------------------------


def way_back(subset: Floats, full: Floats, n_others: int = 0) -> Callable[[Floats], Floats]:
    """A curve from the mean of some instances to that of all, chosen by how well it foretells the larger models.

    Candidates: a line, and ``1 - (1 - x)(q_0 + q_1 x + ..)`` up to fourth order, which go through (1, 1). Each is
    fitted to the first models and asked for the next one, over the last half of them; the first `n_others` columns are
    never asked for.
    """
    errors = {}
    n = len(subset)
    for name, n_free in _FORMS.items():
        first = max(n_others + 1, n // 2, n_free + 1)
        if first < n:
            errors[name] = float(
                np.mean(
                    [
                        abs(_curve(name, subset[:at], full[:at])(subset[at : at + 1])[0] - full[at])
                        for at in range(first, n)
                    ]
                )
            )
    return _curve(min(errors, key=lambda name: errors[name]) if errors else "line", subset, full)


#: Curves and how many numbers each is fitted by.
_FORMS = {"line": 2, "1": 1, "2": 2, "3": 3, "4": 4}


def _curve(name: str, x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    n_free = _FORMS[name]
    if name == "line":
        slope, level = np.polyfit(x, y, 1) if np.ptp(x) > 0 else (1.0, float((y - x).mean()))
        return lambda at: level + slope * at
    powers = np.arange(n_free)
    found = np.linalg.lstsq((1 - x)[:, None] * x[:, None] ** powers, 1 - y, rcond=None)[0]
    return lambda at: 1 - (1 - at) * (at[:, None] ** powers @ found)
