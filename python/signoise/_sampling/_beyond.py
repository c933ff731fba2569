"""Success in more tries than there are samples: what three distributions of success probabilities say, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._addresses import MIXING_FOLDS, uniforms
from .._bootstrap_replicates import Plan, intervals
from .._bootstrap_samples import Sample
from .._intervals import quantile_at
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
        fitted = [_Fitted.of(items, mixing) for mixing in MIXINGS] if items.identified else []
        for at, k in wanted:
            row = group * len(tries) + at
            short[row], identified[row] = True, bool(fitted)
            far[row] = k > FURTHEST * sizes.mean()
            if not fitted:
                continue
            found = [
                _predict(
                    items, fit, sample, np.where(sizes < k, np.nan, values[at, here]), k, plan, every=every
                )
                for fit in fitted
            ]
            predicted[row] = [one.value for one in found]
            middle = sorted(found, key=lambda one: one.value)[len(found) // 2]
            differ[row] = np.ptp(predicted[row]) > APART * middle.item_stderr
            if not (differ[row] or far[row]):
                value[row], stderr[row] = middle.value, middle.stderr
            low[row], high[row] = min(one.low for one in found), max(one.high for one in found)
        if fitted:
            own = [group * len(tries) + at for at, _ in wanted]
            likelihood[own] = [_held_out(items, fit, sample, plan.rng_seed) for fit in fitted]
    return Beyond(short, identified, predicted, likelihood, value, stderr, low, high, differ, far)


@dataclass(frozen=True)
class _Fitted:
    """A distribution that was fitted to all items."""

    mixing: Mixing
    theta: Floats
    covariance: Floats

    @classmethod
    def of(cls, items: _Items, mixing: Mixing) -> _Fitted:
        theta = items.fit(mixing)
        return cls(mixing, theta, mixing.covariance(theta, items.n, items.c, items.count()))


@dataclass(frozen=True)
class _Predicted:
    """Mean over items by one distribution."""

    value: float
    item_stderr: float
    """What drawing other items moves it by."""
    stderr: float
    low: float
    high: float


def _predict(
    items: _Items, fit: _Fitted, sample: Sample, known: Floats, k: int, plan: Plan, *, every: bool
) -> _Predicted:
    """A prediction where `known`, the estimates of items with enough samples, is NaN."""

    def of_items(theta: Floats, tries: int) -> Floats:
        return fit.mixing.failure(theta, items.n, items.c, tries, every=every)[items.of]

    def mean(failing: Floats) -> float:
        return float(np.where(short, failing if every else 1 - failing, known).mean())

    short = np.isnan(known)
    failing = of_items(fit.theta, k)
    values = np.where(short, failing if every else 1 - failing, known)
    found = intervals([replace(sample, values=values)], plan)
    value, item_stderr = float(found.value[0]), float(found.stderr[0])
    # The probability of an item with these samples scatters about its mean, ..
    squares = np.maximum(of_items(fit.theta, 2 * k) - failing**2, 0.0)
    variance = item_stderr**2 + float(np.where(short, squares, 0.0).sum()) / len(values) ** 2
    # .. and parameters are estimates.
    steps = 1e-4 * np.eye(len(fit.theta))
    slope = np.array(
        [mean(of_items(fit.theta + step, k)) - mean(of_items(fit.theta - step, k)) for step in steps]
    ) / (2e-4)
    stderr = float(np.sqrt(variance + slope @ fit.covariance @ slope))
    with np.errstate(all="ignore"):
        # On the scale of arcsin sqrt, which neither leaves 0 to 1 nor runs away near its ends.
        z = float(quantile_at("t_quantile", (1 + plan.level) / 2, np.array([np.inf]))[0])
        centre, reach = np.arcsin(np.sqrt(value)), z * stderr / (2 * np.sqrt(value * (1 - value)))
        low, high = np.sin(np.clip([centre - reach, centre + reach], 0.0, np.pi / 2)) ** 2
    return _Predicted(value, item_stderr, stderr, float(low), float(high))


def _held_out(items: _Items, fit: _Fitted, sample: Sample, rng_seed: int) -> float:
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
        found = items.fit(fit.mixing, rest, fit.theta)
        total += float(items.count(~rest) @ fit.mixing.log_likelihoods(found, items.n, items.c))
    return total / len(own)
