"""Two lines that meet: a test whether a trend turns that a monotone curve, however bent, does not fool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._kernels import kernels

Floats = NDArray[np.float64]

#: Points that each line needs, that where they meet counted for both.
LEAST_SIDE = 4
#: Points below which there are no two lines with an error.
LEAST_POINTS = 2 * LEAST_SIDE - 1


@dataclass(frozen=True)
class TwoLines:
    """Least squares of ``y = level + before min(x - turn, 0) + after max(x - turn, 0)``, the turn at one of the x."""

    turn: float
    before: float
    after: float
    before_error: float
    after_error: float
    df: float

    @property
    def p_value(self) -> float:
        """Of no turn: one line must surely rise and the other surely fall, and there are two ways."""
        t = np.array([self.before / self.before_error, self.after / self.after_error])
        below, above = (kernels().t_cdf(side * t, np.full(2, self.df)) for side in (1.0, -1.0))
        return float(min(1.0, 2 * min(max(below[0], above[1]), max(above[0], below[1]))))


def two_lines(x: Floats, y: Floats) -> TwoLines | None:
    """The best two lines over sorted x; None where the points do not suffice."""
    n = len(x)
    best: tuple[float, float, Floats, Floats] | None = None
    for turn in np.unique(x):
        if min((x <= turn).sum(), (x >= turn).sum()) < LEAST_SIDE:
            continue
        basis = np.stack([np.ones(n), np.minimum(x - turn, 0), np.maximum(x - turn, 0)], axis=1)
        found, squares, rank, _ = np.linalg.lstsq(basis, y, rcond=None)
        if rank == 3 and len(squares) and (best is None or squares[0] < best[0]):
            best = (float(squares[0]), float(turn), found, basis)
    if best is None or n <= 3:
        return None
    squares, turn, found, basis = best[0], best[1], best[2], best[3]
    variance = np.linalg.inv(basis.T @ basis).diagonal() * squares / (n - 3)
    errors = np.sqrt(variance)
    return TwoLines(turn, float(found[1]), float(found[2]), float(errors[1]), float(errors[2]), float(n - 3))


def vertex(x: Floats, y: Floats, quantile: float) -> tuple[float, float, float]:
    """Where a fitted parabola turns, with Fieller's limits (infinite where the curvature may be 0); `quantile` of t."""
    centre = x.mean()
    z = x - centre
    basis = np.stack([np.ones(len(x)), z, z**2], axis=1)
    found, squares, rank, _ = np.linalg.lstsq(basis, y, rcond=None)
    if rank < 3 or not len(squares) or len(x) <= 3 or found[2] == 0:
        return np.nan, np.nan, np.nan
    covariance = np.linalg.inv(basis.T @ basis) * squares[0] / (len(x) - 3)
    # The vertex v solves b + 2 c v = 0: it is every v at which that does not differ from 0.
    b, c = found[1], 2 * found[2]
    bb, bc, cc = covariance[1, 1], 2 * covariance[1, 2], 4 * covariance[2, 2]
    place = centre - b / c
    square, linear, level = c**2 - quantile**2 * cc, b * c - quantile**2 * bc, b**2 - quantile**2 * bb
    inside = linear**2 - square * level
    if square <= 0 or inside < 0:
        return float(place), -np.inf, np.inf
    return (
        float(place),
        float(centre + (-linear - np.sqrt(inside)) / square),
        float(centre + (-linear + np.sqrt(inside)) / square),
    )
