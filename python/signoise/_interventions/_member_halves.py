"""Choose on one half of the members, evaluate on the other: gains that the choice has not seen.

Twin: reference/_averaging.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import random_subsets
from .._status import result_column
from ._jackknife import jackknife_stderr, t_margin, t_p_value

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]
#: From sets of members (a row each) to the value of every option on them, (n_options, n_sets).
Values = Callable[[Mask], Floats]

#: Fewer members than this leave a half without a pair.
LEAST_MEMBERS = 4
#: Numbers in an intermediate result.
_LARGEST = 2_000_000


@dataclass(frozen=True)
class CrossFit:
    """Gains over option 0, means over splits and over which half chooses."""

    gain: float
    """Of the option that the other half chose."""
    in_sample: float
    """Of the option that is best on the very members it is evaluated on."""
    left_out: Floats
    """`gain` without each member."""
    chosen: Ints
    """Option that each half chose, (n_splits, 2)."""


def random_halves(n_members: int, n_splits: int, rng_seed: int, purpose: int, unit: int) -> Mask:
    """Halves of the members, a row a split; of an odd number the second is larger."""
    return random_subsets(rng_seed, purpose, unit, n=n_members, size=n_members // 2, count=n_splits)


def cross_fitted(choose: Values, evaluate: Values, halves: Mask) -> CrossFit:
    """Cross-fitted gain of choosing the best option; of equals the first is chosen.

    `choose` and `evaluate` may look at different checkpoints of the same members.
    """
    n_splits, n_members = halves.shape
    # Row 0 leaves nobody out, row i + 1 member i.
    kept = np.vstack([np.ones((1, n_members), dtype=bool), ~np.eye(n_members, dtype=bool)])
    gains, in_sample, chosen = [], [], []
    for half in (halves, ~halves):
        choosing = (half[:, None, :] & kept[None]).reshape(-1, n_members)
        evaluating = (~half[:, None, :] & kept[None]).reshape(-1, n_members)
        option = _best(choose(choosing))
        values = evaluate(evaluating)
        columns = np.arange(values.shape[1])
        gains.append((values[option, columns] - values[0]).reshape(n_splits, -1))
        in_sample.append((values[_best(values), columns] - values[0]).reshape(n_splits, -1)[:, 0])
        chosen.append(option.reshape(n_splits, -1)[:, 0])
    # Both means add in one order: where the halves agree, the two gains are one number.
    gain, found = (float(np.ascontiguousarray(part).mean()) for part in (np.array(gains)[..., 0], in_sample))
    return CrossFit(gain, found, np.mean(gains, axis=(0, 1))[1:], np.stack(chosen, axis=1))


class Choices:
    """What is chosen in each group and what that gains; NaN where there is no choice."""

    def __init__(self, n_groups: int) -> None:
        self.best: list[int | None] = [None] * n_groups
        """Option that is best on all members."""
        self._share, self._in_sample, self.gain, self._stderr = np.full((4, n_groups), np.nan)

    def choose(self, group: int, choose: Values, evaluate: Values, halves: Mask) -> None:
        """Choose in one group; nothing where an option has no value on all members."""
        n = halves.shape[1]
        whole = evaluate(np.ones((1, n), dtype=bool))[:, 0]
        if not np.isfinite(whole).all():
            return
        fit = cross_fitted(choose, evaluate, halves)
        best = self.best[group] = int(np.argmax(whole))
        self._share[group] = np.mean(fit.chosen == best)
        self._in_sample[group] = fit.in_sample
        self.gain[group] = fit.gain
        # Below 6 members a half without one of them has no pair left.
        if n >= LEAST_MEMBERS + 2:
            self._stderr[group] = jackknife_stderr(fit.left_out)

    def columns(self, share: str, n_members: Ints, level: float) -> list[pl.Series]:
        """Columns of a result: `share` of the halves that chose the best, the gain, its limits and its optimism."""
        margin = t_margin(self._stderr, n_members, level)
        return [
            result_column(share, self._share),
            result_column("gain_in_sample", self._in_sample),
            result_column("gain", self.gain),
            result_column("gain_low", self.gain - margin),
            result_column("gain_high", self.gain + margin),
            result_column("p_value", t_p_value(self.gain, self._stderr, n_members)),
            result_column("optimism", self._in_sample - self.gain),
        ]


def _best(values: Floats) -> Ints:
    return np.argmax(np.where(np.isnan(values), -np.inf, values), axis=0)


def _in_batches(values: Values, members: Mask, numbers_a_set: int) -> Floats:
    """Values of many sets, of as many at a time as leave intermediate results small."""
    rows = max(1, _LARGEST // max(numbers_a_set, 1))
    parts = [values(members[start : start + rows]) for start in range(0, max(len(members), 1), rows)]
    return np.concatenate(parts, axis=1)


def agreement_values(small: Floats, target: Floats) -> Values:
    """Decision accuracy of sets of members, ties one half, from scores (n_options, n_members) of both sides."""
    product = np.sign(small[:, :, None] - small[:, None, :]) * np.sign(
        target[:, :, None] - target[:, None, :]
    )

    def values(members: Mask) -> Floats:
        kept = members.astype(float)
        n = kept.sum(axis=1)
        with np.errstate(all="ignore"):
            return 0.5 + 0.5 * np.einsum("rj,kjr->kr", kept, product @ kept.T) / (n * (n - 1))

    return lambda members: _in_batches(values, members, small.size)


def log_snr_values(scores: Floats, variances: Floats) -> Values:
    """Logarithm of range over noise of sets of members, from scores and noise variances (n_options, n_members)."""

    def values(members: Mask) -> Floats:
        kept = members.astype(float)
        top = np.where(members[None], scores[:, None, :], -np.inf).max(axis=2)
        bottom = np.where(members[None], scores[:, None, :], np.inf).min(axis=2)
        with np.errstate(all="ignore"):
            noise = np.sqrt(variances @ kept.T / kept.sum(axis=1))
            found = np.log(top - bottom) - np.log(noise)
        return np.where((members.sum(axis=1) >= 2) & np.isfinite(found), found, np.nan)

    return lambda members: _in_batches(values, members, scores.size)
