"""Decision accuracy on drawn instances: what other instances of the same kind would make of the same members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._decision_rules import by_rule
from ._encode import Encoded
from ._instance_intervals import Draws, Limits, Windows, instance_limits
from ._kernels import kernels

if TYPE_CHECKING:
    from ._decisions import Side

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def decisions_over_instances(
    encoded: Encoded,
    sides: Sequence[tuple[Side, Ints]],
    estimate: Floats,
    frame: pl.DataFrame,
    draws: Draws,
    *,
    score: str,
    ties: str,
) -> Limits:
    """Limits of the decision accuracy when other instances of the same kind are asked."""
    windows, divided = [], []
    for name, (side, chosen) in zip(("small", "target"), sides, strict=True):
        n_runs = np.diff(side.runs)[chosen]
        runs = np.concatenate(
            [np.arange(side.runs[at], side.runs[at + 1]) for at in chosen] or [np.zeros(0, int)]
        )
        series = side.series.chosen(runs.astype(np.intp))
        windows.append(Windows(encoded, series, name, last=1 if score == "final" else None))
        divided.append((side.group[chosen], n_runs, side.sign))

    threads = draws.threads

    def again(group: int, rows: Ints, replicates: Floats) -> Floats:
        """The decision accuracy of each replicate."""
        scores = [
            scores_of_replicates(window, n_runs[groups == group], group, rows, replicates) * sign[group]
            for window, (groups, n_runs, sign) in zip(windows, divided, strict=True)
        ]
        if ties == "half":
            return kernels().agreement_columns(*scores, threads=threads)
        small, target = scores
        return _agreement_by_rule(small, target, ties, threads)

    return instance_limits(encoded, frame, windows, again, estimate, draws, logarithm=False)


def scores_of_replicates(window: Windows, n_runs: Ints, group: int, rows: Ints, replicates: Floats) -> Floats:
    """Score of each member of a group (row) in each replicate (column): the mean over its `n_runs` runs.

    `rows` are the places in ``encoded.values`` that the rows of `replicates` stand for, in rising order.
    """
    _, own, counts = window.of(group)
    return _means(_means(replicates[np.searchsorted(rows, own)], counts), n_runs)


def _means(rows: Floats, counts: Ints) -> Floats:
    """Means of consecutive rows, so many of them each."""
    if not len(counts):
        return rows[:0]
    return np.add.reduceat(rows, np.cumsum(counts) - counts, axis=0) / counts[:, None]


def _agreement_by_rule(small: Floats, target: Floats, ties: str, threads: int | None) -> Floats:
    """Decision accuracy of each column of scores by a rule for ties."""
    members, replicates = small.shape
    offsets = np.arange(replicates + 1, dtype=np.uintp) * np.uintp(members)
    counts = kernels().pair_agreement(
        np.ascontiguousarray(small.T).ravel(),
        np.ascontiguousarray(target.T).ravel(),
        offsets,
        threads=threads,
    )
    with np.errstate(all="ignore"):
        return by_rule(counts, ties)
