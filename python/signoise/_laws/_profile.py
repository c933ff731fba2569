"""Profile likelihood: how far a parameter can go before the best fit with it held there is clearly worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .._errors import OptionError
from .._kernels import kernels
from ._fit import Fit, solve
from ._law import Floats

#: Widest step from the optimum, in what is fitted; beyond the parameter is unlimited on that side.
_REACH = 64.0
_HALVINGS = 40


def profile_interval(fit: Fit, confidence_level: float) -> tuple[Floats, Floats]:
    """Limits of each parameter: SSE(held) = SSE (1 + F_(1, n-p) / (n - p)); infinite where it never gets there.

    Raises
    ------
    OptionError
        The objective is no sum of squares: there is no likelihood to profile.
    """
    if not fit.settings.squares:
        raise OptionError(
            f"interval='profile' needs a sum of squares, and the objective is {fit.settings.objective!r}; use "
            "objective='lsq_log' or 'lsq', or interval='bootstrap'"
        )
    df = fit.points.n - fit.n_free
    p = len(fit.inner)
    low, high = np.full(p, np.nan), np.full(p, np.nan)
    if df < 1:
        return low, high
    f = kernels().f_quantile(np.array([confidence_level]), np.array([1.0]), np.array([float(df)]))[0]
    limit = fit.objective * (1 + f / df)
    lower, upper = fit.law.inner_bounds
    for index in range(p):
        if lower[index] < upper[index]:
            ends = [_end(fit, index, sign, limit) for sign in (-1, 1)]
            parameter = fit.law.parameters[index]
            low[index], high[index] = parameter.outer(np.array(ends))
    return low, high


def _end(fit: Fit, index: int, sign: int, limit: float) -> float:
    """Where the profile of a parameter crosses the limit on one side."""
    lower, upper = fit.law.inner_bounds
    bound = (upper if sign > 0 else lower)[index]
    centre = float(fit.inner[index])
    start = fit.inner
    step = 1e-3 * max(1.0, abs(centre))
    inside, outside = centre, None
    while outside is None:
        at = centre + sign * step
        if (at - bound) * sign >= 0:
            at = float(bound)
        height, start_here = _held(fit, index, at, start)
        if height > limit:
            outside = at
        elif at == bound or step > _REACH * max(1.0, abs(centre)):
            return float(bound)
        else:
            inside, start = at, start_here
            step *= 2
    for _ in range(_HALVINGS):
        middle = 0.5 * (inside + outside)
        height, start_here = _held(fit, index, middle, start)
        if height > limit:
            outside = middle
        else:
            inside, start = middle, start_here
    return 0.5 * (inside + outside)


def _held(fit: Fit, index: int, at: float, start: Floats) -> tuple[float, Floats]:
    """The lowest sum with a parameter held, and where."""
    parameter = fit.law.parameters[index]
    value = float(parameter.outer(np.array([at]))[0])
    parameters = list(fit.law.parameters)
    parameters[index] = replace(parameter, lower=value, upper=value, starts=(value,))
    law = replace(fit.law, parameters=tuple(parameters))
    begin = start.copy()
    begin[index] = at
    found = solve(law, [fit.points], [np.ones(fit.points.n)], [begin[None]], fit.settings)
    return float(found["objective"][0]), found["parameters"][0]
