"""The functional forms of the literature, a file for each family."""

from __future__ import annotations

from .._law import Law
from . import (
    annealing,
    architecture,
    chinchilla,
    coverage,
    farseer,
    hyperparameters,
    kaplan,
    ladder,
    mixtures,
    overtraining,
    posttraining,
    power,
    repetition,
    shapes,
)

#: Every law that ships, in the order in which ``laws()`` lists them.
LAWS: tuple[Law, ...] = (
    *power.LAWS,
    *chinchilla.LAWS,
    *overtraining.LAWS,
    *ladder.LAWS,
    *farseer.LAWS,
    *annealing.LAWS,
    *kaplan.LAWS,
    *hyperparameters.LAWS,
    *architecture.LAWS,
    *repetition.LAWS,
    *mixtures.LAWS,
    *posttraining.LAWS,
    *shapes.LAWS,
    *coverage.LAWS,
)
