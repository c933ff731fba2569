"""Success in more tries than there are samples: what three distributions of success probabilities say, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._addresses import MIXING_FOLDS, uniforms
from .._bootstrap_replicates import Plan, intervals
from .._bootstrap_samples import Sample
from ._mixing import MIXINGS, Mixing
from ._samples import RepeatedSamples

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Parts of the items, each of which is left out once to see how likely the others find it.
FOLDS = 5
#: Predictions that differ by more than so many standard errors leave no single one.
APART = 2.0
#: So many times the samples is further than any of them is to be believed.
FURTHEST = 100


@dataclass(frozen=True)
class Beyond:
    """Predictions, a row each for group and k; NaN where there are enough samples, or nothing can be said."""

    short: Mask
    """Some instance has fewer than k samples."""
    identified: Mask
    """Samples say something of how the probabilities are distributed."""
    predicted: Floats
    """(n_rows, 3) by each distribution."""
    log_likelihood: Floats
    """(n_rows, 3) mean log-likelihood of an item that the distribution was not fitted to."""
    value: Floats
    """Their median, unless they differ too much or k is too far."""
    stderr: Floats
    low: Floats
    high: Floats
    """Lowest and highest limits of the three."""
    differ: Mask
    far: Mask


@dataclass(frozen=True)
class _Items:
    """Counts of the items of a group, pairs that occur several times together."""

    n: Floats
    c: Floats
    of: NDArray[np.intp]
    """The pair of each item."""

    @classmethod
    def of_group(cls, loaded: RepeatedSamples, group: int) -> _Items:
        pairs, of = np.unique(
            loaded.part(group).select("n", "c").to_numpy().astype(np.float64), axis=0, return_inverse=True
        )
        return cls(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]), of.reshape(-1))

    def count(self, items: Mask | slice = slice(None)) -> Floats:
        """How many of some items each pair stands for."""
        return np.bincount(self.of[items], minlength=len(self.n)).astype(np.float64)

    @property
    def identified(self) -> bool:
        """Items of one sample each have the same law under every distribution of one mean; so has what never varies."""
        return bool((self.n > 1).any() and (self.c > 0).any() and (self.c < self.n).any())

    def fit(self, mixing: Mixing, items: Mask | slice = slice(None), start: Floats | None = None) -> Floats:
        count = self.count(items)
        there = count > 0
        return mixing.fit(self.n[there], self.c[there], count[there], start)


def beyond_samples(
    loaded: RepeatedSamples, tries: Sequence[int], values: Floats, plan: Plan, *, every: bool
) -> Beyond:
    """Predictions for each group and k.

    Parameters
    ----------
    values
        Unbiased estimates of all items, a row for each k; those of items with enough samples are kept.
    every
        All k tries must succeed, rather than one of them.
    """
    rows = len(loaded) * len(tries)
    short, identified, differ, far = np.zeros((4, rows), dtype=bool)
    value, stderr, low, high = np.full((4, rows), np.nan)
    predicted, likelihood = np.full((2, rows, len(MIXINGS)), np.nan)
    for group in range(len(loaded)):
        sizes = loaded.sizes(group)
        wanted = [(at, k) for at, k in enumerate(tries) if (sizes < k).any()]
        if not wanted:
            continue
        items = _Items.of_group(loaded, group)
        here = slice(int(loaded.starts[group]), int(loaded.starts[group + 1]))
        sample = loaded.sample(group, items.c)
        fitted = [items.fit(mixing) for mixing in MIXINGS] if items.identified else []
        for at, k in wanted:
            row = group * len(tries) + at
            short[row], identified[row] = True, bool(fitted)
            far[row] = k > FURTHEST * sizes.mean()
            if not fitted:
                continue
            samples = []
            for mixing, theta in zip(MIXINGS, fitted, strict=True):
                model = mixing.success(theta, items.n, items.c, k, every=every)[items.of]
                samples.append(replace(sample, values=np.where(sizes < k, model, values[at, here])))
            found = intervals(samples, plan)
            predicted[row] = found.value
            with np.errstate(all="ignore"):
                middle = np.argsort(found.value)[len(MIXINGS) // 2]
                differ[row] = np.ptp(found.value) > APART * found.stderr[middle]
                if not (differ[row] or far[row]):
                    value[row], stderr[row] = found.value[middle], found.stderr[middle]
                low[row], high[row] = np.min(found.low), np.max(found.high)
        if fitted:
            own = [group * len(tries) + at for at, _ in wanted]
            likelihood[own] = [
                _held_out(items, mixing, theta, sample, plan.rng_seed)
                for mixing, theta in zip(MIXINGS, fitted, strict=True)
            ]
    return Beyond(short, identified, predicted, likelihood, value, stderr, low, high, differ, far)


def _held_out(items: _Items, mixing: Mixing, theta: Floats, sample: Sample, rng_seed: int) -> float:
    """Mean log-likelihood of items under fits to the others; items of a cluster are left out together."""
    n_clusters = len(sample.members) - 1
    draws = uniforms(rng_seed, MIXING_FOLDS, int(sample.units[0]), n_clusters)
    fold = np.argsort(np.argsort(draws, kind="stable"), kind="stable") % FOLDS
    own = np.repeat(fold, np.diff(sample.members).astype(np.intp))
    total = 0.0
    for left_out in range(min(FOLDS, n_clusters)):
        rest = own != left_out
        if not rest.any():
            return np.nan
        found = items.fit(mixing, rest, theta)
        total += float(items.count(~rest) @ mixing.log_likelihoods(found, items.n, items.c))
    return total / len(own)
