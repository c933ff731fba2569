"""Anchor instances, and estimates of a run's score on all instances from its answers to few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._addresses import ANCHOR_FOLDS, ANCHOR_STARTS, ANCHOR_SUBSETS, random_subsets, uniforms
from ._k_means import k_means
from ._right_wrong import ItemModel, chances

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ESTIMATORS = ("mean", "irt", "p_irt", "gp_irt")
#: Starts of k-means.
_STARTS = 5
#: Chances that are computed in one go.
_BLOCK = 1 << 22
#: Random subsets that say how far the IRT estimate errs on runs that were not fitted.
_INNER_SUBSETS = 10


@dataclass(frozen=True)
class Subset:
    """Some of the instances, with weights that sum to 1."""

    items: Ints
    weights: Floats


@dataclass(frozen=True)
class Draws:
    """Addresses of the random numbers of one group."""

    rng_seed: int
    unit: int

    def folds(self, n_runs: int, n_folds: int) -> Ints:
        """The fold of each run; folds differ in size by 1 at most."""
        order = np.argsort(uniforms(self.rng_seed, ANCHOR_FOLDS, self.unit, n_runs), kind="stable")
        fold = np.empty(n_runs, dtype=np.intp)
        fold[order] = np.arange(n_runs) % n_folds
        return fold

    def starts(self, k: int) -> Floats:
        """Random numbers for the starts of k-means."""
        return uniforms(self.rng_seed, ANCHOR_STARTS, self.unit, _STARTS * k).reshape(_STARTS, k)

    def subsets(self, n: int, size: int, count: int) -> list[Subset]:
        """Random subsets of the instances."""
        picked = random_subsets(self.rng_seed, ANCHOR_SUBSETS, self.unit, n=n, size=size, count=count)
        return [Subset(np.flatnonzero(row), np.full(size, 1 / size)) for row in picked]


@dataclass(frozen=True)
class Fitted:
    """A model of some runs."""

    how: ItemModel
    discrimination: Floats
    difficulty: Floats
    share: Floats
    """Of right answers, by instance."""
    converged: bool

    @classmethod
    def of(cls, scores: Floats, how: ItemModel) -> Fitted:
        """Fit runs without missing scores."""
        found: Mapping[str, Any] = how.fit(scores)
        return cls(
            how, found["discrimination"], found["difficulty"], scores.mean(axis=0), bool(found["converged"])
        )

    def anchors(self, k: int, draws: Draws) -> Subset:
        """The instance nearest to the centre of each of k clusters of (a, a b); fewer if fewer places differ."""
        points = np.stack([self.discrimination, self.discrimination * self.difficulty], axis=1)
        distinct, place, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
        place = place.reshape(-1)
        k = min(k, len(distinct))
        cluster, distance = k_means(distinct, counts.astype(float), k, draws.starts(k))
        # The nearest of each cluster: rows by cluster, then distance; the first instance at that place.
        order = np.lexsort((distance, cluster))
        nearest = order[np.flatnonzero(np.diff(cluster[order], prepend=-1))]
        first = np.unique(place, return_index=True)[1]
        items = first[nearest]
        sizes = np.bincount(cluster, counts, minlength=k)
        by_item = np.argsort(items)
        return Subset(items[by_item], sizes[by_item] / sizes.sum())

    def expected(self, ability: Floats) -> Iterator[tuple[slice, Floats]]:
        """Chances of the runs with these abilities on every instance, some runs at a time."""
        rows = max(1, _BLOCK // max(1, len(self.share)))
        for start in range(0, len(ability), rows):
            part = slice(start, start + rows)
            yield part, chances(ability[part], self.discrimination, self.difficulty)

    def estimates(self, scores: Floats, subset: Subset, balance: float | None) -> Floats:
        """(n_estimators, n_runs) from the answers to a subset; gp-IRT with `balance` as its weight of the mean."""
        answers = scores[:, subset.items]
        mean = answers @ subset.weights
        ability = self.how.abilities(
            answers, self.discrimination[subset.items], self.difficulty[subset.items]
        )
        n = len(self.share)
        whole, rest = np.empty((2, len(scores)))
        for part, p in self.expected(ability):
            whole[part] = p.mean(axis=1)
            rest[part] = p.sum(axis=1) - p[:, subset.items].sum(axis=1)
        performance = (answers.sum(axis=1) + rest) / n
        mixed = (
            np.full(len(scores), np.nan) if balance is None else balance * mean + (1 - balance) * performance
        )
        return np.stack([mean, whole, performance, mixed])


def balances(scores: Floats, k: int, how: ItemModel, draws: Draws) -> tuple[float, float]:
    """gp-IRT's weight of the mean, for anchors and for random subsets, from runs at hand.

    b^2 / (b^2 + v/(4 k)): b the mean error of the IRT estimate on the half of the runs that was not fitted, v the mean
    over runs of the variance of an answer.
    """
    first = draws.folds(len(scores), 2) == 0
    full = scores.mean(axis=1)
    errors: tuple[list[float], list[float]] = ([], [])
    for fitted, held in ((first, ~first), (~first, first)):
        model = Fitted.of(scores[fitted], how)
        anchors = model.anchors(k, draws)
        random = draws.subsets(scores.shape[1], len(anchors.items), _INNER_SUBSETS)
        for kind, subsets in zip(errors, ([anchors], random), strict=True):
            for subset in subsets:
                irt = model.estimates(scores[held], subset, None)[1]
                kind.append(float(np.abs(irt - full[held]).mean()))
    sampling = float((full * (1 - full)).mean()) / (4 * k)
    squares = [float(np.mean(kind)) ** 2 for kind in errors]
    anchors_balance, random_balance = (b / (b + sampling) if b + sampling > 0 else 1.0 for b in squares)
    return anchors_balance, random_balance


@dataclass(frozen=True)
class Held:
    """Estimates of runs that their model has not seen."""

    full: Floats
    """Score of each run on all instances."""
    anchors: Floats
    """(n_estimators, n_runs)."""
    random: Floats
    """(n_estimators, n_runs, n_draws)."""
    size: int
    """Fewest anchors of a fold."""
    converged: bool


def held_out(scores: Floats, k: int, n_folds: int, n_resamples: int, how: ItemModel, draws: Draws) -> Held:
    """Estimates of every run from a model and anchors of the runs in other folds."""
    n_runs, n = scores.shape
    fold = draws.folds(n_runs, n_folds)
    anchors = np.empty((len(ESTIMATORS), n_runs))
    random = np.empty((len(ESTIMATORS), n_runs, n_resamples))
    size, converged = n, True
    for at in range(n_folds):
        held = fold == at
        train, test = scores[~held], scores[held]
        model = Fitted.of(train, how)
        converged &= model.converged
        chosen = model.anchors(k, draws)
        size = min(size, len(chosen.items))
        mine, control = balances(train, k, how, draws)
        anchors[:, held] = model.estimates(test, chosen, mine)
        for draw, subset in enumerate(draws.subsets(n, len(chosen.items), n_resamples)):
            random[:, held, draw] = model.estimates(test, subset, control)
    return Held(scores.mean(axis=1), anchors, random, size, converged)
