"""In what order subtasks are taken into the union, by each rule, for several samples of scores at once.

    snr       descending individual SNR
    greedy    next the one that makes the SNR of the union largest
    backward  drops first the one whose loss leaves the largest SNR; what was dropped last comes first

What has no SNR (no noise, a mean of 0) comes after everything that has one. Ties go to the first of the subtasks, which
stand in lexical order; SNRs as close as rounding are ties.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .._addresses import SUBTASK_CONTROL
from .._kernels import kernels
from ._union import Measured, Samples, combine

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Relative differences of SNRs that are rounding.
TIE = 1e-10


def by_snr(samples: Samples, weights: Floats) -> Ints:
    """Subtasks by descending individual SNR, (n_samples, n_subtasks)."""
    del weights  # a subtask alone scores the same whatever it weighs
    alone = samples.measure(np.eye(samples.n_subtasks)).snr
    with np.errstate(all="ignore"):
        # Equal to ten digits is equal: whoever comes first by name stays first.
        rounded = np.round(np.log(alone), 10)
    return np.argsort(np.where(np.isnan(alone), np.inf, -rounded), axis=1, kind="stable")


def greedy(samples: Samples, weights: Floats) -> Ints:
    """Forward selection, (n_samples, n_subtasks)."""
    return _stepwise(samples, weights, forward=True)


def backward(samples: Samples, weights: Floats) -> Ints:
    """Backward elimination, last dropped first, (n_samples, n_subtasks)."""
    return _stepwise(samples, weights, forward=False)[:, ::-1]


RULES: dict[str, Callable[[Samples, Floats], Ints]] = {"snr": by_snr, "greedy": greedy, "backward": backward}


def _stepwise(samples: Samples, weights: Floats, *, forward: bool) -> Ints:
    """The subtask whose change makes the SNR of the union largest, again and again."""
    n, size = len(samples), samples.n_subtasks
    sign = 1.0 if forward else -1.0
    # SNR does not depend on the scale of weights, and those below 1 keep sums of squares small.
    weights = weights / weights.max()
    own_scores = samples.scores * weights
    own_mean = samples.noise_mean * weights
    covariance = samples.covariance * weights[:, None] * weights
    own_variance = np.diagonal(covariance, axis1=2, axis2=3)
    start = np.zeros((n, size)) if forward else np.ones((n, size))
    members = np.einsum("bjs,bs->bj", own_scores, start)
    mean = np.einsum("bs,bs->b", own_mean, start)
    shared = np.einsum("bvst,bt->bvs", covariance, start)
    variance = np.einsum("bvs,bs->bv", shared, start)
    # Going backward, rounding stays as large as that of the whole union.
    largest = np.einsum("bvs,bs->bv", own_variance, start)
    left = np.ones((n, size), dtype=bool)
    at = np.arange(n)
    order = np.empty((n, size), dtype=np.intp)
    for step in range(size):
        measured: Measured = combine(
            members[:, :, None] + sign * own_scores,
            variance[:, :, None] + 2 * sign * shared + own_variance,
            largest[:, :, None] + (own_variance if forward else 0.0),
            mean[:, None] + sign * own_mean,
            samples.shares,
            relative=samples.relative,
        )
        snr = np.where(left, np.where(np.isnan(measured.snr), -1.0, measured.snr), -2.0)
        best = np.argmax(
            snr >= snr.max(axis=1, keepdims=True) - TIE * np.abs(snr.max(axis=1, keepdims=True)), axis=1
        )
        order[:, step] = best
        left[at, best] = False
        members += sign * own_scores[at, :, best]
        mean += sign * own_mean[at, best]
        variance += 2 * sign * shared[at, :, best] + own_variance[at, :, best]
        if forward:
            largest += own_variance[at, :, best]
        shared += sign * covariance[at, :, best]
    return order


def nested_weights(order: Ints, weights: Floats) -> Floats:
    """Weights of the unions of the first 1, 2, .. subtasks, (.., n_unions, n_subtasks)."""
    place = np.argsort(order, axis=-1)
    size = order.shape[-1]
    return (place[..., None, :] <= np.arange(size)[:, None]) * weights


class RandomUnions:
    """Random unions of equal size, each size and replicate with draws of its own.

    `key` is rng_seed and the address of the task.
    """

    def __init__(self, weights: Floats, n_random: int, key: tuple[int, int], replicate: int = 0) -> None:
        rng_seed, unit = key
        self._weights = weights
        shape = (len(weights), n_random, len(weights))
        words = kernels().philox_uint64(rng_seed, SUBTASK_CONTROL, replicate, unit, int(np.prod(shape)))
        self._words = words.reshape(shape)

    def of(self, size: int) -> Floats:
        """Weights of random unions of so many subtasks, (n_random, n_subtasks)."""
        rank = self._words[size - 1].argsort(axis=1, kind="stable").argsort(axis=1)
        return (rank < size) * self._weights
