"""Rank confidence sets: which ranks each of several models may have, from simultaneous intervals of differences.

Model k is above j where the interval of their difference lies above 0. Lowest rank (best) of j: 1 + models above it;
highest: the number of models less those below it. Intervals are difference +- c * stderr, c the quantile of the largest
|z| over comparisons under random signs of residuals: over all of them, all sets hold at once; over those of j alone,
the set of j does (Mogstad, Romano, Shaikh and Wilhelm 2024, Review of Economic Studies 91, sections 3.2 and 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from signoise._errors import ShapeError
from signoise._kernels import kernels

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class RankSets:
    """One entry a model, in the order of the rows."""

    mean: Floats
    rank: Ints
    """1 + number of models with a larger mean."""
    low: Ints
    """Best rank in the set."""
    high: Ints
    """Worst rank in the set."""
    critical: Floats
    """Critical value of the model's intervals; infinite with too few replicates or clusters to reach the level."""


def rank_sets(
    scores: Floats,
    clusters: Ints | None = None,
    *,
    confidence_level: float = 0.95,
    simultaneous: bool = True,
    n_resamples: int = 10_000,
    rng_seed: int = 0,
    unit: int = 0,
    threads: int | None = None,
) -> RankSets:
    """Sets of ranks that hold every model's true one at the level given, larger scores being better.

    Parameters
    ----------
    scores
        Array (n_models, n_instances), the same instances in every row, without NaN.
    clusters
        Cluster of each instance; whole clusters change sign together. None: instances are independent.
    simultaneous
        True: the chance that all sets are right is at least the level. False: that of each set alone.
    n_resamples
        Random sign patterns; fewer where fewer exist, and then all of them.
    unit
        Address of the draws: sets of one unit and seed share them.

    Notes
    -----
    The standard error of a difference is that of its residuals, by clusters (G / (G - 1)) where there are any. The
    method is asymptotic in instances or clusters: of ten equal models all 95 % sets held in .85 of simulations with 30
    instances, and in .93 with 164. With one cluster nothing is known: every rank is possible.
    """
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise ShapeError(f"scores must be a finite array of models x instances, got shape {scores.shape}")
    models, n = scores.shape
    if clusters is not None and len(clusters) != n:
        raise ShapeError(f"clusters has {len(clusters)} values, expected {n}")
    if n == 0:
        raise ShapeError("scores has no instances; pass at least one")
    mean = scores.mean(axis=1)
    residuals = scores - mean[:, None]
    if clusters is not None:
        _, number = np.unique(clusters, return_inverse=True)
        residuals = np.stack([np.bincount(number, weights=row) for row in residuals])
    groups = residuals.shape[1]
    left, right = np.triu_indices(models, 1)
    found = kernels().max_t_quantiles(
        np.ascontiguousarray(residuals),
        left.astype(np.uintp),
        right.astype(np.uintp),
        confidence_level,
        unit,
        n_resamples,
        rng_seed,
        threads=threads,
    )
    critical = np.full(models, found["critical"][0]) if simultaneous else found["row_critical"]
    stderr = np.full((models, models), np.inf)
    if groups > 1:
        stderr[left, right] = found["root_sum_squares"] * np.sqrt(groups / (groups - 1)) / n
        stderr[right, left] = stderr[left, right]
    # Two models whose scores differ by the same in every instance differ without error, up to the last digits.
    difference = mean[:, None] - mean[None, :]
    difference[np.abs(difference) <= 1e-12 * np.abs(scores).max()] = 0.0
    with np.errstate(invalid="ignore"):  # no critical value and no error: nothing is told apart
        margin = critical[:, None] * stderr
    low, high = sets_of(difference, margin)
    rank = 1 + (difference < 0).sum(axis=1)
    return RankSets(mean=mean, rank=rank, low=low, high=high, critical=critical)


def sets_of(difference: Floats, margin: Floats) -> tuple[Ints, Ints]:
    """Best and worst rank of each model from its differences to the others and the half width of their intervals.

    Both arrays are (n_models, n_models); entry (j, k) is of model j less model k. A NaN tells no two models apart.
    """
    others = ~np.eye(len(difference), dtype=bool)
    above = ((difference + margin < 0) & others).sum(axis=1)
    below = ((difference - margin > 0) & others).sum(axis=1)
    return 1 + above, len(difference) - below
