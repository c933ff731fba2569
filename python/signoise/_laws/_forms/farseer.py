"""Farseer: gain and exponent of tokens change with the number of parameters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from .._law import Floats, Law, Parameter

#: Coefficients of the paper (raw counts, non-embedding parameters, loss in bits per character), in the order below.
_PUBLISHED = (-0.021, 0.169, -0.091, 88.01, -0.1, -5.287, -0.124, 0.123, 0.424)
_EXPONENTS = (-0.3, -0.2, -0.1, -0.05, 0.05, 0.12, 0.17, 0.25)
_RATES = np.geomspace(0.03, 1.5, 40)


def _starts(variables: Mapping[str, Floats], y: Floats) -> Floats:
    """The paper's, and those of the piecewise way: a power law of tokens for each N, then lines through its parts.

    At a fixed exponent A_N the loss E_N + B_N D^-A_N is linear in the other two; what comes out for each N is regressed
    on N^g, for the best few g.
    """
    params, tokens = variables["params"], variables["tokens"]
    found = []
    for size in np.unique(params):
        here = params == size
        if len(np.unique(tokens[here])) >= 3:
            best = _power_of_tokens(tokens[here], y[here])
            if best is not None:
                found.append((size, *best))
    rows: list[tuple[float, ...]] = [_PUBLISHED]
    if len(found) >= 2:
        sizes, constants, gains, rates = np.array(found).T
        lines = [_lines(sizes, np.log(values)) for values in (constants, gains, rates)]
        rows += [tuple(itertools.chain(*three)) for three in itertools.product(*lines)]
    return np.array(rows)


def _power_of_tokens(tokens: Floats, y: Floats) -> tuple[float, float, float] | None:
    """E, B and A of E + B D^-A by least squares, all above 0; None where there is no such fit."""
    best = None
    for rate in _RATES:
        basis = np.stack([np.ones_like(tokens), tokens**-rate], axis=1)
        (constant, gain), *_ = np.linalg.lstsq(basis, y, rcond=None)
        if constant > 0 and gain > 0:
            error = float(np.sum((basis @ (constant, gain) - y) ** 2))
            if best is None or error < best[0]:
                best = (error, constant, gain, rate)
    return best[1:] if best else None


def _lines(sizes: Floats, values: Floats, keep: int = 2) -> list[tuple[float, float, float]]:
    """Slope, exponent and intercept of the best lines through values against powers of size."""
    lines = []
    for exponent in _EXPONENTS:
        power = sizes**exponent
        basis = np.stack([power, np.ones_like(power)], axis=1)
        (slope, intercept), *_ = np.linalg.lstsq(basis, values, rcond=None)
        lines.append((float(np.sum((basis @ (slope, intercept) - values) ** 2)), slope, exponent, intercept))
    return [line[1:] for line in sorted(lines)[:keep]]


LAWS = (
    Law(
        name="farseer",
        formula="exp(a3 * params**gamma + b3) + exp(a2 * params**beta + b2) * tokens**-exp(a1 * params**alpha + b1)",
        variables={"params": "non-embedding parameters", "tokens": "training tokens"},
        parameters=(
            Parameter("a3", meaning="of the floor, by N^gamma"),
            Parameter("gamma", lower=-1.0, upper=1.0, meaning="exponent of N in the floor"),
            Parameter("b3", meaning="log of the floor at N^gamma = 0"),
            Parameter("a2", meaning="of the gain, by N^beta"),
            Parameter("beta", lower=-1.0, upper=1.0, meaning="exponent of N in the gain"),
            Parameter("b2", meaning="log of the gain at N^beta = 0"),
            Parameter("a1", meaning="of the rate, by N^alpha"),
            Parameter("alpha", lower=-1.0, upper=1.0, meaning="exponent of N in the rate"),
            Parameter("b1", meaning="log of the rate at N^alpha = 0"),
        ),
        starts=_starts,
        question="As chinchilla, where more parameters also change how fast tokens pay off (nine parameters).",
        source="Li et al. 2025, arXiv 2506.10972 (equation and coefficients from secondary sources)",
    ),
)
