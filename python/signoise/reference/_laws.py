"""Twin of ``rust/core/src/laws.rs``: values, derivatives and fits of functional forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._segments import Floats, Offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Steps = tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint32], Floats]

#: Sums that are above the best by at most this share of it are as good; ends farther apart than this are others.
EQUAL, APART = 1e-6, 1e-2
AGREEMENT = 1e-4
"""Starts whose sum is above the best by at most this share of it agree with it."""


def _sigmoid(x: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -x))


_UNARY: dict[int, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    10: (np.negative, lambda x, _: -np.ones_like(x)),
    11: (np.exp, lambda _, y: y),
    12: (np.log, lambda x, _: 1 / x),
    13: (_sigmoid, lambda _, y: y * (1 - y)),
    14: (lambda x: np.logaddexp(0.0, x), lambda x, _: _sigmoid(x)),
}
"""Function and derivative, of operand and value."""
_BINARY: dict[int, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], tuple[Any, Any]]]] = {
    20: (np.add, lambda a, _: (np.ones_like(a), np.ones_like(a))),
    21: (np.subtract, lambda a, _: (np.ones_like(a), -np.ones_like(a))),
    22: (np.multiply, lambda a, b: (b, a)),
    23: (np.divide, lambda a, b: (1 / b, -a / b**2)),
    24: (np.maximum, lambda a, b: ((a >= b) * 1.0, (b > a) * 1.0)),
}


def _run(steps: Steps, columns: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """Values (n) and derivatives (n, p) of a form: each step with its derivatives by all parameters (forwards)."""
    n, p = columns.shape[1], len(parameters)
    known: list[tuple[Floats, Floats]] = []
    with np.errstate(all="ignore"):
        for op, left, right, constant in zip(*steps, strict=True):
            slopes = np.zeros((n, p))
            if op == 0:
                value = np.full(n, constant)
            elif op == 1:
                value = np.full(n, parameters[left])
                slopes[:, left] = 1.0
            elif op == 2:
                value = columns[left]
            elif op in _UNARY:
                function, derivative = _UNARY[op]
                x, inner = known[left]
                value = function(x)
                slopes = derivative(x, value)[:, None] * inner
            else:
                two, by_each = _BINARY[op]
                (a, by_a), (b, by_b) = known[left], known[right]
                value = two(a, b)
                slope_a, slope_b = by_each(a, b)
                slopes = slope_a[:, None] * by_a + slope_b[:, None] * by_b
            known.append((value, slopes))
    return known[-1]


def law_values(steps: Steps, columns: Floats, parameters: Floats, *, threads: int | None = None) -> Floats:
    """Values of a form at each point, a row a set of parameters."""
    del threads
    return np.stack([_run(steps, columns, one)[0] for one in parameters])


def law_derivatives(
    steps: Steps, columns: Floats, parameters: Floats, *, threads: int | None = None
) -> Floats:
    """Derivatives of a form by its parameters: set, point, parameter."""
    del threads
    return np.stack([_run(steps, columns, one)[1] for one in parameters])


def fit_laws(
    steps: Steps,
    columns: Floats,
    observed: Floats,
    weights: Floats,
    offsets: Offsets,
    starts: Floats,
    start_offsets: Offsets,
    lower: Floats,
    upper: Floats,
    linear: NDArray[np.bool_],
    *,
    loss: str = "huber",
    delta: float = 1e-3,
    log: bool = True,
    overestimate_penalty: float = 1.0,
    max_steps: int = 500,
    polish: bool = True,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """The lowest sum of rho over all starts, for each problem.

    The search is another than that of the kernel: a parabola that lies above the sum and touches it is minimised again
    and again, with damping (Huber's weights for all losses), for `max_steps` times a hundred steps.
    """
    del linear, polish, threads
    found = []
    for problem in range(len(offsets) - 1):
        rows = slice(offsets[problem], offsets[problem + 1])
        first, last = start_offsets[problem], start_offsets[problem + 1]
        objective = _Objective(
            steps, columns[:, rows], observed[rows], weights[rows], loss, delta, log, overestimate_penalty
        )
        ends = [_descend(objective, start, lower, upper, 100 * max_steps) for start in starts[first:last]]
        found.append(
            [end for end in ends if np.isfinite(end[0])] + [(np.nan, np.full(starts.shape[1], np.nan))]
        )
    best = [min(ends, key=lambda end: np.inf if np.isnan(end[0]) else end[0]) for ends in found]
    limits = [end[0] + AGREEMENT * abs(end[0]) for end in best]
    return {
        "objective": np.array([end[0] for end in best]),
        "n_started": np.array([len(ends) - 1 for ends in found], dtype=np.uint64),
        "n_agree": np.array(
            [sum(end[0] <= limit for end in ends) for ends, limit in zip(found, limits, strict=True)],
            dtype=np.uint64,
        ),
        "settled": np.array([np.isfinite(end[0]) for end in best]),
        "parameters": np.stack([end[1] for end in best]),
        "others": np.stack([_other(end, ends) for end, ends in zip(best, found, strict=True)]),
    }


def _other(best: tuple[float, Floats], ends: Sequence[tuple[float, Floats]]) -> Floats:
    """Parameters of the end as good as the best that lies farthest from it; the best where none is another."""
    farthest, other = APART, best[1]
    for objective, parameters in ends:
        distance = float(np.max(np.abs(parameters - best[1]) / (1 + np.abs(best[1]))))
        if objective <= best[0] + EQUAL * abs(best[0]) and distance > farthest:
            farthest, other = distance, parameters
    return other


class _Objective:
    """sum w rho(r), its gradient, and the curvature of the parabola that touches it from above."""

    def __init__(
        self,
        steps: Steps,
        columns: Floats,
        observed: Floats,
        weights: Floats,
        loss: str,
        delta: float,
        log: bool,
        penalty: float,
    ) -> None:
        self.steps, self.columns, self.weights = steps, columns, weights
        self.observed = np.log(observed) if log else observed
        self.loss, self.delta, self.log, self.penalty = loss, delta, log, penalty

    def __call__(self, parameters: Floats) -> tuple[float, Floats, Floats]:
        value, slopes = _run(self.steps, self.columns, parameters)
        with np.errstate(all="ignore"):
            r = (np.log(value) if self.log else value) - self.observed
            slopes = slopes / value[:, None] if self.log else slopes
            factor = np.where(r > 0, self.penalty, 1.0)
            r, slopes = r * factor, slopes * factor[:, None]
            size = np.abs(r)
            if self.loss == "square":
                rho, height = r**2, np.full_like(r, 2.0)
            elif self.loss == "huber":
                small = size <= self.delta
                rho = np.where(small, 0.5 * r**2, self.delta * (size - 0.5 * self.delta))
                height = self.delta / np.maximum(size, self.delta)
            else:
                rho, height = size, 1 / np.maximum(size, 1e-12)
            weighted = self.weights * height
            total = float(np.sum(self.weights * rho))
            return total, slopes.T @ (weighted * r), (slopes.T * weighted) @ slopes


def _descend(
    objective: _Objective, start: Floats, lower: Floats, upper: Floats, max_steps: int
) -> tuple[float, Floats]:
    x = np.clip(start, lower, upper)
    f, gradient, matrix = objective(x)
    if not np.isfinite(f):
        return f, x
    damping, idle = 1e-3, 0
    for _ in range(max_steps):
        free = (lower < upper) & ~((x <= lower) & (gradient >= 0)) & ~((x >= upper) & (gradient <= 0))
        scale = np.maximum(np.diag(matrix), 1e-12 * np.diag(matrix).max())
        held = (matrix + damping * np.diag(scale))[np.ix_(free, free)]
        step = np.zeros_like(x)
        step[free] = -np.linalg.lstsq(held, gradient[free], rcond=None)[0]
        trial = np.clip(x + step, lower, upper)
        found = objective(trial)
        if found[0] < f:
            idle = idle + 1 if f - found[0] < 1e-14 * f else 0
            x, (f, gradient, matrix), damping = trial, found, max(damping / 3, 1e-12)
        else:
            damping *= 4
        if damping > 1e12 or idle > 20:
            break
    return f, x
