"""Scores of subtasks on halves of their instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import SUBTASK_ITEMS, random_subsets
from .._encode import Encoded
from .._errors import SchemaError
from .._instance_cells import Cells, Source
from ._cube import Cube
from ._sample_sizes import subset_scores

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Items:
    """Scores of the sides of one task on halves of the instances of its subtasks."""

    values: Floats
    """(n_splits, 2 halves, n_checkpoints, n_subtasks), the checkpoints of all sides one after the other."""
    sizes: dict[str, int]
    """Side -> number of its checkpoints."""

    def half(self, split: int, half: int) -> dict[str, Floats]:
        """Scores of each side, (n_checkpoints, n_subtasks), on one half of the instances."""
        ends = np.cumsum(list(self.sizes.values())).tolist()
        starts = [0, *ends[:-1]]
        values = self.values[split, half]
        return {name: values[a:b] for name, a, b in zip(self.sizes, starts, ends, strict=True)}


def halved(cells: Cells, n_splits: int, rng_seed: int, unit: int) -> Floats:
    """Scores (n_splits, 2 halves, n_checkpoints) of one subtask, whose clusters of instances are drawn into halves."""
    n = len(cells.clusters)
    first = random_subsets(rng_seed, SUBTASK_ITEMS, unit, n=n, size=n // 2, count=n_splits)
    per_cluster = np.diff(np.append(cells.clusters, cells.values.shape[1]))
    mine = np.repeat(np.stack([first, ~first], axis=1), per_cluster, axis=2).astype(float)
    with np.errstate(all="ignore"):
        means = subset_scores(cells, mine.reshape(2 * n_splits, -1))
    return means.T.reshape(n_splits, 2, -1)


def items_of(
    cubes: Sequence[Cube],
    encoded: Encoded,
    frame: pl.DataFrame,
    source: Source,
    names: Sequence[str],
    units: Sequence[Sequence[int]],
    n_splits: int,
    rng_seed: int,
) -> list[Items]:
    """Halves of the instances behind the named sides of some cubes.

    `frame` has the rows under the names of their instances; `units` are the addresses of subtasks, by cube: metrics of
    the same instances share their draws.
    """
    places = [
        np.concatenate([cube.sides[name].places[:, s] for name in names])
        for cube in cubes
        for s in range(len(cube.subtasks))
    ]
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in places])]).astype(int).tolist()
    rows = np.concatenate(places) if places else np.zeros(0, dtype=np.intp)
    needed = frame[rows if encoded.row is None else encoded.row[rows]]
    found = source.cells(needed, bounds)
    out = []
    for cube, own in zip(cubes, units, strict=True):
        columns = []
        for subtask, unit in zip(cube.subtasks, own, strict=True):
            cells = next(found)
            if cells is None or len(cells.clusters) < 2 or not np.isfinite(cells.values).all():
                raise SchemaError(
                    f"split_instances=True: the checkpoints of {subtask!r} share no two instances (or clusters of "
                    "them) that all have a score; leave it out (where=...), or split_instances too"
                )
            columns.append(halved(cells, n_splits, rng_seed, unit))
        sizes = {name: len(cube.sides[name].places) for name in names}
        out.append(Items(np.stack(columns, axis=3), sizes))
    return out
