"""Starts of laws that are linear in some of their parameters once the others are held."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from .._law import Floats, Starts

Variables: TypeAlias = Mapping[str, Floats]
#: Values that a parameter starts from: as they stand, or from variables and observations.
Grid: TypeAlias = Mapping[str, Sequence[float] | Callable[[Variables, Floats], Sequence[float]]]
#: From variables and the held parameters to the column that each linear one multiplies.
Terms: TypeAlias = Callable[[Variables, Mapping[str, float]], Mapping[str, Floats]]

#: Share of the observations that a term makes up at least, where its factor must be above 0.
_LEAST = 1e-4
EXPONENTS = (0.05, 0.1, 0.2, 0.35, 0.6, 1.0)


def separable(
    order: Sequence[str],
    grid: Grid,
    terms: Terms,
    *,
    keep: int = 12,
    signed: Sequence[str] = (),
    observed: Callable[[Floats, Variables, Mapping[str, float]], Floats] | None = None,
    elasticity: Callable[[Mapping[str, float]], float] | None = None,
    made: Callable[[dict[str, float]], Mapping[str, float]] | None = None,
) -> Starts:
    """At each point of a grid the linear parameters by least squares of relative errors; the best points of all.

    Parameters
    ----------
    order
        Names of the parameters in the order of the law.
    grid
        Values of those that are held.
    terms
        Columns that the others multiply; their sum is what is observed.
    keep
        How many points are starts.
    signed
        Linear parameters that may be below 0; others are held a little above.
    observed
        What the sum of the terms is, where that is not the observation itself.
    elasticity
        By what share the observation grows with that sum: points of the grid are ranked by errors of the observation.
    made
        Parameters of the law from held and linear ones, where they differ.
    """

    def starts(variables: Variables, y: Floats) -> Floats:
        values = [own(variables, y) if callable(own) else own for own in grid.values()]
        found = []
        for point in itertools.product(*values):
            held = dict(zip(grid, map(float, point), strict=True))
            with np.errstate(all="ignore"):
                height = y if observed is None else observed(y, variables, held)
                columns = terms(variables, held)
                basis = np.stack(list(columns.values()), axis=1)
                weight = 1 / np.maximum(np.abs(height), 1e-300)
            if not (np.isfinite(basis).all() and np.isfinite(height).all() and np.isfinite(weight).all()):
                continue
            factors = np.linalg.lstsq(basis * weight[:, None], height * weight, rcond=None)[0]
            for index, name in enumerate(columns):
                if name not in signed:
                    size = float(
                        np.mean(np.abs(height)) / max(float(np.mean(np.abs(basis[:, index]))), 1e-300)
                    )
                    factors[index] = max(factors[index], _LEAST * size)
            error = float(np.sum(((basis @ factors - height) * weight) ** 2))
            if elasticity is not None:
                error *= elasticity(held) ** 2
            row = held | dict(zip(columns, map(float, factors), strict=True))
            with np.errstate(all="ignore"):
                row = dict(row if made is None else made(row))
            found.append((error, [row[name] for name in order]))
        found.sort(key=lambda one: one[0])
        return np.array([row for _, row in found[:keep] if np.isfinite(row).all()]).reshape(-1, len(order))

    return starts


def on_logs(
    order: Sequence[str], factor: str, exponents: Mapping[str, str], falls: Sequence[str] = ()
) -> Starts:
    """The least-squares line of logarithms: where a law is a product of powers, its optimum for ``lsq_log``.

    `exponents` names the exponent of each variable, `falls` those that a law writes with a minus.
    """

    def starts(variables: Variables, y: Floats) -> Floats:
        logs = [np.log(variables[name]) for name in exponents]
        basis = np.stack([np.ones_like(y), *logs], axis=1)
        with np.errstate(all="ignore"):
            line = np.linalg.lstsq(basis, np.log(y), rcond=None)[0]
        row = {factor: float(np.exp(np.clip(line[0], -300.0, 300.0)))}
        for slope, name in zip(line[1:], exponents.values(), strict=True):
            row[name] = float(-slope if name in falls else slope)
        return np.array([[row[name] for name in order]])

    return starts
