"""Right and wrong of runs (rows) and instances (columns), and the item response models of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import SchemaError
from .._instances import Instances
from .._kernels import kernels

Floats = NDArray[np.float64]

MODELS = ("2pl", "1pl")
#: Standard deviations of the log discrimination and of the difficulty.
PRIORS: Mapping[str, tuple[float, float]] = {"weak": (0.5, 2.0), "none": (np.inf, np.inf)}


@dataclass(frozen=True)
class Answers:
    """Scores of the instances of one group."""

    group: int
    sides: NDArray[Any]
    """`side` of each run, in the order of the labels."""
    items: NDArray[Any]
    scores: Floats
    """(n_runs, n_instances) of 0 and 1; NaN where a run has none."""


@dataclass(frozen=True)
class ItemModel:
    """How to fit."""

    model: str
    priors: str
    max_iterations: int
    threads: int | None

    def fit(self, scores: Floats) -> dict[str, Any]:
        """What the kernel `fit_item_response` finds."""
        slope_sd, place_sd = PRIORS[self.priors]
        found: dict[str, Any] = kernels().fit_item_response(
            *_packed(scores),
            common=self.model == "1pl",
            discrimination_sd=slope_sd,
            difficulty_sd=place_sd,
            max_iterations=self.max_iterations,
            threads=self.threads,
        )
        return found

    def abilities(self, scores: Floats, discrimination: Floats, difficulty: Floats) -> Floats:
        """Posterior means of runs from their answers to known items."""
        found: Floats = kernels().item_abilities(
            *_packed(scores), discrimination, difficulty, threads=self.threads
        )["ability"]
        return found


def answers_of(loaded: Instances, verb: str) -> Iterator[Answers]:
    """Group by group; raises where a score is neither 0 nor 1."""
    wrong = loaded.scores.filter(~pl.col("value").is_in([0.0, 1.0]))
    if wrong.height:
        row = wrong.row(0, named=True)
        labels = loaded.labels.filter(pl.col("group") == row["group"]).row(0, named=True)
        group = ", ".join(f"{name}={labels[name]}" for name in loaded.by)
        raise SchemaError(
            f"{verb} works on scores that are 0 or 1, got {row['value']:g} for instance {row['instance_id']!r} of "
            f"{group or 'the table'} ({wrong.height} such scores); name a metric of right and wrong "
            "(where=\"metric = 'acc'\"), and one of several repeats (where='repeat = 0')"
        )
    for part in loaded.scores.partition_by("group", maintain_order=True):
        items, item = np.unique(part["instance_id"].to_numpy(), return_inverse=True)
        sides, side = np.unique(part["side"].to_numpy(), return_inverse=True)
        scores = np.full((len(sides), len(items)), np.nan)
        scores[side, item] = part["value"].to_numpy()
        yield Answers(part["group"][0], sides, items, scores)


def chances(ability: Floats, discrimination: Floats, difficulty: Floats) -> Floats:
    """Probability of each run (rows) to be right on each item (columns)."""
    with np.errstate(over="ignore"):
        p: Floats = 1 / (1 + np.exp(-discrimination * (ability[:, None] - difficulty)))
    return p


def _packed(scores: Floats) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, int, int]:
    """Bits of the scores, of which of them are there (None: all), and the shape."""
    there = ~np.isnan(scores)
    validity = None if there.all() else np.packbits(there, bitorder="little")
    return np.packbits(scores == 1.0, bitorder="little"), validity, *scores.shape
