"""Loss of parameters and tokens: L = E + A N^-alpha + B D^-beta."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .._law import Law, Parameter

FORMULA = "E + A * params**-alpha + B * tokens**-beta"
VARIABLES = {"params": "parameters", "tokens": "training tokens"}


def powers_of_e(exponents: Iterable[float]) -> tuple[float, ...]:
    """Starts of a parameter whose logarithm is fitted."""
    return tuple(math.exp(exponent) for exponent in exponents)


LAWS = (
    Law(
        name="chinchilla",
        formula=FORMULA,
        variables=VARIABLES,
        parameters=(
            Parameter("A", powers_of_e(range(0, 30, 5)), 0.0, transform="log", meaning="gain by parameters"),
            Parameter("B", powers_of_e(range(0, 30, 5)), 0.0, transform="log", meaning="gain by tokens"),
            Parameter("alpha", (0.0, 0.5, 1.0, 1.5, 2.0), meaning="exponent of parameters"),
            Parameter("beta", (0.0, 0.5, 1.0, 1.5, 2.0), meaning="exponent of tokens"),
            Parameter(
                "E", powers_of_e((-1, -0.5, 0, 0.5, 1)), 0.0, transform="log", meaning="irreducible loss"
            ),
        ),
        question="What loss do N parameters and D tokens reach, and how should compute be split between them?",
        source="Hoffmann et al. 2022, arXiv 2203.15556, section 3.3 and appendix D.2 (4,500 starts)",
    ),
    Law(
        name="hitchhiker",
        formula=FORMULA,
        variables=VARIABLES,
        parameters=(
            Parameter(
                "A", powers_of_e((2.0, 6.255414, 12.0)), 0.0, transform="log", meaning="gain by parameters"
            ),
            Parameter(
                "B", powers_of_e((2.0, 7.3049974, 12.0)), 0.0, transform="log", meaning="gain by tokens"
            ),
            Parameter("alpha", (0.1, 0.3526596, 0.7), 0.0, meaning="exponent of parameters"),
            Parameter("beta", (0.1, 0.3526596, 0.7), 0.0, meaning="exponent of tokens"),
            Parameter("E", powers_of_e((-1.0, 0.6254804)), 0.0, transform="log", meaning="irreducible loss"),
        ),
        objective="lsq",
        question="The same loss from checkpoints of few models, by plain least squares: is one more model worth it?",
        source="Choshen et al. 2024, arXiv 2410.11840, section 2; start values of the released code",
    ),
)
