"""Which of many runs differ, by simultaneous intervals of all their differences (max-T).

A pair differs where |difference| > c stderr. Over all pairs of the group, q is the quantile of the largest |z| under
random signs of residuals, and c the quantile of t at the probability that q has under the normal
distribution. Signs belong to instances, or to whole clusters; subtasks that are averaged bring their residuals side by
side, so that they count with their own errors. Residuals are scaled such that their sum of squares over instances (or
clusters) is the squared standard error of the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ._errors import OptionError
from ._kernels import kernels
from ._matching import Sides
from ._pairs import Pairs, shared_by_all

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def residuals(sides: Sides, group: int) -> tuple[Ints, Floats]:
    """Sides of a group that have instances, and the residuals of their means: sides x instances (or clusters)."""
    place = sides.place(group)
    present = np.flatnonzero((place >= 0).any(axis=0))
    items = np.flatnonzero((shared_by_all(place)[:, present] >= 0).all(axis=1))
    if not len(present) or not len(items):
        return present, np.zeros((len(present), 0))
    at = place[np.ix_(items, present)].T
    x = sides.value[at]
    weight = sides.weight[at] if sides.ratio[group] else np.ones(x.shape)
    mean = (x * weight).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    r = (x - mean) * weight / weight.mean(axis=1, keepdims=True)
    if sides.logs[group]:
        # The error of exp(x) is exp(x) times that of x.
        r = r * np.exp(mean)
    if sides.clusters is not None and sides.clustered(group):
        _, number = np.unique(sides.clusters[sides.items[group] + items], return_inverse=True)
        r = np.stack([np.bincount(number, weights=row) for row in r])
    count = r.shape[1]
    scale = np.sqrt(count / (count - 1)) if count > 1 else np.nan
    return present, r * scale / len(items)


def differ(
    pairs: Pairs,
    parts: Mapping[int, Sequence[tuple[Ints, Floats]]],
    units: NDArray[np.uint64],
    confidence_level: float,
    n_resamples: int,
    rng_seed: int,
    threads: int | None,
) -> NDArray[np.bool_]:
    """Pairs whose simultaneous interval does not hold 0.

    Parameters
    ----------
    parts
        Residuals of the groups; a macro average has several, one a subtask.
    units
        Address of the draws of each group.
    """
    out = np.zeros(len(pairs.group), dtype=bool)
    if not pairs.paired.all():
        raise OptionError(
            'adjust="max_t" draws signs of instances that all runs share, and some scores have none; choose '
            'adjust="holm"'
        )
    for group in np.unique(pairs.group).tolist():
        rows = np.flatnonzero(pairs.group == group)
        critical: float | Floats = _critical(
            parts[group], int(units[group]), confidence_level, n_resamples, rng_seed, threads
        )
        error, df = pairs.stderr[rows], pairs.df[rows]
        if np.isfinite(critical):
            # Signs of residuals leave the error of an error out: the quantile is a normal one, and t's is wanted.
            below = kernels().normal_cdf(np.array([-critical]))
            critical = -kernels().t_quantile(np.repeat(below, len(rows)), df)
        # A lead without an error is no proof: all instances say the same, be they many or few.
        out[rows] = (error > 0) & (np.abs(pairs.difference[rows]) > critical * error)
    return out


def _critical(
    parts: Sequence[tuple[Ints, Floats]],
    unit: int,
    confidence_level: float,
    n_resamples: int,
    rng_seed: int,
    threads: int | None,
) -> float:
    """Quantile of the largest |z| over all pairs of runs with finite residuals."""
    shared = parts[0][0]
    for sides, _ in parts[1:]:
        shared = np.intersect1d(shared, sides)
    table = np.concatenate([r[np.searchsorted(sides, shared)] for sides, r in parts], axis=1) / len(parts)
    table = np.ascontiguousarray(table[np.isfinite(table).all(axis=1)])
    if len(table) < 2:
        return np.inf
    left, right = np.triu_indices(len(table), 1)
    found = kernels().max_t_quantiles(
        table,
        left.astype(np.uintp),
        right.astype(np.uintp),
        confidence_level,
        unit,
        n_resamples,
        rng_seed,
        threads=threads,
    )
    critical = found["critical"]
    return float(critical[0])
