"""Decision accuracy from counts of pairs, by the rules for ties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def by_rule(counts: Mapping[str, NDArray[Any]], ties: str) -> Floats:
    """Decision accuracy from counts of pairs."""
    if ties == "compat":
        return counts["compat_agree"] / counts["n_pairs"].astype(float)
    one = (counts["tied_small"] + counts["tied_target"]).astype(float)
    agree, disagree, both, n_pairs = (
        counts[name].astype(float) for name in ("concordant", "discordant", "tied_both", "n_pairs")
    )
    return tie_rule(agree, disagree, one, both, n_pairs, ties)


def tie_rule(
    agree: Floats, disagree: Floats, one: Floats, both: Floats, n_pairs: Floats, ties: str
) -> Floats:
    if ties == "drop":
        return agree / (agree + disagree)
    if ties == "zero":
        return (agree + both / 2) / n_pairs
    return (agree + (one + both) / 2) / n_pairs
