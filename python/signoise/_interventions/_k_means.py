"""Clusters of weighted points by k-means, for the same draws always the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_ITERATIONS = 100
#: Distances that are computed in one go.
_BLOCK = 1 << 22


def k_means(points: Floats, weights: Floats, k: int, draws: Floats) -> tuple[Ints, Floats]:
    """The cluster of each point, and its squared distance from the centre, for the best of some starts.

    Parameters
    ----------
    points
        (n_points, n_dimensions), at least k of them distinct.
    draws
        (n_starts, k) random numbers between 0 and 1: each picks a centre as k-means++ does, with probability
        proportional to weight times squared distance from the nearest centre so far.

    Notes
    -----
    Lloyd's iterations until no point changes its cluster, at most 100. A cluster that loses all its points takes the
    one farthest from its centre.
    """
    runs = [_lloyd(points, weights, _spread_start(points, weights, row[:k])) for row in draws]
    costs = [float((weights * distance).sum()) for _, distance in runs]
    return runs[int(np.argmin(costs))]


def _spread_start(points: Floats, weights: Floats, draws: Floats) -> Floats:
    distance = np.ones(len(points))
    centres = np.empty((len(draws), points.shape[1]))
    for at, draw in enumerate(draws):
        cumulative = np.cumsum(weights * distance)
        picked = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
        centres[at] = points[min(picked, len(points) - 1)]
        new = ((points - centres[at]) ** 2).sum(axis=1)
        distance = new if at == 0 else np.minimum(distance, new)
    return centres


def _lloyd(points: Floats, weights: Floats, centres: Floats) -> tuple[Ints, Floats]:
    k = len(centres)
    cluster = np.full(len(points), -1, dtype=np.intp)
    distance = np.zeros(len(points))
    for _ in range(_ITERATIONS):
        nearest, distance = _nearest(points, centres)
        for empty in np.flatnonzero(np.bincount(nearest, minlength=k) == 0):
            farthest = int((distance * (np.bincount(nearest, minlength=k)[nearest] > 1)).argmax())
            nearest[farthest], distance[farthest] = empty, 0.0
        if (nearest == cluster).all():
            break
        cluster = nearest
        mass = np.bincount(cluster, weights, minlength=k)
        sums = [np.bincount(cluster, weights * column, minlength=k) for column in points.T]
        centres = np.stack(sums, axis=1) / mass[:, None]
    return cluster, distance


def _nearest(points: Floats, centres: Floats) -> tuple[Ints, Floats]:
    """The nearest centre of each point, the first of equal ones, and the squared distance."""
    rows = max(1, _BLOCK // len(centres))
    cluster = np.empty(len(points), dtype=np.intp)
    distance = np.empty(len(points))
    for start in range(0, len(points), rows):
        block = points[start : start + rows]
        apart = ((block[:, None] - centres) ** 2).sum(axis=2)
        cluster[start : start + rows] = apart.argmin(axis=1)
        distance[start : start + rows] = apart.min(axis=1)
    return cluster, distance
