"""A minimum of a function of few variables, without derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def minimise(
    f: Callable[[Floats], float],
    start: Floats,
    *,
    step: float,
    lower: Floats,
    upper: Floats,
    tolerance: float = 1e-8,
    max_steps: int = 600,
) -> tuple[Floats, float]:
    """The place and height of a minimum within bounds, by the simplex of Nelder and Mead (1965).

    Its corners lie a `step` from the start. It ends when their heights differ by less than `tolerance`, relative to
    their size.
    """

    def at(x: Floats) -> tuple[Floats, float]:
        x = np.clip(x, lower, upper)
        return x, f(x)

    n = len(start)
    # Away from a bound, or the simplex would be flat.
    start = np.clip(start, lower, upper)
    steps = np.where(start + step <= upper, step, -step)
    corners = [at(start), *(at(start + steps * unit) for unit in np.eye(n))]
    for _ in range(max_steps):
        corners.sort(key=lambda corner: corner[1])
        (best, lowest), (worst, highest) = corners[0], corners[-1]
        if highest - lowest <= tolerance * (abs(lowest) + tolerance):
            break
        centre = np.mean([x for x, _ in corners[:-1]], axis=0)
        reflected = at(2 * centre - worst)
        if reflected[1] < lowest:
            expanded = at(3 * centre - 2 * worst)
            corners[-1] = min(reflected, expanded, key=lambda corner: corner[1])
        elif reflected[1] < corners[-2][1]:
            corners[-1] = reflected
        else:
            contracted = at((centre + (reflected[0] if reflected[1] < highest else worst)) / 2)
            if contracted[1] < min(reflected[1], highest):
                corners[-1] = contracted
            else:
                corners[1:] = [at((x + best) / 2) for x, _ in corners[1:]]
    return min(corners, key=lambda corner: corner[1])
