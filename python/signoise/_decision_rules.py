"""Decision accuracy from counts of pairs, by the rules for ties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


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


def without_each(counts: Mapping[str, NDArray[Any]], n_members: Ints, group: Ints, ties: str) -> Floats:
    """Decision accuracy of its group without each member in turn, from counts of the kernel `pair_agreement`.

    `n_members` has an entry a group, `group` is that of each member.
    """

    def without(name: str, member: str) -> Floats:
        return counts[name][group].astype(float) - counts[member]

    one = (counts["tied_small"] + counts["tied_target"])[group].astype(float) - counts["member_tied_one"]
    j = n_members[group].astype(float)
    with np.errstate(all="ignore"):
        remaining = (j - 1) * (j - 2) / 2
        if ties == "compat":
            return without("compat_agree", "member_compat_agree") / remaining
        return tie_rule(
            without("concordant", "member_concordant"),
            without("discordant", "member_discordant"),
            one,
            without("tied_both", "member_tied_both"),
            remaining,
            ties,
        )
