"""Differences between metrics on the same members, and how far other members like these would move them.

Delete-one jackknife of the paired difference, members (recipes) left out and never pairs of them:

    d        statistic of one metric less that of the other, both over the same J members
    d_(i)    the same without member i
    se^2     (J - 1)/J sum_i (d_(i) - mean d_(.))^2
    limits   d -/+ t_{J-1} se
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._decision_rules import by_rule, without_each
from .._decisions import recipe_limits
from .._kernels import kernels
from ._jackknife import t_margin

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """Decision accuracy of each pairing of two rows of scores over some members."""

    counts: dict[str, NDArray[Any]]
    estimate: Floats
    n_members: Ints
    group: Ints
    offsets: NDArray[np.uintp]
    ties: str

    def without(self) -> Floats:
        """Without each member in turn, members of a pairing together."""
        return without_each(self.counts, self.n_members, self.group, self.ties)

    def limits(self, level: float, threads: int | None) -> tuple[Floats, Floats]:
        """Recipe interval of each."""
        return recipe_limits(
            self.counts, self.estimate, self.n_members, self.group, self.offsets, self.ties, level, threads
        )


def agreement(small: Floats, target: Floats, members: Mask, ties: str, threads: int | None) -> Agreement:
    """Decision accuracy of rows ``(n_rows, n_members)`` of scores, higher is better, over chosen members of each."""
    n_members = members.sum(axis=1).astype(np.intp)
    offsets = np.concatenate([[0], np.cumsum(n_members)]).astype(np.uintp)
    counts = kernels().pair_agreement(small[members], target[members], offsets, threads=threads)
    with np.errstate(all="ignore"):
        estimate = np.where(n_members >= 2, by_rule(counts, ties), np.nan)
    group = np.repeat(np.arange(len(n_members)), n_members)
    return Agreement(counts, estimate, n_members, group, offsets, ties)


def agreement_difference(one: Agreement, other: Agreement, level: float) -> tuple[Floats, Floats, Floats]:
    """Difference of decision accuracies over the same members, and its limits.

    Where no member's leaving changes it, se is 0 and says nothing: with J/2 pairs of members that share none, a share p
    of pairs on which the metrics differ goes unseen with probability (1 - p)^(J/2), so p up to
    1 - (alpha/2)^(1/floor(J/2)) is possible on either side.
    """
    difference = one.estimate - other.estimate
    spread = jackknife_error(one.without() - other.without(), one.offsets)
    j = one.n_members.astype(float)
    with np.errstate(all="ignore"):
        unseen = 1 - ((1 - level) / 2) ** (1 / np.floor(j / 2))
        half = np.where(spread == 0, unseen, t_margin(spread, one.n_members, level))
    half = np.where(j >= 3, half, np.nan)
    return difference, np.maximum(difference - half, -1.0), np.minimum(difference + half, 1.0)


def jackknife_error(without: Floats, offsets: NDArray[np.uintp]) -> Floats:
    """Delete-one standard error of each group; NaN where one of its values is."""
    found = kernels().segment_moments(np.ascontiguousarray(without), offsets)
    sizes = np.diff(offsets).astype(float)
    with np.errstate(all="ignore"):
        error = np.sqrt((sizes - 1) / sizes * found["m2"])
    broken = np.bincount(
        np.repeat(np.arange(len(sizes)), sizes.astype(np.intp)),
        weights=~np.isfinite(without),
        minlength=len(sizes),
    )
    return np.where(broken > 0, np.nan, error)


@dataclass(frozen=True)
class SignalRows:
    """What the signal-to-noise ratio of each metric is made of, ``(n_rows, n_members)``; NaN scores are not there."""

    scores: Floats
    variance: Floats
    """Sum of the variances of a member's runs over their windows."""
    runs: Floats
    """How many of its runs have one."""

    def rows(self, which: Ints) -> SignalRows:
        """Some of the rows."""
        return SignalRows(self.scores[which], self.variance[which], self.runs[which])

    def log_snr(self, members: Mask) -> tuple[Floats, Floats]:
        """Logarithm of range over noise within runs, over chosen members, and without each of them in turn."""
        scores = np.where(members, self.scores, np.nan)
        variance, runs = (np.where(members, part, 0.0) for part in (self.variance, self.runs))
        highest, second = _two_highest(scores)
        lowest, next_lowest = _two_highest(-scores)
        with np.errstate(all="ignore"):
            whole = np.log(highest + lowest) - 0.5 * np.log(variance.sum(axis=1) / runs.sum(axis=1))
            top = np.where(scores == highest[:, None], second[:, None], highest[:, None])
            bottom = np.where(-scores == lowest[:, None], next_lowest[:, None], lowest[:, None])
            noise = (variance.sum(axis=1, keepdims=True) - variance) / (
                runs.sum(axis=1, keepdims=True) - runs
            )
            without = np.log(top + bottom) - 0.5 * np.log(noise)
        return np.where(np.isfinite(whole), whole, np.nan), without


def _two_highest(scores: Floats) -> tuple[Floats, Floats]:
    """The highest score of each row and the next, equal to it where two share it."""
    ordered = np.sort(np.where(np.isnan(scores), -np.inf, scores), axis=1)
    low = np.full(len(ordered), -np.inf)
    highest = ordered[:, -1] if ordered.shape[1] > 0 else low
    return highest, ordered[:, -2] if ordered.shape[1] > 1 else low


def snr_gain(
    one: SignalRows, other: SignalRows, members: Mask, level: float
) -> tuple[Floats, Floats, Floats]:
    """Logarithm of the ratio of two metrics' absolute SNR over the same members, and its limits."""
    j = members.sum(axis=1)
    (first, without), (second, without_other) = (rows.log_snr(members) for rows in (one, other))
    gain = np.where(j >= 2, first - second, np.nan)
    offsets = np.concatenate([[0], np.cumsum(j)]).astype(np.uintp)
    with np.errstate(invalid="ignore"):
        spread = jackknife_error((without - without_other)[members], offsets)
    half = np.where(j >= 3, t_margin(spread, j, level), np.nan)
    return gain, gain - half, gain + half
