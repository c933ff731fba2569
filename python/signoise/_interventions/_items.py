"""Scores of subtasks on halves of their instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import SUBTASK_ITEMS
from .._encode import Encoded
from .._errors import SchemaError
from .._instance_cells import Cells, Source
from .._kernels import kernels
from ._cube import Cube

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Items:
    """Instances of the subtasks of one task at the checkpoints of its sides, one after the other."""

    cells: Sequence[Cells]
    sizes: dict[str, int]
    """Side -> number of its checkpoints; the rows of the cells in this order."""
    units: Sequence[int]
    """Address of each subtask: metrics of the same instances share their draws."""
    rng_seed: int

    def half(self, split: int, half: int) -> dict[str, Floats]:
        """Scores of each side, (n_checkpoints, n_subtasks), on one half of the instances."""
        columns = [self._column(at, split, half) for at in range(len(self.cells))]
        values = np.stack(columns, axis=1)
        ends = np.cumsum(list(self.sizes.values())).tolist()
        starts = [0, *ends[:-1]]
        return {name: values[a:b] for name, a, b in zip(self.sizes, starts, ends, strict=True)}

    def _column(self, at: int, split: int, half: int) -> Floats:
        cells = self.cells[at]
        n = len(cells.clusters)
        words = kernels().philox_uint64(self.rng_seed, SUBTASK_ITEMS, split, self.units[at], n)
        second = np.zeros(n, dtype=bool)
        second[np.argsort(words, kind="stable")[n // 2 :]] = True
        per_cluster = np.diff(np.append(cells.clusters, cells.values.shape[1]))
        mine = np.repeat(second == bool(half), per_cluster).astype(float)
        with np.errstate(all="ignore"):
            mean = (cells.values * cells.weights) @ mine / (cells.weights @ mine)
            return np.where(cells.logs, np.exp(mean), mean)


def items_of(
    cubes: Sequence[Cube],
    encoded: Encoded,
    frame: pl.DataFrame,
    source: Source,
    names: Sequence[str],
    units: Sequence[Sequence[int]],
    rng_seed: int,
) -> list[Items]:
    """Instances behind the named sides of some cubes; `frame` has the rows under the names of their instances."""
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
        cells = []
        for subtask in cube.subtasks:
            one = next(found)
            if one is None or len(one.clusters) < 2 or not np.isfinite(one.values).all():
                raise SchemaError(
                    f"split_instances=True: the checkpoints of {subtask!r} share no two instances (or clusters of them) "
                    "that all have a score; leave it out (where=...), or split_instances too"
                )
            cells.append(one)
        out.append(Items(cells, {name: len(cube.sides[name].places) for name in names}, own, rng_seed))
    return out
