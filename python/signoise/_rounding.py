"""Scores in which what rounding alone tells apart is equal: means of the same numbers in another order are one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Beyond this many decimals of the largest score a difference is rounding.
_DECIMALS = 12


def rounded(scores: Floats) -> Floats:
    """Scores of one kind, in units of the power of ten above the largest."""
    largest = float(np.abs(scores).max(initial=0.0))
    if not 0 < largest < np.inf:
        return scores
    return np.round(scores / 10.0 ** np.ceil(np.log10(largest)), _DECIMALS)
