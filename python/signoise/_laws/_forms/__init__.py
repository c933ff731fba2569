"""The functional forms of the literature, a file for each family."""

from __future__ import annotations

from .._law import Law
from . import annealing, chinchilla, coverage, farseer, ladder, overtraining, power

#: Every law that ships, in the order in which ``laws()`` lists them.
LAWS: tuple[Law, ...] = (
    *power.LAWS,
    *chinchilla.LAWS,
    *overtraining.LAWS,
    *ladder.LAWS,
    *farseer.LAWS,
    *annealing.LAWS,
    *coverage.LAWS,
)
