"""Two halves of everything that enters an SNR: members, checkpoints, instances.

Members are drawn into halves of equal size (of an odd number one is left out). The noise of the members' own runs goes
with them. Noise of other runs, or of all of them where that is asked for, comes from two blocks of checkpoints with a
gap at both ends, since neighbours resemble each other; the blocks start anywhere, the last checkpoint being followed by
the first. Instances are drawn into halves by clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._addresses import SUBTASK_HALVES
from .._kernels import kernels
from ._cube import Side
from ._items import Items
from ._union import Runs, Samples

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Recipe:
    """How samples are made of the two sides of a cube."""

    population: Side
    noise: Side
    own_noise: bool
    """The noise is that of the members' own runs."""
    score: str
    estimator: Literal["within", "mean_sd"]
    ddof: int
    relative: bool

    @property
    def n_members(self) -> int:
        """Members of the population."""
        return len(self.population.labels)

    def whole(self) -> Samples:
        """All scores, as a batch of one sample."""
        scores = self.population.members(self.population.values, self.population.starts, self.score)
        runs = Runs.of(self.noise.values, self.noise.starts, self.ddof)
        everyone = np.ones((1, len(runs.counts)), dtype=bool)
        return runs.samples(scores[None], everyone, self.estimator, relative=self.relative)


@dataclass(frozen=True)
class Plan:
    """How halves are drawn."""

    n_splits: int
    blocks: bool
    """Split checkpoints."""
    gap: int
    key: tuple[int, int]
    """rng_seed and the address of the task."""


def draw_halves(recipe: Recipe, plan: Plan, items: Items | None) -> Iterator[tuple[int, Samples]]:
    """Batches of halves with the number of their first split.

    A batch of samples holds the first halves of some splits, then their second ones.
    """
    size = recipe.n_members // 2
    words = _words(plan, recipe.n_members)
    order = np.argsort(words[:, 1:], axis=1, kind="stable")
    halves = order[:, :size], order[:, size : 2 * size]
    # Matrices of covariances are what takes memory.
    parts = len(recipe.noise.member) if recipe.estimator == "mean_sd" else 1
    batch = max(1, _LARGEST // (2 * parts * recipe.population.values.shape[1] ** 2))
    of_run = recipe.population.of_run
    shared = None
    if not plan.blocks and items is None:
        scores = recipe.population.members(recipe.population.values, recipe.population.starts, recipe.score)
        shared = scores, Runs.of(recipe.noise.values, recipe.noise.starts, recipe.ddof)
    for first in range(0, plan.n_splits, batch):
        splits = range(first, min(first + batch, plan.n_splits))
        made = []
        for half in (0, 1):
            for split in splits:
                scores, runs = shared or _half(recipe, plan, items, split, half, int(words[split, 0]))
                mine = halves[half][split]
                chosen = np.ones(len(runs.counts), dtype=bool)
                if recipe.own_noise:
                    drawn = np.zeros(recipe.n_members, dtype=bool)
                    drawn[mine] = True
                    chosen = drawn[of_run]
                made.append(
                    runs.samples(scores[mine][None], chosen[None], recipe.estimator, relative=recipe.relative)
                )
        yield first, _batch(made)


#: Numbers in the matrices of a batch.
_LARGEST = 4_000_000


def _words(plan: Plan, n: int) -> NDArray[np.uint64]:
    """For each split a word for the blocks of checkpoints and one a member; more splits leave the first as they are."""
    rng_seed, unit = plan.key
    words = kernels().philox_uint64(rng_seed, SUBTASK_HALVES, 0, unit, plan.n_splits * (n + 1))
    return words.reshape(plan.n_splits, n + 1)


def _batch(samples: list[Samples]) -> Samples:
    return Samples(
        np.concatenate([one.scores for one in samples]),
        np.concatenate([one.noise_mean for one in samples]),
        np.concatenate([one.covariance for one in samples]),
        np.concatenate([one.shares for one in samples]),
        samples[0].relative,
    )


def _half(
    recipe: Recipe, plan: Plan, items: Items | None, split: int, half: int, word: int
) -> tuple[Floats, Runs]:
    """Scores of all members and the noise of all runs from one half of the checkpoints and instances."""
    values = {"population": recipe.population.values, "noise": recipe.noise.values}
    if items is not None:
        values = items.half(split, half)
    scores, starts = values["population"], recipe.population.starts
    if plan.blocks and recipe.own_noise:
        scores, starts = _block(scores, starts, plan.gap, half, word)
    members = recipe.population.members(scores, starts, recipe.score)
    if recipe.own_noise:
        return members, Runs.of(scores, starts, recipe.ddof)
    # The noise of other runs has nothing but its checkpoints to be split by.
    return members, Runs.of(*_block(values["noise"], recipe.noise.starts, plan.gap, half, word), recipe.ddof)


def _block(values: Floats, starts: Ints, gap: int, half: int, word: int) -> tuple[Floats, Ints]:
    keep, starts = block(starts, gap, half, word)
    return values[keep], starts


def block(starts: Ints, gap: int, half: int, word: int) -> tuple[Ints, Ints]:
    """Checkpoints of one of the two blocks of each run, and where the runs begin among them."""
    kept = []
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        n = end - start
        size = max(0, (n - 2 * gap) // 2)
        offset = word % n + half * (size + gap) if n else 0
        kept.append(start + np.sort((offset + np.arange(size)) % n))
    sizes = [len(part) for part in kept]
    return np.concatenate(kept).astype(np.intp), np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
