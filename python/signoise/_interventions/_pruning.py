"""A benchmark of some of its items, chosen by runs that it is not judged by.

Halves of the members: items are chosen by the scores of one half and judged on the other, and the other way round. The
same choice judged on the half that made it shows how much of the gain is its own doing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._addresses import PRUNING_CONTROL, PRUNING_HALVES, PRUNING_TIES
from .._item_statistics import statistics_of_items
from .._kernels import kernels
from .._rounding import rounded
from ._item_scores import ItemScores, NoiseRows
from ._member_halves import random_halves

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: Measures whose gain is the logarithm of a ratio.
LOGARITHMS = ("snr", "noise", "stderr")


@dataclass(frozen=True)
class Rule:
    """How items are ordered."""

    name: str
    middle: float | None
    """The difficulty that is best; None: that of the middle item."""

    def order(self, scores: Floats, words: NDArray[np.uint64]) -> Ints:
        """Items from the best on, by scores of members (rows); `words` break ties, what is undefined comes last."""
        if self.name == "discrimination":
            distance = -statistics_of_items(scores).discrimination
        else:
            difficulty = scores.mean(axis=0)
            distance = np.abs(difficulty - (np.median(difficulty) if self.middle is None else self.middle))
        return np.lexsort((words, np.where(np.isnan(distance), np.inf, np.round(distance, 12))))


@dataclass(frozen=True)
class Plan:
    """How halves and random subsets are drawn."""

    n_splits: int
    n_random: int
    key: tuple[int, int]
    """rng_seed and the address of the group."""


@dataclass(frozen=True)
class Pruned:
    """Of one measure, (n_sizes, n_splits, 2 halves to judge on); logarithms for those in `LOGARITHMS`."""

    chosen: Floats
    """By the other half."""
    in_sample: Floats
    """By the half itself."""
    random: Floats
    """Mean over random subsets of equal size."""
    whole: Floats
    """All items."""


class Judge:
    """Measures of subsets of the items of one group."""

    def __init__(
        self, found: ItemScores, noise: NoiseRows, signs: Sequence[float], threads: int | None
    ) -> None:
        self._small = found.sides[0]
        self._sign = signs[0]
        self._threads = threads
        # Without a target, the order by all items is what a subset is to keep.
        goal = found.sides[-1].mean(axis=1, keepdims=True)
        self._goal = signs[-1] * rounded(goal)
        self.agreement = "decision_accuracy" if len(found.sides) > 1 else "agreement"
        own = np.repeat(noise.member >= 0, noise.counts)
        self._checkpoints, self._counts = noise.values[own], noise.counts[noise.member >= 0]
        self._member = noise.member[noise.member >= 0]

    def of(self, subsets: Mask) -> Subsets:
        """Everything about some subsets (rows) that does not depend on the members."""
        # Items run along the rows of both factors: the order in which BLAS needs neither copies nor threads.
        weights = subsets.astype(float)
        size = weights.sum(axis=1)
        scores = (weights @ self._small.T).T / size
        about = self._small - self._small.mean(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            squares = (weights @ (about**2).T - (weights @ about.T) ** 2 / size[:, None]).T
            stderr = np.sqrt(np.maximum(squares, 0.0) / (size - 1) / size)
        return Subsets(scores, stderr, self._variances((weights @ self._checkpoints.T).T / size))

    def _variances(self, scores: Floats) -> Floats:
        """Between the checkpoints of each run (rows); NaN for a run with one."""
        if not len(self._counts):
            return np.zeros((0, scores.shape[1]))
        starts = np.cumsum(self._counts) - self._counts
        counts = self._counts[:, None]
        means = np.add.reduceat(scores, starts, axis=0) / counts
        squares = np.add.reduceat((scores - np.repeat(means, self._counts, axis=0)) ** 2, starts, axis=0)
        with np.errstate(all="ignore"):
            variance = squares / (counts - 1)
        # Scores that are equal but for rounding do not wobble.
        return np.where(variance <= (1e-12 * np.abs(means)) ** 2, 0.0, variance)

    def measures(self, subsets: Subsets, members: Mask) -> dict[str, Floats]:
        """Of each subset over some members."""
        scores, goal = subsets.scores[members], self._goal[members]
        small = np.ascontiguousarray(self._sign * rounded(scores))
        target = np.ascontiguousarray(np.broadcast_to(goal, small.shape))
        agreement = kernels().agreement_columns(small, target, threads=self._threads)
        runs = members[self._member]
        variances = subsets.variances[runs & (self._counts >= 2)]
        with np.errstate(all="ignore"):
            noise = (
                0.5 * np.log(variances.mean(axis=0)) if len(variances) else np.full(scores.shape[1], np.nan)
            )
            snr = np.log(np.ptp(scores, axis=0)) - noise
            stderr = np.log(subsets.stderr[members].mean(axis=0))
        return {self.agreement: agreement, "snr": snr, "noise": noise, "stderr": stderr}


@dataclass(frozen=True)
class Subsets:
    """Scores of members (rows) on subsets (columns), and their errors."""

    scores: Floats
    stderr: Floats
    """Over instances."""
    variances: Floats
    """Between checkpoints, a row a run."""


def pruned(
    found: ItemScores, judge: Judge, rule: Rule, sizes: Sequence[int], plan: Plan
) -> dict[str, Pruned]:
    """Every measure of subsets of these sizes."""
    scores = found.sides[0]
    n_members, n = scores.shape
    rng_seed, unit = plan.key
    halves = random_halves(n_members, plan.n_splits, rng_seed, PRUNING_HALVES, unit)
    whole = judge.of(np.ones((1, n), dtype=bool))
    shape = (len(sizes), plan.n_splits, 2)
    out: dict[str, dict[str, Floats]] = {}

    def keep(kind: str, split: int, half: int, measures: dict[str, Floats], values: slice) -> None:
        for name, numbers in measures.items():
            table = out.setdefault(name, {})
            table.setdefault(kind, np.full(shape, np.nan))[:, split, half] = numbers[values]

    for split in range(plan.n_splits):
        words = kernels().philox_uint64(rng_seed, PRUNING_TIES, split, unit, n)
        both = (halves[split], ~halves[split])
        chosen = judge.of(
            np.concatenate([_first(rule.order(scores[members], words), sizes) for members in both])
        )
        random = judge.of(_random(n, sizes, plan, split))
        for half, members in enumerate(both):
            # The subsets that the first half chose, then those of the second.
            by_half = slice(0, len(sizes)), slice(len(sizes), None)
            judged = judge.measures(chosen, members)
            keep("chosen", split, half, judged, by_half[1 - half])
            keep("in_sample", split, half, judged, by_half[half])
            keep("whole", split, half, judge.measures(whole, members), slice(0, 1))
            means = {
                name: numbers.reshape(plan.n_random, len(sizes)).mean(axis=0)
                for name, numbers in judge.measures(random, members).items()
            }
            keep("random", split, half, means, slice(None))
    return {
        name: Pruned(*(_finite(table[kind]) for kind in ("chosen", "in_sample", "random", "whole")))
        for name, table in out.items()
    }


def _finite(values: Floats) -> Floats:
    """The logarithm of no noise, or of no signal, is none."""
    return np.where(np.isfinite(values), values, np.nan)


def _first(order: Ints, sizes: Sequence[int]) -> Mask:
    """The first items of an order, a row for each size."""
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    return place[None, :] < np.array(sizes)[:, None]


def _random(n: int, sizes: Sequence[int], plan: Plan, split: int) -> Mask:
    """Random subsets of all sizes, nested, those of one order after the other."""
    rng_seed, unit = plan.key
    words = kernels().philox_uint64(rng_seed, PRUNING_CONTROL, split, unit, plan.n_random * n)
    orders = np.argsort(words.reshape(plan.n_random, n), axis=1, kind="stable")
    return np.concatenate([_first(order, sizes) for order in orders])
