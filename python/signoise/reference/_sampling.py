"""Twin of ``rust/core/src/sampling.rs``: what k tries at an item are worth, in whole numbers until the division."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError
from ._segments import Floats, check_length, check_positive

Counts = NDArray[np.uint32]

MISSING = 255


def sample_counts(
    samples: NDArray[np.uint8] | NDArray[np.bool_], *, threads: int | None = None
) -> dict[str, Counts]:
    """Samples of each item (a row) that are there, and right ones among them; 255 is a sample that is missing."""
    del threads
    values = samples.astype(np.uint8)
    there = values != MISSING
    if (values[there] > 1).any():
        raise OptionError(f"samples must be 0, 1, or 255 where one is missing, got {values[there].max()}")
    return {name: x.sum(axis=1).astype(np.uint32) for name, x in (("n", there), ("c", values == 1))}


def pass_probabilities(
    n: Counts,
    c: Counts,
    k: Counts,
    *,
    estimator: str = "unbiased",
    success: str = "any",
    threads: int | None = None,
) -> Floats:
    """Probability that k tries at each item succeed: a row of items for each k, NaN where it is undefined."""
    del threads
    check_length("c", len(c), len(n))
    if estimator not in ("unbiased", "plug_in", "compat") or success not in ("any", "all"):
        raise OptionError(f"estimator {estimator!r} with success {success!r} is not known")
    if estimator == "compat" and success == "all":
        raise OptionError("estimator must be unbiased or plug_in with success=all, got compat")
    for tries in k.tolist():
        check_positive("k", tries)
    if (c > n).any():
        raise OptionError("c must be at most n")
    items = list(zip(n.tolist(), c.tolist(), strict=True))
    rows = [[_estimate(a, b, tries, estimator, success) for a, b in items] for tries in k.tolist()]
    return np.array(rows, dtype=np.float64).reshape(len(k), len(n))


def _estimate(n: int, c: int, k: int, estimator: str, success: str) -> float:
    if estimator == "plug_in":
        if n == 0:
            return float("nan")
        return float(Fraction(c, n) ** k if success == "all" else 1 - Fraction(n - c, n) ** k)
    if estimator == "compat" and n - c < k:
        return 1.0
    if n < k:
        return float("nan")
    return float(
        Fraction(comb(c, k), comb(n, k)) if success == "all" else 1 - Fraction(comb(n - c, k), comb(n, k))
    )
