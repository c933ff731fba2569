"""Trying until an imperfect verifier passes a sample: what is returned after up to K tries.

Of an item with n samples, `right` passes of correct and `wrong` passes of incorrect samples. Twin:
``reference/_tries.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Estimator = Literal["unbiased", "plug_in"]


@dataclass(frozen=True)
class Outcomes:
    """Of each item (rows) after up to K tries (columns); NaN where an item has fewer samples than an unbiased estimate
    needs.
    """

    success: Floats
    """P(a correct sample is returned)."""
    false_positive: Floats
    """P(an incorrect sample is returned)."""
    abstention: Floats
    """P(nothing is returned)."""
    tries: Floats
    """Expected number of tries."""

    def utility(self, wrong_cost: float, try_cost: float) -> Floats:
        """Gain of 1 by a correct sample less what an incorrect one and each try cost."""
        return self.success - wrong_cost * self.false_positive - try_cost * self.tries


def outcomes(n: Ints, right: Ints, wrong: Ints, tries: Sequence[int], estimator: Estimator) -> Outcomes:
    """What K tries return, K in `tries`.

    Unbiased: the mean over all orders of the n samples, of which the first K are the tries. The first to pass is any
    of those that pass, and all of the first K are rejected with probability ``C(m, K)/C(n, K)``, m being rejected.
    """
    passed = right + wrong
    k = np.array(tries, dtype=float)
    share = correct_share(right, wrong)[:, None]
    with np.errstate(all="ignore"):
        if estimator == "unbiased":
            none = _all_rejected(n, passed, tries)
            expected = ((n + 1)[:, None] - none * (n[:, None] - k + 1)) / (passed + 1)[:, None]
        else:
            rate = (passed / n)[:, None]
            none = (1 - rate) ** k
            expected = np.where(rate > 0, (1 - none) / rate, k)
    some = 1 - none
    return Outcomes(share * some, np.where(passed[:, None] > 0, 1 - share, 0.0) * some, none, expected)


def correct_share(right: Ints, wrong: Ints) -> Floats:
    """Share of correct samples among those that pass, the ceiling of an item; 0 of one that nothing passes."""
    return right / np.maximum(right + wrong, 1)


def _all_rejected(n: Ints, passed: Ints, tries: Sequence[int]) -> Floats:
    """C(n - s, K) / C(n, K) with s passed; NaN beyond n."""
    out = np.full((len(n), len(tries)), np.nan)
    share = np.ones(len(n))
    at = {k: column for column, k in enumerate(tries)}
    if 0 in at:
        out[:, at[0]] = 1.0
    for tried in range(max(tries)):
        share = share * np.maximum(n - passed - tried, 0) / np.maximum(n - tried, 1)
        if tried + 1 in at:
            out[:, at[tried + 1]] = np.where(n > tried, share, np.nan)
    return out
