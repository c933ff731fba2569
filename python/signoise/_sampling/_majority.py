"""Majority votes of k of the n samples of an item: exact expectation over all subsets, or over random orders.

An item has answers, `counts` of how many of its samples gave each, and whether each is `right`; samples without an
answer do not vote. Twin: ``reference/_tries.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ties = Literal["uniform", "half"]

#: Binomial coefficients of more samples than this leave the range of floats.
_MOST_SAMPLES = 1000
#: Multiplications, about, that an item may cost before its votes are simulated.
_MOST_WORK = 3_000_000


@dataclass(frozen=True)
class Votes:
    """Samples of one item by answer."""

    counts: Ints
    right: NDArray[np.bool_]
    n: int
    """Samples, with those that gave no answer."""

    def is_cheap(self, most: int) -> bool:
        """Whether all subsets of up to so many samples can be gone through."""
        return self.n <= _MOST_SAMPLES and (len(self.counts) + 1) * min(most, self.n) ** 3 <= _MOST_WORK

    def at_mode(self, ties: Ties) -> float:
        """The vote of all samples."""
        if not len(self.counts):
            return 0.0
        top = self.counts == self.counts.max()
        return float(_won(np.array(float((top & self.right).sum())), np.array(float(top.sum())), ties))

    def rate(self) -> float:
        """I = -ln(1 - (sqrt(p_1) - sqrt(p_2))^2) of the two most frequent answers; NaN without an answer."""
        if not len(self.counts):
            return math.nan
        first, second = np.sqrt(np.sort(np.append(self.counts, 0))[:-3:-1] / self.n)
        return float(-np.log1p(-((first - second) ** 2))) if first - second < 1 else math.inf


def majority(votes: Votes, tries: Sequence[int], ties: Ties, uniforms: Floats | None) -> Floats:
    """Probability that the vote of k samples is right, for each k; NaN beyond n.

    `uniforms` has a row for each random order and a column for each sample; None goes through all subsets.
    """
    out = np.full(len(tries), np.nan)
    inside = [at for at, k in enumerate(tries) if k < votes.n]
    if inside:
        wanted = [tries[at] for at in inside]
        out[inside] = (
            _exact(votes, wanted, ties) if uniforms is None else _simulated(votes, wanted, ties, uniforms)
        )
    for at, k in enumerate(tries):
        if k == votes.n:
            out[at] = votes.at_mode(ties)
    return out


def _won(right: Floats, tied: Floats, ties: Ties) -> Floats:
    """Share of a vote that is right with so many answers ahead, so many of them right."""
    if ties == "half":
        return np.where(right == 0, 0.0, np.where(right == tied, 1.0, 0.5))
    return right / np.maximum(tied, 1)


def _exact(votes: Votes, tries: Sequence[int], ties: Ties) -> Floats:
    """Over all subsets, by the number of votes t of the winners.

    Subsets are counted by generating functions: with s votes for an answer of m samples there are C(m, s) ways; no
    answer has more than t, and those with t are counted apart.
    """
    most = max(tries)
    ways = np.zeros(len(tries))
    silent = _binomials(votes.n - int(votes.counts.sum()), most)
    for t in range(1, min(most, int(votes.counts.max(initial=0))) + 1):
        right = _ways(votes.counts[votes.right], t, most)
        wrong = _ways(votes.counts[~votes.right], t, most)
        if not right[1:].any():
            continue
        for at, k in enumerate(tries):
            for r in range(1, len(right)):
                for w in range(len(wrong)):
                    share = float(_won(np.array(float(r)), np.array(float(r + w)), ties))
                    both = np.convolve(right[r], wrong[w])[: k + 1]
                    ways[at] += share * float(both @ silent[k::-1][: len(both)])
    return ways / np.array([float(math.comb(votes.n, k)) for k in tries])


def _ways(counts: Ints, t: int, most: int) -> Floats:
    """Ways to take u samples (columns) with at most t of each answer, and t of so many answers (rows)."""
    found = np.zeros((1, most + 1))
    found[0, 0] = 1.0
    for m in counts.tolist():
        row = _binomials(m, min(t, most))
        taken = np.zeros((len(found) + (m >= t and len(found) * t <= most), most + 1))
        for s, ways in enumerate(row.tolist()):
            if not ways:
                continue
            moved = found[:, : most + 1 - s] * ways
            if s < t:
                taken[: len(found), s:] += moved
            else:
                rows = min(len(found), len(taken) - 1)
                taken[1 : rows + 1, s:] += moved[:rows]
        found = taken
    return found


def _binomials(m: int, most: int) -> Floats:
    """C(m, 0), .., C(m, most)."""
    return np.array([float(math.comb(m, s)) for s in range(most + 1)])


def _simulated(votes: Votes, tries: Sequence[int], ties: Ties, uniforms: Floats) -> Floats:
    """Over random orders of the samples, of which the first k vote."""
    silent = len(votes.counts)
    label = np.repeat(np.arange(silent + 1), [*votes.counts, votes.n - int(votes.counts.sum())])
    orders = label[np.argsort(uniforms, axis=1, kind="stable")]
    counts = np.zeros((len(orders), silent + 1))
    rows = np.arange(len(orders))
    out = np.empty(len(tries))
    at = {k: place for place, k in enumerate(tries)}
    for k in range(1, max(tries) + 1):
        counts[rows, orders[:, k - 1]] += 1
        if k in at:
            own = counts[:, :silent]
            top = (own == own.max(axis=1, initial=0.0, keepdims=True)) & (own > 0)
            out[at[k]] = _won((top & votes.right).sum(axis=1), top.sum(axis=1), ties).mean()
    return out
