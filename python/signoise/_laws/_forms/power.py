"""One variable: power laws with and without what they never fall below."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._law import Floats, Law, Parameter

_EXPONENTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.8, 1.2, 2.0)
#: Shares of the lowest observation that may be the constant.
_SHARES = (0.0, 0.5, 0.8, 0.95, 0.99)


def _starts(variables: Mapping[str, Floats], y: Floats) -> Floats:
    """For each exponent and constant the factor that meets the observations in the middle."""
    (x,) = variables.values()
    lowest = float(np.min(y))
    rows = []
    for share in _SHARES:
        constant = share * max(lowest, 0.0)
        for exponent in _EXPONENTS:
            above = np.log(np.maximum(y - constant, 1e-12 * max(abs(lowest), 1e-300)))
            rows.append((constant, np.exp(np.median(above + exponent * np.log(x))), exponent))
    return np.array(rows)


LAWS = (
    Law(
        name="power_law",
        formula="E + A * x**-alpha",
        variables={"x": "any amount: params, tokens, flops"},
        parameters=(
            Parameter("E", lower=0.0, meaning="what remains with infinite x"),
            Parameter("A", lower=0.0, meaning="what can be gained, at x = 1"),
            Parameter("alpha", lower=0.0, upper=10.0, meaning="exponent"),
        ),
        starts=_starts,
        question="How low does the loss go as one amount grows, and how much of it is needed?",
        source="Hestness et al. 2017, arXiv 1712.00409, section 3",
    ),
    Law(
        name="pure_power_law",
        formula="A * x**-alpha",
        variables={"x": "any amount: params, tokens, flops"},
        parameters=(
            Parameter("A", lower=0.0, transform="log", meaning="value at x = 1"),
            Parameter("alpha", meaning="exponent"),
        ),
        starts=lambda variables, y: _starts(variables, y)[: len(_EXPONENTS), 1:],
        question="A straight line on log axes: does the loss fall by the same share each time x doubles?",
        source="Kaplan et al. 2020, arXiv 2001.08361, equations 1.1 to 1.3",
    ),
)
